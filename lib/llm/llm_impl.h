/* llm_impl.h: what the files of this room share: settings, the HTTP transport, the tables of providers, text helpers. */
#ifndef HONE_LLM_IMPL_H
#define HONE_LLM_IMPL_H

#include "llm.h"
#include "limit.h"
#include "process.h"
#include "transcript.h"
#include "utf8.h"

/* Used where only a key is configured.  The one place to change them; HONE_LLM_MODEL overrides. */
#define HONE_LLM_MODEL_OPENAI "gpt-5.2"
#define HONE_LLM_MODEL_ANTHROPIC "claude-opus-4-7"

enum {
    HONE_LLM_TIMEOUT_S = 300,          /* one request with all its tries */
    HONE_LLM_TIMEOUT_MAILBOX_S = 3600, /* people answer more slowly than machines */
    HONE_LLM_OUTPUT_TOKENS = 4096,     /* fifteen configs with a paragraph of thought take about 2,000 */
    HONE_LLM_REASONING_TOKENS = 16384, /* room for thinking on top, where thinking is charged to the same limit */
    HONE_LLM_VALUE_BYTES = 4096,       /* a key, model name or URL; tokens of some gateways have 2 kB */
    HONE_LLM_ERROR_BYTES = 256,        /* of a provider's error text, in our message */
    HONE_LLM_GRACE_NS = 5000000,       /* a poll of 0 ms goes on this long while there is something to do */
    HONE_LLM_JSON_SEPARATORS = 20000   /* commas in a reply; a real one has dozens.  Bounds memory and the check for duplicates */
};

/* Bounds of one HTTP exchange; a struct so that tests can tighten them. */
typedef struct hone__http_limits {
    uint32_t connect_ms;      /* name look-up, TCP and TLS */
    uint32_t idle_ms;         /* without a byte, once the answer has begun; before, models think in silence */
    uint32_t tries_max;
    uint32_t retries_max;     /* of all requests of a client together */
    uint32_t wait_ms_max;     /* what a server may make us wait between tries */
    uint32_t backoff_ms;      /* before the second try at most, doubled each time, jittered */
    uint32_t backoff_ms_max;
    size_t body_bytes_max;
    size_t error_bytes_max;   /* of the body of a refusal */
    size_t header_bytes_max;  /* all of them together, of all responses of a try */
    uint32_t headers_max;
} hone__http_limits;
#define HONE_HTTP_LIMITS_INIT                                                                                \
    {.connect_ms = 10000, .idle_ms = 60000, .tries_max = 4, .retries_max = 24, .wait_ms_max = 60000, .backoff_ms = 500, .backoff_ms_max = 8000, \
     .body_bytes_max = HONE_LIMIT_REPLY_BYTES, .error_bytes_max = 65536, .header_bytes_max = 262144, .headers_max = 512}

/* Settings after options and environment were read and checked.  Strings are owned. */
typedef struct hone__llm_config {
    hone__provider provider;
    char *model;              /* "" when there is none */
    char *url;                /* of the endpoint */
    char *origin;             /* "host" or "host:port", for messages */
    char *key;                /* secret; NULL: none */
    char *ca_bundle, *client_cert, *client_key;
    char *command, *mailbox, *replay;
    bool loopback;
    uint32_t timeout_s;
    uint32_t output_tokens_max;
    uint64_t tokens_max;
} hone__llm_config;
hone_status hone__llm_configure(hone__llm_config *config, const hone__llm_options *options, hone_error *err);
void hone__llm_config_clear(hone__llm_config *config); /* wipes the key */

/* Check a base URL and make the endpoint of it: `endpoint` is "/chat/completions"; appended, with "/v1" before it unless the base
 * ends in a version or in the endpoint itself.  HONE_E_ARG with the way out in the message. */
hone_status hone__llm_url(const char *base, const char *endpoint, char **url, char **origin, bool *loopback, hone_error *err);
/* Where a redirect would have led, as "host": for messages.  `location` may be relative. */
void hone__llm_url_host(const char *url, const char *location, char *host, size_t bytes);

/* ---- HTTP (http.c): one POST at a time, with its retries ------------------------------------------------------------ */

typedef struct hone__http hone__http;
typedef struct hone__http_result {
    long status;
    const char *body;         /* NUL-terminated; until the next start */
    size_t bytes;
    uint32_t tries;
    char encoding[32];        /* Content-Encoding, "" when none */
    char location[512];       /* of a redirect */
} hone__http_result;
hone_status hone__http_open(hone__http **out, const hone__llm_config *config, const hone__http_limits *limits, hone_error *err);
void hone__http_close(hone__http *http);
/* `header`: lines "Name: value", copied; `body` is borrowed until the exchange has ended. */
hone_status hone__http_start(hone__http *http, const char *const *header, const char *body, size_t bytes, uint64_t deadline_ns,
                             hone_error *err);
/* HONE_OK: an HTTP answer of any status, after all retries.  HONE_E_TIMEOUT: not there yet.  HONE_E_NETWORK, HONE_E_REPLY: the end. */
hone_status hone__http_poll(hone__http *http, uint32_t timeout_ms, hone__http_result *result, hone_error *err);
void hone__http_cancel(hone__http *http);
uint32_t hone__http_tries(const hone__http *http);
/* Milliseconds that a Retry-After or retry-after-ms value asks for, in [0, max]; -1 when it says nothing sensible. */
int64_t hone__http_retry_after(const char *seconds_or_date, const char *milliseconds, int64_t now_unix_s, uint32_t max_ms);

/* ---- providers over HTTP -------------------------------------------------------------------------------------------- */

/* What a server made us leave out or rename; learnt from its 400s and kept for the life of the client. */
enum { HONE_QUIRK_RENAMED = 1, HONE_QUIRK_NO_SCHEMA = 2, HONE_QUIRK_NO_ROOM = 4 };

typedef struct hone__provider_api {
    const char *name;
    const char *base;         /* public default; NULL: none */
    const char *endpoint;
    /* Append the request's body. */
    void (*body)(hone__buf *out, const hone__llm_config *config, const hone__llm_request *request, unsigned quirks);
    /* Take text, finish reason and usage out of a reply; usage also on failure. */
    hone_status (*parse)(hone__llm_reply *reply, const cJSON *root, hone_error *err);
    /* What a 400 with this text asks to change, out of HONE_QUIRK_*; 0: nothing. */
    unsigned (*quirk)(const char *error_text, unsigned quirks);
} hone__provider_api;
const hone__provider_api *hone__provider_api_openai(void);
const hone__provider_api *hone__provider_api_chat(void);
const hone__provider_api *hone__provider_api_anthropic(void);
const hone__provider_api *hone__provider_api_of(hone__provider provider); /* NULL for those without HTTP */

/* A reply's bytes to text: UTF-8, bounded JSON, the provider's shape.  No text or a refusal is HONE_E_REPLY. */
hone_status hone__provider_parse(const hone__provider_api *api, const char *body, size_t bytes, hone__llm_reply *reply,
                                 hone_error *err);
/* The text of an error reply, shortened and redacted; "" when there is none. */
void hone__provider_error_text(const char *body, size_t bytes, const char *key, char *text, size_t text_bytes);
/* A cheap look at JSON from outside before cJSON builds a tree: 8 MiB of "[],[]," would become 500 MiB of nodes, and a check of a
 * million members for duplicates would take hours. */
bool hone__json_items_fit(const char *text, size_t bytes);
/* For parse functions. */
hone_status hone__reply_finish(hone__llm_reply *reply, const char *name, hone__buf *text, const char *finish, hone_error *err);
uint64_t hone__json_count(const cJSON *object, const char *name);
/* True when a schema obeys the rules of strict structured output: every object closed, every member required. */
bool hone__schema_strict(const cJSON *schema);
/* "name": value pairs of body texts; `text` may hold bytes that are not UTF-8, which become U+FFFD. */
void hone__body_string(hone__buf *out, const char *text);

/* ---- local command (command.c), mailbox (mailbox.c) ----------------------------------------------------------------- */

typedef struct hone__command hone__command;
hone_status hone__command_open(hone__command **out, const char *line, hone_error *err);
void hone__command_close(hone__command *command);
hone_status hone__command_start(hone__command *command, const hone__llm_request *request, uint64_t deadline_ns, hone_error *err);
hone_status hone__command_poll(hone__command *command, uint32_t timeout_ms, hone__llm_reply *reply, hone_error *err);
void hone__command_cancel(hone__command *command);

typedef struct hone__mailbox hone__mailbox;
hone_status hone__mailbox_open(hone__mailbox **out, const char *folder, hone_error *err);
void hone__mailbox_close(hone__mailbox *mailbox);
hone_status hone__mailbox_start(hone__mailbox *mailbox, const hone__llm_request *request, uint64_t deadline_ns, hone_error *err);
hone_status hone__mailbox_poll(hone__mailbox *mailbox, uint32_t timeout_ms, hone__llm_reply *reply, hone_error *err);

/* ---- text (llm_text.c) ---------------------------------------------------------------------------------------------- */

/* Append text with every byte that is not UTF-8 replaced by U+FFFD. */
void hone__utf8_append(hone__buf *out, const char *text);
/* System text and messages as one readable text. */
void hone__request_render(hone__buf *out, const hone__llm_request *request);
/* The first 8 hexadecimal digits of the request's hash. */
void hone__request_hash(const hone__llm_request *request, char hex[9]);
/* One line of at most bytes-1 bytes: redacted first, then control characters to spaces, then cut on a character's border. */
void hone__excerpt(const char *text, const char *key, char *line, size_t bytes);
/* hone__redact, and `key` (may be NULL) whatever its length. */
void hone__redact_key(char *text, const char *key);

/* SIGPIPE is blocked on this thread between the two, and one that came meanwhile is taken away (sigpipe in http.c, command.c). */
typedef struct hone__sigpipe {
    bool was_pending, blocked;
} hone__sigpipe;
void hone__sigpipe_block(hone__sigpipe *state);
void hone__sigpipe_restore(const hone__sigpipe *state);

/* The client; here for tests, which tighten `limits` before the first start. */
struct hone__llm {
    hone__llm_config config;
    hone__http_limits limits;
    hone__http *http;
    hone__command *command;
    hone__mailbox *mailbox;
    hone__transcript *transcript; /* replay */
    bool busy;
    uint64_t started_ns, deadline_ns;
    uint64_t tokens_used;
    unsigned quirks;
    uint32_t tries;           /* of HTTP exchanges before the current one, for the same request */
    uint64_t tokens_in, tokens_out; /* of refused bodies of the current request, where the server counted them */
    hone__llm_request request; /* deep copy while busy over HTTP or replay */
    hone__buf body;
};

#endif
