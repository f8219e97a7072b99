/* test_site.c: hone_site: what is answered from memory is what the cache would answer now; and memory is bounded. */
#include "site_fixture.h"

/* ---- answers ---- */

static void test_site__answers_as_the_cache_does(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024), near = problem_of(s, 2048), far = problem_of(s, 900000);
    site_put(s, s->cache, &problem, (kept){.n = 7, .time_ns = 1e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 7);
    assert_int_equal(look_n(s->site, &near, HONE_MATCH_NEAR_SHAPE), 7);
    assert_int_equal(look_n(s->site, &far, HONE_MATCH_DEFAULT), 0);
    uint64_t before = resolved(s->site);
    const hone_config *config = hone_site_lookup(s->site, &problem, NULL);
    for (int i = 0; i < 10; i++) {
        assert_ptr_equal(hone_site_lookup(s->site, &problem, NULL), config);
        assert_int_equal(look_n(s->site, &near, HONE_MATCH_NEAR_SHAPE), 7);
        assert_int_equal(look_n(s->site, &far, HONE_MATCH_DEFAULT), 0);
    }
    assert_int_equal(resolved(s->site), before);
    assert_int_equal(hone_config_int(config, PARAM_T), 32);
}

static void test_site__equal_answers_are_one(void **state) {
    subject *s = *state;
    hone_problem a = problem_of(s, 1000), b = problem_of(s, 500000);
    site_put(s, s->cache, &a, (kept){.n = 3, .time_ns = 1e6});
    site_put(s, s->cache, &b, (kept){.n = 3, .time_ns = 2e6});
    assert_ptr_equal(hone_site_lookup(s->site, &a, NULL), hone_site_lookup(s->site, &b, NULL));
}

static void test_site__refuses_what_is_no_problem_of_the_kernel(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1000001);
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_NONE), -1);
    problem = problem_of(s, 1);
    problem.count = 5;
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_NONE), -1);
    problem = problem_of(s, 1);
    problem.struct_size = 16;
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_NONE), -1);
    problem = problem_of(s, 1024);
    problem.size[AT_C] = 8; /* the default has T 16 */
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_NONE), -1);
    uint64_t before = resolved(s->site);
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_NONE), -1);
    assert_int_equal(resolved(s->site), before); /* that nothing is valid is remembered too */
}

static void test_site__without_a_cache_answers_the_default(void **state) {
    subject *s = *state;
    hone_site *site = site_open(s, NULL, NULL);
    hone_problem problem = problem_of(s, 1024);
    assert_int_equal(look_n(site, &problem, HONE_MATCH_DEFAULT), 0);
    assert_int_equal(look_n(site, &problem, HONE_MATCH_DEFAULT), 0);
    assert_int_equal(resolved(site), 1);
    hone_site_close(site);
}

static void test_site__outlives_kernel_and_device(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024);
    hone_kernel *kernel = site_kernel(SITE_SPEC);
    hone_device *device = site_device(8, "550.1");
    hone_site *site = NULL;
    assert_int_equal(hone_site_open(&site, s->cache, kernel, device, NULL, NULL), HONE_OK);
    hone_kernel_free(kernel);
    hone_device_free(device);
    const hone_config *config = hone_site_lookup(site, &problem, NULL);
    char *json = NULL;
    assert_int_equal(hone_config_json(config, &json, NULL), HONE_OK);
    assert_string_equal(json, "{\"T\":16,\"N\":0}");
    hone_free(json);
    hone_site_close(site);
    hone_site_close(NULL);
}

static void test_site__checks_its_options(void **state) {
    subject *s = *state;
    hone_site *site = NULL;
    hone_error err = {0};
    hone_site_options options = HONE_SITE_OPTIONS_INIT;
    options.problems_max = 1048577;
    assert_int_equal(hone_site_open(&site, s->cache, s->kernel, s->device, &options, &err), HONE_E_ARG);
    assert_non_null(strstr(err.message, "1048576"));
    options = (hone_site_options)HONE_SITE_OPTIONS_INIT;
    options.struct_size = 0;
    assert_int_equal(hone_site_open(&site, s->cache, s->kernel, s->device, &options, &err), HONE_E_ARG);
    assert_int_equal(hone_site_open(&site, s->cache, NULL, s->device, NULL, &err), HONE_E_ARG);
    assert_int_equal(hone_site_open(NULL, s->cache, s->kernel, s->device, NULL, &err), HONE_E_ARG);
    assert_null(site);
}

/* ---- what changes ---- */

static void test_site__notices_what_this_process_stores(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024);
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_DEFAULT), 0);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 2e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 5);
    const hone_config *old = hone_site_lookup(s->site, &problem, NULL);
    site_put(s, s->cache, &problem, (kept){.n = 6, .time_ns = 1e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 6);
    assert_int_equal(hone_config_int(old, PARAM_N), 5); /* it lives as long as the site */
}

typedef struct other {
    const subject *s;
    hone_problem problem;
    int n;
} other;

static int put_in_child(void *user) {
    other *o = user;
    hone_cache *cache = open_cache(o->s->f->path);
    site_put(o->s, cache, &o->problem, (kept){.n = o->n, .time_ns = 1e6 - o->n});
    hone_cache_close(cache);
    return 0;
}

static void test_site__notices_what_another_process_stores(void **state) {
    subject *s = *state;
    other o = {s, problem_of(s, 1024), 0};
    assert_int_equal(look_n(s->site, &o.problem, HONE_MATCH_DEFAULT), 0);
    for (o.n = 1; o.n <= 5; o.n++) {
        o.problem.size[AT_M] = 1024;
        assert_int_equal(wait_child(start_child(put_in_child, &o)), 0);
        hone_match match;
        (void)hone_site_lookup(s->site, &o.problem, &match);
        assert_int_equal(match, HONE_MATCH_EXACT); /* at once, without reopening */
        o.problem.size[AT_M] = 100000 * o.n;       /* a far one each time */
        assert_int_equal(wait_child(start_child(put_in_child, &o)), 0);
        assert_int_equal(look_n(s->site, &o.problem, HONE_MATCH_EXACT), o.n);
    }
}

static hone_status delete_fn(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    return hone__txn_delete(txn, HONE_TABLE_ENTRY, hone__entry_slot(user, bytes));
}

static void test_site__notices_that_an_entry_is_removed(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 2e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 5);
    hone__key key = hone__key_make(s->kernel, s->device, problem.size);
    assert_int_equal(hone__store_write(s->cache, delete_fn, &key, NULL), HONE_OK);
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_DEFAULT), 0);
}

static void test_site__commits_of_others_concern_it_only_when_they_do(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 2e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 5);
    uint64_t before = resolved(s->site);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(hone__cache_put_note(s->cache, "n", i % 2 == 0 ? "a" : "b", NULL), HONE_OK);
        put_time(s->cache, i, 1000); /* of another kernel */
        assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 5);
    }
    assert_int_equal(resolved(s->site), before);
}

static void test_site__near_answers_give_way_to_exact_ones_at_once(void **state) {
    subject *s = *state;
    hone_problem here = problem_of(s, 1024), near = problem_of(s, 2048), nearer = problem_of(s, 1100);
    site_put(s, s->cache, &near, (kept){.n = 1, .time_ns = 1e6});
    assert_int_equal(look_n(s->site, &here, HONE_MATCH_NEAR_SHAPE), 1);
    site_put(s, s->cache, &nearer, (kept){.n = 2, .time_ns = 1e6});
    /* Looking for nearer ones pauses between one and the next; the first time it does not. */
    assert_int_equal(look_n(s->site, &here, HONE_MATCH_NEAR_SHAPE), 2);
    site_put(s, s->cache, &here, (kept){.n = 3, .time_ns = 1e6});
    assert_int_equal(look_n(s->site, &here, HONE_MATCH_EXACT), 3);
}

static void test_site__notices_a_replaced_file(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 2e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 5);
    assert_int_equal(unlink(s->f->path), 0);
    hone_problem far = problem_of(s, 500000);
    site_put(s, s->cache, &far, (kept){.n = 6, .time_ns = 2e6}); /* a writer opens the file anew */
    assert_int_equal(look_n(s->site, &far, HONE_MATCH_EXACT), 6);
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_DEFAULT), 0);
}

/* ---- roles of sizes ---- */

static void test_site__shares_by_role(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024);
    site_put(s, s->cache, &problem, (kept){.n = 4, .time_ns = 1e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 4);
    uint64_t before = resolved(s->site);
    for (int64_t i = 65; i <= 128; i++) { /* one bucket, and an ignored size */
        problem.size[AT_B] = i;
        problem.size[AT_I] = 1000 - i;
        assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 4);
    }
    assert_int_equal(resolved(s->site), before);
    problem.size[AT_B] = 1ll << 60; /* out of range, though ranges are not part of what is shared */
    problem.size[AT_I] = -5;
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_NONE), -1);
}

static void test_site__constraints_are_checked_for_each_size(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024);
    problem.size[AT_C] = 40; /* the bucket of 64; T is 32 */
    site_put(s, s->cache, &problem, (kept){.n = 4, .time_ns = 1e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 4);
    problem.size[AT_C] = 50;
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 4);
    problem.size[AT_C] = 33;
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 4);
    /* In another bucket, T 32 does not fit 20, but the default does. */
    problem.size[AT_C] = 24;
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 1e6});
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_DEFAULT), 0);
    problem.size[AT_C] = 32;
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 5);
}

/* ---- bounds ---- */

static void test_site__a_million_lengths_do_not_grow_it(void **state) {
    subject *s = *state;
    hone_site_options options = HONE_SITE_OPTIONS_INIT;
    options.problems_max = 256;
    hone_site *site = site_open(s, NULL, &options); /* without a cache, so that it is quick */
    uint32_t asked = 20000;
    size_t live = 0;
    for (uint32_t i = 0; i < asked; i++) {
        hone_problem problem = problem_of(s, 1 + i);
        assert_int_equal(look_n(site, &problem, HONE_MATCH_DEFAULT), 0);
        if (i == 2000)
            live = hone__alloc_live();
    }
    assert_int_equal(hone__alloc_live(), live);
    assert_true(site->known <= 256);
    assert_int_equal(site->answer_count, 1);
    assert_true(atomic_load(&site->evicted) > asked / 2);
    hone_site_close(site);
}

static void test_site__keeps_what_is_used(void **state) {
    subject *s = *state;
    hone_site_options options = HONE_SITE_OPTIONS_INIT;
    options.problems_max = 256;
    hone_site *site = site_open(s, NULL, &options);
    uint64_t again = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        hone_problem passing = problem_of(s, 1000 + i), hot = problem_of(s, 1 + i % 8);
        (void)hone_site_lookup(site, &passing, NULL);
        uint64_t before = resolved(site);
        (void)hone_site_lookup(site, &hot, NULL);
        again += resolved(site) - before;
    }
    print_message("eight hot problems beside 4000 passing ones were asked again %llu times\n", (unsigned long long)again);
    assert_true(again < 400);
    hone_site_close(site);
}

/* Sizes of all kinds of numbers: every answer is the one of its problem, through growth and eviction. */
static void test_site__property_never_mixes_problems(void **state) {
    subject *s = *state;
    static const char spec[] = "{\"hone\":1,\"name\":\"k\",\"language\":\"external\",\"evaluator\":[\"none\"],\"sizes\":{\"A\":{\"default\":1,\"min\":1}},"
                               "\"params\":{\"N\":{\"kind\":\"range\",\"min\":0,\"max\":1000}},\"constraints\":[\"N == A % 997 || N == 0\"]}";
    hone_kernel *kernel = site_kernel(spec);
    hone_site *site = NULL;
    hone_site_options options = HONE_SITE_OPTIONS_INIT;
    options.problems_max = 128;
    assert_int_equal(hone_site_open(&site, s->cache, kernel, s->device, &options, NULL), HONE_OK);
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("never_mixes_problems"));
    enum { STORED = 300 };
    int64_t size[STORED];
    for (int i = 0; i < STORED; i++) {
        size[i] = 1 + (int64_t)(hone__rng_next(&rng) >> (12 + hone__rng_below(&rng, 40)));
        char sizes[64], config[64];
        static char name[] = "k", none[] = "", device[] = "{}";
        (void)snprintf(sizes, sizeof sizes, "{\"A\":%lld}", (long long)size[i]);
        (void)snprintf(config, sizeof config, "{\"N\":%lld}", (long long)(size[i] % 997));
        hone__entry entry = {.key = hone__key_make(kernel, s->device, &size[i]), .kernel_name = name, .sizes = sizes, .device = device,
                             .best = {config, 1e6, 1e6, 1e6, 0, 5}, .effort = HONE_EFFORT_THOROUGH, .strategy = none, .model = none, .stop = none,
                             .tool_version = none, .host = none, .driver = none, .toolkit = none, .created_unix_s = 1000};
        assert_int_equal(hone__cache_put(s->cache, &entry, true, NULL), HONE_OK);
    }
    for (int i = 0; i < 5000; i++) {
        hone_problem problem;
        hone_match match;
        hone_problem_init(kernel, &problem);
        problem.size[0] = size[hone__rng_below(&rng, hone__rng_below(&rng, 4) == 0 ? STORED : 40)];
        const hone_config *config = hone_site_lookup(site, &problem, &match);
        assert_int_equal(match, HONE_MATCH_EXACT);
        assert_int_equal(hone_config_int(config, 0), problem.size[0] % 997);
    }
    hone_site_close(site);
    hone_kernel_free(kernel);
}

/* ---- fork ---- */

static int look_in_child(void *user) {
    const subject *s = user;
    hone_problem known = problem_of(s, 1024), unknown = problem_of(s, 777);
    hone_match match;
    const hone_config *config = hone_site_lookup(s->site, &known, &match);
    if (match != HONE_MATCH_EXACT || hone_config_int(config, PARAM_N) != 5)
        return 1;
    config = hone_site_lookup(s->site, &unknown, &match);
    if (match != HONE_MATCH_DEFAULT || hone_config_int(config, PARAM_N) != 0)
        return 2;
    hone_cache_close(s->cache);
    return 0;
}

static void test_site__a_forked_child_goes_on_with_what_is_in_memory(void **state) {
    subject *s = *state;
    hone_problem known = problem_of(s, 1024);
    site_put(s, s->cache, &known, (kept){.n = 5, .time_ns = 2e6});
    assert_int_equal(look_n(s->site, &known, HONE_MATCH_EXACT), 5);
    (void)pthread_mutex_lock(&s->site->writer); /* as another thread may, at the moment of fork */
    assert_int_equal(wait_child(start_child(look_in_child, s)), 0);
    (void)pthread_mutex_unlock(&s->site->writer);
    hone_problem far = problem_of(s, 500000);
    site_put(s, s->cache, &far, (kept){.n = 6, .time_ns = 2e6}); /* the parent's cache is as it was */
    assert_int_equal(look_n(s->site, &far, HONE_MATCH_EXACT), 6);
}

/* ---- another driver ---- */

static void look_with(subject *s, hone_recheck recheck, const hone_problem *problem, hone_match expected, int n, bool changed) {
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    hone_cache *cache = NULL;
    hone_answer *answer = NULL;
    char *json = NULL;
    options.recheck = recheck;
    assert_int_equal(hone_cache_open(&cache, s->f->path, &options, NULL), HONE_OK);
    hone_site *site = site_open(s, cache, NULL);
    assert_int_equal(look_n(site, problem, expected), n);
    assert_int_equal(hone_lookup(&answer, cache, s->kernel, s->device, problem, NULL), HONE_OK);
    assert_int_equal(hone_answer_match(answer), expected);
    assert_int_equal(hone_answer_json(answer, &json, NULL), HONE_OK);
    assert_int_equal(strstr(json, "driver 535.9 then, 550.1 now") != NULL, changed || recheck == HONE_RECHECK_IGNORE);
    hone_free(json);
    hone_answer_free(answer);
    hone_cache_close(cache);
}

static void test_site__entries_of_another_driver_by_policy(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024), same = problem_of(s, 500000), silent = problem_of(s, 1000000);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 2e6, .driver = "535.9"});
    look_with(s, HONE_RECHECK_USE, &problem, HONE_MATCH_EXACT, 5, true);
    look_with(s, HONE_RECHECK_TUNE, &problem, HONE_MATCH_EXACT, 5, true);
    look_with(s, HONE_RECHECK_IGNORE, &problem, HONE_MATCH_DEFAULT, 0, false);
    site_put(s, s->cache, &same, (kept){.n = 6, .time_ns = 2e6, .driver = "550.1"});
    site_put(s, s->cache, &silent, (kept){.n = 7, .time_ns = 2e6});
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    hone_cache *cache = NULL;
    options.recheck = HONE_RECHECK_IGNORE;
    assert_int_equal(hone_cache_open(&cache, s->f->path, &options, NULL), HONE_OK);
    hone_site *site = site_open(s, cache, NULL);
    assert_int_equal(look_n(site, &same, HONE_MATCH_EXACT), 6);   /* per entry, never per file */
    assert_int_equal(look_n(site, &silent, HONE_MATCH_EXACT), 7); /* what is not known has not changed */
    hone_cache_close(cache);
    options.recheck = 3;
    assert_int_equal(hone_cache_open(&cache, s->f->path, &options, NULL), HONE_E_ARG);
}

/* ---- groups ---- */

static void test_site__a_group_is_all_exact_or_all_default(void **state) {
    subject *s = *state;
    hone_problem problem[3] = {problem_of(s, 1024), problem_of(s, 2048), problem_of(s, 500000)};
    const hone_site *const site[3] = {s->site, s->site, s->site};
    const hone_config *config[3];
    hone_group_result result = HONE_GROUP_RESULT_INIT;
    site_put(s, s->cache, &problem[0], (kept){.n = 1, .time_ns = 1e6});
    site_put(s, s->cache, &problem[1], (kept){.n = 2, .time_ns = 1e6});
    assert_int_equal(hone_group_lookup(config, site, problem, 3, &result, NULL), HONE_OK);
    assert_int_equal(result.all_exact, 0);
    assert_int_equal(result.missing, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hone_config_int(config[i], PARAM_N), 0);
    hone_group_result first = result;
    site_put(s, s->cache, &problem[2], (kept){.n = 3, .time_ns = 1e6});
    assert_int_equal(hone_group_lookup(config, site, problem, 3, &result, NULL), HONE_OK);
    assert_int_equal(result.all_exact, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hone_config_int(config[i], PARAM_N), i + 1);
    assert_true(result.snapshot > first.snapshot);
    assert_true(result.digest != first.digest);
    hone_group_result again = HONE_GROUP_RESULT_INIT;
    assert_int_equal(hone_group_lookup(config, site, problem, 3, &again, NULL), HONE_OK);
    assert_true(again.digest == result.digest);
}

static void test_site__a_group_refuses_what_has_no_common_state(void **state) {
    subject *s = *state;
    hone_problem problem[2] = {problem_of(s, 1024), problem_of(s, 2048)};
    hone_site *loose = site_open(s, NULL, NULL);
    const hone_site *const mixed[2] = {s->site, loose}, *const alone[2] = {loose, loose};
    const hone_config *config[2];
    hone_error err = {0};
    hone_group_result result = HONE_GROUP_RESULT_INIT;
    assert_int_equal(hone_group_lookup(config, mixed, problem, 2, &result, &err), HONE_E_ARG);
    assert_non_null(strstr(err.message, "another cache"));
    assert_int_equal(hone_group_lookup(config, alone, problem, 0, &result, &err), HONE_E_ARG);
    assert_int_equal(hone_group_lookup(config, alone, problem, 2, &result, &err), HONE_OK);
    assert_int_equal(result.missing, 2);
    assert_int_equal(result.snapshot, 0);
    problem[1].size[AT_C] = 8;
    assert_int_equal(hone_group_lookup(config, alone, problem, 2, &result, &err), HONE_E_CONFIG);
    problem[1].size[AT_M] = -1;
    assert_int_equal(hone_group_lookup(config, alone, problem, 2, &result, &err), HONE_E_ARG);
    result.struct_size = 0;
    assert_int_equal(hone_group_lookup(config, alone, problem, 2, &result, &err), HONE_E_ARG);
    hone_site_close(loose);
}

/* ---- no memory ---- */

static void test_site__no_memory_is_a_worse_answer(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1024);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 2e6});
    bool done = false;
    for (size_t nth = 1; nth < 500 && !done; nth++) {
        hone_site *site = NULL;
        hone_match match = HONE_MATCH_NONE;
        size_t live = hone__alloc_live();
        hone__alloc_fail_at(nth, 1);
        hone_status status = hone_site_open(&site, s->cache, s->kernel, s->device, NULL, NULL);
        const hone_config *config = status == HONE_OK ? hone_site_lookup(site, &problem, &match) : NULL;
        hone__alloc_fail_at(0, 0);
        assert_true(status == HONE_OK || status == HONE_E_NOMEM);
        if (status == HONE_OK) {
            assert_non_null(config);
            assert_int_equal(hone_config_int(config, PARAM_N), match == HONE_MATCH_EXACT ? 5 : 0);
            done = match == HONE_MATCH_EXACT;
            assert_int_equal(look_n(site, &problem, HONE_MATCH_EXACT), 5); /* memory that was short is not remembered */
        }
        hone_site_close(site);
        assert_int_equal(hone__alloc_live(), live);
    }
    assert_true(done);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, subject_setup, subject_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_site__answers_as_the_cache_does),
        TEST(test_site__equal_answers_are_one),
        TEST(test_site__refuses_what_is_no_problem_of_the_kernel),
        TEST(test_site__without_a_cache_answers_the_default),
        TEST(test_site__outlives_kernel_and_device),
        TEST(test_site__checks_its_options),
        TEST(test_site__notices_what_this_process_stores),
        TEST(test_site__notices_what_another_process_stores),
        TEST(test_site__notices_that_an_entry_is_removed),
        TEST(test_site__commits_of_others_concern_it_only_when_they_do),
        TEST(test_site__near_answers_give_way_to_exact_ones_at_once),
        TEST(test_site__notices_a_replaced_file),
        TEST(test_site__shares_by_role),
        TEST(test_site__constraints_are_checked_for_each_size),
        TEST(test_site__a_million_lengths_do_not_grow_it),
        TEST(test_site__keeps_what_is_used),
        TEST(test_site__property_never_mixes_problems),
        TEST(test_site__a_forked_child_goes_on_with_what_is_in_memory),
        TEST(test_site__entries_of_another_driver_by_policy),
        TEST(test_site__a_group_is_all_exact_or_all_default),
        TEST(test_site__a_group_refuses_what_has_no_common_state),
        TEST(test_site__no_memory_is_a_worse_answer),
    };
    return cmocka_run_group_tests_name("site", tests, NULL, NULL);
}
