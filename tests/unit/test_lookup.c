/* test_lookup.c: the answer path: tiers in their order, near rules, and that nothing comes out of a cache that the caller's space and
 * constraints do not allow. */
#include "alloc.h"
#include "holds.h"
#include "lookup.h"
#include "rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SPEC(version) \
    "{\"hone\":1,\"name\":\"k\",\"language\":\"external\",\"evaluator\":[\"" version "\"],\"sizes\":{\"M\":{\"default\":1024,\"max\":1000000}," \
    "\"K\":{\"default\":256,\"near\":\"divides\"},\"F\":{\"default\":1,\"near\":\"fixed\"},\"I\":{\"default\":9,\"role\":\"ignore\"}," \
    "\"B\":{\"default\":100,\"role\":\"bucket\"}}," \
    "\"params\":{\"T\":{\"kind\":\"pow2\",\"min\":1,\"max\":4096},\"P\":{\"kind\":\"bool\"}},\"constraints\":[\"T <= M\"]," \
    "\"default\":{\"T\":16}}"

typedef struct fixture {
    char folder[64];
    char path[96];
    hone_cache *cache;
    hone_kernel *kernel;
    hone_device *device, *other_device;
    hone_problem problem;
} fixture;

static hone_device *make_device(const char *identity) {
    char text[600];
    cJSON *json = NULL;
    hone_device *device = NULL;
    (void)snprintf(text, sizeof text, "{\"kind\":\"cpu\",\"name\":\"test\",\"identity\":%s}", identity);
    assert_int_equal(hone__json_parse(&json, text, strlen(text), "device", NULL), HONE_OK);
    assert_int_equal(hone__device_from_hello(&device, json, NULL, NULL), HONE_OK);
    assert_int_equal(hone__key_identify_device(device), HONE_OK);
    cJSON_Delete(json);
    return device;
}

static hone_kernel *make_kernel(const char *spec) {
    hone_kernel *kernel = NULL;
    hone_error err = {0};
    if (hone_kernel_parse(&kernel, spec, strlen(spec), NULL, "k.json", &err) != HONE_OK)
        fail_msg("%s", err.message);
    return kernel;
}

#define HERE "{\"arch\":\"x86_64\",\"cores\":8,\"features\":\"avx2 fma\",\"l2_kib\":1024,\"model\":1}"

static int setup(void **state) {
    fixture *f = hone__alloc(sizeof *f);
    hone_error err = {0};
    (void)snprintf(f->folder, sizeof f->folder, "/tmp/hone-test-lookup-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->path, sizeof f->path, "%s/cache.hone", f->folder);
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.map_bytes_max = 16u << 20;
    if (hone_cache_open(&f->cache, f->path, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    f->kernel = make_kernel(SPEC("e1"));
    f->device = make_device(HERE);
    f->other_device = make_device("{\"arch\":\"x86_64\",\"cores\":4,\"features\":\"avx2 fma\",\"l2_kib\":1024,\"model\":1}");
    hone_problem_init(f->kernel, &f->problem);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    hone_cache_close(f->cache);
    hone_kernel_free(f->kernel);
    hone_device_free(f->device);
    hone_device_free(f->other_device);
    static const char *const endings[] = {"", "-lock", ".wlock"};
    char command[200];
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        (void)snprintf(command, sizeof command, "%s%s", f->path, endings[i]);
        (void)unlink(command);
    }
    (void)rmdir(f->folder);
    hone__free(f);
    return 0;
}

/* ---- making entries ---- */

typedef struct made {
    const char *config, *alternative;
    double time_ns;
    hone__accuracy accuracy;
} made;

static hone_problem sized(const fixture *f, int64_t m, int64_t k) {
    hone_problem problem = f->problem;
    problem.size[0] = m;
    problem.size[1] = k;
    return problem;
}

static void put(fixture *f, const hone_device *device, const hone_problem *problem, made what) {
    hone__entry entry = {.key = hone__key_make(f->kernel, device, problem->size), .accuracy = what.accuracy};
    char sizes[256];
    (void)snprintf(sizes, sizeof sizes, "{\"M\":%lld,\"K\":%lld,\"F\":%lld,\"I\":%lld,\"B\":%lld}", (long long)problem->size[0],
                   (long long)problem->size[1], (long long)problem->size[2], (long long)problem->size[3], (long long)problem->size[4]);
    cJSON *json = hone__device_to_json(device);
    char **const texts[] = {&entry.strategy, &entry.model, &entry.stop, &entry.tool_version, &entry.host, &entry.driver, &entry.toolkit};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        *texts[i] = hone__strdup("");
    entry.kernel_name = hone__strdup("k");
    entry.sizes = hone__strdup(sizes);
    entry.device = hone__json_text(json);
    entry.best = (hone__ranked){hone__strdup(what.config), what.time_ns, what.time_ns, what.time_ns, 0, 5};
    if (what.alternative != NULL) {
        entry.alternative[0] = (hone__ranked){hone__strdup(what.alternative), what.time_ns * 2, what.time_ns * 2, what.time_ns * 2, 0, 5};
        entry.alternative_count = 1;
    }
    entry.effort = HONE_EFFORT_STANDARD;
    entry.created_unix_s = 1000;
    hone_error err = {0};
    if (hone__cache_put(f->cache, &entry, true, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(json);
    hone__entry_clear(&entry);
}

static hone_answer *look(const fixture *f, const hone_problem *problem) {
    hone_answer *answer = NULL;
    hone_error err = {0};
    if (hone_lookup(&answer, f->cache, f->kernel, f->device, problem, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return answer;
}

/* The match, the tile and, if `words` is not NULL, that they stand in the answer's JSON. */
static void assert_answer(const fixture *f, const hone_problem *problem, hone_match match, int64_t tile, const char *words) {
    hone_answer *answer = look(f, problem);
    char *json = NULL;
    assert_int_equal(hone_answer_json(answer, &json, NULL), HONE_OK);
    if (hone_answer_match(answer) != match || hone_config_int(hone_answer_config(answer), 0) != tile ||
        (words != NULL && strstr(json, words) == NULL))
        fail_msg("wanted %s, %lld, \"%s\"; have %s", hone_match_name(match), (long long)tile, words != NULL ? words : "", json);
    cJSON *parsed = NULL;
    assert_int_equal(hone__json_parse(&parsed, json, strlen(json), "answer", NULL), HONE_OK);
    cJSON_Delete(parsed);
    hone_free(json);
    hone_answer_free(answer);
}

static char *explain(const fixture *f, const hone_kernel *kernel, const hone_problem *problem, cJSON **parsed) {
    char *json = NULL;
    hone_error err = {0};
    if (hone_explain(&json, f->cache, kernel, f->device, problem, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(hone__json_parse(parsed, json, strlen(json), "explain", NULL), HONE_OK);
    return json;
}

/* ---- tiers ---- */

static void test_lookup__default(void **state) {
    fixture *f = *state;
    assert_answer(f, &f->problem, HONE_MATCH_DEFAULT, 16, "\"reason\":\"no entry for this kernel, device and sizes\"");
    assert_answer(f, &f->problem, HONE_MATCH_DEFAULT, 16, "\"layer\":\"author\"");
    hone_answer *answer = NULL;
    assert_int_equal(hone_lookup(&answer, NULL, f->kernel, f->device, &f->problem, NULL), HONE_OK);
    char *json = NULL;
    assert_int_equal(hone_answer_json(answer, &json, NULL), HONE_OK);
    assert_non_null(strstr(json, "{\"tier\":\"exact\",\"reason\":\"no cache is open\"}"));
    assert_false(hone_answer_time_ms(answer) > 0);
    hone_free(json);
    hone_answer_free(answer);
}

static void test_lookup__exact(void **state) {
    fixture *f = *state;
    put(f, f->device, &f->problem, (made){"{\"T\":64,\"P\":true}", NULL, 2e6, HONE_ACCURACY_PASSED});
    assert_answer(f, &f->problem, HONE_MATCH_EXACT, 64, "\"time_ms\":2,");
    assert_answer(f, &f->problem, HONE_MATCH_EXACT, 64, "\"why\":[]");
    hone_answer *answer = look(f, &f->problem);
    assert_true(hone_answer_time_ms(answer) > 1.9 && hone_answer_time_ms(answer) < 2.1);
    hone_answer_free(answer);
    /* The ignored size and another one of the same bucket ask the same question. */
    hone_problem same = f->problem;
    same.size[3] = 12345;
    same.size[4] = 65;
    assert_answer(f, &same, HONE_MATCH_EXACT, 64, "\"from\":{\"key\"");
    assert_answer(f, &f->problem, HONE_MATCH_EXACT, 64, "\"from\":null");
    same.size[4] = 64;
    assert_answer(f, &same, HONE_MATCH_NEAR_SHAPE, 64, "\"sizes\":{\"M\":1024,\"K\":256,\"F\":1,\"I\":9,\"B\":100}");
}

static void test_lookup__near_shape_prefers_the_nearest(void **state) {
    fixture *f = *state;
    hone_problem a = sized(f, 2048, 256), b = sized(f, 512, 128), c = sized(f, 8192, 256);
    put(f, f->device, &a, (made){"{\"T\":32}", NULL, 9e6, HONE_ACCURACY_PASSED});
    put(f, f->device, &b, (made){"{\"T\":64}", NULL, 1e6, HONE_ACCURACY_PASSED});
    put(f, f->device, &c, (made){"{\"T\":128}", NULL, 1e6, HONE_ACCURACY_PASSED});
    assert_answer(f, &f->problem, HONE_MATCH_NEAR_SHAPE, 32, "\"distance\":1,");
    hone_problem far = sized(f, 16384, 256);
    assert_answer(f, &far, HONE_MATCH_NEAR_SHAPE, 128, "\"time_ms\":null");
}

static void test_lookup__near_shape_caps(void **state) {
    fixture *f = *state;
    hone_problem there = sized(f, 1024, 256);
    put(f, f->device, &there, (made){"{\"T\":32}", NULL, 1e6, HONE_ACCURACY_PASSED});
    static const struct {
        int64_t m, k, fixed;
        hone_match match;
        const char *words;
    } cases[] = {
        {8192, 256, 1, HONE_MATCH_NEAR_SHAPE, "\"distance\":3,"},
        {8193, 256, 1, HONE_MATCH_DEFAULT, "size M is too far: 8193 here, 1024 there (at most a factor of 8)"},
        {128, 256, 1, HONE_MATCH_NEAR_SHAPE, NULL},
        {127, 256, 1, HONE_MATCH_DEFAULT, "too far"},
        {1024, 512, 1, HONE_MATCH_NEAR_SHAPE, "\"distance\":1,"},
        {1024, 384, 1, HONE_MATCH_NEAR_SHAPE, NULL},
        {1024, 320, 1, HONE_MATCH_DEFAULT, "size K divides differently: 320 here, 256 there"},
        {1024, 640, 1, HONE_MATCH_DEFAULT, "size K is too far"},
        {1024, 256, 2, HONE_MATCH_DEFAULT, "size F is fixed: 2 here, 1 there"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_problem problem = sized(f, cases[i].m, cases[i].k);
        problem.size[2] = cases[i].fixed;
        assert_answer(f, &problem, cases[i].match, cases[i].match == HONE_MATCH_DEFAULT ? 16 : 32, cases[i].words);
    }
}

static void test_lookup__near_device(void **state) {
    fixture *f = *state;
    put(f, f->other_device, &f->problem, (made){"{\"T\":256}", NULL, 1e6, HONE_ACCURACY_PASSED});
    assert_answer(f, &f->problem, HONE_MATCH_NEAR_DEVICE, 256, "\"distance\":1,");
    /* A nearer one wins, whatever its time. */
    hone_device *nearer = make_device("{\"arch\":\"x86_64\",\"cores\":8,\"features\":\"avx2 fma bmi2\",\"l2_kib\":1024,\"model\":1}");
    put(f, nearer, &f->problem, (made){"{\"T\":512}", NULL, 9e6, HONE_ACCURACY_PASSED});
    assert_answer(f, &f->problem, HONE_MATCH_NEAR_DEVICE, 512, "\"distance\":0.25,");
    hone_device_free(nearer);
    /* Other sizes on this device come first. */
    hone_problem near = sized(f, 2048, 256);
    put(f, f->device, &near, (made){"{\"T\":32}", NULL, 1e6, HONE_ACCURACY_PASSED});
    assert_answer(f, &f->problem, HONE_MATCH_NEAR_SHAPE, 32, NULL);
}

static void test_lookup__near_device_needs_the_same_architecture(void **state) {
    fixture *f = *state;
    static const char *const identities[][2] = {
        {"{\"arch\":\"aarch64\",\"cores\":8,\"features\":\"avx2 fma\",\"l2_kib\":1024,\"model\":1}", "another architecture: x86_64 here, aarch64 there"},
        {"{\"arch\":\"x86_64\",\"cores\":8,\"features\":\"avx2 avx512f fma\",\"l2_kib\":1024,\"model\":1}",
         "another instruction set: avx512f is missing here only"},
        {"{\"arch\":\"x86_64\",\"cores\":8,\"features\":\"fma\",\"l2_kib\":1024,\"model\":1}", "avx2 is available here only"},
        {"{\"cores\":8}", "another architecture"},
        {"{\"arch\":\"x86_64\",\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6}", "too far apart"},
    };
    for (size_t i = 0; i < sizeof identities / sizeof identities[0]; i++) {
        hone_device *device = make_device(identities[i][0]);
        hone__buf why;
        hone__buf_init(&why, 4096);
        cJSON *json = hone__device_to_json(device);
        char *text = hone__json_text(json);
        double distance = 0;
        assert_false(hone__near_device(f->device, text, &distance, &why));
        if (strstr(why.data, identities[i][1]) == NULL)
            fail_msg("%s", why.data);
        hone__free(text);
        cJSON_Delete(json);
        hone__buf_free(&why);
        hone_device_free(device);
    }
}

/* ---- what a cache says is not believed ---- */

static void test_lookup__bad_descriptions_are_far(void **state) {
    fixture *f = *state;
    static const char *const bad[] = {"", "[]", "x", "{}", "{\"M\":1024}", "{\"M\":\"x\",\"K\":1,\"F\":1,\"I\":1,\"B\":1}",
                                      "{\"M\":1e300,\"K\":256,\"F\":1,\"I\":1,\"B\":1}", "{\"M\":-1,\"K\":256,\"F\":1,\"I\":1,\"B\":1}",
                                      "{\"kind\":3}", "{\"kind\":\"cpu\",\"identity\":[]}", "{\"kind\":\"gpu\",\"identity\":{}}",
                                      "{\"kind\":\"cpu\",\"identity\":{\"arch\":7}}", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hone__buf why;
        double distance = 0;
        hone__buf_init(&why, 4096);
        assert_false(hone__near_shape(f->kernel, f->problem.size, bad[i], &distance, &why));
        assert_true(why.length > 0);
        hone__buf_clear(&why);
        assert_false(hone__near_device(f->device, bad[i], &distance, &why));
        assert_true(why.length > 0);
        hone__buf_free(&why);
    }
}

static void test_lookup__bad_configs_are_misses(void **state) {
    fixture *f = *state;
    static const char *const bad[][2] = {
        {"{\"T\":48}", "not in this space"},        {"{\"T\":8192}", "not in this space"}, {"{\"Q\":1}", "not in this space"},
        {"{\"T\":\"64\"}", "not in this space"},    {"not json", "not in this space"},     {"[64]", "not in this space"},
        {"{\"T\":2048}", "T <= M does not hold"},   {"", "not in this space"},             {"{\"T\":64,\"P\":2}", "not in this space"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put(f, f->device, &f->problem, (made){bad[i][0], NULL, 1e6, HONE_ACCURACY_PASSED});
        assert_answer(f, &f->problem, HONE_MATCH_DEFAULT, 16, bad[i][1]);
    }
    /* An alternative that is valid serves. */
    put(f, f->device, &f->problem, (made){"{\"T\":4096}", "{\"T\":128}", 1e6, HONE_ACCURACY_PASSED});
    assert_answer(f, &f->problem, HONE_MATCH_EXACT, 128, "\"rank\":1");
    put(f, f->device, &f->problem, (made){"{\"T\":64}", NULL, 1e6, HONE_ACCURACY_FAILED});
    assert_answer(f, &f->problem, HONE_MATCH_DEFAULT, 16, "failed the accuracy check");
}

static void test_lookup__near_config_must_be_valid_here(void **state) {
    fixture *f = *state;
    hone_problem big = sized(f, 4096, 256);
    put(f, f->device, &big, (made){"{\"T\":4096}", NULL, 1e6, HONE_ACCURACY_PASSED});
    assert_answer(f, &f->problem, HONE_MATCH_DEFAULT, 16, "not valid for these sizes: T <= M does not hold: M=1024, T=4096");
    hone_problem bigger = sized(f, 8192, 256);
    assert_answer(f, &bigger, HONE_MATCH_NEAR_SHAPE, 4096, NULL);
}

static void test_lookup__nothing_valid(void **state) {
    fixture *f = *state;
    hone_problem tiny = sized(f, 8, 256);
    hone_answer *answer = NULL;
    hone_error err = {0};
    assert_int_equal(hone_lookup(&answer, f->cache, f->kernel, f->device, &tiny, &err), HONE_E_CONFIG);
    assert_null(answer);
    assert_non_null(strstr(err.message, "T <= M does not hold: M=8, T=16"));
    cJSON *parsed = NULL;
    char *json = explain(f, f->kernel, &tiny, &parsed);
    assert_string_equal(hone__json_string(parsed, "match"), "none");
    assert_non_null(strstr(json, "\"tier\":\"default\",\"matched\":false,\"reason\":\"T <= M"));
    hone_free(json);
    cJSON_Delete(parsed);
}

static void test_lookup__bad_problems(void **state) {
    fixture *f = *state;
    hone_answer *answer = NULL;
    hone_error err = {0};
    hone_problem problem = sized(f, 1000001, 256);
    assert_int_equal(hone_lookup(&answer, f->cache, f->kernel, f->device, &problem, &err), HONE_E_ARG);
    assert_non_null(strstr(err.message, "M = 1000001 is outside 1..1000000"));
    problem = f->problem;
    problem.count = 2;
    assert_int_equal(hone_lookup(&answer, f->cache, f->kernel, f->device, &problem, &err), HONE_E_ARG);
    problem = f->problem;
    problem.struct_size = 8;
    assert_int_equal(hone_lookup(&answer, f->cache, f->kernel, f->device, &problem, &err), HONE_E_ARG);
    assert_int_equal(hone_lookup(&answer, f->cache, NULL, f->device, &problem, &err), HONE_E_ARG);
}

/* ---- explain ---- */

static void test_explain__tells_all_tiers(void **state) {
    fixture *f = *state;
    hone_problem near = sized(f, 2048, 256), far = sized(f, 100000, 256);
    put(f, f->device, &near, (made){"{\"T\":32}", NULL, 1e6, HONE_ACCURACY_PASSED});
    put(f, f->device, &far, (made){"{\"T\":32}", NULL, 1e6, HONE_ACCURACY_PASSED});
    put(f, f->other_device, &f->problem, (made){"{\"T\":256}", NULL, 1e6, HONE_ACCURACY_PASSED});
    cJSON *parsed = NULL;
    char *json = explain(f, f->kernel, &f->problem, &parsed);
    assert_string_equal(hone__json_string(parsed, "match"), "near_shape");
    const cJSON *tiers = cJSON_GetObjectItemCaseSensitive(parsed, "tiers");
    assert_int_equal(cJSON_GetArraySize(tiers), 4);
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(tiers, 1), "candidates");
    assert_int_equal(cJSON_GetArraySize(shape), 2);
    assert_non_null(strstr(json, "{\"field\":\"sizes.M\",\"here\":1024,\"there\":2048}"));
    assert_non_null(strstr(json, "size M is too far: 1024 here, 100000 there"));
    assert_non_null(strstr(json, "{\"field\":\"device.cores\",\"here\":8,\"there\":4}"));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(tiers, 2), "matched")));
    hone_free(json);
    cJSON_Delete(parsed);
}

static void test_explain__names_what_changed_in_the_kernel(void **state) {
    fixture *f = *state;
    hone__kernel_info info;
    put(f, f->device, &f->problem, (made){"{\"T\":32}", NULL, 1e6, HONE_ACCURACY_PASSED});
    assert_int_equal(hone__kernel_info_make(&info, f->kernel), HONE_OK);
    assert_int_equal(hone__cache_put_kernel(f->cache, &info, NULL), HONE_OK);
    hone__kernel_info_clear(&info);
    hone_kernel *newer = make_kernel(SPEC("e2"));
    cJSON *parsed = NULL;
    char *json = explain(f, newer, &f->problem, &parsed);
    const cJSON *others = cJSON_GetObjectItemCaseSensitive(parsed, "other_versions");
    assert_int_equal(cJSON_GetArraySize(others), 1);
    assert_string_equal(hone__json_string(cJSON_GetArrayItem(others, 0), "differs"), "evaluator");
    assert_string_equal(hone__json_string(parsed, "match"), "default");
    hone_free(json);
    cJSON_Delete(parsed);
    json = explain(f, f->kernel, &f->problem, &parsed);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(parsed, "other_versions")), 0);
    hone_free(json);
    cJSON_Delete(parsed);
    hone_kernel_free(newer);
}

/* ---- faults ---- */

static void test_lookup__after_fork_is_a_reason(void **state) {
    fixture *f = *state;
    put(f, f->device, &f->problem, (made){"{\"T\":64}", NULL, 1e6, HONE_ACCURACY_PASSED});
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        hone_answer *answer = NULL;
        char *json = NULL;
        bool good = hone_lookup(&answer, f->cache, f->kernel, f->device, &f->problem, NULL) == HONE_OK &&
                    hone_answer_match(answer) == HONE_MATCH_DEFAULT && hone_answer_json(answer, &json, NULL) == HONE_OK &&
                    strstr(json, "fork") != NULL;
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_answer(f, &f->problem, HONE_MATCH_EXACT, 64, NULL);
}

/* Each allocation fails once: an answer or HONE_E_NOMEM, and nothing is lost. */
static void test_lookup__survives_failed_allocations(void **state) {
    fixture *f = *state;
    hone_problem near = sized(f, 2048, 256);
    put(f, f->device, &near, (made){"{\"T\":4096}", "{\"T\":64}", 1e6, HONE_ACCURACY_PASSED});
    put(f, f->other_device, &f->problem, (made){"{\"T\":256}", NULL, 1e6, HONE_ACCURACY_PASSED});
    assert_answer(f, &f->problem, HONE_MATCH_NEAR_SHAPE, 64, NULL);
    size_t live = hone__alloc_live();
    for (int explaining = 0; explaining < 2; explaining++) {
        uint32_t answers = 0, failures = 0;
        for (size_t nth = 1; nth < 600; nth++) {
            hone_answer *answer = NULL;
            char *json = NULL;
            hone_error err = {0};
            hone__alloc_fail_at(nth, 0);
            hone_status status = explaining ? hone_explain(&json, f->cache, f->kernel, f->device, &f->problem, &err)
                                            : hone_lookup(&answer, f->cache, f->kernel, f->device, &f->problem, &err);
            hone__alloc_fail_at(0, 0);
            assert_true(status == HONE_OK ? answer != NULL || json != NULL : answer == NULL && json == NULL);
            assert_true(status == HONE_OK || status == HONE_E_NOMEM);
            answers += status == HONE_OK;
            failures += status != HONE_OK;
            hone_answer_free(answer);
            hone_free(json);
            assert_int_equal(hone__alloc_live(), live);
        }
        assert_true(answers > 0 && failures > 0);
    }
}

/* ---- any content ---- */

static void random_config(hone__rng *rng, char *text, size_t bytes) {
    int64_t value = (int64_t)1 << hone__rng_below(rng, 14);
    if (hone__rng_below(rng, 4) == 0)
        value += (int64_t)hone__rng_below(rng, 3) - 1;
    size_t form = hone__rng_below(rng, 3) != 0 ? 0 : hone__rng_below(rng, 6);
    switch (form) { /* literal formats, so that the compiler checks them */
    case 0: (void)snprintf(text, bytes, "{\"T\":%lld}", (long long)value); break;
    case 1: (void)snprintf(text, bytes, "{\"T\":%lld,\"P\":true}", (long long)value); break;
    case 2: (void)snprintf(text, bytes, "{\"P\":%lld}", (long long)value); break;
    case 3: (void)snprintf(text, bytes, "{\"T\":[%lld]}", (long long)value); break;
    case 4: (void)snprintf(text, bytes, "{\"T\":%lld", (long long)value); break;
    default: (void)snprintf(text, bytes, "%lld", (long long)value); break;
    }
}

static void test_lookup__never_an_invalid_config(void **state) {
    fixture *f = *state;
    hone__rng rng;
    uint64_t seed = 20261123;
    print_message("seed %llu\n", (unsigned long long)seed);
    hone__rng_seed(&rng, seed);
    uint32_t matches[5] = {0};
    for (int round = 0; round < 120; round++) {
        char best[64], other[64];
        random_config(&rng, best, sizeof best);
        random_config(&rng, other, sizeof other);
        hone_problem there = sized(f, (int64_t)1 << hone__rng_below(&rng, 16), 256);
        put(f, hone__rng_below(&rng, 3) == 0 ? f->other_device : f->device, &there,
            (made){best, hone__rng_below(&rng, 2) == 0 ? other : NULL, 1e6 + (double)hone__rng_below(&rng, 1000000), HONE_ACCURACY_PASSED});
        for (int ask = 0; ask < 4; ask++) {
            hone_problem here = sized(f, (int64_t)1 << hone__rng_below(&rng, 16), 256);
            hone_answer *answer = NULL;
            hone_status status = hone_lookup(&answer, f->cache, f->kernel, f->device, &here, NULL);
            assert_true(status == HONE_OK || (status == HONE_E_CONFIG && here.size[0] < 16));
            if (status != HONE_OK)
                continue;
            assert_true(hone__space_holds(f->kernel->space, here.size, &answer->config.values, NULL));
            matches[hone_answer_match(answer)]++;
            hone_answer_free(answer);
        }
    }
    for (int match = HONE_MATCH_EXACT; match <= HONE_MATCH_DEFAULT; match++)
        assert_true(matches[match] > 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_lookup__default),
        TEST(test_lookup__exact),
        TEST(test_lookup__near_shape_prefers_the_nearest),
        TEST(test_lookup__near_shape_caps),
        TEST(test_lookup__near_device),
        TEST(test_lookup__near_device_needs_the_same_architecture),
        TEST(test_lookup__bad_descriptions_are_far),
        TEST(test_lookup__bad_configs_are_misses),
        TEST(test_lookup__near_config_must_be_valid_here),
        TEST(test_lookup__nothing_valid),
        TEST(test_lookup__bad_problems),
        TEST(test_explain__tells_all_tiers),
        TEST(test_explain__names_what_changed_in_the_kernel),
        TEST(test_lookup__after_fork_is_a_reason),
        TEST(test_lookup__survives_failed_allocations),
        TEST(test_lookup__never_an_invalid_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
