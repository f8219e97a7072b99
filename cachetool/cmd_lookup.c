/* cmd_lookup.c: hone lookup and hone explain: the answer path from a shell. */
#include "inputs.h"
#include "render.h"

static void say(const char *name, const char *text) {
    fprintf(stderr, "%-10s ", name);
    put_safe(stderr, text, 0);
    fputc('\n', stderr);
}

/* Where a near answer comes from: "ROWS=4096 N=4096 on AMD EPYC (2 cores), 3.99 ms there, distance 1.29". */
static void say_from(const cJSON *answer) {
    const cJSON *from = json_at(answer, "from");
    if (!cJSON_IsObject(from))
        return;
    char sizes[160], time_text[SHORT_TEXT], text[400];
    const char *device = json_string_at(from, "device");
    format_sizes(sizes, sizeof sizes, json_at(from, "sizes"));
    format_ms(time_text, json_number_at(from, "time_ms", 0));
    (void)snprintf(text, sizeof text, "%s on %.80s, %s there, distance %.2f", sizes, device != NULL ? device : "?", time_text,
                   json_number_at(answer, "distance", 0));
    say("from", text);
}

static void say_times(const cJSON *answer) {
    char time_text[SHORT_TEXT], default_text[SHORT_TEXT], age[SHORT_TEXT], text[200];
    double ms = json_number_at(answer, "time_ms", 0), default_ms = json_number_at(answer, "default_ms", 0);
    const char *effort = json_string_at(answer, "effort"), *strategy = json_string_at(answer, "strategy");
    if (ms > 0 && default_ms > 0) {
        format_ms(time_text, ms);
        format_ms(default_text, default_ms);
        (void)snprintf(text, sizeof text, "%s, default %s, %.2fx", time_text, default_text, default_ms / ms);
        say("time", text);
    }
    if (json_at(answer, "age_s") != NULL && strategy != NULL) {
        format_seconds(age, json_number_at(answer, "age_s", 0));
        (void)snprintf(text, sizeof text, "%s ago, by %.40s, effort %.20s, %.0f trials", age, strategy, effort != NULL ? effort : "unknown",
                       json_number_at(answer, "trials", 0));
        say("tuned", text);
    }
}

/* How the answer was found, for people, on stderr. */
static void describe(const char *json, const invocation *in) {
    cJSON *answer = json_read(in, json);
    if (answer == NULL)
        return;
    char sizes[160], text[320];
    const char *kernel = json_string_at(answer, "kernel"), *device = json_string_at(answer, "device");
    const char *match = json_string_at(answer, "match"), *layer = json_string_at(answer, "layer");
    format_sizes(sizes, sizeof sizes, json_at(answer, "sizes"));
    (void)snprintf(text, sizeof text, "%.64s %s on %.80s", kernel != NULL ? kernel : "?", sizes, device != NULL ? device : "?");
    say("for", text);
    say("match", match != NULL ? match : "none");
    say_from(answer);
    say_times(answer);
    if (layer != NULL && layer[0] != '\0')
        say("layer", layer);
    const cJSON *why = NULL;
    cJSON_ArrayForEach(why, json_at(answer, "why")) {
        const char *tier = json_string_at(why, "tier"), *reason = json_string_at(why, "reason");
        (void)snprintf(text, sizeof text, "%.20s: %.250s", tier != NULL ? tier : "?", reason != NULL ? reason : "?");
        say("not", text);
    }
    cJSON_Delete(answer);
}

static int print_answer(const invocation *in, const hone_answer *answer) {
    hone_error err = {0};
    char *json = NULL, *config = NULL;
    hone_status status = hone_answer_json(answer, &json, &err);
    if (status == HONE_OK)
        status = hone_config_json(hone_answer_config(answer), &config, &err);
    if (status != HONE_OK) {
        hone_free(json);
        return report(in, status, &err);
    }
    if (in->settings.json) {
        put_json(json);
    } else {
        put_json(config);
        fflush(stdout);
        if (!in->settings.quiet)
            describe(json, in);
    }
    hone_free(json);
    hone_free(config);
    return hone_answer_match(answer) == HONE_MATCH_EXACT ? EXIT_CODE_OK : EXIT_CODE_MISS;
}

int cmd_lookup(const invocation *in) {
    inputs what;
    hone_error err = {0};
    hone_answer *answer = NULL;
    int code = inputs_open(&what, in, CACHE_ANSWER);
    if (code == EXIT_CODE_OK) {
        hone_status status = hone_lookup(&answer, what.cache, what.kernel, what.device, &what.problem, &err);
        code = status == HONE_OK ? print_answer(in, answer) : report(in, status, &err);
    }
    hone_answer_free(answer);
    inputs_close(&what);
    return code;
}
