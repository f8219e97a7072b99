/* test_effort.c: a request for more effort tunes once, from what is known, whatever the figures of the two tunings say; what was measured under other
 * software likewise. */
#include "tuning_fixture.h"

static char *tune(const subject *s, hone_cache *cache, const hone_problem *problem, uint32_t trials_max) {
    char command[1200], *json = NULL;
    hone_error err = {0};
    hone_tune_options options = tune_options(s, command, 0);
    options.trials_max = trials_max;
    options.time_max_s = 1;
    if (hone_tune(&json, cache, s->kernel, s->device, problem, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return json;
}

static void expect(char *json, const char *text) {
    if (strstr(json, text) == NULL)
        fail_msg("no %s in %s", text, json);
    hone_free(json);
}

/* The quick entry's reading was too good to be true: nothing that is measured comes near it. */
static void test_effort__is_spent_once(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1000);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 1, .effort = HONE_EFFORT_QUICK});
    expect(tune(s, s->cache, &problem, 4), "\"tuned\":false");
    assert_int_equal(tunings(s, 0), 0);
    expect(tune(s, s->cache, &problem, 500), "\"effort\":\"thorough\"");
    assert_int_equal(tunings(s, 0), 1);
    expect(tune(s, s->cache, &problem, 500), "\"tuned\":false");
    expect(tune(s, s->cache, &problem, 100), "\"effort\":\"thorough\"");
    expect(tune(s, s->cache, &problem, 4), "\"tuned\":false");
    assert_int_equal(tunings(s, 0), 1);
}

/* With no time for more, the default and what is known are measured, and the better of the two is stored with the new effort. */
static void test_effort__starts_from_what_is_known(void **state) {
    subject *s = *state;
    char command[1200], *json = NULL;
    hone_problem problem = problem_of(s, 1000);
    hone_tune_options options = tune_options(s, command, 0);
    static const char *const searches[] = {"random", "exhaustive", "lfbo"};
    for (size_t i = 0; i < 3; i++) {
        problem.size[AT_M] = 1000 + 37 * (int64_t)i;
        site_put(s, s->cache, &problem, (kept){.n = 977, .time_ns = 1, .effort = HONE_EFFORT_QUICK});
        options.search = searches[i];
        options.trials_max = 500;
        options.time_max_s = 1e-9;
        assert_int_equal(hone_tune(&json, s->cache, s->kernel, s->device, &problem, &options, NULL), HONE_OK);
        if (strstr(json, "\"config\":{\"T\":32,\"N\":977}") == NULL)
            fail_msg("%s: %s", searches[i], json);
        expect(json, "\"effort\":\"thorough\"");
        assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 977);
    }
}

/* A pack's quick entry looks better than anything, and cannot be replaced. */
static void test_effort__is_found_beside_a_pack(void **state) {
    subject *s = *state;
    char pack[400];
    hone_problem problem = problem_of(s, 1000);
    (void)snprintf(pack, sizeof pack, "%s/p.pack", s->f->dir);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 1, .effort = HONE_EFFORT_QUICK});
    assert_int_equal(hone_export(NULL, s->cache, pack, NULL, NULL), HONE_OK);
    hone_cache_close(s->cache);
    (void)unlink(s->f->path);
    s->cache = open_cache(s->f->path);
    s->site = site_open(s, s->cache, NULL);
    assert_int_equal(hone_cache_add_pack(s->cache, pack, NULL, NULL), HONE_OK);
    expect(tune(s, s->cache, &problem, 4), "\"tuned\":false");
    expect(tune(s, s->cache, &problem, 500), "\"tuned\":true");
    expect(tune(s, s->cache, &problem, 500), "\"tuned\":false");
    assert_int_equal(tunings(s, 0), 1);
}

/* What the policy ignores is replaced by what was measured since, though it was faster. */
static void test_effort__other_software_is_replaced(void **state) {
    subject *s = *state;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    hone_problem problem = problem_of(s, 1000);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 1, .driver = "535.9"});
    hone_cache_close(s->cache);
    options.recheck = HONE_RECHECK_IGNORE;
    assert_int_equal(hone_cache_open(&s->cache, s->f->path, &options, NULL), HONE_OK);
    s->site = site_open(s, s->cache, NULL);
    expect(tune(s, s->cache, &problem, 4), "\"tuned\":true");
    expect(tune(s, s->cache, &problem, 4), "\"tuned\":false");
    assert_int_equal(tunings(s, 0), 1);
}

/* What another process has stored meanwhile was not measured beside the result: the better evidence stays. */
static void test_effort__replaces_only_what_it_began_with(void **state) {
    subject *s = *state;
    hone__entry old;
    hone_problem problem = problem_of(s, 1000);
    hone__key key = hone__key_make(s->kernel, s->device, problem.size);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 50});
    assert_int_equal(hone__cache_get(s->cache, &key, &old, NULL), HONE_OK);
    site_put(s, s->cache, &problem, (kept){.n = 6, .time_ns = 10});
    hone__entry worse = old;
    worse.best.time_ns = worse.best.low_ns = worse.best.high_ns = 90;
    assert_int_equal(hone__cache_put_over(s->cache, &worse, &old, NULL), HONE_OK);
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 6);
    hone__entry_clear(&old);
    assert_int_equal(hone__cache_get(s->cache, &key, &old, NULL), HONE_OK);
    worse = old;
    worse.best.time_ns = worse.best.low_ns = worse.best.high_ns = 90;
    assert_int_equal(hone__cache_put_over(s->cache, &worse, &old, NULL), HONE_OK);
    hone__entry_clear(&old);
    assert_int_equal(hone__cache_get(s->cache, &key, &old, NULL), HONE_OK);
    assert_true(old.best.time_ns > 80);
    hone__entry_clear(&old);
}

/* No problem is the kernel's default one, a second time too; one of no size of the kernel's is refused before anything starts. */
static void test_effort__of_problems_that_are_none(void **state) {
    subject *s = *state;
    hone_error err = {0};
    char *json = NULL, command[1200];
    hone_tune_options options = tune_options(s, command, 0);
    hone_problem problem = problem_of(s, 1000001);
    expect(tune(s, s->cache, NULL, 4), "\"tuned\":true");
    expect(tune(s, s->cache, NULL, 4), "\"tuned\":false");
    assert_int_equal(tunings(s, 1024), 1);
    assert_int_equal(hone_tune(&json, s->cache, s->kernel, s->device, &problem, &options, &err), HONE_E_ARG);
    assert_non_null(strstr(err.message, "size M"));
    problem = (hone_problem){.count = s->kernel->size_count};
    assert_int_equal(hone_tune(&json, s->cache, s->kernel, s->device, &problem, &options, &err), HONE_E_ARG);
    assert_int_equal(tunings(s, 0), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, subject_setup, subject_teardown)

int main(int argc, char **argv) {
    TUNING_MAIN(argc, argv)
    const struct CMUnitTest tests[] = {
        TEST(test_effort__is_spent_once),
        TEST(test_effort__starts_from_what_is_known),
        TEST(test_effort__is_found_beside_a_pack),
        TEST(test_effort__other_software_is_replaced),
        TEST(test_effort__replaces_only_what_it_began_with),
        TEST(test_effort__of_problems_that_are_none),
    };
    return cmocka_run_group_tests_name("effort", tests, NULL, NULL);
}
