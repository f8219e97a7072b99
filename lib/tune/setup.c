/* setup.c: everything that must stand before the first config is measured: options, evaluator, device, model. */
#include "alloc.h"
#include "log.h"
#include "options.h"
#include "process.h"
#include "tuning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Finalists are measured side by side at the end, so a trial need not be measured longer than it takes to rank it. */
enum { MEASURE_MS = 200 };

static const char *from_environment(const char *given, const char *variable) {
    if (given != NULL)
        return given;
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

hone_status hone__tuning_options(hone_tune_options *out, const hone_tune_options *given, hone_error *err) {
    *out = (hone_tune_options)HONE_TUNE_OPTIONS_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, given, "hone_tune_options", err));
    out->search = from_environment(out->search, "HONE_AUTOTUNER");
    if (out->search == NULL)
        out->search = "auto";
    static const char *const names[] = {"auto", "hybrid", "lfbo", "llm", "random", "exhaustive"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        found = found || strcmp(out->search, names[i]) == 0;
    if (!found)
        return hone__fail(err, HONE_E_ARG, "tune", "no search strategy \"%.32s\"; there are auto, hybrid, lfbo, llm, random, exhaustive", out->search);
    out->worker = from_environment(out->worker, "HONE_WORKER");
    if (out->worker == NULL)
        out->worker = "hone";
    if (out->trials_max == 0)
        out->trials_max = 200;
    if (out->rounds_max == 0)
        out->rounds_max = 4;
    if (out->seed == 0)
        out->seed = 1;
    if (out->roofline_stop == 0)
        out->roofline_stop = 0.97;
    if (out->min_gain == 0)
        out->min_gain = 0.005;
    if (!(out->min_gain < 1))
        return hone__fail(err, HONE_E_ARG, "tune", "min_gain is a fraction below 1, such as 0.005");
    if (out->configs_per_round == 0)
        out->configs_per_round = 15;
    if (out->configs_per_round > 64)
        return hone__fail(err, HONE_E_ARG, "tune", "%u configs per round are more than 64", out->configs_per_round);
    if (!(out->time_max_s >= 0))
        return hone__fail(err, HONE_E_ARG, "tune", "the time budget must not be negative");
    return HONE_OK;
}

hone_status hone__tuning_problem(hone__tuning *tuning, const hone_problem *problem, hone_error *err) {
    const hone_kernel *kernel = tuning->kernel;
    hone_problem_init(kernel, &tuning->problem);
    if (problem != NULL && problem->struct_size < sizeof *problem)
        return hone__fail(err, HONE_E_ARG, "tune", "hone_problem.struct_size is not set; start with hone_problem_init");
    if (problem != NULL)
        tuning->problem = *problem;
    if (tuning->problem.count != kernel->size_count)
        return hone__fail(err, HONE_E_ARG, "tune", "the problem has %u sizes, kernel %s has %u", tuning->problem.count, kernel->name, kernel->size_count);
    for (uint32_t i = 0; i < kernel->size_count; i++) {
        const hone__size *size = &kernel->size[i];
        tuning->sizes[i] = tuning->problem.size[i];
        if (tuning->sizes[i] < size->min || tuning->sizes[i] > size->max)
            return hone__fail(err, HONE_E_ARG, "tune", "%s: size %s = %lld is outside %lld..%lld", kernel->name, size->name, (long long)tuning->sizes[i],
                              (long long)size->min, (long long)size->max);
    }
    return HONE_OK;
}

/* Start the evaluator that `kernel` needs.  `tuning`, where there is one, is polled meanwhile. */
static hone_status open_bench(hone__bench **out, const hone_kernel *kernel, const char *evaluator, const char *worker, const char *ordinal,
                              bool peaks, hone__tuning *tuning, hone_error *err) {
    hone__bench_options options = {.device = ordinal != NULL && ordinal[0] != '\0' ? ordinal : NULL,
                                   .measure_peaks = peaks,
                                   .tick = tuning == NULL ? NULL : hone__tuning_start_tick,
                                   .user = tuning,
                                   .budget_ms = MEASURE_MS,
                                   .compile_s = kernel->compile_s,
                                   .run_s = kernel->run_s,
                                   .memory_bytes = kernel->memory_bytes,
                                   .output_bytes = kernel->output_bytes};
    if (evaluator != NULL) {
        char **words = NULL;
        hone_status status = hone__words_split(&words, evaluator);
        if (status != HONE_OK)
            return hone__fail(err, status, "tune", status == HONE_E_NOMEM ? "no memory to start the evaluator"
                                                                          : "the evaluator's command line is empty or has an open quote");
        options.command = (const char *const *)words;
        status = hone__bench_open(out, &options, err);
        hone__free(words);
        return status;
    }
    if (kernel->language == HONE_LANGUAGE_EXTERNAL) {
        const char **words = hone__alloc_array(kernel->evaluator_count + 1, sizeof *words);
        if (words == NULL)
            return hone__fail(err, HONE_E_NOMEM, "tune", "no memory to start the evaluator");
        for (uint32_t i = 0; i < kernel->evaluator_count; i++)
            words[i] = kernel->evaluator[i];
        options.command = words;
        hone_status status = hone__bench_open(out, &options, err);
        hone__free(words);
        return status;
    }
    const char *const words[] = {worker, "worker", NULL};
    options.command = words;
    return hone__bench_open(out, &options, err);
}

static hone_status bench_for(hone__bench **out, hone__tuning *tuning, bool peaks, hone_error *err) {
    const hone_tune_options *options = &tuning->options;
    return open_bench(out, tuning->kernel, options->evaluator, options->worker, tuning->caller_device->ordinal, peaks, tuning, err);
}

/* The device that a greeted evaluator says it measures on, under the name that it was asked for. */
static hone_status device_of(hone_device **out, const hone__bench *bench, const char *name, hone_error *err) {
    const cJSON *hello = hone__bench_hello(bench);
    hone_status status = hone__device_from_hello(out, cJSON_GetObjectItemCaseSensitive(hello, "device"), NULL, err);
    if (status == HONE_OK)
        status = hone__key_identify_device(*out);
    if (status == HONE_OK && name != NULL) {
        char *ordinal = hone__strdup(name);
        if (ordinal == NULL)
            status = hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the device");
        hone__free((*out)->ordinal);
        (*out)->ordinal = ordinal;
    }
    if (status != HONE_OK) {
        hone_device_free(*out);
        *out = NULL;
    }
    return status;
}

/* Does the system say which device it is, and not an evaluator? */
static bool known_to_system(const hone_kernel *kernel, const char *evaluator) {
    return evaluator == NULL && kernel->language != HONE_LANGUAGE_EXTERNAL;
}

static hone_status system_device(hone_device **out, const hone_kernel *kernel, const char *name, hone_error *err) {
    return hone_device_open(out, name != NULL ? name : kernel->language == HONE_LANGUAGE_C ? "cpu" : "cuda:0", err);
}

hone_status hone_device_for(hone_device **out, const hone_kernel *kernel, const char *name, const char *evaluator, hone_error *err) {
    *out = NULL;
    if (known_to_system(kernel, evaluator))
        return system_device(out, kernel, name, err);
    hone__bench *bench = NULL;
    HONE_TRY(open_bench(&bench, kernel, evaluator, NULL, name, false, NULL, err));
    hone_status status = device_of(out, bench, name, err);
    hone__bench_close(bench);
    return status;
}

static hone_status start_failed(const hone__tuning *tuning, hone_status status, hone_error *err) {
    if (status != HONE_E_CANCELLED || !tuning->late)
        return status;
    return hone__fail(err, HONE_E_TIMEOUT, "tune", "the evaluator did not start within the %.3g s for the tuning", tuning->options.time_max_s);
}

/* Peaks are measured once a device and noted in the cache: they take a second and do not change.  That an evaluator knows none is noted too:
 * it need not be started for them again.  Who must start an evaluator to learn which device it is asks it for peaks at once while the cache has
 * none of any device. */
static const char peaks_of[] = "peaks:";

static void note_name(const hone_device *device, char *name, size_t bytes) {
    char hex[33];
    hone__hash_hex(device->id, hex);
    (void)snprintf(name, bytes, "%s%s", peaks_of, hex);
}

static bool peaks_from_note(const hone_cache *cache, hone_device *device) {
    char name[64], *text = NULL;
    note_name(device, name, sizeof name);
    if (cache == NULL || hone__cache_get_note(cache, name, &text, NULL) != HONE_OK)
        return false;
    cJSON *json = NULL;
    bool found = hone__json_parse(&json, text, strlen(text), name, NULL) == HONE_OK;
    if (found) {
        hone__device_read_peaks(device, json);
    }
    cJSON_Delete(json);
    hone__free(text);
    return found;
}

static void note_peaks(hone_cache *cache, const hone_device *device) {
    char name[64], text[256];
    note_name(device, name, sizeof name);
    (void)snprintf(text, sizeof text, "{\"gbps\":%.4g,\"gflops\":%.4g,\"tf32_gflops\":%.4g,\"fp16_gflops\":%.4g,\"bf16_gflops\":%.4g}",
                   device->peak_gbps, device->peak_gflops, device->peak_tf32_gflops, device->peak_fp16_gflops, device->peak_bf16_gflops);
    hone_error err;
    if (cache != NULL && hone__cache_put_note(cache, name, text, &err) != HONE_OK)
        hone__log(HONE_LOG_WARN, "tune", "the device's peaks are not remembered: %s", err.message);
}

hone_status hone__tuning_own_device(hone__tuning *tuning, hone_error *err) {
    const hone_tune_options *options = &tuning->options;
    hone_status status;
    if (known_to_system(tuning->kernel, options->evaluator)) {
        status = system_device(&tuning->own_device, tuning->kernel, options->device, err);
    } else {
        tuning->asked_for_peaks = tuning->reader == NULL || !hone__cache_has_notes(tuning->reader, peaks_of);
        status = open_bench(&tuning->bench, tuning->kernel, options->evaluator, options->worker, options->device, tuning->asked_for_peaks, tuning, err);
        if (status == HONE_OK)
            status = device_of(&tuning->own_device, tuning->bench, options->device, err);
    }
    tuning->caller_device = tuning->own_device;
    return start_failed(tuning, status, err);
}

/* A peak is the most that was ever seen.  True when one rose. */
static bool raise_peaks(hone_device *device, const hone_device *said) {
    double *const ours[] = {&device->peak_gbps, &device->peak_gflops, &device->peak_tf32_gflops, &device->peak_fp16_gflops,
                            &device->peak_bf16_gflops};
    const double theirs[] = {said->peak_gbps, said->peak_gflops, said->peak_tf32_gflops, said->peak_fp16_gflops, said->peak_bf16_gflops};
    bool rose = false;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        rose = rose || theirs[i] > *ours[i];
        *ours[i] = fmax(theirs[i], *ours[i]);
    }
    return rose;
}

void hone__tuning_verify_peaks(hone__tuning *tuning) {
    hone__bench *bench = NULL;
    hone_device *said = NULL;
    if (bench_for(&bench, tuning, true, NULL) != HONE_OK)
        return;
    const cJSON *hello = hone__bench_hello(bench);
    hone_device *device = tuning->device;
    if (hone__device_from_hello(&said, cJSON_GetObjectItemCaseSensitive(hello, "device"), cJSON_GetObjectItemCaseSensitive(hello, "peaks"),
                                NULL) == HONE_OK &&
        raise_peaks(device, said)) {
        note_peaks(tuning->cache, device);
        hone__tuning_roofline(tuning);
    }
    hone_device_free(said);
    hone__bench_close(bench);
}

/* What compiles is known to the evaluator, not to the driver that we ask for the device. */
static hone_status take_toolkit(hone_device *device, const hone_device *said, hone_error *err) {
    const char *toolkit = hone__json_string(said->description, "toolkit");
    if (toolkit == NULL || cJSON_GetObjectItemCaseSensitive(device->description, "toolkit") != NULL)
        return HONE_OK;
    if (cJSON_AddStringToObject(device->description, "toolkit", toolkit) == NULL)
        return hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the device");
    return HONE_OK;
}

hone_status hone__tuning_device(hone__tuning *tuning, hone_error *err) {
    cJSON *json = hone__device_to_json(tuning->caller_device);
    hone_status status = json == NULL ? hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the device")
                                      : hone__device_from_hello(&tuning->device, json, NULL, err);
    cJSON_Delete(json);
    HONE_TRY(status);
    HONE_TRY(hone__key_identify_device(tuning->device));
    bool noted = peaks_from_note(tuning->reader, tuning->device);
    if (tuning->bench != NULL && !noted && !tuning->asked_for_peaks) { /* that is hello's part */
        hone__bench_close(tuning->bench);
        tuning->bench = NULL;
    }
    if (tuning->bench == NULL)
        HONE_TRY(start_failed(tuning, bench_for(&tuning->bench, tuning, !noted, err), err));
    const cJSON *hello = hone__bench_hello(tuning->bench);
    hone_device *said = NULL;
    HONE_TRY(hone__device_from_hello(&said, cJSON_GetObjectItemCaseSensitive(hello, "device"),
                                     cJSON_GetObjectItemCaseSensitive(hello, "peaks"), err));
    status = hone__key_identify_device(said);
    if (status == HONE_OK && memcmp(said->id, tuning->device->id, sizeof said->id) != 0)
        status = hone__fail(err, HONE_E_EVALUATOR, "tune", "the evaluator measures on %.80s, but the look-up is for %.80s: use hone_device_for",
                            said->name, tuning->device->name);
    if (status == HONE_OK && !noted) {
        (void)raise_peaks(tuning->device, said);
        note_peaks(tuning->cache, tuning->device);
    }
    if (status == HONE_OK)
        status = take_toolkit(tuning->device, said, err);
    hone_device_free(said);
    return status;
}

void hone__tuning_roofline(hone__tuning *tuning) {
    hone__kernel_work(tuning->kernel, tuning->sizes, &tuning->flops, &tuning->bytes);
    double rate = hone__device_gflops(tuning->device, hone__precision_name(tuning->kernel->precision));
    double compute_ns = rate > 0 ? tuning->flops / rate : 0;
    double memory_ns = tuning->device->peak_gbps > 0 ? tuning->bytes / tuning->device->peak_gbps : 0;
    tuning->limit_ns = fmax(compute_ns, memory_ns);
}

hone_status hone__tuning_seeds(hone__tuning *tuning, hone_error *err) {
    tuning->seed = hone__alloc_array(tuning->kernel->seed_count + 1, sizeof *tuning->seed);
    if (tuning->seed == NULL)
        return hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the seeds");
    for (uint32_t i = 0; i < tuning->kernel->seed_count; i++) {
        if (hone__bound_valid(tuning->bound, &tuning->kernel->seed[i], NULL))
            tuning->seed[tuning->seed_count++] = tuning->kernel->seed[i];
    }
    return HONE_OK;
}

hone_status hone__tuning_llm(hone__tuning *tuning, hone_error *err) {
    const hone_tune_options *options = &tuning->options;
    bool automatic = strcmp(options->search, "auto") == 0;
    tuning->search_name = options->search;
    tuning->strategy_name = options->search;
    if (!automatic && strcmp(options->search, "llm") != 0 && strcmp(options->search, "hybrid") != 0)
        return HONE_OK;
    hone__llm_options model = {.provider = options->llm_provider,
                               .model = options->llm_model,
                               .api_base = options->llm_api_base,
                               .command = options->llm_command,
                               .mailbox = options->llm_mailbox,
                               .replay = options->llm_replay,
                               .timeout_s = options->llm_timeout_s,
                               .tokens_max = options->tokens_max};
    HONE_TRY(hone__llm_open(&tuning->llm, &model, err));
    if (automatic)
        tuning->strategy_name = hone__llm_provider(tuning->llm) == HONE_PROVIDER_NONE ? "lfbo" : "hybrid";
    return HONE_OK;
}

void hone__tuning_clear(hone__tuning *tuning) {
    hone__strategy_close(tuning->strategy);
    hone__llm_close(tuning->llm);
    hone__bench_close(tuning->bench);
    if (tuning->claimed)
        hone__claim_drop(tuning->cache, &tuning->key);
    hone__entry_clear(&tuning->stored);
    hone__bound_free(tuning->bound);
    hone_device_free(tuning->device);
    hone_device_free(tuning->own_device);
    if (tuning->session_open)
        hone__session_clear(&tuning->session);
    for (uint32_t i = 0; i < tuning->exchange_count; i++)
        hone__exchange_clear(&tuning->exchange[i]);
    hone__free(tuning->exchange);
    hone__free(tuning->known);
    hone__free(tuning->neighbour);
    hone__free(tuning->evidence);
    hone__free(tuning->seed);
    hone__free(tuning->trial);
    hone__free(tuning->result);
    hone__free(tuning->ticket);
    hone__free(tuning->from_journal);
}
