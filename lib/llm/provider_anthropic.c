/* provider_anthropic.c: the Anthropic Messages API, with the fixed beginning of a conversation marked for the prompt cache. */
#include "llm_impl.h"

#include <string.h>

static void cached_text(hone__buf *out, const char *text) {
    hone__buf_text(out, "[{\"type\":\"text\",\"text\":");
    hone__body_string(out, text);
    hone__buf_text(out, ",\"cache_control\":{\"type\":\"ephemeral\"}}]");
}

static void body(hone__buf *out, const hone__llm_config *config, const hone__llm_request *request, unsigned quirks) {
    hone__buf_text(out, "{\"model\":");
    hone__body_string(out, config->model);
    hone__buf_printf(out, ",\"max_tokens\":%lu", (unsigned long)config->output_tokens_max);
    if (request->system != NULL && request->system[0] != '\0') {
        hone__buf_text(out, ",\"system\":");
        cached_text(out, request->system);
    }
    hone__buf_text(out, ",\"messages\":[");
    for (uint32_t i = 0; i < request->message_count; i++) {
        bool assistant = strcmp(request->message[i].role, "assistant") == 0;
        hone__buf_printf(out, "%s{\"role\":\"%s\",\"content\":", i > 0 ? "," : "", assistant ? "assistant" : "user");
        if (i == 0) /* the kernel, its space and the device: the same in every round */
            cached_text(out, request->message[i].text);
        else
            hone__body_string(out, request->message[i].text);
        hone__buf_char(out, '}');
    }
    hone__buf_char(out, ']');
    /* Constrained answers exist for newer models only, and only for closed schemas. */
    if (request->schema != NULL && (quirks & HONE_QUIRK_NO_SCHEMA) == 0 && hone__schema_strict(request->schema)) {
        hone__buf_text(out, ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":");
        hone__json_print(out, request->schema);
        hone__buf_text(out, "}}");
    }
    hone__buf_char(out, '}');
}

static hone_status parse(hone__llm_reply *reply, const cJSON *root, hone_error *err) {
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(root, "usage");
    /* input_tokens leaves out what went through the prompt cache. */
    reply->tokens_in = hone__json_count(usage, "input_tokens") + hone__json_count(usage, "cache_creation_input_tokens") +
                       hone__json_count(usage, "cache_read_input_tokens");
    reply->tokens_out = hone__json_count(usage, "output_tokens");
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(root, "content");
    if (!cJSON_IsArray(content))
        return hone__fail(err, HONE_E_REPLY, "llm", "anthropic: the answer has no list \"content\"");
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_REPLY_BYTES);
    const cJSON *block;
    cJSON_ArrayForEach(block, content) {
        const char *kind = hone__json_string(block, "type");
        const char *piece = hone__json_string(block, "text");
        if (kind != NULL && strcmp(kind, "text") == 0 && piece != NULL)
            hone__buf_text(&text, piece);
    }
    const char *finish = hone__json_string(root, "stop_reason");
    return hone__reply_finish(reply, "anthropic", &text, finish != NULL ? finish : "", err);
}

static unsigned quirk(const char *error_text, unsigned quirks) {
    if ((quirks & HONE_QUIRK_NO_SCHEMA) == 0 && (strstr(error_text, "output_config") != NULL || strstr(error_text, "schema") != NULL))
        return HONE_QUIRK_NO_SCHEMA;
    return 0;
}

const hone__provider_api *hone__provider_api_anthropic(void) {
    static const hone__provider_api api = {"anthropic", "https://api.anthropic.com", "/messages", body, parse, quirk};
    return &api;
}
