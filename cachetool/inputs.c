/* inputs.c: see inputs.h. */
#include "inputs.h"

#include "bar.h"
#include "render.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int exit_code_of(hone_status status) {
    switch (status) {
    case HONE_OK:
        return EXIT_CODE_OK;
    case HONE_E_ARG:
        return EXIT_CODE_USAGE;
    case HONE_E_SPEC:
    case HONE_E_JSON:
    case HONE_E_CORRUPT:
    case HONE_E_VERSION:
    case HONE_E_CONFIG:
    case HONE_E_EXPR:
    case HONE_E_LIMIT:
    case HONE_E_NOVALID:
        return EXIT_CODE_INPUT;
    case HONE_E_UNSUPPORTED:
    case HONE_E_NOTFOUND: /* a file; a key that is not there is a miss, which its commands say */
    case HONE_E_EXISTS:
    case HONE_E_IO:
    case HONE_E_NOSPACE:
    case HONE_E_PERM:
    case HONE_E_NETFS:
    case HONE_E_UNSAFE:
    case HONE_E_STORE:
    case HONE_E_BUSY:
    case HONE_E_FULL:
    case HONE_E_NODEVICE:
    case HONE_E_NODRIVER:
    case HONE_E_EVALUATOR:
    case HONE_E_TIMEOUT:
    case HONE_E_CANCELLED:
    case HONE_E_NOMEM:
        return EXIT_CODE_ENVIRONMENT;
    case HONE_E_NETWORK:
    case HONE_E_PROVIDER:
    case HONE_E_REPLY:
    case HONE_E_NOMODEL:
        return EXIT_CODE_NETWORK;
    case HONE_E_FORKED:
    case HONE_E_STATE:
    case HONE_E_BUG:
        break;
    }
    return EXIT_CODE_BUG;
}

int report(const invocation *in, hone_status status, const hone_error *err) {
    bar_clear();
    fprintf(stderr, "%shone %s:%s ", style_on(stderr, STYLE_BAD), in->command->name, style_off(stderr));
    put_safe(stderr, err->message[0] != '\0' ? err->message : hone_status_text(status), 0);
    fprintf(stderr, " [%s]\n", hone_status_name(status));
    return exit_code_of(status);
}

void remark(const invocation *in, const char *format, ...) {
    if (in->settings.quiet)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bar_clear();
    put_safe(stderr, text, 0);
    fputc('\n', stderr);
}

struct cJSON *json_read(const invocation *in, const char *json) {
    cJSON *root = cJSON_Parse(json);
    if (root == NULL)
        fprintf(stderr, "hone %s: the library printed text that is not JSON; please report this\n", in->command->name);
    return root;
}

/* ---- signals ---- */

static volatile int cancelled;

static void on_signal(int number) {
    (void)number;
    cancelled = 1;
}

const volatile int *catch_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    return &cancelled;
}

/* ---- log ---- */

static void log_line(hone_log_level level, const char *subsystem, const char *message, void *user) {
    static const char *const name[] = {"", "error", "warning", "note", "debug"};
    (void)user;
    bar_clear();
    fprintf(stderr, "%shone: %s:%s %s: ", style_on(stderr, level <= HONE_LOG_WARN ? STYLE_BAD : STYLE_DIM),
            level >= HONE_LOG_ERROR && level <= HONE_LOG_DEBUG ? name[level] : "log", style_off(stderr), subsystem);
    put_safe(stderr, message, 0);
    fputc('\n', stderr);
}

void log_to_stderr(const invocation *in) {
    hone_set_log(log_line, in->settings.verbose ? HONE_LOG_DEBUG : HONE_LOG_WARN, NULL);
}

/* ---- cache ---- */

/* A program that links the library bounds its cache at a gigabyte, unless it says otherwise; what people import is bounded by their disk.  Only
 * addresses are taken. */
#define MAP_BYTES_MAX (UINT64_C(64) << 30)

bool is_missing(hone_status status, const hone_error *err) {
    return status == HONE_E_NOTFOUND || (status == HONE_E_IO && (err->os_code == ENOENT || err->os_code == ENOTDIR));
}

int cache_open(hone_cache **out, const invocation *in, cache_use use) {
    hone_error err = {0};
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    const char *path = in->settings.cache;
    *out = NULL;
    if (use == CACHE_NONE)
        return EXIT_CODE_OK;
    if (use == CACHE_WRITE) {
        options.map_bytes_max = MAP_BYTES_MAX;
        hone_status status = hone_cache_open(out, path, &options, &err);
        return status == HONE_OK ? EXIT_CODE_OK : report(in, status, &err);
    }
    options.read_only = 1;
    hone_status status = hone_cache_open(out, path, &options, &err);
    if (is_missing(status, &err) && path == NULL) {
        remark(in, "There is no cache yet; `hone tune` makes one.");
        return EXIT_CODE_OK;
    }
    if (status != HONE_OK && use == CACHE_READ)
        return report(in, status, &err);
    if (status != HONE_OK) {
        (void)report(in, status, &err);
        remark(in, "Going on without a cache.");
        return EXIT_CODE_OK;
    }
    if (use == CACHE_ANSWER) {
        /* It is there and sound: now with counters, where we may write. */
        hone_cache *writable = NULL;
        options.read_only = 0;
        hone_cache_close(*out);
        *out = NULL;
        if (hone_cache_open(&writable, path, &options, NULL) == HONE_OK) {
            *out = writable;
            return EXIT_CODE_OK;
        }
        options.read_only = 1;
        status = hone_cache_open(out, path, &options, &err);
        if (status != HONE_OK)
            (void)report(in, status, &err);
    }
    return EXIT_CODE_OK;
}

/* ---- kernel, problem, device ---- */

/* A spec from stdin: as much as a spec may have, and one byte more so that the library can refuse it. */
static hone_status load_stdin(hone_kernel **out, hone_error *err) {
    enum { SPEC_BYTES = (1 << 20) + 1 };
    char *text = malloc(SPEC_BYTES);
    if (text == NULL) {
        err->code = HONE_E_NOMEM;
        return HONE_E_NOMEM;
    }
    size_t bytes = fread(text, 1, SPEC_BYTES, stdin);
    hone_status status = hone_kernel_parse(out, text, bytes, NULL, "<stdin>", err);
    free(text);
    return status;
}

/* A pack that was named and cannot be used is an error: an answer without it would not be what was asked for. */
static int add_packs(inputs *out, const invocation *in) {
    hone_error err = {0};
    hone_pack_options options = HONE_PACK_OPTIONS_INIT;
    options.require_signature = in->settings.trust != NULL;
    options.trust = in->settings.trust;
    hone_status status = out->cache == NULL ? hone_cache_new(&out->cache, &err) : HONE_OK;
    for (size_t i = 0; i < in->settings.pack.count && status == HONE_OK; i++)
        status = hone_cache_add_pack(out->cache, in->settings.pack.path[i], &options, &err);
    return status == HONE_OK ? EXIT_CODE_OK : report(in, status, &err);
}

int inputs_open(inputs *out, const invocation *in, cache_use use) {
    const settings *set = &in->settings;
    hone_error err = {0};
    *out = (inputs){0};
    bool from_stdin = strcmp(in->operand[0], "-") == 0;
    hone_status status = from_stdin ? load_stdin(&out->kernel, &err) : hone_kernel_load(&out->kernel, in->operand[0], &err);
    if (status != HONE_OK)
        return report(in, status, &err);
    hone_problem_init(out->kernel, &out->problem);
    for (size_t i = 0; i < set->set_count; i++) {
        status = hone_problem_set(out->kernel, &out->problem, set->set[i].name, set->set[i].value, &err);
        if (status != HONE_OK)
            return report(in, status, &err);
    }
    if (use != CACHE_WRITE) /* a tuning finds out by itself */
        status = hone_device_for(&out->device, out->kernel, set->device, set->evaluator, &err);
    if (status != HONE_OK)
        return report(in, status, &err);
    int code = cache_open(&out->cache, in, use);
    return code == EXIT_CODE_OK && set->pack.count > 0 ? add_packs(out, in) : code;
}

void inputs_close(inputs *out) {
    hone_cache_close(out->cache);
    hone_device_free(out->device);
    hone_kernel_free(out->kernel);
    *out = (inputs){0};
}

void tune_options_fill(hone_tune_options *to, const settings *from) {
    to->force = from->force;
    to->search = from->search;
    to->evaluator = from->evaluator;
    to->device = from->device;
    to->trials_max = (uint32_t)from->max_trials;
    to->rounds_max = (uint32_t)from->rounds;
    to->time_max_s = from->max_time;
    to->min_gain = from->whole_budget ? -1 : from->min_gain;
    to->roofline_stop = from->whole_budget ? -1 : from->roofline_stop;
    to->seed = from->seed;
    to->tokens_max = from->tokens;
    to->llm_provider = from->llm_provider;
    to->llm_model = from->llm_model;
    to->llm_api_base = from->llm_api_base;
    to->llm_command = from->llm_command;
    to->llm_mailbox = from->llm_mailbox;
    to->llm_replay = from->llm_replay;
    to->transcript = from->transcript;
    to->llm_timeout_s = (uint32_t)from->llm_timeout;
    to->configs_per_round = (uint32_t)from->configs_per_round;
}
