/* test_device.c: what a CPU is told as, on this machine and on machines that are only shown; hellos of evaluators. */
#include "alloc.h"
#include "cpu_identity.h"
#include "device.h"
#include "file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static void put_file(const char *name, const char *text) {
    char path[300];
    (void)snprintf(path, sizeof path, "%s%s", root, name);
    char *dir = hone__path_dir(path);
    assert_int_equal(hone__mkdir_all(dir, NULL), HONE_OK);
    hone__free(dir);
    assert_int_equal(hone__file_write(path, text, strlen(text), 0600, NULL), HONE_OK);
}

static void put_cache(unsigned cpu, unsigned index, const char *level, const char *type, const char *size) {
    char path[128];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cache/index%u/level", cpu, index);
    put_file(path, level);
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cache/index%u/type", cpu, index);
    put_file(path, type);
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cache/index%u/size", cpu, index);
    put_file(path, size);
}

static int new_root(void **state) {
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/hone-test-device-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int drop_root(void **state) {
    (void)state;
    static const char *const leaves[] = {"/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/node/node0/cpulist",
                                         "/sys/devices/system/node/node1/cpulist", "/sys/devices/system/node/node0", "/sys/devices/system/node/node1"};
    char path[200];
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", root, leaves[i]);
        (void)remove(path);
    }
    static const char *const names[] = {"level", "type", "size"};
    for (unsigned index = 0; index < 4; index++) {
        for (size_t k = 0; k < 3; k++) {
            (void)snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu3/cache/index%u/%s", root, index, names[k]);
            (void)remove(path);
        }
        (void)snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu3/cache/index%u", root, index);
        (void)remove(path);
    }
    static const char *const folders[] = {"/sys/devices/system/cpu/cpu3/cache", "/sys/devices/system/cpu/cpu3", "/sys/devices/system/cpu",
                                          "/sys/devices/system/node", "/sys/devices/system", "/sys/devices", "/sys", "/proc", ""};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", root, folders[i]);
        (void)remove(path);
    }
    return 0;
}

static cJSON *empty(void) {
    cJSON *object = NULL;
    assert_int_equal(hone__json_parse(&object, "{}", 2, "test", NULL), HONE_OK);
    return object;
}

static void assert_json(const cJSON *object, const char *expected) {
    char *text = hone__json_text(object);
    assert_string_equal(text, expected);
    hone__free(text);
}

static void test_device__x86_fixture(void **state) {
    (void)state;
    put_file("/proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\n"
                              "model name\t: Intel(R) Xeon(R) Platinum 8480+\nstepping\t: 8\ncpu MHz\t\t: 2000.123\n"
                              "flags\t\t: fpu sse4_2 avx avx2 fma f16c avx512f avx512bw amx_tile xavx512vl bmi2 \n\nprocessor\t: 1\nmodel\t\t: 1\n");
    put_file("/proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n");
    put_cache(3, 0, "1\n", "Data\n", "48K\n");
    put_cache(3, 1, "1\n", "Instruction\n", "32K\n");
    put_cache(3, 2, "2\n", "Unified\n", "2048K\n");
    put_cache(3, 3, "3\n", "Unified\n", "105M\n");
    put_file("/sys/devices/system/node/node0/cpulist", "0-3\n");
    put_file("/sys/devices/system/node/node1/cpulist", "\n"); /* memory only */
    cJSON *identity = empty(), *description = empty();
    char *name = NULL;
    assert_true(hone__cpu_identify(root, 4, 3, identity, description, &name));
    assert_json(identity, "{\"arch\":\"x86_64\",\"cores\":4,\"features\":\"amx_tile avx avx2 avx512bw avx512f bmi2 f16c fma sse4_2\","
                          "\"l1d_kib\":48,\"l2_kib\":2048,\"l3_kib\":107520,\"vendor\":\"GenuineIntel\",\"family\":6,\"model\":143,"
                          "\"numa_nodes\":1}");
    assert_json(description, "{\"model_name\":\"Intel(R) Xeon(R) Platinum 8480+\",\"stepping\":\"8\",\"mhz\":2000,\"memory_mib\":16000}");
    assert_string_equal(name, "Intel(R) Xeon(R) Platinum 8480+ (4 cores)");
    hone__free(name);
    cJSON_Delete(identity);
    cJSON_Delete(description);
}

static void test_device__arm_fixture(void **state) {
    (void)state;
    put_file("/proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd asimdhp asimddp sve i8mm bf16\n"
                              "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0xd40\nCPU revision\t: 1\n");
    cJSON *identity = empty(), *description = empty();
    char *name = NULL;
    assert_true(hone__cpu_identify(root, 1, 0, identity, description, &name));
    assert_json(identity, "{\"arch\":\"aarch64\",\"cores\":1,\"features\":\"asimd asimddp asimdhp bf16 i8mm sve\",\"vendor\":\"0x41\","
                          "\"model\":\"0xd40\",\"variant\":\"0x1\",\"numa_nodes\":1}");
    assert_string_equal(name, "aarch64 CPU (1 core)");
    hone__free(name);
    cJSON_Delete(identity);
    cJSON_Delete(description);
}

static void test_device__nothing_to_read(void **state) {
    (void)state;
    cJSON *identity = empty(), *description = empty();
    char *name = NULL;
    assert_true(hone__cpu_identify(root, 2, 0, identity, description, &name));
    assert_non_null(hone__json_string(identity, "arch"));
    assert_non_null(name);
    hone__free(name);
    cJSON_Delete(identity);
    cJSON_Delete(description);
}

static void test_device__this_machine(void **state) {
    (void)state;
    hone_device *device = NULL;
    hone_error err = {0};
    size_t live = hone__alloc_live();
    assert_int_equal(hone__device_detect(&device, NULL, &err), HONE_OK);
    assert_string_equal(device->kind, "cpu");
    assert_string_equal(device->ordinal, "cpu");
    assert_true(strlen(hone_device_name(device)) > 0);
    const char *last = "";
    for (const cJSON *item = device->identity->child; item != NULL; item = item->next) {
        assert_true(strcmp(last, item->string) < 0);
        assert_true(cJSON_IsString(item) || cJSON_IsNumber(item));
        last = item->string;
    }
    assert_true(hone__json_number(device->identity, "cores", 0) >= 1);
    hone_device_free(device);
    assert_int_equal(hone__alloc_live(), live);
}

static void test_device__names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        hone_status status;
        const char *words;
    } cases[] = {
        {"cuda:x", HONE_E_NODEVICE, "known are \"cpu\", \"cuda:N\""},
        {"gpu", HONE_E_NODEVICE, "known are"},
        {"", HONE_E_NODEVICE, "known are"},
        {"CPU", HONE_E_NODEVICE, "known are"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_device *device = (hone_device *)&root;
        hone_error err = {0};
        assert_int_equal(hone__device_detect(&device, cases[i].name, &err), cases[i].status);
        assert_null(device);
        assert_non_null(strstr(err.message, cases[i].words));
    }
}

static hone_status hello(hone_device **device, const char *text, const char *peaks, hone_error *err) {
    cJSON *json = NULL, *peak = NULL;
    assert_int_equal(hone__json_parse(&json, text, strlen(text), "hello", NULL), HONE_OK);
    if (peaks != NULL)
        assert_int_equal(hone__json_parse(&peak, peaks, strlen(peaks), "hello", NULL), HONE_OK);
    hone_status status = hone__device_from_hello(device, json, peak, err);
    cJSON_Delete(json);
    cJSON_Delete(peak);
    return status;
}

static void test_device__hello(void **state) {
    (void)state;
    hone_device *device = NULL;
    hone_error err = {0};
    assert_int_equal(hello(&device, "{\"kind\":\"gpu-x\",\"identity\":{\"z\":1,\"a\":\"t\",\"m\":true,\"b\":0.5}}",
                           "{\"gbps\":100.5,\"gflops\":-1}", &err),
                     HONE_OK);
    assert_json(device->identity, "{\"a\":\"t\",\"b\":0.5,\"m\":true,\"z\":1}");
    assert_string_equal(device->name, "gpu-x");
    assert_true(device->peak_gbps > 100 && device->peak_gbps < 101);
    assert_false(device->peak_gflops > 0);
    cJSON *json = hone__device_to_json(device);
    assert_json(json, "{\"kind\":\"gpu-x\",\"name\":\"gpu-x\",\"identity\":{\"a\":\"t\",\"b\":0.5,\"m\":true,\"z\":1},\"description\":{}}");
    cJSON_Delete(json);
    hone_device_free(device);
}

static void test_device__bad_hellos(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"kind\":\"\",\"identity\":{\"a\":1}}",
        "{\"kind\":\"Cpu\",\"identity\":{\"a\":1}}",
        "{\"kind\":\"cpu\"}",
        "{\"kind\":\"cpu\",\"identity\":{}}",
        "{\"kind\":\"cpu\",\"identity\":[1]}",
        "{\"kind\":\"cpu\",\"identity\":{\"a\":null}}",
        "{\"kind\":\"cpu\",\"identity\":{\"a\":{}}}",
        "{\"kind\":\"cpu\",\"identity\":{\"a\":[1]}}",
        "{\"kind\":\"cpu\",\"identity\":{\"\":1}}",
        "{\"kind\":\"cpu\",\"identity\":{\"a\":1e999}}",
        "{\"kind\":\"cpu\",\"identity\":{\"a\":1},\"description\":3}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hone_device *device = NULL;
        hone_error err = {0};
        if (hello(&device, bad[i], NULL, &err) != HONE_E_EVALUATOR)
            fail_msg("accepted: %s", bad[i]);
        assert_null(device);
        assert_non_null(strstr(err.message, "hello"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_device__x86_fixture, new_root, drop_root),
        cmocka_unit_test_setup_teardown(test_device__arm_fixture, new_root, drop_root),
        cmocka_unit_test_setup_teardown(test_device__nothing_to_read, new_root, drop_root),
        cmocka_unit_test(test_device__this_machine),
        cmocka_unit_test(test_device__names),
        cmocka_unit_test(test_device__hello),
        cmocka_unit_test(test_device__bad_hellos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
