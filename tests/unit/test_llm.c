/* test_llm.c: which provider is chosen, which addresses and keys are refused, what bodies say, how replies are read; no network. */
#include "alloc.h"
#include "file.h"
#include "llm_impl.h"
#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const variables[] = {"HONE_LLM_PROVIDER",    "HONE_LLM_MODEL",      "HONE_LLM_API_BASE", "HONE_LLM_CA_BUNDLE",
                                        "HONE_LLM_CLIENT_CERT", "HONE_LLM_CLIENT_KEY", "HONE_LLM_COMMAND",  "HONE_LLM_MAILBOX",
                                        "HONE_LLM_API_KEY",     "HONE_LLM_API_KEY_FILE", "OPENAI_API_KEY",  "ANTHROPIC_API_KEY",
                                        "OPENAI_BASE_URL",      "ANTHROPIC_BASE_URL"};

static int clean(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        (void)unsetenv(variables[i]);
    hone__secret_forget_all();
    return 0;
}

typedef struct choice {
    const char *set;      /* "NAME=value NAME=value" */
    hone_status status;
    hone__provider provider;
    const char *model;    /* NULL: not looked at */
    const char *url;      /* NULL: none */
    const char *message;  /* part of it, on failure */
} choice;

static void apply(const char *set) {
    char *copy = hone__strdup(set);
    char *rest = copy;
    for (char *word = rest; *rest != '\0'; word = rest) {
        size_t length = strcspn(word, " ");
        rest = word + length + (word[length] != '\0');
        word[length] = '\0';
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = '\0';
        assert_int_equal(setenv(word, value, 1), 0);
    }
    hone__free(copy);
}

static void check(const choice *c, const hone__llm_options *options) {
    hone__llm_config config;
    hone_error err = {0};
    (void)clean(NULL);
    apply(c->set);
    hone_status status = hone__llm_configure(&config, options, &err);
    if (status != c->status)
        fail_msg("%s: %s, %s", c->set, hone_status_name(status), err.message);
    if (status == HONE_OK) {
        if (config.provider != c->provider)
            fail_msg("%s: provider %s", c->set, hone__provider_name(config.provider));
        if (c->model != NULL)
            assert_string_equal(config.model, c->model);
        if (c->url != NULL)
            assert_string_equal(config.url, c->url);
    } else if (c->message != NULL && strstr(err.message, c->message) == NULL) {
        fail_msg("%s: message is \"%s\"", c->set, err.message);
    }
    hone__llm_config_clear(&config);
}

static void test_llm__chooses_from_environment(void **state) {
    (void)state;
    static const choice choices[] = {
        {"", HONE_OK, HONE_PROVIDER_NONE, "", NULL, NULL},
        {"HONE_LLM_PROVIDER=none OPENAI_API_KEY=abcdefgh", HONE_OK, HONE_PROVIDER_NONE, "", NULL, NULL},
        {"OPENAI_API_KEY=abcdefgh", HONE_OK, HONE_PROVIDER_OPENAI, HONE_LLM_MODEL_OPENAI, "https://api.openai.com/v1/responses", NULL},
        {"ANTHROPIC_API_KEY=abcdefgh", HONE_OK, HONE_PROVIDER_ANTHROPIC, HONE_LLM_MODEL_ANTHROPIC, "https://api.anthropic.com/v1/messages",
         NULL},
        {"OPENAI_API_KEY=abcdefgh ANTHROPIC_API_KEY=abcdefgh HONE_LLM_MODEL=claude-x", HONE_OK, HONE_PROVIDER_ANTHROPIC, "claude-x", NULL, NULL},
        {"OPENAI_API_KEY=abcdefgh HONE_LLM_MODEL=o3-mini", HONE_OK, HONE_PROVIDER_OPENAI, "o3-mini", NULL, NULL},
        {"HONE_LLM_MODEL=claude-x", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "ANTHROPIC_API_KEY"},
        {"HONE_LLM_MODEL=qwen3", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "HONE_LLM_PROVIDER"},
        {"HONE_LLM_API_BASE=http://localhost:11434 HONE_LLM_MODEL=qwen3", HONE_OK, HONE_PROVIDER_CHAT, "qwen3",
         "http://localhost:11434/v1/chat/completions", NULL},
        {"HONE_LLM_API_BASE=http://localhost:11434", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "HONE_LLM_MODEL"},
        {"HONE_LLM_API_BASE=http://localhost:1/v1/responses HONE_LLM_MODEL=m", HONE_OK, HONE_PROVIDER_OPENAI, "m",
         "http://localhost:1/v1/responses", NULL},
        {"HONE_LLM_API_BASE=http://localhost:1/v1/messages/ HONE_LLM_MODEL=m", HONE_OK, HONE_PROVIDER_ANTHROPIC, "m",
         "http://localhost:1/v1/messages", NULL},
        {"HONE_LLM_API_BASE=https://gw.example/v1/chat/completions HONE_LLM_MODEL=gpt-oss-20b", HONE_OK, HONE_PROVIDER_CHAT, NULL,
         "https://gw.example/v1/chat/completions", NULL},
        {"HONE_LLM_PROVIDER=openai HONE_LLM_API_BASE=https://gw.example/v1/messages OPENAI_API_KEY=abcdefgh", HONE_E_ARG, HONE_PROVIDER_NONE,
         NULL, NULL, "endpoint of anthropic"},
        {"HONE_LLM_COMMAND=cat", HONE_OK, HONE_PROVIDER_COMMAND, "", NULL, NULL},
        {"HONE_LLM_COMMAND=cat OPENAI_API_KEY=abcdefgh", HONE_OK, HONE_PROVIDER_COMMAND, "", NULL, NULL},
        {"HONE_LLM_COMMAND=cat HONE_LLM_MAILBOX=/tmp/x", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "more than one"},
        {"HONE_LLM_COMMAND=cat HONE_LLM_MAILBOX=/tmp/x HONE_LLM_PROVIDER=mailbox", HONE_OK, HONE_PROVIDER_MAILBOX, NULL, NULL, NULL},
        {"HONE_LLM_PROVIDER=command", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "HONE_LLM_COMMAND"},
        {"HONE_LLM_PROVIDER=mailbox", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "HONE_LLM_MAILBOX"},
        {"HONE_LLM_PROVIDER=replay", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "transcript"},
        {"HONE_LLM_PROVIDER=chat HONE_LLM_MODEL=m", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "HONE_LLM_API_BASE"},
        {"HONE_LLM_PROVIDER=grok", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "one of openai, chat"},
        {"HONE_LLM_API_KEY=abcdefgh", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "no provider"},
        {"HONE_LLM_PROVIDER=openai HONE_LLM_API_KEY=abcdefgh OPENAI_BASE_URL=https://gw.example/openai/v1", HONE_OK, HONE_PROVIDER_OPENAI, NULL,
         "https://gw.example/openai/v1/responses", NULL},
        {"HONE_LLM_MODEL=bad\nname HONE_LLM_PROVIDER=openai OPENAI_API_KEY=abcdefgh", HONE_E_ARG, HONE_PROVIDER_NONE, NULL, NULL, "name"},
    };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++)
        check(&choices[i], NULL);
}

static void test_llm__options_win_over_environment(void **state) {
    (void)state;
    const choice mailbox = {"HONE_LLM_COMMAND=cat OPENAI_API_KEY=abcdefgh HONE_LLM_PROVIDER=openai", HONE_OK, HONE_PROVIDER_MAILBOX, NULL, NULL, NULL};
    check(&mailbox, &(hone__llm_options){.mailbox = "/tmp/x"});
    const choice replay = {"HONE_LLM_MAILBOX=/tmp/x", HONE_OK, HONE_PROVIDER_REPLAY, NULL, NULL, NULL};
    check(&replay, &(hone__llm_options){.replay = "t.jsonl"});
    const choice model = {"HONE_LLM_COMMAND=cat ANTHROPIC_API_KEY=abcdefgh", HONE_OK, HONE_PROVIDER_ANTHROPIC, "claude-y", NULL, NULL};
    check(&model, &(hone__llm_options){.model = "claude-y"});
    const choice named = {"HONE_LLM_COMMAND=cat HONE_LLM_PROVIDER=openai", HONE_OK, HONE_PROVIDER_COMMAND, NULL, NULL, NULL};
    check(&named, &(hone__llm_options){.provider = "command"});
    const choice filled = {"HONE_LLM_API_BASE=http://[::1]:8000 HONE_LLM_PROVIDER=chat", HONE_OK, HONE_PROVIDER_CHAT, "m",
                           "http://[::1]:8000/v1/chat/completions", NULL};
    check(&filled, &(hone__llm_options){.model = "m"});
}

static void test_llm__key_goes_only_where_it_belongs(void **state) {
    (void)state;
    static const struct {
        const char *set, *key;
    } cases[] = {
        {"HONE_LLM_PROVIDER=chat HONE_LLM_MODEL=m HONE_LLM_API_BASE=https://stranger.example OPENAI_API_KEY=abcdefgh", NULL},
        {"HONE_LLM_PROVIDER=chat HONE_LLM_MODEL=m HONE_LLM_API_BASE=https://api.openai.com/v1 OPENAI_API_KEY=abcdefgh", "abcdefgh"},
        {"HONE_LLM_PROVIDER=chat HONE_LLM_MODEL=m HONE_LLM_API_BASE=https://stranger.example HONE_LLM_API_KEY=given123", "given123"},
        {"HONE_LLM_PROVIDER=anthropic OPENAI_API_KEY=abcdefgh ANTHROPIC_API_KEY=theirs12", "theirs12"},
        {"HONE_LLM_PROVIDER=openai OPENAI_API_KEY=abcdefgh HONE_LLM_API_KEY=given123", "given123"},
        {"HONE_LLM_PROVIDER=chat HONE_LLM_MODEL=m HONE_LLM_API_BASE=http://127.1.2.3:8 ANTHROPIC_API_KEY=theirs12", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone__llm_config config;
        hone_error err = {0};
        (void)clean(NULL);
        apply(cases[i].set);
        assert_int_equal(hone__llm_configure(&config, NULL, &err), HONE_OK);
        if (cases[i].key == NULL)
            assert_null(config.key);
        else
            assert_string_equal(config.key, cases[i].key);
        hone__llm_config_clear(&config);
    }
}

static void test_llm__checks_addresses(void **state) {
    (void)state;
    static const struct {
        const char *base, *url, *origin;
        bool loopback;
    } good[] = {
        {"https://a.example", "https://a.example/v1/chat/completions", "a.example", false},
        {"https://a.example/", "https://a.example/v1/chat/completions", "a.example", false},
        {"https://a.example/v1//", "https://a.example/v1/chat/completions", "a.example", false},
        {"https://a.example:8443/proxy", "https://a.example:8443/proxy/v1/chat/completions", "a.example:8443", false},
        {"https://a.example/api/v3", "https://a.example/api/v3/chat/completions", "a.example", false},
        {"https://a.example/v1beta/openai/v1", "https://a.example/v1beta/openai/v1/chat/completions", "a.example", false},
        {"https://a.example/v1/chat/completions?api-version=7", "https://a.example/v1/chat/completions?api-version=7", "a.example", false},
        {"http://127.0.0.1:80/v1", "http://127.0.0.1:80/v1/chat/completions", "127.0.0.1:80", true},
        {"http://[::1]:9", "http://[::1]:9/v1/chat/completions", "[::1]:9", true},
        {"http://LOCALHOST:9", NULL, NULL, true},
        {"https://127.9.9.9", "https://127.9.9.9/v1/chat/completions", "127.9.9.9", true},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char *url = NULL;
        char *origin = NULL;
        bool loopback = !good[i].loopback;
        hone_error err = {0};
        if (hone__llm_url(good[i].base, "/chat/completions", &url, &origin, &loopback, &err) != HONE_OK)
            fail_msg("%s: %s", good[i].base, err.message);
        if (good[i].url != NULL) {
            assert_string_equal(url, good[i].url);
            assert_string_equal(origin, good[i].origin);
        }
        assert_int_equal(loopback, good[i].loopback);
        hone__free(url);
        hone__free(origin);
    }
    static const char *const bad[] = {"", "a.example", "http://a.example", "http://10.0.0.1", "http://128.0.0.1", "https://", "ftp://a.example",
                                      "https://user@a.example", "https://u:p@a.example", "https://a.example/#f", "https://a b/", "https://a\n/",
                                      "https://169.254.169.254", "http://localhost.example", "http://127.0.0.1.example", "https://\xc3\xa9.example",
                                      "file:///etc/passwd", "javascript:1", "https://[::1", "https://a.example:99999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *url = NULL;
        char *origin = NULL;
        bool loopback = false;
        hone_error err = {0};
        if (hone__llm_url(bad[i], "/chat/completions", &url, &origin, &loopback, &err) != HONE_E_ARG)
            fail_msg("%s was accepted", bad[i]);
        assert_null(url);
        assert_null(origin);
        assert_null(strstr(err.message, "u:p"));
    }
    char *long_base = hone__alloc(HONE_LLM_VALUE_BYTES + 64);
    memcpy(long_base, "https://a.example/", 18);
    memset(long_base + 18, 'x', HONE_LLM_VALUE_BYTES);
    char *url = NULL;
    char *origin = NULL;
    bool loopback = false;
    assert_int_equal(hone__llm_url(long_base, "/x", &url, &origin, &loopback, NULL), HONE_E_ARG);
    hone__free(long_base);
}

static void test_llm__says_where_a_redirect_leads(void **state) {
    (void)state;
    char host[128];
    hone__llm_url_host("https://a.example/v1/x", "https://b.example/secret?token=1", host, sizeof host);
    assert_string_equal(host, "b.example");
    hone__llm_url_host("https://a.example/v1/x", "/elsewhere", host, sizeof host);
    assert_string_equal(host, "a.example");
    hone__llm_url_host("https://a.example/v1/x", "https://", host, sizeof host);
    assert_string_equal(host, "an unreadable address");
}

static void test_llm__reads_retry_after(void **state) {
    (void)state;
    const int64_t now = 1700000000; /* Tue, 14 Nov 2023 22:13:20 GMT */
    assert_int_equal(hone__http_retry_after("5", "", now, 60000), 5000);
    assert_int_equal(hone__http_retry_after("0", "", now, 60000), 0);
    assert_int_equal(hone__http_retry_after("60", "", now, 60000), 60000);
    assert_int_equal(hone__http_retry_after("61", "", now, 60000), 60000);
    assert_int_equal(hone__http_retry_after("99999999999999999999999999", "", now, 60000), 60000);
    assert_int_equal(hone__http_retry_after("9", "250", now, 60000), 250);
    assert_int_equal(hone__http_retry_after("9", "250.7", now, 60000), 250);
    assert_int_equal(hone__http_retry_after("9", "soon", now, 60000), 9000);
    assert_int_equal(hone__http_retry_after("Tue, 14 Nov 2023 22:13:30 GMT", "", now, 60000), 10000);
    assert_int_equal(hone__http_retry_after("Tue, 14 Nov 2023 22:13:10 GMT", "", now, 60000), 0);
    assert_int_equal(hone__http_retry_after("Fri, 31 Dec 2099 23:59:59 GMT", "", now, 60000), 60000);
    assert_int_equal(hone__http_retry_after("-5", "", now, 60000), -1);
    assert_int_equal(hone__http_retry_after("soon", "", now, 60000), -1);
    assert_int_equal(hone__http_retry_after("", "", now, 60000), -1);
    assert_int_equal(hone__http_retry_after("nan", "inf", now, 60000), -1);
}

/* ---- bodies ---- */

static cJSON *body_of(hone__provider provider, const char *model, const cJSON *schema, unsigned quirks) {
    static char model_text[64];
    (void)snprintf(model_text, sizeof model_text, "%s", model);
    const hone__llm_config config = {.provider = provider, .model = model_text, .output_tokens_max = 1000};
    const hone__message message[] = {{"user", "a \"q\" \xff \n\x01"}, {"assistant", "b"}, {"user", "c"}};
    const hone__llm_request request = {.system = "sys", .message = message, .message_count = 3, .schema = schema};
    hone__buf out;
    hone__buf_init(&out, 1 << 20);
    hone__provider_api_of(provider)->body(&out, &config, &request, quirks);
    assert_int_equal(out.status, HONE_OK);
    assert_true(hone__utf8_valid(out.data, out.length));
    cJSON *json = NULL;
    hone_error err = {0};
    if (hone__json_parse(&json, out.data, out.length, "body", &err) != HONE_OK)
        fail_msg("%s: %s", err.message, out.data);
    hone__buf_free(&out);
    return json;
}

static cJSON *parse(const char *text) {
    cJSON *json = NULL;
    hone_error err = {0};
    if (hone__json_parse(&json, text, strlen(text), "test", &err) != HONE_OK)
        fail_msg("%s", err.message);
    return json;
}

static double number_at(const cJSON *root, const char *name) {
    return hone__json_number(root, name, -1.0);
}

static void test_llm__bodies_leave_room_for_reasoning(void **state) {
    (void)state;
    static const struct {
        hone__provider provider;
        const char *model, *name;
        unsigned quirks;
        double tokens;
    } cases[] = {
        {HONE_PROVIDER_OPENAI, "gpt-5.2", "max_output_tokens", 0, 1000 + HONE_LLM_REASONING_TOKENS},
        {HONE_PROVIDER_OPENAI, "gpt-4o", "max_output_tokens", 0, 1000},
        {HONE_PROVIDER_OPENAI, "o3", "max_output_tokens", HONE_QUIRK_NO_ROOM, 1000},
        {HONE_PROVIDER_CHAT, "m", "max_tokens", 0, 1000 + HONE_LLM_REASONING_TOKENS},
        {HONE_PROVIDER_CHAT, "m", "max_completion_tokens", HONE_QUIRK_RENAMED | HONE_QUIRK_NO_ROOM, 1000},
        {HONE_PROVIDER_ANTHROPIC, "claude-x", "max_tokens", 0, 1000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *body = body_of(cases[i].provider, cases[i].model, NULL, cases[i].quirks);
        assert_true(number_at(body, cases[i].name) == cases[i].tokens);
        assert_string_equal(hone__json_string(body, "model"), cases[i].model);
        cJSON_Delete(body);
    }
}

static void test_llm__bodies_carry_the_schema(void **state) {
    (void)state;
    cJSON *closed = parse("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"],\"additionalProperties\":false}");
    cJSON *open_schema = parse("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"additionalProperties\":false}");
    assert_true(hone__schema_strict(closed));
    assert_false(hone__schema_strict(open_schema));
    cJSON *body = body_of(HONE_PROVIDER_OPENAI, "gpt-5", closed, 0);
    const cJSON *format = cJSON_GetObjectItem(cJSON_GetObjectItem(body, "text"), "format");
    assert_string_equal(hone__json_string(format, "type"), "json_schema");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(format, "strict")));
    assert_true(cJSON_Compare(cJSON_GetObjectItem(format, "schema"), closed, 1));
    cJSON_Delete(body);
    body = body_of(HONE_PROVIDER_CHAT, "m", open_schema, 0);
    const cJSON *wrapped = cJSON_GetObjectItem(cJSON_GetObjectItem(body, "response_format"), "json_schema");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(wrapped, "strict")));
    cJSON_Delete(body);
    body = body_of(HONE_PROVIDER_CHAT, "m", closed, HONE_QUIRK_NO_SCHEMA);
    assert_null(cJSON_GetObjectItem(body, "response_format"));
    cJSON_Delete(body);
    body = body_of(HONE_PROVIDER_ANTHROPIC, "claude-x", open_schema, 0);
    assert_null(cJSON_GetObjectItem(body, "output_config"));
    cJSON_Delete(body);
    cJSON_Delete(closed);
    cJSON_Delete(open_schema);
}

static void test_llm__learns_from_refusals_once(void **state) {
    (void)state;
    const hone__provider_api *chat = hone__provider_api_chat();
    const char *rename = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
    assert_int_equal(chat->quirk(rename, 0), HONE_QUIRK_RENAMED);
    assert_int_equal(chat->quirk(rename, HONE_QUIRK_RENAMED), 0);
    assert_int_equal(chat->quirk("max_tokens is too large: 20480. This model supports at most 16384", 0), HONE_QUIRK_NO_ROOM);
    assert_int_equal(chat->quirk("'response_format.type' must be text", 0), HONE_QUIRK_NO_SCHEMA);
    assert_int_equal(chat->quirk("the model `x` does not exist", 0), 0);
    assert_int_equal(hone__provider_api_openai()->quirk("Invalid schema for response_format 'answer'", 0), HONE_QUIRK_NO_SCHEMA);
    assert_int_equal(hone__provider_api_openai()->quirk("x", 0), 0);
    assert_int_equal(hone__provider_api_anthropic()->quirk("output_config: Extra inputs are not permitted", 0), HONE_QUIRK_NO_SCHEMA);
    assert_int_equal(hone__provider_api_anthropic()->quirk("credit balance is too low", 0), 0);
}

/* ---- replies ---- */

typedef struct answer {
    hone__provider provider;
    const char *body;
    hone_status status;
    const char *text;
    uint64_t in, out;
    bool truncated;
} answer;

static void test_llm__reads_replies(void **state) {
    (void)state;
    static const answer answers[] = {
        {HONE_PROVIDER_CHAT, "{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}",
         HONE_OK, "hi", 3, 4, false},
        {HONE_PROVIDER_CHAT, "{\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}}]}",
         HONE_OK, "ab", 0, 0, false},
        {HONE_PROVIDER_CHAT, "{\"error\":null,\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"length\"}]}", HONE_OK, "hi", 0, 0, true},
        {HONE_PROVIDER_CHAT, "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1e300}}", HONE_OK,
         "hi", 0, 0, false},
        {HONE_PROVIDER_CHAT, "{\"choices\":[{\"message\":{\"content\":null,\"reasoning_content\":\"hm\"},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}",
         HONE_E_REPLY, NULL, 3, 4, true},
        {HONE_PROVIDER_OPENAI, "{\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]}],\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}",
         HONE_OK, "hi", 5, 6, false},
        {HONE_PROVIDER_OPENAI, "{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"content_filter\"},\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]}]}",
         HONE_E_REPLY, NULL, 0, 0, false},
        {HONE_PROVIDER_OPENAI, "{\"status\":\"completed\",\"output\":[{\"type\":\"function_call\",\"content\":[{\"type\":\"output_text\",\"text\":\"no\"}]}]}",
         HONE_E_REPLY, NULL, 0, 0, false},
        {HONE_PROVIDER_OPENAI, "{\"output\":{}}", HONE_E_REPLY, NULL, 0, 0, false},
        {HONE_PROVIDER_ANTHROPIC, "{\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\"},{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":2,\"output_tokens\":3}}",
         HONE_OK, "hi", 3, 3, false},
        {HONE_PROVIDER_ANTHROPIC, "{\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"max_tokens\"}", HONE_OK, "hi", 0, 0, true},
        {HONE_PROVIDER_ANTHROPIC, "{\"content\":[],\"stop_reason\":\"refusal\"}", HONE_E_REPLY, NULL, 0, 0, false},
        {HONE_PROVIDER_ANTHROPIC, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", HONE_E_PROVIDER, NULL, 0, 0,
         false},
        {HONE_PROVIDER_CHAT, "{\"error\":\"died\",\"choices\":[{\"message\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":9}}",
         HONE_E_PROVIDER, NULL, 8, 9, false},
        {HONE_PROVIDER_ANTHROPIC, "{\"content\":[7,null,{\"type\":3},{\"text\":\"x\"}]}", HONE_E_REPLY, NULL, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const answer *a = &answers[i];
        hone__llm_reply reply = {0};
        hone_error err = {0};
        hone_status status = hone__provider_parse(hone__provider_api_of(a->provider), a->body, strlen(a->body), &reply, &err);
        if (status != a->status)
            fail_msg("%s: %s %s", a->body, hone_status_name(status), err.message);
        if (a->text == NULL)
            assert_null(reply.text);
        else
            assert_string_equal(reply.text, a->text);
        assert_int_equal(reply.tokens_in, a->in);
        assert_int_equal(reply.tokens_out, a->out);
        assert_int_equal(reply.truncated, a->truncated);
        hone__llm_reply_clear(&reply);
    }
}

/* A megabyte of anything must be refused quickly and without much memory. */
static void test_llm__bounds_hostile_json(void **state) {
    (void)state;
    enum { BYTES = 1 << 20 };
    char *body = hone__alloc(BYTES);
    static const char *const fills[] = {"[", "{\"a\":", "0,", "\"", "\\", "[],", "{},"};
    for (size_t i = 0; i < sizeof fills / sizeof fills[0]; i++) {
        for (size_t at = 0; at < BYTES; at++)
            body[at] = fills[i][at % strlen(fills[i])];
        body[0] = '[';
        hone__llm_reply reply = {0};
        hone_error err = {0};
        assert_int_equal(hone__provider_parse(hone__provider_api_chat(), body, BYTES, &reply, &err), HONE_E_REPLY);
        assert_null(reply.text);
    }
    hone__free(body);
}

static void test_llm__survives_failing_allocations(void **state) {
    (void)state;
    static const char body[] = "{\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}";
    for (int forever = 0; forever < 2; forever++) {
        for (size_t nth = 1; nth < 60; nth++) {
            size_t live = hone__alloc_live();
            hone__llm_reply reply = {0};
            hone_error err = {0};
            hone__alloc_fail_at(nth, forever);
            hone_status status = hone__provider_parse(hone__provider_api_chat(), body, sizeof body - 1, &reply, &err);
            hone__alloc_fail_at(0, 0);
            assert_true((status == HONE_OK) == (reply.text != NULL));
            hone__llm_reply_clear(&reply);
            assert_int_equal(hone__alloc_live(), live);
        }
    }
    (void)clean(NULL);
    apply("HONE_LLM_PROVIDER=chat HONE_LLM_API_KEY=abcdefgh HONE_LLM_MODEL=m HONE_LLM_API_BASE=http://127.0.0.1:1");
    cJSON *schema = parse("{\"type\":\"object\"}");
    for (size_t nth = 1; nth < 60; nth++) {
        size_t live = hone__alloc_live();
        hone__llm *llm = NULL;
        hone_error err = {0};
        hone__alloc_fail_at(nth, 0);
        hone_status status = hone__llm_open(&llm, NULL, &err);
        hone__alloc_fail_at(0, 0);
        assert_true((status == HONE_OK) == (llm != NULL));
        hone__llm_close(llm);
        assert_int_equal(hone__alloc_live(), live);
        assert_int_equal(hone__llm_open(&llm, NULL, &err), HONE_OK);
        const hone__message message = {"user", "q"};
        const hone__llm_request request = {.system = "s", .message = &message, .message_count = 1, .schema = schema};
        hone__alloc_fail_at(nth, 0);
        status = hone__llm_start(llm, &request, &err);
        hone__alloc_fail_at(0, 0);
        assert_true(status == HONE_OK || status == HONE_E_NOMEM);
        hone__llm_close(llm);
        assert_int_equal(hone__alloc_live(), live);
    }
    cJSON_Delete(schema);
}

/* ---- text ---- */

static void test_llm__knows_utf8(void **state) {
    (void)state;
    static const char *const good[] = {"", "abc", "\xc2\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"};
    static const char *const bad[] = {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82",
                                      "\xf0\x9f\x98", "a\xff", "\xe2\x28\xa1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(hone__utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(hone__utf8_valid(bad[i], strlen(bad[i])));
        hone__buf out;
        hone__buf_init(&out, 100);
        hone__utf8_append(&out, bad[i]);
        assert_true(hone__utf8_valid(out.data, out.length));
        hone__buf_free(&out);
    }
}

static void test_llm__excerpts_are_safe(void **state) {
    (void)state;
    char line[32];
    hone__excerpt("  a\n\tb\x1b[2J \xc2\x9b c \xff", NULL, line, sizeof line);
    assert_string_equal(line, "a b [2J c ?");
    hone__excerpt("the key is TOPSECRET-0123456789, yes it is", "TOPSECRET-0123456789", line, sizeof line);
    assert_null(strstr(line, "SECRET"));
    /* Cut in the middle of the key: redaction comes first. */
    hone__excerpt("0123456789012345678901 TOPSECRET-0123456789", "TOPSECRET-0123456789", line, sizeof line);
    assert_null(strstr(line, "TOP"));
    for (size_t bytes = 1; bytes < sizeof line; bytes++) {
        hone__excerpt("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", NULL, line,
                      bytes);
        assert_true(strlen(line) < bytes);
        assert_true(hone__utf8_valid(line, strlen(line)));
    }
}

static void test_llm__refuses_calls_out_of_order(void **state) {
    (void)state;
    (void)clean(NULL);
    hone__llm *llm = NULL;
    hone__llm_reply reply = {0};
    hone_error err = {0};
    const hone__message message = {"user", "q"};
    const hone__llm_request request = {.message = &message, .message_count = 1};
    assert_int_equal(hone__llm_open(&llm, NULL, &err), HONE_OK);
    assert_int_equal(hone__llm_provider(llm), HONE_PROVIDER_NONE);
    assert_string_equal(hone__llm_model(llm), "");
    assert_int_equal(hone__llm_start(llm, &request, &err), HONE_E_NOMODEL);
    assert_int_equal(hone__llm_poll(llm, 0, &reply, &err), HONE_E_STATE);
    hone__llm_close(llm);
    hone__llm_close(NULL);
    hone__llm_cancel(NULL);
    apply("HONE_LLM_COMMAND=cat");
    assert_int_equal(hone__llm_open(&llm, NULL, &err), HONE_OK);
    assert_int_equal(hone__llm_start(llm, &(hone__llm_request){.index = 0}, &err), HONE_E_ARG);
    assert_int_equal(hone__llm_start(llm, &request, &err), HONE_OK);
    assert_int_equal(hone__llm_start(llm, &request, &err), HONE_E_STATE);
    hone__llm_cancel(llm);
    assert_int_equal(hone__llm_poll(llm, 0, &reply, &err), HONE_E_STATE);
    assert_int_equal(hone__llm_start(llm, &request, &err), HONE_OK);
    hone__llm_close(llm);
}

static hone_status run_command(const char *line, uint32_t timeout_s, hone__llm_reply *reply, hone_error *err) {
    hone__llm *llm = NULL;
    enum { SYSTEM_BYTES = 1 << 20 }; /* more than a pipe holds */
    char *system = hone__alloc(SYSTEM_BYTES);
    memset(system, 's', SYSTEM_BYTES - 1);
    const hone__message message[] = {{"user", "first"}, {"assistant", "mine"}, {"user", "last"}};
    const hone__llm_request request = {.system = system, .message = message, .message_count = 3};
    hone_status status = hone__llm_open(&llm, &(hone__llm_options){.command = line, .timeout_s = timeout_s}, err);
    if (status == HONE_OK)
        status = hone__llm_start(llm, &request, err);
    hone__free(system);
    while (status == HONE_OK) {
        hone_status polled = hone__llm_poll(llm, 50, reply, err);
        if (polled == HONE_E_TIMEOUT)
            continue;
        status = polled;
        break;
    }
    hone__llm_close(llm);
    return status;
}

static void test_llm__runs_a_command(void **state) {
    (void)state;
    (void)clean(NULL);
    static const struct {
        const char *line;
        hone_status status;
        const char *part; /* of the answer or the message */
    } cases[] = {
        {"cat", HONE_OK, "last"},
        {"sh -c 'exec 0<&-; sleep 0.2; echo yes'", HONE_OK, "yes"}, /* does not want its input: SIGPIPE */
        {"sh -c 'cat >/dev/null; echo why >&2; exit 4'", HONE_E_PROVIDER, "status 4: why"},
        {"sh -c 'kill -9 $$'", HONE_E_PROVIDER, "signal 9"},
        {"sh -c 'cat >/dev/null'", HONE_E_REPLY, "no text"},
        {"sh -c 'printf \"\\377\"'", HONE_E_REPLY, "UTF-8"},
        {"sh -c 'sleep 30 & echo quick'", HONE_OK, "quick"}, /* a grandchild holds the pipe */
        {"sh -c 'exec >&- 2>&-; sleep 30'", HONE_E_PROVIDER, "within "},
        {"sleep 30", HONE_E_PROVIDER, "within "},
        {"yes", HONE_E_REPLY, "more than 8388608"},
        {"sh -c 'yes error | head -c 30000000 >&2; echo fine'", HONE_OK, "fine"},
        {"/nowhere/to/be/found", HONE_E_PROVIDER, "No such file"},
        {"'open", HONE_E_ARG, "quote"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone__llm_reply reply = {0};
        hone_error err = {0};
        bool hangs = strstr(cases[i].line, "sleep 30") != NULL && cases[i].status != HONE_OK;
        hone_status status = run_command(cases[i].line, hangs ? 1 : 60, &reply, &err);
        if (status != cases[i].status)
            fail_msg("%s: %s %s", cases[i].line, hone_status_name(status), err.message);
        const char *seen = status == HONE_OK ? reply.text : err.message;
        if (strstr(seen, cases[i].part) == NULL)
            fail_msg("%s: \"%s\"", cases[i].line, seen);
        hone__llm_reply_clear(&reply);
    }
}

static void test_llm__command_cannot_show_keys(void **state) {
    (void)state;
    (void)clean(NULL);
    apply("OPENAI_API_KEY=canary-7f3a9b");
    hone__llm_reply reply = {0};
    hone_error err = {0};
    assert_int_equal(run_command("sh -c 'echo $OPENAI_API_KEY >&2; exit 1'", 60, &reply, &err), HONE_E_PROVIDER);
    assert_null(strstr(err.message, "canary"));
    assert_non_null(strstr(err.message, "****"));
    assert_int_equal(run_command("sh -c 'echo key $OPENAI_API_KEY'", 60, &reply, &err), HONE_OK);
    assert_string_equal(reply.text, "key *************\n");
    hone__llm_reply_clear(&reply);
}

static int make_folder(void **state) {
    char *folder = hone__strdup("/tmp/hone-test-llm-XXXXXX");
    *state = folder;
    return folder == NULL || mkdtemp(folder) == NULL;
}

static int drop_folder(void **state) {
    char command[128];
    const char *const names[] = {"key", "cert"};
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(command, sizeof command, "%s/%s", (const char *)*state, names[i]);
        (void)unlink(command);
    }
    (void)rmdir(*state);
    hone__free(*state);
    return 0;
}

static void test_llm__key_file_must_be_private(void **state) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/key", (const char *)*state);
    static const struct {
        const char *content;
        unsigned mode;
        hone_status status;
    } cases[] = {{"secret-key-1\r\n", 0600, HONE_OK}, {"secret-key-1", 0400, HONE_OK}, {"secret-key-1", 0640, HONE_E_ARG},
                 {"secret-key-1", 0604, HONE_E_ARG}, {"\n", 0600, HONE_E_ARG},         {"two\nlines", 0600, HONE_E_ARG}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)clean(NULL);
        (void)unlink(path);
        assert_int_equal(hone__file_write(path, cases[i].content, strlen(cases[i].content), 0600, NULL), HONE_OK);
        assert_int_equal(chmod(path, cases[i].mode), 0);
        assert_int_equal(setenv("HONE_LLM_API_KEY_FILE", path, 1), 0);
        assert_int_equal(setenv("HONE_LLM_PROVIDER", "openai", 1), 0);
        hone__llm_config config;
        hone_error err = {0};
        if (hone__llm_configure(&config, NULL, &err) != cases[i].status)
            fail_msg("case %zu: %s", i, err.message);
        if (cases[i].status == HONE_OK) {
            assert_string_equal(config.key, "secret-key-1");
            char text[] = "it is secret-key-1!";
            hone__redact(text);
            assert_null(strstr(text, "secret-key"));
        }
        hone__llm_config_clear(&config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_llm__chooses_from_environment, clean),
        cmocka_unit_test_setup(test_llm__options_win_over_environment, clean),
        cmocka_unit_test_setup(test_llm__key_goes_only_where_it_belongs, clean),
        cmocka_unit_test(test_llm__checks_addresses),
        cmocka_unit_test(test_llm__says_where_a_redirect_leads),
        cmocka_unit_test(test_llm__reads_retry_after),
        cmocka_unit_test(test_llm__bodies_leave_room_for_reasoning),
        cmocka_unit_test(test_llm__bodies_carry_the_schema),
        cmocka_unit_test(test_llm__learns_from_refusals_once),
        cmocka_unit_test(test_llm__reads_replies),
        cmocka_unit_test(test_llm__bounds_hostile_json),
        cmocka_unit_test(test_llm__survives_failing_allocations),
        cmocka_unit_test(test_llm__knows_utf8),
        cmocka_unit_test(test_llm__excerpts_are_safe),
        cmocka_unit_test(test_llm__refuses_calls_out_of_order),
        cmocka_unit_test(test_llm__runs_a_command),
        cmocka_unit_test(test_llm__command_cannot_show_keys),
        cmocka_unit_test_setup_teardown(test_llm__key_file_must_be_private, make_folder, drop_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
