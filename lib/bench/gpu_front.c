/* gpu_front.c: the worker's side of its GPUs' children while it measures: handing out work, watching for hangs, relaying replies, replacing
 * what was lost.  A child that was lost is started again at once, with its problem, while the client thinks about the next config. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "gpu_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define FAILED_STARTS_MAX 3u

/* ---- measurements ---- */

bool hone__gpu_busy(const hone__worker *worker, bool all) {
    const hone__gpu_set *set = worker->gpus;
    uint32_t busy = 0;
    for (uint32_t i = 0; i < set->count; i++)
        busy += set->gpu[i].job != 0;
    return all ? busy == set->count : busy > 0;
}

static void start_job(hone__worker *worker, hone__gpu *gpu, uint64_t id, hone__trial_kind kind, double limit_s, const hone__buf *body) {
    hone_status status = body->status;
    gpu->kind = kind;
    gpu->limit_s = limit_s;
    gpu->sent_ns = hone__clock_ns();
    if (status == HONE_OK && !gpu->up)
        status = HONE_E_EVALUATOR;
    if (status == HONE_OK)
        status = hone__gpu_send_body(gpu, id, body->data);
    if (status == HONE_OK)
        gpu->job = id;
    else
        hone__worker_refuse(worker, id, kind == HONE_TRIAL_COMPARE ? "compare" : "run", "evaluator_error", "the GPU's process cannot be reached");
}

static void put_item(hone__buf *body, const hone__module *module) {
    hone__buf_text(body, "\"object\":");
    hone__buf_json_string(body, module->object);
    hone__buf_text(body, ",\"launch\":");
    hone__gpu_launch_print(body, &module->launch);
}

static void put_number(hone__buf *body, const cJSON *request, const char *name) {
    hone__buf_printf(body, ",\"%s\":", name);
    hone__buf_json_double(body, hone__json_number(request, name, 0.0));
}

/* A config of the same machine code and launch has its time already: it is the same kernel. */
static bool answer_from_twin(hone__worker *worker, uint64_t id, const hone__module *module) {
    for (uint32_t i = 0; i < worker->module_count; i++) {
        const hone__module *twin = &worker->module[i];
        if (twin == module || twin->answer == NULL || memcmp(twin->hash, module->hash, sizeof twin->hash) != 0 ||
            memcmp(&twin->launch, &module->launch, sizeof twin->launch) != 0)
            continue;
        hone__buf line;
        hone__buf_init(&line, HONE_LIMIT_MESSAGE_BYTES);
        hone__buf_printf(&line, "{\"id\":%llu,\"same_as\":%lld%s", (unsigned long long)id, (long long)(worker->handle_base + i), twin->answer);
        hone__worker_line(worker, &line);
        return true;
    }
    return false;
}

void hone__gpu_measure(hone__worker *worker, uint64_t id, uint32_t index, const cJSON *request) {
    hone__gpu_set *set = worker->gpus;
    const hone__module *module = &worker->module[index];
    if (answer_from_twin(worker, id, module))
        return;
    hone__gpu *gpu = &set->gpu[0];
    for (uint32_t i = set->count; i > 0; i--) {
        if (set->gpu[i - 1].job == 0)
            gpu = &set->gpu[i - 1];
    }
    hone__buf body;
    hone__buf_init(&body, 16384);
    hone__buf_text(&body, ",\"op\":\"measure\",");
    put_item(&body, module);
    put_number(&body, request, "precision");
    put_number(&body, request, "budget_ms");
    put_number(&body, request, "incumbent_ns");
    gpu->module = index;
    gpu->incumbent_ns = hone__json_number(request, "incumbent_ns", 0.0);
    start_job(worker, gpu, id, HONE_TRIAL_MEASURE, worker->problem.run_s, &body);
    hone__buf_free(&body);
}

void hone__gpu_compare(hone__worker *worker, uint64_t id, const cJSON *request, const uint32_t *index, uint32_t count) {
    hone__gpu *gpu = &worker->gpus->gpu[0];
    hone__buf body;
    hone__buf_init(&body, HONE_LIMIT_MESSAGE_BYTES);
    hone__buf_text(&body, ",\"op\":\"compare\",\"items\":[");
    for (uint32_t i = 0; i < count; i++) {
        hone__buf_text(&body, i > 0 ? ",{" : "{");
        put_item(&body, &worker->module[index[i]]);
        hone__buf_char(&body, '}');
    }
    hone__buf_char(&body, ']');
    put_number(&body, request, "rounds");
    put_number(&body, request, "budget_ms");
    gpu->incumbent_ns = 0.0;
    memcpy(worker->trial.handle, index, count * sizeof *index);
    worker->trial.count = count;
    start_job(worker, gpu, id, HONE_TRIAL_COMPARE, worker->problem.run_s * count + 2e-3 * hone__json_number(request, "budget_ms", 0.0), &body);
    hone__buf_free(&body);
}

/* ---- replies ---- */

static void fail_job(hone__worker *worker, hone__gpu *gpu, const hone__measurement *result, int64_t subject) {
    uint64_t id = gpu->job;
    gpu->job = 0;
    if (gpu->kind == HONE_TRIAL_COMPARE) {
        int64_t handle = subject >= 0 && subject < worker->trial.count ? worker->handle_base + worker->trial.handle[subject] : -1;
        hone__worker_refuse_result(worker, id, "compare", result, handle);
        return;
    }
    hone__module *module = &worker->module[gpu->module];
    module->failed = result->outcome == HONE_OUTCOME_CRASH || result->outcome == HONE_OUTCOME_WRONG || result->outcome == HONE_OUTCOME_NAN ||
                     result->outcome == HONE_OUTCOME_LAUNCH_ERROR || result->outcome == HONE_OUTCOME_RESOURCES;
    module->failure = *result;
    hone__worker_refuse_result(worker, id, "run", result, -1);
}

__attribute__((format(printf, 4, 5))) static void fail_with(hone__worker *worker, hone__gpu *gpu, hone__outcome outcome, const char *format, ...) {
    hone__measurement result = {.outcome = outcome};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(result.reason, sizeof result.reason, format, args);
    va_end(args);
    fail_job(worker, gpu, &result, -1);
}

/* End the child and start the next one, which gets ready while the client chooses its next config. */
static void replace(hone__worker *worker, hone__gpu *gpu) {
    hone__gpu_set *set = worker->gpus;
    hone_error err = {0};
    hone__gpu_stop_child(gpu);
    if (set->failed_starts >= FAILED_STARTS_MAX) {
        (void)dprintf(2, "hone worker: GPU %d does not come back\n", gpu->ordinal);
        worker->finished = true; /* the client starts us again, or gives up */
        return;
    }
    if (hone__gpu_start_child(gpu, &err) != HONE_OK || hone__gpu_send_body(gpu, 1, set->open_line) != HONE_OK) {
        set->failed_starts++;
        return;
    }
    gpu->dues = 2;
    if (set->prepare_line != NULL && hone__gpu_send_body(gpu, 3, set->prepare_line) == HONE_OK)
        gpu->dues++;
}

static void take_due(hone__worker *worker, hone__gpu *gpu, const cJSON *reply) {
    if (hone__gpu_ok(reply)) {
        worker->gpus->failed_starts = --gpu->dues == 0 ? 0 : worker->gpus->failed_starts;
        return;
    }
    worker->gpus->failed_starts++;
    if (gpu->job != 0)
        fail_with(worker, gpu, HONE_OUTCOME_EVALUATOR, "the GPU's process was replaced, and its successor does not start: %.300s", hone__gpu_said(reply));
    replace(worker, gpu);
}

static void take_job(hone__worker *worker, hone__gpu *gpu, const cJSON *reply, const char *line, size_t bytes) {
    if (!hone__gpu_ok(reply)) {
        hone__measurement result = {.outcome = HONE_OUTCOME_EVALUATOR};
        int64_t subject = -1;
        hone__reply_error(reply, &result);
        (void)hone__json_int(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(reply, "error"), "subject"), &subject);
        fail_job(worker, gpu, &result, subject);
        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "lost")))
            replace(worker, gpu);
        return;
    }
    hone__buf out;
    hone__buf_init(&out, HONE_LIMIT_MESSAGE_BYTES);
    hone__buf_bytes(&out, line, bytes);
    if (gpu->kind == HONE_TRIAL_MEASURE) {
        const char *rest = memchr(line, ',', bytes); /* behind {"id":N */
        hone__module *module = &worker->module[gpu->module];
        if (rest != NULL && module->answer == NULL)
            module->answer = hone__strndup(rest, bytes - (size_t)(rest - line));
    }
    gpu->job = 0;
    hone__worker_line(worker, &out);
}

static void take_lines(hone__worker *worker, hone__gpu *gpu) {
    const char *line = NULL;
    size_t bytes = 0;
    while (gpu->up && hone__channel_line(&gpu->channel, &line, &bytes)) {
        cJSON *reply = NULL;
        if (hone__json_parse(&reply, line, bytes, "reply", NULL) != HONE_OK)
            gpu->channel.broken = true;
        else if (gpu->dues > 0)
            take_due(worker, gpu, reply);
        else if (gpu->job != 0)
            take_job(worker, gpu, reply, line, bytes);
        cJSON_Delete(reply);
    }
}

/* ---- watching ---- */

static void watch_end(hone__worker *worker, hone__gpu *gpu) {
    char how[400];
    bool begun = gpu->slate->job == gpu->job && gpu->dues == 0;
    int32_t stage = gpu->slate->stage;
    hone__gpu_describe_end(gpu, how, sizeof how);
    if (gpu->dues > 0)
        worker->gpus->failed_starts++;
    if (gpu->job != 0)
        fail_with(worker, gpu, begun ? HONE_OUTCOME_CRASH : HONE_OUTCOME_EVALUATOR, "%.360s, in %s", how, hone__stage_name(stage));
    replace(worker, gpu);
}

static void watch_time(hone__worker *worker, hone__gpu *gpu) {
    const hone__gpu_slate *slate = gpu->slate;
    uint64_t now = hone__clock_ns();
    if (gpu->dues > 0 || slate->job != gpu->job) { /* not begun: a successor is starting */
        if ((double)(now - gpu->sent_ns) * 1e-9 > HONE_GPU_START_S) {
            worker->gpus->failed_starts++;
            fail_with(worker, gpu, HONE_OUTCOME_EVALUATOR, "the GPU's process did not start within %.0f s", HONE_GPU_START_S);
            replace(worker, gpu);
        }
        return;
    }
    int32_t stage = slate->stage;
    double spent_s = now > slate->job_since_ns ? (double)(now - slate->job_since_ns) * 1e-9 : 0.0;
    double in_stage_s = now > slate->stage_since_ns ? (double)(now - slate->stage_since_ns) * 1e-9 : 0.0;
    double patience_s = 200e-9 * gpu->incumbent_ns > 2.0 ? 200e-9 * gpu->incumbent_ns : 2.0;
    if (spent_s > gpu->limit_s) {
        fail_with(worker, gpu, HONE_OUTCOME_TIMEOUT, "hung or too slow: ended after its limit of %.3g s in %s", gpu->limit_s, hone__stage_name(stage));
        replace(worker, gpu);
    } else if (gpu->incumbent_ns > 0.0 && stage == HONE_STAGE_CHECK && in_stage_s > patience_s) {
        fail_with(worker, gpu, HONE_OUTCOME_TIMEOUT, "ended after %.3g s in its first run, more than 200 times the best config's time", in_stage_s);
        replace(worker, gpu);
    }
}

void hone__gpu_step(hone__worker *worker) {
    hone__gpu_set *set = worker->gpus;
    for (uint32_t i = 0; i < set->count && !worker->finished; i++) {
        hone__gpu *gpu = &set->gpu[i];
        if (!gpu->up)
            continue;
        hone__channel_move(&gpu->channel, 0);
        take_lines(worker, gpu);
        if (gpu->up && (gpu->channel.out_closed || gpu->channel.broken))
            watch_end(worker, gpu);
        else if (gpu->up && gpu->job != 0)
            watch_time(worker, gpu);
    }
}

uint32_t hone__gpu_fds(const hone__worker *worker, int *fd, uint32_t max) {
    uint32_t count = 0;
    for (uint32_t i = 0; worker->gpus != NULL && i < worker->gpus->count; i++) {
        const hone__gpu *gpu = &worker->gpus->gpu[i];
        if (gpu->up && count + 2 <= max) {
            fd[count++] = gpu->channel.process.out_fd;
            fd[count++] = gpu->channel.process.err_fd;
        }
    }
    return count;
}

void hone__gpu_end(hone__worker *worker) {
    hone__gpu_set *set = worker->gpus;
    if (set == NULL)
        return;
    for (uint32_t i = 0; i < set->count; i++) {
        hone__gpu_stop_child(&set->gpu[i]);
        if (set->gpu[i].slate != NULL)
            (void)munmap(set->gpu[i].slate, sizeof *set->gpu[i].slate);
    }
    cJSON_Delete(set->device);
    hone__free(set->open_line);
    hone__free(set->prepare_line);
    hone__free(set);
    worker->gpus = NULL;
}
