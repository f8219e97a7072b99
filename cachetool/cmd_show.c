/* cmd_show.c: hone show and hone stats: one entry, and a whole cache or pack, in full. */
#include "render.h"
#include "work.h"

static int print_object(const invocation *in, const char *json, const char *title, const char *skip) {
    if (in->settings.json) {
        put_json(json);
        return EXIT_CODE_OK;
    }
    cJSON *root = json_read(in, json);
    if (root == NULL)
        return EXIT_CODE_BUG;
    render_title(stdout, title);
    render_object(stdout, root, 0, skip);
    cJSON_Delete(root);
    return EXIT_CODE_OK;
}

/* Configs with their times: alternatives (no outcome) and trials. */
static void print_measured(const char *title, const cJSON *list) {
    char number[16], time_text[SHORT_TEXT], noise[SHORT_TEXT];
    if (cJSON_GetArraySize(list) == 0)
        return;
    putchar('\n');
    render_title(stdout, title);
    table t;
    table_begin(&t, 6);
    table_row(&t, (const char *const[]){"#", "time", "noise", "outcome", "by", "config"});
    int index = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list) {
        const char *outcome = json_string_at(item, "outcome"), *reason = json_string_at(item, "reason"), *by = json_string_at(item, "proposer");
        char *config = cJSON_PrintUnformatted(json_at(item, "config"));
        char told[200];
        (void)snprintf(number, sizeof number, "%d", ++index);
        format_ms(time_text, json_number_at(item, "time_ms", 0));
        format_noise(noise, json_number_at(item, "noise", 0));
        (void)snprintf(told, sizeof told, "%.30s%s%.80s", outcome != NULL ? outcome : "ok", reason != NULL && reason[0] != '\0' ? ": " : "",
                       reason != NULL ? reason : "");
        table_row(&t, (const char *const[]){number, time_text, noise, told, by, config});
        cJSON_free(config);
    }
    table_end(&t, stdout, 0x7);
}

static int print_entry(const invocation *in, const char *json) {
    if (in->settings.json) {
        put_json(json);
        return EXIT_CODE_OK;
    }
    cJSON *root = json_read(in, json);
    if (root == NULL)
        return EXIT_CODE_BUG;
    const cJSON *entry = json_at(root, "entry");
    const char *source = json_string_at(root, "kernel.source");
    if (cJSON_IsObject(entry)) {
        render_title(stdout, "Entry");
        render_object(stdout, entry, 0, "alternatives");
        print_measured("Alternatives", json_at(entry, "alternatives"));
    }
    if (cJSON_IsObject(json_at(root, "session"))) {
        putchar('\n');
        render_title(stdout, "Session");
        render_object(stdout, json_at(root, "session"), 0, NULL);
    }
    print_measured("Trials", json_at(root, "trials"));
    if (source != NULL && source[0] != '\0' && in->settings.verbose) {
        putchar('\n');
        render_title(stdout, "Source");
        put_text(stdout, source);
    } else if (source != NULL && source[0] != '\0') {
        remark(in, "--verbose prints the kernel's source, too.");
    }
    cJSON_Delete(root);
    return EXIT_CODE_OK;
}

int cmd_show(const invocation *in) {
    hone_cache *cache = NULL;
    hone_error err = {0};
    char *json = NULL;
    const char *path;
    if (!work_file(in, 1, &path))
        return EXIT_CODE_USAGE;
    hone_status status;
    if (hone_is_pack(path)) {
        status = hone_pack_show(&json, path, in->operand[0], NULL, &err);
    } else {
        int code = work_cache(&cache, in, path, false);
        if (code != EXIT_CODE_OK || cache == NULL)
            return code == EXIT_CODE_OK ? EXIT_CODE_MISS : code;
        status = hone_cache_show(&json, cache, in->operand[0], &err);
    }
    int code = status == HONE_OK ? print_entry(in, json) : report(in, status, &err);
    hone_free(json);
    hone_cache_close(cache);
    return status == HONE_E_NOTFOUND ? EXIT_CODE_MISS : code;
}

int cmd_stats(const invocation *in) {
    hone_cache *cache = NULL;
    hone_error err = {0};
    char *json = NULL;
    const char *path;
    if (!work_file(in, 0, &path))
        return EXIT_CODE_USAGE;
    hone_status status;
    if (hone_is_pack(path)) {
        status = hone_pack_stats(&json, path, NULL, &err);
    } else {
        int code = work_cache(&cache, in, path, false);
        if (code != EXIT_CODE_OK || cache == NULL)
            return code;
        path = hone_cache_path(cache);
        status = hone_cache_stats(&json, cache, &err);
    }
    int code = status == HONE_OK ? print_object(in, json, path, "path|read_only") /* we opened it read-only */ : report(in, status, &err);
    hone_free(json);
    hone_cache_close(cache);
    return code;
}
