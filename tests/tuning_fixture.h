/* tuning_fixture.h: real tunings in tests, with the test program as their evaluator: `PROGRAM evaluate LOG MS` takes T microseconds for a config
 * of T, one for T = 64, and MS milliseconds for each measurement; with "fail" for MS nothing compiles.  A test's main begins with TUNING_MAIN. */
#ifndef TUNING_FIXTURE_H
#define TUNING_FIXTURE_H

#include "clock.h"
#include "site_fixture.h"

#include <cJSON.h>

static char program[512];

/* ---- the evaluator ---- */

/* One line in LOG for each tuning: the sizes of its problem. */
static int evaluate(const char *log, const char *slow_ms) {
    static char line[1 << 18];
    int time_of[4096], handles = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        cJSON *request = cJSON_Parse(line);
        const char *op = cJSON_GetStringValue(cJSON_GetObjectItem(request, "op"));
        int id = cJSON_GetObjectItem(request, "id")->valueint;
        bool last = strcmp(op, "bye") == 0;
        if (strcmp(op, "hello") == 0) {
            printf("{\"id\":%d,\"ok\":true,\"protocol\":1,\"device\":{\"kind\":\"cpu\",\"name\":\"test\",\"identity\":{\"arch\":\"x86_64\",\"cores\":8},"
                   "\"description\":{\"driver\":\"550.1\"}}}\n", id);
        } else if (strcmp(op, "prepare") == 0) {
            int m = cJSON_GetObjectItem(cJSON_GetObjectItem(request, "sizes"), "M")->valueint;
            int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), length = snprintf(line, sizeof line, "%d\n", m);
            if (fd < 0 || write(fd, line, (size_t)length) != length)
                return 1;
            (void)close(fd);
            printf("{\"id\":%d,\"ok\":true}\n", id);
        } else if (strcmp(op, "compile") == 0 && strcmp(slow_ms, "fail") == 0) {
            printf("{\"id\":%d,\"ok\":false,\"error\":{\"stage\":\"compile\",\"code\":\"compile_error\",\"message\":\"no such thing\"}}\n", id);
        } else if (strcmp(op, "compile") == 0 && handles < 4096) {
            time_of[handles] = 1000 * (1 + abs(cJSON_GetObjectItem(cJSON_GetObjectItem(request, "config"), "T")->valueint - 64));
            printf("{\"id\":%d,\"ok\":true,\"handle\":%d}\n", id, handles++);
        } else if (strcmp(op, "measure") == 0) {
            int t = time_of[cJSON_GetObjectItem(request, "handle")->valueint];
            hone__sleep_ms((uint32_t)strtoul(slow_ms, NULL, 10));
            printf("{\"id\":%d,\"ok\":true,\"samples_ns\":[%d,%d,%d,%d,%d],\"accuracy\":\"passed\"}\n", id, t, t + 1, t, t + 1, t);
        } else {
            printf("{\"id\":%d,\"ok\":true}\n", id);
        }
        (void)fflush(stdout);
        cJSON_Delete(request);
        if (last)
            break;
    }
    return 0;
}

/* How often a problem was tuned: lines of the log that are `m`, or all. */
__attribute__((unused)) static int tunings(const subject *s, int64_t m) {
    char path[400], line[64];
    int count = 0;
    (void)snprintf(path, sizeof path, "%s/tunings", s->f->dir);
    FILE *log = fopen(path, "re");
    while (log != NULL && fgets(line, sizeof line, log) != NULL)
        count += m == 0 || strtoll(line, NULL, 10) == m;
    if (log != NULL)
        (void)fclose(log);
    return count;
}

__attribute__((unused)) static hone_tune_options tune_options(const subject *s, char command[1200], int slow_ms) {
    hone_tune_options options = HONE_TUNE_OPTIONS_INIT;
    (void)snprintf(command, 1200, "'%s' evaluate '%s/tunings' %d", program, s->f->dir, slow_ms);
    if (slow_ms < 0) /* nothing compiles */
        (void)snprintf(command, 1200, "'%s' evaluate '%s/tunings' fail", program, s->f->dir);
    options.evaluator = command;
    options.search = "random";
    options.trials_max = 4;
    return options;
}

#define TUNING_MAIN(argc, argv)                                                                              \
    if ((argc) == 4 && strcmp((argv)[1], "evaluate") == 0)                                                   \
        return evaluate((argv)[2], (argv)[3]);                                                               \
    ssize_t program_length = readlink("/proc/self/exe", program, sizeof program - 1);                        \
    if (program_length < 0)                                                                                  \
        return 1;

#endif
