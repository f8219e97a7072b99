/* test_cache.c: the store as its users see it: entries, kernels, failures, notes, journal, views, opening. */
#include "cache_fixture.h"

static void test_cache__put_get(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    assert_true(get_time(cache, 7) == 0);
    put_time(cache, 7, 1500);
    assert_true(get_time(cache, 7) == 1500);
    hone_cache_close(cache);
    cache = open_cache(f->path);
    assert_true(get_time(cache, 7) == 1500);
    hone_cache_close(cache);
    struct stat info;
    assert_int_equal(stat(f->path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void test_cache__better_evidence_stays(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    char text[64];
    hone__entry slow = make_entry(make_key(1, 1, 1), 2000, text);
    assert_int_equal(hone__cache_put(cache, &slow, false, NULL), HONE_OK);
    hone__entry fast = make_entry(make_key(1, 1, 1), 1000, text);
    assert_int_equal(hone__cache_put(cache, &fast, false, NULL), HONE_OK);
    assert_true(get_time(cache, 1) == 1000);
    slow = make_entry(make_key(1, 1, 1), 2000, text);
    assert_int_equal(hone__cache_put(cache, &slow, false, NULL), HONE_OK);
    assert_true(get_time(cache, 1) == 1000);
    assert_int_equal(hone__cache_put(cache, &slow, true, NULL), HONE_OK);
    assert_true(get_time(cache, 1) == 2000);
    fast.accuracy = HONE_ACCURACY_FAILED;
    assert_int_equal(hone__cache_put(cache, &fast, false, NULL), HONE_OK);
    assert_true(get_time(cache, 1) == 2000);
    hone_cache_close(cache);
}

static hone_status make_newer(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    hone__slot_key slot = hone__entry_slot(user, bytes);
    MDB_val value;
    hone_status status = hone__txn_get(txn, HONE_TABLE_ENTRY, slot, &value);
    if (status != HONE_OK)
        return status;
    char *copy = malloc(value.mv_size);
    memcpy(copy, value.mv_data, value.mv_size);
    copy[4] = copy[6] = 2; /* reader and writer version */
    hone__record_checksum((uint8_t *)copy + value.mv_size - 16, copy, value.mv_size - 16, slot);
    status = hone__txn_put(txn, HONE_TABLE_ENTRY, slot, copy, value.mv_size);
    free(copy);
    return status;
}

/* What a newer Hone has written is not read, and not overwritten either. */
static void test_cache__newer_records_are_kept(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone__key key = make_key(1, 1, 1);
    assert_int_equal(hone__store_write(cache, make_newer, &key, NULL), HONE_OK);
    hone__entry entry;
    hone_error err;
    assert_int_equal(hone__cache_get(cache, &key, &entry, &err), HONE_E_VERSION);
    char text[64];
    entry = make_entry(key, 5, text);
    assert_int_equal(hone__cache_put(cache, &entry, false, &err), HONE_E_VERSION);
    assert_int_equal(hone__cache_put(cache, &entry, true, &err), HONE_E_VERSION);
    uint64_t left_out;
    assert_int_equal(hone_cache_each(cache, NULL, NULL, &left_out, &err), HONE_E_ARG);
    hone_cache_close(cache);
}

static void test_cache__two_handles_share_one_file(void **state) {
    fixture *f = *state;
    char other[400];
    (void)snprintf(other, sizeof other, "%s/../%s/cache.hone", f->dir, strrchr(f->dir, '/') + 1);
    hone_cache *a = open_cache(f->path), *b = open_cache(other);
    assert_string_equal(hone_cache_path(a), hone_cache_path(b));
    put_time(a, 1, 100);
    hone_cache_close(a);
    assert_true(get_time(b, 1) == 100);
    put_time(b, 2, 200);
    hone_cache_close(b);
}

static void test_cache__of_kernel_lists_one_kernel(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    char text[64];
    for (uint32_t kernel = 0; kernel < 4; kernel++) {
        for (uint32_t device = 0; device < 3; device++) {
            for (uint32_t problem = 0; problem < 5; problem++) {
                hone__entry entry = make_entry(make_key(kernel, device, problem), 100 + problem, text);
                assert_int_equal(hone__cache_put(cache, &entry, false, NULL), HONE_OK);
            }
        }
    }
    hone__key key = make_key(2, 0, 0);
    for (uint32_t max = 0; max <= 20; max += 4) {
        hone__entry *list;
        uint32_t count;
        assert_int_equal(hone__cache_of_kernel(cache, key.kernel, max, &list, &count, NULL), HONE_OK);
        assert_int_equal(count, max < 15 ? max : 15);
        for (uint32_t i = 0; i < count; i++) {
            assert_memory_equal(list[i].key.kernel, key.kernel, 16);
            hone__entry_clear(&list[i]);
        }
        hone__free(list);
    }
    hone_cache_close(cache);
}

static void test_cache__kernel_failure_note(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    char name[] = "k", language[] = "c", space[] = "{}", source[] = "void k(void) {}\n", reason[] = "no valid config";
    hone__kernel_info info = {.name = name, .language = language, .space = space, .source = source}, back;
    memset(info.id, 7, 16);
    assert_int_equal(hone__cache_get_kernel(cache, info.id, &back, NULL), HONE_E_NOTFOUND);
    assert_int_equal(hone__cache_put_kernel(cache, &info, NULL), HONE_OK);
    assert_int_equal(hone__cache_get_kernel(cache, info.id, &back, NULL), HONE_OK);
    assert_string_equal(back.source, source);
    hone__kernel_info_clear(&back);

    hone__key key = make_key(1, 1, 1);
    hone__failure failure = {reason, 1, INT64_MAX}, got;
    assert_int_equal(hone__cache_put_failure(cache, &key, &failure, NULL), HONE_OK);
    assert_int_equal(hone__cache_get_failure(cache, &key, &got, NULL), HONE_OK);
    assert_string_equal(got.reason, reason);
    hone__failure_clear(&got);
    failure.expires_unix_s = 1; /* long ago */
    assert_int_equal(hone__cache_put_failure(cache, &key, &failure, NULL), HONE_OK);
    assert_int_equal(hone__cache_get_failure(cache, &key, &got, NULL), HONE_E_NOTFOUND);
    failure.expires_unix_s = INT64_MAX;
    assert_int_equal(hone__cache_put_failure(cache, &key, &failure, NULL), HONE_OK);
    put_time(cache, 1, 10); /* an entry of the key takes the failure away */
    assert_int_equal(hone__cache_get_failure(cache, &key, &got, NULL), HONE_E_NOTFOUND);

    char *text;
    assert_int_equal(hone__cache_get_note(cache, "peaks", &text, NULL), HONE_E_NOTFOUND);
    assert_int_equal(hone__cache_put_note(cache, "peaks", "{\"gbps\":12}", NULL), HONE_OK);
    assert_int_equal(hone__cache_get_note(cache, "peaks", &text, NULL), HONE_OK);
    assert_string_equal(text, "{\"gbps\":12}");
    hone__free(text);
    char longest[66];
    memset(longest, 'n', sizeof longest);
    longest[65] = '\0';
    assert_int_equal(hone__cache_put_note(cache, longest, "", NULL), HONE_E_ARG);
    assert_int_equal(hone__cache_put_note(cache, longest + 1, "", NULL), HONE_OK);
    char big[4098];
    memset(big, 'x', sizeof big);
    big[4097] = '\0';
    assert_int_equal(hone__cache_put_note(cache, "big", big, NULL), HONE_E_LIMIT);
    assert_int_equal(hone__cache_put_note(cache, "big", big + 1, NULL), HONE_OK);
    hone_cache_close(cache);
}

static void add_trial(hone_cache *cache, const hone__key *key, uint32_t number, uint32_t index) {
    char config[64], proposer[] = "random";
    (void)snprintf(config, sizeof config, "{\"BM\":%u}", index);
    hone__trial trial = {.config = config, .proposer = proposer, .created_unix_s = 5};
    trial.result.median_ns = 100.0 + index;
    assert_int_equal(hone__journal_trial(cache, key, number, index, &trial, NULL), HONE_OK);
}

static void test_cache__journal(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    hone__key key = make_key(1, 1, 1), before = key, after = key;
    before.key[15]--;
    after.key[15]++;
    uint32_t number = 99;
    hone__session out;
    assert_int_equal(hone__journal_last(cache, &key, &number, &out, NULL), HONE_E_NOTFOUND);
    char strategy[] = "llm", model[] = "m", options[] = "{}";
    hone__session session = {.strategy = strategy, .model = model, .seed = 3, .options = options};
    assert_int_equal(hone__journal_begin(cache, &before, &session, &number, NULL), HONE_OK);
    assert_int_equal(hone__journal_begin(cache, &after, &session, &number, NULL), HONE_OK);
    assert_int_equal(hone__journal_last(cache, &key, &number, &out, NULL), HONE_E_NOTFOUND);
    assert_int_equal(hone__journal_begin(cache, &key, &session, &number, NULL), HONE_OK);
    assert_int_equal(number, 0);
    for (uint32_t i = 0; i < 300; i++)
        add_trial(cache, &key, 0, 299 - i);
    assert_int_equal(hone__journal_begin(cache, &key, &session, &number, NULL), HONE_OK);
    assert_int_equal(number, 1);
    add_trial(cache, &key, 1, 0);
    char request[] = "[]", reply[] = "{\"configs\":[]}";
    hone__exchange exchange = {.index = 0, .request = request, .told = 4};
    assert_int_equal(hone__journal_exchange(cache, &key, 1, &exchange, NULL), HONE_OK);
    exchange.reply = reply;
    exchange.tokens_out = 9;
    assert_int_equal(hone__journal_exchange(cache, &key, 1, &exchange, NULL), HONE_OK);
    session.done = true;
    assert_int_equal(hone__journal_update(cache, &key, 1, &session, NULL), HONE_OK);

    assert_int_equal(hone__journal_last(cache, &key, &number, &out, NULL), HONE_OK);
    assert_int_equal(number, 1);
    assert_true(out.done);
    hone__session_clear(&out);
    hone__trial *trial;
    hone__exchange *said;
    uint32_t count;
    assert_int_equal(hone__journal_trials(cache, &key, 0, &trial, &count, NULL), HONE_OK);
    assert_int_equal(count, 300);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(trial[i].result.median_ns == 100.0 + i);
        hone__trial_clear(&trial[i]);
    }
    hone__free(trial);
    assert_int_equal(hone__journal_exchanges(cache, &key, 1, &said, &count, NULL), HONE_OK);
    assert_int_equal(count, 1);
    assert_string_equal(said[0].reply, reply);
    assert_int_equal(said[0].told, 4);
    hone__exchange_clear(&said[0]);
    hone__free(said);
    hone_cache_close(cache);
}

typedef struct seen {
    uint32_t count, stop_at;
    hone_cache *cache;
} seen;

static int see(const char *json, void *user) {
    seen *s = user;
    cJSON *item = cJSON_Parse(json);
    assert_non_null(item);
    assert_non_null(cJSON_GetObjectItem(item, "time_ms"));
    cJSON_Delete(item);
    if (s->cache != NULL)
        put_time(s->cache, 5000 + s->count % 7, 77); /* no transaction is open: a write must not wait for us */
    return ++s->count == s->stop_at;
}

static void test_cache__each_show_stats(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    for (uint32_t i = 0; i < 200; i++)
        put_time(cache, i, 100 + i);
    seen all = {0, 0, NULL}, some = {0, 70, NULL}, writing = {0, 0, cache};
    uint64_t damaged = 1;
    assert_int_equal(hone_cache_each(cache, see, &all, &damaged, NULL), HONE_OK);
    assert_int_equal(all.count, 200);
    assert_int_equal(damaged, 0);
    assert_int_equal(hone_cache_each(cache, see, &some, NULL, NULL), HONE_OK);
    assert_int_equal(some.count, 70);
    assert_int_equal(hone_cache_each(cache, see, &writing, NULL, NULL), HONE_OK);
    assert_true(writing.count >= 200);

    hone__key key = make_key(1, 1, 42);
    char hex[33], *json;
    hone__hash_hex(key.key, hex);
    hone_error err;
    assert_int_equal(hone_cache_show(&json, cache, hex, &err), HONE_OK);
    cJSON *shown = cJSON_Parse(json);
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(shown, "entry"), "key")->valuestring, hex);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(shown, "session")));
    cJSON_Delete(shown);
    hone_free(json);
    assert_int_equal(hone_cache_show(&json, cache, "abc", &err), HONE_E_ARG);
    assert_null(json);
    assert_int_equal(hone_cache_show(&json, cache, "zzzz", &err), HONE_E_ARG);
    assert_int_equal(hone_cache_show(&json, cache, "00000000000000000000000000000000", &err), HONE_E_NOTFOUND);

    hone__cache_count(cache, "hit_exact", 3);
    hone_cache_close(cache);
    cache = open_cache(f->path);
    hone__cache_count(cache, "hit_exact", 2);
    hone__cache_count(cache, "tune_started", 1);
    assert_int_equal(hone_cache_stats(&json, cache, &err), HONE_OK);
    cJSON *stats = cJSON_Parse(json), *counters = cJSON_GetObjectItem(stats, "counters");
    assert_int_equal(cJSON_GetObjectItem(stats, "entries")->valueint, 207);
    assert_int_equal(cJSON_GetObjectItem(counters, "hit_exact")->valueint, 5);
    assert_int_equal(cJSON_GetObjectItem(counters, "tune_started")->valueint, 1);
    cJSON_Delete(stats);
    hone_free(json);
    hone_cache_close(cache);
}

static void test_cache__options(void **state) {
    fixture *f = *state;
    hone_cache *cache;
    hone_error err;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    assert_int_equal(hone_cache_open(&cache, f->path, &options, &err), HONE_E_NOTFOUND);
    assert_null(cache);
    assert_int_equal(count_files(f->dir, "cache.hone"), 0); /* reading only makes nothing */
    options.struct_size = 0;
    assert_int_equal(hone_cache_open(&cache, f->path, &options, &err), HONE_E_ARG);
    struct {
        hone_cache_options known;
        uint64_t later;
    } newer = {HONE_CACHE_OPTIONS_INIT, 1};
    newer.known.struct_size = sizeof newer;
    assert_int_equal(hone_cache_open(&cache, f->path, &newer.known, &err), HONE_E_UNSUPPORTED);
    newer.later = 0;
    newer.known.durable = 1;
    assert_int_equal(hone_cache_open(&cache, f->path, &newer.known, &err), HONE_OK);
    put_time(cache, 1, 1);
    hone_cache_close(cache);
    options = (hone_cache_options)HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    assert_int_equal(hone_cache_open(&cache, f->path, &options, &err), HONE_OK);
    assert_true(get_time(cache, 1) == 1);
    char text[64];
    hone__entry entry = make_entry(make_key(1, 1, 2), 5, text);
    assert_int_equal(hone__cache_put(cache, &entry, true, &err), HONE_E_PERM);
    hone_cache *writer = open_cache(f->path); /* a store that was opened for reading becomes writable */
    put_time(writer, 2, 2);
    assert_true(get_time(cache, 2) == 2);
    assert_int_equal(hone__cache_put(cache, &entry, true, &err), HONE_E_PERM);
    hone_cache_close(cache);
    hone_cache_close(writer);
}

static void test_cache__default_path(void **state) {
    fixture *f = *state;
    char *path, want[400];
    hone_error err;
    (void)unsetenv("HONE_CACHE");
    (void)setenv("XDG_CACHE_HOME", f->dir, 1);
    assert_int_equal(hone__cache_default_path(&path, &err), HONE_OK);
    (void)snprintf(want, sizeof want, "%s/hone/cache.hone", f->dir);
    assert_string_equal(path, want);
    hone__free(path);
    hone_cache *cache = open_cache(NULL);
    assert_string_equal(hone_cache_path(cache), want);
    hone_cache_close(cache);
    struct stat info;
    (void)snprintf(want, sizeof want, "%s/hone", f->dir);
    assert_int_equal(stat(want, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    (void)setenv("XDG_CACHE_HOME", "relative", 1);
    (void)setenv("HOME", "/home/somebody", 1);
    assert_int_equal(hone__cache_default_path(&path, &err), HONE_OK);
    assert_string_equal(path, "/home/somebody/.cache/hone/cache.hone");
    hone__free(path);
    (void)setenv("HONE_CACHE", "", 1);
    (void)unsetenv("HOME");
    assert_int_equal(hone__cache_default_path(&path, &err), HONE_E_IO);
    (void)setenv("HONE_CACHE", "x/y", 1);
    assert_int_equal(hone__cache_default_path(&path, &err), HONE_OK);
    assert_string_equal(path, "x/y");
    hone__free(path);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cache__put_get),
        TEST(test_cache__better_evidence_stays),
        TEST(test_cache__newer_records_are_kept),
        TEST(test_cache__two_handles_share_one_file),
        TEST(test_cache__of_kernel_lists_one_kernel),
        TEST(test_cache__kernel_failure_note),
        TEST(test_cache__journal),
        TEST(test_cache__each_show_stats),
        TEST(test_cache__options),
        TEST(test_cache__default_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
