/* fake_cuda.c: a CUDA driver without a GPU.  It keeps device memory on the heap, does what Hone's own kernels do, plays a kernel
 * scale(in, out, n): out = 2 * in in fp32, and misbehaves as that kernel's macro BEHAVE says.  Time is made up: a launch takes US microseconds.
 *
 * HONE_FAKE_CUDA holds words: devices=N version=V init=CODE context=CODE mig=1 unequal=1 mhz=N memory=MIB.
 * BEHAVE: ok hang illegal misaligned trap assert segv wrong nan flaky behind before scribble oom registers static launch badparam gridsync. */
#include "cuda_driver.h"

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define F32 1

struct CUmod_st {
    char *code;
};
struct CUfunc_st {
    char name[64], behave[32];
    double us;
    int dynamic_bytes;
    unsigned runs;
};
struct CUevent_st {
    double at_us;
};

static double now_us = 1.0;
static hone__cu_result pending, sticky;

static long word(const char *name, long fallback) {
    const char *text = getenv("HONE_FAKE_CUDA");
    size_t length = strlen(name);
    for (const char *c = text; c != NULL && *c != '\0'; c += strcspn(c, " "), c += strspn(c, " ")) {
        if (strncmp(c, name, length) == 0 && c[length] == '=')
            return strtol(c + length + 1, NULL, 10);
    }
    return fallback;
}

/* ---- the device ---- */

EXPORT hone__cu_result cuInit(unsigned flags);
EXPORT hone__cu_result cuInit(unsigned flags) {
    (void)flags;
    return (hone__cu_result)word("init", 0);
}

EXPORT hone__cu_result cuDriverGetVersion(int *version);
EXPORT hone__cu_result cuDriverGetVersion(int *version) {
    *version = (int)word("version", 12040);
    return 0;
}

EXPORT hone__cu_result cuGetErrorName(hone__cu_result error, const char **text);
EXPORT hone__cu_result cuGetErrorName(hone__cu_result error, const char **text) {
    *text = error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : error == 716 ? "CUDA_ERROR_MISALIGNED_ADDRESS" : error == 710 ? "CUDA_ERROR_ASSERT"
            : error == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_THE_FAKE";
    return 0;
}

EXPORT hone__cu_result cuGetErrorString(hone__cu_result error, const char **text);
EXPORT hone__cu_result cuGetErrorString(hone__cu_result error, const char **text) {
    *text = error == 700 ? "an illegal memory access was encountered" : "as the fake was told";
    return 0;
}

EXPORT hone__cu_result cuDeviceGetCount(int *count);
EXPORT hone__cu_result cuDeviceGetCount(int *count) {
    *count = (int)word("devices", 1);
    return 0;
}

EXPORT hone__cu_result cuDeviceGet(hone__cu_device *device, int ordinal);
EXPORT hone__cu_result cuDeviceGet(hone__cu_device *device, int ordinal) {
    *device = ordinal;
    return ordinal < word("devices", 1) ? 0 : HONE_CU_INVALID_DEVICE;
}

EXPORT hone__cu_result cuDeviceGetName(char *name, int bytes, hone__cu_device device);
EXPORT hone__cu_result cuDeviceGetName(char *name, int bytes, hone__cu_device device) {
    (void)device;
    (void)snprintf(name, (size_t)bytes, "NVIDIA Fake H100%s", word("mig", 0) != 0 ? " MIG 1g.10gb" : "");
    return 0;
}

EXPORT hone__cu_result cuDeviceGetAttribute(int *value, int attribute, hone__cu_device device);
EXPORT hone__cu_result cuDeviceGetAttribute(int *value, int attribute, hone__cu_device device) {
    static const int known[][2] = {{HONE_CU_MAX_THREADS, 1024}, {HONE_CU_MAX_BLOCK_X, 1024}, {HONE_CU_MAX_BLOCK_Y, 1024}, {HONE_CU_MAX_BLOCK_Z, 64},
                                   {HONE_CU_MAX_GRID_X, 2147483647}, {HONE_CU_MAX_GRID_Y, 65535}, {HONE_CU_MAX_GRID_Z, 65535}, {HONE_CU_WARP_SIZE, 32},
                                   {HONE_CU_REGISTERS_PER_BLOCK, 65536}, {HONE_CU_CLOCK_KHZ, 1980000}, {HONE_CU_L2_BYTES, 262144},
                                   {HONE_CU_THREADS_PER_MULTIPROCESSOR, 2048}, {HONE_CU_CAPABILITY_MAJOR, 9}, {HONE_CU_CAPABILITY_MINOR, 0},
                                   {HONE_CU_SHARED_OPTIN, 232448}, {HONE_CU_CLUSTER_LAUNCH, 1}, {HONE_CU_GPU_PCI_ID, 0x233010de}};
    *value = 0;
    if (attribute == HONE_CU_MULTIPROCESSORS)
        *value = word("mig", 0) != 0 ? 16 : word("unequal", 0) != 0 && device > 0 ? 114 : 132;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        *value = known[i][0] == attribute ? known[i][1] : *value;
    return 0;
}

static size_t memory_bytes(void) {
    return (size_t)word("memory", word("mig", 0) != 0 ? 9984 : 81559) << 20;
}

EXPORT hone__cu_result cuDeviceTotalMem_v2(size_t *bytes, hone__cu_device device);
EXPORT hone__cu_result cuDeviceTotalMem_v2(size_t *bytes, hone__cu_device device) {
    (void)device;
    *bytes = memory_bytes();
    return 0;
}

EXPORT hone__cu_result cuDeviceGetUuid_v2(hone__cu_uuid *uuid, hone__cu_device device);
EXPORT hone__cu_result cuDeviceGetUuid_v2(hone__cu_uuid *uuid, hone__cu_device device) {
    memset(uuid->bytes, 0x42 + device, sizeof uuid->bytes);
    return 0;
}

EXPORT hone__cu_result cuDevicePrimaryCtxRetain(hone__cu_context *context, hone__cu_device device);
EXPORT hone__cu_result cuDevicePrimaryCtxRetain(hone__cu_context *context, hone__cu_device device) {
    (void)device;
    long code = word("context", 0);
    *context = code == 0 ? (hone__cu_context)&pending : NULL;
    return (hone__cu_result)code;
}

EXPORT hone__cu_result cuCtxSetCurrent(hone__cu_context context);
EXPORT hone__cu_result cuCtxSetCurrent(hone__cu_context context) {
    return context != NULL ? 0 : HONE_CU_INVALID_VALUE;
}

EXPORT hone__cu_result cuCtxSynchronize(void);
EXPORT hone__cu_result cuCtxSynchronize(void) {
    return sticky;
}

/* ---- memory ---- */

EXPORT hone__cu_result cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes);
EXPORT hone__cu_result cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    *total_bytes = memory_bytes();
    *free_bytes = word("memory", 0) != 0 ? memory_bytes() : (size_t)16 << 20; /* so that the flush and the copies stay small here */
    return 0;
}

EXPORT hone__cu_result cuMemAlloc_v2(hone__cu_memory *memory, size_t bytes);
EXPORT hone__cu_result cuMemAlloc_v2(hone__cu_memory *memory, size_t bytes) {
    void *block = NULL;
    if (bytes > memory_bytes() || posix_memalign(&block, 256, bytes) != 0)
        return HONE_CU_OUT_OF_MEMORY;
    *memory = (hone__cu_memory)(uintptr_t)block;
    return 0;
}

static void *host(hone__cu_memory memory) {
    return (void *)(uintptr_t)memory;
}

EXPORT hone__cu_result cuMemFree_v2(hone__cu_memory memory);
EXPORT hone__cu_result cuMemFree_v2(hone__cu_memory memory) {
    free(host(memory));
    return 0;
}

EXPORT hone__cu_result cuMemcpyHtoD_v2(hone__cu_memory to, const void *from, size_t bytes);
EXPORT hone__cu_result cuMemcpyHtoD_v2(hone__cu_memory to, const void *from, size_t bytes) {
    memcpy(host(to), from, bytes);
    return sticky;
}

EXPORT hone__cu_result cuMemcpyDtoH_v2(void *to, hone__cu_memory from, size_t bytes);
EXPORT hone__cu_result cuMemcpyDtoH_v2(void *to, hone__cu_memory from, size_t bytes) {
    memcpy(to, host(from), bytes);
    return sticky;
}

EXPORT hone__cu_result cuMemcpyDtoDAsync_v2(hone__cu_memory to, hone__cu_memory from, size_t bytes, hone__cu_stream stream);
EXPORT hone__cu_result cuMemcpyDtoDAsync_v2(hone__cu_memory to, hone__cu_memory from, size_t bytes, hone__cu_stream stream) {
    (void)stream;
    memcpy(host(to), host(from), bytes);
    now_us += 2.0 * (double)bytes * 1e-6; /* a terabyte a second */
    return sticky;
}

EXPORT hone__cu_result cuMemsetD8Async(hone__cu_memory to, unsigned char value, size_t bytes, hone__cu_stream stream);
EXPORT hone__cu_result cuMemsetD8Async(hone__cu_memory to, unsigned char value, size_t bytes, hone__cu_stream stream) {
    (void)stream;
    memset(host(to), value, bytes);
    now_us += (double)bytes * 1e-6;
    return sticky;
}

/* ---- code ---- */

/* The value of a macro of the "compiled" kernel. */
static void macro(const char *code, const char *name, char *value, size_t bytes) {
    char start[64];
    (void)snprintf(start, sizeof start, "\n-D%s=", name);
    const char *at = strstr(code, start);
    const char *end = strstr(code, "\n---\n");
    if (at == NULL || end == NULL || at > end)
        return;
    at += strlen(start);
    (void)snprintf(value, bytes, "%.*s", (int)strcspn(at, "\n"), at);
}

EXPORT hone__cu_result cuModuleLoadData(hone__cu_module *module, const void *image);
EXPORT hone__cu_result cuModuleLoadData(hone__cu_module *module, const void *image) {
    char behave[32] = "";
    bool real = memcmp(image, "\177ELF", 4) == 0; /* of a real NVRTC: any name is found in it, and behaves well */
    if (!real && strncmp(image, "\177FAKE\n", 6) != 0)
        return HONE_CU_INVALID_IMAGE;
    if (!real)
        macro(image, "BEHAVE", behave, sizeof behave);
    if (strcmp(behave, "oom") == 0)
        return HONE_CU_OUT_OF_MEMORY;
    *module = calloc(1, sizeof **module);
    (*module)->code = real ? NULL : strdup(image);
    return sticky;
}

EXPORT hone__cu_result cuModuleUnload(hone__cu_module module);
EXPORT hone__cu_result cuModuleUnload(hone__cu_module module) {
    free(module->code);
    free(module);
    return sticky;
}

EXPORT hone__cu_result cuModuleGetFunction(hone__cu_function *function, hone__cu_module module, const char *name);
EXPORT hone__cu_result cuModuleGetFunction(hone__cu_function *function, hone__cu_module module, const char *name) {
    char us[32] = "50";
    if (module->code != NULL && strstr(module->code, name) == NULL)
        return HONE_CU_NOT_FOUND;
    hone__cu_function f = calloc(1, sizeof *f); /* lives as long as the process: a handful of bytes */
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    if (module->code != NULL) {
        macro(module->code, "BEHAVE", f->behave, sizeof f->behave);
        macro(module->code, "US", us, sizeof us);
    }
    f->us = strtod(us, NULL);
    *function = f;
    return 0;
}

static bool behaves(const struct CUfunc_st *f, const char *how) {
    return strcmp(f->behave, how) == 0;
}

EXPORT hone__cu_result cuFuncGetAttribute(int *value, int attribute, hone__cu_function f);
EXPORT hone__cu_result cuFuncGetAttribute(int *value, int attribute, hone__cu_function f) {
    *value = attribute == HONE_CU_FUNCTION_REGISTERS ? (behaves(f, "registers") ? 255 : 40)
             : attribute == HONE_CU_FUNCTION_THREADS ? (behaves(f, "registers") ? 64 : 1024)
             : attribute == HONE_CU_FUNCTION_SHARED  ? (behaves(f, "static") ? 232000 : 0)
                                                     : 0;
    return 0;
}

EXPORT hone__cu_result cuFuncSetAttribute(hone__cu_function f, int attribute, int value);
EXPORT hone__cu_result cuFuncSetAttribute(hone__cu_function f, int attribute, int value) {
    if (attribute == HONE_CU_FUNCTION_DYNAMIC_SHARED)
        f->dynamic_bytes = value;
    return 0;
}

EXPORT hone__cu_result cuFuncGetParamInfo(hone__cu_function f, size_t index, size_t *offset, size_t *bytes);
EXPORT hone__cu_result cuFuncGetParamInfo(hone__cu_function f, size_t index, size_t *offset, size_t *bytes) {
    *offset = 8 * index;
    *bytes = index < 2 ? 8 : behaves(f, "badparam") ? 8 : 4;
    return index < 3 ? 0 : HONE_CU_INVALID_VALUE;
}

EXPORT hone__cu_result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, hone__cu_function f, int threads, size_t dynamic_bytes);
EXPORT hone__cu_result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, hone__cu_function f, int threads, size_t dynamic_bytes) {
    (void)f;
    (void)dynamic_bytes;
    *blocks = 2048 / (threads > 0 ? threads : 1);
    return 0;
}

EXPORT hone__cu_result cuOccupancyMaxActiveClusters(int *count, hone__cu_function f, const hone__cu_launch *launch);
EXPORT hone__cu_result cuOccupancyMaxActiveClusters(int *count, hone__cu_function f, const hone__cu_launch *launch) {
    (void)f;
    *count = launch->attribute_count > 0 && launch->attribute->id == HONE_CU_LAUNCH_CLUSTER && launch->attribute->value.cluster.x == 5 ? 0 : 16;
    return 0;
}

/* ---- Hone's own kernels ---- */

static unsigned long long u64_of(void *const *params, int index) {
    unsigned long long value = 0;
    memcpy(&value, params[index], sizeof value);
    return value;
}

static void own_fill(void **params) {
    float *to = host(u64_of(params, 0));
    unsigned long long count = u64_of(params, 1), seed = u64_of(params, 6);
    double a = 0.0, b = 0.0;
    int type = 0;
    memcpy(&type, params[2], sizeof type);
    memcpy(&a, params[4], sizeof a);
    memcpy(&b, params[5], sizeof b);
    for (unsigned long long i = 0; type == F32 && i < count; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        to[i] = (float)(a + (b - a) * (double)(seed >> 40) / 16777216.0);
    }
}

static void own_compare(void **params) {
    struct {
        double max_error;
        unsigned long long index, wrong, nans;
        double value, expected;
    } *part = host(u64_of(params, 6));
    const float *x = host(u64_of(params, 0)), *r = host(u64_of(params, 1));
    double rtol = 0.0, atol = 0.0;
    memcpy(&rtol, params[4], sizeof rtol);
    memcpy(&atol, params[5], sizeof atol);
    memset(part, 0, 1024 * sizeof *part);
    for (unsigned long long i = 0; i < u64_of(params, 2); i++) {
        double error = isnan(x[i]) ? 1e300 : fabs((double)x[i] - (double)r[i]) / (atol + rtol * fabs((double)r[i]));
        part->nans += isnan(x[i]) ? 1u : 0u;
        part->wrong += error > 1.0 ? 1u : 0u;
        if (error > part->max_error) {
            part->max_error = error;
            part->index = i;
            part->value = (double)x[i];
            part->expected = (double)r[i];
        }
    }
}

static void own_sums(void **params, unsigned regions) {
    const unsigned long long *place = host(u64_of(params, 0));
    unsigned long long *sum = host(u64_of(params, 1));
    for (unsigned y = 0; y < regions; y++) {
        const unsigned char *at = host(place[2 * y]);
        unsigned long long hash = 14695981039346656037ull;
        for (unsigned long long i = 0; i < place[2 * y + 1]; i++)
            hash = (hash ^ at[i]) * 1099511628211ull;
        sum[y] = hash;
    }
}

static void own_probe(void **params) {
    unsigned long long *out = host(u64_of(params, 0));
    out[0] = 131072;
    out[1] = (unsigned long long)(131072.0 * 1e3 / (double)word("mhz", 1500));
}

/* ---- the kernel under test ---- */

static void scale(struct CUfunc_st *f, void **params) {
    float *in = host(u64_of(params, 0)), *out = host(u64_of(params, 1));
    int n = 0;
    memcpy(&n, params[2], sizeof n);
    bool wrong = behaves(f, "wrong") || (behaves(f, "flaky") && f->runs++ >= 1);
    for (int i = 0; i < n && !behaves(f, "nan"); i++)
        out[i] = (wrong && i == n / 2 ? 3.0f : 2.0f) * in[i];
    if (behaves(f, "behind"))
        out[n] = 1.0f;
    if (behaves(f, "before"))
        out[-1] = 1.0f;
    if (behaves(f, "scribble"))
        in[7] += 1.0f;
    if (behaves(f, "segv"))
        (void)raise(SIGKILL);
    pending = behaves(f, "illegal") ? 700 : behaves(f, "misaligned") ? 716 : behaves(f, "trap") ? 719 : behaves(f, "assert") ? 710 : pending;
    if (behaves(f, "hang"))
        pending = -1;
}

EXPORT hone__cu_result cuLaunchKernelEx(const hone__cu_launch *launch, hone__cu_function f, void **params, void **extra);
EXPORT hone__cu_result cuLaunchKernelEx(const hone__cu_launch *launch, hone__cu_function f, void **params, void **extra) {
    (void)extra;
    if (sticky != 0)
        return sticky;
    if (behaves(f, "launch"))
        return HONE_CU_OUT_OF_RESOURCES;
    bool together = false;
    for (unsigned i = 0; i < launch->attribute_count; i++)
        together = together || (launch->attribute[i].id == HONE_CU_LAUNCH_COOPERATIVE && launch->attribute[i].value.cooperative == 1);
    if (behaves(f, "gridsync") && !together)
        pending = 719; /* a barrier of the grid's traps without it */
    if ((int)launch->shared_bytes > 49152 && (int)launch->shared_bytes > f->dynamic_bytes)
        return HONE_CU_INVALID_VALUE;
    now_us += f->us * (1.0 + 0.002 * (double)(rand() % 100) / 100.0);
    if (strcmp(f->name, "hone_fill") == 0)
        own_fill(params);
    else if (strcmp(f->name, "hone_compare") == 0)
        own_compare(params);
    else if (strcmp(f->name, "hone_sums") == 0)
        own_sums(params, launch->grid_y);
    else if (strcmp(f->name, "hone_probe") == 0)
        own_probe(params);
    else if (strncmp(f->name, "scale", 5) == 0)
        scale(f, params);
    return 0;
}

/* ---- streams and events ---- */

EXPORT hone__cu_result cuStreamCreate(hone__cu_stream *stream, unsigned flags);
EXPORT hone__cu_result cuStreamCreate(hone__cu_stream *stream, unsigned flags) {
    (void)flags;
    *stream = (hone__cu_stream)&now_us;
    return 0;
}

EXPORT hone__cu_result cuStreamSynchronize(hone__cu_stream stream);
EXPORT hone__cu_result cuStreamSynchronize(hone__cu_stream stream) {
    (void)stream;
    while (pending < 0)
        (void)sleep(1);
    if (pending != 0)
        sticky = pending;
    return sticky;
}

EXPORT hone__cu_result cuEventCreate(hone__cu_event *event, unsigned flags);
EXPORT hone__cu_result cuEventCreate(hone__cu_event *event, unsigned flags) {
    (void)flags;
    *event = calloc(1, sizeof **event);
    return 0;
}

EXPORT hone__cu_result cuEventRecord(hone__cu_event event, hone__cu_stream stream);
EXPORT hone__cu_result cuEventRecord(hone__cu_event event, hone__cu_stream stream) {
    (void)stream;
    event->at_us = now_us;
    return sticky;
}

EXPORT hone__cu_result cuEventElapsedTime(float *ms, hone__cu_event start, hone__cu_event end);
EXPORT hone__cu_result cuEventElapsedTime(float *ms, hone__cu_event start, hone__cu_event end) {
    *ms = (float)((end->at_us - start->at_us) * 1e-3);
    return sticky;
}
