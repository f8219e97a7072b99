/* cmd_ls.c: hone ls: the entries of a cache, one a line. */
#include "inputs.h"
#include "render.h"

#include <math.h>
#include <time.h>

typedef struct listing {
    const invocation *in;
    table table;
    size_t count;
} listing;

static void age_text(char text[SHORT_TEXT], double created_unix_s) {
    double age = difftime(time(NULL), (time_t)0) - created_unix_s;
    if (created_unix_s <= 0 || age < 0)
        (void)snprintf(text, SHORT_TEXT, "-");
    else
        format_seconds(text, floor(age));
}

static void add_row(listing *list, const cJSON *entry) {
    char key[16], sizes[160], time_text[SHORT_TEXT], speedup[SHORT_TEXT] = "-", age[SHORT_TEXT], device[40];
    double ms = json_number_at(entry, "time_ms", 0), default_ms = json_number_at(entry, "default_ms", 0);
    const char *device_name = json_string_at(entry, "device.name"), *kernel = json_string_at(entry, "kernel");
    const char *key_text = json_string_at(entry, "key"), *strategy = json_string_at(entry, "strategy");
    (void)snprintf(key, sizeof key, "%.12s", key_text != NULL ? key_text : "?");
    (void)snprintf(device, sizeof device, "%.36s", device_name != NULL ? device_name : "-");
    format_sizes(sizes, sizeof sizes, json_at(entry, "sizes"));
    format_ms(time_text, ms);
    if (ms > 0 && default_ms > 0)
        (void)snprintf(speedup, sizeof speedup, "%.2fx", default_ms / ms);
    age_text(age, json_number_at(entry, "created_unix_s", 0));
    table_row(&list->table,
              (const char *const[]){key, kernel != NULL ? kernel : "?", sizes, time_text, speedup, strategy, device, age});
}

static int on_entry(const char *json, void *user) {
    listing *list = user;
    list->count++;
    if (list->in->settings.json) {
        put_json(json);
        return ferror(stdout);
    }
    cJSON *entry = json_read(list->in, json);
    if (entry != NULL)
        add_row(list, entry);
    cJSON_Delete(entry);
    return 0;
}

int cmd_ls(const invocation *in) {
    hone_cache *cache = NULL;
    hone_error err = {0};
    uint64_t damaged = 0;
    listing list = {.in = in};
    int code = cache_open(&cache, in, CACHE_READ);
    if (code != EXIT_CODE_OK || cache == NULL)
        return code;
    table_begin(&list.table, 8);
    if (!in->settings.json)
        table_row(&list.table, (const char *const[]){"key", "kernel", "sizes", "time", "speed-up", "strategy", "device", "age"});
    hone_status status = hone_cache_each(cache, on_entry, &list, &damaged, &err);
    if (list.count > 0 || in->settings.json)
        table_end(&list.table, stdout, 1u << 3 | 1u << 4 | 1u << 7);
    else
        table_end(&list.table, stderr, 0);
    if (list.count == 0 && status == HONE_OK)
        remark(in, "%s has no entries.", hone_cache_path(cache));
    if (damaged > 0)
        fprintf(stderr, "hone ls: %llu damaged records were left out\n", (unsigned long long)damaged);
    code = status == HONE_OK ? EXIT_CODE_OK : report(in, status, &err);
    hone_cache_close(cache);
    return code == EXIT_CODE_OK && damaged > 0 ? EXIT_CODE_INPUT : code;
}
