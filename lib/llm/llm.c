/* llm.c: the life of a client and of one request: start, poll, retry without what the server refuses, count tokens, end. */
#include "llm_impl.h"
#include "alloc.h"
#include "clock.h"
#include "log.h"

#include <stdatomic.h>
#include <string.h>

static atomic_int clients_open;

/* A replay speaks for the model that was recorded. */
static hone_status open_replay(hone__llm *llm, hone_error *err) {
    HONE_TRY(hone__transcript_read(&llm->transcript, llm->config.replay, err));
    hone__transcript_line first;
    if (llm->config.model[0] != '\0' || !hone__transcript_find(llm->transcript, 0, &first) || first.model == NULL)
        return HONE_OK;
    char *model = hone__strdup(first.model);
    if (model == NULL)
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the transcript's model");
    hone__free(llm->config.model);
    llm->config.model = model;
    return HONE_OK;
}

static hone_status open_transport(hone__llm *llm, hone_error *err) {
    switch (llm->config.provider) {
    case HONE_PROVIDER_OPENAI:
    case HONE_PROVIDER_CHAT:
    case HONE_PROVIDER_ANTHROPIC:
        return hone__http_open(&llm->http, &llm->config, &llm->limits, err);
    case HONE_PROVIDER_COMMAND:
        return hone__command_open(&llm->command, llm->config.command, err);
    case HONE_PROVIDER_MAILBOX:
        return hone__mailbox_open(&llm->mailbox, llm->config.mailbox, err);
    case HONE_PROVIDER_REPLAY:
        return open_replay(llm, err);
    case HONE_PROVIDER_NONE:
    default:
        return HONE_OK;
    }
}

hone_status hone__llm_open(hone__llm **out, const hone__llm_options *options, hone_error *err) {
    *out = NULL;
    hone__llm *llm = hone__alloc(sizeof *llm);
    if (llm == NULL)
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the model's client");
    llm->limits = (hone__http_limits)HONE_HTTP_LIMITS_INIT;
    hone__buf_init(&llm->body, 8u * HONE_LIMIT_REPLY_BYTES);
    (void)atomic_fetch_add(&clients_open, 1);
    hone_status status = hone__llm_configure(&llm->config, options, err);
    if (status == HONE_OK)
        status = open_transport(llm, err);
    if (status != HONE_OK) {
        hone__llm_close(llm);
        return status;
    }
    if (llm->http != NULL)
        hone__log(HONE_LOG_INFO, "llm", "provider=%s model=%s host=%s key=%s", hone__provider_name(llm->config.provider),
                  llm->config.model, llm->config.origin, llm->config.key != NULL ? "yes" : "no");
    *out = llm;
    return HONE_OK;
}

static void forget_request(hone__llm *llm) {
    for (uint32_t i = 0; i < llm->request.message_count; i++) {
        /* The copies are ours; the type is the caller's. */
        union {
            const char *in;
            void *out;
        } text = {.in = llm->request.message[i].text};
        hone__free(text.out);
    }
    union {
        const void *in;
        void *out;
    } memory = {.in = llm->request.message};
    hone__free(memory.out);
    memory.in = llm->request.system;
    hone__free(memory.out);
    memory.in = llm->request.schema;
    cJSON_Delete(memory.out);
    llm->request = (hone__llm_request){0};
}

void hone__llm_cancel(hone__llm *llm) {
    if (llm == NULL)
        return;
    if (llm->http != NULL)
        hone__http_cancel(llm->http);
    if (llm->command != NULL)
        hone__command_cancel(llm->command);
    forget_request(llm);
    llm->busy = false;
}

void hone__llm_close(hone__llm *llm) {
    if (llm == NULL)
        return;
    hone__llm_cancel(llm);
    hone__http_close(llm->http);
    hone__command_close(llm->command);
    hone__mailbox_close(llm->mailbox);
    hone__transcript_free(llm->transcript);
    hone__llm_config_clear(&llm->config);
    hone__buf_free(&llm->body);
    hone__free(llm);
    if (atomic_fetch_sub(&clients_open, 1) == 1)
        hone__secret_forget_all();
}

hone__provider hone__llm_provider(const hone__llm *llm) {
    return llm->config.provider;
}

const char *hone__llm_model(const hone__llm *llm) {
    return llm->config.model;
}

void hone__llm_reply_clear(hone__llm_reply *reply) {
    hone__free(reply->text);
    *reply = (hone__llm_reply){.text = NULL};
}

/* A second body may have to be built after the caller's strings are gone. */
static hone_status remember(hone__llm *llm, const hone__llm_request *request, hone_error *err) {
    hone__message *message = hone__alloc_array(request->message_count, sizeof *message);
    llm->request = (hone__llm_request){.index = request->index, .message = message};
    bool whole = message != NULL;
    for (uint32_t i = 0; whole && i < request->message_count; i++) {
        message[i].role = strcmp(request->message[i].role, "assistant") == 0 ? "assistant" : "user";
        message[i].text = hone__strdup(request->message[i].text);
        llm->request.message_count = i + 1;
        whole = message[i].text != NULL;
    }
    llm->request.system = hone__strdup(request->system != NULL ? request->system : "");
    llm->request.schema = request->schema != NULL ? cJSON_Duplicate(request->schema, 1) : NULL;
    whole = whole && llm->request.system != NULL && (request->schema == NULL || llm->request.schema != NULL);
    if (whole)
        return HONE_OK;
    forget_request(llm);
    return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for a request to the model");
}

/* Authorization lines hold the key: built, copied by the transport, wiped. */
static hone_status send(hone__llm *llm, hone_error *err) {
    const hone__llm_config *config = &llm->config;
    const hone__provider_api *api = hone__provider_api_of(config->provider);
    hone__buf_clear(&llm->body);
    api->body(&llm->body, config, &llm->request, llm->quirks);
    if (llm->body.status != HONE_OK)
        return hone__fail(err, llm->body.status, "llm", "the request to the model is too large");
    hone__buf auth;
    hone__buf_init(&auth, HONE_LLM_VALUE_BYTES + 64);
    if (config->key != NULL)
        hone__buf_printf(&auth, "%s%s", config->provider == HONE_PROVIDER_ANTHROPIC ? "x-api-key: " : "Authorization: Bearer ", config->key);
    const char *header[4] = {NULL};
    size_t count = 0;
    if (config->provider == HONE_PROVIDER_ANTHROPIC)
        header[count++] = "anthropic-version: 2023-06-01";
    if (auth.length > 0)
        header[count++] = auth.data;
    hone_status status = auth.status != HONE_OK ? hone__fail(err, auth.status, "llm", "no memory for a request to the model")
                                                : hone__http_start(llm->http, header, llm->body.data, llm->body.length, llm->deadline_ns, err);
    if (auth.data != NULL)
        explicit_bzero(auth.data, auth.capacity);
    hone__buf_free(&auth);
    return status;
}

hone_status hone__llm_start(hone__llm *llm, const hone__llm_request *request, hone_error *err) {
    if (llm->config.provider == HONE_PROVIDER_NONE)
        return hone__fail(err, HONE_E_NOMODEL, "llm", "no model is configured; set HONE_LLM_PROVIDER, HONE_LLM_COMMAND or HONE_LLM_MAILBOX");
    if (llm->busy)
        return hone__fail(err, HONE_E_STATE, "llm", "a request to the model is under way already");
    if (request->message_count == 0)
        return hone__fail(err, HONE_E_ARG, "llm", "a request to the model has no message");
    if (llm->config.tokens_max != 0 && llm->tokens_used >= llm->config.tokens_max)
        return hone__fail(err, HONE_E_LIMIT, "llm", "the token budget is used up: %llu of %llu", (unsigned long long)llm->tokens_used,
                          (unsigned long long)llm->config.tokens_max);
    llm->started_ns = hone__clock_ns();
    llm->deadline_ns = llm->started_ns + (uint64_t)llm->config.timeout_s * 1000000000u;
    llm->tries = 0;
    llm->tokens_in = llm->tokens_out = 0;
    hone_status status = HONE_OK;
    if (llm->command != NULL) {
        status = hone__command_start(llm->command, request, llm->deadline_ns, err);
    } else if (llm->mailbox != NULL) {
        status = hone__mailbox_start(llm->mailbox, request, llm->deadline_ns, err);
    } else {
        status = remember(llm, request, err);
        if (status == HONE_OK && llm->http != NULL)
            status = send(llm, err);
        if (status != HONE_OK)
            forget_request(llm);
    }
    llm->busy = status == HONE_OK;
    return status;
}

static hone_status refuse(hone__llm *llm, const hone__http_result *result, const char *text, hone_error *err) {
    const char *name = hone__provider_name(llm->config.provider);
    if (result->status >= 300 && result->status < 400) {
        char host[128] = "nowhere";
        if (result->location[0] != '\0')
            hone__llm_url_host(llm->config.url, result->location, host, sizeof host);
        hone__redact_key(host, llm->config.key);
        return hone__fail_os(err, HONE_E_PROVIDER, "llm", (int)result->status,
                             "%s: %s answered with a redirect (HTTP %ld) to %s, which is not followed; set HONE_LLM_API_BASE to the final address",
                             name, llm->config.origin, result->status, host);
    }
    const char *hint = "";
    if ((result->status == 401 || result->status == 403) && llm->config.key == NULL)
        hint = " (no key was sent; set HONE_LLM_API_KEY)";
    else if (result->status == 404)
        hint = " (check HONE_LLM_API_BASE and HONE_LLM_MODEL)";
    return hone__fail_os(err, HONE_E_PROVIDER, "llm", (int)result->status, "%s: %.100s answered HTTP %ld%s%s%s%s", name, llm->config.origin,
                         result->status, hint, result->tries > 1 ? " after several tries" : "", text[0] != '\0' ? ": " : "", text);
}

/* An HTTP answer is there.  HONE_E_TIMEOUT: sent again without what the server does not know. */
static hone_status take_answer(hone__llm *llm, const hone__http_result *result, hone__llm_reply *reply, hone_error *err) {
    const hone__provider_api *api = hone__provider_api_of(llm->config.provider);
    llm->tries += result->tries;
    if (result->status < 200 || result->status > 299) {
        char text[HONE_LLM_ERROR_BYTES];
        hone__llm_reply used = {.text = NULL};
        (void)hone__provider_parse(api, result->body, result->bytes, &used, NULL);
        hone__free(used.text);
        llm->tokens_in += used.tokens_in;
        llm->tokens_out += used.tokens_out;
        hone__provider_error_text(result->body, result->bytes, llm->config.key, text, sizeof text);
        unsigned quirk = result->status == 400 || result->status == 422 ? api->quirk(text, llm->quirks) : 0;
        if (quirk != 0) {
            llm->quirks |= quirk;
            hone__log(HONE_LOG_WARN, "llm", "%s refused a part of the request, sending it without: %s", llm->config.origin, text);
            hone_status status = send(llm, err);
            return status == HONE_OK ? HONE_E_TIMEOUT : status;
        }
        return refuse(llm, result, text, err);
    }
    if (result->encoding[0] != '\0' && strcasecmp(result->encoding, "identity") != 0) {
        char encoding[sizeof result->encoding];
        hone__excerpt(result->encoding, llm->config.key, encoding, sizeof encoding);
        return hone__fail(err, HONE_E_REPLY, "llm", "%s: %s compressed its answer (%s) without being asked", api->name, llm->config.origin,
                          encoding);
    }
    return hone__provider_parse(api, result->body, result->bytes, reply, err);
}

/* A budget of tokens must hold with servers that count none, too: four bytes of text are about a token. */
static void estimate_tokens(const hone__llm *llm, hone__llm_reply *reply) {
    char *request = hone__llm_request_json(&llm->request);
    reply->tokens_in = request == NULL ? 0 : (strlen(request) + 3) / 4;
    reply->tokens_out = (strlen(reply->text) + 3) / 4;
    hone__free(request);
}

static hone_status poll_http(hone__llm *llm, uint32_t timeout_ms, hone__llm_reply *reply, hone_error *err) {
    hone__http_result result;
    hone_status status = hone__http_poll(llm->http, timeout_ms, &result, err);
    if (status == HONE_OK)
        status = take_answer(llm, &result, reply, err);
    else if (status != HONE_E_TIMEOUT)
        llm->tries += hone__http_tries(llm->http);
    if (status == HONE_OK && reply->tokens_in == 0 && reply->tokens_out == 0)
        estimate_tokens(llm, reply);
    reply->tries = llm->tries;
    reply->tokens_in += llm->tokens_in;
    reply->tokens_out += llm->tokens_out;
    return status;
}

static hone_status poll_replay(hone__llm *llm, hone__llm_reply *reply, hone_error *err) {
    hone__transcript_line exchange;
    reply->tries = 1;
    if (!hone__transcript_find(llm->transcript, llm->request.index, &exchange) || exchange.reply == NULL)
        return hone__fail(err, HONE_E_PROVIDER, "llm", "the transcript %.200s has no reply to request %u (it has %u exchanges)",
                          llm->config.replay, llm->request.index, hone__transcript_count(llm->transcript));
    char *request = hone__llm_request_json(&llm->request);
    if (request != NULL && strcmp(request, exchange.request) != 0)
        hone__log(HONE_LOG_INFO, "llm", "request %u is not the one on record; times differ between machines, going on", llm->request.index);
    hone__free(request);
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_REPLY_BYTES);
    hone__buf_text(&text, exchange.reply);
    reply->tokens_in = exchange.tokens_in;
    reply->tokens_out = exchange.tokens_out;
    return hone__reply_finish(reply, "replay", &text, exchange.finish != NULL ? exchange.finish : "", err);
}

hone_status hone__llm_poll(hone__llm *llm, uint32_t timeout_ms, hone__llm_reply *reply, hone_error *err) {
    *reply = (hone__llm_reply){.text = NULL};
    if (!llm->busy)
        return hone__fail(err, HONE_E_STATE, "llm", "no request to the model is under way");
    hone_status status;
    if (llm->command != NULL)
        status = hone__command_poll(llm->command, timeout_ms, reply, err);
    else if (llm->mailbox != NULL)
        status = hone__mailbox_poll(llm->mailbox, timeout_ms, reply, err);
    else if (llm->transcript != NULL)
        status = poll_replay(llm, reply, err);
    else
        status = poll_http(llm, timeout_ms, reply, err);
    if (status == HONE_E_TIMEOUT) {
        hone__llm_reply_clear(reply);
        return status;
    }
    llm->tokens_used += reply->tokens_in + reply->tokens_out;
    reply->seconds = (double)(hone__clock_ns() - llm->started_ns) / 1e9;
    if (status != HONE_OK) {
        hone__free(reply->text);
        reply->text = NULL;
    } else {
        hone__redact_key(reply->text, llm->config.key);
    }
    forget_request(llm);
    llm->busy = false;
    return status;
}

void hone__llm_charge(hone__llm *llm, uint64_t tokens) {
    if (llm != NULL)
        llm->tokens_used += tokens;
}
