/* kernel_json.c: a kernel resolved for one problem, and for one config, as the evaluator protocol carries it
 * (spec/evaluator.md, "prepare" and "compile"): no expressions left. */
#include "alloc.h"
#include "file.h"
#include "holds.h"
#include "spec_read.h"

#include <string.h>

#define OPTION_BYTES_MAX 4096u

static hone_status nomem(hone_error *err) {
    return hone__fail(err, HONE_E_NOMEM, "spec", "no memory for a message to the evaluator");
}

/* cJSON's Add functions return NULL when out of memory; failures stick in `ok`, and are asked for once. */
typedef struct object {
    cJSON *json;
    bool ok;
} object;

static void add(object *to, const char *name, cJSON *item) {
    if (item == NULL || to->json == NULL ||
        !(name != NULL ? cJSON_AddItemToObject(to->json, name, item) : cJSON_AddItemToArray(to->json, item))) {
        cJSON_Delete(item);
        to->ok = false;
    }
}

static void add_text(object *to, const char *name, const char *text) {
    add(to, name, cJSON_CreateString(text));
}

static void add_number(object *to, const char *name, double value) {
    add(to, name, cJSON_CreateNumber(value));
}

/* Take a finished part into another; its failure is the whole's. */
static void add_part(object *to, const char *name, object part) {
    to->ok = to->ok && part.ok;
    add(to, name, part.json);
}

static object new_object(void) {
    cJSON *json = cJSON_CreateObject();
    return (object){json, json != NULL};
}

static object new_array(void) {
    cJSON *json = cJSON_CreateArray();
    return (object){json, json != NULL};
}

static void add_folder(object *to, const char *path) {
    char *folder = path != NULL ? hone__path_dir(path) : hone__strdup("");
    if (folder == NULL)
        to->ok = false;
    else
        add_text(to, "include_dir", folder);
    hone__free(folder);
}

/* ---- prepare ---- */

static object kernel_part(const hone_kernel *kernel) {
    object part = new_object();
    add_text(&part, "name", kernel->name);
    add_text(&part, "language", hone_kernel_language(kernel));
    add_text(&part, "source", kernel->source.text);
    add_text(&part, "source_path", kernel->source_path != NULL ? kernel->source_path : "");
    add_folder(&part, kernel->source_path);
    add_text(&part, "entry", kernel->entry);
    return part;
}

static object fill_part(const hone__arg *arg) {
    static const char *const names[] = {"uniform", "normal", "constant", "iota"};
    object part = new_object();
    add_text(&part, "kind", names[arg->fill]);
    add_number(&part, "a", arg->fill_a);
    add_number(&part, "b", arg->fill_b);
    return part;
}

static hone_status add_arg(object *args, const hone__arg *arg, const int64_t *sizes, hone_error *err) {
    static const char *const accesses[] = {"in", "out", "inout"};
    object part = new_object();
    hone_status status = HONE_OK;
    add_text(&part, "name", arg->name);
    add_text(&part, "kind", arg->is_buffer ? "buffer" : "scalar");
    add_text(&part, "dtype", hone__dtype_name(arg->dtype));
    if (arg->is_buffer) {
        object shape = new_array();
        for (uint32_t d = 0; d < arg->rank && status == HONE_OK; d++) {
            int64_t dimension = 0;
            status = hone__arg_dimension(arg, d, sizes, &dimension, err);
            add_number(&shape, NULL, (double)dimension);
        }
        add_part(&part, "shape", shape);
        add_text(&part, "access", accesses[arg->access]);
        add_part(&part, "fill", fill_part(arg));
        add_number(&part, "align", arg->align);
    } else {
        double value = 0;
        status = hone__arg_scalar(arg, sizes, &value, err);
        add_number(&part, "value", value);
    }
    add_part(args, NULL, part);
    return status;
}

static hone_status add_options(object *to, const hone_kernel *kernel, char *const *option, uint32_t count, bool with_params,
                               const int64_t *values, hone_error *err) {
    object list = new_array();
    hone__buf text;
    hone__buf_init(&text, OPTION_BYTES_MAX);
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < count && status == HONE_OK; i++) {
        hone__buf_clear(&text);
        status = hone__option_resolve(kernel->space, option[i], with_params, values, &text, err);
        add_text(&list, NULL, text.length > 0 ? text.data : "");
    }
    hone__buf_free(&text);
    add_part(to, "options", list);
    return status;
}

static void add_extents(object *to, const char *name, const int64_t *extent, uint32_t rank) {
    object list = new_array();
    for (uint32_t i = 0; i < rank; i++)
        add_number(&list, NULL, (double)extent[i]);
    add_part(to, name, list);
}

static hone_status add_launch(object *to, const hone__launch *launch, const int64_t *values, hone_error *err) {
    if (launch->grid[0] == NULL) {
        add(to, "launch", cJSON_CreateNull());
        return HONE_OK;
    }
    hone__geometry geometry;
    HONE_TRY(hone__launch_geometry(launch, values, &geometry, err));
    object part = new_object();
    add_extents(&part, "grid", geometry.grid, geometry.grid_rank);
    add_extents(&part, "block", geometry.block, geometry.block_rank);
    add_extents(&part, "cluster", geometry.cluster, geometry.cluster_rank);
    add_number(&part, "shared_bytes", (double)geometry.shared_bytes);
    if (launch->cooperative)
        add(&part, "cooperative", cJSON_CreateTrue());
    add_part(to, "launch", part);
    return HONE_OK;
}

static hone_status add_reference(object *to, const hone_kernel *kernel, const int64_t *sizes, hone_error *err) {
    if (!kernel->has_reference) {
        add(to, "reference", cJSON_CreateNull());
        return HONE_OK;
    }
    object part = new_object();
    hone_status status;
    if (kernel->reference_entry == NULL) {
        hone__buf why;
        hone__buf_init(&why, 1024);
        cJSON *compile = NULL;
        if (hone__space_holds(kernel->space, sizes, &kernel->reference_config, &why))
            status = hone__kernel_compile_json(kernel, sizes, &kernel->reference_config, &compile, err);
        else
            status = hone__fail(err, HONE_E_CONFIG, "spec", "%s: the reference config is not valid at these sizes: %.300s", kernel->name,
                                why.length > 0 ? why.data : "a constraint does not hold");
        hone__buf_free(&why);
        if (status == HONE_OK)
            add(&part, "compile", compile);
    } else {
        const char *path = kernel->reference_source != NULL ? kernel->reference_source : kernel->source_path;
        add_text(&part, "source", kernel->reference_text != NULL ? kernel->reference_text : kernel->source.text);
        add_text(&part, "source_path", path != NULL ? path : "");
        add_folder(&part, path);
        add_text(&part, "entry", kernel->reference_entry);
        status = add_options(&part, kernel, kernel->reference_option, kernel->reference_option_count, false, sizes, err);
        if (status == HONE_OK)
            status = add_launch(&part, &kernel->reference_launch, sizes, err);
    }
    add_part(to, "reference", part);
    return status;
}

static void add_rest(object *to, const hone_kernel *kernel, const int64_t *sizes, uint64_t seed) {
    object tolerance = new_object();
    add_number(&tolerance, "rtol", kernel->rtol);
    add_number(&tolerance, "atol", kernel->atol);
    add_part(to, "tolerance", tolerance);
    object limits = new_object();
    add_number(&limits, "compile_s", kernel->compile_s);
    add_number(&limits, "run_s", kernel->run_s);
    add_number(&limits, "memory_bytes", (double)kernel->memory_bytes);
    add_number(&limits, "output_bytes", (double)kernel->output_bytes);
    add_part(to, "limits", limits);
    double flops = 0, bytes = 0;
    hone__kernel_work(kernel, sizes, &flops, &bytes);
    /* JSON carries 53 bits exactly; the seed keeps its low ones. */
    add_number(to, "seed", (double)(seed & ((1ull << 53) - 1)));
    add_number(to, "flops", flops);
    add_number(to, "bytes", bytes);
}

hone_status hone__kernel_prepare_json(const hone_kernel *kernel, const int64_t *sizes, uint64_t seed, cJSON **out, hone_error *err) {
    *out = NULL;
    uint64_t total = 0;
    HONE_TRY(hone__kernel_buffers(kernel, sizes, &total, err));
    object body = new_object();
    add_part(&body, "kernel", kernel_part(kernel));
    object named = new_object();
    for (uint32_t i = 0; i < kernel->size_count; i++)
        add_number(&named, kernel->size[i].name, (double)sizes[i]);
    add_part(&body, "sizes", named);
    object args = new_array();
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < kernel->arg_count && status == HONE_OK; i++)
        status = add_arg(&args, &kernel->arg[i], sizes, err);
    add_part(&body, "args", args);
    if (status == HONE_OK)
        status = add_reference(&body, kernel, sizes, err);
    add_rest(&body, kernel, sizes, seed);
    if (status == HONE_OK && !body.ok)
        status = nomem(err);
    if (status != HONE_OK) {
        cJSON_Delete(body.json);
        return status;
    }
    *out = body.json;
    return HONE_OK;
}

/* ---- compile ---- */

static void add_define(void *user, const char *definition) {
    add_text(user, NULL, definition);
}

/* The config as JSON values, by way of its canonical text, which is the one place that knows how values print. */
static cJSON *config_item(const hone_kernel *kernel, const hone__config *config) {
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_RECORD_BYTES);
    hone__config_print(&text, kernel->space, config);
    cJSON *item = NULL;
    if (text.status == HONE_OK)
        (void)hone__json_parse(&item, text.data, text.length, "config", NULL);
    hone__buf_free(&text);
    return item;
}

hone_status hone__kernel_compile_json(const hone_kernel *kernel, const int64_t *sizes, const hone__config *config, cJSON **out,
                                      hone_error *err) {
    *out = NULL;
    int64_t values[HONE_SIZES_MAX + HONE_LIMIT_SLOTS];
    hone__space_values(kernel->space, sizes, config, values);
    object body = new_object();
    add(&body, "config", config_item(kernel, config));
    object defines = new_array();
    hone__config_macros(kernel->space, config, add_define, &defines);
    add_part(&body, "defines", defines);
    hone_status status = add_options(&body, kernel, kernel->option, kernel->option_count, true, values, err);
    if (status == HONE_OK)
        status = add_launch(&body, &kernel->launch, values, err);
    if (status == HONE_OK && !body.ok)
        status = nomem(err);
    if (status != HONE_OK) {
        cJSON_Delete(body.json);
        return status;
    }
    *out = body.json;
    return HONE_OK;
}
