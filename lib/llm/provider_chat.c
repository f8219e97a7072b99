/* provider_chat.c: chat completions as OpenAI made them and as vLLM, Ollama, llama.cpp and gateways serve them. */
#include "llm_impl.h"

#include <string.h>

static void body(hone__buf *out, const hone__llm_config *config, const hone__llm_request *request, unsigned quirks) {
    hone__buf_text(out, "{\"model\":");
    hone__body_string(out, config->model);
    hone__buf_text(out, ",\"messages\":[");
    bool system = request->system != NULL && request->system[0] != '\0';
    if (system) {
        hone__buf_text(out, "{\"role\":\"system\",\"content\":");
        hone__body_string(out, request->system);
        hone__buf_char(out, '}');
    }
    for (uint32_t i = 0; i < request->message_count; i++) {
        bool assistant = strcmp(request->message[i].role, "assistant") == 0;
        hone__buf_printf(out, "%s{\"role\":\"%s\",\"content\":", system || i > 0 ? "," : "", assistant ? "assistant" : "user");
        hone__body_string(out, request->message[i].text);
        hone__buf_char(out, '}');
    }
    /* Reasoning models behind this API charge their thoughts to the same limit; small local ones have no room for that. */
    uint64_t room = (quirks & HONE_QUIRK_NO_ROOM) == 0 ? HONE_LLM_REASONING_TOKENS : 0;
    hone__buf_printf(out, "],\"%s\":%llu,\"stream\":false", (quirks & HONE_QUIRK_RENAMED) != 0 ? "max_completion_tokens" : "max_tokens",
                     (unsigned long long)(config->output_tokens_max + room));
    if (request->schema != NULL && (quirks & HONE_QUIRK_NO_SCHEMA) == 0) {
        hone__buf_printf(out,
                         ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\",\"strict\":%s,\"schema\":",
                         hone__schema_strict(request->schema) ? "true" : "false");
        hone__json_print(out, request->schema);
        hone__buf_text(out, "}}");
    }
    hone__buf_char(out, '}');
}

/* A string, or a list of parts. */
static void take_content(hone__buf *text, const cJSON *content) {
    if (cJSON_IsString(content))
        hone__buf_text(text, content->valuestring);
    const cJSON *part;
    if (!cJSON_IsArray(content))
        return;
    cJSON_ArrayForEach(part, content) {
        const char *kind = hone__json_string(part, "type");
        const char *piece = hone__json_string(part, "text");
        if (piece != NULL && (kind == NULL || strcmp(kind, "text") == 0 || strcmp(kind, "output_text") == 0))
            hone__buf_text(text, piece);
    }
}

static hone_status parse(hone__llm_reply *reply, const cJSON *root, hone_error *err) {
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(root, "usage");
    reply->tokens_in = hone__json_count(usage, "prompt_tokens");
    reply->tokens_out = hone__json_count(usage, "completion_tokens");
    const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "choices"), 0);
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(choice, "message");
    if (!cJSON_IsObject(message))
        return hone__fail(err, HONE_E_REPLY, "llm", "chat: the answer has no choices[0].message");
    const char *finish = hone__json_string(choice, "finish_reason");
    const char *refusal = hone__json_string(message, "refusal");
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_REPLY_BYTES);
    take_content(&text, cJSON_GetObjectItemCaseSensitive(message, "content"));
    if (refusal != NULL && refusal[0] != '\0' && text.length == 0)
        finish = "refusal";
    return hone__reply_finish(reply, "chat", &text, finish != NULL ? finish : "", err);
}

static unsigned quirk(const char *error_text, unsigned quirks) {
    bool names_limit = strstr(error_text, "max_tokens") != NULL || strstr(error_text, "max_completion_tokens") != NULL;
    bool about_size = strstr(error_text, "context") != NULL || strstr(error_text, "too large") != NULL ||
                      strstr(error_text, "at most") != NULL || strstr(error_text, "less than") != NULL || strstr(error_text, "exceed") != NULL;
    if ((quirks & HONE_QUIRK_NO_ROOM) == 0 && about_size)
        return HONE_QUIRK_NO_ROOM;
    if ((quirks & HONE_QUIRK_RENAMED) == 0 && names_limit)
        return HONE_QUIRK_RENAMED;
    if ((quirks & HONE_QUIRK_NO_SCHEMA) == 0 &&
        (strstr(error_text, "response_format") != NULL || strstr(error_text, "json_schema") != NULL || strstr(error_text, "schema") != NULL))
        return HONE_QUIRK_NO_SCHEMA;
    return 0;
}

const hone__provider_api *hone__provider_api_chat(void) {
    static const hone__provider_api api = {"chat", NULL, "/chat/completions", body, parse, quirk};
    return &api;
}
