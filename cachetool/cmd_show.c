/* cmd_show.c: hone show and hone stats: one entry, and a whole cache, in full. */
#include "inputs.h"
#include "render.h"

static int print_object(const invocation *in, const char *json, const char *title) {
    if (in->settings.json) {
        put_json(json);
        return EXIT_CODE_OK;
    }
    cJSON *root = json_read(in, json);
    if (root == NULL)
        return EXIT_CODE_BUG;
    render_title(stdout, title);
    render_object(stdout, root, 0, NULL);
    cJSON_Delete(root);
    return EXIT_CODE_OK;
}

int cmd_show(const invocation *in) {
    hone_cache *cache = NULL;
    hone_error err = {0};
    char *json = NULL;
    int code = cache_open(&cache, in, CACHE_READ);
    if (code != EXIT_CODE_OK)
        return code;
    if (cache == NULL)
        return EXIT_CODE_MISS;
    hone_status status = hone_cache_show(&json, cache, in->operand[0], &err);
    code = status == HONE_OK ? print_object(in, json, in->operand[0]) : report(in, status, &err);
    hone_free(json);
    hone_cache_close(cache);
    return code;
}

int cmd_stats(const invocation *in) {
    hone_cache *cache = NULL;
    hone_error err = {0};
    char *json = NULL;
    int code = cache_open(&cache, in, CACHE_READ);
    if (code != EXIT_CODE_OK || cache == NULL)
        return code;
    hone_status status = hone_cache_stats(&json, cache, &err);
    code = status == HONE_OK ? print_object(in, json, hone_cache_path(cache)) : report(in, status, &err);
    hone_free(json);
    hone_cache_close(cache);
    return code;
}
