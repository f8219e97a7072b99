/* prompt_facts.c: see prompt_facts.h. */
#include "prompt_facts.h"

#include "alloc.h"

#include <string.h>

enum {
    SOURCE_BYTES = 32 << 10,
    DEPENDENCY_BYTES = 8 << 10,
    DEPENDENCIES_BYTES = 20 << 10,
    DESCRIPTION_BYTES = 8192,
    VALUES_SHOWN = 24,
    FACT_BYTES = 400
};

/* ---- kernel ---- */

static const char *language_name(hone__language language) {
    return language == HONE_LANGUAGE_C ? "C (CPU)" : language == HONE_LANGUAGE_CUDA ? "CUDA C++ (GPU)" : "external evaluator";
}

static void put_sizes(hone__buf *buf, const hone__prompt_input *input) {
    const hone_kernel *kernel = input->kernel;
    const int64_t *sizes = hone__bound_sizes(input->bound);
    if (kernel->size_count == 0)
        return;
    hone__buf_text(buf, "Problem sizes: ");
    for (uint32_t i = 0; i < kernel->size_count; i++)
        hone__buf_printf(buf, "%s%s=%lld", i > 0 ? ", " : "", kernel->size[i].name, (long long)sizes[i]);
    hone__buf_text(buf, ". Tune for exactly these.\n");
}

void hone__facts_kernel(hone__buf *buf, const hone__prompt_input *input) {
    const hone_kernel *kernel = input->kernel;
    hone__buf_printf(buf, "Name: %s. Language: %s.", kernel->name, language_name(kernel->language));
    if (kernel->entry != NULL && kernel->entry[0] != '\0')
        hone__buf_printf(buf, " Entry: %s.", kernel->entry);
    hone__buf_char(buf, '\n');
    if (kernel->description != NULL && kernel->description[0] != '\0') {
        hone__text_clean(buf, kernel->description, DESCRIPTION_BYTES, false);
        hone__buf_char(buf, '\n');
    }
    put_sizes(buf, input);
    if (kernel->option_count > 0) {
        hone__buf_text(buf, "Compile options:");
        for (uint32_t i = 0; i < kernel->option_count; i++) {
            hone__buf_char(buf, ' ');
            hone__text_clean(buf, kernel->option[i], 256, true);
        }
        hone__buf_text(buf, "\n");
    }
    if (kernel->language != HONE_LANGUAGE_EXTERNAL)
        hone__buf_text(buf, "Each parameter is a macro in the source (an integer or token; bool 0 or 1; element i of a list L is L_i, its "
                            "length L_LEN).\n");
}

void hone__facts_source(hone__buf *buf, const hone__prompt_input *input) {
    const hone__file_text *source = &input->kernel->source;
    if (source->text == NULL || source->text[0] == '\0')
        return;
    hone__buf_printf(buf, "%s:\n", source->path == NULL ? "source" : source->path);
    hone__text_source(buf, source->text, SOURCE_BYTES);
}

void hone__facts_dependencies(hone__buf *buf, const hone__prompt_input *input) {
    const hone_kernel *kernel = input->kernel;
    for (uint32_t i = 0; i < kernel->dependency_count; i++) {
        const hone__file_text *file = &kernel->dependency[i];
        if (file->text == NULL)
            continue;
        if (buf->length >= DEPENDENCIES_BYTES) {
            hone__buf_printf(buf, "%s: %zu bytes, left out\n", file->path, strlen(file->text));
            continue;
        }
        size_t left = DEPENDENCIES_BYTES - buf->length;
        hone__buf_printf(buf, "%s:\n", file->path);
        hone__text_source(buf, file->text, left < DEPENDENCY_BYTES ? left : DEPENDENCY_BYTES);
    }
}

/* ---- arguments ---- */

static void put_buffer(hone__buf *buf, const hone__arg *arg, const int64_t *sizes, double *total) {
    static const char *const access[] = {"in", "out", "inout"};
    int64_t shape[8] = {0};
    double bytes = hone__dtype_bytes(arg->dtype);
    bool known = true;
    for (uint32_t i = 0; i < arg->rank; i++) {
        known = known && hone__expr_eval(arg->shape[i], sizes, &shape[i], NULL);
        bytes *= (double)shape[i];
    }
    hone__buf_printf(buf, "- %s: %s buffer of %s, shape [", arg->name, access[arg->access], hone__dtype_name(arg->dtype));
    for (uint32_t i = 0; i < arg->rank; i++) {
        const char *text = hone__expr_text(arg->shape[i]);
        hone__buf_printf(buf, "%s%s", i > 0 ? ", " : "", text);
        if (known && strspn(text, "0123456789") != strlen(text)) /* "15 = 15" says nothing */
            hone__buf_printf(buf, " = %lld", (long long)shape[i]);
    }
    hone__buf_text(buf, "]");
    if (known) {
        hone__buf_text(buf, ", strides [");
        for (uint32_t i = 0; i < arg->rank; i++) {
            double stride = 1; /* row-major, in elements */
            for (uint32_t j = i + 1; j < arg->rank; j++)
                stride *= (double)shape[j];
            hone__buf_text(buf, i > 0 ? ", " : "");
            hone__text_number(buf, stride, 15);
        }
        hone__buf_text(buf, "] elements, ");
        hone__text_bytes(buf, bytes);
        *total += bytes;
    }
    hone__buf_printf(buf, ", aligned to %u bytes\n", (unsigned)arg->align);
}

void hone__facts_arguments(hone__buf *buf, const hone__prompt_input *input) {
    const hone_kernel *kernel = input->kernel;
    const int64_t *sizes = hone__bound_sizes(input->bound);
    double total = 0;
    for (uint32_t i = 0; i < kernel->arg_count; i++) {
        const hone__arg *arg = &kernel->arg[i];
        int64_t value;
        if (arg->is_buffer) {
            put_buffer(buf, arg, sizes, &total);
        } else if (arg->value == NULL) {
            hone__buf_printf(buf, "- %s: scalar %s = ", arg->name, hone__dtype_name(arg->dtype));
            hone__text_number(buf, arg->number, 15);
            hone__buf_char(buf, '\n');
        } else if (hone__expr_eval(arg->value, sizes, &value, NULL)) {
            hone__buf_printf(buf, "- %s: scalar %s = %s = %lld\n", arg->name, hone__dtype_name(arg->dtype),
                             hone__expr_text(arg->value), (long long)value);
        }
    }
    if (total > 0) {
        hone__buf_text(buf, "All buffers are contiguous and row-major; together ");
        hone__text_bytes(buf, total);
        hone__buf_text(buf, ".\n");
    }
}

/* ---- device ---- */

/* What names a machine or a person helps no model. */
static bool is_private(const char *name) {
    static const char *const part[] = {"host", "uuid", "serial", "user", "bus_id", "pci_bus"};
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        if (strstr(name, part[i]) != NULL)
            return true;
    }
    return false;
}

static void put_members(hone__buf *buf, const cJSON *object, const cJSON *not_in) {
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        if (item->string == NULL || is_private(item->string) || cJSON_IsNull(item) ||
            (not_in != NULL && cJSON_GetObjectItemCaseSensitive(not_in, item->string) != NULL))
            continue;
        char *text = cJSON_IsString(item) ? NULL : hone__json_text(item);
        hone__buf_text(buf, "- ");
        hone__text_clean(buf, item->string, 64, true);
        hone__buf_text(buf, ": ");
        hone__text_clean(buf, cJSON_IsString(item) ? item->valuestring : text == NULL ? "" : text, FACT_BYTES, true);
        hone__buf_char(buf, '\n');
        hone__free(text);
    }
}

void hone__facts_device(hone__buf *buf, const hone__prompt_input *input) {
    const hone_device *device = input->device;
    if (device == NULL)
        return;
    hone__buf_text(buf, "- device: ");
    hone__text_clean(buf, device->name == NULL ? "unknown" : device->name, 200, true);
    hone__buf_text(buf, " (");
    hone__text_clean(buf, device->kind == NULL ? "unknown" : device->kind, 40, true);
    hone__buf_text(buf, ")\n");
    put_members(buf, device->identity, NULL);
    put_members(buf, device->description, device->identity);
    if (device->peak_gbps > 0) {
        hone__buf_text(buf, "- measured memory bandwidth: ");
        hone__text_number(buf, device->peak_gbps, 4);
        hone__buf_text(buf, " GB/s\n");
    }
    static const char *const precisions[] = {"fp32", "tf32", "fp16", "bf16"};
    for (size_t i = 0; i < sizeof precisions / sizeof precisions[0]; i++) {
        double rate = hone__device_gflops(device, precisions[i]);
        if (rate <= 0)
            continue;
        hone__buf_printf(buf, "- measured %s peak%s: ", precisions[i], i > 0 ? " of the matrix units" : "");
        hone__text_number(buf, rate, 4);
        hone__buf_text(buf, " GFLOP/s\n");
    }
    if (input->kernel->language == HONE_LANGUAGE_C)
        hone__buf_text(buf, "- a kernel runs on one core; what was measured is one core's\n");
}

void hone__facts_roofline(hone__buf *buf, const hone__prompt_input *input) {
    hone__roofline roof;
    hone__roofline_get(input, &roof);
    if (roof.flops > 0) {
        hone__buf_text(buf, "- work of one run: ");
        hone__text_number(buf, roof.flops, 4);
        hone__buf_text(buf, " floating-point operations\n");
    }
    if (roof.bytes > 0) {
        hone__buf_text(buf, "- least traffic of one run: ");
        hone__text_bytes(buf, roof.bytes);
        hone__buf_char(buf, '\n');
    }
    if (roof.flops > 0 && roof.bytes > 0) {
        hone__buf_text(buf, "- arithmetic intensity: ");
        hone__text_number(buf, roof.flops / roof.bytes, 3);
        hone__buf_text(buf, " operations a byte");
        if (roof.memory_ns > 0 && roof.compute_ns > 0) {
            hone__buf_text(buf, "; this device balances at ");
            hone__text_number(buf, hone__device_gflops(input->device, hone__precision_name(input->kernel->precision)) / input->device->peak_gbps, 3);
        }
        hone__buf_char(buf, '\n');
    }
    if (roof.memory_ns > 0) {
        hone__buf_text(buf, "- time at full memory bandwidth: ");
        hone__text_ms(buf, roof.memory_ns);
        hone__buf_char(buf, '\n');
    }
    if (roof.compute_ns > 0) {
        hone__buf_text(buf, "- time at full arithmetic rate: ");
        hone__text_ms(buf, roof.compute_ns);
        hone__buf_char(buf, '\n');
    }
    if (roof.memory_ns > 0 && roof.compute_ns > 0)
        hone__buf_printf(buf, "- so the limit is %s\n",
                         roof.memory_ns > roof.compute_ns ? "memory traffic (unless the data stay in a cache between runs)" : "arithmetic");
}

/* ---- launch ---- */

static void put_dimensions(hone__buf *buf, const char *name, hone__expr *const *expr, const int64_t *values) {
    if (expr[0] == NULL)
        return;
    hone__buf_printf(buf, "- %s: (", name);
    for (uint32_t i = 0; i < 3 && expr[i] != NULL; i++)
        hone__buf_printf(buf, "%s%s", i > 0 ? ", " : "", hone__expr_text(expr[i]));
    hone__buf_text(buf, "); for the default config (");
    for (uint32_t i = 0; i < 3 && expr[i] != NULL; i++) {
        int64_t value;
        hone__buf_text(buf, i > 0 ? ", " : "");
        if (hone__expr_eval(expr[i], values, &value, NULL))
            hone__buf_printf(buf, "%lld", (long long)value);
        else
            hone__buf_char(buf, '?');
    }
    hone__buf_text(buf, ")\n");
}

void hone__facts_launch(hone__buf *buf, const hone__prompt_input *input) {
    const hone_kernel *kernel = input->kernel;
    const hone__space *space = hone__bound_space(input->bound);
    int64_t values[HONE_SIZES_MAX + HONE_LIMIT_SLOTS] = {0};
    hone__space_values(space, hone__bound_sizes(input->bound), &space->base, values);
    put_dimensions(buf, "grid", kernel->launch.grid, values);
    put_dimensions(buf, "block", kernel->launch.block, values);
    put_dimensions(buf, "cluster", kernel->launch.cluster, values);
    hone__expr *const shared[3] = {kernel->launch.shared_bytes, NULL, NULL};
    put_dimensions(buf, "dynamic shared memory in bytes", shared, values);
    if (kernel->launch.cooperative)
        hone__buf_text(buf, "- cooperative: all blocks of the grid must be on the device at once\n");
}

/* ---- space ---- */

static void put_domain(hone__buf *buf, const hone__domain *domain) {
    if (domain->kind == HONE_KIND_BOOL) {
        hone__buf_text(buf, "bool: false, true");
        return;
    }
    const char *kind = domain->kind == HONE_KIND_RANGE  ? "range"
                       : domain->kind == HONE_KIND_POW2 ? "powers of two"
                                                        : "one of";
    hone__buf_text(buf, kind);
    if (domain->kind == HONE_KIND_RANGE && domain->count > VALUES_SHOWN) {
        hone__buf_printf(buf, " %lld, %lld, ... %lld (%u values", (long long)domain->min, (long long)(domain->min + domain->step),
                         (long long)(domain->min + (int64_t)(domain->count - 1) * domain->step), (unsigned)domain->count);
        hone__buf_printf(buf, ", step %lld)", (long long)domain->step);
        return;
    }
    hone__buf_char(buf, ' ');
    uint32_t shown = domain->count < 4 * VALUES_SHOWN ? domain->count : 4 * VALUES_SHOWN;
    for (uint32_t i = 0; i < shown; i++) {
        hone__buf_text(buf, i > 0 ? ", " : "");
        hone__domain_print(buf, domain, i);
    }
    if (shown < domain->count)
        hone__buf_printf(buf, ", and %u more", (unsigned)(domain->count - shown));
    hone__buf_printf(buf, " (%u value%s)", (unsigned)domain->count, domain->count == 1 ? "" : "s");
}

void hone__facts_params(hone__buf *buf, const hone__prompt_input *input) {
    const hone__space *space = hone__bound_space(input->bound);
    bool lists = false, orders = false;
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        hone__buf_printf(buf, "- %s: ", param->name);
        if (param->kind == HONE_KIND_PERMUTATION) {
            hone__buf_printf(buf, "permutation of 0..%u", (unsigned)(param->slot_count - 1));
            orders = true;
        } else {
            if (param->kind == HONE_KIND_LIST) {
                hone__buf_printf(buf, "list of exactly %u, each ", (unsigned)param->slot_count);
                lists = true;
            }
            put_domain(buf, &param->domain);
        }
        hone__buf_text(buf, "; default ");
        hone__text_param_value(buf, param, &space->base);
        if (param->description != NULL && param->description[0] != '\0') {
            hone__buf_text(buf, " -- ");
            hone__text_clean(buf, param->description, FACT_BYTES, true);
        }
        hone__buf_char(buf, '\n');
    }
    if (lists)
        hone__buf_text(buf, "A list is written as a JSON array of exactly its length, never as one number.\n");
    if (orders)
        hone__buf_text(buf, "A permutation is a JSON array that holds each of its numbers once.\n");
    bool exact = false;
    double valid = hone__bound_count(input->bound, &exact);
    double raw = hone__space_raw_count(space), error = hone__bound_count_error(input->bound);
    bool all = exact && valid > raw * (1 - 1e-9);
    hone__buf_text(buf, all ? "All " : "Of ");
    hone__text_number(buf, raw, raw < 1e6 ? 15 : 3);
    if (all) {
        hone__buf_text(buf, " combinations are valid.\n");
        return;
    }
    if (error >= 1) {
        hone__buf_text(buf, " combinations hardly any is valid for these sizes: of very many random ones none was.\n");
        return;
    }
    bool plain = exact && valid < 1e6, rough = error > COUNT_ROUGH;
    hone__buf_printf(buf, " combinations %s", plain ? "" : rough ? "very roughly " : "about ");
    hone__text_number(buf, valid, plain ? 15 : rough ? 1 : 3);
    hone__buf_text(buf, " are valid for these sizes.\n");
}

void hone__facts_constraints(hone__buf *buf, const hone__prompt_input *input) {
    const hone__space *space = hone__bound_space(input->bound);
    for (uint32_t i = 0; i < space->constraint_count; i++) {
        const hone__constraint *constraint = &space->constraint[i];
        hone__buf_text(buf, "- ");
        hone__text_clean(buf, hone__expr_text(constraint->expr), HONE_LIMIT_EXPR_BYTES, true);
        if (constraint->why != NULL && constraint->why[0] != '\0') {
            hone__buf_text(buf, " -- ");
            hone__text_clean(buf, constraint->why, FACT_BYTES, true);
        }
        hone__buf_char(buf, '\n');
    }
    if (space->constraint_count > 0)
        hone__buf_text(buf, "Every one of these must hold (be non-zero; integers, / and % truncate as in C); a config that breaks one is "
                            "rejected unmeasured. They hold for the whole config, with the default's value for each parameter that it leaves out: check each "
                            "whole config against them before you write it.\n");
}

void hone__facts_known(hone__buf *buf, const hone__prompt_input *input) {
    const hone_kernel *kernel = input->kernel;
    const hone__space *space = hone__bound_space(input->bound);
    hone__buf_text(buf, "Default config (whole): ");
    hone__config_print(buf, space, &space->base);
    hone__buf_char(buf, '\n');
    for (uint32_t i = 0; i < kernel->seed_count; i++) {
        bool valid = hone__bound_valid(input->bound, &kernel->seed[i], NULL);
        hone__buf_text(buf, "Author's seed: ");
        hone__config_print_sparse(buf, space, &kernel->seed[i]);
        hone__buf_text(buf, valid ? "\n" : " (not valid for these sizes)\n");
    }
    for (uint32_t i = 0; i < input->neighbour_count; i++) {
        const hone__neighbour *neighbour = &input->neighbour[i];
        hone__buf_text(buf, "Best for ");
        hone__text_clean(buf, neighbour->where, sizeof neighbour->where, true);
        if (neighbour->speedup > 0) {
            hone__buf_text(buf, " (");
            hone__text_number(buf, neighbour->speedup, 3);
            hone__buf_text(buf, " times as fast as the default there)");
        }
        hone__buf_text(buf, ": ");
        hone__config_print_sparse(buf, space, &neighbour->config);
        hone__buf_char(buf, '\n');
    }
    hone__buf_text(buf, "These are measured in any case: do not repeat them.\n");
}

bool hone__slot_is_family(const hone__space *space, uint32_t slot) {
    const hone__param *param = &space->param[hone__space_param_of_slot(space, slot)];
    if (param->kind == HONE_KIND_BOOL || param->kind == HONE_KIND_ENUM)
        return param->domain.count >= 2 && param->domain.count <= 4;
    return (param->kind == HONE_KIND_RANGE || param->kind == HONE_KIND_POW2) && param->domain.count >= 2 && param->domain.count <= 3;
}
