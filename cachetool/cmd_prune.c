/* cmd_prune.c: hone prune, compact and gc: looking after a cache's file. */
#include "bar.h"
#include "render.h"
#include "work.h"

typedef hone_status upkeep_fn(char **report, hone_cache *cache, const hone_work_options *options, hone_error *err);

/* The entries that go, for --verbose and for dry runs, which are for looking. */
static int on_pruned(const char *json, void *user) {
    const work *w = user;
    if (w->in->settings.quiet || (!w->in->settings.verbose && !w->in->settings.dry_run))
        return 0;
    cJSON *entry = json_read(w->in, json);
    char sizes[160] = "", line[512], time_text[SHORT_TEXT];
    const char *key = json_string_at(entry, "key"), *kernel = json_string_at(entry, "kernel"), *device = json_string_at(entry, "device.name");
    format_sizes(sizes, sizeof sizes, json_at(entry, "sizes"));
    format_ms(time_text, json_number_at(entry, "time_ms", 0));
    (void)snprintf(line, sizeof line, "%.12s  %.64s  %s  %s  %.36s", key != NULL ? key : "?", kernel != NULL ? kernel : "?", sizes, time_text,
                   device != NULL ? device : "-");
    bar_clear();
    put_safe(stderr, line, 0);
    fputc('\n', stderr);
    cJSON_Delete(entry);
    return 0;
}

static int run(const invocation *in, const char *verb, upkeep_fn *fn, hone_line_fn *line, void (*people)(const cJSON *report)) {
    work w;
    hone_error err = {0};
    hone_cache *cache = NULL;
    const char *path;
    char *report = NULL;
    if (!work_file(in, 0, &path))
        return EXIT_CODE_USAGE;
    if (path != NULL && hone_is_pack(path))
        return usage_error(in, "%.300s is a pack, which nothing changes; `hone export` makes another of what fits the filters", path);
    /* Even a dry run of compact writes, a file of its own. */
    int code = work_cache(&cache, in, path, !in->settings.dry_run || fn == hone_cache_compact);
    if (code != EXIT_CODE_OK || cache == NULL)
        return code;
    work_begin(&w, in, verb);
    w.options.line = line;
    code = work_end(&w, hone_cache_path(cache), fn(&report, cache, &w.options, &err), &err);
    print_report(in, report, people);
    hone_free(report);
    hone_cache_close(cache);
    return code;
}

static bool is_dry(const cJSON *report) {
    return cJSON_IsTrue(json_at(report, "dry_run"));
}

static void prune_people(const cJSON *report) {
    char bytes[SHORT_TEXT];
    format_bytes(bytes, json_number_at(report, "removed_bytes", 0));
    printf("%s", is_dry(report) ? "would remove " : "removed ");
    put_count(stdout, json_number_at(report, "removed", 0), "entry", "entries");
    printf(" (%s); %.0f stay\n", bytes, json_number_at(report, "kept", 0));
}

int cmd_prune(const invocation *in) {
    const settings *set = &in->settings;
    if (set->kernel == NULL && set->on_device == NULL && set->strategy == NULL && set->effort == NULL && set->tool_version == NULL &&
        !(set->min_speedup > 0) && !(set->max_speedup > 0) && set->older_than_unix_s == 0 && set->newer_than_unix_s == 0)
        return usage_error(in, "say which entries: --kernel, --device, --older-than, --effort, ... (to remove them all, remove the file)");
    return run(in, "pruning", hone_cache_prune, on_pruned, prune_people);
}

static void compact_people(const cJSON *report) {
    char before[SHORT_TEXT], after[SHORT_TEXT];
    format_bytes(before, json_number_at(report, "before_bytes", 0));
    format_bytes(after, json_number_at(report, "after_bytes", 0));
    printf("%s%s -> %s\n", is_dry(report) ? "would be " : "", before, after);
}

int cmd_compact(const invocation *in) {
    return run(in, "compacting", hone_cache_compact, NULL, compact_people);
}

static void gc_people(const cJSON *report) {
    char bytes[SHORT_TEXT];
    format_bytes(bytes, json_number_at(report, "bytes", 0));
    printf("%s%.0f journal records, %.0f failures, %.0f claims, %.0f kernels, %.0f files (%s)\n", is_dry(report) ? "would remove " : "removed ",
           json_number_at(report, "journal_records", 0), json_number_at(report, "failures", 0), json_number_at(report, "claims", 0),
           json_number_at(report, "kernels", 0), json_number_at(report, "files", 0), bytes);
}

int cmd_gc(const invocation *in) {
    return run(in, "collecting", hone_cache_gc, NULL, gc_people);
}
