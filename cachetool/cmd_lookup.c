/* cmd_lookup.c: hone lookup and hone explain: the answer path from a shell. */
#include "inputs.h"
#include "render.h"

/* How the answer was found, for people, on stderr. */
static void describe(const char *json, const invocation *in) {
    cJSON *answer = json_read(in, json);
    if (answer == NULL)
        return;
    render_object(stderr, answer, 0, "config|kind|version");
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
