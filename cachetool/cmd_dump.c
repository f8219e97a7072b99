/* cmd_dump.c: hone dump and hone load: entries as JSON lines, and back. */
#include "bar.h"
#include "render.h"
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int on_line(const char *json, void *user) {
    (void)user;
    bar_clear();
    put_json(json);
    return ferror(stdout);
}

int work_dump(const invocation *in, const char *path) {
    work w;
    hone_error err = {0};
    const char *output = in->settings.output;
    char *report = NULL;
    if (output != NULL && strcmp(output, "-") == 0)
        output = NULL;
    if (output != NULL && work_output_is_cache(in))
        return EXIT_CODE_ENVIRONMENT;
    work_begin(&w, in, "dumping");
    w.options.line = on_line;
    int code = work_end(&w, path, hone_dump(&report, path, output, &w.options, &err), &err);
    cJSON *root = report == NULL ? NULL : json_read(in, report);
    double left_out = json_number_at(root, "damaged", 0) + json_number_at(root, "newer", 0);
    if (root != NULL && in->settings.json)
        put_json(report);
    else if (root != NULL && output != NULL)
        remark(in, "%s: entries: %.0f; kernels: %.0f", output, json_number_at(root, "entries", 0), json_number_at(root, "kernels", 0));
    if (left_out > 0)
        fprintf(stderr, "hone %s: %.0f damaged records were left out\n", in->command->name, left_out);
    cJSON_Delete(root);
    hone_free(report);
    return code == EXIT_CODE_OK && left_out > 0 ? EXIT_CODE_INPUT : code;
}

int cmd_dump(const invocation *in) {
    const char *path;
    return work_file(in, 0, &path) ? work_dump(in, path) : EXIT_CODE_USAGE;
}

/* ---- load ---- */

static void load_people(const cJSON *report) {
    bool dry = cJSON_IsTrue(json_at(report, "dry_run"));
    printf("%s", dry ? "would import " : "imported ");
    put_count(stdout, json_number_at(report, "imported", 0), "entry", "entries");
    printf(" (%.0f new, %.0f better than what was there); kept %.0f, the same %.0f, rejected %.0f\n", json_number_at(report, "added", 0),
           json_number_at(report, "replaced", 0), json_number_at(report, "kept", 0), json_number_at(report, "same", 0),
           json_number_at(report, "rejected", 0));
}

static int open_input(const invocation *in, int *fd) {
    const char *name = in->operand[0];
    hone_error err = {.code = HONE_E_IO};
    struct stat info;
    *fd = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        (void)snprintf(err.message, sizeof err.message, "cannot open %.300s: %s", name, strerror(errno));
    else if (fstat(*fd, &info) == 0 && S_ISDIR(info.st_mode))
        (void)snprintf(err.message, sizeof err.message, "%.300s is a folder; name a file that `hone dump` wrote", name);
    else
        return EXIT_CODE_OK;
    return report(in, HONE_E_IO, &err);
}

/* A file that is no dump is refused before a cache is made for it.  A dry run that is cancelled at its first progress has read the beginning;
 * what comes from a pipe can be read only once. */
static int check_beginning(const invocation *in, int fd, const char *name) {
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    hone_error err = {0};
    if (lseek(fd, 0, SEEK_CUR) != 0)
        return EXIT_CODE_OK;
    options.dry_run = 1;
    options.progress = stop_at_once;
    hone_status status = hone_load(NULL, NULL, fd, name, &options, &err);
    if (status != HONE_OK && status != HONE_E_CANCELLED)
        return report(in, status, &err);
    return lseek(fd, 0, SEEK_SET) == 0 ? EXIT_CODE_OK : EXIT_CODE_ENVIRONMENT;
}

int cmd_load(const invocation *in) {
    work w;
    hone_error err = {0};
    hone_cache *cache = NULL;
    char *json = NULL;
    int fd, code = open_input(in, &fd);
    const char *name = fd == STDIN_FILENO ? "<stdin>" : in->operand[0];
    if (code == EXIT_CODE_OK)
        code = check_beginning(in, fd, name);
    if (code == EXIT_CODE_OK)
        code = work_target(in, &cache);
    if (code != EXIT_CODE_OK)
        return code;
    work_begin(&w, in, "loading");
    code = work_end(&w, name, hone_load(&json, cache, fd, name, &w.options, &err), &err);
    print_report(in, json, load_people);
    cJSON *root = json == NULL ? NULL : cJSON_Parse(json);
    if (root != NULL && !cJSON_IsTrue(json_at(root, "complete"))) {
        fprintf(stderr, "hone load: ");
        put_safe(stderr, name, 0);
        fprintf(stderr, " is not complete: its last line does not count as many entries and kernels as there were\n");
    }
    if (root != NULL && (json_number_at(root, "rejected", 0) > 0 || !cJSON_IsTrue(json_at(root, "complete"))))
        code = EXIT_CODE_INPUT;
    cJSON_Delete(root);
    hone_free(json);
    hone_cache_close(cache);
    if (fd != STDIN_FILENO)
        (void)close(fd);
    return code;
}
