/* gpu_module.c: compiled kernels on the device: loading, what they use of it, whether they fit, launching. */
#include "alloc.h"
#include "file.h"
#include "gpu_internal.h"

#include <stdio.h>
#include <string.h>

#define CUBIN_BYTES_MAX ((size_t)1 << 30)

bool hone__gpu_wait(hone__gpu_child *child, const char *what) {
    hone__cu_result code = child->cuda->stream_wait(child->stream);
    return code == HONE_CU_OK || hone__gpu_failed(child, code, what);
}

bool hone__gpu_read_object(hone__gpu_child *child, const char *path, char **cubin, char *entry, size_t entry_bytes) {
    char *text = NULL;
    size_t bytes = 0;
    hone_error err = {0};
    *cubin = NULL;
    if (hone__file_read(path, CUBIN_BYTES_MAX, &text, &bytes, &err) != HONE_OK)
        return hone__gpu_refuse(child, HONE_OUTCOME_EVALUATOR, "cannot read the compiled kernel: %.300s", err.message);
    size_t head = 5;
    size_t name = bytes > head && memcmp(text, "HONE\n", head) == 0 ? strcspn(text + head, "\n") : 0;
    if (name >= entry_bytes || head + name + 1 >= bytes) {
        hone__free(text);
        return hone__gpu_refuse(child, HONE_OUTCOME_EVALUATOR, "the compiled kernel's file is not whole");
    }
    memcpy(entry, text + head, name);
    entry[name] = '\0';
    memmove(text, text + head + name + 1, bytes - head - name - 1);
    *cubin = text;
    return true;
}

bool hone__gpu_helper_open(hone__gpu_child *child, const char *object) {
    const hone__cuda *cuda = child->cuda;
    char entry[16];
    char *cubin = NULL;
    struct {
        const char *name;
        hone__cu_function *to;
    } const wanted[] = {{"hone_fill", &child->fill}, {"hone_compare", &child->compare}, {"hone_sums", &child->sums}, {"hone_probe", &child->probe}};
    if (!hone__gpu_read_object(child, object, &cubin, entry, sizeof entry))
        return false;
    hone__cu_result code = cuda->module_load(&child->helper, cubin);
    hone__free(cubin);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0] && code == HONE_CU_OK; i++)
        code = cuda->module_function(wanted[i].to, child->helper, wanted[i].name);
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "loading our own kernels");
}

/* ---- launching ---- */

static hone__cu_launch driver_launch(const hone__gpu_child *child, const hone__gpu_launch *launch, hone__cu_attribute attribute[2]) {
    hone__cu_launch config = {.grid_x = launch->grid[0], .grid_y = launch->grid[1], .grid_z = launch->grid[2],
                              .block_x = launch->block[0], .block_y = launch->block[1], .block_z = launch->block[2],
                              .shared_bytes = launch->shared_bytes, .stream = child->stream};
    config.attribute = attribute;
    if (launch->cluster[0] > 0) {
        hone__cu_attribute *cluster = &attribute[config.attribute_count++];
        *cluster = (hone__cu_attribute){.id = HONE_CU_LAUNCH_CLUSTER};
        cluster->value.cluster.x = launch->cluster[0];
        cluster->value.cluster.y = launch->cluster[1];
        cluster->value.cluster.z = launch->cluster[2];
    }
    if (launch->cooperative) {
        hone__cu_attribute *together = &attribute[config.attribute_count++];
        *together = (hone__cu_attribute){.id = HONE_CU_LAUNCH_COOPERATIVE};
        together->value.cooperative = 1;
    }
    return config;
}

bool hone__gpu_launch_own(hone__gpu_child *child, hone__cu_function function, uint32_t grid_x, uint32_t grid_y, uint32_t threads, void **params) {
    hone__cu_launch config = {.grid_x = grid_x, .grid_y = grid_y, .grid_z = 1, .block_x = threads, .block_y = 1, .block_z = 1, .stream = child->stream};
    hone__cu_result code = child->cuda->launch(&config, function, params, NULL);
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "launching one of our own kernels");
}

bool hone__gpu_launch_problem(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch) {
    void *params[HONE_LIMIT_ARGS];
    hone__cu_attribute attribute[2];
    hone__problem *problem = &child->problem;
    for (uint32_t i = 0; i < problem->arg_count; i++)
        params[i] = problem->arg[i].is_buffer ? (void *)&child->buffer[i].data : (void *)problem->arg[i].scalar;
    hone__cu_launch config = driver_launch(child, launch, attribute);
    hone__cu_result code = child->cuda->launch(&config, loaded->function, params, NULL);
    if (code == HONE_CU_OUT_OF_RESOURCES || code == HONE_CU_INVALID_CLUSTER_SIZE || code == HONE_CU_COOPERATIVE_TOO_LARGE)
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES,
                                "the driver refuses the launch for want of resources: %u threads, %d registers each, %d + %u bytes of shared memory",
                                launch->block[0] * launch->block[1] * launch->block[2], loaded->registers, loaded->static_bytes, launch->shared_bytes);
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "launching");
}

/* ---- fitting ---- */

/* The kernel takes what the spec passes: as many parameters, of the same sizes. */
static bool params_match(hone__gpu_child *child, const hone__gpu_loaded *loaded) {
    const hone__problem *problem = &child->problem;
    size_t offset = 0, bytes = 0;
    if (child->cuda->function_param == NULL)
        return true;
    for (uint32_t i = 0; i <= problem->arg_count; i++) {
        hone__cu_result code = child->cuda->function_param(loaded->function, i, &offset, &bytes);
        bool there = code == HONE_CU_OK;
        if (!there && code != HONE_CU_INVALID_VALUE)
            return true; /* this driver cannot tell */
        if (there != (i < problem->arg_count))
            return hone__gpu_refuse(child, HONE_OUTCOME_LAUNCH_ERROR, "the kernel has %s parameters than the spec's %u arguments", there ? "more" : "fewer",
                                    problem->arg_count);
        if (!there)
            break;
        size_t wanted = problem->arg[i].is_buffer ? sizeof(hone__cu_memory) : hone__element_bytes(problem->arg[i].element);
        if (bytes != wanted)
            return hone__gpu_refuse(child, HONE_OUTCOME_LAUNCH_ERROR, "parameter %u of the kernel has %zu bytes, argument %s of the spec %zu", i + 1, bytes,
                                    problem->arg[i].name, wanted);
    }
    return true;
}

static bool fits(hone__gpu_child *child, hone__gpu_loaded *loaded, const hone__gpu_launch *launch) {
    const hone__cuda *cuda = child->cuda;
    char why[300];
    uint32_t threads = launch->block[0] * launch->block[1] * launch->block[2];
    if (!hone__gpu_launch_fits(&child->limits, launch, why, sizeof why))
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "%s", why);
    if ((int)threads > loaded->threads_max)
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "the block has %u threads, but with %d registers each (of %lld in a block) and its launch "
                                "bounds this kernel can have %d", threads, loaded->registers, (long long)child->limits.registers, loaded->threads_max);
    if ((int64_t)loaded->static_bytes + launch->shared_bytes > child->limits.shared_bytes)
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "%d bytes of static and %u of dynamic shared memory of at most %lld together",
                                loaded->static_bytes, launch->shared_bytes, (long long)child->limits.shared_bytes);
    /* Never lowered: configs that share their code may launch it with different amounts, in turn. */
    hone__cu_result code = HONE_CU_OK;
    if (launch->shared_bytes > loaded->dynamic_bytes)
        code = cuda->function_set(loaded->function, HONE_CU_FUNCTION_DYNAMIC_SHARED, (int)launch->shared_bytes);
    if (code == HONE_CU_OK && launch->shared_bytes > loaded->dynamic_bytes)
        loaded->dynamic_bytes = launch->shared_bytes;
    if (code != HONE_CU_OK)
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "the driver does not allow %u bytes of dynamic shared memory", launch->shared_bytes);
    loaded->blocks = 0;
    (void)cuda->occupancy(&loaded->blocks, loaded->function, (int)threads, launch->shared_bytes);
    if (loaded->blocks == 0)
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "no block fits on a multiprocessor: %u threads, %d registers each, %d + %u bytes of shared memory",
                                threads, loaded->registers, loaded->static_bytes, launch->shared_bytes);
    int multiprocessors = 0;
    uint64_t blocks = (uint64_t)launch->grid[0] * launch->grid[1];
    blocks = blocks > UINT32_MAX ? blocks : blocks * launch->grid[2];
    if (launch->cooperative && cuda->device_attribute(&multiprocessors, HONE_CU_MULTIPROCESSORS, child->device) == HONE_CU_OK &&
        blocks > (uint64_t)loaded->blocks * (uint64_t)multiprocessors)
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "the cooperative grid has %llu blocks, of which %d on each of %d multiprocessors run at a time",
                                (unsigned long long)blocks, loaded->blocks, multiprocessors);
    uint32_t in_cluster = launch->cluster[0] * launch->cluster[1] * launch->cluster[2];
    if (in_cluster > 8)
        (void)cuda->function_set(loaded->function, HONE_CU_FUNCTION_WIDE_CLUSTER, 1);
    int clusters = 1;
    hone__cu_attribute attribute[2];
    hone__cu_launch config = driver_launch(child, launch, attribute);
    if (in_cluster > 0 && cuda->clusters != NULL && cuda->clusters(&clusters, loaded->function, &config) == HONE_CU_OK && clusters == 0)
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "no cluster of %u blocks fits on the device", in_cluster);
    return true;
}

/* ---- loading ---- */

static bool load(hone__gpu_child *child, hone__gpu_loaded *loaded, const char *object) {
    const hone__cuda *cuda = child->cuda;
    char entry[1024];
    char *cubin = NULL;
    if (!hone__gpu_read_object(child, object, &cubin, entry, sizeof entry))
        return false;
    hone__cu_result code = cuda->module_load(&loaded->module, cubin);
    hone__free(cubin);
    if (code == HONE_CU_OUT_OF_MEMORY)
        return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "the GPU has no memory for the kernel's code or global variables");
    if (code != HONE_CU_OK)
        return hone__gpu_failed(child, code, "loading the compiled kernel");
    code = cuda->module_function(&loaded->function, loaded->module, entry);
    if (code != HONE_CU_OK)
        return hone__gpu_failed(child, code, "finding the entry in the compiled kernel");
    struct {
        int which;
        int *to;
    } const wanted[] = {{HONE_CU_FUNCTION_REGISTERS, &loaded->registers}, {HONE_CU_FUNCTION_LOCAL, &loaded->local_bytes},
                        {HONE_CU_FUNCTION_SHARED, &loaded->static_bytes}, {HONE_CU_FUNCTION_THREADS, &loaded->threads_max}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        (void)cuda->function_get(wanted[i].to, wanted[i].which, loaded->function);
    (void)snprintf(loaded->object, sizeof loaded->object, "%s", object);
    return true;
}

hone__gpu_loaded *hone__gpu_module_ready(hone__gpu_child *child, const char *object, const hone__gpu_launch *launch) {
    hone__gpu_stage(child, HONE_STAGE_LOAD);
    hone__gpu_loaded *loaded = NULL, *oldest = &child->loaded[0];
    for (uint32_t i = 0; i < HONE_GPU_MODULES; i++) {
        hone__gpu_loaded *slot = &child->loaded[i];
        if (slot->module != NULL && strcmp(slot->object, object) == 0)
            loaded = slot;
        oldest = slot->used < oldest->used ? slot : oldest;
    }
    if (loaded == NULL) {
        loaded = oldest;
        if (loaded->module != NULL)
            (void)child->cuda->module_unload(loaded->module);
        *loaded = (hone__gpu_loaded){.module = NULL};
        if (!load(child, loaded, object)) {
            if (loaded->module != NULL && !child->lost)
                (void)child->cuda->module_unload(loaded->module);
            *loaded = (hone__gpu_loaded){.module = NULL};
            return NULL;
        }
    }
    loaded->used = ++child->uses;
    return params_match(child, loaded) && fits(child, loaded, launch) ? loaded : NULL;
}
