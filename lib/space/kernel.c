/* kernel.c: a kernel's life after reading: getters, problems, work, freeing. */
#include "alloc.h"
#include "kernel.h"

#include <stdio.h>
#include <string.h>

static void free_exprs(hone__expr *const *expr, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        hone__expr_free(expr[i]);
}

static void free_texts(char **text, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        hone__free(text[i]);
    hone__free(text);
}

static void free_args(hone_kernel *kernel) {
    for (uint32_t i = 0; i < kernel->arg_count; i++) {
        hone__free(kernel->arg[i].name);
        free_exprs(kernel->arg[i].shape, kernel->arg[i].rank);
        hone__expr_free(kernel->arg[i].value);
    }
    hone__free(kernel->arg);
}

static void free_launch(hone__launch *launch) {
    free_exprs(launch->grid, 3);
    free_exprs(launch->block, 3);
    free_exprs(launch->cluster, 3);
    hone__expr_free(launch->shared_bytes);
}

void hone_kernel_free(hone_kernel *kernel) {
    if (kernel == NULL || atomic_fetch_sub(&kernel->shares, 1) > 0)
        return;
    free_args(kernel);
    for (uint32_t i = 0; i < kernel->dependency_count; i++) {
        hone__free(kernel->dependency[i].path);
        hone__free(kernel->dependency[i].text);
    }
    hone__free(kernel->dependency);
    free_texts(kernel->option, kernel->option_count);
    free_texts(kernel->reference_option, kernel->reference_option_count);
    free_texts(kernel->evaluator, kernel->evaluator_count);
    free_launch(&kernel->launch);
    free_launch(&kernel->reference_launch);
    hone__expr_free(kernel->flops);
    hone__expr_free(kernel->bytes);
    hone__space_free(kernel->space); /* after the expressions, before the size names that it borrows */
    for (uint32_t i = 0; i < kernel->size_count; i++) {
        hone__free(kernel->size[i].name);
        hone__free(kernel->size[i].buckets);
    }
    hone__free(kernel->size);
    hone__free(kernel->seed);
    hone__free(kernel->reference_source);
    hone__free(kernel->reference_text);
    hone__free(kernel->reference_entry);
    hone__free(kernel->source.path);
    hone__free(kernel->source.text);
    hone__free(kernel->source_path);
    hone__free(kernel->entry);
    hone__free(kernel->label);
    hone__free(kernel->base_dir);
    hone__free(kernel->name);
    hone__free(kernel->description);
    cJSON_Delete(kernel->spec);
    hone__free(kernel);
}

hone_kernel *hone__kernel_share(const hone_kernel *kernel) {
    hone_kernel *shared = (hone_kernel *)(uintptr_t)kernel;
    (void)atomic_fetch_add(&shared->shares, 1);
    return shared;
}

const char *hone_kernel_name(const hone_kernel *kernel) {
    return kernel->name;
}

const char *hone_kernel_language(const hone_kernel *kernel) {
    static const char *const names[] = {"c", "cuda", "external"};
    return names[kernel->language];
}

uint32_t hone_kernel_size_count(const hone_kernel *kernel) {
    return kernel->size_count;
}

const char *hone_kernel_size_name(const hone_kernel *kernel, uint32_t index) {
    return index < kernel->size_count ? kernel->size[index].name : NULL;
}

uint32_t hone_kernel_param_count(const hone_kernel *kernel) {
    return kernel->space->param_count;
}

const char *hone_kernel_param_name(const hone_kernel *kernel, uint32_t index) {
    return index < kernel->space->param_count ? kernel->space->param[index].name : NULL;
}

uint32_t hone_kernel_param_index(const hone_kernel *kernel, const char *name) {
    for (uint32_t i = 0; i < kernel->space->param_count; i++) {
        if (strcmp(kernel->space->param[i].name, name) == 0)
            return i;
    }
    return UINT32_MAX;
}

void hone_problem_init(const hone_kernel *kernel, hone_problem *problem) {
    *problem = (hone_problem){.struct_size = sizeof *problem, .count = kernel->size_count};
    for (uint32_t i = 0; i < kernel->size_count; i++)
        problem->size[i] = kernel->size[i].value;
}

hone_status hone_problem_set(const hone_kernel *kernel, hone_problem *problem, const char *name, int64_t value, hone_error *err) {
    char names[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < kernel->size_count; i++) {
        const hone__size *size = &kernel->size[i];
        if (strcmp(size->name, name) == 0) {
            if (value < size->min || value > size->max)
                return hone__fail(err, HONE_E_ARG, "spec", "%s: size %s = %lld is outside %lld..%lld", kernel->name, name,
                                  (long long)value, (long long)size->min, (long long)size->max);
            problem->size[i] = value;
            return HONE_OK;
        }
        int put = at < sizeof names ? snprintf(names + at, sizeof names - at, "%s%s", i == 0 ? "" : ", ", size->name) : 0;
        at += put > 0 ? (size_t)put : 0;
    }
    if (kernel->size_count == 0)
        return hone__fail(err, HONE_E_ARG, "spec", "%s has no sizes, so no \"%.40s\" either", kernel->name, name);
    return hone__fail(err, HONE_E_ARG, "spec", "%s has no size \"%.40s\"; its sizes are %s", kernel->name, name, names);
}

static double evaluated(const hone__expr *expr, const int64_t *sizes) {
    int64_t result = 0;
    if (expr == NULL || !hone__expr_eval(expr, sizes, &result, NULL) || result < 0)
        return 0;
    return (double)result;
}

void hone__kernel_work(const hone_kernel *kernel, const int64_t *sizes, double *flops, double *bytes) {
    *flops = evaluated(kernel->flops, sizes);
    *bytes = evaluated(kernel->bytes, sizes);
}
