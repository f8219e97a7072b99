/* test_import_thread.c: an import of more than one batch, whose batches are written by a thread of its own, while another thread looks up. */
#include "pack_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

enum { ENTRIES = 18000 }; /* a full batch and a rest */

typedef struct looker {
    const hone_cache *cache;
    atomic_bool stop;
    unsigned found, other;
} looker;

static void *look(void *user) {
    looker *l = user;
    for (unsigned i = 0; !atomic_load(&l->stop); i = (i + 7919) % ENTRIES) {
        hone__entry entry;
        hone__key key = make_key(i % 3, i % 2, i);
        hone_status status = hone__cache_get(l->cache, &key, &entry, NULL);
        l->found += status == HONE_OK;
        l->other += status != HONE_OK && status != HONE_E_NOTFOUND;
        if (status == HONE_OK)
            hone__entry_clear(&entry);
    }
    return NULL;
}

static int count_calls(uint64_t done, uint64_t total, void *user) {
    assert_true(done <= total);
    ++*(unsigned *)user;
    return 0;
}

static void test_import__many_batches_beside_look_ups(void **state) {
    fixture *f = *state;
    size_t bytes = 0;
    char *pack = fixture_small_pack(5, ENTRIES, &bytes), path[sizeof f->path + 8];
    (void)snprintf(path, sizeof path, "%s.hpk", f->path);
    write_bytes(path, pack, bytes);
    hone_free(pack);
    hone_cache *cache = open_cache(f->path);
    looker l = {.cache = cache};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look, &l), 0);
    unsigned calls = 0;
    hone_exchange_options options = HONE_EXCHANGE_OPTIONS_INIT;
    options.progress = count_calls;
    options.user = &calls;
    char *report = NULL;
    hone_error err = {0};
    if (hone_import(&report, cache, path, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_non_null(strstr(report, "\"imported\":18000"));
    hone_free(report);
    assert_true(calls >= 2);
    atomic_store(&l.stop, true);
    (void)pthread_join(thread, NULL);
    assert_int_equal(l.other, 0);
    /* Once more: all are there, in every batch. */
    if (hone_import(&report, cache, path, NULL, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_non_null(strstr(report, "\"imported\":0"));
    hone_free(report);
    hone_cache_close(cache);
    assert_int_equal(unlink(path), 0);
}

static int stop_at_once(uint64_t done, uint64_t total, void *user) {
    (void)done;
    (void)total;
    return ++*(unsigned *)user == 1;
}

static uint64_t entries_of(const hone_cache *cache) {
    uint64_t entries = 0;
    char *report = NULL;
    assert_int_equal(hone_cache_stats(&report, cache, NULL), HONE_OK);
    const char *at = strstr(report, "\"entries\":");
    assert_non_null(at);
    entries = strtoull(at + 10, NULL, 10);
    hone_free(report);
    return entries;
}

/* What was committed stays, what the thread had begun to write goes. */
static void test_import__cancelled_between_batches(void **state) {
    fixture *f = *state;
    size_t bytes = 0;
    char *pack = fixture_small_pack(6, 2 * ENTRIES, &bytes), path[sizeof f->path + 8];
    (void)snprintf(path, sizeof path, "%s.hpk", f->path);
    write_bytes(path, pack, bytes);
    hone_free(pack);
    hone_cache *cache = open_cache(f->path);
    unsigned calls = 0;
    hone_exchange_options options = HONE_EXCHANGE_OPTIONS_INIT;
    options.progress = stop_at_once;
    options.user = &calls;
    hone_error err = {0};
    assert_int_equal(hone_import(NULL, cache, path, &options, &err), HONE_E_CANCELLED);
    uint64_t kept = entries_of(cache);
    assert_true(kept > 0 && kept < 2 * ENTRIES && kept % 16384 == 0);
    assert_int_equal(hone_import(NULL, cache, path, NULL, &err), HONE_OK);
    assert_int_equal(entries_of(cache), 2 * ENTRIES);
    hone_cache_close(cache);
    assert_int_equal(unlink(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_import__many_batches_beside_look_ups, fixture_setup, fixture_teardown),
                                       cmocka_unit_test_setup_teardown(test_import__cancelled_between_batches, fixture_setup, fixture_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
