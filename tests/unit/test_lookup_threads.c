/* test_lookup_threads.c: many threads ask while one stores: every answer is valid, and the last store is seen. */
#include "alloc.h"
#include "holds.h"
#include "lookup.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ASKERS = 3, STORES = 60 };

typedef struct scene {
    hone_cache *cache;
    hone_kernel *kernel;
    hone_device *device;
    atomic_bool stop;
    atomic_uint asked, invalid;
} scene;

static const char spec[] = "{\"hone\":1,\"name\":\"k\",\"language\":\"external\",\"evaluator\":[\"e\"],\"sizes\":{\"M\":64},"
                           "\"params\":{\"T\":{\"kind\":\"range\",\"min\":1,\"max\":64}},\"constraints\":[\"T <= M\"]}";

static bool ask(const scene *s, int64_t m, hone_match *match) {
    hone_problem problem;
    hone_problem_init(s->kernel, &problem);
    problem.size[0] = m;
    hone_answer *answer = NULL;
    char *json = NULL;
    if (hone_lookup(&answer, s->cache, s->kernel, s->device, &problem, NULL) != HONE_OK)
        return false;
    bool good = hone__space_holds(s->kernel->space, problem.size, &answer->config.values, NULL) &&
                hone_answer_json(answer, &json, NULL) == HONE_OK;
    *match = hone_answer_match(answer);
    hone_free(json);
    hone_answer_free(answer);
    return good;
}

static void *asker(void *user) {
    scene *s = user;
    for (int64_t m = 1; !atomic_load(&s->stop); m = m % 128 + 1) {
        hone_match match = HONE_MATCH_NONE;
        if (!ask(s, m, &match))
            atomic_fetch_add(&s->invalid, 1);
        atomic_fetch_add(&s->asked, 1);
    }
    return NULL;
}

static void store(const scene *s, int64_t m) {
    hone_problem problem;
    hone_problem_init(s->kernel, &problem);
    problem.size[0] = m;
    char sizes[64], config[64];
    (void)snprintf(sizes, sizeof sizes, "{\"M\":%lld}", (long long)m);
    (void)snprintf(config, sizeof config, "{\"T\":%lld}", (long long)m);
    cJSON *json = hone__device_to_json(s->device);
    hone__entry entry = {.key = hone__key_make(s->kernel, s->device, problem.size), .kernel_name = hone__strdup("k")};
    entry.sizes = hone__strdup(sizes);
    entry.device = hone__json_text(json);
    entry.best = (hone__ranked){hone__strdup(config), 1e6, 1e6, 1e6, 0, 5};
    char **const texts[] = {&entry.strategy, &entry.model, &entry.stop, &entry.tool_version, &entry.host, &entry.driver, &entry.toolkit};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        *texts[i] = hone__strdup("");
    hone_error err = {0};
    if (hone__cache_put(s->cache, &entry, false, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(json);
    hone__entry_clear(&entry);
}

static void test_lookup__while_another_thread_stores(void **state) {
    (void)state;
    char folder[64] = "/tmp/hone-test-threads-XXXXXX", path[96];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/cache.hone", folder);
    scene s = {.cache = NULL};
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.map_bytes_max = 8u << 20;
    options.writer_wait_ms = 20000;
    assert_int_equal(hone_cache_open(&s.cache, path, &options, NULL), HONE_OK);
    assert_int_equal(hone_kernel_parse(&s.kernel, spec, sizeof spec - 1, NULL, "k.json", NULL), HONE_OK);
    assert_int_equal(hone_device_open(&s.device, "cpu", NULL), HONE_OK);
    pthread_t thread[ASKERS];
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, asker, &s), 0);
    for (int64_t m = 1; m <= STORES; m++)
        store(&s, m);
    atomic_store(&s.stop, true);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_true(atomic_load(&s.asked) > 0);
    assert_int_equal(atomic_load(&s.invalid), 0);
    for (int64_t m = 1; m <= STORES; m++) {
        hone_match match = HONE_MATCH_NONE;
        assert_true(ask(&s, m, &match));
        assert_int_equal(match, HONE_MATCH_EXACT);
    }
    hone_cache_close(s.cache);
    hone_kernel_free(s.kernel);
    hone_device_free(s.device);
    static const char *const endings[] = {"", "-lock", ".wlock"};
    for (size_t i = 0; i < 3; i++) {
        char file[128];
        (void)snprintf(file, sizeof file, "%s%s", path, endings[i]);
        (void)unlink(file);
    }
    (void)rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lookup__while_another_thread_stores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
