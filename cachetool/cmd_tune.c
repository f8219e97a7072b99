/* cmd_tune.c: hone tune: options in, progress meanwhile, one table at the end. */
#include "bar.h"
#include "inputs.h"
#include "render.h"

#include <string.h>

/* A word for a shell: as it is, or between single quotes. */
static void put_word(const char *word) {
    if (word[0] != '\0' && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%") == strlen(word)) {
        fputs(word, stdout);
        return;
    }
    putchar('\'');
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            fputs("'\\''", stdout);
        else
            putchar((unsigned char)*word < 0x20 || *word == 0x7f ? '?' : *word);
    }
    putchar('\'');
}

static void lookup_line(const invocation *in) {
    const settings *set = &in->settings;
    printf("look up      hone lookup ");
    put_word(in->operand[0]);
    for (size_t i = 0; i < set->set_count; i++)
        printf(" --set %s=%lld", set->set[i].name, (long long)set->set[i].value);
    const char *const option[][2] = {{"device", set->device}, {"evaluator", set->evaluator}, {"cache", set->cache}};
    for (size_t i = 0; i < sizeof option / sizeof option[0]; i++) {
        if (option[i][1] == NULL)
            continue;
        printf(" --%s ", option[i][0]);
        put_word(option[i][1]);
    }
    putchar('\n');
}

static void times_table(const cJSON *result) {
    char default_text[SHORT_TEXT], best_text[SHORT_TEXT], noise_text[SHORT_TEXT] = "", speedup_text[SHORT_TEXT] = "-";
    double noise = json_number_at(result, "noise", 0), speedup = json_number_at(result, "speedup", 0);
    format_ms(default_text, json_number_at(result, "default_ms", 0));
    format_ms(best_text, json_number_at(result, "time_ms", 0));
    if (noise > 0) {
        char percent[SHORT_TEXT];
        format_noise(percent, noise);
        (void)snprintf(noise_text, sizeof noise_text, "+-%.40s", percent);
    }
    if (speedup > 0)
        (void)snprintf(speedup_text, sizeof speedup_text, "%.2fx", speedup);
    table t;
    table_begin(&t, 4);
    table_row(&t, (const char *const[]){"", "time", "noise", "speed-up"});
    table_row(&t, (const char *const[]){"default", default_text, "", json_number_at(result, "default_ms", 0) > 0 ? "1.00x" : "-"});
    table_row(&t, (const char *const[]){"best", best_text, noise_text, speedup_text});
    table_end(&t, stdout, 0xe);
}

/* A line of two columns, left out when there is nothing to say. */
static void line(const char *name, const char *text) {
    if (text == NULL || text[0] == '\0')
        return;
    printf("%-12s ", name);
    put_safe(stdout, text, 0);
    putchar('\n');
}

static void facts(const cJSON *result, bool tuned) {
    char text[160], seconds[SHORT_TEXT], tokens[SHORT_TEXT];
    double roofline = json_number_at(result, "roofline", 0), trials = json_number_at(result, "trials", 0);
    double failed = json_number_at(result, "failed", 0), resumed = json_number_at(result, "resumed", 0);
    const char *model = json_string_at(result, "model"), *strategy = json_string_at(result, "strategy");
    if (roofline > 0) {
        bool cached = roofline > 1.1; /* no limit, then: the data stay in a cache from one run to the next, and are not fetched anew */
        (void)snprintf(text, sizeof text, "%.0f %% of %s", roofline * 100, cached ? "memory's rate: the data stay in a cache between runs"
                                                                                     : "what this device can do");
        line("roofline", text);
    }
    if (tuned) {
        (void)snprintf(text, sizeof text, "%.0f, %.0f failed, %.0f from the journal", trials, failed, resumed);
        line("trials", text);
    }
    if (strategy != NULL) {
        bool with_model = model != NULL && model[0] != '\0';
        (void)snprintf(text, sizeof text, "%.60s%s%.80s", strategy, with_model ? ", model " : "", with_model ? model : "");
        line("strategy", text);
    }
    if (json_number_at(result, "rounds", 0) > 0 || json_number_at(result, "tokens", 0) > 0) {
        format_count(tokens, json_number_at(result, "tokens", 0));
        (void)snprintf(text, sizeof text, "%.0f of the model, %s tokens", json_number_at(result, "rounds", 0), tokens);
        line("rounds", text);
    }
    format_seconds(seconds, json_number_at(result, "seconds", 0));
    line("took", seconds);
    line("stopped by", json_string_at(result, "stop"));
    const char *accuracy = json_string_at(result, "accuracy");
    line("checked", accuracy != NULL && strcmp(accuracy, "unchecked") == 0 ? "no, without a reference" : accuracy);
    line("warning", json_string_at(result, "warning"));
    line("key", json_string_at(result, "key"));
}

static void put_macro_value(const cJSON *value) {
    if (cJSON_IsBool(value))
        putchar(cJSON_IsTrue(value) ? '1' : '0');
    else
        render_value(stdout, "", value);
}

/* The macros of spec/kernel.md section 6, as a compiler takes them. */
static void hard_code_line(const inputs *what, const cJSON *config) {
    if (config == NULL || strcmp(hone_kernel_language(what->kernel), "external") == 0)
        return;
    printf("hard-code   ");
    const cJSON *value = NULL;
    cJSON_ArrayForEach(value, config) {
        if (cJSON_IsArray(value)) {
            int index = 0;
            const cJSON *element = NULL;
            cJSON_ArrayForEach(element, value) {
                printf(" -D");
                put_safe(stdout, value->string, 0);
                printf("_%d=", index++);
                put_macro_value(element);
            }
            printf(" -D");
            put_safe(stdout, value->string, 0);
            printf("_LEN=%d", index);
        } else {
            printf(" -D");
            put_safe(stdout, value->string, 0);
            putchar('=');
            put_macro_value(value);
        }
    }
    putchar('\n');
}

static void show_result(const invocation *in, const inputs *what, const cJSON *result) {
    printf("%s", style_on(stdout, STYLE_BOLD));
    put_safe(stdout, hone_kernel_name(what->kernel), 0);
    for (uint32_t i = 0; i < what->problem.count; i++)
        printf("  %s=%lld", hone_kernel_size_name(what->kernel, i), (long long)what->problem.size[i]);
    printf("%s  on ", style_off(stdout));
    const char *device = json_string_at(json_at(json_at(result, "entry"), "device"), "name");
    put_safe(stdout, device == NULL ? "" : device, 0);
    printf("\n\n");
    bool tuned = !cJSON_IsFalse(json_at(result, "tuned"));
    if (!tuned)
        printf("The cache has an exact answer: nothing was measured. (--force tunes afresh.)\n\n");
    times_table(result);
    if (cJSON_IsTrue(json_at(result, "tie")))
        printf("The runner-up is equal within the noise.\n");
    putchar('\n');
    facts(result, tuned);
    const cJSON *config = json_at(result, "config");
    if (config != NULL) {
        char *text = cJSON_PrintUnformatted(config);
        line("config", text);
        cJSON_free(text);
    }
    lookup_line(in);
    hard_code_line(what, config);
}

static int finish(const invocation *in, const inputs *what, const char *json) {
    if (in->settings.json) {
        put_json(json);
        return EXIT_CODE_OK;
    }
    cJSON *result = json_read(in, json);
    if (result == NULL)
        return EXIT_CODE_BUG;
    show_result(in, what, result);
    cJSON_Delete(result);
    return EXIT_CODE_OK;
}

/* What an ended tuning leaves behind, said plainly; an interruption even with --quiet. */
static void say_kept(const invocation *in, hone_status status) {
    uint32_t trials = bar_trials();
    if (status == HONE_E_CANCELLED && trials == 0)
        fprintf(stderr, "Interrupted before anything was measured.\n");
    else if (status == HONE_E_CANCELLED)
        fprintf(stderr, "Interrupted. Everything measured so far (%u trial%s) is kept; the same command goes on from there.\n", trials,
                trials == 1 ? "" : "s");
    else if (trials > 0 && exit_code_of(status) >= EXIT_CODE_ENVIRONMENT)
        remark(in, "Everything measured so far (%u trial%s) is kept; the same command goes on from there.", trials, trials == 1 ? "" : "s");
}

int cmd_tune(const invocation *in) {
    inputs what;
    const volatile int *cancelled = catch_signals();
    int code = inputs_open(&what, in, CACHE_WRITE);
    if (code != EXIT_CODE_OK) {
        inputs_close(&what);
        return code;
    }
    hone_tune_options options = HONE_TUNE_OPTIONS_INIT;
    tune_options_fill(&options, &in->settings);
    options.progress = bar_progress;
    hone_error err = {0};
    char *json = NULL;
    bar_begin(in, cancelled);
    hone_status status = hone_tune(&json, what.cache, what.kernel, what.device, &what.problem, &options, &err);
    bar_end();
    if (status == HONE_OK) {
        code = finish(in, &what, json);
    } else {
        code = status == HONE_E_CANCELLED ? EXIT_CODE_ENVIRONMENT : report(in, status, &err);
        say_kept(in, status);
    }
    hone_free(json);
    inputs_close(&what);
    return code;
}
