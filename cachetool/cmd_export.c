/* cmd_export.c: hone export, import and merge: entries between caches and packs. */
#include "bar.h"
#include "render.h"
#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void exchange_people(const cJSON *report) {
    render_object(stdout, report, 0, "hone");
}

static bool output_given(const invocation *in) {
    return in->settings.output != NULL && strcmp(in->settings.output, "-") != 0;
}

/* ---- export ---- */

/* The pack of a cache; of a pack, the pack of those of its entries that are wanted. */
static int write_pack(const invocation *in, const char *path, const char *output, bool force) {
    work w;
    hone_error err = {0};
    hone_cache *cache = NULL;
    char *json = NULL;
    hone_status status;
    if (!hone_is_pack(path)) {
        int code = work_cache(&cache, in, path, false);
        if (code != EXIT_CODE_OK)
            return code;
        if (cache == NULL)
            return EXIT_CODE_ENVIRONMENT; /* nothing to export, which was said */
    }
    work_begin(&w, in, "exporting");
    w.exchange.force = force;
    if (cache != NULL)
        status = hone_export(&json, cache, output, &w.exchange, &err);
    else
        status = hone_merge(&json, output, &path, 1, &w.exchange, &err);
    int code = work_end(&w, output, status, &err);
    print_report(in, json, exchange_people);
    hone_free(json);
    hone_cache_close(cache);
    return code;
}

static int write_lines(const invocation *in, const char *path) {
    work w;
    hone_error err = {0};
    char *json = NULL;
    work_begin(&w, in, "exporting");
    int code = work_end(&w, path, hone_dump(&json, path, in->settings.output, &w.options, &err), &err);
    print_report(in, json, NULL);
    hone_free(json);
    return code;
}

/* By way of a pack beside the output, which goes again. */
static int write_embedded(const invocation *in, const char *path) {
    const settings *set = &in->settings;
    size_t bytes = strlen(set->output) + 48;
    char *pack = malloc(bytes);
    hone_error err = {0};
    hone_embed_options options = HONE_EMBED_OPTIONS_INIT;
    options.force = set->force;
    options.format = set->format;
    options.symbol = set->symbol;
    options.machine = set->machine;
    if (pack == NULL)
        return report(in, HONE_E_NOMEM, &err);
    (void)snprintf(pack, bytes, "%s.tmp-pack-%ld", set->output, (long)getpid());
    int code = write_pack(in, path, pack, true);
    if (code == EXIT_CODE_OK && !set->dry_run) {
        hone_status status = hone_embed(pack, set->output, &options, &err);
        code = status == HONE_OK ? EXIT_CODE_OK : report(in, status, &err);
    }
    (void)unlink(pack);
    free(pack);
    return code;
}

int cmd_export(const invocation *in) {
    const settings *set = &in->settings;
    const char *path;
    if (!work_file(in, 0, &path))
        return EXIT_CODE_USAGE;
    if (!output_given(in))
        return usage_error(in, "say with --output which file to write");
    bool embedded = set->format != NULL && (strcmp(set->format, "c-header") == 0 || strcmp(set->format, "object") == 0);
    if (!embedded && (set->symbol != NULL || set->machine != NULL))
        return usage_error(in, "--symbol and --machine are for --format c-header and object");
    if (set->format != NULL && strcmp(set->format, "jsonl") == 0)
        return set->dry_run ? usage_error(in, "--dry-run is for packs; jsonl only reads") : write_lines(in, path);
    return embedded ? write_embedded(in, path) : write_pack(in, path, set->output, set->force);
}

/* ---- import ---- */

int cmd_import(const invocation *in) {
    work w;
    hone_error err = {0};
    hone_cache *cache = NULL;
    char *json = NULL;
    int code = cache_open(&cache, in, CACHE_WRITE);
    if (code != EXIT_CODE_OK)
        return code;
    work_begin(&w, in, "importing");
    code = work_end(&w, in->operand[0], hone_import(&json, cache, in->operand[0], &w.exchange, &err), &err);
    print_report(in, json, exchange_people);
    hone_free(json);
    hone_cache_close(cache);
    return code;
}

/* ---- merge ---- */

int cmd_merge(const invocation *in) {
    work w;
    hone_error err = {0};
    char *json = NULL;
    if (!output_given(in))
        return usage_error(in, "say with --output which file to write");
    work_begin(&w, in, "merging");
    hone_status status = hone_merge(&json, in->settings.output, in->operand, in->operand_count, &w.exchange, &err);
    int code = work_end(&w, in->settings.output, status, &err);
    print_report(in, json, exchange_people);
    hone_free(json);
    return code;
}
