/* cmd_diff.c: hone diff: what one cache or pack has gained and lost against another, and by how much time. */
#include "bar.h"
#include "render.h"
#include "work.h"

#include <math.h>
#include <string.h>

/* "4.12 ms -> 3.01 ms  1.37x faster  -1.11 ms" */
static void print_times(const cJSON *line) {
    char a[SHORT_TEXT], b[SHORT_TEXT], delta[SHORT_TEXT];
    double speedup = json_number_at(line, "speedup", 0), delta_ms = json_number_at(line, "delta_ms", 0);
    format_ms(a, json_number_at(line, "a.time_ms", 0));
    format_ms(b, json_number_at(line, "b.time_ms", 0));
    if (cJSON_IsNull(json_at(line, "a")) || cJSON_IsNull(json_at(line, "b"))) {
        printf("  %s", cJSON_IsNull(json_at(line, "a")) ? b : a);
        return;
    }
    printf("  %s -> %s", a, b);
    if (speedup > 0 && fabs(delta_ms) > 0) {
        format_ms(delta, fabs(delta_ms));
        printf("  %.3gx %s  %s%s", speedup >= 1 ? speedup : 1 / speedup, speedup >= 1 ? "faster" : "slower", delta_ms < 0 ? "-" : "+", delta);
    }
    if (cJSON_IsTrue(json_at(line, "same_config")))
        printf("  same config");
}

static int on_line(const char *json, void *user) {
    const work *w = user;
    bar_clear();
    if (w->in->settings.json) {
        put_json(json);
        return ferror(stdout);
    }
    cJSON *line = json_read(w->in, json);
    const char *change = json_string_at(line, "change"), *kernel = json_string_at(line, "kernel"), *key = json_string_at(line, "key");
    const char *device = json_string_at(line, "device.name");
    if (change != NULL) {
        char sizes[160] = "";
        bool lost = strcmp(change, "lost") == 0, gained = strcmp(change, "gained") == 0;
        format_sizes(sizes, sizeof sizes, json_at(line, "sizes"));
        printf("%s%c%s ", style_on(stdout, lost ? STYLE_BAD : gained ? STYLE_GOOD : STYLE_PLAIN), lost ? '-' : gained ? '+' : '~', style_off(stdout));
        put_safe(stdout, key != NULL ? key : "?", 15);
        printf("  ");
        put_safe(stdout, kernel != NULL ? kernel : "?", 0);
        printf("  ");
        put_safe(stdout, sizes, 0);
        printf("  ");
        put_safe(stdout, device != NULL ? device : "-", 36);
        print_times(line);
        putchar('\n');
    }
    cJSON_Delete(line);
    return ferror(stdout);
}

static void print_totals(const cJSON *report) {
    printf("%.0f gained, %.0f lost, %.0f changed (%.0f faster, %.0f slower), %.0f the same", json_number_at(report, "gained", 0),
           json_number_at(report, "lost", 0), json_number_at(report, "changed", 0), json_number_at(report, "faster", 0),
           json_number_at(report, "slower", 0), json_number_at(report, "same", 0));
    double mean = json_number_at(report, "mean_speedup", 0);
    if (mean > 0 && json_number_at(report, "changed", 0) > 0)
        printf("; entries in both are %.3gx %s on the (geometric) average", mean >= 1 ? mean : 1 / mean, mean >= 1 ? "faster" : "slower");
    putchar('\n');
}

static double left_out(const cJSON *report) {
    return json_number_at(report, "a.damaged", 0) + json_number_at(report, "a.newer", 0) + json_number_at(report, "b.damaged", 0) +
           json_number_at(report, "b.newer", 0);
}

int cmd_diff(const invocation *in) {
    work w;
    hone_error err = {0};
    char *json = NULL;
    int different = 0;
    work_begin(&w, in, "comparing");
    w.options.line = on_line;
    int code = work_end(&w, in->operand[0], hone_diff(&json, &different, in->operand[0], in->operand[1], &w.options, &err), &err);
    print_report(in, json, print_totals);
    cJSON *root = json == NULL ? NULL : cJSON_Parse(json);
    if (left_out(root) > 0) {
        fprintf(stderr, "hone diff: %.0f damaged records were left out\n", left_out(root));
        code = EXIT_CODE_INPUT;
    }
    cJSON_Delete(root);
    hone_free(json);
    return code == EXIT_CODE_OK && different ? EXIT_CODE_MISS : code;
}
