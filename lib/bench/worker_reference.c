/* worker_reference.c: what a right result is: another function, or the kernel itself at a trusted config, run once on the same inputs in
 * a child like any other kernel. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "worker_internal.h"

#include <string.h>
#include <unistd.h>

/* The reference is a plain loop more often than not: it gets ten times a measurement's time, and at least a minute. */
static double reference_limit(const hone__problem *problem) {
    return 10.0 * problem->run_s > 60.0 ? 10.0 * problem->run_s : 60.0;
}

static hone_status compile(hone__worker *worker, const cJSON *reference, hone__build *build, hone_error *err) {
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(reference, "compile");
    hone__problem *problem = &worker->problem;
    hone_status status;
    if (cJSON_IsObject(config)) {
        status = hone__build_start(worker, build, "kernel.c", cJSON_GetObjectItemCaseSensitive(config, "defines"),
                                   cJSON_GetObjectItemCaseSensitive(config, "options"), err);
    } else {
        const char *source = hone__json_string(reference, "source");
        const char *path = hone__json_string(reference, "source_path");
        const char *entry = hone__json_string(reference, "entry");
        const char *include_dir = hone__json_string(reference, "include_dir");
        if (entry == NULL)
            return hone__fail(err, HONE_E_ARG, "worker", "prepare: the reference has neither entry nor compile");
        HONE_TRY(hone__source_write(worker, "reference.c", problem, source != NULL ? source : problem->source,
                                    path != NULL ? path : problem->source_path, entry, err));
        char *kept = problem->include_dir;
        char *own = include_dir != NULL ? hone__strdup(include_dir) : NULL;
        if (own != NULL)
            problem->include_dir = own;
        status = hone__build_start(worker, build, "reference.c", NULL, cJSON_GetObjectItemCaseSensitive(reference, "options"), err);
        problem->include_dir = kept;
        hone__free(own);
    }
    if (status != HONE_OK)
        return status;
    hone__build_wait(build);
    if (build->outcome != HONE_OUTCOME_OK)
        return hone__fail(err, HONE_E_EVALUATOR, "worker", "the reference does not compile: %s", build->reason);
    return HONE_OK;
}

static hone_status run(hone__worker *worker, const hone__build *build, hone_error *err) {
    hone__trial trial = {.kind = HONE_TRIAL_REFERENCE, .object = {build->object}, .count = 1, .run_s = reference_limit(&worker->problem)};
    HONE_TRY(hone__trial_start(worker, &trial, err));
    hone__trial_wait(&trial, &worker->problem);
    hone_status status = HONE_OK;
    if (trial.slate->result.outcome != HONE_OUTCOME_OK)
        status = hone__fail(err, HONE_E_EVALUATOR, "worker", "the reference does not run: %.400s", trial.slate->result.reason);
    hone__trial_end(&trial);
    return status;
}

/* Shared memory has small pages and is mapped in again by each child; a private copy has huge ones and is there at once. */
static hone_status keep_privately(hone__problem *problem, hone_error *err) {
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        hone__worker_arg *arg = &problem->arg[i];
        hone__arena own;
        if (arg->reference.map == NULL)
            continue;
        if (!hone__arena_map(&own, arg->reference.bytes, 64, false))
            return hone__fail(err, HONE_E_NOMEM, "worker", "prepare: no memory for the reference's output %s", arg->name);
        memcpy(own.data, arg->reference.data, own.bytes);
        hone__arena_unmap(&arg->reference);
        arg->reference = own;
        hone__arena_protect(&own, false);
    }
    return HONE_OK;
}

hone_status hone__worker_reference(hone__worker *worker, const cJSON *reference, double *ms, hone_error *err) {
    hone__build build = {.request = 0};
    uint64_t start = hone__clock_ns();
    HONE_TRY(compile(worker, reference, &build, err));
    hone_status status = run(worker, &build, err);
    (void)unlink(build.object);
    *ms = (double)(hone__clock_ns() - start) * 1e-6;
    return status == HONE_OK ? keep_privately(&worker->problem, err) : status;
}
