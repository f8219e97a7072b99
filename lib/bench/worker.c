/* worker.c: the built-in evaluator: reads requests (spec/evaluator.md) from stdin, answers on stdout.  One thread and one poll loop:
 * compilers run beside, one kernel at a time runs on the timing core. */
#define _GNU_SOURCE
#include "alloc.h"
#include "device.h"
#include "file.h"
#include "hash.h"
#include "gpu_internal.h"
#include "reply_line.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- replies ---- */

void hone__worker_line(hone__worker *worker, hone__buf *line) {
    worker->finished = !hone__reply_write(worker->out_fd, line) || worker->finished;
}

void hone__worker_refuse(hone__worker *worker, uint64_t id, const char *stage, const char *code, const char *message) {
    hone__buf line;
    hone__reply_begin(&line, id, false);
    hone__buf_text(&line, ",\"error\":{\"stage\":");
    hone__buf_json_string(&line, stage);
    hone__buf_text(&line, ",\"code\":");
    hone__buf_json_string(&line, code);
    hone__buf_text(&line, ",\"message\":");
    hone__buf_json_string(&line, message);
    hone__buf_text(&line, "}}");
    hone__worker_line(worker, &line);
}

void hone__worker_refuse_result(hone__worker *worker, uint64_t id, const char *stage, const hone__measurement *result, int64_t handle) {
    hone__buf line;
    hone__reply_begin(&line, id, false);
    hone__reply_failed(&line, stage, result);
    if (handle >= 0)
        hone__buf_printf(&line, ",\"handle\":%lld", (long long)handle);
    const hone__problem *problem = &worker->problem;
    if (result->outcome == HONE_OUTCOME_RESOURCES || result->outcome == HONE_OUTCOME_TIMEOUT || result->outcome == HONE_OUTCOME_COMPILE_TIMEOUT) {
        hone__buf_text(&line, ",\"limits\":{\"compile_s\":");
        hone__buf_json_double(&line, problem->compile_s);
        hone__reply_number(&line, "run_s", problem->run_s);
        hone__buf_printf(&line, ",\"memory_bytes\":%llu,\"output_bytes\":%llu}", (unsigned long long)problem->memory_bytes,
                         (unsigned long long)problem->output_bytes);
    }
    hone__buf_text(&line, "}}");
    hone__worker_line(worker, &line);
}

/* ---- hello ---- */

static void do_hello(hone__worker *worker, uint64_t id, const cJSON *request) {
    const char *name = hone__json_string(request, "device");
    if (hone__device_is_cuda(name)) {
        hone__gpu_hello(worker, id, name, cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "peaks")));
        return;
    }
    if (name != NULL && strcmp(name, "cpu") != 0) {
        char text[200];
        (void)snprintf(text, sizeof text, "the built-in evaluator tunes on devices \"cpu\" and \"cuda:N\"; \"%.60s\" needs an evaluator of its own", name);
        hone__worker_refuse(worker, id, "hello", "no_device", text);
        return;
    }
    if (worker->device == NULL) {
        hone__worker_refuse(worker, id, "hello", "no_device", "this machine's CPU cannot be identified");
        return;
    }
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "peaks")))
        hone__worker_peaks(worker);
    cJSON *json = hone__device_to_json(worker->device);
    hone__buf line;
    hone__reply_begin(&line, id, true);
    hone__buf_printf(&line, ",\"protocol\":1,\"evaluator\":\"hone-worker %s\",\"parallel\":%u,\"compare\":true,\"cancel\":true,\"device\":", HONE_VERSION_STRING,
                     worker->parallel);
    if (json != NULL)
        hone__json_print(&line, json);
    else
        hone__buf_text(&line, "null");
    hone__buf_text(&line, ",\"peaks\":{\"gbps\":");
    hone__buf_json_double(&line, worker->peak_gbps > 0.0 ? worker->peak_gbps : strtod("nan", NULL));
    hone__reply_number(&line, "gflops", worker->peak_gflops > 0.0 ? worker->peak_gflops : strtod("nan", NULL));
    hone__buf_text(&line, "}}");
    hone__worker_line(worker, &line);
    cJSON_Delete(json);
}

/* ---- compile ---- */

static hone__build *free_build(hone__worker *worker) {
    for (uint32_t i = 0; i < worker->parallel && i < HONE_WORKER_JOBS_MAX; i++) {
        if (!worker->build[i].active)
            return &worker->build[i];
    }
    return NULL;
}

static hone__module *new_module(hone__worker *worker) {
    if (worker->module_count == worker->module_capacity) {
        uint32_t capacity = worker->module_capacity == 0 ? 64 : 2 * worker->module_capacity;
        hone__module *grown = hone__realloc(worker->module, capacity * sizeof *grown);
        if (grown == NULL)
            return NULL;
        worker->module = grown;
        worker->module_capacity = capacity;
    }
    hone__module *module = &worker->module[worker->module_count++];
    memset(module, 0, sizeof *module);
    return module;
}

static void answer_compile(hone__worker *worker, uint64_t id, double ms, const hone__module *module) {
    hone__buf line;
    hone__reply_begin(&line, id, true);
    hone__buf_printf(&line, ",\"handle\":%lld", (long long)(worker->handle_base + (int64_t)(module - worker->module)));
    hone__reply_number(&line, "compile_ms", ms);
    hone__buf_printf(&line, ",\"resources\":{\"object_bytes\":%llu}}", (unsigned long long)module->bytes);
    hone__worker_line(worker, &line);
}

/* What no device can launch is not compiled; what only the launch tells apart is compiled once. */
static void start_gpu_compile(hone__worker *worker, hone__build *build, uint64_t id, const cJSON *request) {
    const hone__problem *problem = &worker->problem;
    const cJSON *defines = cJSON_GetObjectItemCaseSensitive(request, "defines"), *options = cJSON_GetObjectItemCaseSensitive(request, "options");
    hone__measurement refused = {.outcome = HONE_OUTCOME_RESOURCES};
    hone__gpu_launch launch;
    uint64_t key[2];
    hone_error err = {0};
    if (!hone__gpu_launch_read(cJSON_GetObjectItemCaseSensitive(request, "launch"), &launch)) {
        hone__worker_refuse(worker, id, "compile", "bad_request", "launch needs grid and block, 1 to 3 integers from 1 each");
        return;
    }
    if (!hone__gpu_launch_fits(&worker->gpus->limits, &launch, refused.reason, sizeof refused.reason)) {
        hone__worker_refuse_result(worker, id, "compile", &refused, -1);
        return;
    }
    hone__gpu_source_key(problem->source, defines, options, key);
    for (uint32_t i = 0; i < worker->module_count && key[0] != 0; i++) {
        if (memcmp(worker->module[i].source_key, key, sizeof key) != 0)
            continue;
        hone__module *module = new_module(worker);
        if (module == NULL)
            break;
        *module = worker->module[i];
        module->launch = launch;
        module->failed = false; /* with another launch it may run */
        module->answer = NULL;
        answer_compile(worker, id, 0.0, module);
        return;
    }
    hone_status status = hone__gpu_build_start(worker, build, problem->source, problem->source_path, problem->include_dir, problem->entry, defines,
                                               options, &err);
    build->launch = launch;
    memcpy(build->source_key, key, sizeof key);
    if (status != HONE_OK) {
        build->active = false;
        hone__worker_refuse(worker, id, "compile", status == HONE_E_ARG ? "compile_error" : "evaluator_error", err.message);
    }
}

static void start_compile(hone__worker *worker, hone__build *build, uint64_t id, const cJSON *request) {
    hone_error err = {0};
    if (!worker->problem.ready) {
        hone__worker_refuse(worker, id, "compile", "bad_request", "nothing is prepared");
        return;
    }
    build->request = id;
    if (worker->gpus != NULL) {
        start_gpu_compile(worker, build, id, request);
        return;
    }
    if (hone__build_start(worker, build, "kernel.c", cJSON_GetObjectItemCaseSensitive(request, "defines"),
                          cJSON_GetObjectItemCaseSensitive(request, "options"), &err) != HONE_OK) {
        build->active = false;
        hone__worker_refuse(worker, id, "compile", "evaluator_error", err.message);
    }
}

static void finish_compile(hone__worker *worker, hone__build *build) {
    hone_error err = {0};
    if (build->outcome != HONE_OUTCOME_OK) {
        hone__measurement result = {.outcome = build->outcome};
        (void)snprintf(result.reason, sizeof result.reason, "%s", build->reason);
        hone__worker_refuse_result(worker, build->request, "compile", &result, -1);
        return;
    }
    char *code = NULL;
    size_t bytes = 0;
    hone__module *module = NULL;
    if (hone__file_read(build->object, (size_t)1 << 31, &code, &bytes, &err) == HONE_OK)
        module = new_module(worker);
    if (module == NULL) {
        hone__free(code);
        hone__worker_refuse(worker, build->request, "compile", "evaluator_error", err.message);
        return;
    }
    hone__hash hash = hone__hash_bytes(code, bytes);
    hone__free(code);
    memcpy(module->hash, &hash, sizeof hash);
    memcpy(module->object, build->object, sizeof module->object);
    module->bytes = bytes;
    module->launch = build->launch;
    memcpy(module->source_key, build->source_key, sizeof module->source_key);
    answer_compile(worker, build->request, build->ms, module);
}

/* Nobody waits any more for the compiles of these ids, asked for before: end them, begun or not. */
static void do_cancel(hone__worker *worker, uint64_t id, const cJSON *request) {
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(request, "ids")) {
        int64_t wanted = 0, waiting = 0;
        if (!hone__json_int(item, &wanted) || wanted <= 0)
            continue;
        for (uint32_t i = 0; i < HONE_WORKER_JOBS_MAX; i++) {
            hone__build *build = &worker->build[i];
            if (!build->active || build->request != (uint64_t)wanted)
                continue;
            build->outcome = HONE_OUTCOME_COMPILE_ERROR;
            hone__build_kill(build);
            hone__worker_refuse(worker, (uint64_t)wanted, "compile", "cancelled", "nobody waits for it any more");
        }
        cJSON *next;
        for (cJSON *queued = worker->inbox->child; queued != NULL && queued != request; queued = next) {
            const char *op = hone__json_string(queued, "op");
            next = queued->next;
            if (op == NULL || strcmp(op, "compile") != 0 || !hone__json_int(cJSON_GetObjectItemCaseSensitive(queued, "id"), &waiting) || waiting != wanted)
                continue;
            hone__worker_refuse(worker, (uint64_t)wanted, "compile", "cancelled", "nobody waits for it any more");
            cJSON_Delete(cJSON_DetachItemViaPointer(worker->inbox, queued));
        }
    }
    hone__buf line;
    hone__reply_begin(&line, id, true);
    hone__buf_char(&line, '}');
    hone__worker_line(worker, &line);
}

/* ---- measure and compare ---- */

static hone__module *find_module(hone__worker *worker, const cJSON *item, uint32_t *index) {
    int64_t handle = -1;
    if (!hone__json_int(item, &handle) || handle < worker->handle_base || handle - worker->handle_base >= (int64_t)worker->module_count)
        return NULL;
    *index = (uint32_t)(handle - worker->handle_base);
    return &worker->module[*index];
}

static double positive(const cJSON *request, const char *name, double fallback) {
    double value = hone__json_number(request, name, fallback);
    return value > 0.0 && value < 1e15 ? value : fallback;
}

static void start_trial(hone__worker *worker, hone__trial *trial, const char *stage) {
    hone_error err = {0};
    if (hone__trial_start(worker, trial, &err) != HONE_OK) {
        trial->active = false;
        hone__worker_refuse(worker, trial->request, stage, "evaluator_error", err.message);
    }
}

static void do_measure(hone__worker *worker, uint64_t id, const cJSON *request) {
    uint32_t index = 0;
    const hone__module *module = find_module(worker, cJSON_GetObjectItemCaseSensitive(request, "handle"), &index);
    if (module == NULL) {
        hone__worker_refuse(worker, id, "measure", "bad_request", "no such handle");
        return;
    }
    for (uint32_t i = 0; i < worker->module_count; i++) {
        const hone__module *other = &worker->module[i];
        if (!other->failed || memcmp(other->hash, module->hash, sizeof other->hash) != 0 ||
            memcmp(&other->launch, &module->launch, sizeof other->launch) != 0)
            continue;
        hone__worker_refuse_result(worker, id, "run", &other->failure, -1); /* the very same machine code has failed before */
        return;
    }
    if (worker->gpus != NULL) {
        hone__gpu_measure(worker, id, index, request);
        return;
    }
    hone__trial *trial = &worker->trial;
    *trial = (hone__trial){.kind = HONE_TRIAL_MEASURE,
                           .request = id,
                           .handle = {index},
                           .object = {module->object},
                           .count = 1,
                           .precision = positive(request, "precision", 0.01),
                           .budget_ms = positive(request, "budget_ms", 500.0),
                           .incumbent_ns = positive(request, "incumbent_ns", 0.0),
                           .run_s = worker->problem.run_s};
    start_trial(worker, trial, "run");
}

static void do_compare(hone__worker *worker, uint64_t id, const cJSON *request) {
    const cJSON *handles = cJSON_GetObjectItemCaseSensitive(request, "handles");
    hone__trial *trial = &worker->trial;
    *trial = (hone__trial){.kind = HONE_TRIAL_COMPARE,
                           .request = id,
                           .rounds = (uint32_t)positive(request, "rounds", 5.0),
                           .budget_ms = positive(request, "budget_ms", 1000.0)};
    const cJSON *item;
    cJSON_ArrayForEach(item, handles) {
        const hone__module *module = trial->count < 64 ? find_module(worker, item, &trial->handle[trial->count]) : NULL;
        if (module == NULL) {
            hone__worker_refuse(worker, id, "compare", "bad_request", "no such handle, or more than 64 of them");
            return;
        }
        trial->object[trial->count++] = module->object;
    }
    if (trial->count == 0) {
        hone__worker_refuse(worker, id, "compare", "bad_request", "no handles");
        return;
    }
    if (worker->gpus != NULL) {
        hone__gpu_compare(worker, id, request, trial->handle, trial->count);
        return;
    }
    trial->run_s = worker->problem.run_s * trial->count + trial->budget_ms * 2e-3;
    start_trial(worker, trial, "compare");
}

static bool sane(double ns) {
    return ns >= 1e-3 && ns <= 1e13; /* false for NaN */
}

static void answer_measure(hone__worker *worker, const hone__trial *trial, hone__measurement *result) {
    bool good = result->outcome == HONE_OUTCOME_OK || result->outcome == HONE_OUTCOME_SLOW;
    if (good && (!sane(result->median_ns) || !sane(result->low_ns) || !sane(result->high_ns) || result->samples == 0)) {
        *result = (hone__measurement){.outcome = HONE_OUTCOME_CRASH};
        (void)snprintf(result->reason, sizeof result->reason, "the kernel overwrote its own measurements");
        good = false;
    }
    if (!good) {
        bool lasting = result->outcome == HONE_OUTCOME_CRASH || result->outcome == HONE_OUTCOME_WRONG || result->outcome == HONE_OUTCOME_NAN ||
                       result->outcome == HONE_OUTCOME_LAUNCH_ERROR;
        worker->module[trial->handle[0]].failed = lasting;
        worker->module[trial->handle[0]].failure = *result;
        hone__worker_refuse_result(worker, trial->request, "run", result, -1);
        return;
    }
    hone__buf line;
    hone__reply_begin(&line, trial->request, true);
    hone__reply_measured(&line, result);
    hone__buf_printf(&line, ",\"resources\":{\"object_bytes\":%llu}}", (unsigned long long)worker->module[trial->handle[0]].bytes);
    hone__worker_line(worker, &line);
}

static void answer_compare(hone__worker *worker, const hone__trial *trial, hone__measurement *result) {
    const hone__slate *slate = trial->slate;
    uint32_t rounds = slate->count;
    if (result->outcome == HONE_OUTCOME_OK && (rounds == 0 || rounds > HONE_LIMIT_SAMPLES / trial->count))
        result->outcome = HONE_OUTCOME_CRASH;
    if (result->outcome != HONE_OUTCOME_OK) {
        int32_t subject = slate->subject;
        int64_t handle = subject >= 0 && subject < (int32_t)trial->count ? worker->handle_base + (int64_t)trial->handle[subject] : -1;
        hone__worker_refuse_result(worker, trial->request, "compare", result, handle);
        return;
    }
    hone__buf line;
    hone__reply_begin(&line, trial->request, true);
    hone__buf_printf(&line, ",\"rounds\":%u,\"samples_ns\":[", rounds);
    for (uint32_t i = 0; i < trial->count; i++) {
        hone__buf_char(&line, i > 0 ? ',' : ' ');
        for (uint32_t r = 0; r < rounds; r++) {
            hone__buf_char(&line, r > 0 ? ',' : '[');
            hone__buf_json_double(&line, slate->sample[r * trial->count + i]);
        }
        hone__buf_char(&line, ']');
    }
    hone__buf_text(&line, "]}");
    hone__worker_line(worker, &line);
}

static void finish_trial(hone__worker *worker) {
    hone__trial *trial = &worker->trial;
    hone__measurement result = trial->slate->result;
    result.reason[sizeof result.reason - 1] = '\0';
    if ((unsigned)result.outcome >= HONE_OUTCOME_COUNT)
        result.outcome = HONE_OUTCOME_CRASH;
    if (trial->kind == HONE_TRIAL_COMPARE)
        answer_compare(worker, trial, &result);
    else
        answer_measure(worker, trial, &result);
    hone__trial_end(trial);
}

/* ---- prepare ---- */

void hone__worker_forget(hone__worker *worker) {
    for (uint32_t i = 0; i < HONE_WORKER_JOBS_MAX; i++) {
        if (worker->build[i].active) {
            worker->build[i].outcome = HONE_OUTCOME_COMPILE_ERROR;
            hone__build_kill(&worker->build[i]);
        }
    }
    for (uint32_t i = 0; i < worker->module_count; i++) {
        (void)unlink(worker->module[i].object);
        hone__free(worker->module[i].answer);
    }
    worker->handle_base += worker->module_count;
    worker->module_count = 0;
    hone__problem_clear(&worker->problem);
}

static void do_prepare(hone__worker *worker, uint64_t id, const cJSON *request) {
    hone_error err = {0};
    char code[32] = "bad_request";
    if (worker->gpus != NULL) {
        hone__gpu_prepare(worker, id, request);
        return;
    }
    hone__worker_forget(worker);
    double reference_ms = 0.0;
    hone_status status = hone__problem_read(&worker->problem, request, "c", &err);
    if (status == HONE_OK)
        status = hone__source_write(worker, "kernel.c", &worker->problem, worker->problem.source, worker->problem.source_path,
                                    worker->problem.entry, &err);
    if (status == HONE_E_UNSUPPORTED)
        (void)snprintf(code, sizeof code, "unsupported");
    if (status == HONE_OK && worker->problem.has_reference) {
        (void)snprintf(code, sizeof code, "reference_failed");
        status = hone__worker_reference(worker, cJSON_GetObjectItemCaseSensitive(request, "reference"), &reference_ms, &err);
        if (status == HONE_E_UNSUPPORTED) /* the machine's fault, not the reference's */
            (void)snprintf(code, sizeof code, "unsupported");
    }
    if (status != HONE_OK) {
        hone__problem_clear(&worker->problem);
        hone__worker_refuse(worker, id, "prepare", code, err.message);
        return;
    }
    hone__buf line;
    hone__reply_begin(&line, id, true);
    hone__buf_printf(&line, ",\"reference\":%s", worker->problem.has_reference ? "true" : "false");
    hone__reply_number(&line, "reference_ms", reference_ms);
    hone__buf_char(&line, '}');
    hone__worker_line(worker, &line);
}

/* ---- the loop ---- */

static void do_serial(hone__worker *worker, uint64_t id, const char *op, const cJSON *request) {
    if (strcmp(op, "hello") == 0) {
        do_hello(worker, id, request);
    } else if (strcmp(op, "prepare") == 0) {
        do_prepare(worker, id, request);
    } else if (strcmp(op, "measure") == 0) {
        do_measure(worker, id, request);
    } else if (strcmp(op, "compare") == 0) {
        do_compare(worker, id, request);
    } else if (strcmp(op, "bye") == 0) {
        hone__buf line;
        hone__reply_begin(&line, id, true);
        hone__buf_char(&line, '}');
        hone__worker_line(worker, &line);
        worker->finished = true;
    } else {
        hone__worker_refuse(worker, id, "request", "unsupported", "unknown op");
    }
}

/* Must a request wait for measurements in work?  Several GPUs measure side by side; everything else is done alone. */
static bool must_wait(const hone__worker *worker, const char *op) {
    if (worker->gpus != NULL)
        return hone__gpu_busy(worker, strcmp(op, "measure") == 0);
    return worker->trial.active;
}

/* Begin what can begin: compiles and cancels overtake measurements, nothing overtakes a prepare. */
static void dispatch(hone__worker *worker) {
    bool serial_waits = false;
    cJSON *request = worker->inbox->child;
    while (request != NULL && !worker->finished) {
        cJSON *next = request->next;
        const char *op = hone__json_string(request, "op");
        int64_t id = 0;
        bool taken = false;
        if (op == NULL || !hone__json_int(cJSON_GetObjectItemCaseSensitive(request, "id"), &id) || id <= 0) {
            hone__worker_refuse(worker, 0, "request", "bad_request", "a request needs op and an id above 0");
            taken = true;
        } else if (strcmp(op, "compile") == 0) {
            hone__build *build = free_build(worker);
            taken = build != NULL;
            if (taken)
                start_compile(worker, build, (uint64_t)id, request);
        } else if (strcmp(op, "cancel") == 0) {
            taken = true;
            do_cancel(worker, (uint64_t)id, request);
        } else if (!serial_waits && !must_wait(worker, op)) {
            taken = true;
            do_serial(worker, (uint64_t)id, op, request);
        } else {
            serial_waits = true;
        }
        if (!taken && op != NULL && strcmp(op, "prepare") == 0)
            break;
        if (taken)
            cJSON_Delete(cJSON_DetachItemViaPointer(worker->inbox, request));
        request = next;
    }
}

static void take_lines(hone__worker *worker) {
    for (;;) {
        char *start = worker->in.data + worker->in_done;
        char *newline = worker->in.length > worker->in_done ? memchr(start, '\n', worker->in.length - worker->in_done) : NULL;
        if (newline == NULL)
            break;
        cJSON *request = NULL;
        hone_error err = {0};
        size_t bytes = (size_t)(newline - start);
        worker->in_done += bytes + 1;
        if (bytes == 0)
            continue;
        if (hone__json_parse(&request, start, bytes, "request", &err) != HONE_OK)
            hone__worker_refuse(worker, 0, "request", "bad_request", err.message);
        else
            (void)cJSON_AddItemToArray(worker->inbox, request);
    }
    size_t rest = worker->in.length - worker->in_done;
    if (worker->in_done > 0) {
        memmove(worker->in.data, worker->in.data + worker->in_done, rest);
        worker->in.length = rest;
        worker->in_done = 0;
    }
    if (rest > HONE_LIMIT_MESSAGE_BYTES) {
        hone__worker_refuse(worker, 0, "request", "bad_request", "a line longer than 4 MiB");
        worker->finished = true;
    }
}

static void read_requests(hone__worker *worker) {
    char chunk[65536];
    ssize_t got = read(worker->in_fd, chunk, sizeof chunk);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) {
        worker->finished = true;
        return;
    }
    hone__buf_bytes(&worker->in, chunk, (size_t)got);
    if (worker->in.status != HONE_OK)
        worker->finished = true;
    else
        take_lines(worker);
}

static void wait_for_something(hone__worker *worker) {
    struct pollfd fds[3 + 2 * HONE_WORKER_JOBS_MAX + 2 * HONE_GPUS_MAX];
    nfds_t count = 0;
    int timeout_ms = -1;
    fds[count++] = (struct pollfd){.fd = worker->in_fd, .events = POLLIN};
    if (worker->trial.active) {
        fds[count++] = (struct pollfd){.fd = worker->trial.done_fd, .events = POLLIN};
        fds[count++] = (struct pollfd){.fd = worker->trial.text_fd, .events = POLLIN};
        timeout_ms = 50;
    }
    int gpu_fd[2 * HONE_GPUS_MAX];
    uint32_t gpu_fds = hone__gpu_fds(worker, gpu_fd, 2 * HONE_GPUS_MAX);
    for (uint32_t i = 0; i < gpu_fds; i++)
        fds[count++] = (struct pollfd){.fd = gpu_fd[i], .events = POLLIN};
    if (worker->gpus != NULL && hone__gpu_busy(worker, false))
        timeout_ms = 50;
    for (uint32_t i = 0; i < HONE_WORKER_JOBS_MAX; i++) {
        const hone__build *build = &worker->build[i];
        if (!build->active)
            continue;
        fds[count++] = (struct pollfd){.fd = build->process.out_fd, .events = POLLIN};
        fds[count++] = (struct pollfd){.fd = build->process.err_fd, .events = POLLIN};
        int wait_ms = build->process.out_fd < 0 && build->process.err_fd < 0 ? 1 : 50;
        timeout_ms = timeout_ms < 0 || wait_ms < timeout_ms ? wait_ms : timeout_ms;
    }
    if (poll(fds, count, timeout_ms) > 0 && fds[0].revents != 0)
        read_requests(worker);
}

static void run(hone__worker *worker) {
    while (!worker->finished) {
        wait_for_something(worker);
        for (uint32_t i = 0; i < HONE_WORKER_JOBS_MAX; i++) {
            if (worker->build[i].active && hone__build_step(&worker->build[i]))
                finish_compile(worker, &worker->build[i]);
        }
        if (worker->trial.active && hone__trial_step(&worker->trial, &worker->problem))
            finish_trial(worker);
        if (worker->gpus != NULL)
            hone__gpu_step(worker);
        dispatch(worker);
    }
}

int hone_worker_main(int argc, char **argv) {
    (void)argc;
    (void)argv;
    static hone__worker worker; /* some hundred kilobytes: too much for the stack */
    (void)signal(SIGPIPE, SIG_IGN);
    worker.in_fd = 0;
    worker.out_fd = 1;
    hone__buf_init(&worker.in, (size_t)HONE_LIMIT_MESSAGE_BYTES + 131072);
    (void)hone__json_parse(&worker.inbox, "[]", 2, "inbox", NULL); /* by our parser, which gives cJSON our allocator */
    const char *compiler = getenv("CC");
    if (hone__words_split(&worker.compiler, compiler != NULL && compiler[0] != '\0' ? compiler : "cc") != HONE_OK || worker.inbox == NULL) {
        (void)fprintf(stderr, "hone worker: no memory, or an open quote in $CC\n");
        return 70;
    }
    if (!hone__worker_dir_make(&worker)) {
        (void)fprintf(stderr, "hone worker: cannot create a folder in %s: %s; set TMPDIR to a folder of your own\n", hone__worker_temporary(),
                      strerror(errno));
        return 4;
    }
    if (hone__device_detect(&worker.device, "cpu", NULL) != HONE_OK)
        worker.device = NULL;
    hone__worker_cores_choose(&worker); /* after the device: it narrows the cores that this process sees */
    run(&worker);
    hone__trial_end(&worker.trial);
    hone__gpu_end(&worker);
    hone__worker_forget(&worker);
    hone__worker_dir_remove(worker.dir);
    hone__buf_free(&worker.in);
    cJSON_Delete(worker.inbox);
    hone__free(worker.module);
    hone__free(worker.compiler);
    hone_device_free(worker.device);
    return 0;
}
