/* test_failures.c: a key that could not be tuned is remembered with the reason, for longer each time, shown, and tried again when somebody insists. */
#include "tuning_fixture.h"

static hone_status tune(const subject *s, const hone_problem *problem, int slow_ms, uint32_t force, hone_error *err) {
    char command[1200], *json = NULL;
    hone_tune_options options = tune_options(s, command, slow_ms);
    options.force = force;
    hone_status status = hone_tune(&json, s->cache, s->kernel, s->device, problem, &options, err);
    hone_free(json);
    return status;
}

static int64_t believed_s(const subject *s, const hone_problem *problem) {
    hone__key key = hone__key_make(s->kernel, s->device, problem->size);
    hone__failure failure;
    if (hone__cache_get_failure(s->cache, &key, &failure, NULL) != HONE_OK)
        return 0;
    int64_t wait_s = failure.expires_unix_s - failure.created_unix_s;
    hone__failure_clear(&failure);
    return wait_s;
}

static void expect_text(char *json, const char *text) {
    if (json == NULL || strstr(json, text) == NULL)
        fail_msg("no %s in %s", text, json == NULL ? "nothing" : json);
    hone_free(json);
}

static void test_failures__are_remembered(void **state) {
    subject *s = *state;
    char *json = NULL;
    hone_problem problem = problem_of(s, 1000);
    hone_error err = {0};
    assert_int_equal(tune(s, &problem, -1, 0, &err), HONE_E_NOVALID);
    assert_int_equal(tunings(s, 0), 1);
    assert_int_equal(believed_s(s, &problem), 3600);
    assert_int_equal(tune(s, &problem, 0, 0, &err), HONE_E_NOVALID);
    assert_non_null(strstr(err.message, "no such thing"));
    assert_non_null(strstr(err.message, "force"));
    assert_int_equal(tunings(s, 0), 1);
    assert_int_equal(hone_explain(&json, s->cache, s->kernel, s->device, &problem, NULL), HONE_OK);
    expect_text(json, "no such thing");
    assert_int_equal(hone_cache_stats(&json, s->cache, NULL), HONE_OK);
    expect_text(json, "\"failures\":1");
    assert_int_equal(tune(s, &problem, -1, 1, &err), HONE_E_NOVALID);
    assert_int_equal(believed_s(s, &problem), 7200);
    for (int i = 0; i < 8; i++)
        assert_int_equal(tune(s, &problem, -1, 1, &err), HONE_E_NOVALID);
    assert_int_equal(believed_s(s, &problem), 7 * 86400);
    assert_int_equal(tune(s, &problem, 0, 1, &err), HONE_OK); /* it was mended */
    assert_int_equal(believed_s(s, &problem), 0);
    assert_int_equal(hone_cache_stats(&json, s->cache, NULL), HONE_OK);
    expect_text(json, "\"failures\":0");
}

/* A record that no Hone has written must not keep a key from being tuned for ever. */
static void test_failures__end_whatever_they_say(void **state) {
    subject *s = *state;
    static char reason[] = "said so";
    hone_problem problem = problem_of(s, 1000);
    hone__key key = hone__key_make(s->kernel, s->device, problem.size);
    static const int64_t created[] = {INT64_MIN, -1, 0, 1000};
    for (size_t i = 0; i < sizeof created / sizeof created[0]; i++) {
        hone__failure failure = {reason, created[i], INT64_MAX};
        assert_int_equal(hone__cache_put_failure(s->cache, &key, &failure, NULL), HONE_OK);
        assert_int_equal(tune(s, &problem, -1, 0, NULL), HONE_E_NOVALID);
        assert_int_equal(tunings(s, 0), i + 1);
    }
}

/* What a launch asked for and an evaluator could not do is not asked for at each start; who calls hone_tune is not kept waiting by that. */
static void test_failures__of_the_evaluator(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1000);
    hone_tune_options options = HONE_TUNE_OPTIONS_INIT;
    hone_resolve_options now = HONE_RESOLVE_OPTIONS_INIT;
    const hone_config *config = NULL;
    hone_error err = {0};
    options.evaluator = "/there/is/no/such/program";
    options.trials_max = 4;
    options.search = "random";
    now.on_miss = HONE_MISS_TUNE_NOW;
    now.tune = &options;
    hone_status first = hone_site_resolve(&config, s->site, &problem, &now, NULL, &err);
    assert_int_not_equal(first, HONE_OK);
    assert_int_not_equal(first, HONE_E_NOVALID);
    assert_int_equal(believed_s(s, &problem), 60);
    assert_int_equal(hone_site_resolve(&config, s->site, &problem, &now, NULL, &err), HONE_E_NOVALID);
    assert_non_null(strstr(err.message, "no/such/program"));
    assert_non_null(config);
    assert_int_equal(tune(s, &problem, 0, 0, &err), HONE_OK);
    assert_int_equal(believed_s(s, &problem), 0);
    assert_int_equal(hone_site_resolve(&config, s->site, &problem, &now, NULL, &err), HONE_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, subject_setup, subject_teardown)

int main(int argc, char **argv) {
    TUNING_MAIN(argc, argv)
    const struct CMUnitTest tests[] = {
        TEST(test_failures__are_remembered),
        TEST(test_failures__end_whatever_they_say),
        TEST(test_failures__of_the_evaluator),
    };
    return cmocka_run_group_tests_name("failures", tests, NULL, NULL);
}
