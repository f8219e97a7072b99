/* test_group_thread.c: a group is answered from one state of the cache while a writer goes from state to state: all of it, or none. */
#include "site_fixture.h"

#include <pthread.h>

enum { MEMBERS = 8, READS = 400 };

typedef struct writer {
    subject *s;
    hone_cache *cache;
    atomic_bool stop;
    uint32_t states;
} writer;

static hone__entry entry_of(const subject *s, const hone_problem *problem, char *config) {
    static char name[] = "k", none[] = "", device[] = "{}", sizes[] = "{\"M\":1}";
    return (hone__entry){.key = hone__key_make(s->kernel, s->device, problem->size), .kernel_name = name, .sizes = sizes, .device = device,
                         .best = {config, 1000, 1000, 1000, 0, 5}, .effort = HONE_EFFORT_THOROUGH, .strategy = none, .model = none,
                         .stop = none, .tool_version = none, .host = none, .driver = none, .toolkit = none, .created_unix_s = 1000};
}

/* Every state has all members with the same N, which is the state's number. */
static void *write_states(void *user) {
    writer *w = user;
    hone__entry entry[MEMBERS];
    hone__join result[MEMBERS];
    char config[64];
    while (!atomic_load(&w->stop)) {
        (void)snprintf(config, sizeof config, "{\"T\":32,\"N\":%u}", 1 + w->states % 1000);
        for (int i = 0; i < MEMBERS; i++) {
            hone_problem problem = problem_of(w->s, 1000 + 37 * i);
            entry[i] = entry_of(w->s, &problem, config);
        }
        w->states += hone__cache_join(w->cache, entry, MEMBERS, true, false, result, NULL) == HONE_OK;
    }
    return NULL;
}

static void test_group_thread__sees_one_state(void **state) {
    subject *s = *state;
    writer w = {.s = s, .cache = open_cache(s->f->path)};
    pthread_t thread;
    hone_problem problem[MEMBERS];
    const hone_site *site[MEMBERS];
    const hone_config *config[MEMBERS];
    for (int i = 0; i < MEMBERS; i++) {
        problem[i] = problem_of(s, 1000 + 37 * i);
        site[i] = s->site;
    }
    assert_int_equal(pthread_create(&thread, NULL, write_states, &w), 0);
    uint32_t mixed = 0, all = 0;
    uint64_t last = 0;
    for (int r = 0; r < READS || all == 0; r++) {
        hone_group_result result = HONE_GROUP_RESULT_INIT;
        assert_int_equal(hone_group_lookup(config, site, problem, MEMBERS, &result, NULL), HONE_OK);
        for (int i = 1; i < MEMBERS; i++)
            mixed += hone_config_int(config[i], PARAM_N) != hone_config_int(config[0], PARAM_N);
        assert_true(result.all_exact == (hone_config_int(config[0], PARAM_N) != 0));
        assert_true(result.snapshot >= last);
        last = result.snapshot;
        all += result.all_exact;
    }
    atomic_store(&w.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mixed, 0);
    hone_cache_close(w.cache);
}

/* Misses of groups are counted by reason, as those of single look-ups. */
static void test_group_thread__counts(void **state) {
    subject *s = *state;
    char *json = NULL;
    hone_problem problem[2] = {problem_of(s, 1000), problem_of(s, 2000)};
    const hone_site *const site[2] = {s->site, s->site};
    const hone_config *config[2];
    hone_group_result result = HONE_GROUP_RESULT_INIT;
    site_put(s, s->cache, &problem[0], (kept){.n = 1, .time_ns = 1e6});
    assert_int_equal(hone_group_lookup(config, site, problem, 2, &result, NULL), HONE_OK);
    assert_int_equal(hone_cache_stats(&json, s->cache, NULL), HONE_OK);
    assert_non_null(strstr(json, "\"hit_exact\":1"));
    assert_non_null(strstr(json, "\"miss_no_entry\":1"));
    hone_free(json);
}

int main(void) {
    use_memory_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_group_thread__sees_one_state, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(test_group_thread__counts, subject_setup, subject_teardown),
    };
    return cmocka_run_group_tests_name("group_thread", tests, NULL, NULL);
}
