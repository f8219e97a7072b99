/* worker_problem.c: reads a `prepare` request (spec/evaluator.md section 4): maps the arguments' buffers, fills the inputs, checks all
 * that the request claims.  The request comes from a program, but it is checked like any other input. */
#include "alloc.h"
#include "hash.h"
#include "worker_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static hone_status bad(hone_error *err, const char *what, const char *where) {
    return hone__fail(err, HONE_E_ARG, "worker", "prepare: %s: %s", where, what);
}

static hone_status read_fill(hone__worker_arg *arg, const cJSON *item, hone_error *err) {
    const cJSON *fill = cJSON_GetObjectItemCaseSensitive(item, "fill");
    const char *kind = hone__json_string(fill, "kind");
    bool whole = arg->element >= HONE_ELEMENT_I64;
    arg->fill = whole ? (hone__fill_rule){'u', 0.0, 100.0} : (hone__fill_rule){'u', -1.0, 1.0};
    if (kind == NULL)
        return HONE_OK;
    static const char *const names[] = {"uniform", "normal", "constant", "iota"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(kind, names[i]) == 0) {
            arg->fill = (hone__fill_rule){names[i][0], hone__json_number(fill, "a", 0.0), hone__json_number(fill, "b", 0.0)};
            return isfinite(arg->fill.a) && isfinite(arg->fill.b) ? HONE_OK : bad(err, "fill is not finite", arg->name);
        }
    }
    return bad(err, "fill.kind is none of uniform, normal, constant, iota", arg->name);
}

static hone_status read_shape(hone__worker_arg *arg, const cJSON *item, uint64_t bytes_max, hone_error *err) {
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    const cJSON *extent;
    arg->count = 1;
    cJSON_ArrayForEach(extent, shape) {
        int64_t value = 0;
        if (arg->rank == 8 || !hone__json_int(extent, &value) || value < 0)
            return bad(err, "shape is not up to 8 integers from 0", arg->name);
        arg->shape[arg->rank++] = (uint64_t)value;
        if (__builtin_mul_overflow(arg->count, (uint64_t)value, &arg->count) || arg->count > bytes_max / hone__element_bytes(arg->element))
            return hone__fail(err, HONE_E_LIMIT, "worker", "prepare: buffer %s does not fit into this machine's memory", arg->name);
    }
    return arg->rank > 0 ? HONE_OK : bad(err, "a buffer needs a shape", arg->name);
}

/* What all parts of reading arguments want to know. */
typedef struct reading {
    bool has_reference, on_host;
    uint64_t bytes_max;
} reading;

static hone_status read_buffer(hone__worker_arg *arg, const cJSON *item, const reading *how, hone_error *err) {
    HONE_TRY(read_shape(arg, item, how->bytes_max, err));
    HONE_TRY(read_fill(arg, item, err));
    const char *access = hone__json_string(item, "access");
    access = access != NULL ? access : "in";
    arg->in = strcmp(access, "in") == 0 || strcmp(access, "inout") == 0;
    arg->out = strcmp(access, "out") == 0 || strcmp(access, "inout") == 0;
    if (!arg->in && !arg->out)
        return bad(err, "access is none of in, out, inout", arg->name);
    double align = hone__json_number(item, "align", 64.0);
    size_t aligned = align >= 1.0 && align <= 4096.0 ? (size_t)align : 0;
    if (aligned == 0 || (aligned & (aligned - 1)) != 0)
        return bad(err, "align is no power of two from 1 to 4096", arg->name);
    size_t bytes = arg->count * hone__element_bytes(arg->element);
    if (!how->on_host)
        return HONE_OK;
    if (!hone__arena_map(&arg->work, bytes, aligned, false) || (arg->in && arg->out && !hone__arena_map(&arg->pristine, bytes, aligned, false)) ||
        (arg->out && how->has_reference && !hone__arena_map(&arg->reference, bytes, aligned, true)))
        return hone__fail(err, HONE_E_NOMEM, "worker", "prepare: no memory for buffer %s of %zu bytes", arg->name, bytes);
    return HONE_OK;
}

static hone_status read_arg(hone__worker_arg *arg, const cJSON *item, const reading *how, hone_error *err) {
    const char *name = hone__json_string(item, "name");
    const char *kind = hone__json_string(item, "kind");
    const char *dtype = hone__json_string(item, "dtype");
    if (name == NULL || kind == NULL || dtype == NULL)
        return bad(err, "an argument needs name, kind and dtype", "args");
    (void)snprintf(arg->name, sizeof arg->name, "%.*s", (int)HONE_LIMIT_NAME_BYTES, name);
    arg->element = hone__element_from_name(dtype);
    if (arg->element == HONE_ELEMENT_COUNT)
        return bad(err, "unknown dtype", arg->name);
    arg->is_buffer = strcmp(kind, "buffer") == 0;
    if (arg->is_buffer)
        return read_buffer(arg, item, how, err);
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, "value");
    if (strcmp(kind, "scalar") != 0 || !cJSON_IsNumber(value))
        return bad(err, "kind is neither buffer nor scalar, or a scalar has no number as value", arg->name);
    hone__element_store(arg->element, arg->scalar, 0, value->valuedouble);
    return HONE_OK;
}

static void fill_inputs(hone__problem *problem, uint64_t seed) {
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        hone__worker_arg *arg = &problem->arg[i];
        if (!arg->is_buffer || !arg->in)
            continue;
        /* By name, so that an argument keeps its content when another one is added. */
        hone__hash named = hone__hash_bytes(arg->name, strlen(arg->name));
        uint64_t mixed = 0;
        memcpy(&mixed, named.byte, sizeof mixed);
        hone__arena *arena = arg->out ? &arg->pristine : &arg->work;
        hone__element_fill(arg->element, arena->data, arg->count, &arg->fill, seed ^ mixed);
        hone__arena_protect(arena, false);
    }
}

static double limit_from(const cJSON *limits, const char *name, double fallback, double max) {
    double value = hone__json_number(limits, name, fallback);
    return isfinite(value) && value > 0.0 ? (value < max ? value : max) : fallback;
}

static hone_status read_args(hone__problem *problem, const cJSON *request, bool on_host, hone_error *err) {
    const cJSON *args = cJSON_GetObjectItemCaseSensitive(request, "args");
    int count = cJSON_GetArraySize(args);
    if (count < 1 || count > (int)HONE_LIMIT_ARGS)
        return bad(err, "needs 1 to 64 arguments", "args");
    problem->arg = hone__alloc_array((size_t)count, sizeof *problem->arg);
    if (problem->arg == NULL)
        return hone__fail(err, HONE_E_NOMEM, "worker", "no memory for arguments");
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    uint64_t left = !on_host ? UINT64_MAX / 4 : pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 10 * 8 : UINT64_MAX / 4;
    const cJSON *item;
    cJSON_ArrayForEach(item, args) {
        hone__worker_arg *arg = &problem->arg[problem->arg_count++];
        HONE_TRY(read_arg(arg, item, &(reading){problem->has_reference, on_host, left}, err));
        uint64_t used = arg->work.bytes + arg->pristine.bytes + arg->reference.bytes;
        if (used > left)
            return hone__fail(err, HONE_E_LIMIT, "worker", "prepare: the buffers do not fit into this machine's memory");
        left -= used;
    }
    return HONE_OK;
}

static bool is_identifier(const char *text) {
    return text != NULL && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == strlen(text) &&
           text[0] != '\0' && (text[0] < '0' || text[0] > '9');
}

hone_status hone__problem_read(hone__problem *problem, const cJSON *request, const char *wanted, hone_error *err) {
    const cJSON *kernel = cJSON_GetObjectItemCaseSensitive(request, "kernel");
    const cJSON *limits = cJSON_GetObjectItemCaseSensitive(request, "limits");
    const cJSON *tolerance = cJSON_GetObjectItemCaseSensitive(request, "tolerance");
    const char *language = hone__json_string(kernel, "language");
    const char *source = hone__json_string(kernel, "source");
    const char *entry = hone__json_string(kernel, "entry");
    bool on_host = strcmp(wanted, "c") == 0;
    if (language == NULL || strcmp(language, wanted) != 0)
        return hone__fail(err, HONE_E_UNSUPPORTED, "worker", "the built-in evaluator compiles language \"%s\" on this device, not \"%.32s\"", wanted,
                          language != NULL ? language : "");
    if (source == NULL || !is_identifier(entry))
        return bad(err, "needs source and an entry that is a C identifier", "kernel");
    problem->compile_s = limit_from(limits, "compile_s", 30.0, 86400.0);
    problem->run_s = limit_from(limits, "run_s", 10.0, 86400.0);
    problem->memory_bytes = (uint64_t)limit_from(limits, "memory_bytes", 4294967296.0, 1e15);
    problem->output_bytes = (uint64_t)limit_from(limits, "output_bytes", 1048576.0, 1e12);
    problem->rtol = hone__json_number(tolerance, "rtol", 1e-4);
    problem->atol = hone__json_number(tolerance, "atol", 1e-5);
    if (!(problem->rtol >= 0.0) || !(problem->atol >= 0.0))
        return bad(err, "rtol and atol must be 0 or more", "tolerance");
    const char *include_dir = hone__json_string(kernel, "include_dir");
    const char *source_path = hone__json_string(kernel, "source_path");
    problem->source = hone__strdup(source);
    problem->entry = hone__strdup(entry);
    problem->include_dir = hone__strdup(include_dir);
    problem->source_path = hone__strdup(source_path);
    problem->has_reference = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(request, "reference"));
    if (problem->source == NULL || problem->entry == NULL)
        return hone__fail(err, HONE_E_NOMEM, "worker", "no memory for the kernel");
    HONE_TRY(read_args(problem, request, on_host, err));
    double seed = hone__json_number(request, "seed", 1.0);
    problem->seed = seed >= 0.0 && seed < 1.8e19 ? (uint64_t)seed : 1;
    if (on_host)
        fill_inputs(problem, problem->seed);
    problem->ready = true;
    return HONE_OK;
}

void hone__problem_clear(hone__problem *problem) {
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        hone__arena_unmap(&problem->arg[i].work);
        hone__arena_unmap(&problem->arg[i].pristine);
        hone__arena_unmap(&problem->arg[i].reference);
    }
    hone__free(problem->arg);
    hone__free(problem->source);
    hone__free(problem->entry);
    hone__free(problem->include_dir);
    hone__free(problem->source_path);
    *problem = (hone__problem){.ready = false};
}
