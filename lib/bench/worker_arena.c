/* worker_arena.c: buffers between guard pages, so that a kernel that leaves its buffer is caught in the act, or leaves a trace in the
 * canary bytes between the buffer and the guard. */
#define _GNU_SOURCE
#include "worker_internal.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20)
#define GUARD_BYTES ((size_t)1 << 20) /* address space only: a stride beyond the end is caught as well */
#define CANARY 0xC5

static size_t page_bytes(void) {
    long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? (size_t)size : 4096;
}

bool hone__arena_map(hone__arena *arena, size_t bytes, size_t align, bool shared) {
    *arena = (hone__arena){.map = NULL};
    size_t page = page_bytes();
    if (align < 1 || bytes > SIZE_MAX / 4)
        return false;
    size_t span = (bytes + align + page - 1) / page * page;
    if (bytes % align == 0 && bytes > 0)
        span = (bytes + page - 1) / page * page;
    size_t step = span >= HUGE_BYTES ? HUGE_BYTES : page;
    size_t total = span + 2 * GUARD_BYTES + step;
    void *map = mmap(NULL, total, PROT_NONE, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return false;
    arena->map = map;
    arena->map_bytes = total;
    uintptr_t start = ((uintptr_t)map + GUARD_BYTES + step - 1) / step * step;
    arena->span = arena->map + (start - (uintptr_t)map);
    arena->span_bytes = span;
    arena->bytes = bytes;
    arena->data = arena->span + (span - bytes) / align * align;
    if (mprotect(arena->span, span, PROT_READ | PROT_WRITE) != 0) {
        hone__arena_unmap(arena);
        return false;
    }
    (void)madvise(arena->span, span, MADV_HUGEPAGE);
    return true;
}

void hone__arena_unmap(hone__arena *arena) {
    if (arena->map != NULL)
        (void)munmap(arena->map, arena->map_bytes);
    *arena = (hone__arena){.map = NULL};
}

void hone__arena_protect(const hone__arena *arena, bool writable) {
    if (arena->map != NULL)
        (void)mprotect(arena->span, arena->span_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ);
}

void hone__arena_canary_set(const hone__arena *arena) {
    size_t before = (size_t)(arena->data - arena->span);
    memset(arena->span, CANARY, before);
    memset(arena->data + arena->bytes, CANARY, arena->span_bytes - before - arena->bytes);
}

bool hone__arena_canary_hit(const hone__arena *arena, long long *offset) {
    size_t before = (size_t)(arena->data - arena->span);
    for (size_t i = before; i > 0; i--) {
        if (arena->span[i - 1] != CANARY) {
            *offset = -(long long)(before - i + 1);
            return true;
        }
    }
    for (size_t i = before + arena->bytes; i < arena->span_bytes; i++) {
        if (arena->span[i] != CANARY) {
            *offset = (long long)(i - before);
            return true;
        }
    }
    return false;
}

bool hone__arena_owns(const hone__arena *arena, const void *address) {
    return arena->map != NULL && (const unsigned char *)address >= arena->map &&
           (const unsigned char *)address < arena->map + arena->map_bytes;
}
