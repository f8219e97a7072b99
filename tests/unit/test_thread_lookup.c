/* test_thread_lookup.c: `const` objects are shared by many threads: look-ups, explanations, listings and counters on one cache at once.
 * Worth most under ThreadSanitizer (preset tsan runs the tests that have "thread" in their name). */
#include "alloc.h"
#include "cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <pthread.h>
#include <unistd.h>
#include <cmocka.h>

enum { THREADS = 6, ROUNDS = 40 };

typedef struct shared {
    const hone_kernel *kernel;
    const hone_device *device;
    const hone_cache *cache;
    char *key; /* of the stored entry, in hexadecimal */
} shared;

typedef struct worker {
    pthread_t thread;
    const shared *with;
    uint32_t number;
    uint32_t exact, near, other, failed; /* own to the thread, read after it has ended */
} worker;

static int count_entry(const char *json, void *user) {
    *(uint32_t *)user += strstr(json, "\"sgemm\"") != NULL;
    return 0;
}

static void look_up(worker *self, const hone_problem *problem) {
    hone_answer *answer = NULL;
    char *json = NULL, *text = NULL;
    if (hone_lookup(&answer, self->with->cache, self->with->kernel, self->with->device, problem, NULL) != HONE_OK ||
        hone_answer_json(answer, &json, NULL) != HONE_OK ||
        hone_explain(&text, self->with->cache, self->with->kernel, self->with->device, problem, NULL) != HONE_OK) {
        self->failed++;
    } else if (hone_answer_match(answer) == HONE_MATCH_EXACT) {
        self->exact++;
    } else if (hone_answer_match(answer) == HONE_MATCH_NEAR_SHAPE) {
        self->near++;
    } else {
        self->other++;
    }
    hone_free(json);
    hone_free(text);
    hone_answer_free(answer);
}

static void *work(void *user) {
    worker *self = user;
    hone_problem problem;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        hone_problem_init(self->with->kernel, &problem);
        look_up(self, &problem);
        if (hone_problem_set(self->with->kernel, &problem, "M", 768 + 16 * (int64_t)(round % 8 + 1), NULL) != HONE_OK)
            self->failed++;
        look_up(self, &problem);
        char *json = NULL;
        uint32_t entries = 0;
        if (self->number % 3 == 0)
            self->failed += hone_cache_stats(&json, self->with->cache, NULL) != HONE_OK;
        else if (self->number % 3 == 1)
            self->failed += hone_cache_show(&json, self->with->cache, self->with->key, NULL) != HONE_OK;
        else
            self->failed += hone_cache_each(self->with->cache, count_entry, &entries, NULL, NULL) != HONE_OK || entries != 1;
        hone_free(json);
    }
    return NULL;
}

static void store_default(hone_cache *cache, const hone_kernel *kernel, const hone_device *device, char hex[33]) {
    hone_problem problem;
    hone_answer *answer = NULL;
    char *config = NULL;
    hone_problem_init(kernel, &problem);
    assert_int_equal(hone_lookup(&answer, NULL, kernel, device, &problem, NULL), HONE_OK);
    assert_int_equal(hone_answer_match(answer), HONE_MATCH_DEFAULT);
    assert_int_equal(hone_config_json(hone_answer_config(answer), &config, NULL), HONE_OK);
    static char name[] = "sgemm", sizes[] = "{\"M\":768,\"N\":768,\"K\":768}", described[] = "{\"name\":\"test cpu\"}";
    hone__entry entry = {.key = hone__key_make(kernel, device, problem.size),
                         .kernel_name = name,
                         .sizes = sizes,
                         .device = described,
                         .best = {.config = config, .time_ns = 1e6, .low_ns = 0.99e6, .high_ns = 1.01e6, .samples = 11},
                         .default_ns = 2e6,
                         .effort = HONE_EFFORT_STANDARD,
                         .accuracy = HONE_ACCURACY_PASSED,
                         .trials = 10,
                         .created_unix_s = 1790000000};
    assert_int_equal(hone__cache_put(cache, &entry, false, NULL), HONE_OK);
    hone__hash_hex(entry.key.key, hex);
    hone_free(config);
    hone_answer_free(answer);
}

static void test_thread_lookup__many_threads_share_one_cache(void **state) {
    (void)state;
    char dir[] = "/tmp/hone-thread-XXXXXX", path[64], hex[33];
    hone_kernel *kernel = NULL;
    hone_device *device = NULL;
    hone_cache *cache = NULL;
    hone_error err = {0};
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/cache.hone", dir);
    if (hone_kernel_load(&kernel, HONE_SOURCE_DIR "/tests/kernels/sgemm.json", &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(hone_device_open(&device, "cpu", &err), HONE_OK);
    assert_int_equal(hone_cache_open(&cache, path, NULL, &err), HONE_OK);
    store_default(cache, kernel, device, hex);

    const shared with = {kernel, device, cache, hex};
    worker workers[THREADS];
    memset(workers, 0, sizeof workers);
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i].with = &with;
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].failed, 0);
        assert_int_equal(workers[i].exact, ROUNDS);
        assert_int_equal(workers[i].near + workers[i].other, ROUNDS);
        assert_true(workers[i].near > 0);
    }
    hone_cache_close(cache);
    hone_device_free(device);
    hone_kernel_free(kernel);
    DIR *left = opendir(dir);
    assert_non_null(left);
    for (struct dirent *item = readdir(left); item != NULL; item = readdir(left)) {
        char file[400];
        (void)snprintf(file, sizeof file, "%s/%s", dir, item->d_name);
        (void)unlink(file);
    }
    (void)closedir(left);
    assert_int_equal(rmdir(dir), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_lookup__many_threads_share_one_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
