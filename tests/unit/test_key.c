/* test_key.c: canonical bytes and hashes against spec/vectors/key, and what must and must not change a key. */
#include "alloc.h"
#include "file.h"
#include "key.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int setup(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hone-test-key-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static void remove_all(const char *path) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        (void)unlink(path);
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char inner[400];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        remove_all(inner); /* two levels of our own */
    }
    (void)closedir(dir);
    (void)rmdir(path);
}

static int teardown(void **state) {
    (void)state;
    remove_all(folder);
    return 0;
}

static void put_file(const char *name, const char *text) {
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    char *dir = hone__path_dir(path);
    assert_int_equal(hone__mkdir_all(dir, NULL), HONE_OK);
    hone__free(dir);
    assert_int_equal(hone__file_write(path, text, strlen(text), 0600, NULL), HONE_OK);
}

static hone_kernel *parse(const char *text) {
    hone_kernel *kernel = NULL;
    hone_error err = {0};
    if (hone_kernel_parse(&kernel, text, strlen(text), folder, "spec.json", &err) != HONE_OK)
        fail_msg("%s", err.message);
    return kernel;
}

static void assert_hex(const cJSON *expected, const char *name, const void *bytes, size_t count) {
    const char *wanted = hone__json_string(expected, name);
    assert_non_null(wanted);
    char *hex = hone__alloc(2 * count + 1);
    for (size_t i = 0; i < count; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", ((const unsigned char *)bytes)[i]);
    if (strcmp(hex, wanted) != 0)
        fail_msg("%s: have %s, want %s", name, hex, wanted);
    hone__free(hex);
}

static void check_problem(const cJSON *item, const hone_kernel *kernel, const hone_device *device) {
    hone_problem problem;
    hone_error err = {0};
    hone_problem_init(kernel, &problem);
    const cJSON *size;
    cJSON_ArrayForEach(size, cJSON_GetObjectItemCaseSensitive(item, "sizes"))
        assert_int_equal(hone_problem_set(kernel, &problem, size->string, (int64_t)size->valuedouble, &err), HONE_OK);
    hone__buf bytes;
    hone__buf_init(&bytes, 1u << 20);
    hone__key_problem_bytes(&bytes, kernel, problem.size);
    hone__key key = hone__key_make(kernel, device, problem.size);
    assert_hex(item, "problem_bytes", bytes.data, bytes.length);
    assert_hex(item, "problem_id", key.problem, 16);
    assert_hex(item, "key", key.key, 16);
    assert_memory_equal(key.kernel, kernel->id, 16);
    assert_memory_equal(key.device, device->id, 16);
    hone__buf_free(&bytes);
}

static void check_vector(const char *path) {
    char *text = NULL;
    size_t count = 0;
    cJSON *vector = NULL;
    assert_int_equal(hone__file_read(path, 1u << 20, &text, &count, NULL), HONE_OK);
    assert_int_equal(hone__json_parse(&vector, text, count, path, NULL), HONE_OK);
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(vector, "files"))
        put_file(item->string, item->valuestring);
    char *spec = hone__json_text(cJSON_GetObjectItemCaseSensitive(vector, "spec"));
    hone_kernel *kernel = parse(spec);
    hone_device *device = NULL;
    assert_int_equal(hone__device_from_hello(&device, cJSON_GetObjectItemCaseSensitive(vector, "device"), NULL, NULL), HONE_OK);
    assert_int_equal(hone__key_identify_device(device), HONE_OK);
    hone__buf bytes;
    hone__buf_init(&bytes, 1u << 20);
    hone__key_kernel_bytes(&bytes, kernel);
    assert_hex(vector, "kernel_bytes", bytes.data, bytes.length);
    assert_hex(vector, "kernel_id", kernel->id, 16);
    hone__buf_clear(&bytes);
    hone__key_device_bytes(&bytes, device);
    assert_hex(vector, "device_bytes", bytes.data, bytes.length);
    assert_hex(vector, "device_id", device->id, 16);
    hone__buf_free(&bytes);
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(vector, "problems"))
        check_problem(item, kernel, device);
    hone_kernel_free(kernel);
    hone_device_free(device);
    hone__free(spec);
    cJSON_Delete(vector);
    hone__free(text);
}

static void test_key__vectors(void **state) {
    (void)state;
    DIR *dir = opendir(HONE_SOURCE_DIR "/spec/vectors/key");
    assert_non_null(dir);
    uint32_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strstr(entry->d_name, ".json") == NULL)
            continue;
        char path[600];
        (void)snprintf(path, sizeof path, "%s/%s", HONE_SOURCE_DIR "/spec/vectors/key", entry->d_name);
        check_vector(path);
        count++;
    }
    (void)closedir(dir);
    assert_true(count >= 4);
}

/* A spec in three pieces, so that cases replace one. */
static hone_kernel *assembled(const char *source, const char *members, const char *params) {
    char text[2048];
    put_file("k.c", source);
    put_file("d.h", "#define D\n");
    (void)snprintf(text, sizeof text, "{\"hone\":1,\"name\":\"k\",\"language\":\"c\",\"source\":\"k.c\",\"entry\":\"k\",%s,\"params\":{%s}}",
                   members, params);
    return parse(text);
}

static const char good_source[] = "int a;\nint b;\n";
static const char good_members[] = "\"sizes\":{\"N\":8,\"M\":4},\"options\":[\"-O2\"],\"constraints\":[\"B <= N\"],\"args\":[{\"name\":\"y\","
                                   "\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[\"N\"],\"access\":\"inout\"}]";
static const char good_params[] = "\"B\":{\"kind\":\"pow2\",\"min\":1,\"max\":8},\"C\":{\"kind\":\"bool\"}";

static void test_key__what_does_not_matter(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"int a;\r\nint b;\r", good_members, good_params},
        {"int a;\rint b;\r\n", good_members, good_params},
        {good_source, good_members, "\"C\":{\"kind\":\"bool\"},\"B\":{\"kind\":\"pow2\",\"min\":1,\"max\":8}"},
        {good_source, good_members, "\"B\":{\"kind\":\"pow2\",\"min\":1,\"max\":8,\"default\":4,\"description\":\"d\"},\"C\":{\"kind\":\"bool\"}"},
        {good_source,
         "\"sizes\":{\"M\":{\"default\":5,\"min\":2,\"near\":\"fixed\"},\"N\":16},\"options\":[\"-O2\"],\"constraints\":[{\"expr\":"
         "\"B <= N\",\"why\":\"w\"}],\"args\":[{\"name\":\"y\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[\"N\"],\"access\":\"inout\","
         "\"align\":64,\"fill\":{\"uniform\":[-1,1]}}],\"seeds\":[{\"B\":2}],\"default\":{\"B\":2},\"description\":\"x\","
         "\"tolerance\":{\"rtol\":1},\"flops\":\"N\",\"limits\":{\"run_s\":1},\"reference\":{\"entry\":\"r\"},\"x-y\":1,\"evaluator\":[\"e\"]",
         good_params},
    };
    hone_kernel *good = assembled(good_source, good_members, good_params);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_kernel *same = assembled(cases[i][0], cases[i][1], cases[i][2]);
        if (memcmp(good->id, same->id, 16) != 0)
            fail_msg("case %zu changes the key", i);
        hone_kernel_free(same);
    }
    hone_kernel_free(good);
}

static void test_key__what_matters(void **state) {
    (void)state;
#define ARGS(dtype, more) \
    "\"args\":[{\"name\":\"y\",\"kind\":\"buffer\",\"dtype\":\"" dtype "\",\"shape\":[\"N\"],\"access\":\"inout\"" more "}]"
#define MEMBERS(options, constraint, args) \
    "\"sizes\":{\"N\":8,\"M\":4},\"options\":[" options "],\"constraints\":[\"" constraint "\"]," args
    static const char *const cases[][3] = {
        {"int a;\nint b;", good_members, good_params},
        {"int a;\n\nint b;\n", good_members, good_params},
        {good_source, MEMBERS("\"-O3\"", "B <= N", ARGS("f32", "")), good_params},
        {good_source, MEMBERS("\"-O2\",\"-g\"", "B <= N", ARGS("f32", "")), good_params},
        {good_source, MEMBERS("\"-O2\"", "B<=N", ARGS("f32", "")), good_params},
        {good_source, MEMBERS("\"-O2\"", "B <= N", ARGS("f64", "")), good_params},
        {good_source, MEMBERS("\"-O2\"", "B <= N", ARGS("f32", ",\"align\":32")), good_params},
        {good_source, MEMBERS("\"-O2\"", "B <= N", ARGS("f32", ",\"fill\":{\"constant\":0}")), good_params},
        {good_source, MEMBERS("\"-O2\"", "B <= N", ARGS("f32", "") ",\"dependencies\":[\"d.h\"]"), good_params},
        {good_source, good_members, "\"B\":{\"kind\":\"pow2\",\"min\":1,\"max\":4},\"C\":{\"kind\":\"bool\"}"},
        {good_source, good_members, "\"B\":{\"kind\":\"enum\",\"values\":[1,2,4,8]},\"C\":{\"kind\":\"bool\"}"},
        {good_source, good_members, "\"B\":{\"kind\":\"pow2\",\"min\":1,\"max\":8},\"D\":{\"kind\":\"bool\"}"},
        {good_source, "\"sizes\":{\"N\":8,\"M\":{\"default\":4,\"role\":\"ignore\"}},\"options\":[\"-O2\"],\"constraints\":[\"B <= N\"]," ARGS("f32", ""), good_params},
    };
    hone_kernel *made[16];
    size_t count = sizeof cases / sizeof cases[0];
    made[0] = assembled(good_source, good_members, good_params);
    for (size_t i = 0; i < count; i++) {
        made[i + 1] = assembled(cases[i][0], cases[i][1], cases[i][2]);
        for (size_t j = 0; j <= i; j++) {
            if (memcmp(made[j]->id, made[i + 1]->id, 16) == 0)
                fail_msg("cases %zu and %zu have the same key", j, i + 1);
        }
    }
    for (size_t i = 0; i <= count; i++)
        hone_kernel_free(made[i]);
}

static void test_key__device(void **state) {
    (void)state;
    hone_device *first = NULL, *second = NULL;
    hone_error err = {0};
    assert_int_equal(hone_device_open(&first, NULL, &err), HONE_OK);
    assert_int_equal(hone_device_open(&second, "cpu", &err), HONE_OK);
    assert_memory_equal(first->id, second->id, 16);
    char *json = NULL;
    cJSON *parsed = NULL;
    assert_int_equal(hone_device_json(first, &json, &err), HONE_OK);
    assert_int_equal(hone__json_parse(&parsed, json, strlen(json), "device", &err), HONE_OK);
    assert_hex(parsed, "id", first->id, 16);
    assert_non_null(cJSON_GetObjectItemCaseSensitive(parsed, "identity"));
    /* Over the wire and back: the same device. */
    hone_device *third = NULL;
    assert_int_equal(hone__device_from_hello(&third, parsed, NULL, &err), HONE_OK);
    assert_int_equal(hone__key_identify_device(third), HONE_OK);
    assert_memory_equal(first->id, third->id, 16);
    cJSON_Delete(parsed);
    hone_free(json);
    hone_device_free(first);
    hone_device_free(second);
    hone_device_free(third);
}

static void test_key__device_survives_failed_allocations(void **state) {
    (void)state;
    size_t live = hone__alloc_live();
    uint32_t failures = 0, answers = 0;
    for (size_t nth = 1; nth < 200; nth++) {
        hone_device *device = NULL;
        char *json = NULL;
        hone_error err = {0};
        hone__alloc_fail_at(nth, 0);
        hone_status status = hone_device_open(&device, "cpu", &err);
        if (status == HONE_OK)
            status = hone_device_json(device, &json, &err);
        hone__alloc_fail_at(0, 0);
        assert_true(status == HONE_OK || status == HONE_E_NOMEM);
        failures += status != HONE_OK;
        answers += status == HONE_OK;
        hone_free(json);
        hone_device_free(device);
        assert_int_equal(hone__alloc_live(), live);
    }
    assert_true(failures > 0 && answers > 0);
}

static void test_key__load_names_the_file(void **state) {
    (void)state;
    char path[128];
    hone_kernel *kernel = NULL;
    hone_error err = {0};
    (void)snprintf(path, sizeof path, "%s/none.json", folder);
    assert_int_equal(hone_kernel_load(&kernel, path, &err), HONE_E_NOTFOUND);
    assert_non_null(strstr(err.message, path));
    put_file("bad.json", "{\"hone\":1,\"nam\":\"x\"}");
    (void)snprintf(path, sizeof path, "%s/bad.json", folder);
    assert_int_equal(hone_kernel_load(&kernel, path, &err), HONE_E_SPEC);
    assert_non_null(strstr(err.message, "bad.json: /nam: unknown member; did you mean \"name\""));
    assert_null(kernel);
    assert_int_equal(hone_kernel_load(&kernel, HONE_SOURCE_DIR "/tests/kernels/sgemm.json", &err), HONE_OK);
    hone_kernel_free(kernel);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key__vectors),
        cmocka_unit_test(test_key__what_does_not_matter),
        cmocka_unit_test(test_key__what_matters),
        cmocka_unit_test(test_key__device),
        cmocka_unit_test(test_key__device_survives_failed_allocations),
        cmocka_unit_test(test_key__load_names_the_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
