/* test_tuner_thread.c: what a miss does: tuning in the background, tuning now, waiting, deadlines, stopping. */
#include "file.h"
#include "tuning_fixture.h"

#include <pthread.h>

static void start(const subject *s, int slow_ms, uint32_t queue_max) {
    char command[1200];
    hone_tune_options tune = tune_options(s, command, slow_ms);
    hone_tuner_options options = HONE_TUNER_OPTIONS_INIT;
    hone_error err = {0};
    options.tune = &tune; /* gone when this returns: it is copied */
    options.queue_max = queue_max;
    options.stop_wait_ms = 20000;
    if (hone_tuner_start(s->cache, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
}

static hone_tuner_state state_of(const subject *s) {
    hone_tuner_state state = HONE_TUNER_STATE_INIT;
    assert_int_equal(hone_tuner_state_get(s->cache, &state, NULL), HONE_OK);
    return state;
}

/* ---- in the background ---- */

static void test_tuner_thread__tunes_what_look_ups_miss(void **state) {
    subject *s = *state;
    hone_problem a = problem_of(s, 1000), b = problem_of(s, 500000);
    assert_int_equal(look_n(s->site, &a, HONE_MATCH_DEFAULT), 0);
    assert_int_equal(state_of(s).running, 0);
    start(s, 0, 0);
    for (int i = 0; i < 100; i++) { /* known before the tuner came, and unknown: each is asked for once */
        hone_match match;
        (void)hone_site_lookup(s->site, &a, &match);
        (void)hone_site_lookup(s->site, &b, &match);
    }
    hone_error err = {0};
    assert_int_equal(hone_tuner_wait(s->cache, 60000, &err), HONE_OK);
    hone_match match;
    assert_non_null(hone_site_lookup(s->site, &a, &match));
    assert_int_equal(match, HONE_MATCH_EXACT);
    assert_non_null(hone_site_lookup(s->site, &b, &match));
    assert_int_equal(match, HONE_MATCH_EXACT);
    assert_int_equal(tunings(s, 1000), 1);
    assert_int_equal(tunings(s, 500000), 1);
    assert_int_equal(state_of(s).done, 2);
    assert_int_equal(state_of(s).failed, 0);
    assert_int_equal(hone_tuner_start(s->cache, NULL, &err), HONE_E_EXISTS);
    assert_int_equal(hone_tuner_stop(s->cache, 20000, NULL), HONE_OK);
    assert_int_equal(hone_tuner_stop(s->cache, 0, NULL), HONE_OK);
    assert_int_equal(state_of(s).running, 0);
    start(s, 0, 0); /* and again */
    assert_int_equal(hone_tuner_stop(s->cache, 20000, NULL), HONE_OK);
}

static void test_tuner_thread__leaves_alone_what_is_good_or_not_to_be_tuned(void **state) {
    subject *s = *state;
    hone_problem good = problem_of(s, 1000), other = problem_of(s, 500000);
    hone_site_options options = HONE_SITE_OPTIONS_INIT;
    options.never_tune = 1;
    hone_site *alone = site_open(s, s->cache, &options);
    site_put(s, s->cache, &good, (kept){.n = 5, .time_ns = 1e6, .effort = HONE_EFFORT_QUICK});
    start(s, 0, 0);
    assert_int_equal(look_n(s->site, &good, HONE_MATCH_EXACT), 5); /* quick is what this tuner gives */
    assert_int_equal(look_n(alone, &other, HONE_MATCH_DEFAULT), 0);
    assert_int_equal(hone_tuner_wait(s->cache, 60000, NULL), HONE_OK);
    assert_int_equal(tunings(s, 0), 0);
}

/* A quick entry is a hit; a tuner of more effort measures it better.  The effort follows from the number of trials. */
static void test_tuner_thread__upgrades_a_quick_entry(void **state) {
    subject *s = *state;
    char command[1200];
    hone_problem problem = problem_of(s, 1000);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 1e9, .effort = HONE_EFFORT_QUICK});
    hone_tune_options tune = tune_options(s, command, 0);
    tune.trials_max = 100;
    tune.time_max_s = 1;
    hone_tuner_options options = HONE_TUNER_OPTIONS_INIT;
    options.tune = &tune;
    assert_int_equal(hone_tuner_start(s->cache, &options, NULL), HONE_OK);
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 5);
    assert_int_equal(hone_tuner_wait(s->cache, 60000, NULL), HONE_OK);
    assert_int_equal(tunings(s, 1000), 1);
    const hone__answered *answer = NULL;
    (void)hone__site_answer(s->site, &problem, &answer);
    assert_int_equal(answer->effort, HONE_EFFORT_STANDARD);
    (void)hone_site_lookup(s->site, &problem, NULL);
    assert_int_equal(hone_tuner_wait(s->cache, 60000, NULL), HONE_OK);
    assert_int_equal(tunings(s, 1000), 1);
}

static void test_tuner_thread__measures_again_under_another_driver(void **state) {
    subject *s = *state;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    hone_problem problem = problem_of(s, 1000);
    site_put(s, s->cache, &problem, (kept){.n = 5, .time_ns = 1, .driver = "535.9"});
    hone_cache_close(s->cache);
    options.recheck = HONE_RECHECK_TUNE;
    assert_int_equal(hone_cache_open(&s->cache, s->f->path, &options, NULL), HONE_OK);
    s->site = site_open(s, s->cache, NULL);
    start(s, 0, 0);
    assert_int_equal(look_n(s->site, &problem, HONE_MATCH_EXACT), 5); /* used meanwhile */
    assert_int_equal(hone_tuner_wait(s->cache, 60000, NULL), HONE_OK);
    const hone__answered *answer = NULL;
    (void)hone__site_answer(s->site, &problem, &answer);
    assert_int_equal(answer->match, HONE_MATCH_EXACT);
    assert_false(answer->changed); /* though the old time was better: it was another driver's */
    assert_int_equal(tunings(s, 1000), 1);
}

static void test_tuner_thread__queue_is_bounded(void **state) {
    subject *s = *state;
    start(s, 200, 2);
    for (int i = 0; i < 20; i++) {
        hone_problem problem = problem_of(s, 1000 + 37 * i);
        assert_non_null(hone_site_lookup(s->site, &problem, NULL));
    }
    hone_tuner_state now = state_of(s);
    assert_true(now.queued <= 2);
    assert_true(now.dropped >= 17);
    assert_int_equal(hone_tuner_wait(s->cache, 1, NULL), HONE_E_TIMEOUT);
}

/* A pack with entries for these problems, in memory; freed by the caller.  The cache is empty afterwards. */
static void *pack_of(subject *s, const hone_problem *problem, int count, size_t *bytes) {
    char path[400];
    (void)snprintf(path, sizeof path, "%s/made.pack", s->f->dir);
    for (int i = 0; i < count; i++)
        site_put(s, s->cache, &problem[i], (kept){.n = 5, .time_ns = 1e9});
    assert_int_equal(hone_export(NULL, s->cache, path, NULL, NULL), HONE_OK);
    hone_cache_close(s->cache);
    (void)unlink(s->f->path);
    s->cache = open_cache(s->f->path);
    s->site = site_open(s, s->cache, NULL);
    char *text = NULL;
    hone_error err = {0};
    if (hone__file_read(path, 1 << 20, &text, bytes, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return text;
}

/* What a pack answers, one of a file or one in memory, added before or after the tuner, is not tuned: not even when it was queued already. */
static void test_tuner_thread__packs_answer(void **state) {
    subject *s = *state;
    size_t bytes = 0;
    hone_problem slow = problem_of(s, 700000), known[2] = {problem_of(s, 1000), problem_of(s, 1037)};
    void *pack = pack_of(s, known, 2, &bytes);
    start(s, 50, 0);
    (void)hone_site_lookup(s->site, &slow, NULL);
    while (tunings(s, 700000) == 0)
        hone__sleep_ms(2);
    assert_int_equal(look_n(s->site, &known[0], HONE_MATCH_DEFAULT), 0); /* queued */
    assert_int_equal(hone_cache_add_pack_memory(s->cache, "made", pack, bytes, NULL, NULL), HONE_OK);
    assert_int_equal(look_n(s->site, &known[0], HONE_MATCH_EXACT), 5);
    assert_int_equal(look_n(s->site, &known[1], HONE_MATCH_EXACT), 5);
    assert_int_equal(hone_tuner_wait(s->cache, 60000, NULL), HONE_OK);
    assert_int_equal(tunings(s, 1000) + tunings(s, 1037), 0);
    assert_int_equal(hone_tuner_stop(s->cache, 20000, NULL), HONE_OK);
    start(s, 0, 0); /* and again, with the pack there from the beginning */
    slow.size[AT_M] = 710000;
    (void)hone_site_lookup(s->site, &slow, NULL);
    assert_int_equal(hone_tuner_wait(s->cache, 60000, NULL), HONE_OK);
    assert_int_equal(tunings(s, 710000), 1);
    hone_cache_close(s->cache);
    s->cache = NULL;
    hone__free(pack);
}

/* Closing stops a tuning at its next step; what was measured is kept. */
static void test_tuner_thread__closing_joins(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1000);
    start(s, 100, 0);
    (void)hone_site_lookup(s->site, &problem, NULL);
    while (tunings(s, 1000) == 0)
        hone__sleep_ms(5);
    hone_cache_close(s->cache);
    s->cache = open_cache(s->f->path);
    s->site = site_open(s, s->cache, NULL);
    assert_int_equal(hone__alloc_live() > 0, 1);
}

/* ---- now ---- */

typedef struct asker {
    pthread_t thread;
    const subject *s;
    const hone_site *site;
    hone_status status;
    hone_match match;
    int64_t t;
} asker;

static void *ask_now(void *user) {
    asker *self = user;
    char command[1200];
    hone_tune_options tune = tune_options(self->s, command, 10);
    hone_resolve_options options = HONE_RESOLVE_OPTIONS_INIT;
    hone_problem problem = problem_of(self->s, 1000);
    const hone_config *config = NULL;
    options.on_miss = HONE_MISS_TUNE_NOW;
    options.deadline_ms = 60000;
    options.tune = &tune;
    self->status = hone_site_resolve(&config, self->site, &problem, &options, &self->match, NULL);
    self->t = hone_config_int(config, PARAM_T);
    return NULL;
}

static void test_tuner_thread__many_ask_one_tunes(void **state) {
    subject *s = *state;
    asker askers[4];
    for (int i = 0; i < 4; i++) {
        askers[i] = (asker){.s = s, .site = s->site};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_now, &askers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
        assert_int_equal(askers[i].status, HONE_OK);
        assert_int_equal(askers[i].match, HONE_MATCH_EXACT);
        assert_int_equal(askers[i].t, askers[0].t);
    }
    assert_int_equal(tunings(s, 1000), 1);
}

static void test_tuner_thread__deadline_gives_the_fallback(void **state) {
    subject *s = *state;
    char command[1200];
    hone_tune_options tune = tune_options(s, command, 100);
    hone_resolve_options options = HONE_RESOLVE_OPTIONS_INIT;
    hone_problem problem = problem_of(s, 1000);
    const hone_config *config = NULL;
    hone_match match;
    hone_error err = {0};
    tune.trials_max = 4000;
    options.on_miss = HONE_MISS_TUNE_NOW;
    options.deadline_ms = 50;
    options.tune = &tune;
    hone_status status = hone_site_resolve(&config, s->site, &problem, &options, &match, &err);
    /* Within so little time one config, the default, may have been measured, and is an answer. */
    assert_true(status == HONE_OK || status == HONE_E_TIMEOUT);
    assert_non_null(config);
    assert_int_equal(match == HONE_MATCH_EXACT, status == HONE_OK);
    options.on_miss = HONE_MISS_TUNE_BACKGROUND;
    problem = problem_of(s, 500000);
    assert_int_equal(hone_site_resolve(&config, s->site, &problem, &options, &match, &err), HONE_E_STATE);
    assert_non_null(strstr(err.message, "hone_tuner_start"));
    start(s, 1000, 0);
    options.deadline_ms = 20;
    assert_int_equal(hone_site_resolve(&config, s->site, &problem, &options, &match, &err), HONE_E_TIMEOUT);
    assert_non_null(config);
    assert_int_equal(match, HONE_MATCH_DEFAULT);
}

static void test_tuner_thread__waits_for_the_background(void **state) {
    subject *s = *state;
    hone_resolve_options options = HONE_RESOLVE_OPTIONS_INIT;
    hone_problem problem = problem_of(s, 1000);
    const hone_config *config = NULL;
    hone_match match;
    start(s, 0, 0);
    options.on_miss = HONE_MISS_TUNE_BACKGROUND;
    options.deadline_ms = 60000;
    assert_int_equal(hone_site_resolve(&config, s->site, &problem, &options, &match, NULL), HONE_OK);
    assert_int_equal(match, HONE_MATCH_EXACT);
    assert_int_equal(hone_site_resolve(&config, s->site, &problem, NULL, NULL, NULL), HONE_OK);
    options.on_miss = 9;
    assert_int_equal(hone_site_resolve(&config, s->site, &problem, &options, NULL, NULL), HONE_E_ARG);
}

/* Who waits without a deadline for a key that cannot be tuned is told so. */
static void test_tuner_thread__waiting_ends_with_a_failure(void **state) {
    subject *s = *state;
    hone_resolve_options options = HONE_RESOLVE_OPTIONS_INIT;
    hone_site_options alone = HONE_SITE_OPTIONS_INIT;
    hone_problem problem = problem_of(s, 1000);
    const hone_config *config = NULL;
    hone_match match;
    hone_error err = {0};
    alone.never_tune = 1;
    hone_site *never = site_open(s, s->cache, &alone);
    start(s, -1, 0);
    options.on_miss = HONE_MISS_TUNE_BACKGROUND;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hone_site_resolve(&config, s->site, &problem, &options, &match, &err), HONE_E_NOVALID);
        assert_non_null(strstr(err.message, "no such thing"));
        assert_int_equal(match, HONE_MATCH_DEFAULT);
    }
    assert_int_equal(hone_site_resolve(&config, never, &problem, &options, &match, &err), HONE_E_STATE);
    assert_int_equal(tunings(s, 0), 1);
}

/* Another process tunes what this one wants, and dies over it: then it is tuned here. */
static void test_tuner_thread__takes_over_from_the_dead(void **state) {
    subject *s = *state;
    hone_problem problem = problem_of(s, 1000);
    hone__key key = hone__key_make(s->kernel, s->device, problem.size);
    hone_cache *other = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    assert_int_equal(hone_cache_open(&other, s->f->path, &options, NULL), HONE_OK);
    assert_int_equal(hone__claim_take(other, &key, 600, NULL), HONE_OK);
    start(s, 0, 0);
    (void)hone_site_lookup(s->site, &problem, NULL);
    assert_int_equal(hone_tuner_wait(s->cache, 600, NULL), HONE_E_TIMEOUT); /* there is something to wait for */
    assert_int_equal(tunings(s, 0), 0);
    hone_cache_close(other); /* drops its claims, as death does */
    assert_int_equal(hone_tuner_wait(s->cache, 60000, NULL), HONE_OK);
    assert_int_equal(tunings(s, 1000), 1);
    hone_match match;
    (void)hone_site_lookup(s->site, &problem, &match);
    assert_int_equal(match, HONE_MATCH_EXACT);
}

/* One that is held elsewhere does not keep the others waiting, not even in a queue that it fills. */
static void test_tuner_thread__passes_what_others_hold(void **state) {
    subject *s = *state;
    hone_problem held = problem_of(s, 1000), other = problem_of(s, 500000);
    hone__key key = hone__key_make(s->kernel, s->device, held.size);
    hone_cache *holder = open_cache(s->f->path);
    assert_int_equal(hone__claim_take(holder, &key, 600, NULL), HONE_OK);
    start(s, 0, 1);
    hone_match match = HONE_MATCH_NONE;
    for (int i = 0; i < 20000 && match != HONE_MATCH_EXACT; i++) {
        (void)hone_site_lookup(s->site, &held, NULL);
        (void)hone_site_lookup(s->site, &other, &match);
        hone__sleep_ms(1);
    }
    assert_int_equal(match, HONE_MATCH_EXACT);
    assert_int_equal(tunings(s, 1000), 0);
    hone_cache_close(holder);
}

static void test_tuner_thread__needs_a_cache_it_may_write(void **state) {
    subject *s = *state;
    hone_cache *reader = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    hone_problem problem = problem_of(s, 1000);
    hone_resolve_options now = HONE_RESOLVE_OPTIONS_INIT;
    const hone_config *config = NULL;
    options.read_only = 1;
    now.on_miss = HONE_MISS_TUNE_NOW;
    assert_int_equal(hone_cache_open(&reader, s->f->path, &options, NULL), HONE_OK);
    assert_int_equal(hone_tuner_start(reader, NULL, NULL), HONE_E_PERM);
    hone_site *site = site_open(s, reader, NULL), *loose = site_open(s, NULL, NULL);
    assert_int_equal(hone_site_resolve(&config, site, &problem, &now, NULL, NULL), HONE_E_PERM);
    assert_non_null(config);
    assert_int_equal(hone_site_resolve(&config, loose, &problem, &now, NULL, NULL), HONE_E_ARG);
    hone_site_close(loose);
    hone_cache_close(reader);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, subject_setup, subject_teardown)

int main(int argc, char **argv) {
    TUNING_MAIN(argc, argv)
    const struct CMUnitTest tests[] = {
        TEST(test_tuner_thread__tunes_what_look_ups_miss),
        TEST(test_tuner_thread__leaves_alone_what_is_good_or_not_to_be_tuned),
        TEST(test_tuner_thread__upgrades_a_quick_entry),
        TEST(test_tuner_thread__measures_again_under_another_driver),
        TEST(test_tuner_thread__queue_is_bounded),
        TEST(test_tuner_thread__packs_answer),
        TEST(test_tuner_thread__closing_joins),
        TEST(test_tuner_thread__many_ask_one_tunes),
        TEST(test_tuner_thread__deadline_gives_the_fallback),
        TEST(test_tuner_thread__waits_for_the_background),
        TEST(test_tuner_thread__waiting_ends_with_a_failure),
        TEST(test_tuner_thread__takes_over_from_the_dead),
        TEST(test_tuner_thread__passes_what_others_hold),
        TEST(test_tuner_thread__needs_a_cache_it_may_write),
    };
    return cmocka_run_group_tests_name("tuner_thread", tests, NULL, NULL);
}
