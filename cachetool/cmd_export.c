/* cmd_export.c: hone export, import and merge: entries between caches and packs. */
#include "render.h"
#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put_reasons(const cJSON *input) {
    const cJSON *reason = NULL;
    cJSON_ArrayForEach(reason, json_at(input, "reasons")) {
        printf("    ");
        put_safe(stdout, reason->string, 0);
        printf(": %.0f\n", reason->valuedouble);
    }
}

static void put_input(const cJSON *input) {
    const char *path = json_string_at(input, "path");
    printf("  ");
    put_safe(stdout, path != NULL ? path : "?", 0);
    printf(": ");
    put_count(stdout, json_number_at(input, "entries", 0), "entry", "entries");
    printf("; imported %.0f, kept %.0f, the same %.0f, conflicting %.0f, rejected %.0f", json_number_at(input, "imported", 0),
           json_number_at(input, "kept", 0), json_number_at(input, "same", 0), json_number_at(input, "conflicting", 0),
           json_number_at(input, "rejected", 0));
    if (json_number_at(input, "filtered", 0) > 0)
        printf(", left out by the filter %.0f", json_number_at(input, "filtered", 0));
    if (json_number_at(input, "removed", 0) > 0)
        printf(", removed since the base %.0f", json_number_at(input, "removed", 0));
    if (json_number_at(input, "rejected_kernels", 0) > 0)
        printf(", kernels rejected %.0f", json_number_at(input, "rejected_kernels", 0));
    putchar('\n');
    put_reasons(input);
}

/* "app.hpk: 12 entries, 1 kernel, 34.5 KiB", and what became of the entries of each input. */
static void exchange_people(const cJSON *report) {
    bool dry = cJSON_IsTrue(json_at(report, "dry_run"));
    const char *output = json_string_at(report, "output");
    char bytes[SHORT_TEXT];
    if (output != NULL) {
        put_safe(stdout, output, 0);
        format_bytes(bytes, json_number_at(report, "bytes", 0));
        printf("%s: ", dry ? " (not written)" : "");
        put_count(stdout, json_number_at(report, "entries", 0), "entry", "entries");
        printf(", ");
        put_count(stdout, json_number_at(report, "kernels", 0), "kernel", "kernels");
        printf(", %s\n", bytes);
    } else {
        printf("%s", dry ? "would import " : "imported ");
        put_count(stdout, json_number_at(report, "imported", 0), "entry", "entries");
        printf(", ");
        put_count(stdout, json_number_at(report, "kernels", 0), "kernel", "kernels");
        putchar('\n');
    }
    const cJSON *input = NULL;
    cJSON_ArrayForEach(input, json_at(report, "inputs")) put_input(input);
}

/* Records that were refused are no success. */
static int refused_code(int code, const char *json) {
    cJSON *report = json == NULL ? NULL : cJSON_Parse(json);
    bool refused = json_number_at(report, "rejected", 0) > 0 || json_number_at(report, "rejected_kernels", 0) > 0;
    cJSON_Delete(report);
    return code == EXIT_CODE_OK && refused ? EXIT_CODE_INPUT : code;
}

static bool output_given(const invocation *in) {
    return in->settings.output != NULL && strcmp(in->settings.output, "-") != 0;
}

/* ---- export ---- */

/* A message about the pack in between speaks of the file that was asked for. */
static void name_output(hone_error *err, const char *between, const char *asked) {
    char *at = strstr(err->message, between);
    size_t old = strlen(between), new = strlen(asked); /* `between` is `asked` and more, so the message becomes shorter */
    if (at == NULL || old <= new)
        return;
    memcpy(at, asked, new);
    memmove(at + new, at + old, strlen(at + old) + 1);
}

/* The pack of a cache; of a pack, the pack of those of its entries that are wanted. */
static int write_pack(const invocation *in, const char *path, const char *output, bool force, char **report) {
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
    name_output(&err, output, in->settings.output);
    int code = refused_code(work_end(&w, output, status, &err), json);
    hone_cache_close(cache);
    *report = json;
    return code;
}

/* The report of the pack in between, with the name that was asked for. */
static void print_embedded(const invocation *in, const char *json) {
    cJSON *report = json == NULL ? NULL : cJSON_Parse(json);
    if (report == NULL)
        return;
    (void)cJSON_ReplaceItemInObjectCaseSensitive(report, "output", cJSON_CreateString(in->settings.output));
    char *text = cJSON_PrintUnformatted(report);
    print_report(in, text, exchange_people);
    cJSON_free(text);
    cJSON_Delete(report);
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
    char *json = NULL;
    int code = write_pack(in, path, pack, true, &json);
    if ((code == EXIT_CODE_OK || code == EXIT_CODE_INPUT) && json != NULL && !set->dry_run) {
        hone_status status = hone_embed(pack, set->output, &options, &err);
        name_output(&err, pack, set->output);
        code = status == HONE_OK ? code : report(in, status, &err);
        if (status != HONE_OK) {
            hone_free(json);
            json = NULL;
        }
    }
    (void)unlink(pack);
    free(pack);
    print_embedded(in, json);
    hone_free(json);
    return code;
}

static int write_plain(const invocation *in, const char *path) {
    char *json = NULL;
    int code = write_pack(in, path, in->settings.output, in->settings.force, &json);
    print_report(in, json, exchange_people);
    hone_free(json);
    return code;
}

int cmd_export(const invocation *in) {
    const settings *set = &in->settings;
    const char *path;
    if (!work_file(in, 0, &path))
        return EXIT_CODE_USAGE;
    if (!output_given(in))
        return usage_error(in, "say with --output which file to write");
    if (work_output_is_cache(in))
        return EXIT_CODE_ENVIRONMENT;
    bool embedded = set->format != NULL && (strcmp(set->format, "c-header") == 0 || strcmp(set->format, "object") == 0);
    if (!embedded && (set->symbol != NULL || set->machine != NULL))
        return usage_error(in, "--symbol and --machine are for --format c-header and object");
    if (set->format != NULL && strcmp(set->format, "jsonl") == 0)
        return set->dry_run ? usage_error(in, "--dry-run is for packs; jsonl only reads") : work_dump(in, path);
    return embedded ? write_embedded(in, path) : write_plain(in, path);
}

/* ---- import ---- */

/* Into a cache that is not there goes everything that a merge of the pack alone would write. */
static hone_status import_into_nothing(char **json, const invocation *in, const work *w, hone_error *err) {
    const char *target = in->settings.cache != NULL ? in->settings.cache : "cache";
    hone_exchange_options options = w->exchange;
    options.force = 1;
    char *merged = NULL;
    hone_status status = hone_merge(&merged, target, in->operand, 1, &options, err);
    cJSON *report = merged == NULL ? NULL : cJSON_Parse(merged);
    hone_free(merged);
    static const char *const of_the_pack[] = {"entries", "bytes", "strings", "checksum"};
    for (size_t i = 0; i < sizeof of_the_pack / sizeof of_the_pack[0]; i++)
        cJSON_DeleteItemFromObjectCaseSensitive(report, of_the_pack[i]);
    (void)cJSON_ReplaceItemInObjectCaseSensitive(report, "output", cJSON_CreateNull());
    *json = report == NULL ? NULL : cJSON_PrintUnformatted(report);
    cJSON_Delete(report);
    return status;
}

/* A pack or cache that cannot be used is refused before a cache is made for it: a listing that ends at once has opened it. */
static int check_opens(const invocation *in) {
    work w;
    hone_error err = {0};
    work_begin(&w, in, "opening");
    w.options.progress = stop_at_once;
    w.options.line = NULL;
    hone_status status = hone_list(NULL, in->operand[0], &w.options, &err);
    return work_end(&w, in->operand[0], status == HONE_E_CANCELLED ? HONE_OK : status, &err);
}

int cmd_import(const invocation *in) {
    work w;
    hone_error err = {0};
    hone_cache *cache = NULL;
    char *json = NULL, *own = NULL;
    int code = check_opens(in);
    if (code == EXIT_CODE_OK)
        code = work_target(in, &cache);
    if (code != EXIT_CODE_OK)
        return code;
    work_begin(&w, in, "importing");
    hone_status status;
    if (cache != NULL)
        status = hone_import(&json, cache, in->operand[0], &w.exchange, &err);
    else
        status = import_into_nothing(&own, in, &w, &err);
    code = refused_code(work_end(&w, in->operand[0], status, &err), json != NULL ? json : own);
    print_report(in, json != NULL ? json : own, exchange_people);
    hone_free(json);
    cJSON_free(own);
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
    if (work_output_is_cache(in))
        return EXIT_CODE_ENVIRONMENT;
    work_begin(&w, in, "merging");
    hone_status status = hone_merge(&json, in->settings.output, in->operand, in->operand_count, &w.exchange, &err);
    int code = refused_code(work_end(&w, in->settings.output, status, &err), json);
    print_report(in, json, exchange_people);
    hone_free(json);
    return code;
}
