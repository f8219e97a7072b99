/* gpu_start.c: the worker's side of its GPUs' children until there is something to measure: starting them, who the GPU is, our own kernels,
 * peaks, and a problem with its reference. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "gpu_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- children ---- */

hone_status hone__gpu_start_child(hone__gpu *gpu, hone_error *err) {
    if (gpu->slate == NULL) {
        void *slate = mmap(NULL, sizeof *gpu->slate, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        gpu->slate = slate == MAP_FAILED ? NULL : slate;
    }
    hone__gpu_child *child = hone__alloc(sizeof *child);
    if (child == NULL || gpu->slate == NULL) {
        hone__free(child);
        return hone__fail(err, HONE_E_NOMEM, "worker", "no memory for a GPU's process");
    }
    gpu->slate->job = 0;
    gpu->slate->stage = HONE_STAGE_START;
    child->slate = gpu->slate;
    child->ordinal = gpu->ordinal;
    child->core = gpu->core;
    hone_status status = hone__channel_fork(&gpu->channel, hone__gpu_child_main, child, err);
    hone__free(child); /* its own copy came with the fork */
    gpu->up = status == HONE_OK;
    if (status != HONE_OK)
        hone__channel_close(&gpu->channel);
    return status;
}

void hone__gpu_stop_child(hone__gpu *gpu) {
    hone__channel_close(&gpu->channel);
    gpu->up = false;
    gpu->dues = 0;
}

/* {"id":N BODY}; `body` begins with a comma. */
hone_status hone__gpu_send_body(hone__gpu *gpu, uint64_t id, const char *body) {
    hone__buf line;
    hone__buf_init(&line, HONE_LIMIT_MESSAGE_BYTES + 65536);
    hone__buf_printf(&line, "{\"id\":%llu%s}", (unsigned long long)id, body);
    hone_status status = line.status == HONE_OK ? hone__channel_send(&gpu->channel, line.data) : line.status;
    hone__buf_free(&line);
    return status;
}

/* How a child ended, with the last it said on stderr. */
void hone__gpu_describe_end(hone__gpu *gpu, char *text, size_t bytes) {
    int wait_status = 0;
    char how[128] = "closed its output", tail[200];
    for (int i = 0; i < 100; i++) {
        if (hone__process_ended(&gpu->channel.process, &wait_status)) {
            hone__process_describe(wait_status, how, sizeof how);
            break;
        }
        hone__sleep_ms(2);
    }
    hone__channel_drain_stderr(&gpu->channel);
    hone__channel_tail(&gpu->channel, tail, sizeof tail);
    (void)snprintf(text, bytes, "the GPU's process %s%s%s", how, tail[0] != '\0' ? "; it wrote: " : "", tail);
}

/* Wait for the next line of a child that is asked outside of measurements; NULL with the reason. */
static cJSON *await_line(hone__gpu *gpu, double limit_s, hone_error *err) {
    uint64_t deadline = hone__clock_ns() + (uint64_t)(limit_s * 1e9);
    const char *line = NULL;
    size_t bytes = 0;
    char how[400];
    cJSON *reply = NULL;
    while (!hone__channel_line(&gpu->channel, &line, &bytes)) {
        if (gpu->channel.out_closed || gpu->channel.broken) {
            hone__gpu_describe_end(gpu, how, sizeof how);
            (void)hone__fail(err, HONE_E_EVALUATOR, "worker", "%s in %s", how, hone__stage_name(gpu->slate->stage));
            hone__gpu_stop_child(gpu);
            return NULL;
        }
        if (hone__clock_ns() > deadline) {
            (void)hone__fail(err, HONE_E_TIMEOUT, "worker", "hung or too slow: ended after %.3g s in %s", limit_s, hone__stage_name(gpu->slate->stage));
            hone__gpu_stop_child(gpu);
            return NULL;
        }
        hone__channel_move(&gpu->channel, 100);
    }
    if (hone__json_parse(&reply, line, bytes, "reply", err) != HONE_OK)
        hone__gpu_stop_child(gpu);
    return reply;
}

bool hone__gpu_ok(const cJSON *reply) {
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"));
}

const char *hone__gpu_said(const cJSON *reply) {
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply, "error");
    const char *message = hone__json_string(error != NULL ? error : reply, "message");
    return message != NULL ? message : "no reason given";
}

/* ---- hello ---- */

static int64_t whole(const cJSON *item) {
    int64_t value = 0;
    return hone__json_int(item, &value) ? value : 0;
}

static void take_limits(hone__gpu_limits *limits, const cJSON *list) {
    int64_t *const to[] = {&limits->threads, &limits->block[0], &limits->block[1], &limits->block[2], &limits->grid[0],
                           &limits->grid[1], &limits->grid[2], &limits->shared_bytes, &limits->registers, &limits->clusters};
    for (int i = 0; i < 10; i++)
        *to[i] = whole(cJSON_GetArrayItem(list, i));
}

/* The toolkit only describes: it is of this process, not of the device. */
static void add_toolkit(hone__gpu_set *set) {
    char text[64];
    cJSON *description = cJSON_GetObjectItemCaseSensitive(set->device, "description");
    (void)snprintf(text, sizeof text, "NVRTC %d.%d", set->nvrtc->major, set->nvrtc->minor);
    if (cJSON_IsObject(description))
        (void)cJSON_AddStringToObject(description, "toolkit", text);
}

static hone_status identify(hone__gpu_set *set, const char *name, int *gpus, hone_error *err) {
    set->gpu[0].ordinal = strncmp(name, "cuda:", 5) == 0 && strcmp(name, "cuda:all") != 0 ? (int)strtol(name + 5, NULL, 10) : 0;
    HONE_TRY(hone__gpu_start_child(&set->gpu[0], err));
    cJSON *who = await_line(&set->gpu[0], 25.0, err);
    if (who == NULL)
        return HONE_E_EVALUATOR;
    hone_status status = HONE_OK;
    if (!hone__gpu_ok(who))
        status = hone__fail(err, HONE_E_NODEVICE, "worker", "%s", hone__gpu_said(who));
    if (status == HONE_OK) {
        int major = (int)whole(cJSON_GetObjectItemCaseSensitive(who, "major")), minor = (int)whole(cJSON_GetObjectItemCaseSensitive(who, "minor"));
        set->driver = (int)whole(cJSON_GetObjectItemCaseSensitive(who, "driver"));
        *gpus = (int)whole(cJSON_GetObjectItemCaseSensitive(who, "gpus"));
        take_limits(&set->limits, cJSON_GetObjectItemCaseSensitive(who, "limits"));
        set->device = cJSON_DetachItemFromObjectCaseSensitive(who, "device");
        status = hone__nvrtc_open(&set->nvrtc, set->driver, err);
        if (status == HONE_OK && !hone__nvrtc_arch(set->nvrtc, major, minor, set->arch, sizeof set->arch))
            status = hone__fail(err, HONE_E_UNSUPPORTED, "worker", "NVRTC %d.%d does not know sm_%d%d: a newer CUDA toolkit is needed", set->nvrtc->major,
                                set->nvrtc->minor, major, minor);
    }
    cJSON_Delete(who);
    if (status == HONE_OK)
        add_toolkit(set);
    return status;
}

/* The helper, which must compile, and beside it the parts that measure peaks, which need not. */
static hone_status compile_own(hone__worker *worker, bool peaks, hone__buf *objects, hone_error *err) {
    static hone__build build[1 + HONE_GPU_PEAK_PARTS];
    hone_status status = HONE_OK;
    uint32_t count = peaks ? 1 + HONE_GPU_PEAK_PARTS : 1;
    bool started[1 + HONE_GPU_PEAK_PARTS] = {false};
    for (uint32_t i = 0; i < count && status == HONE_OK; i++) {
        char *source = i == 0 ? hone__gpu_helper_source() : hone__gpu_peaks_source(i - 1);
        hone_status one = source == NULL ? hone__fail(err, HONE_E_NOMEM, "worker", "no memory for our own kernels")
                                         : hone__gpu_build_start(worker, &build[i], source, "hone_own.cu", NULL, NULL, NULL, NULL, err);
        hone__free(source);
        started[i] = one == HONE_OK;
        status = i == 0 ? one : status;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!started[i])
            continue;
        hone__build_wait(&build[i]);
        if (i == 0 || build[i].outcome != HONE_OUTCOME_OK)
            continue;
        hone__buf_text(objects, objects->length > 0 ? "," : "");
        hone__buf_json_string(objects, build[i].object);
    }
    HONE_TRY(status);
    if (build[0].outcome != HONE_OUTCOME_OK)
        return hone__fail(err, HONE_E_EVALUATOR, "worker", "NVRTC (%.100s) does not compile our own kernels: %.300s", worker->gpus->nvrtc->path,
                          build[0].reason);
    (void)snprintf(worker->gpus->helper, sizeof worker->gpus->helper, "%s", build[0].object);
    return HONE_OK;
}

static hone_status open_all(hone__gpu_set *set, int gpus, bool all, hone_error *err) {
    for (int i = 1; all && i < gpus && i < (int)HONE_GPUS_MAX; i++) {
        hone__gpu *gpu = &set->gpu[i];
        gpu->ordinal = i;
        gpu->core = -1;
        HONE_TRY(hone__gpu_start_child(gpu, err));
        set->count++;
    }
    for (uint32_t i = 0; i < set->count; i++)
        HONE_TRY(hone__gpu_send_body(&set->gpu[i], 1, set->open_line));
    for (uint32_t i = 0; i < set->count; i++) {
        for (uint32_t due = i == 0 ? 1 : 0; due < 2; due++) { /* the first has said who it is already */
            cJSON *reply = await_line(&set->gpu[i], HONE_GPU_START_S, err);
            bool good = hone__gpu_ok(reply);
            hone_status status = reply == NULL ? HONE_E_EVALUATOR : good ? HONE_OK : hone__fail(err, HONE_E_NODEVICE, "worker", "%s", hone__gpu_said(reply));
            cJSON_Delete(reply);
            HONE_TRY(status);
        }
    }
    return HONE_OK;
}

/* Peaks are of use, not of need: what fails stays unknown. */
static void take_peaks(hone__gpu_set *set, const hone__buf *objects) {
    hone__buf body;
    hone__buf_init(&body, 8192);
    hone__buf_text(&body, ",\"op\":\"peaks\",\"objects\":[");
    hone__buf_bytes(&body, objects->data, objects->length);
    hone__buf_char(&body, ']');
    if (body.status == HONE_OK && hone__gpu_send_body(&set->gpu[0], 2, body.data) == HONE_OK) {
        cJSON *reply = await_line(&set->gpu[0], 20.0, NULL);
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(reply, "peaks");
        for (uint32_t i = 0; i < HONE_GPU_PEAKS; i++) {
            const cJSON *item = cJSON_GetArrayItem(list, (int)i);
            set->peak[i] = cJSON_IsNumber(item) && item->valuedouble > 0.0 && item->valuedouble < 1e9 ? item->valuedouble : 0.0;
        }
        set->peaks_known = true;
        cJSON_Delete(reply);
    }
    hone__buf_free(&body);
}

static hone_status open_set(hone__worker *worker, const char *name, bool peaks, hone__buf *peak_objects, hone_error *err) {
    int gpus = 0;
    hone__gpu_set *set = worker->gpus = hone__alloc(sizeof *set);
    if (set == NULL)
        return hone__fail(err, HONE_E_NOMEM, "worker", "no memory for the GPUs");
    set->count = 1;
    set->gpu[0].core = worker->timing_core;
    HONE_TRY(identify(set, name, &gpus, err));
    HONE_TRY(compile_own(worker, peaks, peak_objects, err));
    hone__buf line;
    hone__buf_init(&line, 2048);
    hone__buf_text(&line, ",\"op\":\"open\",\"helper\":");
    hone__buf_json_string(&line, set->helper);
    set->open_line = hone__buf_take(&line);
    if (set->open_line == NULL)
        return hone__fail(err, HONE_E_NOMEM, "worker", "no memory for the GPUs");
    HONE_TRY(open_all(set, gpus, strcmp(name, "cuda:all") == 0, err));
    if (peak_objects->length > 0 && peak_objects->status == HONE_OK)
        take_peaks(set, peak_objects);
    return HONE_OK;
}

void hone__gpu_hello(hone__worker *worker, uint64_t id, const char *name, bool peaks) {
    static const char *const rates[HONE_GPU_PEAKS] = {"gbps", "gflops", "tf32_gflops", "fp16_gflops", "bf16_gflops"};
    hone_error err = {0};
    hone__buf peak_objects;
    hone__buf_init(&peak_objects, 4096);
    hone_status status = worker->gpus == NULL ? open_set(worker, name, peaks, &peak_objects, &err) : HONE_OK;
    hone__buf_free(&peak_objects);
    if (status != HONE_OK) {
        hone__worker_refuse(worker, id, "hello", err.code == HONE_E_UNSUPPORTED ? "unsupported" : "no_device", err.message);
        hone__gpu_end(worker);
        return;
    }
    const hone__gpu_set *set = worker->gpus;
    hone__buf line;
    hone__buf_init(&line, HONE_LIMIT_MESSAGE_BYTES);
    hone__buf_printf(&line, "{\"id\":%llu,\"ok\":true,\"protocol\":1,\"evaluator\":\"hone-worker %s, NVRTC %d.%d\",\"parallel\":%u,\"measures\":%u,\"compare\":true,\"cancel\":true,\"device\":",
                     (unsigned long long)id, HONE_VERSION_STRING, set->nvrtc->major, set->nvrtc->minor, worker->parallel, set->count);
    hone__json_print(&line, set->device);
    hone__buf_text(&line, ",\"peaks\":{");
    for (uint32_t i = 0; i < HONE_GPU_PEAKS; i++) {
        hone__buf_printf(&line, "%s\"%s\":", i > 0 ? "," : "", rates[i]);
        if (set->peak[i] > 0.0)
            hone__buf_json_double(&line, set->peak[i]);
        else
            hone__buf_text(&line, "null");
    }
    hone__buf_text(&line, "}}");
    hone__worker_line(worker, &line);
}

/* ---- prepare ---- */

static hone_status compile_reference(hone__worker *worker, const cJSON *reference, hone__build *build, hone_error *err) {
    const hone__problem *problem = &worker->problem;
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(reference, "compile");
    if (cJSON_IsObject(config)) {
        HONE_TRY(hone__gpu_build_start(worker, build, problem->source, problem->source_path, problem->include_dir, problem->entry,
                                       cJSON_GetObjectItemCaseSensitive(config, "defines"), cJSON_GetObjectItemCaseSensitive(config, "options"), err));
    } else {
        const char *source = hone__json_string(reference, "source"), *entry = hone__json_string(reference, "entry");
        const char *path = hone__json_string(reference, "source_path"), *folder = hone__json_string(reference, "include_dir");
        if (entry == NULL)
            return hone__fail(err, HONE_E_ARG, "worker", "prepare: the reference has neither entry nor compile");
        HONE_TRY(hone__gpu_build_start(worker, build, source != NULL ? source : problem->source, path != NULL ? path : problem->source_path,
                                       folder != NULL ? folder : problem->include_dir, entry, NULL,
                                       cJSON_GetObjectItemCaseSensitive(reference, "options"), err));
    }
    hone__build_wait(build);
    if (build->outcome != HONE_OUTCOME_OK)
        return hone__fail(err, HONE_E_EVALUATOR, "worker", "the reference does not compile: %s", build->reason);
    return HONE_OK;
}

/* The request's members without id and op, and where the reference's code is: what each child is told, now or when it replaces another. */
static char *prepare_body(const cJSON *request, const char *object, const cJSON *launch) {
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_MESSAGE_BYTES + 32768);
    hone__buf_text(&buf, ",\"op\":\"prepare\"");
    const cJSON *item;
    cJSON_ArrayForEach(item, request) {
        if (strcmp(item->string, "id") == 0 || strcmp(item->string, "op") == 0)
            continue;
        hone__buf_char(&buf, ',');
        hone__buf_json_string(&buf, item->string);
        hone__buf_char(&buf, ':');
        hone__json_print(&buf, item);
    }
    if (object != NULL) {
        hone__buf_text(&buf, ",\"reference_object\":");
        hone__buf_json_string(&buf, object);
        hone__buf_text(&buf, ",\"reference_launch\":");
        hone__json_print(&buf, launch);
    }
    return hone__buf_take(&buf);
}

static hone_status tell_all(hone__worker *worker, hone_error *err) {
    hone__gpu_set *set = worker->gpus;
    hone_status status = HONE_OK;
    double limit = 10.0 * worker->problem.run_s > 60.0 ? 10.0 * worker->problem.run_s : 60.0;
    for (uint32_t i = 0; i < set->count; i++) {
        hone__gpu *gpu = &set->gpu[i];
        if (!gpu->up) {
            HONE_TRY(hone__gpu_start_child(gpu, err));
            HONE_TRY(hone__gpu_send_body(gpu, 1, set->open_line));
            gpu->dues = 2;
        }
        HONE_TRY(hone__gpu_send_body(gpu, 3, set->prepare_line));
    }
    for (uint32_t i = 0; i < set->count; i++) {
        hone__gpu *gpu = &set->gpu[i];
        hone_error why = {0};
        cJSON *reply = NULL;
        for (uint32_t due = gpu->dues + 1; due > 0; due--) {
            cJSON_Delete(reply);
            reply = await_line(gpu, limit + HONE_GPU_START_S, &why);
            if (!hone__gpu_ok(reply))
                break;
        }
        gpu->dues = 0;
        if (reply != NULL && !hone__gpu_ok(reply))
            (void)hone__fail(&why, HONE_E_EVALUATOR, "worker", "%s", hone__gpu_said(reply));
        if (!hone__gpu_ok(reply)) {
            hone__gpu_stop_child(gpu); /* whatever state it is in; the next prepare starts one */
            if (err != NULL && status == HONE_OK)
                *err = why;
            status = HONE_E_EVALUATOR;
        }
        cJSON_Delete(reply);
    }
    return status;
}

void hone__gpu_prepare(hone__worker *worker, uint64_t id, const cJSON *request) {
    static hone__build build;
    hone__gpu_set *set = worker->gpus;
    hone_error err = {0};
    const cJSON *reference = cJSON_GetObjectItemCaseSensitive(request, "reference");
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(reference, "compile");
    const cJSON *geometry = cJSON_GetObjectItemCaseSensitive(cJSON_IsObject(config) ? config : reference, "launch");
    const char *code = "bad_request";
    hone__worker_forget(worker);
    hone__free(set->prepare_line);
    set->prepare_line = NULL;
    uint64_t start = hone__clock_ns();
    hone_status status = hone__problem_read(&worker->problem, request, "cuda", &err);
    if (status == HONE_E_UNSUPPORTED)
        code = "unsupported";
    if (status == HONE_OK && worker->problem.has_reference) {
        code = "reference_failed";
        status = compile_reference(worker, reference, &build, &err);
    }
    if (status == HONE_OK) {
        set->prepare_line = prepare_body(request, worker->problem.has_reference ? build.object : NULL, geometry);
        status = set->prepare_line == NULL ? hone__fail(&err, HONE_E_LIMIT, "worker", "the problem does not fit into a message") : tell_all(worker, &err);
        code = worker->problem.has_reference ? "reference_failed" : "bad_request";
    }
    if (status != HONE_OK) {
        hone__free(set->prepare_line);
        set->prepare_line = NULL;
        hone__problem_clear(&worker->problem);
        hone__worker_refuse(worker, id, "prepare", code, err.message);
        return;
    }
    hone__buf line;
    hone__buf_init(&line, 256);
    hone__buf_printf(&line, "{\"id\":%llu,\"ok\":true,\"reference\":%s,\"reference_ms\":%.3f}", (unsigned long long)id,
                     worker->problem.has_reference ? "true" : "false", (double)(hone__clock_ns() - start) * 1e-6);
    hone__worker_line(worker, &line);
}

