/* cmd_explain.c: hone explain: every tier and layer of a look-up, and what differed. */
#include "inputs.h"
#include "render.h"

static int print_explanation(const invocation *in, const char *json) {
    if (in->settings.json) {
        put_json(json);
        return EXIT_CODE_OK;
    }
    cJSON *root = json_read(in, json);
    if (root == NULL)
        return EXIT_CODE_BUG;
    render_object(stdout, root, 0, NULL);
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
