/* provider.c: what the three HTTP providers have in common: hostile replies in, checked text out. */
#include "alloc.h"
#include "llm_impl.h"

#include <string.h>

const hone__provider_api *hone__provider_api_of(hone__provider provider) {
    switch (provider) {
    case HONE_PROVIDER_OPENAI:
        return hone__provider_api_openai();
    case HONE_PROVIDER_CHAT:
        return hone__provider_api_chat();
    case HONE_PROVIDER_ANTHROPIC:
        return hone__provider_api_anthropic();
    default:
        return NULL;
    }
}

/* True for finish reasons that mean the limit cut the answer. */
static bool was_truncated(const char *finish) {
    static const char *const cut[] = {"length", "max_tokens", "max_output_tokens", "incomplete", "model_context_window_exceeded"};
    for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
        if (strcmp(finish, cut[i]) == 0)
            return true;
    }
    return false;
}

static bool is_refusal(const char *finish) {
    return strcmp(finish, "content_filter") == 0 || strcmp(finish, "refusal") == 0 || strcmp(finish, "safety") == 0;
}

static bool is_blank(const char *text) {
    return text[strspn(text, " \t\r\n")] == '\0';
}

hone_status hone__reply_finish(hone__llm_reply *reply, const char *name, hone__buf *text, const char *finish, hone_error *err) {
    hone__excerpt(finish, NULL, reply->finish, sizeof reply->finish);
    reply->truncated = was_truncated(reply->finish);
    hone_status status = text->status;
    char *taken = hone__buf_take(text);
    if (taken == NULL)
        return hone__fail(err, status != HONE_OK ? status : HONE_E_NOMEM, "llm", "no room for the model's answer");
    if (is_refusal(reply->finish))
        status = hone__fail(err, HONE_E_REPLY, "llm", "%s: the model did not answer (finish reason %s)", name, reply->finish);
    else if (is_blank(taken))
        status = hone__fail(err, HONE_E_REPLY, "llm", "%s: the answer has no text (finish reason %s)%s", name,
                            reply->finish[0] != '\0' ? reply->finish : "not given",
                            reply->truncated ? "; the token limit went elsewhere, most likely into reasoning" : "");
    if (status != HONE_OK)
        hone__free(taken);
    else
        reply->text = taken;
    return status;
}

uint64_t hone__json_count(const cJSON *object, const char *name) {
    double value = hone__json_number(object, name, 0.0);
    return value >= 0.0 && value <= (double)HONE_LIMIT_JSON_INT ? (uint64_t)value : 0;
}

bool hone__json_items_fit(const char *text, size_t bytes) {
    size_t count = 0;
    bool in_string = false;
    for (size_t i = 0; i < bytes; i++) {
        if (in_string) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                in_string = false;
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == ',' && ++count > HONE_LLM_JSON_SEPARATORS) {
            return false;
        }
    }
    return true;
}

static hone_status parse_body(cJSON **root, const char *name, const char *body, size_t bytes, hone_error *err) {
    *root = NULL;
    if (bytes == 0)
        return hone__fail(err, HONE_E_REPLY, "llm", "%s: the answer is empty", name);
    if (!hone__utf8_valid(body, bytes))
        return hone__fail(err, HONE_E_REPLY, "llm", "%s: the answer is not UTF-8", name);
    if (!hone__json_items_fit(body, bytes))
        return hone__fail(err, HONE_E_REPLY, "llm", "%s: the answer has more than %d JSON items", name, HONE_LLM_JSON_SEPARATORS);
    hone_error cause = {0};
    hone_status status = hone__json_parse(root, body, bytes, "answer", &cause);
    if (status == HONE_E_NOMEM)
        return hone__fail(err, status, "llm", "%s: no memory for the answer", name);
    if (status != HONE_OK) {
        char text[HONE_LLM_ERROR_BYTES];
        hone__excerpt(cause.message, NULL, text, sizeof text);
        return hone__fail(err, HONE_E_REPLY, "llm", "%s: %s", name, text);
    }
    if (!cJSON_IsObject(*root)) {
        cJSON_Delete(*root);
        *root = NULL;
        return hone__fail(err, HONE_E_REPLY, "llm", "%s: the answer is JSON, but not an object", name);
    }
    return HONE_OK;
}

/* "error": {"message": ...}, "error": "...", "message": "...", "detail": "..." */
static const char *find_error(const cJSON *root) {
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    if (cJSON_IsObject(error) && hone__json_string(error, "message") != NULL)
        return hone__json_string(error, "message");
    if (cJSON_IsString(error))
        return error->valuestring;
    const char *text = hone__json_string(root, "message");
    return text != NULL ? text : hone__json_string(root, "detail");
}

hone_status hone__provider_parse(const hone__provider_api *api, const char *body, size_t bytes, hone__llm_reply *reply,
                                 hone_error *err) {
    cJSON *root = NULL;
    HONE_TRY(parse_body(&root, api->name, body, bytes, err));
    hone_status status;
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    if (error != NULL && !cJSON_IsNull(error)) { /* gateways put errors into a 200 */
        char text[HONE_LLM_ERROR_BYTES];
        const char *found = find_error(root);
        hone__excerpt(found != NULL ? found : "no text", NULL, text, sizeof text);
        (void)api->parse(reply, root, NULL); /* what was used up counts all the same */
        hone__free(reply->text);
        reply->text = NULL;
        status = hone__fail(err, HONE_E_PROVIDER, "llm", "%s: error in the answer: %s", api->name, text);
    } else {
        status = api->parse(reply, root, err);
    }
    cJSON_Delete(root);
    return status;
}

void hone__provider_error_text(const char *body, size_t bytes, const char *key, char *text, size_t text_bytes) {
    cJSON *root = NULL;
    text[0] = '\0';
    const char *found = NULL;
    if (parse_body(&root, "error", body, bytes, NULL) == HONE_OK)
        found = find_error(root);
    /* Pages of HTML say nothing in 256 bytes. */
    if (found == NULL && body[strspn(body, " \t\r\n")] != '<')
        found = body;
    if (found != NULL)
        hone__excerpt(found, key, text, text_bytes);
    cJSON_Delete(root);
}

static bool is_required(const cJSON *required, const char *name) {
    const cJSON *item;
    cJSON_ArrayForEach(item, required) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return true;
    }
    return false;
}

bool hone__schema_strict(const cJSON *schema) {
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    const char *type = hone__json_string(schema, "type");
    bool closed = cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(schema, "additionalProperties"));
    if (type != NULL && strcmp(type, "object") == 0 && !closed)
        return false;
    if (cJSON_IsObject(properties)) {
        const cJSON *required = cJSON_GetObjectItemCaseSensitive(schema, "required");
        const cJSON *property;
        cJSON_ArrayForEach(property, properties) {
            if (!is_required(required, property->string))
                return false;
        }
    }
    const cJSON *child; /* our own schemas: depth is bounded where they are made */
    cJSON_ArrayForEach(child, schema) {
        if ((cJSON_IsObject(child) || cJSON_IsArray(child)) && !hone__schema_strict(child))
            return false;
    }
    return true;
}

void hone__body_string(hone__buf *out, const char *text) {
    hone__buf clean;
    hone__buf_init(&clean, SIZE_MAX / 4);
    hone__utf8_append(&clean, text);
    if (clean.status != HONE_OK)
        out->status = clean.status;
    else
        hone__buf_json_string(out, clean.data != NULL ? clean.data : "");
    hone__buf_free(&clean);
}
