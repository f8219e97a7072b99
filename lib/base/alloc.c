#include "alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t live_count;
static atomic_size_t fail_countdown;
static atomic_int fail_forever;

static int should_fail(void) {
    size_t left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    if (left == 0)
        return 0;
    if (left == 1) {
        if (!atomic_load(&fail_forever))
            atomic_store(&fail_countdown, 0);
        return 1;
    }
    atomic_store(&fail_countdown, left - 1);
    return 0;
}

void *hone__alloc(size_t bytes) {
    if (should_fail())
        return NULL;
    void *memory = calloc(1, bytes == 0 ? 1 : bytes);
    if (memory != NULL)
        atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
    return memory;
}

void *hone__alloc_array(size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        return NULL;
    return hone__alloc(total);
}

void *hone__realloc(void *old, size_t bytes) {
    if (should_fail())
        return NULL;
    void *memory = realloc(old, bytes == 0 ? 1 : bytes);
    if (memory != NULL && old == NULL)
        atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
    return memory;
}

void hone__free(void *memory) {
    if (memory == NULL)
        return;
    atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
    free(memory);
}

char *hone__strndup(const char *text, size_t bytes) {
    if (text == NULL || bytes == SIZE_MAX)
        return NULL;
    char *copy = hone__alloc(bytes + 1);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

char *hone__strdup(const char *text) {
    return text == NULL ? NULL : hone__strndup(text, strlen(text));
}

void hone__alloc_fail_at(size_t nth, int forever) {
    atomic_store(&fail_forever, forever);
    atomic_store(&fail_countdown, nth);
}

size_t hone__alloc_live(void) {
    return atomic_load(&live_count);
}
