/* test_failing_calls.c: the n-th call of each kind fails, once and for ever, for every n until nothing fails any more: opening, storing, looking
 * up, journal, claims, closing.  Each time: a status or nothing at all, nothing leaked, nothing acknowledged lost, nothing set aside, and the
 * cache works on. */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* its wrappers would bypass the definitions in failing_calls.h */
#include "cache_fixture.h"
#include "fault/failing_calls.h"
#include "lookup.h"

enum { KEPT = 3, NTH_MAX = 4000 };
#ifdef HONE_SANITIZED
enum { FOR_EVER_STEP = 10 };
#else
enum { FOR_EVER_STEP = 3 };
#endif

static int count_open_files(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

/* ---- what is done while calls fail; HONE_OK, or the first status that was not ---- */

typedef struct run {
    const char *path;
    bool acknowledged; /* entry KEPT was stored */
} run;

static int ignore_entry(const char *json, void *user) {
    (void)json;
    (void)user;
    return 0;
}

static hone_status use_journal(hone_cache *cache, const hone__key *key) {
    char empty[] = "";
    hone__session session = {.strategy = empty, .model = empty, .options = empty}, last;
    hone__trial one = {.config = empty, .proposer = empty}, *trial = NULL;
    hone__exchange said = {.request = empty, .reply = empty}, *exchange = NULL;
    uint32_t number = 0, count = 0;
    HONE_TRY(hone__journal_begin(cache, key, &session, &number, NULL));
    HONE_TRY(hone__journal_trial(cache, key, number, 0, &one, NULL));
    HONE_TRY(hone__journal_exchange(cache, key, number, &said, NULL));
    HONE_TRY(hone__journal_trials(cache, key, number, &trial, &count, NULL));
    for (uint32_t i = 0; i < count; i++)
        hone__trial_clear(&trial[i]);
    hone__free(trial);
    HONE_TRY(hone__journal_exchanges(cache, key, number, &exchange, &count, NULL));
    for (uint32_t i = 0; i < count; i++)
        hone__exchange_clear(&exchange[i]);
    hone__free(exchange);
    HONE_TRY(hone__journal_last(cache, key, &number, &last, NULL));
    hone__session_clear(&last);
    session.done = true;
    return hone__journal_update(cache, key, number, &session, NULL);
}

static hone_status use_records(hone_cache *cache, const hone__key *key) {
    char *text = NULL, reason[] = "no config could be measured";
    hone__failure failure = {.reason = reason, .expires_unix_s = 4000000000}, found;
    HONE_TRY(hone__cache_put_note(cache, "peaks", "{}", NULL));
    HONE_TRY(hone__cache_get_note(cache, "peaks", &text, NULL));
    hone__free(text);
    HONE_TRY(hone__cache_put_failure(cache, key, &failure, NULL));
    HONE_TRY(hone__cache_get_failure(cache, key, &found, NULL));
    hone__failure_clear(&found);
    /* A claim whose dropping fails holds for its lease; so another key each time. */
    static uint32_t turn;
    hone__key leased = make_key(1, 1, 1000 + turn++);
    HONE_TRY(hone__claim_take(cache, &leased, 60, NULL));
    HONE_TRY(hone__claim_renew(cache, &leased, 60, NULL));
    hone__claim_drop(cache, &leased);
    return hone__claim_take(cache, key, 0, NULL); /* closing drops this one */
}

static hone_status use_listings(hone_cache *cache, const hone__key *key) {
    hone__entry *list = NULL;
    uint32_t count = 0;
    char *json = NULL;
    HONE_TRY(hone__cache_of_kernel(cache, key->kernel, 99, &list, &count, NULL));
    for (uint32_t i = 0; i < count; i++)
        hone__entry_clear(&list[i]);
    hone__free(list);
    HONE_TRY(hone_cache_each(cache, ignore_entry, NULL, NULL, NULL));
    HONE_TRY(hone_cache_stats(&json, cache, NULL));
    hone_free(json);
    char hex[33];
    hone__hash_hex(key->key, hex);
    HONE_TRY(hone_cache_show(&json, cache, hex, NULL));
    hone_free(json);
    return HONE_OK;
}

static hone_status use_cache(hone_cache *cache, run *r) {
    char text[64];
    hone__entry entry = make_entry(make_key(1, 1, KEPT), 1000 + KEPT, text), out;
    hone__cache_count(cache, "trial", 1);
    HONE_TRY(hone__cache_put(cache, &entry, true, NULL));
    r->acknowledged = true;
    HONE_TRY(hone__cache_get(cache, &entry.key, &out, NULL));
    assert_true(out.best.time_ns == 1000 + KEPT);
    hone__entry_clear(&out);
    HONE_TRY(use_journal(cache, &entry.key));
    HONE_TRY(use_records(cache, &entry.key));
    return use_listings(cache, &entry.key);
}

static hone_status whole_life(run *r) {
    hone_cache *cache = NULL;
    hone_status status = hone_cache_open(&cache, r->path, NULL, NULL);
    if (status == HONE_OK)
        status = use_cache(cache, r);
    else
        assert_null(cache);
    hone_cache_close(cache);
    return status;
}

static hone_status only_read(run *r) {
    hone_cache *cache = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    HONE_TRY(hone_cache_open(&cache, r->path, &options, NULL));
    hone__key key = make_key(1, 1, 0);
    hone__entry out;
    hone_status status = hone__cache_get(cache, &key, &out, NULL);
    if (status == HONE_OK) {
        assert_true(out.best.time_ns == 1000);
        hone__entry_clear(&out);
        status = use_listings(cache, &key);
    }
    hone_cache_close(cache);
    return status;
}

/* ---- a look-up: whatever fails, the caller has a config that is allowed, or is told that there is no memory ---- */

static hone_kernel *kernel;
static hone_device *device;

static void make_question(void) {
    static const char spec[] = "{\"hone\":1,\"name\":\"k\",\"language\":\"external\",\"evaluator\":[\"e\"],\"sizes\":{\"M\":{\"default\":1024}},"
                               "\"params\":{\"T\":{\"kind\":\"pow2\",\"min\":1,\"max\":64}},\"default\":{\"T\":16}}";
    static const char hello[] = "{\"kind\":\"cpu\",\"name\":\"test\",\"identity\":{\"cores\":8}}";
    cJSON *json = NULL;
    assert_int_equal(hone_kernel_parse(&kernel, spec, sizeof spec - 1, NULL, "k.json", NULL), HONE_OK);
    assert_int_equal(hone__json_parse(&json, hello, sizeof hello - 1, "device", NULL), HONE_OK);
    assert_int_equal(hone__device_from_hello(&device, json, NULL, NULL), HONE_OK);
    assert_int_equal(hone__key_identify_device(device), HONE_OK);
    cJSON_Delete(json);
}

static void store_answer(fixture *f) {
    hone_problem problem;
    hone_problem_init(kernel, &problem);
    char text[64];
    hone__entry entry = make_entry(hone__key_make(kernel, device, problem.size), 1000, text);
    (void)snprintf(text, sizeof text, "{\"T\":64}");
    hone_cache *cache = open_cache(f->path);
    assert_int_equal(hone__cache_put(cache, &entry, true, NULL), HONE_OK);
    hone_cache_close(cache);
}

static hone_status look_up(run *r) {
    hone_cache *cache = NULL;
    hone_answer *answer = NULL;
    hone_problem problem;
    hone_problem_init(kernel, &problem);
    hone_status opened = hone_cache_open(&cache, r->path, NULL, NULL);
    hone_status status = hone_lookup(&answer, cache, kernel, device, &problem, NULL); /* without a cache the default */
    if (status == HONE_OK) {
        int64_t tile = hone_config_int(hone_answer_config(answer), 0);
        assert_int_equal(tile, hone_answer_match(answer) == HONE_MATCH_EXACT ? 64 : 16);
        opened = opened == HONE_OK && tile != 64 ? HONE_E_NOTFOUND : opened;
    } else {
        assert_int_equal(status, HONE_E_NOMEM);
        assert_null(answer);
    }
    hone_answer_free(answer);
    hone_cache_close(cache);
    return status == HONE_OK ? opened : status;
}

/* ---- and what must hold afterwards ---- */

typedef hone_status life_fn(run *r);

typedef struct torture {
    fixture *f;
    life_fn *life;
    bool fresh; /* each time without a file */
    uint32_t points, refused, tolerated;
} torture;

static void keep_some(fixture *f) {
    hone_cache *cache = open_cache(f->path);
    for (uint32_t i = 0; i < KEPT; i++)
        put_time(cache, i, 1000 + i);
    hone_cache_close(cache);
}

static void expect_all(const torture *t, const run *r) {
    assert_int_equal(count_files(t->f->dir, ".corrupt-"), 0); /* a failed call is no damage */
    hone_cache *cache = open_cache(t->f->path);
    for (uint32_t i = 0; i < KEPT && !t->fresh; i++)
        assert_true(get_time(cache, i) == 1000 + i);
    if (r->acknowledged)
        assert_true(get_time(cache, KEPT) == 1000 + KEPT);
    put_time(cache, KEPT + 1, 5);
    assert_true(get_time(cache, KEPT + 1) == 5);
    hone__key key = make_key(1, 1, KEPT);
    assert_int_equal(hone__claim_take(cache, &key, 60, NULL), HONE_OK);
    hone_cache_close(cache);
}

static bool expected(hone_status status) {
    static const hone_status fine[] = {HONE_OK,     HONE_E_IO,   HONE_E_NOSPACE, HONE_E_PERM, HONE_E_STORE,
                                       HONE_E_BUSY, HONE_E_FULL, HONE_E_NOMEM,   HONE_E_NOTFOUND};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        if (status == fine[i])
            return true;
    }
    return false;
}

/* False when nothing failed any more. */
static bool fail_one(torture *t, failing_kind kind, uint32_t nth, bool for_ever, int code) {
    run r = {.path = t->f->path};
    if (t->fresh) {
        remove_tree(t->f->dir);
        assert_int_equal(mkdir(t->f->dir, 0700), 0);
    }
    size_t live = hone__alloc_live();
    int files = count_open_files();
    failing_start(kind, nth, for_ever, code);
    hone_status status = t->life(&r);
    uint32_t failed = failing_stop();
    if (!expected(status) || (failed == 0 && status != HONE_OK) || hone__alloc_live() != live || count_open_files() != files)
        fail_msg("%s call %u fails %s with %d: %s, %zu allocations and %d files more", failing_names[kind], nth, for_ever ? "for ever" : "once", code,
                 hone_status_name(status), hone__alloc_live() - live, count_open_files() - files);
    expect_all(t, &r);
    t->points += failed > 0;
    t->refused += status != HONE_OK;
    t->tolerated += failed > 0 && status == HONE_OK;
    return failed > 0;
}

typedef struct fault {
    failing_kind kind;
    int code;
} fault;

static const fault faults[] = {
#ifndef HONE_SANITIZED
    {CALL_MALLOC, ENOMEM},
#endif
    {CALL_OPEN, EMFILE},  {CALL_OPEN, EACCES},    {CALL_READ, EIO},     {CALL_WRITE, ENOSPC}, {CALL_WRITE, EDQUOT}, {CALL_WRITE, FAIL_SHORT}, {CALL_SYNC, EIO},
    {CALL_MAP, ENOMEM},   {CALL_LOCK, ENOLCK},    {CALL_ROOM, ENOSPC},  {CALL_NAME, EACCES},  {CALL_LMDB, EIO},         {CALL_LMDB, MDB_PANIC},
    {CALL_LMDB, ENOMEM},
};

static void run_torture(torture *t, const char *name) {
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        uint32_t before = t->points;
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            uint32_t nth = 1;
            /* For ever fails all that follow as well: some beginnings will do, unless all are wanted. */
            uint32_t step = for_ever && getenv("HONE_TEST_EVERY") == NULL ? FOR_EVER_STEP : 1;
            while (nth < NTH_MAX && fail_one(t, faults[i].kind, nth, for_ever != 0, faults[i].code))
                nth += step;
            assert_true(nth < NTH_MAX);
        }
        print_message("  %s, %s with %d: %u points\n", name, failing_names[faults[i].kind], faults[i].code, t->points - before);
    }
    print_message("%s: %u failing calls, %u refused, %u tolerated\n", name, t->points, t->refused, t->tolerated);
}

static void test_failing_calls__on_a_cache_in_use(void **state) {
    torture t = {.f = *state, .life = whole_life};
    keep_some(t.f);
    run_torture(&t, "in use");
    assert_true(t.points > 300 && t.refused > 200);
}

static void test_failing_calls__on_a_new_cache(void **state) {
    torture t = {.f = *state, .life = whole_life, .fresh = true};
    run_torture(&t, "new");
    assert_true(t.points > 300 && t.refused > 200);
}

static void test_failing_calls__on_a_cache_that_is_only_read(void **state) {
    torture t = {.f = *state, .life = only_read};
    keep_some(t.f);
    run_torture(&t, "only read");
    assert_true(t.points > 50);
}

static void test_failing_calls__on_a_lookup(void **state) {
    torture t = {.f = *state, .life = look_up};
    keep_some(t.f);
    make_question();
    store_answer(t.f);
    run_torture(&t, "look-up");
    assert_true(t.points > 50);
    hone_kernel_free(kernel);
    hone_device_free(device);
}

static void tell(hone_log_level level, const char *subsystem, const char *message, void *user) {
    (void)level;
    (void)user;
    print_error("    %s: %s\n", subsystem, message);
}

int main(void) {
    if (getenv("HONE_TEST_LOG") != NULL)
        hone_set_log(tell, HONE_LOG_WARN, NULL);
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
        (void)setenv("TMPDIR", "/dev/shm", 1); /* thousands of caches are made and removed: not on a disk if it can be helped */
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_failing_calls__on_a_cache_in_use),
        TEST(test_failing_calls__on_a_new_cache),
        TEST(test_failing_calls__on_a_cache_that_is_only_read),
        TEST(test_failing_calls__on_a_lookup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
