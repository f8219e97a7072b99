/* test_gpu_sources.c: the GPU back end's own kernels through the real NVRTC, where there is one, for several architectures; and what
 * decides that two configs share their code. */
#include "alloc.h"
#include "gpu_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void compile(const hone__nvrtc *nvrtc, const char *source, const char *arch, bool toolkit) {
    hone__rtc_program program = NULL;
    char option[64], headers[600], libcu[600];
    (void)snprintf(option, sizeof option, "--gpu-architecture=%s", arch);
    (void)snprintf(headers, sizeof headers, "-I%s", nvrtc->headers);
    (void)snprintf(libcu, sizeof libcu, "-I%s", nvrtc->libcu[0] != '\0' ? nvrtc->libcu : nvrtc->headers);
    const char *const options[] = {option, "-std=c++17", headers, libcu};
    const char *const *text, *const *name;
    int count = hone__gpu_headers(&text, &name);
    size_t bytes = 0;
    assert_int_equal(nvrtc->create(&program, source, "own.cu", count, text, name), HONE_NVRTC_OK);
    if (nvrtc->compile(program, toolkit ? 4 : 2, options) != HONE_NVRTC_OK) {
        char log[8192] = "";
        if (nvrtc->log_bytes(program, &bytes) == HONE_NVRTC_OK && bytes < sizeof log)
            (void)nvrtc->log(program, log);
        fail_msg("%s: %s", arch, log);
    }
    assert_int_equal(nvrtc->cubin_bytes(program, &bytes), HONE_NVRTC_OK);
    assert_true(bytes > 500);
    char *cubin = hone__alloc(bytes);
    assert_int_equal(nvrtc->cubin(program, cubin), HONE_NVRTC_OK);
    assert_memory_equal(cubin, "\177ELF", 4);
    if (getenv("HONE_KEEP_CUBIN") != NULL) { /* for a look with cuobjdump */
        FILE *file = fopen(getenv("HONE_KEEP_CUBIN"), "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(cubin, 1, bytes, file), bytes);
        assert_int_equal(fclose(file), 0);
    }
    hone__free(cubin);
    assert_int_equal(nvrtc->destroy(&program), HONE_NVRTC_OK);
}

static void test_gpu_sources__compile_for_every_architecture(void **state) {
    (void)state;
    const hone__nvrtc *nvrtc = NULL;
    hone_error err = {0};
    if (hone__nvrtc_open(&nvrtc, 0, &err) != HONE_OK) {
        print_message("test_gpu_sources ... skipped '%s'\n", err.message);
        skip();
    }
    char *peaks = hone__gpu_peaks_source(0), *hopper = hone__gpu_peaks_source(2), *helper = hone__gpu_helper_source();
    assert_non_null(peaks);
    assert_non_null(hopper);
    assert_non_null(helper);
    static const int capabilities[][2] = {{8, 0}, {8, 9}, {9, 0}, {10, 0}, {12, 0}};
    char arch[16];
    for (size_t i = 0; i < sizeof capabilities / sizeof capabilities[0]; i++) {
        if (!hone__nvrtc_arch(nvrtc, capabilities[i][0], capabilities[i][1], arch, sizeof arch))
            continue;
        compile(nvrtc, helper, arch, false);
        compile(nvrtc, peaks, arch, false);
        compile(nvrtc, hopper, arch, false);
    }
    hone__free(peaks);
    hone__free(hopper);
    hone__free(helper);
    assert_true(hone__nvrtc_arch(nvrtc, 9, 0, arch, sizeof arch));
    assert_string_equal(arch, nvrtc->major >= 12 ? "sm_90a" : "sm_90");
    assert_false(hone__nvrtc_arch(nvrtc, 99, 9, arch, sizeof arch));
}

/* What people's CUDA sources include: C's headers always, the toolkit's where there is one, each before the other. */
static void test_gpu_sources__headers_that_sources_name(void **state) {
    (void)state;
    const hone__nvrtc *nvrtc = NULL;
    hone_error err = {0};
    if (hone__nvrtc_open(&nvrtc, 0, &err) != HONE_OK) {
        print_message("test_gpu_sources ... skipped '%s'\n", err.message);
        skip();
    }
    static const char c[] = "#include <cassert>\n#include <cfloat>\n#include <climits>\n#include <cmath>\n#include <cstddef>\n#include <cstdint>\n"
                            "#include <cstdio>\n#include <cstdlib>\n#include <cstring>\n#include <assert.h>\n#include <float.h>\n#include <limits.h>\n"
                            "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n";
    static const char cuda[] = "#include <cuda_runtime.h>\n#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n#include <mma.h>\n#include <cooperative_groups.h>\n"
                               "#include <cooperative_groups/reduce.h>\n#include <cuda/pipeline>\n#include <cuda/barrier>\n#include <cuda/std/cstdint>\n"
                               "#include <cuda/std/cmath>\n#include <cuda/std/cfloat>\n";
    static const char use[] = "static_assert(sizeof(int64_t) == 8 && sizeof(std::uint8_t) == 1 && UINT32_MAX == 0xffffffffu && INT_MAX == 2147483647, \"\");\n"
                              "extern \"C\" __global__ void k(float *x, uintptr_t n, std::size_t m) { assert(n > 0); if (threadIdx.x == 0) printf(\"%d\", 1);\n"
                              "    memcpy(x, x + 4, 16); x[n] = fminf(FLT_MAX, INFINITY) + NAN + M_PI + DBL_MAX + SIZE_MAX + m + sqrtf(x[1]); }\n";
    char source[4096], arch[16];
    assert_true(hone__nvrtc_arch(nvrtc, 9, 0, arch, sizeof arch));
    (void)snprintf(source, sizeof source, "%s%s", c, use);
    compile(nvrtc, source, arch, false);
    if (nvrtc->headers[0] == '\0')
        return;
    (void)snprintf(source, sizeof source, "%s%s%s", c, cuda, use);
    compile(nvrtc, source, arch, true);
    (void)snprintf(source, sizeof source, "%s%s%s", cuda, c, use);
    compile(nvrtc, source, arch, true);
}

static bool same(const char *source, const char *defines, const char *other_defines, const char *options, const char *other_options) {
    uint64_t key[2][2];
    const char *const texts[2][2] = {{defines, options}, {other_defines, other_options}};
    for (int i = 0; i < 2; i++) {
        cJSON *d = NULL, *o = NULL;
        assert_int_equal(hone__json_parse(&d, texts[i][0], strlen(texts[i][0]), "d", NULL), HONE_OK);
        assert_int_equal(hone__json_parse(&o, texts[i][1], strlen(texts[i][1]), "o", NULL), HONE_OK);
        hone__gpu_source_key(source, d, o, key[i]);
        cJSON_Delete(d);
        cJSON_Delete(o);
    }
    return key[0][0] == key[1][0] && key[0][1] == key[1][1];
}

static void test_gpu_sources__key_sees_what_matters(void **state) {
    (void)state;
    static const char plain[] = "extern \"C\" __global__ void k(float *x) { x[BM] = 1; }";
    assert_true(same(plain, "[\"BM=1\",\"CTAS=2\"]", "[\"BM=1\",\"CTAS=4\"]", "[]", "[]"));
    assert_false(same(plain, "[\"BM=1\",\"CTAS=2\"]", "[\"BM=2\",\"CTAS=2\"]", "[]", "[]"));
    assert_false(same(plain, "[\"BM=1\"]", "[\"BM=1\"]", "[\"-O1\"]", "[]"));
    /* What is in a file that we do not read, or pasted together, may use any macro. */
    assert_false(same("#include \"more.cuh\"\n", "[\"CTAS=2\"]", "[\"CTAS=4\"]", "[]", "[]"));
    assert_false(same("#  include <more.cuh>\n#define P(a,b) a##b\n", "[\"CTAS=2\"]", "[\"CTAS=4\"]", "[]", "[]"));
    assert_false(same("#include <more.cuh>\n", "[\"CTAS=2\"]", "[\"CTAS=4\"]", "[]", "[]"));
    assert_true(same("#include <cuda/pipeline>\n#include <stdint.h>\n", "[\"CTAS=2\"]", "[\"CTAS=4\"]", "[]", "[]"));
    assert_true(same("#include <cuda_fp16.h>\n", "[\"CTAS=2\"]", "[\"CTAS=4\"]", "[]", "[]"));
    /* An option that names a macro makes it matter. */
    assert_false(same(plain, "[\"BM=1\",\"CTAS=2\"]", "[\"BM=1\",\"CTAS=4\"]", "[\"-DX=CTAS\"]", "[\"-DX=CTAS\"]"));
}

static void test_gpu_sources__launches_beyond_the_device(void **state) {
    (void)state;
    static const hone__gpu_limits h100 = {1024, {1024, 1024, 64}, {2147483647, 65535, 65535}, 232448, 65536, 1};
    static const struct {
        hone__gpu_launch launch;
        const char *words; /* NULL: fits */
    } cases[] = {
        {{{1, 1, 1}, {1024, 1, 1}, {0, 1, 1}, 232448}, NULL},
        {{{4, 6, 1}, {128, 1, 1}, {2, 3, 1}, 0}, NULL},
        {{{1, 1, 1}, {1025, 1, 1}, {0, 1, 1}, 0}, "1025 threads of at most 1024"},
        {{{1, 1, 1}, {32, 64, 1}, {0, 1, 1}, 0}, "2048 threads of at most 1024"},
        {{{1, 1, 1}, {1, 1, 65}, {0, 1, 1}, 0}, "block z is 65 of at most 64"},
        {{{1, 65536, 1}, {32, 1, 1}, {0, 1, 1}, 0}, "grid y is 65536 of at most 65535"},
        {{{1, 1, 1}, {32, 1, 1}, {0, 1, 1}, 232449}, "232449 bytes of dynamic shared memory of at most 232448"},
        {{{4, 5, 1}, {32, 1, 1}, {2, 2, 1}, 0}, "grid y, 5, is no multiple of the cluster's 2"},
        {{{34, 1, 1}, {32, 1, 1}, {17, 1, 1}, 0}, "17 blocks of at most 16"},
    };
    char why[300];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool fits = hone__gpu_launch_fits(&h100, &cases[i].launch, why, sizeof why);
        if (fits != (cases[i].words == NULL) || (!fits && strstr(why, cases[i].words) == NULL))
            fail_msg("case %zu: %d %s", i, fits, why);
    }
    hone__gpu_limits older = h100;
    older.clusters = 0;
    assert_false(hone__gpu_launch_fits(&older, &cases[1].launch, why, sizeof why));
    assert_non_null(strstr(why, "no clusters"));
}

static void test_gpu_sources__launch_is_read_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *json;
        bool good;
    } cases[] = {
        {"{\"grid\":[4,2],\"block\":[128],\"cluster\":[],\"shared_bytes\":16}", true},
        {"{\"grid\":[4],\"block\":[128],\"cluster\":[2,1]}", true},
        {"{\"grid\":[],\"block\":[128]}", false},
        {"{\"grid\":[1,1,1,1],\"block\":[128]}", false},
        {"{\"grid\":[0],\"block\":[128]}", false},
        {"{\"grid\":[1.5],\"block\":[128]}", false},
        {"{\"grid\":[1],\"block\":[4294967296]}", false},
        {"{\"grid\":[1],\"block\":[1],\"shared_bytes\":-1}", false},
        {"{\"grid\":[1],\"block\":\"1\"}", false},
        {"null", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *json = NULL;
        hone__gpu_launch launch;
        assert_int_equal(hone__json_parse(&json, cases[i].json, strlen(cases[i].json), "launch", NULL), HONE_OK);
        if (hone__gpu_launch_read(json, &launch) != cases[i].good)
            fail_msg("%s", cases[i].json);
        cJSON_Delete(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpu_sources__compile_for_every_architecture),
        cmocka_unit_test(test_gpu_sources__headers_that_sources_name),
        cmocka_unit_test(test_gpu_sources__key_sees_what_matters),
        cmocka_unit_test(test_gpu_sources__launches_beyond_the_device),
        cmocka_unit_test(test_gpu_sources__launch_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
