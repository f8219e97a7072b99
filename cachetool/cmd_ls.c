/* cmd_ls.c: hone ls: the entries of a cache or a pack, one a line. */
#include "bar.h"
#include "render.h"
#include "work.h"

#include <math.h>
#include <time.h>

/* A table's columns are as wide as its widest cell, so it is held until it is printed: in pages, that a long list needs no more memory. */
enum { PAGE_ROWS = 1000 };

typedef struct listing {
    work work;
    const invocation *in;
    table table;
    size_t count, rows;
} listing;

static void begin_page(listing *list) {
    table_begin(&list->table, 8);
    table_row(&list->table, (const char *const[]){"key", "kernel", "sizes", "time", "speed-up", "strategy", "device", "age"});
    list->rows = 0;
}

static void end_page(listing *list) {
    bar_clear();
    table_end(&list->table, stdout, 1u << 3 | 1u << 4 | 1u << 7);
}

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
        bar_clear();
        put_json(json);
        return ferror(stdout);
    }
    cJSON *entry = json_read(list->in, json);
    if (list->rows == PAGE_ROWS) {
        end_page(list);
        begin_page(list);
    }
    if (entry != NULL)
        add_row(list, entry);
    list->rows++;
    cJSON_Delete(entry);
    return ferror(stdout);
}

int cmd_ls(const invocation *in) {
    hone_error err = {0};
    const char *path;
    char *report = NULL;
    listing list = {.in = in};
    if (!work_file(in, 0, &path))
        return EXIT_CODE_USAGE;
    work_begin(&list.work, in, "listing");
    list.work.options.line = on_entry;
    list.work.options.user = &list;
    if (!in->settings.json)
        begin_page(&list);
    hone_status status = hone_list(&report, path, &list.work.options, &err);
    if (!in->settings.json && list.rows > 0)
        end_page(&list);
    else if (!in->settings.json)
        table_drop(&list.table);
    int code = work_end(&list.work, path, status, &err);
    cJSON *root = report == NULL ? NULL : json_read(in, report);
    double left_out = json_number_at(root, "damaged", 0) + json_number_at(root, "newer", 0);
    if (list.count == 0 && root != NULL && json_number_at(root, "entries", 0) > 0)
        remark(in, "None of the %.0f entries of %s fits.", json_number_at(root, "entries", 0), json_string_at(root, "path"));
    else if (list.count == 0 && root != NULL)
        remark(in, "%s has no entries.", json_string_at(root, "path"));
    if (left_out > 0)
        fprintf(stderr, "hone ls: %.0f damaged records were left out\n", left_out);
    cJSON_Delete(root);
    hone_free(report);
    return code == EXIT_CODE_OK && left_out > 0 ? EXIT_CODE_INPUT : code;
}
