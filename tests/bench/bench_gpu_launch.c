/* bench_gpu_launch.c: launches a second of a small kernel through the CUDA driver, with and without hone_site_lookup before each, in turns.
 * usage: bench_gpu_launch SPEC.json CACHE [LAUNCHES]   (the default sizes of the spec; needs a GPU) */
#include <hone.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 15

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".visible .entry small(.param .u64 to) { .reg .u64 %a; .reg .u32 %t; .reg .u64 %o; ld.param.u64 %a, [to]; mov.u32 %t, %tid.x; "
                          "mul.wide.u32 %o, %t, 4; add.u64 %a, %a, %o; st.global.u32 [%a], %t; ret; }\n";

static void *driver;

typedef void (*any_function)(void);

/* A function pointer out of dlsym's object pointer: POSIX says they convert, ISO C does not. */
static any_function symbol(const char *name) {
    void *found = dlsym(driver, name);
    any_function function;
    if (found == NULL) {
        fprintf(stderr, "no %s in libcuda.so.1\n", name);
        exit(1);
    }
    memcpy(&function, &found, sizeof function);
    return function;
}

static void must(int code, const char *what) {
    if (code == 0)
        return;
    fprintf(stderr, "%s: error %d\n", what, code);
    exit(1);
}

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    hone_error err = {0};
    hone_kernel *kernel = NULL;
    hone_device *device = NULL;
    hone_cache *cache = NULL;
    hone_site *site = NULL;
    unsigned long launches = argc > 3 ? strtoul(argv[3], NULL, 10) : 100000;
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (argc < 3 || driver == NULL) {
        fprintf(stderr, driver == NULL ? "no libcuda.so.1\n" : "usage: bench_gpu_launch SPEC.json CACHE [LAUNCHES]\n");
        return 2;
    }
    if (hone_kernel_load(&kernel, argv[1], &err) != HONE_OK || hone_device_open(&device, "cuda:0", &err) != HONE_OK ||
        hone_cache_open(&cache, argv[2], NULL, &err) != HONE_OK || hone_site_open(&site, cache, kernel, device, NULL, &err) != HONE_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    void *context = NULL, *module = NULL, *function = NULL;
    unsigned long long memory = 0;
    must(((int (*)(unsigned))symbol("cuInit"))(0), "cuInit");
    must(((int (*)(void **, int))symbol("cuDevicePrimaryCtxRetain"))(&context, 0), "context");
    must(((int (*)(void *))symbol("cuCtxSetCurrent"))(context), "context");
    must(((int (*)(void **, const void *))symbol("cuModuleLoadData"))(&module, ptx), "module");
    must(((int (*)(void **, void *, const char *))symbol("cuModuleGetFunction"))(&function, module, "small"), "function");
    must(((int (*)(unsigned long long *, size_t))symbol("cuMemAlloc_v2"))(&memory, 4096), "memory");
    int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **) =
        (int (*)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **))symbol("cuLaunchKernel");
    int (*wait)(void) = (int (*)(void))symbol("cuCtxSynchronize");
    hone_problem problem;
    hone_problem_init(kernel, &problem);
    void *params[] = {&memory};
    double rate[2][ROUNDS];
    hone_match match = HONE_MATCH_NONE;
    uint64_t seen = 0;
    for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
        for (int k = 0; k < 2; k++) {
            int with = (k + round) & 1; /* neither always goes first */
            double start = now_s();
            for (unsigned long i = 0; i < launches; i++) {
                if (with)
                    seen += hone_site_lookup(site, &problem, &match) != NULL;
                must(launch(function, 1, 1, 1, 128, 1, 1, 0, NULL, params, NULL), "launch");
            }
            must(wait(), "wait");
            if (round >= 0)
                rate[with][round] = (double)launches / (now_s() - start);
        }
    }
    for (int with = 0; with < 2; with++)
        qsort(rate[with], ROUNDS, sizeof rate[with][0], by_size);
    printf("%s look-up: %.0f launches/s (%.0f to %.0f)\n%s look-up (%s): %.0f launches/s (%.0f to %.0f), %.1f ns a launch more\n", "without",
           rate[0][ROUNDS / 2], rate[0][0], rate[0][ROUNDS - 1], "with", hone_match_name(match), rate[1][ROUNDS / 2], rate[1][0], rate[1][ROUNDS - 1],
           1e9 / rate[1][ROUNDS / 2] - 1e9 / rate[0][ROUNDS / 2]);
    hone_cache_close(cache);
    hone_kernel_free(kernel);
    hone_device_free(device);
    return seen == 0;
}
