/* work.c: see work.h. */
#include "work.h"

#include "bar.h"
#include "render.h"

#include <string.h>

static uint32_t effort_of(const char *name) {
    if (name == NULL)
        return 0;
    return strcmp(name, "quick") == 0 ? 1 : strcmp(name, "standard") == 0 ? 2 : 3;
}

static uint32_t policy_of(const char *name) {
    if (name == NULL || strcmp(name, "best") == 0)
        return HONE_MERGE_BEST;
    return strcmp(name, "newest") == 0 ? HONE_MERGE_NEWEST : strcmp(name, "ours") == 0 ? HONE_MERGE_OURS : HONE_MERGE_THEIRS;
}

static void filter_fill(hone_filter *to, const settings *from) {
    to->kernel = from->kernel;
    to->device = from->on_device;
    to->strategy = from->strategy;
    to->tool_version = from->tool_version;
    to->effort_min = to->effort_max = effort_of(from->effort);
    to->speedup_min = from->min_speedup;
    to->speedup_max = from->max_speedup;
    to->created_after = from->newer_than_unix_s;
    to->created_before = from->older_than_unix_s;
}

/* What happened to one entry, for --verbose: {"action", "key", "input" or "line", "reason"}; refusals are always told. */
static int on_event(const char *json, void *user) {
    const work *w = user;
    cJSON *event = cJSON_Parse(json);
    const char *action = json_string_at(event, "action"), *key = json_string_at(event, "key");
    const char *input = json_string_at(event, "input"), *reason = json_string_at(event, "reason");
    bool refused = action != NULL && strcmp(action, "rejected") == 0;
    if (action != NULL && ((refused && !w->in->settings.quiet) || w->in->settings.verbose)) {
        char text[768], where[320] = "";
        double line = json_number_at(event, "line", 0);
        if (line > 0)
            (void)snprintf(where, sizeof where, "line %.0f: ", line);
        else if (input != NULL)
            (void)snprintf(where, sizeof where, "%.300s: ", input);
        (void)snprintf(text, sizeof text, "%s%.40s%s%.32s: %.300s", where, action, key != NULL ? " " : "", key != NULL ? key : "",
                       reason != NULL ? reason : "-");
        bar_clear();
        put_safe(stderr, text, 0);
        fputc('\n', stderr);
    }
    cJSON_Delete(event);
    return 0;
}

void work_begin(work *w, const invocation *in, const char *verb) {
    const settings *set = &in->settings;
    *w = (work){.options = HONE_WORK_OPTIONS_INIT, .filter = HONE_FILTER_INIT, .pack = HONE_PACK_OPTIONS_INIT, .exchange = HONE_EXCHANGE_OPTIONS_INIT, .in = in};
    filter_fill(&w->filter, set);
    w->pack.require_signature = set->trust != NULL;
    w->pack.trust = set->trust;
    w->pack.signature = set->signature;
    w->options.dry_run = w->exchange.dry_run = set->dry_run;
    w->options.force = w->exchange.force = set->force;
    w->options.strict = set->strict;
    w->options.keep_s = set->keep_s;
    w->options.filter = w->exchange.filter = &w->filter;
    w->options.pack = w->exchange.pack = &w->pack;
    w->options.progress = w->exchange.progress = bar_work;
    w->options.user = w->exchange.user = w;
    w->options.line = w->exchange.event = on_event;
    w->exchange.policy = policy_of(set->policy);
    w->exchange.base = set->base;
    w->exchange.without_source = set->without_source;
    bar_work_begin(in, verb, catch_signals());
}

bool work_file(const invocation *in, size_t index, const char **path) {
    *path = in->settings.cache;
    if (in->operand_count <= index)
        return true;
    if (*path != NULL) {
        (void)usage_error(in, "name one file: \"%.60s\" and --cache exclude each other", in->operand[index]);
        return false;
    }
    *path = in->operand[index];
    return true;
}

int work_end(const work *w, const char *path, hone_status status, const hone_error *err) {
    bar_end();
    if (status == HONE_OK)
        return EXIT_CODE_OK;
    if (ferror(stdout))
        return EXIT_CODE_ENVIRONMENT; /* main says so */
    if (is_missing(status, err) && path == NULL) {
        remark(w->in, "There is no cache yet; `hone tune` makes one.");
        return EXIT_CODE_OK;
    }
    return report(w->in, status, err);
}

bool work_output_is_cache(const invocation *in) {
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    hone_cache *cache = NULL;
    hone_error err = {.code = HONE_E_EXISTS};
    options.read_only = 1;
    if (hone_is_pack(in->settings.output) || hone_cache_open(&cache, in->settings.output, &options, NULL) != HONE_OK)
        return false;
    hone_cache_close(cache);
    (void)snprintf(err.message, sizeof err.message, "%.300s is a cache, which no file replaces; name another, or `hone import` into it", in->settings.output);
    (void)report(in, HONE_E_EXISTS, &err);
    return true;
}

int work_cache(hone_cache **out, const invocation *in, const char *path, bool write) {
    invocation own = *in;
    own.settings.cache = path;
    int code = cache_open(out, &own, CACHE_READ);
    if (code != EXIT_CODE_OK || *out == NULL || !write)
        return code;
    hone_cache_close(*out);
    return cache_open(out, &own, CACHE_WRITE);
}

int work_target(const invocation *in, hone_cache **cache) {
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    hone_error err = {0};
    *cache = NULL;
    if (!in->settings.dry_run)
        return cache_open(cache, in, CACHE_WRITE);
    options.read_only = 1;
    hone_status status = hone_cache_open(cache, in->settings.cache, &options, &err);
    return status == HONE_OK || is_missing(status, &err) ? EXIT_CODE_OK : report(in, status, &err);
}

int stop_at_once(uint64_t done, uint64_t total, void *user) {
    (void)done;
    (void)total;
    (void)user;
    return 1;
}

void print_report(const invocation *in, const char *json, void (*people)(const cJSON *report)) {
    if (json == NULL)
        return;
    if (in->settings.json) {
        put_json(json);
        return;
    }
    cJSON *root = json_read(in, json);
    if (root == NULL)
        return;
    if (people != NULL)
        people(root);
    else
        render_object(stdout, root, 0, "hone");
    cJSON_Delete(root);
}

void put_count(FILE *to, double count, const char *one, const char *many) {
    char text[SHORT_TEXT];
    format_count(text, count);
    bool single = count > 0.5 && count < 1.5;
    fprintf(to, "%s %s", text, single ? one : many);
}
