/* gpu_memory.c: a problem's buffers on the device: inputs filled from the seed, outputs poisoned before each checked run, the reference's
 * results, guards around each buffer, and sums over everything that no kernel may change: memory there has no protection, and what one
 * config spoils must not reach another's measurement. */
#include "alloc.h"
#include "gpu_internal.h"
#include "hash.h"

#include <stdio.h>
#include <string.h>

#define FLUSH_BYTES_LEAST ((uint64_t)256 << 20) /* as Triton's do_bench, so that figures compare */
#define COMPARE_BLOCKS 1024u
#define SUM_BLOCKS 264u

/* As the helper's `deviation` and `region`. */
typedef struct part {
    double max_error;
    uint64_t index, wrong, nans;
    double value, expected;
} part;
typedef struct place {
    uint64_t at, bytes;
} place;

static uint64_t rounded(uint64_t bytes, uint64_t step) {
    return (bytes + step - 1) / step * step;
}

static bool allocate(hone__gpu_child *child, hone__cu_memory *memory, uint64_t bytes, const char *what) {
    hone__cu_result code = child->cuda->memory_alloc(memory, bytes);
    if (code != HONE_CU_OUT_OF_MEMORY)
        return code == HONE_CU_OK || hone__gpu_failed(child, code, what);
    size_t free_bytes = 0, total = 0;
    (void)child->cuda->memory_info(&free_bytes, &total);
    return hone__gpu_refuse(child, HONE_OUTCOME_RESOURCES, "the GPU has no memory for %s of %llu bytes: %zu MiB of %zu MiB are free", what,
                            (unsigned long long)bytes, free_bytes >> 20, total >> 20);
}

bool hone__gpu_memory_open(hone__gpu_child *child) {
    int l2 = 0;
    size_t free_bytes = 0, total = 0;
    (void)child->cuda->device_attribute(&l2, HONE_CU_L2_BYTES, child->device);
    if (child->cuda->memory_info(&free_bytes, &total) != HONE_CU_OK)
        free_bytes = 0;
    child->flush_bytes = (uint64_t)l2 * 4 > FLUSH_BYTES_LEAST ? (uint64_t)l2 * 4 : FLUSH_BYTES_LEAST;
    if (child->flush_bytes > free_bytes / 8) /* a small card, or one that others use */
        child->flush_bytes = rounded((uint64_t)l2 * 2 > (1u << 20) ? (uint64_t)l2 * 2 : (1u << 20), 256);
    return allocate(child, &child->flush, child->flush_bytes, "the cache flush") && allocate(child, &child->scratch, HONE_GPU_SCRATCH, "scratch");
}

/* ---- filling ---- */

static bool fill(hone__gpu_child *child, const hone__worker_arg *arg, hone__cu_memory to) {
    hone__hash named = hone__hash_bytes(arg->name, strlen(arg->name)); /* by name, so that an argument keeps its content when others come */
    uint64_t mixed = 0;
    memcpy(&mixed, named.byte, sizeof mixed);
    unsigned long long count = arg->count, seed = child->problem.seed ^ mixed;
    int type = (int)arg->element, kind = arg->fill.kind;
    double a = arg->fill.a, b = arg->fill.b;
    void *params[] = {&to, &count, &type, &kind, &a, &b, &seed};
    return arg->count == 0 || hone__gpu_launch_own(child, child->fill, SUM_BLOCKS * 4, 1, 256, params);
}

static bool set_bytes(hone__gpu_child *child, hone__cu_memory at, unsigned char value, uint64_t bytes) {
    hone__cu_result code = bytes == 0 ? HONE_CU_OK : child->cuda->set_bytes(at, value, bytes, child->stream);
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "setting memory");
}

static bool prepare_buffer(hone__gpu_child *child, const hone__worker_arg *arg, hone__gpu_buffer *buffer) {
    buffer->bytes = arg->count * hone__element_bytes(arg->element);
    uint64_t room = rounded(buffer->bytes > 0 ? buffer->bytes : 1, 256);
    buffer->whole = room + 2 * HONE_GPU_GUARD;
    if (!allocate(child, &buffer->base, buffer->whole, arg->name))
        return false;
    buffer->data = buffer->base + HONE_GPU_GUARD;
    if (!set_bytes(child, buffer->base, 0xA5, HONE_GPU_GUARD) ||
        !set_bytes(child, buffer->data + buffer->bytes, 0xA5, buffer->whole - HONE_GPU_GUARD - buffer->bytes))
        return false;
    if (arg->out && child->problem.has_reference && !allocate(child, &buffer->reference, room, arg->name))
        return false;
    if (arg->in && arg->out && !allocate(child, &buffer->pristine, room, arg->name))
        return false;
    return !arg->in || fill(child, arg, arg->out ? buffer->pristine : buffer->data);
}

static void free_buffers(hone__gpu_child *child) {
    for (uint32_t i = 0; i < HONE_LIMIT_ARGS; i++) {
        hone__gpu_buffer *buffer = &child->buffer[i];
        hone__cu_memory all[] = {buffer->base, buffer->pristine, buffer->reference};
        for (size_t k = 0; k < 3; k++) {
            if (all[k] != 0)
                (void)child->cuda->memory_free(all[k]);
        }
        *buffer = (hone__gpu_buffer){.bytes = 0};
    }
    hone__free(child->region);
    child->region = NULL;
    child->region_count = 0;
}

bool hone__gpu_memory_prepare(hone__gpu_child *child) {
    free_buffers(child);
    for (uint32_t i = 0; i < child->problem.arg_count; i++) {
        if (child->problem.arg[i].is_buffer && !prepare_buffer(child, &child->problem.arg[i], &child->buffer[i]))
            return false;
    }
    return hone__gpu_wait(child, "filling the inputs");
}

bool hone__gpu_memory_reset(hone__gpu_child *child) {
    for (uint32_t i = 0; i < child->problem.arg_count; i++) {
        const hone__worker_arg *arg = &child->problem.arg[i];
        const hone__gpu_buffer *buffer = &child->buffer[i];
        if (!arg->is_buffer || !arg->out || buffer->bytes == 0)
            continue;
        if (!arg->in) {
            if (!set_bytes(child, buffer->data, arg->element < HONE_ELEMENT_I64 ? 0xFF : 0xAA, buffer->bytes))
                return false;
            continue;
        }
        hone__cu_result code = child->cuda->copy_within(buffer->data, buffer->pristine, buffer->bytes, child->stream);
        if (code != HONE_CU_OK)
            return hone__gpu_failed(child, code, "restoring an argument");
    }
    return true;
}

bool hone__gpu_memory_keep_reference(hone__gpu_child *child) {
    for (uint32_t i = 0; i < child->problem.arg_count; i++) {
        const hone__gpu_buffer *buffer = &child->buffer[i];
        if (buffer->reference == 0 || buffer->bytes == 0)
            continue;
        hone__cu_result code = child->cuda->copy_within(buffer->reference, buffer->data, buffer->bytes, child->stream);
        if (code != HONE_CU_OK)
            return hone__gpu_failed(child, code, "keeping the reference's output");
    }
    return hone__gpu_wait(child, "keeping the reference's output");
}

/* ---- what no kernel may change ---- */

static void add_region(hone__gpu_child *child, uint32_t arg, char kind, hone__cu_memory at, uint64_t bytes) {
    if (at != 0 && bytes > 0)
        child->region[child->region_count++] = (hone__gpu_region){.at = at, .bytes = bytes, .arg = arg, .kind = kind};
}

static bool sum_regions(hone__gpu_child *child, uint64_t *sum) {
    const hone__cuda *cuda = child->cuda;
    uint32_t count = child->region_count;
    hone__cu_memory places = child->scratch, sums = child->scratch + HONE_GPU_SCRATCH / 2;
    void *params[] = {&places, &sums};
    if (!set_bytes(child, sums, 0, count * sizeof *sum) || !hone__gpu_launch_own(child, child->sums, SUM_BLOCKS, count, 256, params) ||
        !hone__gpu_wait(child, "summing the buffers"))
        return false;
    hone__cu_result code = cuda->copy_out(sum, sums, count * sizeof *sum);
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "reading sums");
}

/* The table of regions stays in the first half of the scratch memory; a kernel that spoils it is noticed by the sums. */
static bool send_places(hone__gpu_child *child) {
    static place table[5 * HONE_LIMIT_ARGS];
    for (uint32_t i = 0; i < child->region_count; i++)
        table[i] = (place){child->region[i].at, child->region[i].bytes};
    hone__cu_result code = child->cuda->copy_in(child->scratch, table, child->region_count * sizeof table[0]);
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "sending the buffers' places");
}

bool hone__gpu_memory_watch(hone__gpu_child *child) {
    uint64_t sum[5 * HONE_LIMIT_ARGS];
    hone__free(child->region);
    child->region_count = 0;
    child->region = hone__alloc_array(5 * HONE_LIMIT_ARGS, sizeof *child->region);
    if (child->region == NULL)
        return hone__gpu_refuse(child, HONE_OUTCOME_EVALUATOR, "no memory to watch the buffers");
    for (uint32_t i = 0; i < child->problem.arg_count; i++) {
        const hone__gpu_buffer *buffer = &child->buffer[i];
        const hone__worker_arg *arg = &child->problem.arg[i];
        if (!arg->is_buffer)
            continue;
        add_region(child, i, '<', buffer->base, HONE_GPU_GUARD);
        add_region(child, i, '>', buffer->data + buffer->bytes, buffer->whole - HONE_GPU_GUARD - buffer->bytes);
        if (!arg->out)
            add_region(child, i, 'i', buffer->data, buffer->bytes);
        add_region(child, i, 'p', buffer->pristine, buffer->bytes);
        add_region(child, i, 'r', buffer->reference, buffer->bytes);
    }
    if (!send_places(child) || !sum_regions(child, sum))
        return false;
    for (uint32_t i = 0; i < child->region_count; i++)
        child->region[i].sum = sum[i];
    return true;
}

bool hone__gpu_memory_untouched(hone__gpu_child *child) {
    uint64_t sum[5 * HONE_LIMIT_ARGS];
    if (child->region_count == 0)
        return true; /* the reference itself */
    if (!sum_regions(child, sum))
        return false;
    for (uint32_t i = 0; i < child->region_count; i++) {
        const hone__gpu_region *region = &child->region[i];
        if (sum[i] == region->sum)
            continue;
        child->lost = true; /* the next config finds fresh buffers in a fresh process */
        const char *name = child->problem.arg[region->arg].name;
        if (region->kind == 'i')
            return hone__gpu_refuse(child, HONE_OUTCOME_WRONG, "it wrote to the input buffer %s", name);
        if (region->kind == '<' || region->kind == '>')
            return hone__gpu_refuse(child, HONE_OUTCOME_WRONG, "it wrote out of bounds, %s buffer %s", region->kind == '<' ? "before" : "behind", name);
        return hone__gpu_refuse(child, HONE_OUTCOME_WRONG, "it wrote out of bounds, far from its buffers (over the copy of %s that it is checked with)",
                                name);
    }
    return true;
}

/* ---- right or wrong ---- */

static void name_element(const hone__worker_arg *arg, uint64_t index, char *text, size_t bytes) {
    uint64_t place_in[8] = {0};
    for (uint32_t d = arg->rank; d > 0; d--) {
        uint64_t extent = arg->shape[d - 1] > 0 ? arg->shape[d - 1] : 1;
        place_in[d - 1] = index % extent;
        index /= extent;
    }
    size_t used = (size_t)snprintf(text, bytes, "%s", arg->name);
    for (uint32_t d = 0; d < arg->rank && used < bytes; d++)
        used += (size_t)snprintf(text + used, bytes - used, "[%llu]", (unsigned long long)place_in[d]);
}

static bool judge(hone__gpu_child *child, const hone__worker_arg *arg, const part *all, const char *when) {
    part sum = {0};
    for (uint32_t i = 0; i < COMPARE_BLOCKS; i++) {
        const part *p = &all[i];
        sum.wrong += p->wrong;
        sum.nans += p->nans;
        if (p->max_error > sum.max_error || (p->max_error >= sum.max_error && p->max_error > 0.0 && p->index < sum.index)) {
            sum.max_error = p->max_error;
            sum.index = p->index;
            sum.value = p->value;
            sum.expected = p->expected;
        }
    }
    double before = child->result.max_error;
    child->result.max_error = sum.max_error > before ? sum.max_error : before;
    if (sum.wrong == 0)
        return true;
    char where[256], factor[64] = "";
    name_element(arg, sum.index, where, sizeof where);
    if (sum.max_error < 1e300)
        (void)snprintf(factor, sizeof factor, ", error %.3g times the tolerance", sum.max_error);
    (void)hone__gpu_refuse(child, sum.nans > 0 ? HONE_OUTCOME_NAN : HONE_OUTCOME_WRONG,
                           "%s%llu of %llu elements of %s are wrong%s; the worst is %.200s: %.9g instead of %.9g%s", when, (unsigned long long)sum.wrong,
                           (unsigned long long)arg->count, arg->name,
                           sum.nans == sum.wrong ? " (NaN, or never written)"
                           : sum.nans > 0        ? " (some are NaN)"
                                                 : "",
                           where, sum.value, sum.expected, factor);
    child->result.max_error = sum.max_error;
    return false;
}

bool hone__gpu_memory_right(hone__gpu_child *child, const char *when) {
    static part parts[COMPARE_BLOCKS];
    hone__cu_memory out = child->scratch + HONE_GPU_SCRATCH / 2;
    child->result.max_error = 0.0;
    for (uint32_t i = 0; i < child->problem.arg_count; i++) {
        const hone__worker_arg *arg = &child->problem.arg[i];
        const hone__gpu_buffer *buffer = &child->buffer[i];
        if (buffer->reference == 0 || arg->count == 0)
            continue;
        hone__cu_memory x = buffer->data, r = buffer->reference;
        unsigned long long count = arg->count;
        int type = (int)arg->element;
        double rtol = child->problem.rtol, atol = child->problem.atol;
        void *params[] = {&x, &r, &count, &type, &rtol, &atol, &out};
        if (!hone__gpu_launch_own(child, child->compare, COMPARE_BLOCKS, 1, 256, params) || !hone__gpu_wait(child, "comparing with the reference"))
            return false;
        hone__cu_result code = child->cuda->copy_out(parts, out, sizeof parts);
        if (code != HONE_CU_OK)
            return hone__gpu_failed(child, code, "reading the comparison");
        if (!judge(child, arg, parts, when))
            return false;
    }
    return true;
}
