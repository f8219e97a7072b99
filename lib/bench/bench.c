/* bench.c: the client of an evaluator: what is sent when, what is in flight, who is blamed when the evaluator fails. */
#define _GNU_SOURCE
#include "alloc.h"
#include "bench_internal.h"
#include "clock.h"
#include "log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STRAGGLER_NS 500000000u /* a compile that takes longer may be overtaken */
#define POLL_MS 200u

static uint64_t deadline_in(double seconds) {
    return hone__clock_ns() + (uint64_t)(seconds * 1e9);
}

static void job_free(hone__job *job) {
    if (job == NULL)
        return;
    hone__free(job->body);
    hone__free(job);
}

/* ---- opening and closing ---- */

static char **copy_words(const char *const *words) {
    size_t count = 0;
    size_t bytes = 0;
    for (; words[count] != NULL; count++)
        bytes += strlen(words[count]) + 1;
    char **copy = hone__alloc((count + 1) * sizeof(char *) + bytes);
    if (copy == NULL)
        return NULL;
    char *text = (char *)(copy + count + 1);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(words[i]) + 1;
        memcpy(text, words[i], length);
        copy[i] = text;
        text += length;
    }
    return copy;
}

static double or_default(double value, double fallback) {
    return isfinite(value) && value > 0.0 ? value : fallback;
}

hone_status hone__bench_open(hone__bench **out, const hone__bench_options *options, hone_error *err) {
    *out = NULL;
    if (options->command == NULL || options->command[0] == NULL)
        return hone__fail(err, HONE_E_ARG, "bench", "no evaluator command given");
    hone__bench *bench = hone__alloc(sizeof *bench);
    if (bench == NULL)
        return hone__fail(err, HONE_E_NOMEM, "bench", "no memory for an evaluator");
    bench->options = *options;
    bench->options.start_s = or_default(options->start_s, 120.0);
    bench->options.compile_s = or_default(options->compile_s, 30.0);
    bench->options.run_s = or_default(options->run_s, 10.0);
    bench->options.precision = or_default(options->precision, 0.01);
    bench->options.budget_ms = or_default(options->budget_ms, 500.0);
    bench->channel.process = (hone__process){.pid = 0, .in_fd = -1, .out_fd = -1, .err_fd = -1};
    bench->next_request = 1;
    bench->measures = 1;
    bench->command = copy_words(options->command);
    bench->cwd = hone__strdup(options->cwd);
    bench->device = hone__strdup(options->device);
    hone_status status = HONE_OK;
    if (bench->command == NULL || (options->cwd != NULL && bench->cwd == NULL) || (options->device != NULL && bench->device == NULL))
        status = hone__fail(err, HONE_E_NOMEM, "bench", "no memory for an evaluator");
    while (status == HONE_OK && bench->phase != HONE_PHASE_IDLE) {
        status = hone__bench_pump(bench, 200, err);
        if (status == HONE_OK && options->tick != NULL && options->tick(options->user) != 0)
            status = hone__fail(err, HONE_E_CANCELLED, "bench", "given up while the evaluator started");
        if (status == HONE_OK && bench->phase == HONE_PHASE_DOWN) { /* the first greeting is not tried twice */
            if (err != NULL)
                *err = bench->failure;
            status = HONE_E_EVALUATOR;
        }
    }
    if (status != HONE_OK) {
        hone__bench_close(bench);
        return status;
    }
    *out = bench;
    return HONE_OK;
}

static void say_bye(hone__bench *bench) {
    char line[64];
    (void)snprintf(line, sizeof line, "{\"id\":%llu,\"op\":\"bye\"}", (unsigned long long)bench->next_request);
    if (hone__channel_send(&bench->channel, line) != HONE_OK)
        return;
    uint64_t deadline = deadline_in(1.0);
    while (!bench->channel.out_closed && !bench->channel.broken && hone__clock_ns() < deadline) {
        const char *ignored;
        size_t bytes;
        hone__channel_move(&bench->channel, 20);
        while (hone__channel_line(&bench->channel, &ignored, &bytes)) {
        }
    }
    /* Give it the rest of the grace to end by itself: it may have files to remove. */
    while (hone__clock_ns() < deadline && !hone__process_ended(&bench->channel.process, NULL))
        hone__sleep_ms(2);
}

void hone__bench_close(hone__bench *bench) {
    if (bench == NULL)
        return;
    if (bench->channel.process.pid > 0 && bench->phase != HONE_PHASE_GREETING && hone__bench_in_flight(bench) == 0)
        say_bye(bench);
    hone__channel_close(&bench->channel);
    for (uint32_t i = 0; i < bench->queue_count; i++)
        job_free(bench->queue[i]);
    for (uint32_t i = 0; i < bench->known_count; i++)
        job_free(bench->known[i]);
    for (uint32_t i = 0; i < bench->dropped_count; i++)
        job_free(bench->dropped[i]);
    cJSON_Delete(bench->hello);
    cJSON_Delete(bench->control_reply);
    hone__free(bench->prepare);
    hone__free(bench->command);
    hone__free(bench->cwd);
    hone__free(bench->device);
    hone__free(bench);
}

const cJSON *hone__bench_hello(const hone__bench *bench) {
    return bench->hello;
}

uint32_t hone__bench_parallel(const hone__bench *bench) {
    return bench->parallel + bench->parallel / 2 + bench->measures; /* a slow compile must not leave the others waiting for work */
}

void hone__bench_set_incumbent(hone__bench *bench, double ns) {
    bench->incumbent_ns = isfinite(ns) && ns > 0.0 ? ns : 0.0;
}

/* ---- requests ---- */

/* The members of an object as text, without its braces, behind a comma; "" for an empty object. */
/* NULL: *status is HONE_E_NOMEM, or HONE_E_LIMIT when it does not fit into a request. */
static char *members_text(const cJSON *object, hone_status *status) {
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_MESSAGE_BYTES - 1024);
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        hone__buf_char(&buf, ',');
        hone__buf_json_string(&buf, item->string);
        hone__buf_char(&buf, ':');
        hone__json_print(&buf, item);
    }
    *status = buf.status == HONE_OK ? HONE_E_NOMEM : buf.status;
    return hone__buf_take(&buf);
}

static hone_status send_request(hone__bench *bench, const char *op, const char *body, uint64_t *id) {
    hone__buf line;
    hone__buf_init(&line, HONE_LIMIT_MESSAGE_BYTES);
    *id = bench->next_request++;
    hone__buf_printf(&line, "{\"id\":%llu,\"op\":\"%s\"", (unsigned long long)*id, op);
    hone__buf_text(&line, body);
    hone__buf_char(&line, '}');
    hone_status status = line.status;
    if (status == HONE_OK)
        status = hone__channel_send(&bench->channel, line.data);
    hone__buf_free(&line);
    return status;
}

hone_status hone__bench_control(hone__bench *bench, const char *op, const char *body, double limit_s) {
    cJSON_Delete(bench->control_reply);
    bench->control_reply = NULL;
    hone_status status = send_request(bench, op, body, &bench->control_request);
    bench->control_limit_s = limit_s;
    bench->control_deadline_ns = deadline_in(limit_s);
    return status;
}

static hone_status greet(hone__bench *bench) {
    hone__buf body;
    hone__buf_init(&body, 65536);
    hone__buf_text(&body, ",\"protocol\":[1],\"device\":");
    if (bench->device != NULL)
        hone__buf_json_string(&body, bench->device);
    else
        hone__buf_text(&body, "null");
    hone__buf_printf(&body, ",\"peaks\":%s", bench->options.measure_peaks && bench->hello == NULL ? "true" : "false");
    hone_status status = body.status;
    if (status == HONE_OK)
        status = hone__bench_control(bench, "hello", body.data, bench->options.start_s);
    hone__buf_free(&body);
    bench->phase = HONE_PHASE_GREETING;
    return status;
}

static hone_status start(hone__bench *bench, hone_error *err) {
    union {
        char **in;
        const char *const *out;
    } words = {.in = bench->command};
    hone__channel_close(&bench->channel);
    hone_status status = hone__channel_open(&bench->channel, words.out, bench->cwd, err);
    if (status != HONE_OK) {
        hone__channel_close(&bench->channel);
        char cause[sizeof err->message];
        (void)snprintf(cause, sizeof cause, "%s", err != NULL ? err->message : "");
        bench->phase = HONE_PHASE_DEAD;
        hone_error *where = err != NULL ? err : &bench->failure;
        status = hone__fail_os(where, HONE_E_EVALUATOR, "bench", where->os_code, "the evaluator does not start: %s", cause);
        bench->failure = *where;
        return status;
    }
    return greet(bench);
}

hone_status hone__bench_send_compile(hone__bench *bench, hone__job *job) {
    job->state = HONE_JOB_COMPILING;
    job->sent_ns = hone__clock_ns();
    job->deadline_ns = deadline_in(bench->options.compile_s + HONE_BENCH_MARGIN_S);
    return send_request(bench, "compile", job->body, &job->request);
}

hone_status hone__bench_send_measure(hone__bench *bench, hone__job *job, double budget_ms, double incumbent_ns) {
    hone__buf body;
    hone__buf_init(&body, 512);
    hone__buf_printf(&body, ",\"handle\":%lld,\"precision\":", (long long)job->handle);
    hone__buf_json_double(&body, bench->options.precision);
    hone__buf_text(&body, ",\"budget_ms\":");
    hone__buf_json_double(&body, budget_ms);
    hone__buf_text(&body, ",\"incumbent_ns\":");
    hone__buf_json_double(&body, incumbent_ns);
    job->state = HONE_JOB_MEASURING;
    job->deadline_ns = deadline_in(bench->options.run_s + HONE_BENCH_MARGIN_S);
    hone_status status = body.status == HONE_OK ? send_request(bench, "measure", body.data, &job->request) : body.status;
    hone__buf_free(&body);
    return status;
}

uint32_t hone__bench_in_flight(const hone__bench *bench) {
    uint32_t count = bench->control_request != 0;
    for (uint32_t i = 0; i < bench->queue_count; i++)
        count += bench->queue[i]->request != 0;
    for (uint32_t i = 0; i < bench->known_count; i++)
        count += bench->known[i]->request != 0;
    for (uint32_t i = 0; i < bench->dropped_count; i++)
        count += bench->dropped[i]->request != 0;
    return count;
}

/* With a suspect about, or an evaluator that does one thing at a time: one request in flight, suspects first. */
static hone_status schedule_single(hone__bench *bench, bool suspects) {
    if (hone__bench_in_flight(bench) > 0)
        return HONE_OK;
    for (uint32_t i = 0; i < bench->queue_count; i++) {
        hone__job *job = bench->queue[i];
        if (suspects && job->suspect == HONE_JOB_QUEUED)
            continue;
        if (job->state == HONE_JOB_QUEUED)
            return hone__bench_send_compile(bench, job);
        if (job->state == HONE_JOB_COMPILED)
            return hone__bench_send_measure(bench, job, bench->options.budget_ms, bench->incumbent_ns);
    }
    return HONE_OK;
}

static hone_status schedule(hone__bench *bench) {
    bool suspects = false;
    uint32_t measuring = 0;
    uint32_t compiling = bench->dropped_count;
    for (uint32_t i = 0; i < bench->queue_count; i++) {
        suspects = suspects || (bench->queue[i]->suspect != HONE_JOB_QUEUED && bench->queue[i]->state != HONE_JOB_DONE);
        measuring += bench->queue[i]->state == HONE_JOB_MEASURING;
        compiling += bench->queue[i]->state == HONE_JOB_COMPILING;
    }
    if (suspects || bench->parallel == 0)
        return schedule_single(bench, suspects);
    for (uint32_t i = 0; i < bench->queue_count; i++) {
        hone__job *job = bench->queue[i];
        if (job->state == HONE_JOB_DONE || job->state == HONE_JOB_MEASURING)
            continue;
        if (job->state == HONE_JOB_COMPILED && measuring < bench->measures) {
            HONE_TRY(hone__bench_send_measure(bench, job, bench->options.budget_ms, bench->incumbent_ns));
            measuring++;
        } else if (job->state == HONE_JOB_QUEUED && compiling < bench->parallel) {
            HONE_TRY(hone__bench_send_compile(bench, job));
            compiling++;
        }
    }
    return HONE_OK;
}

/* ---- faults ---- */

/* `innocent`: whatever was in flight was sent to a process that was ending already. */
static void fault_jobs(hone__job **list, uint32_t count, uint32_t in_flight, bool innocent, hone__outcome outcome, const char *reason) {
    for (uint32_t i = 0; i < count; i++) {
        hone__job *job = list[i];
        if (job->state == HONE_JOB_DONE)
            continue;
        bool was_flying = job->request != 0;
        job->request = 0;
        if (was_flying && in_flight == 1 && !innocent) {
            hone__measurement_fail(&job->result, outcome, reason);
            job->state = HONE_JOB_DONE;
        } else {
            if (was_flying && !innocent)
                job->suspect = job->state;
            job->state = HONE_JOB_QUEUED;
        }
    }
}

/* The evaluator's command line, as far as it fits, for messages. */
static void command_text(const hone__bench *bench, char *text, size_t bytes) {
    char words[512] = "";
    size_t at = 0;
    for (uint32_t i = 0; bench->command[i] != NULL && at < sizeof words; i++) {
        int put = snprintf(words + at, sizeof words - at, "%s%s", i == 0 ? "" : " ", bench->command[i]);
        at += put > 0 ? (size_t)put : 0;
    }
    hone__text_clean_line(text, bytes, words);
}

/* The evaluator broke its word: end it, blame the config that was alone in flight or mark all as suspects. */
static void fault(hone__bench *bench, hone__outcome outcome, const char *what) {
    char reason[HONE_LIMIT_REASON_BYTES];
    char tail[256];
    char command[100];
    uint32_t in_flight = hone__bench_in_flight(bench);
    command_text(bench, command, sizeof command);
    if (bench->channel.tail != NULL)
        hone__channel_drain_stderr(&bench->channel);
    hone__channel_tail(&bench->channel, tail, sizeof tail);
    (void)snprintf(reason, sizeof reason, "%s%s%s", what, tail[0] != '\0' ? "; its stderr: " : "", tail);
    /* Before the first hello the caller fails with this very text; saying it twice helps nobody. */
    hone__log(bench->hello == NULL ? HONE_LOG_DEBUG : HONE_LOG_WARN, "bench", "%s", reason);
    bool innocent = bench->parting && bench->channel.out_closed;
    bench->parting = false;
    hone__channel_close(&bench->channel);
    fault_jobs(bench->queue, bench->queue_count, in_flight, innocent, outcome, reason);
    for (uint32_t i = 0; i < bench->known_count; i++) {
        bench->known[i]->request = 0;
        bench->known[i]->state = HONE_JOB_QUEUED;
    }
    for (uint32_t i = 0; i < bench->dropped_count; i++)
        job_free(bench->dropped[i]);
    bench->dropped_count = 0;
    bench->control_request = 0;
    (void)snprintf(bench->fault_reason, sizeof bench->fault_reason, "%s", reason);
    bench->fault_outcome = outcome;
    uint32_t allowed = bench->ever_result ? HONE_BENCH_RESTARTS_MAX : HONE_BENCH_RESTARTS_NEW;
    bench->phase = ++bench->restarts > allowed ? HONE_PHASE_DEAD : HONE_PHASE_DOWN;
    if (bench->phase == HONE_PHASE_DEAD)
        (void)hone__fail(&bench->failure, HONE_E_EVALUATOR, "bench", "the evaluator %s failed %u times in a row; the last time: %.280s",
                         command, bench->restarts, reason);
    else
        (void)hone__fail(&bench->failure, HONE_E_EVALUATOR, "bench", "%s: %.380s", command, reason);
}

static void fault_ended(hone__bench *bench) {
    int wait_status = 0;
    char how[128] = "closed its stdout";
    char what[256];
    for (int i = 0; i < 50; i++) {
        if (hone__process_ended(&bench->channel.process, &wait_status)) {
            hone__process_describe(wait_status, how, sizeof how);
            break;
        }
        hone__sleep_ms(2);
    }
    const char *when = bench->phase == HONE_PHASE_GREETING ? " during hello" : bench->phase == HONE_PHASE_PREPARING ? " during prepare" : "";
    (void)snprintf(what, sizeof what, "the evaluator %s%s%s", strncmp(how, "killed", 6) == 0 ? "was " : "", how, when);
    fault(bench, HONE_OUTCOME_EVALUATOR, what);
}

/* ---- replies ---- */

static void refuse_start(hone__bench *bench, const cJSON *reply) {
    hone__measurement told = {.outcome = HONE_OUTCOME_EVALUATOR};
    hone__reply_error(reply, &told);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply, "error");
    const char *message = hone__json_string(error, "message"), *code = hone__json_string(error, "code");
    /* A reference that does not compile or run is a mistake in the spec, not the evaluator's failure. */
    hone_status status = code != NULL && strcmp(code, "reference_failed") == 0 ? HONE_E_SPEC : HONE_E_EVALUATOR;
    char text[480];
    hone__text_clean_line(text, sizeof text, message != NULL ? message : told.reason);
    (void)hone__fail(&bench->failure, status, "bench", "%s", text);
}

static void take_hello(hone__bench *bench, cJSON *reply) {
    int64_t protocol = 0;
    int64_t parallel = 0;
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"))) {
        refuse_start(bench, reply);
        hone_error kept = bench->failure;
        fault(bench, HONE_OUTCOME_EVALUATOR, kept.message);
        bench->failure = kept;
        return;
    }
    const cJSON *device = cJSON_GetObjectItemCaseSensitive(reply, "device");
    if (!hone__json_int(cJSON_GetObjectItemCaseSensitive(reply, "protocol"), &protocol) || protocol != HONE_BENCH_PROTOCOL) {
        fault(bench, HONE_OUTCOME_EVALUATOR, "its hello does not name protocol 1");
    } else if (!cJSON_IsObject(device) || hone__json_string(device, "kind") == NULL ||
               !cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(device, "identity"))) {
        fault(bench, HONE_OUTCOME_EVALUATOR, "its hello has no device with kind and identity");
    } else {
        if (hone__json_int(cJSON_GetObjectItemCaseSensitive(reply, "parallel"), &parallel) && parallel > 0)
            bench->parallel = parallel > 64 ? 64 : (uint32_t)parallel;
        int64_t measures = 0;
        bench->measures = 1;
        if (bench->parallel > 0 && hone__json_int(cJSON_GetObjectItemCaseSensitive(reply, "measures"), &measures) && measures > 1)
            bench->measures = measures > 16 ? 16 : (uint32_t)measures;
        bench->can_compare = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "compare"));
        bench->can_cancel = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "cancel"));
        if (bench->hello == NULL)
            bench->hello = cJSON_Duplicate(reply, 1);
        bench->phase = HONE_PHASE_IDLE;
    }
}

static void take_control(hone__bench *bench, cJSON *reply) {
    bench->control_request = 0;
    if (bench->phase == HONE_PHASE_GREETING) {
        take_hello(bench, reply);
        cJSON_Delete(reply);
        return;
    }
    cJSON_Delete(bench->control_reply);
    bench->control_reply = reply;
    if (bench->phase != HONE_PHASE_PREPARING)
        return;
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"))) {
        bench->phase = HONE_PHASE_READY;
        cJSON_Delete(bench->control_reply);
        bench->control_reply = NULL; /* whoever waits for a compare's reply must not find this one */
    } else {
        refuse_start(bench, reply);
        bench->phase = ++bench->restarts > HONE_BENCH_RESTARTS_NEW ? HONE_PHASE_DEAD : HONE_PHASE_IDLE;
    }
}

static void finished(hone__bench *bench, hone__job *job) {
    job->state = HONE_JOB_DONE;
    job->suspect = HONE_JOB_QUEUED;
    if (job->result.outcome != HONE_OUTCOME_EVALUATOR) {
        bench->restarts = 0;
        bench->ever_result = true;
    }
}

static void take_job(hone__bench *bench, hone__job *job, const cJSON *reply) {
    job->request = 0;
    if (job->state == HONE_JOB_COMPILING) {
        if (!hone__reply_compile(reply, &job->handle, &job->result)) {
            finished(bench, job);
            return;
        }
        job->state = HONE_JOB_COMPILED;
        if (job->suspect == HONE_JOB_COMPILING)
            job->suspect = HONE_JOB_QUEUED;
    } else {
        hone__reply_measure(reply, &job->result);
        bench->parting = job->result.outcome == HONE_OUTCOME_CRASH;
        finished(bench, job);
    }
}

static hone__job *find_request(hone__bench *bench, uint64_t id) {
    for (uint32_t i = 0; i < bench->queue_count; i++) {
        if (bench->queue[i]->request == id)
            return bench->queue[i];
    }
    for (uint32_t i = 0; i < bench->known_count; i++) {
        if (bench->known[i]->request == id)
            return bench->known[i];
    }
    return NULL;
}

static bool take_dropped(hone__bench *bench, uint64_t id) {
    for (uint32_t i = 0; i < bench->dropped_count; i++) {
        if (bench->dropped[i]->request == id) {
            job_free(bench->dropped[i]);
            bench->dropped[i] = bench->dropped[--bench->dropped_count];
            return true;
        }
    }
    return false;
}

static void take_line(hone__bench *bench, const char *line, size_t bytes) {
    cJSON *reply = NULL;
    hone_error parse_error;
    int64_t id = 0;
    char what[HONE_LIMIT_REASON_BYTES];
    if (hone__json_parse(&reply, line, bytes, "reply", &parse_error) != HONE_OK) {
        char start_of[81];
        (void)snprintf(start_of, sizeof start_of, "%.*s", (int)(bytes < 80 ? bytes : 80), line);
        (void)snprintf(what, sizeof what, "the evaluator wrote a line that is no JSON object on stdout (%.160s): %s", parse_error.message, start_of);
        fault(bench, HONE_OUTCOME_EVALUATOR, what);
        return;
    }
    if (!cJSON_IsObject(reply) || !hone__json_int(cJSON_GetObjectItemCaseSensitive(reply, "id"), &id) || id <= 0) {
        fault(bench, HONE_OUTCOME_EVALUATOR, "the evaluator's reply has no id");
    } else if ((uint64_t)id == bench->control_request) {
        take_control(bench, reply);
        return;
    } else if (!take_dropped(bench, (uint64_t)id)) {
        hone__job *job = find_request(bench, (uint64_t)id);
        if (job != NULL) {
            take_job(bench, job, reply);
        } else if ((uint64_t)id < bench->next_request) {
            /* Answered already: no config in flight is to blame, and nothing is lost. */
            hone__log(HONE_LOG_WARN, "bench", "the evaluator replied to id %lld a second time", (long long)id);
        } else {
            (void)snprintf(what, sizeof what, "the evaluator replied to id %lld, which it was never sent", (long long)id);
            fault(bench, HONE_OUTCOME_EVALUATOR, what);
        }
    }
    cJSON_Delete(reply);
}

static void enforce_deadlines(hone__bench *bench) {
    uint64_t now = hone__clock_ns();
    char what[128];
    if (bench->control_request != 0 && now > bench->control_deadline_ns) {
        const char *op = bench->phase == HONE_PHASE_GREETING ? "hello" : bench->phase == HONE_PHASE_PREPARING ? "prepare" : "compare or cancel";
        (void)snprintf(what, sizeof what, "the evaluator did not answer %s within %.0f s", op, bench->control_limit_s);
        fault(bench, HONE_OUTCOME_TIMEOUT, what);
        return;
    }
    for (uint32_t i = 0; i < bench->queue_count + bench->known_count + bench->dropped_count; i++) {
        const hone__job *job = i < bench->queue_count ? bench->queue[i]
                               : i < bench->queue_count + bench->known_count
                                   ? bench->known[i - bench->queue_count]
                                   : bench->dropped[i - bench->queue_count - bench->known_count];
        if (job->request == 0 || now <= job->deadline_ns)
            continue;
        bool compiling = job->state == HONE_JOB_COMPILING;
        (void)snprintf(what, sizeof what, "the evaluator did not answer %s within %.0f s", compiling ? "compile" : "measure",
                       (compiling ? bench->options.compile_s : bench->options.run_s) + HONE_BENCH_MARGIN_S);
        fault(bench, compiling ? HONE_OUTCOME_COMPILE_TIMEOUT : HONE_OUTCOME_TIMEOUT, what);
        return;
    }
}

/* ---- one step ---- */

static int wait_for(const hone__bench *bench, uint32_t timeout_ms) {
    uint64_t nearest = bench->control_request != 0 ? bench->control_deadline_ns : UINT64_MAX;
    for (uint32_t i = 0; i < bench->queue_count; i++) {
        if (bench->queue[i]->request != 0 && bench->queue[i]->deadline_ns < nearest)
            nearest = bench->queue[i]->deadline_ns;
    }
    for (uint32_t i = 0; i < bench->known_count; i++) {
        if (bench->known[i]->request != 0 && bench->known[i]->deadline_ns < nearest)
            nearest = bench->known[i]->deadline_ns;
    }
    uint64_t now = hone__clock_ns();
    uint64_t until_ms = nearest <= now ? 0 : nearest == UINT64_MAX ? timeout_ms : (nearest - now) / 1000000 + 1;
    return (int)(until_ms < timeout_ms ? until_ms : timeout_ms);
}

static hone_status advance(hone__bench *bench, hone_error *err) {
    if (bench->phase == HONE_PHASE_DOWN)
        HONE_TRY(start(bench, err));
    if (bench->phase == HONE_PHASE_IDLE && bench->prepare != NULL) {
        bench->phase = HONE_PHASE_PREPARING;
        return hone__bench_control(bench, "prepare", bench->prepare, bench->options.compile_s + bench->reference_s + HONE_BENCH_MARGIN_S);
    }
    return bench->phase == HONE_PHASE_READY && bench->control_request == 0 ? schedule(bench) : HONE_OK;
}

hone_status hone__bench_pump(hone__bench *bench, uint32_t timeout_ms, hone_error *err) {
    if (bench->phase == HONE_PHASE_DEAD) {
        if (err != NULL)
            *err = bench->failure;
        return HONE_E_EVALUATOR;
    }
    hone_status status = advance(bench, err);
    if (status == HONE_E_LIMIT || status == HONE_E_NOMEM) /* our own request did not fit, or no memory */
        return hone__fail(err, status, "bench", "cannot send a request to the evaluator: %s", hone_status_text(status));
    if (status != HONE_OK)
        return status;
    hone__channel_move(&bench->channel, wait_for(bench, timeout_ms));
    const char *line;
    size_t bytes;
    while (bench->channel.process.pid != 0 && hone__channel_line(&bench->channel, &line, &bytes))
        take_line(bench, line, bytes);
    if (bench->phase == HONE_PHASE_DOWN || bench->phase == HONE_PHASE_DEAD)
        return HONE_OK;
    if (bench->channel.broken)
        fault(bench, HONE_OUTCOME_EVALUATOR, "the evaluator wrote a line longer than the limit on stdout");
    else if (bench->channel.out_closed)
        fault_ended(bench);
    else
        enforce_deadlines(bench);
    return HONE_OK;
}

void hone__bench_interrupt(hone__bench *bench, const char *why) {
    if (bench->phase != HONE_PHASE_DEAD && bench->phase != HONE_PHASE_DOWN && hone__bench_in_flight(bench) > 0)
        fault(bench, HONE_OUTCOME_TIMEOUT, why);
}

hone_status hone__bench_prepare(hone__bench *bench, const cJSON *prepare, int (*tick)(void *user), void *user, hone_error *err) {
    if (bench->queue_count > 0)
        return hone__fail(err, HONE_E_STATE, "bench", "prepare while configs are queued; take or cancel them first");
    while (hone__bench_in_flight(bench) > 0 && bench->phase != HONE_PHASE_DEAD)
        HONE_TRY(hone__bench_pump(bench, 1000, err));
    hone__free(bench->prepare);
    hone_status status;
    bench->prepare = members_text(prepare, &status);
    if (bench->prepare == NULL)
        return hone__fail(err, status, "bench", status == HONE_E_NOMEM ? "no memory for the problem"
                                                                       : "the problem does not fit into a request of an evaluator");
    bench->reference_s = 120.0 + 10.0 * bench->options.run_s;
    for (uint32_t i = 0; i < bench->known_count; i++)
        job_free(bench->known[i]);
    bench->known_count = 0;
    if (bench->phase == HONE_PHASE_READY)
        bench->phase = HONE_PHASE_IDLE;
    cJSON_Delete(bench->control_reply);
    bench->control_reply = NULL;
    uint32_t before = bench->restarts;
    while (bench->phase != HONE_PHASE_READY) {
        if (tick != NULL && tick(user) != 0)
            return hone__fail(err, HONE_E_CANCELLED, "bench", "given up while the problem was prepared");
        HONE_TRY(hone__bench_pump(bench, 200, err));
        bool died = bench->phase == HONE_PHASE_DOWN && bench->restarts > before;
        if (died || (bench->phase == HONE_PHASE_IDLE && bench->control_reply != NULL)) {
            if (err != NULL)
                *err = bench->failure;
            hone__free(bench->prepare);
            bench->prepare = NULL;
            bench->restarts = 0;
            return bench->failure.code == HONE_E_SPEC ? HONE_E_SPEC : HONE_E_EVALUATOR;
        }
    }
    return HONE_OK;
}

/* ---- configs ---- */

hone_status hone__bench_submit(hone__bench *bench, uint64_t ticket, const cJSON *compile, hone_error *err) {
    if (bench->prepare == NULL)
        return hone__fail(err, HONE_E_STATE, "bench", "no problem is prepared");
    if (bench->queue_count == HONE_LIMIT_BATCH)
        return hone__fail(err, HONE_E_LIMIT, "bench", "more than %u configs in flight", HONE_LIMIT_BATCH);
    hone__job *job = hone__alloc(sizeof *job);
    hone_status status;
    char *body = members_text(compile, &status);
    if (job == NULL || body == NULL) {
        hone__free(job);
        hone__free(body);
        return hone__fail(err, HONE_E_NOMEM, "bench", "no memory for a config, or it is too large for a request");
    }
    job->ticket = ticket;
    job->body = body;
    bench->queue[bench->queue_count++] = job;
    return HONE_OK;
}

/* Keep what may become a finalist: the fastest of those that ran, and the first few, among which the default is. */
static void keep_or_free(hone__bench *bench, hone__job *job) {
    if (job->result.outcome != HONE_OUTCOME_OK) {
        job_free(job);
        return;
    }
    job->state = HONE_JOB_COMPILED;
    if (bench->known_count < HONE_BENCH_KNOWN_MAX) {
        bench->known[bench->known_count++] = job;
        return;
    }
    uint32_t worst = HONE_BENCH_KNOWN_MAX / 4;
    for (uint32_t i = worst + 1; i < bench->known_count; i++) {
        if (bench->known[i]->result.median_ns > bench->known[worst]->result.median_ns)
            worst = i;
    }
    if (bench->known[worst]->result.median_ns > job->result.median_ns) {
        job_free(bench->known[worst]);
        bench->known[worst] = job;
    } else {
        job_free(job);
    }
}

/* Results come in the order of submission, so that a tuning can be repeated.  But one compile that takes half a second and more,
 * while so much of the queue behind it is done that a compiler is idle, must not hold up the rest: then the first that is done overtakes.
 * UINT32_MAX: none yet. */
static uint32_t next_done(const hone__bench *bench) {
    const hone__job *head = bench->queue[0];
    uint32_t first = UINT32_MAX, done = 0;
    for (uint32_t i = bench->queue_count; i > 0; i--) {
        if (bench->queue[i - 1]->state == HONE_JOB_DONE) {
            first = i - 1;
            done++;
        }
    }
    bool stuck = head->state == HONE_JOB_COMPILING && hone__clock_ns() - head->sent_ns > STRAGGLER_NS && bench->queue_count - done < bench->parallel;
    return first == 0 || stuck ? first : UINT32_MAX;
}

hone_status hone__bench_next(hone__bench *bench, uint32_t timeout_ms, uint64_t *ticket, hone__measurement *out, hone_error *err) {
    if (bench->queue_count == 0)
        return hone__fail(err, HONE_E_NOTFOUND, "bench", "no config is queued");
    uint64_t deadline = hone__clock_ns() + (uint64_t)timeout_ms * 1000000;
    uint32_t wait_ms = next_done(bench) != UINT32_MAX ? 0 : timeout_ms < POLL_MS ? timeout_ms : POLL_MS;
    for (;;) {
        hone_status status = hone__bench_pump(bench, wait_ms, err);
        uint32_t at = next_done(bench);
        if (at != UINT32_MAX) {
            hone__job *job = bench->queue[at];
            *ticket = job->ticket;
            *out = job->result;
            bench->queue_count--;
            memmove(bench->queue + at, bench->queue + at + 1, (bench->queue_count - at) * sizeof bench->queue[0]);
            keep_or_free(bench, job);
            return HONE_OK;
        }
        HONE_TRY(status);
        uint64_t now = hone__clock_ns();
        if (now >= deadline)
            return hone__fail(err, HONE_E_TIMEOUT, "bench", "no result yet");
        uint64_t left_ms = (deadline - now) / 1000000 + 1;
        wait_ms = left_ms < POLL_MS ? (uint32_t)left_ms : POLL_MS; /* a straggler is overtaken by time alone, without any reply */
    }
}

/* Compiles that nobody waits for any more: the evaluator may end them. */
static void cancel_dropped(hone__bench *bench) {
    if (!bench->can_cancel || bench->dropped_count == 0 || bench->control_request != 0)
        return;
    hone__buf body;
    hone__buf_init(&body, 8192);
    for (uint32_t i = 0; i < bench->dropped_count; i++)
        hone__buf_printf(&body, "%s%llu", i > 0 ? "," : ",\"ids\":[", (unsigned long long)bench->dropped[i]->request);
    hone__buf_char(&body, ']');
    if (body.status == HONE_OK) /* if it cannot be sent, they are waited for */
        (void)hone__bench_control(bench, "cancel", body.data, bench->options.compile_s + HONE_BENCH_MARGIN_S);
    hone__buf_free(&body);
}

void hone__bench_cancel(hone__bench *bench) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < bench->queue_count; i++) {
        hone__job *job = bench->queue[i];
        if (job->state == HONE_JOB_MEASURING || job->state == HONE_JOB_DONE) {
            bench->queue[kept++] = job;
        } else if (job->request != 0 && bench->dropped_count < HONE_LIMIT_BATCH) {
            bench->dropped[bench->dropped_count++] = job;
        } else {
            job_free(job);
        }
    }
    bench->queue_count = kept;
    cancel_dropped(bench);
}
