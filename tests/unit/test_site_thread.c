/* test_site_thread.c: one site, many threads: look-ups while problems come and go, entries are stored, and other sites are opened and closed.
 * Worth most under ThreadSanitizer. */
#include "site_fixture.h"

#include <pthread.h>

enum { READERS = 4, PROBLEMS = 300, ROUNDS = 8 };

static const char spec[] = "{\"hone\":1,\"name\":\"k\",\"language\":\"external\",\"evaluator\":[\"none\"],\"sizes\":{\"A\":{\"default\":1,\"min\":1},"
                           "\"B\":{\"default\":1},\"C\":{\"default\":1},\"D\":{\"default\":1},\"E\":{\"default\":1}},"
                           "\"params\":{\"N\":{\"kind\":\"range\",\"min\":0,\"max\":1000}},\"constraints\":[\"N == A || N == 0\"]}";

typedef struct shared {
    hone_cache *cache;
    hone_kernel *kernel;
    hone_device *device;
    hone_site *site;
    atomic_int stored; /* entries, of problems 1 to this */
    atomic_bool stop;
} shared;

typedef struct reader {
    pthread_t thread;
    shared *with;
    uint32_t number, wrong;
} reader;

static hone_problem numbered(const shared *with, int64_t a) {
    hone_problem problem;
    hone_problem_init(with->kernel, &problem);
    problem.size[0] = a;
    for (uint32_t i = 1; i < 5; i++)
        problem.size[i] = a * (int64_t)(i + 3);
    return problem;
}

static void *look(void *user) {
    reader *self = user;
    hone__rng rng;
    hone__rng_seed(&rng, self->number);
    for (int i = 0; i < ROUNDS * PROBLEMS; i++) {
        int stored = atomic_load(&self->with->stored);
        int64_t a = 1 + (int64_t)hone__rng_below(&rng, i % 4 == 0 ? PROBLEMS : 40); /* three of four are known */
        hone_problem problem = numbered(self->with, a);
        hone_match match;
        const hone_config *config = hone_site_lookup(self->with->site, &problem, &match);
        int64_t n = config == NULL ? -1 : hone_config_int(config, 0);
        bool right = match == HONE_MATCH_EXACT ? n == a : n == 0;
        self->wrong += !right || (a <= stored && match != HONE_MATCH_EXACT && match != HONE_MATCH_DEFAULT);
    }
    return NULL;
}

static void put(const shared *with, int64_t a) {
    char sizes[128], config[64];
    static char name[] = "k", none[] = "", device[] = "{}";
    hone_problem problem = numbered(with, a);
    (void)snprintf(sizes, sizeof sizes, "{\"A\":%lld}", (long long)a);
    (void)snprintf(config, sizeof config, "{\"N\":%lld}", (long long)a);
    hone__entry entry = {.key = hone__key_make(with->kernel, with->device, problem.size), .kernel_name = name, .sizes = sizes, .device = device,
                         .best = {config, 1e6, 1e6, 1e6, 0, 5}, .effort = HONE_EFFORT_THOROUGH, .strategy = none, .model = none, .stop = none,
                         .tool_version = none, .host = none, .driver = none, .toolkit = none, .created_unix_s = 1000};
    assert_int_equal(hone__cache_put(with->cache, &entry, true, NULL), HONE_OK);
}

static void *open_and_close(void *user) {
    shared *with = user;
    intptr_t failed = 0;
    while (!atomic_load(&with->stop)) {
        hone_site *site = NULL;
        hone_problem problem = numbered(with, 1);
        failed += hone_site_open(&site, with->cache, with->kernel, with->device, NULL, NULL) != HONE_OK;
        failed += site == NULL || hone_site_lookup(site, &problem, NULL) == NULL;
        hone_site_close(site);
    }
    return (void *)failed;
}

static void test_site_thread__look_ups_while_everything_moves(void **state) {
    fixture *f = *state;
    shared with = {.cache = open_cache(f->path), .kernel = site_kernel(spec), .device = site_device(2, "")};
    hone_site_options options = HONE_SITE_OPTIONS_INIT;
    options.problems_max = 64; /* evictions all the time */
    assert_int_equal(hone_site_open(&with.site, with.cache, with.kernel, with.device, &options, NULL), HONE_OK);
    reader readers[READERS];
    pthread_t opener;
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (reader){.with = &with, .number = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, look, &readers[i]), 0);
    }
    assert_int_equal(pthread_create(&opener, NULL, open_and_close, &with), 0);
    for (int a = 1; a <= 60; a++) {
        put(&with, a);
        atomic_store(&with.stored, a);
    }
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        wrong += readers[i].wrong;
    }
    atomic_store(&with.stop, true);
    void *failed = NULL;
    assert_int_equal(pthread_join(opener, &failed), 0);
    assert_null(failed);
    assert_int_equal(wrong, 0);
    for (int64_t a = 1; a <= 60; a++) {
        hone_problem problem = numbered(&with, a);
        assert_int_equal(hone_config_int(hone_site_lookup(with.site, &problem, NULL), 0), a);
    }
    print_message("evicted %llu, resolved %llu\n", (unsigned long long)atomic_load(&with.site->evicted), (unsigned long long)resolved(with.site));
    hone_cache_close(with.cache);
    hone_kernel_free(with.kernel);
    hone_device_free(with.device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_site_thread__look_ups_while_everything_moves, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests_name("site_thread", tests, NULL, NULL);
}
