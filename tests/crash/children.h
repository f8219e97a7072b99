/* children.h: what test programs and the children that they kill, stop or lock up have in common. */
#ifndef CHILDREN_H
#define CHILDREN_H

#include "cache_fixture.h"
#include "clock.h"

#include <sys/mman.h>

enum { WAITS = 30000 }; /* of 2 ms: only to tell a hang from a slow machine */

typedef struct shared {
    _Atomic uint32_t acknowledged; /* how many puts have returned HONE_OK */
    _Atomic int holding, finished, inner_pid;
} shared;

__attribute__((unused)) static shared *share(void) {
    shared *memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

typedef struct job {
    fixture *f;
    shared *memory;
    uint32_t number, wait_ms;
    int (*work)(void *user); /* for start_in_namespace */
} job;

__attribute__((unused)) static hone_status put_status(hone_cache *cache, uint32_t number, double time_ns) {
    char text[64];
    hone__entry entry = make_entry(make_key(1, 1, number), time_ns, text);
    return hone__cache_put(cache, &entry, true, NULL);
}

#endif
