/* site_fixture.h: a kernel, two devices and entries for tests of hone_site.  Header only, beside cache_fixture.h. */
#ifndef SITE_FIXTURE_H
#define SITE_FIXTURE_H

#include "cache_fixture.h"
#include "site.h"

/* M and K are exact, B shares by bucket, C too but a constraint reads it, I is ignored, F forbids near answers. */
#define SITE_SPEC                                                                                                                   \
    "{\"hone\":1,\"name\":\"k\",\"language\":\"external\",\"evaluator\":[\"none\"],\"sizes\":{\"M\":{\"default\":1024,\"max\":1000000},"  \
    "\"K\":{\"default\":256},\"B\":{\"default\":100,\"role\":\"bucket\"},\"C\":{\"default\":100,\"role\":\"bucket\"},"                  \
    "\"I\":{\"default\":9,\"role\":\"ignore\"},\"F\":{\"default\":1,\"near\":\"fixed\"}},"                                              \
    "\"params\":{\"T\":{\"kind\":\"pow2\",\"min\":1,\"max\":4096},\"N\":{\"kind\":\"range\",\"min\":0,\"max\":1000}},"                   \
    "\"constraints\":[\"T <= C\"],\"default\":{\"T\":16,\"N\":0}}"
enum { AT_M, AT_K, AT_B, AT_C, AT_I, AT_F, PARAM_T = 0, PARAM_N = 1 };

typedef struct subject {
    fixture *f;
    hone_cache *cache;
    hone_kernel *kernel;
    hone_device *device;
    hone_site *site;
} subject;

__attribute__((unused)) static hone_device *site_device(int cores, const char *driver) {
    char text[400];
    cJSON *json = NULL;
    hone_device *device = NULL;
    (void)snprintf(text, sizeof text,
                   "{\"kind\":\"cpu\",\"name\":\"test\",\"identity\":{\"arch\":\"x86_64\",\"cores\":%d},\"description\":{\"driver\":\"%s\"}}", cores, driver);
    assert_int_equal(hone__json_parse(&json, text, strlen(text), "device", NULL), HONE_OK);
    assert_int_equal(hone__device_from_hello(&device, json, NULL, NULL), HONE_OK);
    assert_int_equal(hone__key_identify_device(device), HONE_OK);
    cJSON_Delete(json);
    return device;
}

__attribute__((unused)) static hone_kernel *site_kernel(const char *spec) {
    hone_kernel *kernel = NULL;
    hone_error err = {0};
    if (hone_kernel_parse(&kernel, spec, strlen(spec), NULL, "k.json", &err) != HONE_OK)
        fail_msg("%s", err.message);
    return kernel;
}

__attribute__((unused)) static hone_site *site_open(const subject *s, hone_cache *cache, const hone_site_options *options) {
    hone_site *site = NULL;
    hone_error err = {0};
    if (hone_site_open(&site, cache, s->kernel, s->device, options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return site;
}

__attribute__((unused)) static int subject_setup(void **state) {
    subject *s = calloc(1, sizeof *s);
    if (s == NULL || fixture_setup((void **)&s->f) != 0)
        return -1;
    s->cache = open_cache(s->f->path);
    s->kernel = site_kernel(SITE_SPEC);
    s->device = site_device(8, "550.1");
    s->site = site_open(s, s->cache, NULL);
    *state = s;
    return 0;
}

__attribute__((unused)) static int subject_teardown(void **state) {
    subject *s = *state;
    hone_cache_close(s->cache); /* and the site with it */
    hone_kernel_free(s->kernel);
    hone_device_free(s->device);
    (void)fixture_teardown((void **)&s->f);
    free(s);
    return 0;
}

__attribute__((unused)) static hone_problem problem_of(const subject *s, int64_t m) {
    hone_problem problem;
    hone_problem_init(s->kernel, &problem);
    problem.size[AT_M] = m;
    return problem;
}

typedef struct kept {
    int n;                 /* parameter N of the config */
    double time_ns;
    hone__effort effort;
    const char *driver;
    bool replace;
} kept;

__attribute__((unused)) static void site_put(const subject *s, hone_cache *cache, const hone_problem *problem, kept what) {
    char sizes[300], config[64], driver[64];
    static char name[] = "k", none[] = "";
    const int64_t *v = problem->size;
    (void)snprintf(sizes, sizeof sizes, "{\"M\":%lld,\"K\":%lld,\"B\":%lld,\"C\":%lld,\"I\":%lld,\"F\":%lld}", (long long)v[AT_M], (long long)v[AT_K],
                   (long long)v[AT_B], (long long)v[AT_C], (long long)v[AT_I], (long long)v[AT_F]);
    (void)snprintf(config, sizeof config, "{\"T\":32,\"N\":%d}", what.n);
    (void)snprintf(driver, sizeof driver, "%s", what.driver == NULL ? "" : what.driver);
    cJSON *json = hone__device_to_json(s->device);
    char *device = hone__json_text(json);
    double t = what.time_ns;
    hone__entry entry = {.key = hone__key_make(s->kernel, s->device, v), .kernel_name = name, .sizes = sizes, .device = device,
                         .best = {config, t, t, t, 0, 5}, .effort = what.effort == HONE_EFFORT_NONE ? HONE_EFFORT_THOROUGH : what.effort,
                         .strategy = none, .model = none, .stop = none, .tool_version = none, .host = none, .driver = driver, .toolkit = none,
                         .created_unix_s = 1000};
    hone_error err = {0};
    if (hone__cache_put(cache, &entry, what.replace, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(json);
    hone__free(device);
}

/* Look up and check how it matched; N of the config. */
__attribute__((unused)) static int look_n(const hone_site *site, const hone_problem *problem, hone_match expected) {
    hone_match match = HONE_MATCH_NONE;
    const hone_config *config = hone_site_lookup(site, problem, &match);
    assert_string_equal(hone_match_name(match), hone_match_name(expected));
    assert_int_equal(config == NULL, expected == HONE_MATCH_NONE);
    return config == NULL ? -1 : (int)hone_config_int(config, PARAM_N);
}

__attribute__((unused)) static uint64_t resolved(const hone_site *site) {
    return atomic_load(&((hone_site *)(uintptr_t)site)->resolved);
}

#endif
