/* gpu_child.c: the process that owns one GPU's context: reads the worker's lines one at a time, works, answers.  After a fault that the
 * context does not survive it answers and ends; the worker starts another one. */
#define _GNU_SOURCE
#include "clock.h"
#include "device.h"
#include "gpu_internal.h"
#include "reply_line.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- failures ---- */

void hone__gpu_stage(hone__gpu_child *child, hone__stage stage) {
    child->slate->stage_since_ns = hone__clock_ns();
    child->slate->stage = (int32_t)stage;
}

bool hone__gpu_refuse(hone__gpu_child *child, hone__outcome outcome, const char *format, ...) {
    child->result = (hone__measurement){.outcome = outcome, .max_error = child->result.max_error};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(child->result.reason, sizeof child->result.reason, format, args);
    va_end(args);
    return false;
}

bool hone__gpu_failed(hone__gpu_child *child, hone__cu_result code, const char *what) {
    char words[200];
    hone__cuda_describe(child->cuda, code, words, sizeof words);
    /* Whether the context survives is not for us to know by the code: ask it. */
    hone__cu_result left = child->context != NULL ? child->cuda->context_wait() : HONE_CU_OK;
    child->lost = child->lost || left != HONE_CU_OK;
    int32_t stage = child->slate->stage;
    hone__outcome outcome = child->lost                        ? HONE_OUTCOME_CRASH
                            : code == HONE_CU_OUT_OF_MEMORY    ? HONE_OUTCOME_RESOURCES
                            : code == HONE_CU_OUT_OF_RESOURCES ? HONE_OUTCOME_RESOURCES
                                                               : HONE_OUTCOME_LAUNCH_ERROR;
    return hone__gpu_refuse(child, outcome, "%s in %s (%s)", words, hone__stage_name(stage), what);
}

/* ---- lines ---- */

static void send_line(const hone__gpu_child *child, hone__buf *line) {
    if (!hone__reply_write(child->out_fd, line))
        _exit(0); /* the worker has gone */
}

static void resources(hone__buf *line, const hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch) {
    int most = 0;
    (void)child->cuda->device_attribute(&most, HONE_CU_THREADS_PER_MULTIPROCESSOR, child->device);
    double threads = (double)launch->block[0] * launch->block[1] * launch->block[2] * loaded->blocks;
    hone__buf_printf(line, ",\"resources\":{\"registers\":%d,\"local_bytes\":%d,\"shared_bytes\":%lld,\"blocks_per_sm\":%d", loaded->registers,
                     loaded->local_bytes, (long long)loaded->static_bytes + launch->shared_bytes, loaded->blocks);
    if (most > 0)
        hone__buf_printf(line, ",\"occupancy\":%.2f", threads / most);
    if (child->clock_mhz > 0.0)
        hone__buf_printf(line, ",\"sm_mhz\":%.0f", child->clock_mhz);
    hone__buf_char(line, '}');
}

static void answer_failure(hone__gpu_child *child, uint64_t id, const char *stage, int32_t subject) {
    hone__buf line;
    hone__reply_begin(&line, id, false);
    hone__reply_failed(&line, stage, &child->result);
    if (subject >= 0)
        hone__buf_printf(&line, ",\"subject\":%d", subject);
    hone__buf_printf(&line, "},\"lost\":%s}", child->lost ? "true" : "false");
    send_line(child, &line);
}

static void answer_good(hone__gpu_child *child, uint64_t id) {
    hone__buf line;
    hone__reply_begin(&line, id, true);
    hone__buf_char(&line, '}');
    send_line(child, &line);
}

/* ---- who the GPU is ---- */

static void read_limits(hone__gpu_child *child) {
    hone__gpu_limits *limits = &child->limits;
    int value[10] = {0};
    static const int which[10] = {HONE_CU_MAX_THREADS, HONE_CU_MAX_BLOCK_X, HONE_CU_MAX_BLOCK_Y, HONE_CU_MAX_BLOCK_Z, HONE_CU_MAX_GRID_X,
                                  HONE_CU_MAX_GRID_Y, HONE_CU_MAX_GRID_Z, HONE_CU_SHARED_OPTIN, HONE_CU_REGISTERS_PER_BLOCK, HONE_CU_CLUSTER_LAUNCH};
    for (int i = 0; i < 10; i++)
        (void)child->cuda->device_attribute(&value[i], which[i], child->device);
    *limits = (hone__gpu_limits){value[0], {value[1], value[2], value[3]}, {value[4], value[5], value[6]}, value[7], value[8], value[9]};
}

static bool identify(hone__gpu_child *child) {
    hone_error err = {0};
    char name[32];
    hone_device *device = NULL;
    (void)snprintf(name, sizeof name, "cuda:%d", child->ordinal);
    int count = 0;
    hone_status status = hone__cuda_open(&child->cuda, &err);
    if (status == HONE_OK)
        status = hone__device_detect(&device, name, &err);
    if (status == HONE_OK && child->cuda->device_get(&child->device, child->ordinal) != HONE_CU_OK)
        status = hone__fail(&err, HONE_E_NODEVICE, "worker", "there is no %s", name);
    hone__buf line;
    hone__reply_begin(&line, 0, status == HONE_OK);
    if (status == HONE_OK) {
        int major = 0, minor = 0;
        (void)child->cuda->device_attribute(&major, HONE_CU_CAPABILITY_MAJOR, child->device);
        (void)child->cuda->device_attribute(&minor, HONE_CU_CAPABILITY_MINOR, child->device);
        (void)child->cuda->device_count(&count);
        read_limits(child);
        const hone__gpu_limits *l = &child->limits;
        cJSON *json = hone__device_to_json(device);
        hone__buf_printf(&line, ",\"gpus\":%d,\"driver\":%d,\"major\":%d,\"minor\":%d,\"limits\":[%lld,%lld,%lld,%lld,%lld,%lld,%lld,%lld,%lld,%lld],\"device\":",
                         count, child->cuda->version, major, minor, (long long)l->threads, (long long)l->block[0], (long long)l->block[1],
                         (long long)l->block[2], (long long)l->grid[0], (long long)l->grid[1], (long long)l->grid[2], (long long)l->shared_bytes,
                         (long long)l->registers, (long long)l->clusters);
        if (json != NULL)
            hone__json_print(&line, json);
        else
            hone__buf_text(&line, "null");
        cJSON_Delete(json);
    } else {
        hone__buf_text(&line, ",\"message\":");
        hone__buf_json_string(&line, err.message);
    }
    hone__buf_char(&line, '}');
    send_line(child, &line);
    hone_device_free(device);
    return status == HONE_OK;
}

/* The context: most of a start's time, so it is made while the worker still compiles. */
static bool make_context(hone__gpu_child *child) {
    const hone__cuda *cuda = child->cuda;
    hone__cu_result code = cuda->context_retain(&child->context, child->device);
    if (code == HONE_CU_OK)
        code = cuda->context_set(child->context);
    if (code == HONE_CU_OK)
        code = cuda->stream_create(&child->stream, HONE_CU_STREAM_NON_BLOCKING);
    for (uint32_t i = 0; i < HONE_GPU_CHUNK && code == HONE_CU_OK; i++) {
        code = cuda->event_create(&child->start[i], 0);
        if (code == HONE_CU_OK)
            code = cuda->event_create(&child->stop[i], 0);
    }
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "creating a context on the GPU");
}

/* ---- requests ---- */

static void do_open(hone__gpu_child *child, uint64_t id, const cJSON *request) {
    const char *helper = hone__json_string(request, "helper");
    bool there = child->stream != NULL || make_context(child); /* a second try: it may have been for want of memory */
    if (there && helper != NULL && hone__gpu_helper_open(child, helper) && hone__gpu_memory_open(child)) {
        answer_good(child, id);
        return;
    }
    child->lost = true;
    answer_failure(child, id, "open", -1);
}

static void do_peaks(hone__gpu_child *child, uint64_t id, const cJSON *request) {
    double peak[HONE_GPU_PEAKS] = {0};
    if (!hone__gpu_peaks(child, cJSON_GetObjectItemCaseSensitive(request, "objects"), peak)) {
        answer_failure(child, id, "peaks", -1);
        return;
    }
    hone__buf line;
    hone__reply_begin(&line, id, true);
    hone__buf_text(&line, ",\"peaks\":[");
    for (uint32_t i = 0; i < HONE_GPU_PEAKS; i++) {
        hone__buf_text(&line, i > 0 ? "," : "");
        hone__buf_json_double(&line, peak[i]);
    }
    hone__buf_text(&line, "]}");
    send_line(child, &line);
}

static bool run_reference(hone__gpu_child *child, const char *object, const cJSON *geometry) {
    hone__gpu_launch launch;
    double ns = 0.0;
    if (!hone__gpu_launch_read(geometry, &launch))
        return hone__gpu_refuse(child, HONE_OUTCOME_EVALUATOR, "the reference has no launch geometry");
    const hone__gpu_loaded *loaded = hone__gpu_module_ready(child, object, &launch);
    bool kept = child->problem.has_reference;
    child->problem.has_reference = false; /* nothing to compare with yet */
    bool good = loaded != NULL && hone__gpu_check(child, loaded, &launch, HONE_STAGE_CHECK, "", &ns);
    child->problem.has_reference = kept;
    return good && hone__gpu_memory_keep_reference(child);
}

static void do_prepare(hone__gpu_child *child, uint64_t id, const cJSON *request) {
    hone_error err = {0};
    const char *object = hone__json_string(request, "reference_object");
    hone__problem_clear(&child->problem);
    hone__gpu_stage(child, HONE_STAGE_SETUP);
    bool good = hone__problem_read(&child->problem, request, "cuda", &err) == HONE_OK;
    if (!good)
        (void)hone__gpu_refuse(child, HONE_OUTCOME_EVALUATOR, "%s", err.message);
    good = good && hone__gpu_memory_prepare(child);
    const char *stage = "prepare";
    if (good && object != NULL) {
        stage = "reference";
        good = run_reference(child, object, cJSON_GetObjectItemCaseSensitive(request, "reference_launch"));
    }
    good = good && hone__gpu_memory_watch(child);
    if (good)
        answer_good(child, id);
    else
        answer_failure(child, id, stage, -1);
}

static double positive(const cJSON *request, const char *name, double fallback) {
    double value = hone__json_number(request, name, fallback);
    return value > 0.0 && value < 1e15 ? value : fallback;
}

static void do_measure(hone__gpu_child *child, uint64_t id, const cJSON *request) {
    hone__trial wanted = {.precision = positive(request, "precision", 0.01),
                          .budget_ms = positive(request, "budget_ms", 500.0),
                          .incumbent_ns = positive(request, "incumbent_ns", 0.0)};
    hone__gpu_launch launch;
    const char *object = hone__json_string(request, "object");
    hone__gpu_loaded *loaded = NULL;
    if (object == NULL || !hone__gpu_launch_read(cJSON_GetObjectItemCaseSensitive(request, "launch"), &launch))
        (void)hone__gpu_refuse(child, HONE_OUTCOME_EVALUATOR, "no object or no launch geometry");
    else
        loaded = hone__gpu_module_ready(child, object, &launch);
    if (loaded == NULL || !hone__gpu_time(child, loaded, &launch, &wanted)) {
        answer_failure(child, id, "run", -1);
        return;
    }
    const hone__measurement *r = &child->result;
    hone__buf line;
    hone__reply_begin(&line, id, true);
    hone__reply_measured(&line, r);
    resources(&line, child, loaded, &launch);
    hone__buf_char(&line, '}');
    send_line(child, &line);
}

static void do_compare(hone__gpu_child *child, uint64_t id, const cJSON *request) {
    static char *object[64];
    static hone__gpu_launch launch[64];
    uint32_t count = 0, rounds = 0;
    int32_t subject = -1;
    bool good = true;
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(request, "items")) {
        const cJSON *path = cJSON_GetObjectItemCaseSensitive(item, "object");
        good = good && count < 64 && cJSON_IsString(path) && hone__gpu_launch_read(cJSON_GetObjectItemCaseSensitive(item, "launch"), &launch[count]);
        if (good)
            object[count++] = path->valuestring;
    }
    good = good && count > 0;
    if (!good)
        (void)hone__gpu_refuse(child, HONE_OUTCOME_EVALUATOR, "malformed compare");
    good = good && hone__gpu_compare_all(child, object, launch, count, (uint32_t)positive(request, "rounds", 5.0),
                                         positive(request, "budget_ms", 1000.0), &subject, &rounds);
    if (!good || rounds == 0) {
        answer_failure(child, id, "compare", subject);
        return;
    }
    hone__buf line;
    hone__reply_begin(&line, id, true);
    hone__buf_printf(&line, ",\"rounds\":%u,\"samples_ns\":[", rounds);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t r = 0; r < rounds; r++) {
            hone__buf_text(&line, r > 0 ? "," : i > 0 ? ",[" : "[");
            hone__buf_json_double(&line, child->sample[(size_t)r * count + i]);
        }
        hone__buf_char(&line, ']');
    }
    hone__buf_text(&line, "]}");
    send_line(child, &line);
}

static void serve(hone__gpu_child *child, const cJSON *request) {
    static const struct {
        const char *op;
        void (*run)(hone__gpu_child *child, uint64_t id, const cJSON *request);
    } ops[] = {{"open", do_open}, {"peaks", do_peaks}, {"prepare", do_prepare}, {"measure", do_measure}, {"compare", do_compare}};
    const char *op = hone__json_string(request, "op");
    int64_t id = 0;
    (void)hone__json_int(cJSON_GetObjectItemCaseSensitive(request, "id"), &id);
    child->result = (hone__measurement){.outcome = HONE_OUTCOME_OK};
    child->slate->job_since_ns = hone__clock_ns();
    hone__gpu_stage(child, HONE_STAGE_START);
    child->slate->job = (uint64_t)id;
    for (size_t i = 0; op != NULL && i < sizeof ops / sizeof ops[0]; i++) {
        if (strcmp(op, ops[i].op) == 0)
            ops[i].run(child, (uint64_t)id, request);
    }
    hone__gpu_stage(child, HONE_STAGE_DONE);
}

/* ---- life ---- */

static void pin(int core) {
    cpu_set_t set;
    if (core < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

/* The next whole line, or false at the end. */
static bool next_line(hone__buf *in, size_t *taken, char **line, size_t *bytes) {
    if (*taken > 0) {
        memmove(in->data, in->data + *taken, in->length - *taken);
        in->length -= *taken;
        *taken = 0;
    }
    for (;;) {
        char *newline = in->length > 0 ? memchr(in->data, '\n', in->length) : NULL;
        if (newline != NULL) {
            *line = in->data;
            *bytes = (size_t)(newline - in->data);
            *taken = *bytes + 1;
            return true;
        }
        char chunk[65536];
        ssize_t got = read(0, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        hone__buf_bytes(in, chunk, (size_t)got);
        if (in->status != HONE_OK)
            return false;
    }
}

int hone__gpu_child_main(void *context) {
    hone__gpu_child *child = context;
    hone__buf in;
    size_t taken = 0, bytes = 0;
    char *line = NULL;
    hone__buf_init(&in, 2 * (size_t)HONE_LIMIT_MESSAGE_BYTES + 65536);
    /* What a kernel prints goes to stdout, so the worker's lines must not. */
    child->out_fd = dup(1);
    if (child->out_fd < 0 || dup2(2, 1) < 0)
        return 1;
    pin(child->core);
    if (!identify(child))
        return 0;
    (void)make_context(child); /* if not, `open` says so */
    while (!child->lost && next_line(&in, &taken, &line, &bytes)) {
        cJSON *request = NULL;
        if (hone__json_parse(&request, line, bytes, "request", NULL) != HONE_OK)
            return 1;
        serve(child, request);
        cJSON_Delete(request);
    }
    return 0; /* the driver frees the context with the process */
}
