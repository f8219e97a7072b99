/* cmd_explain.c: hone explain: every tier and layer of a look-up, and what differed. */
#include "inputs.h"
#include "render.h"

#include <string.h>

/* "sizes.ROWS: 10000 here, 4096 there" */
static void print_difference(const cJSON *difference) {
    const char *field = json_string_at(difference, "field");
    printf("                 ");
    put_safe(stdout, field != NULL ? field : "?", 0);
    printf(": ");
    const cJSON *here = json_at(difference, "here"), *there = json_at(difference, "there");
    if (here != NULL)
        render_value(stdout, "", here);
    printf(" here, ");
    if (there != NULL)
        render_value(stdout, "", there);
    printf(" there\n");
}

static void print_candidate(const cJSON *candidate) {
    char time_text[SHORT_TEXT];
    const char *key = json_string_at(candidate, "key"), *reason = json_string_at(candidate, "reason");
    format_ms(time_text, json_number_at(candidate, "time_ms", 0));
    printf("               ");
    put_safe(stdout, key != NULL ? key : "?", 15);
    printf("  %s  distance %.2f  %s", cJSON_IsTrue(json_at(candidate, "accepted")) ? "would do" : "refused ",
           json_number_at(candidate, "distance", 0), time_text);
    if (reason != NULL && reason[0] != '\0') {
        printf("  ");
        put_safe(stdout, reason, 0);
    }
    putchar('\n');
    const cJSON *difference = NULL;
    cJSON_ArrayForEach(difference, json_at(candidate, "differences")) print_difference(difference);
}

static void print_tier(const cJSON *tier, const char *answer) {
    const char *name = json_string_at(tier, "tier"), *reason = json_string_at(tier, "reason");
    bool matched = cJSON_IsTrue(json_at(tier, "matched"));
    bool taken = matched && name != NULL && answer != NULL && strcmp(name, answer) == 0;
    printf("  %s%-12s %s", style_on(stdout, taken ? STYLE_GOOD : matched ? STYLE_PLAIN : STYLE_DIM), name != NULL ? name : "?",
           taken ? "the answer" : matched ? "would do" : "no");
    if (reason != NULL && reason[0] != '\0') {
        printf(": ");
        put_safe(stdout, reason, 0);
    }
    printf("%s\n", style_off(stdout));
    const cJSON *candidate = NULL;
    cJSON_ArrayForEach(candidate, json_at(tier, "candidates")) print_candidate(candidate);
    if (json_number_at(tier, "omitted", 0) > 0)
        printf("               and %.0f more\n", json_number_at(tier, "omitted", 0));
}

static void print_sizes(const cJSON *sizes) {
    table t;
    table_begin(&t, 5);
    table_row(&t, (const char *const[]){"size", "value", "role", "in the key", "near"});
    const cJSON *size = NULL;
    cJSON_ArrayForEach(size, sizes) {
        char value[SHORT_TEXT], in_key[SHORT_TEXT];
        (void)snprintf(value, sizeof value, "%.0f", json_number_at(size, "value", 0));
        (void)snprintf(in_key, sizeof in_key, "%.0f", json_number_at(size, "in_key", 0));
        bool ignored = json_string_at(size, "role") != NULL && strcmp(json_string_at(size, "role"), "ignore") == 0;
        table_row(&t, (const char *const[]){json_string_at(size, "name"), value, json_string_at(size, "role"), ignored ? "-" : in_key,
                                            json_string_at(size, "near")});
    }
    table_end(&t, stdout, 0xa);
}

static int print_explanation(const invocation *in, const char *json) {
    if (in->settings.json) {
        put_json(json);
        return EXIT_CODE_OK;
    }
    cJSON *root = json_read(in, json);
    if (root == NULL)
        return EXIT_CODE_BUG;
    render_title(stdout, "Tiers");
    const cJSON *tier = NULL;
    cJSON_ArrayForEach(tier, json_at(root, "tiers")) print_tier(tier, json_string_at(root, "match"));
    putchar('\n');
    render_title(stdout, "Sizes");
    print_sizes(json_at(root, "problem.sizes"));
    putchar('\n');
    render_title(stdout, "Key and layers");
    render_object(stdout, root, 0, "tiers|problem|match|answer");
    const cJSON *answer = json_at(root, "answer");
    if (cJSON_IsObject(answer)) {
        putchar('\n');
        render_title(stdout, "Answer");
        render_object(stdout, answer, 0, "key|kernel|sizes|device|why");
    }
    cJSON_Delete(root);
    return EXIT_CODE_OK;
}

int cmd_explain(const invocation *in) {
    inputs what;
    hone_error err = {0};
    char *json = NULL;
    int code = inputs_open(&what, in, CACHE_ANSWER);
    if (code == EXIT_CODE_OK) {
        hone_status status = hone_explain(&json, what.cache, what.kernel, what.device, &what.problem, &err);
        code = status == HONE_OK ? print_explanation(in, json) : report(in, status, &err);
    }
    hone_free(json);
    inputs_close(&what);
    return code;
}
