/* gpu_peaks.c: what the device can do at most, measured once: bytes copied a second, multiply-adds in fp32, and in the matrix units for tf32,
 * fp16 and bf16 (Hopper's warpgroup instruction where the device has it, mma.sync elsewhere), on operands that are not zero. */
#include "alloc.h"
#include "gpu_internal.h"

#include <string.h>

#define COPY_BYTES ((uint64_t)1 << 30)
#define REPEATS 6
#define WGMMA_SHARED 50176u /* 48 KiB of operands, and room to align them */

typedef struct kernel_plan {
    const char *name;
    double flops;          /* of one block in one step */
    uint32_t shared_bytes;
    uint32_t blocks;       /* for each multiprocessor */
    uint32_t steps;
} kernel_plan;

/* The best of some runs of what `once` queues, in milliseconds; 0 when it fails. */
static double best_ms(hone__gpu_child *child, hone__cu_function function, const hone__cu_launch *launch, void **params) {
    const hone__cuda *cuda = child->cuda;
    double best = 0.0;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        float ms = 0.0f;
        if (cuda->event_record(child->start[0], child->stream) != HONE_CU_OK || cuda->launch(launch, function, params, NULL) != HONE_CU_OK ||
            cuda->event_record(child->stop[0], child->stream) != HONE_CU_OK || cuda->stream_wait(child->stream) != HONE_CU_OK ||
            cuda->event_elapsed(&ms, child->start[0], child->stop[0]) != HONE_CU_OK)
            return 0.0;
        if (ms > 0.0f && (repeat == 1 || (repeat > 1 && (double)ms < best))) /* the first one warms up */
            best = (double)ms;
    }
    return best;
}

static double copy_gbps(hone__gpu_child *child, hone__cu_module module) {
    const hone__cuda *cuda = child->cuda;
    hone__cu_memory from = 0, to = 0;
    hone__cu_function function = NULL;
    size_t free_bytes = 0, total = 0;
    double best = 0.0;
    (void)cuda->memory_info(&free_bytes, &total);
    uint64_t bytes = COPY_BYTES < free_bytes / 8 ? COPY_BYTES : free_bytes / 8 & ~(uint64_t)0xffff;
    int multiprocessors = 1;
    (void)cuda->device_attribute(&multiprocessors, HONE_CU_MULTIPROCESSORS, child->device);
    if (bytes > 0 && cuda->memory_alloc(&from, bytes) == HONE_CU_OK && cuda->memory_alloc(&to, bytes) == HONE_CU_OK &&
        cuda->set_bytes(from, 0x5A, bytes, child->stream) == HONE_CU_OK) {
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            float ms = 0.0f;
            bool good = cuda->event_record(child->start[0], child->stream) == HONE_CU_OK &&
                        cuda->copy_within(to, from, bytes, child->stream) == HONE_CU_OK &&
                        cuda->event_record(child->stop[0], child->stream) == HONE_CU_OK && cuda->stream_wait(child->stream) == HONE_CU_OK &&
                        cuda->event_elapsed(&ms, child->start[0], child->stop[0]) == HONE_CU_OK;
            double gbps = good && ms > 0.0f ? 2.0 * (double)bytes / ((double)ms * 1e6) : 0.0;
            best = repeat > 0 && gbps > best ? gbps : best;
        }
        unsigned long long count = bytes / 16;
        void *params[] = {&to, &from, &count};
        hone__cu_launch launch = {.grid_x = 16 * (unsigned)multiprocessors, .grid_y = 1, .grid_z = 1, .block_x = 256, .block_y = 1, .block_z = 1,
                                  .stream = child->stream};
        if (cuda->module_function(&function, module, "peak_copy") == HONE_CU_OK) {
            double ms = best_ms(child, function, &launch, params);
            double gbps = ms > 0.0 ? 2.0 * (double)bytes / (ms * 1e6) : 0.0;
            best = gbps > best ? gbps : best;
        }
    }
    if (from != 0)
        (void)cuda->memory_free(from);
    if (to != 0)
        (void)cuda->memory_free(to);
    return best;
}

static double kernel_gflops(hone__gpu_child *child, hone__cu_module module, const kernel_plan *plan) {
    const hone__cuda *cuda = child->cuda;
    hone__cu_function function = NULL;
    int multiprocessors = 1;
    (void)cuda->device_attribute(&multiprocessors, HONE_CU_MULTIPROCESSORS, child->device);
    if (cuda->module_function(&function, module, plan->name) != HONE_CU_OK)
        return 0.0; /* not on this architecture */
    if (plan->shared_bytes > 0 && cuda->function_set(function, HONE_CU_FUNCTION_DYNAMIC_SHARED, (int)plan->shared_bytes) != HONE_CU_OK)
        return 0.0;
    unsigned steps = plan->steps;
    hone__cu_memory out = child->scratch + HONE_GPU_SCRATCH / 2;
    void *params[] = {&out, &steps};
    unsigned blocks = (unsigned)multiprocessors * plan->blocks;
    hone__cu_launch launch = {.grid_x = blocks, .grid_y = 1, .grid_z = 1, .block_x = 256, .block_y = 1, .block_z = 1,
                              .shared_bytes = plan->shared_bytes, .stream = child->stream};
    double ms = best_ms(child, function, &launch, params);
    return ms > 0.0 ? plan->flops * blocks * steps / (ms * 1e6) : 0.0;
}

bool hone__gpu_peaks(hone__gpu_child *child, const cJSON *objects, double peak[HONE_GPU_PEAKS]) {
    /* Flops of a block of 256 threads in a step: 16 multiply-adds a thread; 8 instructions a warp; 4 instructions a warpgroup. */
    static const kernel_plan plans[4][2] = {
        {{"peak_fp32", 2.0 * 16 * 256, 0, 8, 4096}, {NULL, 0, 0, 0, 0}},
        {{"wgmma_tf32", 2.0 * 4 * 2 * (64 * 256 * 8), WGMMA_SHARED, 2, 1024}, {"mma_tf32", 2.0 * 8 * 8 * (16 * 8 * 8), 0, 4, 2048}},
        {{"wgmma_fp16", 2.0 * 4 * 2 * (64 * 256 * 16), WGMMA_SHARED, 2, 1024}, {"mma_fp16", 2.0 * 8 * 8 * (16 * 8 * 16), 0, 4, 2048}},
        {{"wgmma_bf16", 2.0 * 4 * 2 * (64 * 256 * 16), WGMMA_SHARED, 2, 1024}, {"mma_bf16", 2.0 * 8 * 8 * (16 * 8 * 16), 0, 4, 2048}}};
    hone__cu_module module[HONE_GPU_PEAK_PARTS] = {NULL};
    uint32_t parts = 0;
    const cJSON *object;
    cJSON_ArrayForEach(object, objects) {
        char entry[16];
        char *cubin = NULL;
        if (parts == HONE_GPU_PEAK_PARTS || !cJSON_IsString(object))
            break;
        if (!hone__gpu_read_object(child, object->valuestring, &cubin, entry, sizeof entry))
            return false;
        hone__cu_result code = child->cuda->module_load(&module[parts++], cubin);
        hone__free(cubin);
        if (code != HONE_CU_OK)
            return hone__gpu_failed(child, code, "loading the kernels that measure peaks");
    }
    peak[0] = parts > 0 ? copy_gbps(child, module[0]) : 0.0;
    for (int i = 0; i < 4; i++) {
        peak[i + 1] = 0.0;
        for (uint32_t k = 0; k < 2 * parts; k++) {
            double rate = plans[i][k % 2].name != NULL ? kernel_gflops(child, module[k / 2], &plans[i][k % 2]) : 0.0;
            peak[i + 1] = rate > peak[i + 1] ? rate : peak[i + 1];
        }
    }
    if (!hone__gpu_wait(child, "measuring peaks"))
        return false;
    for (uint32_t k = 0; k < parts; k++)
        (void)child->cuda->module_unload(module[k]);
    return true;
}
