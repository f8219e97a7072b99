/* cmd_simulate.c: hone simulate: a strategy on a recorded space, as JSON lines or as a short table. */
#include "inputs.h"
#include "render.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The table's columns: best so far as a fraction of the optimum, after so many trials. */
static const uint32_t column_at[] = {10, 25, 50, 100, 200, 500};
enum { COLUMNS = sizeof column_at / sizeof column_at[0] };

typedef struct tally {
    const invocation *in;
    double fraction[COLUMNS];
    uint32_t repeats;
    bool broken;
} tally;

static int add_line(const char *line, void *user) {
    tally *sum = user;
    if (sum->in->settings.json) {
        put_json(line);
        return ferror(stdout) != 0;
    }
    cJSON *json = json_read(sum->in, line);
    const cJSON *best = json == NULL ? NULL : json_at(json, "best");
    double optimum = json == NULL ? 0 : json_number_at(json, "optimum", 0);
    sum->broken = sum->broken || best == NULL;
    uint32_t at = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, best) {
        at++;
        for (size_t i = 0; i < COLUMNS; i++) {
            if (column_at[i] == at && cJSON_IsNumber(item) && item->valuedouble > 0)
                sum->fraction[i] += optimum / item->valuedouble;
        }
    }
    sum->repeats++;
    cJSON_Delete(json);
    return sum->broken;
}

static void print_table(const tally *sum, uint64_t trials) {
    table t;
    table_begin(&t, 2);
    table_row(&t, (const char *const[]){"trials", "fraction of optimum"});
    for (size_t i = 0; i < COLUMNS && column_at[i] <= trials; i++) {
        char count[SHORT_TEXT], fraction[SHORT_TEXT];
        snprintf(count, sizeof count, "%u", column_at[i]);
        snprintf(fraction, sizeof fraction, "%.3f", sum->fraction[i] / (sum->repeats > 0 ? sum->repeats : 1));
        table_row(&t, (const char *const[]){count, fraction});
    }
    table_end(&t, stdout, 3);
}

/* The file's text, NUL-terminated; NULL after a message. */
static char *read_about(const char *path) {
    enum { ABOUT_BYTES_MAX = 65536 };
    char *text = calloc(1, ABOUT_BYTES_MAX + 1);
    FILE *file = text == NULL ? NULL : fopen(path, "r");
    size_t bytes = file == NULL ? 0 : fread(text, 1, ABOUT_BYTES_MAX + 1, file);
    bool fine = file != NULL && !ferror(file) && bytes <= ABOUT_BYTES_MAX && memchr(text, 0, bytes) == NULL;
    if (!fine)
        fprintf(stderr, "hone: --about %s: %s\n", path, bytes > ABOUT_BYTES_MAX ? "longer than 65536 bytes" : file == NULL ? strerror(errno) : "not text");
    if (file != NULL)
        fclose(file);
    if (!fine) {
        free(text);
        return NULL;
    }
    text[bytes] = '\0';
    return text;
}

int cmd_simulate(const invocation *in) {
    hone_simulate_options options = HONE_SIMULATE_OPTIONS_INIT;
    hone_error err = {0};
    tally sum = {.in = in};
    options.search = in->settings.search;
    options.trials_max = (uint32_t)in->settings.max_trials;
    options.repeat = (uint32_t)in->settings.repeat;
    options.seed = in->settings.seed;
    options.transfer = in->settings.transfer.path;
    options.transfer_count = (uint32_t)in->settings.transfer.count;
    options.noise = in->settings.noise;
    options.in_flight = (uint32_t)in->settings.in_flight;
    hone_tune_options model = HONE_TUNE_OPTIONS_INIT;
    tune_options_fill(&model, &in->settings);
    options.model = &model;
    char *about = in->settings.about == NULL ? NULL : read_about(in->settings.about);
    if (in->settings.about != NULL && about == NULL)
        return EXIT_CODE_ENVIRONMENT;
    options.about = about;
    hone_status status = hone_simulate(in->operand[0], &options, add_line, &sum, &err);
    free(about);
    if (status != HONE_OK)
        return report(in, status, &err);
    if (sum.broken)
        return EXIT_CODE_BUG;
    if (!in->settings.json)
        print_table(&sum, options.trials_max == 0 ? 200 : options.trials_max);
    return EXIT_CODE_OK;
}
