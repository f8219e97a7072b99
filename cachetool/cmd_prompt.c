/* cmd_prompt.c: hone prompt: what the model would be sent, to read before anything is sent. */
#include "inputs.h"
#include "render.h"

#include <string.h>

static int print_prompt(const invocation *in, const char *json) {
    if (in->settings.json) {
        put_json(json);
        return EXIT_CODE_OK;
    }
    cJSON *prompt = json_read(in, json);
    if (prompt == NULL)
        return EXIT_CODE_BUG;
    const char *provider = json_string_at(prompt, "provider"), *model = json_string_at(prompt, "model");
    const char *system = json_string_at(prompt, "system"), *user = json_string_at(prompt, "user");
    if (system != NULL)
        put_text(stdout, system);
    printf("\n\n");
    if (user != NULL)
        put_text(stdout, user);
    putchar('\n');
    fflush(stdout);
    size_t bytes = (system != NULL ? strlen(system) : 0) + (user != NULL ? strlen(user) : 0);
    remark(in, "%zu bytes; provider %s, model %s; nothing was sent", bytes, provider != NULL && provider[0] != '\0' ? provider : "none",
           model != NULL && model[0] != '\0' ? model : "none");
    cJSON_Delete(prompt);
    return system != NULL && user != NULL ? EXIT_CODE_OK : EXIT_CODE_BUG;
}

int cmd_prompt(const invocation *in) {
    inputs what;
    hone_error err = {0};
    char *json = NULL;
    hone_tune_options options = HONE_TUNE_OPTIONS_INIT;
    tune_options_fill(&options, &in->settings);
    int code = inputs_open(&what, in, CACHE_HINTS);
    if (code == EXIT_CODE_OK) {
        hone_status status = hone_prompt(&json, what.cache, what.kernel, what.device, &what.problem, &options, &err);
        code = status == HONE_OK ? print_prompt(in, json) : report(in, status, &err);
    }
    hone_free(json);
    inputs_close(&what);
    return code;
}
