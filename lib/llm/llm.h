/* llm.h: a conversation with a model: transport and providers.  One request at a time; start it, go on working, poll.  No threads. */
#ifndef HONE_LLM_H
#define HONE_LLM_H

#include "json.h"

typedef enum hone__provider {
    HONE_PROVIDER_NONE,
    HONE_PROVIDER_OPENAI,     /* Responses API */
    HONE_PROVIDER_CHAT,       /* OpenAI-style chat completions */
    HONE_PROVIDER_ANTHROPIC,  /* Messages API */
    HONE_PROVIDER_COMMAND,    /* prompt on stdin, answer on stdout */
    HONE_PROVIDER_MAILBOX,    /* prompts written as files, answers read from files */
    HONE_PROVIDER_REPLAY      /* answers from a transcript */
} hone__provider;
const char *hone__provider_name(hone__provider provider);

/* Where answers come from; strings borrowed, NULL: from the environment (design section 10). */
typedef struct hone__llm_options {
    const char *provider, *model, *api_base, *command, *mailbox, *replay;
    uint32_t timeout_s;           /* one request with its retries; default 300, for a mailbox 3600 */
    uint32_t output_tokens_max;   /* of the answer proper; room for reasoning is added; default 4096 */
    uint64_t tokens_max;          /* of all requests of this client; 0: none: a request that would begin beyond it is refused */
} hone__llm_options;

typedef struct hone__llm hone__llm;

/* Decide which provider and model: from options, then environment (HONE_LLM_*, then a key that is set).  HONE_PROVIDER_NONE when
 * nothing is configured (not an error).  Errors: HONE_E_ARG for contradictory or unusable settings: bad URL, missing CA file, key file
 * readable by others, plain http to a host that is not loopback, control characters. */
hone_status hone__llm_open(hone__llm **out, const hone__llm_options *options, hone_error *err);
void hone__llm_close(hone__llm *llm);     /* cancels; wipes secrets */
hone__provider hone__llm_provider(const hone__llm *llm);
const char *hone__llm_model(const hone__llm *llm); /* "" when none */

typedef struct hone__message {
    const char *role;  /* "user" or "assistant" */
    const char *text;
} hone__message;

/* What is asked.  `schema`: a JSON schema of the wanted answer, used where the provider has structured output; may be NULL. */
typedef struct hone__llm_request {
    uint32_t index;               /* 0, 1, ...: names mailbox files and transcript lines */
    const char *system;
    const hone__message *message;
    uint32_t message_count;
    const cJSON *schema;
} hone__llm_request;

typedef struct hone__llm_reply {
    char *text;                   /* never NULL on HONE_OK; hone__llm_reply_clear */
    bool truncated;               /* finish reason says that the limit cut it */
    char finish[32];              /* provider's finish reason, "" unknown */
    uint64_t tokens_in, tokens_out;
    double seconds;
    uint32_t tries;
} hone__llm_reply;
void hone__llm_reply_clear(hone__llm_reply *reply);

/* Start; returns at once.  HONE_E_STATE if one is under way; HONE_E_LIMIT if tokens_max is used up. */
hone_status hone__llm_start(hone__llm *llm, const hone__llm_request *request, hone_error *err);
/* Pump for at most timeout_ms.  HONE_E_TIMEOUT: not there yet.  Errors end the request: HONE_E_NETWORK, HONE_E_PROVIDER, HONE_E_REPLY
 * (empty, refusal, over the size limit), with one line that holds no secret; `reply` then has no text, but tokens, tries and seconds. */
hone_status hone__llm_poll(hone__llm *llm, uint32_t timeout_ms, hone__llm_reply *reply, hone_error *err);
void hone__llm_cancel(hone__llm *llm);
/* Charge tokens_max with what earlier processes used of it.  `llm` may be NULL. */
void hone__llm_charge(hone__llm *llm, uint64_t tokens);

#endif
