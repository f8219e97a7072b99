/* provider_openai.c: the OpenAI Responses API: input items, instructions, structured text, output items. */
#include "llm_impl.h"

#include <string.h>
#include <strings.h>

/* Models without reasoning refuse limits beyond their own output size. */
static bool reasons(const char *model) {
    static const char *const plain[] = {"gpt-3", "gpt-4", "chatgpt-4"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strncasecmp(model, plain[i], strlen(plain[i])) == 0)
            return false;
    }
    return true;
}

static void body(hone__buf *out, const hone__llm_config *config, const hone__llm_request *request, unsigned quirks) {
    hone__buf_text(out, "{\"model\":");
    hone__body_string(out, config->model);
    if (request->system != NULL && request->system[0] != '\0') {
        hone__buf_text(out, ",\"instructions\":");
        hone__body_string(out, request->system);
    }
    hone__buf_text(out, ",\"input\":[");
    for (uint32_t i = 0; i < request->message_count; i++) {
        bool assistant = strcmp(request->message[i].role, "assistant") == 0;
        hone__buf_printf(out, "%s{\"role\":\"%s\",\"content\":[{\"type\":\"%s\",\"text\":", i > 0 ? "," : "",
                         assistant ? "assistant" : "user", assistant ? "output_text" : "input_text");
        hone__body_string(out, request->message[i].text);
        hone__buf_text(out, "}]}");
    }
    uint64_t room = reasons(config->model) && (quirks & HONE_QUIRK_NO_ROOM) == 0 ? HONE_LLM_REASONING_TOKENS : 0;
    hone__buf_printf(out, "],\"max_output_tokens\":%llu,\"store\":false", (unsigned long long)(config->output_tokens_max + room));
    if (request->schema != NULL && (quirks & HONE_QUIRK_NO_SCHEMA) == 0) {
        hone__buf_printf(out, ",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"answer\",\"strict\":%s,\"schema\":",
                         hone__schema_strict(request->schema) ? "true" : "false");
        hone__json_print(out, request->schema);
        hone__buf_text(out, "}}");
    }
    hone__buf_char(out, '}');
}

/* Text of one output item; true when it is a refusal. */
static bool take_item(hone__buf *text, const cJSON *item) {
    const char *type = hone__json_string(item, "type");
    if (type != NULL && strcmp(type, "message") != 0)
        return false; /* reasoning, tool calls */
    const cJSON *part;
    bool refused = false;
    cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(item, "content")) {
        const char *kind = hone__json_string(part, "type");
        const char *piece = hone__json_string(part, "text");
        if (kind != NULL && strcmp(kind, "refusal") == 0)
            refused = true;
        else if (kind != NULL && strcmp(kind, "output_text") == 0 && piece != NULL)
            hone__buf_text(text, piece);
    }
    return refused;
}

static hone_status parse(hone__llm_reply *reply, const cJSON *root, hone_error *err) {
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(root, "usage");
    reply->tokens_in = hone__json_count(usage, "input_tokens");
    reply->tokens_out = hone__json_count(usage, "output_tokens");
    const cJSON *output = cJSON_GetObjectItemCaseSensitive(root, "output");
    if (!cJSON_IsArray(output))
        return hone__fail(err, HONE_E_REPLY, "llm", "openai: the answer has no list \"output\"; is this the Responses API?");
    const char *finish = hone__json_string(root, "status");
    const cJSON *details = cJSON_GetObjectItemCaseSensitive(root, "incomplete_details");
    if (hone__json_string(details, "reason") != NULL)
        finish = hone__json_string(details, "reason");
    if (finish == NULL)
        finish = "";
    if (strcmp(finish, "failed") == 0 || strcmp(finish, "cancelled") == 0 || strcmp(finish, "queued") == 0)
        return hone__fail(err, HONE_E_PROVIDER, "llm", "openai: the request ended as \"%s\"", finish);
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_REPLY_BYTES);
    const cJSON *item;
    cJSON_ArrayForEach(item, output) {
        if (take_item(&text, item))
            finish = "refusal";
    }
    return hone__reply_finish(reply, "openai", &text, finish, err);
}

static unsigned quirk(const char *error_text, unsigned quirks) {
    if ((quirks & HONE_QUIRK_NO_SCHEMA) == 0 && (strstr(error_text, "schema") != NULL || strstr(error_text, "text.format") != NULL))
        return HONE_QUIRK_NO_SCHEMA;
    if ((quirks & HONE_QUIRK_NO_ROOM) == 0 && strstr(error_text, "max_output_tokens") != NULL)
        return HONE_QUIRK_NO_ROOM;
    return 0;
}

const hone__provider_api *hone__provider_api_openai(void) {
    static const hone__provider_api api = {"openai", "https://api.openai.com/v1", "/responses", body, parse, quirk};
    return &api;
}
