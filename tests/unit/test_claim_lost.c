/* test_claim_lost.c: a tuning whose claim has gone to another process (because this one was stopped beyond its lease) leaves the key to that one: each key is
 * tuned once, and a journal has one writer. */
#include "tuning_fixture.h"

typedef enum fate { TAKEN, TAKEN_AND_DONE, GONE } fate;

typedef struct thief {
    subject *s;
    hone_problem problem;
    hone_cache *cache;
    fate fate;
    bool done;
    uint32_t trials_after;
} thief;

static hone_status forget_claim(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    return hone__txn_delete(txn, HONE_TABLE_CLAIM, (hone__slot_key){user, 16});
}

/* What other processes do while this one is stopped. */
static int steal(const hone_progress *progress, void *user) {
    thief *t = user;
    if (t->done) {
        t->trials_after = progress->trials;
        return 0;
    }
    if (progress->trials < 2)
        return 0;
    hone__key key = hone__key_make(t->s->kernel, t->s->device, t->problem.size);
    assert_int_equal(hone__store_write(t->cache, forget_claim, key.key, NULL), HONE_OK);
    if (t->fate != GONE)
        assert_int_equal(hone__claim_take(t->cache, &key, 60, NULL), HONE_OK);
    if (t->fate == TAKEN_AND_DONE) {
        site_put(t->s, t->cache, &t->problem, (kept){.n = 5, .time_ns = 1});
        hone__claim_drop(t->cache, &key);
    }
    t->done = true;
    return 0;
}

static hone_status tune(thief *t, hone_error *err, char **json) {
    char command[1200];
    hone_tune_options options = tune_options(t->s, command, 30);
    options.trials_max = t->fate == GONE ? 45 : 4000;
    options.progress = steal;
    options.user = t;
    return hone_tune(json, t->s->cache, t->s->kernel, t->s->device, &t->problem, &options, err);
}

static void test_claim_lost__to_one_that_tunes(void **state) {
    subject *s = *state;
    char *json = NULL;
    hone_error err = {0};
    thief t = {.s = s, .problem = problem_of(s, 1000), .cache = open_cache(s->f->path), .fate = TAKEN};
    assert_int_equal(tune(&t, &err, &json), HONE_E_BUSY);
    assert_non_null(strstr(err.message, "taken the key over"));
    assert_true(t.trials_after < 1000);
    bool ours = false;
    hone__key key = hone__key_make(s->kernel, s->device, t.problem.size);
    assert_true(hone__claim_held(s->cache, &key, &ours));
    assert_false(ours);
    hone_cache_close(t.cache);
    assert_false(hone__claim_held(s->cache, &key, &ours));
}

static void test_claim_lost__to_one_that_has_finished(void **state) {
    subject *s = *state;
    char *json = NULL;
    thief t = {.s = s, .problem = problem_of(s, 1000), .cache = open_cache(s->f->path), .fate = TAKEN_AND_DONE};
    assert_int_equal(tune(&t, NULL, &json), HONE_OK);
    assert_non_null(strstr(json, "\"tuned\":false"));
    assert_non_null(strstr(json, "\"N\":5"));
    hone_free(json);
    assert_int_equal(look_n(s->site, &t.problem, HONE_MATCH_EXACT), 5);
    hone_cache_close(t.cache);
}

/* It went with a file that was replaced: nobody else tunes, and the tuning ends as it would have. */
static void test_claim_lost__and_taken_anew(void **state) {
    subject *s = *state;
    char *json = NULL;
    thief t = {.s = s, .problem = problem_of(s, 1000), .cache = open_cache(s->f->path), .fate = GONE};
    assert_int_equal(tune(&t, NULL, &json), HONE_OK);
    assert_non_null(strstr(json, "\"tuned\":true"));
    assert_non_null(strstr(json, "\"trials\":45"));
    hone_free(json);
    hone_cache_close(t.cache);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, subject_setup, subject_teardown)

int main(int argc, char **argv) {
    TUNING_MAIN(argc, argv)
    const struct CMUnitTest tests[] = {
        TEST(test_claim_lost__to_one_that_tunes),
        TEST(test_claim_lost__to_one_that_has_finished),
        TEST(test_claim_lost__and_taken_anew),
    };
    return cmocka_run_group_tests_name("claim_lost", tests, NULL, NULL);
}
