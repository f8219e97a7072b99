/* cmd_verify.c: hone verify.  All reading is done in a child process: LMDB maps a cache, and a file that is damaged in a way that no check
 * foresaw, or that changes meanwhile, must be a report and not our end. */
#define _GNU_SOURCE
#include "bar.h"
#include "render.h"
#include "work.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int on_finding(const char *json, void *user) {
    const work *w = user;
    bar_clear();
    if (w->in->settings.json) {
        put_json(json);
    } else {
        cJSON *line = json_read(w->in, json);
        const char *name = json_string_at(line, "table"), *slot = json_string_at(line, "slot"), *reason = json_string_at(line, "reason");
        printf("%s ", name != NULL ? name : "?");
        put_safe(stdout, slot != NULL ? slot : "?", 0);
        printf(": ");
        put_safe(stdout, reason != NULL ? reason : "damaged", 0);
        putchar('\n');
        cJSON_Delete(line);
    }
    (void)fflush(stdout);
    return ferror(stdout);
}

static void verify_people(const cJSON *report) {
    bool sound = cJSON_IsTrue(json_at(report, "sound"));
    const char *path = json_string_at(report, "path"), *structure = json_string_at(report, "structure"), *signer = json_string_at(report, "signer");
    double damaged = json_number_at(report, "damaged", 0), newer = json_number_at(report, "newer", 0);
    put_safe(stdout, path != NULL ? path : "?", 0);
    printf(": %s%s%s", style_on(stdout, sound ? STYLE_GOOD : STYLE_BAD), sound ? "sound" : "NOT sound", style_off(stdout));
    if (!sound && structure != NULL && strcmp(structure, "sound") != 0) {
        printf(": ");
        put_safe(stdout, structure, 0);
    }
    if (damaged > 0) {
        printf(": ");
        put_count(stdout, damaged, "damaged record", "damaged records");
    }
    if (sound) {
        printf(" (");
        double entries = json_number_at(report, "entries", json_number_at(report, "tables.entry.records", 0));
        put_count(stdout, entries, "entry", "entries");
        if (newer > 0) {
            printf(", ");
            put_count(stdout, newer, "record of a newer Hone", "records of a newer Hone");
        }
        printf(")");
    }
    if (signer != NULL) {
        printf(", signed by ");
        put_safe(stdout, signer, 0);
    }
    putchar('\n');
}

static int verify_here(const invocation *in, const char *path) {
    work w;
    hone_error err = {0};
    char *report = NULL;
    int sound = 0;
    work_begin(&w, in, "checking");
    w.options.line = on_finding;
    hone_status status = hone_verify(&report, &sound, path, &w.options, &err);
    int code = work_end(&w, path, status, &err);
    print_report(in, report, verify_people);
    hone_free(report);
    return code == EXIT_CODE_OK && status == HONE_OK && !sound ? EXIT_CODE_INPUT : code;
}

static int died(const invocation *in, const char *path, int how) {
    char why[128];
    if (WIFSIGNALED(how))
        (void)snprintf(why, sizeof why, "reading it ended the checking process by signal %d (%s)", WTERMSIG(how), strsignal(WTERMSIG(how)));
    else
        (void)snprintf(why, sizeof why, "reading it ended the checking process with status %d", WEXITSTATUS(how));
    cJSON *report = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(report, "hone", 1);
    (void)cJSON_AddStringToObject(report, "path", path != NULL ? path : "the default cache");
    (void)cJSON_AddStringToObject(report, "kind", "cache");
    (void)cJSON_AddFalseToObject(report, "sound");
    (void)cJSON_AddStringToObject(report, "structure", why);
    char *text = cJSON_PrintUnformatted(report);
    print_report(in, text, verify_people);
    cJSON_free(text);
    cJSON_Delete(report);
    return EXIT_CODE_INPUT;
}

int cmd_verify(const invocation *in) {
    const char *path;
    if (!work_file(in, 0, &path))
        return EXIT_CODE_USAGE;
    (void)fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        fprintf(stderr, "hone verify: cannot start a process: %s\n", strerror(errno));
        return EXIT_CODE_ENVIRONMENT;
    }
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)setrlimit(RLIMIT_CORE, &no_core);
        if (getppid() != parent)
            _exit(EXIT_CODE_ENVIRONMENT);
        int code = verify_here(in, path);
        bool lost = fflush(stdout) != 0 || ferror(stdout);
        if (lost && errno != EPIPE)
            fprintf(stderr, "hone: cannot write to stdout: %s\n", strerror(errno));
        _exit(lost && code == EXIT_CODE_OK ? EXIT_CODE_ENVIRONMENT : code);
    }
    (void)signal(SIGINT, SIG_IGN); /* the child has it too, and ends in order */
    int how = 0;
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        continue;
    /* 1 is none of ours: a sanitizer, or the C library, has ended it. */
    if (WIFEXITED(how) && WEXITSTATUS(how) <= EXIT_CODE_BUG && WEXITSTATUS(how) != EXIT_CODE_MISS)
        return WEXITSTATUS(how);
    if (WIFSIGNALED(how) && (WTERMSIG(how) == SIGINT || WTERMSIG(how) == SIGTERM || WTERMSIG(how) == SIGHUP))
        return EXIT_CODE_ENVIRONMENT;
    return died(in, path, how);
}
