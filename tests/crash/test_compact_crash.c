/* test_compact_crash.c: processes that are killed while they compact a cache that others write and read.  What was acknowledged stays, nobody
 * sees a wrong value, and the cache opens and verifies whatever was cut off. */
#define _GNU_SOURCE
#include "cache_fixture.h"
#include "clock.h"

#include <sys/mman.h>

enum { KILLS = 25, WRITERS = 2, KEYS = 40 };

typedef struct shared {
    _Atomic uint32_t acknowledged[WRITERS][KEYS]; /* the value that was stored last */
    _Atomic uint32_t compacted, reads;
    _Atomic int stop;
} shared;

typedef struct job {
    fixture *f;
    shared *memory;
    uint32_t number;
} job;

static hone_cache *open_patient(const char *path, bool read_only) {
    hone_cache *cache = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.writer_wait_ms = 20000;
    options.read_only = read_only;
    return hone_cache_open(&cache, path, &options, NULL) == HONE_OK ? cache : NULL;
}

/* Each value is above all before it, and tells its writer and key. */
static double value_of(uint32_t writer, uint32_t key, uint32_t round) {
    return 1000000.0 * (writer + 1) + key * 1000.0 + round;
}

static int write_on(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, false);
    if (cache == NULL)
        return 1;
    for (uint32_t round = 1; j->memory->stop == 0 && round < 999; round++) {
        for (uint32_t key = 0; key < KEYS && j->memory->stop == 0; key++) {
            char text[64];
            hone__entry entry = make_entry(make_key(1, 1, j->number * KEYS + key), value_of(j->number, key, round), text);
            if (hone__cache_put(cache, &entry, true, NULL) != HONE_OK)
                return 2;
            j->memory->acknowledged[j->number][key] = round;
        }
    }
    hone_cache_close(cache);
    return 0;
}

static int read_on(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, true);
    if (cache == NULL)
        return 1;
    while (j->memory->stop == 0) {
        for (uint32_t i = 0; i < WRITERS * KEYS; i++) {
            double seen = get_time(cache, i), low = value_of(i / KEYS, i % KEYS, 0);
            if (seen != 0 && (seen < low || seen >= low + 1000))
                return 2; /* a value of another key */
            j->memory->reads++;
        }
    }
    hone_cache_close(cache);
    return 0;
}

static int compact_on(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, false);
    if (cache == NULL)
        return 1;
    for (;;) {
        /* Something to win each time. */
        for (uint32_t i = 0; i < 20; i++)
            put_time(cache, 100000 + i, 5 + i);
        if (hone_cache_compact(NULL, cache, NULL, NULL) == HONE_OK)
            j->memory->compacted++;
    }
}

static void test_compact_crash__killed_while_compacting(void **state) {
    fixture *f = *state;
    shared *memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    hone_cache *first = open_cache(f->path);
    put_time(first, 100000, 5);
    hone_cache_close(first); /* nothing may be open here when children are made */
    job compactor = {f, memory, 0}, reader = {f, memory, 0}, writer[WRITERS];
    pid_t reading, writing[WRITERS];
    reading = start_child(read_on, &reader);
    for (uint32_t i = 0; i < WRITERS; i++) {
        writer[i] = (job){f, memory, i};
        writing[i] = start_child(write_on, &writer[i]);
    }
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("killed_while_compacting"));
    for (int i = 0; i < KILLS; i++) {
        pid_t pid = start_child(compact_on, &compactor);
        (void)usleep((useconds_t)(10000 + hone__rng_below(&rng, 60000)));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(WIFSIGNALED(wait_child(pid)));
    }
    memory->stop = 1;
    for (uint32_t i = 0; i < WRITERS; i++)
        assert_int_equal(wait_child(writing[i]), 0);
    assert_int_equal(wait_child(reading), 0);
    print_message("%u compactions, %u reads\n", memory->compacted, memory->reads);
    assert_true(memory->reads > 0);
    hone_cache *cache = open_cache(f->path);
    for (uint32_t i = 0; i < WRITERS * KEYS; i++) {
        uint32_t round = memory->acknowledged[i / KEYS][i % KEYS];
        double seen = get_time(cache, i), wanted = value_of(i / KEYS, i % KEYS, round);
        /* The one after the last acknowledged may be there too. */
        assert_true(round == 0 || seen == wanted || seen == wanted + 1);
    }
    hone_cache_close(cache);
    char *report = NULL;
    int sound = 0;
    assert_int_equal(hone_verify(&report, &sound, f->path, NULL, NULL), HONE_OK);
    assert_int_equal(sound, 1);
    hone_free(report);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
    (void)munmap(memory, sizeof *memory);
}

int main(void) {
    use_memory_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_compact_crash__killed_while_compacting, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
