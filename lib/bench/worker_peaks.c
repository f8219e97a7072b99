/* worker_peaks.c: what one core of this machine can do at most: memory bandwidth and single-precision multiply-adds, measured once with
 * a small program that the system's compiler builds for this very processor. */
#define _GNU_SOURCE
#include "worker_internal.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* which 0: GB/s, the best of reading (one stream, four streams), copying (plain, and past the caches) and the triad over arrays far
 * beyond the caches, reads and writes counted.
 * which 1: GFLOP/s of independent chains of fused multiply-adds in the widest vectors that the compiler has for this machine. */
static const char arithmetic_source[] =
    "#include <stdlib.h>\n"
    "#include <time.h>\n"
    "#include <unistd.h>\n"
    "#include <sys/mman.h>\n"
    "static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec; }\n"
    "#if defined(__AVX512F__)\n"
    "#define WIDTH 64\n"
    "#elif defined(__AVX__)\n"
    "#define WIDTH 32\n"
    "#else\n"
    "#define WIDTH 16\n"
    "#endif\n"
    "typedef float vec __attribute__((vector_size(WIDTH)));\n"
    "typedef double wide __attribute__((vector_size(WIDTH)));\n"
    "static volatile float sink;\n"
    "static double flops(void) {\n"
    "    double best = 0.0;\n"
    "    for (int repeat = 0; repeat < 8; repeat++) {\n"
    "        vec a[12] = {{0}}, m = {0}, c = {0};\n"
    "        for (int i = 0; i < WIDTH / 4; i++) { m[i] = 0.999f; c[i] = 0.001f; for (int k = 0; k < 12; k++) a[k][i] = (float)k; }\n"
    "        const long steps = 400000;\n"
    "        double start = now();\n"
    "        for (long s = 0; s < steps; s++) {\n"
    "            for (int k = 0; k < 12; k++) a[k] = a[k] * m + c;\n"
    "#if defined(__x86_64__)\n"
    "            __asm__ volatile(\"\" : \"+x\"(a[0]), \"+x\"(a[1]), \"+x\"(a[2]), \"+x\"(a[3]), \"+x\"(a[4]), \"+x\"(a[5]));\n"
    "#elif defined(__aarch64__)\n"
    "            __asm__ volatile(\"\" : \"+w\"(a[0]), \"+w\"(a[1]), \"+w\"(a[2]), \"+w\"(a[3]), \"+w\"(a[4]), \"+w\"(a[5]));\n"
    "#endif\n"
    "        }\n"
    "        double took = now() - start;\n"
    "        vec sum = a[0];\n"
    "        for (int k = 1; k < 12; k++) sum += a[k];\n"
    "        float total = 0; for (int i = 0; i < WIDTH / 4; i++) total += sum[i];\n"
    "        sink = total;\n"
    "        double rate = 2.0 * 12.0 * (WIDTH / 4) * (double)steps / took * 1e-9;\n"
    "        if (rate > best) best = rate;\n"
    "    }\n"
    "    return best;\n"
    "}\n";

static const char bandwidth_source[] =
    "/* A store that does not read its line first, where the processor has one. */\n"
    "#if defined(__AVX512F__)\n"
    "#include <immintrin.h>\n"
    "#define STREAM(to, value) _mm512_stream_ps((float *)(to), (__m512)(value))\n"
    "#elif defined(__AVX__)\n"
    "#include <immintrin.h>\n"
    "#define STREAM(to, value) _mm256_stream_ps((float *)(to), (__m256)(value))\n"
    "#elif defined(__SSE__)\n"
    "#include <immintrin.h>\n"
    "#define STREAM(to, value) _mm_stream_ps((float *)(to), (__m128)(value))\n"
    "#else\n"
    "#define STREAM(to, value) (*(to) = (value))\n"
    "#endif\n"
    "static void copy_past_caches(vec *to, const vec *from, size_t n) {\n"
    "    for (size_t k = 0; k + 4 <= n; k += 4) {\n"
    "        __builtin_prefetch((const char *)(from + k) + 2048);\n"
    "        for (int j = 0; j < 4; j++) { vec v = from[k + j]; STREAM(to + k + j, v); }\n"
    "    }\n"
    "}\n"
    "static vec read_four_streams(const vec *from, size_t n) {\n"
    "    vec s[4] = {{0}};\n"
    "    size_t part = n / 4;\n"
    "    for (size_t k = 0; k < part; k++) for (int j = 0; j < 4; j++) {\n"
    "        __builtin_prefetch((const char *)(from + j * part + k) + 1024);\n"
    "        s[j] += from[j * part + k];\n"
    "    }\n"
    "    return s[0] + s[1] + s[2] + s[3];\n"
    "}\n"
    "static double bandwidth(void) {\n"
    "    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);\n"
    "    size_t bytes = (size_t)64 << 20;\n"
    "    if (cache > 0 && (size_t)cache * 2 > bytes) bytes = (size_t)cache * 2;\n"
    "    if (bytes > ((size_t)256 << 20)) bytes = (size_t)256 << 20;\n"
    "    double *x[3];\n"
    "    for (int i = 0; i < 3; i++) {\n"
    "        x[i] = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n"
    "        if (x[i] == MAP_FAILED) return 0.0;\n"
    "        madvise(x[i], bytes, MADV_HUGEPAGE);\n"
    "    }\n"
    "    size_t n = bytes / sizeof(double);\n"
    "    for (int i = 0; i < 3; i++) for (size_t k = 0; k < n; k++) x[i][k] = 1.0;\n"
    "    double best = 0.0, begin = now();\n"
    "    for (int repeat = 0; repeat < 12 && now() - begin < 0.4; repeat++) {\n"
    "        double *a = x[0], *b = x[1], *c = x[2];\n"
    "        double t0 = now();\n"
    "        for (size_t k = 0; k < n; k++) a[k] = b[k] + 0.5 * c[k];\n"
    "        __asm__ volatile(\"\" ::: \"memory\");\n"
    "        double t1 = now();\n"
    "        for (size_t k = 0; k < n; k++) b[k] = a[k];\n"
    "        __asm__ volatile(\"\" ::: \"memory\");\n"
    "        double t2 = now();\n"
    "        wide s[8] = {{0}};\n"
    "        const wide *w = (const wide *)c;\n"
    "        for (size_t k = 0; k + 8 <= bytes / WIDTH; k += 8) for (int j = 0; j < 8; j++) s[j] += w[k + j];\n"
    "        wide sum = s[0]; for (int j = 1; j < 8; j++) sum += s[j];\n"
    "        sink = (float)sum[0];\n"
    "        double t3 = now();\n"
    "        copy_past_caches((vec *)b, (const vec *)a, bytes / WIDTH);\n"
    "        double t4 = now();\n"
    "        sink = read_four_streams((const vec *)c, bytes / WIDTH)[0];\n"
    "        double t5 = now();\n"
    "        double rates[5] = {3.0 * (double)bytes / (t1 - t0), 2.0 * (double)bytes / (t2 - t1), (double)bytes / (t3 - t2),\n"
    "                           2.0 * (double)bytes / (t4 - t3), (double)bytes / (t5 - t4)};\n"
    "        for (int i = 0; i < 5; i++) if (rates[i] * 1e-9 > best) best = rates[i] * 1e-9;\n"
    "    }\n"
    "    return best;\n"
    "}\n"
    "__attribute__((visibility(\"default\"))) double hone_peak(int which);\n"
    "double hone_peak(int which) { return which == 0 ? bandwidth() : flops(); }\n";

double hone__peak_call(void *library, int which) {
    union {
        void *object;
        double (*function)(int);
    } both = {.object = dlsym(library, "hone_peak")};
    return both.object != NULL ? both.function(which) : 0.0;
}

static bool write_source(const hone__worker *worker) {
    char path[400];
    (void)snprintf(path, sizeof path, "%s/peak.c", worker->dir);
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return false;
    bool whole = fwrite(arithmetic_source, 1, sizeof arithmetic_source - 1, file) == sizeof arithmetic_source - 1 &&
                 fwrite(bandwidth_source, 1, sizeof bandwidth_source - 1, file) == sizeof bandwidth_source - 1;
    return fclose(file) == 0 && whole;
}

static double sane_rate(double rate) {
    return isfinite(rate) && rate > 0.0 && rate < 1e7 ? rate : 0.0;
}

void hone__worker_peaks(hone__worker *worker) {
    if (worker->peaks_known || !write_source(worker))
        return;
    worker->peaks_known = true;
    /* A problem of its own gives the compile and the run their limits. */
    hone__problem kept = worker->problem;
    worker->problem = (hone__problem){.compile_s = 20.0, .run_s = 10.0, .memory_bytes = (uint64_t)4 << 30, .output_bytes = 65536};
    cJSON *options = cJSON_Parse("[\"-O3\", \"-march=native\", \"-ffp-contract=fast\"]");
    hone__build build = {.request = 0};
    if (options != NULL && hone__build_start(worker, &build, "peak.c", NULL, options, NULL) == HONE_OK) {
        hone__build_wait(&build);
        hone__trial trial = {.kind = HONE_TRIAL_PEAK, .object = {build.object}, .count = 1, .run_s = 10.0};
        if (build.outcome == HONE_OUTCOME_OK && hone__trial_start(worker, &trial, NULL) == HONE_OK) {
            hone__trial_wait(&trial, &worker->problem);
            if (trial.slate->result.outcome == HONE_OUTCOME_OK) {
                worker->peak_gbps = sane_rate(trial.slate->sample[0]);
                worker->peak_gflops = sane_rate(trial.slate->sample[1]);
            }
            hone__trial_end(&trial);
        }
    }
    cJSON_Delete(options);
    worker->problem = kept;
}
