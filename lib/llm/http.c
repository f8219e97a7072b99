/* http.c: one POST at a time over libcurl's multi interface, pumped by the caller: no threads of ours, nothing blocks.  Deadlines,
 * counted sizes, retries.  Every setting is stated although some are defaults: they differ between libcurl versions. */
#include "alloc.h"
#include "clock.h"
#include "llm_impl.h"
#include "log.h"
#include "rng.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { CURL_VERSION_LEAST = 0x075500 }; /* 7.85: PROTOCOLS_STR */

typedef enum http_state { HTTP_IDLE, HTTP_RUNNING, HTTP_WAITING } http_state;

struct hone__http {
    CURLM *multi;
    CURL *easy;
    bool added;                /* easy is in multi */
    const hone__llm_config *config;
    const hone__http_limits *limits;
    http_state state;
    struct curl_slist *header; /* holds the key: wiped */
    const char *body;
    size_t bytes;
    uint64_t deadline_ns, retry_at_ns, heard_ns;
    uint32_t tries;
    uint32_t retries;          /* of all requests together */
    bool cut;                  /* an answer to this request broke off once */
    hone__rng rng;
    /* of the current try */
    hone__buf reply;
    size_t header_bytes;
    uint32_t headers;
    long status;
    bool headers_over, body_over, body_begun;
    char location[512], encoding[32], retry_after[64], retry_after_ms[32];
    char error[CURL_ERROR_SIZE];
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_code;

/* Never undone: other parts of the process may use libcurl too. */
static void global_init(void) {
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static long status_of_line(const char *line, size_t bytes) {
    /* "HTTP/1.1 200 OK" */
    const char *space = memchr(line, ' ', bytes);
    if (space == NULL || (size_t)(line + bytes - space) < 4)
        return 0;
    long status = 0;
    for (int i = 1; i <= 3; i++) {
        if (space[i] < '0' || space[i] > '9')
            return 0;
        status = status * 10 + (space[i] - '0');
    }
    return status;
}

static bool keep_header(const char *line, size_t bytes, const char *name, char *value, size_t value_bytes) {
    size_t length = strlen(name);
    if (bytes <= length || line[length] != ':' || strncasecmp(line, name, length) != 0)
        return false;
    const char *from = line + length + 1;
    const char *end = line + bytes;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    (void)snprintf(value, value_bytes, "%.*s", (int)((size_t)(end - from) < value_bytes ? (size_t)(end - from) : value_bytes - 1), from);
    return true;
}

static size_t on_header(char *line, size_t one, size_t bytes, void *user) {
    hone__http *http = user;
    bytes *= one;
    http->heard_ns = hone__clock_ns();
    http->header_bytes += bytes;
    http->headers++;
    if (http->header_bytes > http->limits->header_bytes_max || http->headers > http->limits->headers_max) {
        http->headers_over = true;
        return 0;
    }
    if (bytes >= 5 && strncasecmp(line, "HTTP/", 5) == 0)
        http->status = status_of_line(line, bytes);
    else if (keep_header(line, bytes, "location", http->location, sizeof http->location) ||
             keep_header(line, bytes, "content-encoding", http->encoding, sizeof http->encoding) ||
             keep_header(line, bytes, "retry-after-ms", http->retry_after_ms, sizeof http->retry_after_ms))
        return bytes;
    else
        (void)keep_header(line, bytes, "retry-after", http->retry_after, sizeof http->retry_after);
    return bytes;
}

static bool is_success(long status) {
    return status >= 200 && status <= 299;
}

static size_t on_body(char *data, size_t one, size_t bytes, void *user) {
    hone__http *http = user;
    bytes *= one;
    http->heard_ns = hone__clock_ns();
    http->body_begun = true;
    size_t max = is_success(http->status) ? http->limits->body_bytes_max : http->limits->error_bytes_max;
    if (bytes > max - http->reply.length) { /* libcurl's own limit does not hold without a Content-Length (before 8.4) */
        http->body_over = true;
        return 0;
    }
    hone__buf_bytes(&http->reply, data, bytes);
    return http->reply.status == HONE_OK ? bytes : 0;
}

typedef struct setting {
    CURLcode code;
} setting;

static void put_long(hone__http *http, setting *s, CURLoption option, long value) {
    if (s->code == CURLE_OK)
        s->code = curl_easy_setopt(http->easy, option, value);
}

static void put_text(hone__http *http, setting *s, CURLoption option, const char *value) {
    if (s->code == CURLE_OK && value != NULL)
        s->code = curl_easy_setopt(http->easy, option, value);
}

/* Proxies over TLS are not in every build of libcurl; where they are not, there is nothing to make safe. */
static void put_proxy_long(hone__http *http, setting *s, CURLoption option, long value) {
    CURLcode before = s->code;
    put_long(http, s, option, value);
    if (before == CURLE_OK && (s->code == CURLE_UNKNOWN_OPTION || s->code == CURLE_NOT_BUILT_IN))
        s->code = CURLE_OK;
}

static void put_tls(hone__http *http, setting *s) {
    const hone__llm_config *config = http->config;
    put_long(http, s, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    put_long(http, s, CURLOPT_SSL_VERIFYPEER, 1);
    put_long(http, s, CURLOPT_SSL_VERIFYHOST, 2);
    put_proxy_long(http, s, CURLOPT_PROXY_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    put_proxy_long(http, s, CURLOPT_PROXY_SSL_VERIFYPEER, 1);
    put_proxy_long(http, s, CURLOPT_PROXY_SSL_VERIFYHOST, 2);
    /* A bundle is most often named because of a company's proxy, so it serves for the proxy's own certificate too. */
    put_text(http, s, CURLOPT_CAINFO, config->ca_bundle);
    put_text(http, s, CURLOPT_PROXY_CAINFO, config->ca_bundle);
    put_text(http, s, CURLOPT_SSLCERT, config->client_cert);
    put_text(http, s, CURLOPT_SSLKEY, config->client_key);
    put_long(http, s, CURLOPT_MAXLIFETIME_CONN, 3600); /* certificates are checked again */
}

static CURLcode set_up(hone__http *http) {
    setting s = {CURLE_OK};
    bool plain = strncmp(http->config->url, "http:", 5) == 0;
    put_long(http, &s, CURLOPT_NOSIGNAL, 1);
    put_text(http, &s, CURLOPT_URL, http->config->url);
    put_text(http, &s, CURLOPT_DEFAULT_PROTOCOL, "https");
    put_text(http, &s, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
    put_text(http, &s, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    put_long(http, &s, CURLOPT_DISALLOW_USERNAME_IN_URL, 1);
    put_long(http, &s, CURLOPT_FOLLOWLOCATION, 0); /* x-api-key would go to the other host */
    put_long(http, &s, CURLOPT_MAXREDIRS, 0);
    put_long(http, &s, CURLOPT_UNRESTRICTED_AUTH, 0);
    put_long(http, &s, CURLOPT_NETRC, CURL_NETRC_IGNORED);
    put_long(http, &s, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    put_long(http, &s, CURLOPT_HEADEROPT, CURLHEADER_SEPARATE); /* the key goes to the origin, never to a proxy */
    put_long(http, &s, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
    put_long(http, &s, CURLOPT_CONNECTTIMEOUT_MS, (long)http->limits->connect_ms);
    put_text(http, &s, CURLOPT_USERAGENT, "hone/" HONE_VERSION_STRING);
    if (http->config->loopback)
        put_text(http, &s, CURLOPT_PROXY, ""); /* a proxy's loopback is not ours, and plain http would show it the key */
    put_tls(http, &s);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Cancelling must not wait for libcurl's resolver thread behind a dead name server. */
    (void)curl_easy_setopt(http->easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    put_long(http, &s, CURLOPT_POST, 1);
    if (s.code == CURLE_OK)
        s.code = curl_easy_setopt(http->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)http->limits->body_bytes_max);
    if (s.code == CURLE_OK)
        s.code = curl_easy_setopt(http->easy, CURLOPT_HEADERFUNCTION, on_header);
    if (s.code == CURLE_OK)
        s.code = curl_easy_setopt(http->easy, CURLOPT_HEADERDATA, http);
    if (s.code == CURLE_OK)
        s.code = curl_easy_setopt(http->easy, CURLOPT_WRITEFUNCTION, on_body);
    if (s.code == CURLE_OK)
        s.code = curl_easy_setopt(http->easy, CURLOPT_WRITEDATA, http);
    if (s.code == CURLE_OK)
        s.code = curl_easy_setopt(http->easy, CURLOPT_ERRORBUFFER, http->error);
    return s.code;
}

hone_status hone__http_open(hone__http **out, const hone__llm_config *config, const hone__http_limits *limits, hone_error *err) {
    *out = NULL;
    const curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);
    if (version->version_num < CURL_VERSION_LEAST)
        return hone__fail(err, HONE_E_UNSUPPORTED, "llm", "libcurl %s is too old; 7.85 or later is needed", version->version);
    (void)pthread_once(&global_once, global_init);
    if (global_code != CURLE_OK)
        return hone__fail_os(err, HONE_E_UNSUPPORTED, "llm", (int)global_code, "libcurl does not start: %s", curl_easy_strerror(global_code));
    if (getenv("SSLKEYLOGFILE") != NULL)
        hone__log(HONE_LOG_WARN, "llm", "SSLKEYLOGFILE is set: libcurl writes the secrets of its TLS connections there");
    hone__http *http = hone__alloc(sizeof *http);
    if (http == NULL)
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for HTTP");
    http->config = config;
    http->limits = limits;
    hone__buf_init(&http->reply, limits->body_bytes_max);
    hone__rng_seed(&http->rng, hone__clock_ns() ^ ((uint64_t)getpid() << 40)); /* jitter only: must differ between processes */
    http->multi = curl_multi_init();
    http->easy = curl_easy_init();
    CURLcode code = http->multi == NULL || http->easy == NULL ? CURLE_OUT_OF_MEMORY : set_up(http);
    if (code != CURLE_OK) {
        hone__http_close(http);
        return hone__fail_os(err, HONE_E_UNSUPPORTED, "llm", (int)code, "libcurl refuses a setting: %s", curl_easy_strerror(code));
    }
    *out = http;
    return HONE_OK;
}

static void detach(hone__http *http) {
    if (!http->added)
        return;
    hone__sigpipe pipe_state;
    hone__sigpipe_block(&pipe_state); /* closing TLS writes */
    (void)curl_multi_remove_handle(http->multi, http->easy);
    hone__sigpipe_restore(&pipe_state);
    http->added = false;
}

static void wipe_header(hone__http *http) {
    for (struct curl_slist *line = http->header; line != NULL; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(http->header);
    http->header = NULL;
}

void hone__http_cancel(hone__http *http) {
    detach(http);
    if (http->easy != NULL)
        (void)curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, NULL);
    wipe_header(http);
    http->body = NULL;
    http->state = HTTP_IDLE;
}

void hone__http_close(hone__http *http) {
    if (http == NULL)
        return;
    hone__http_cancel(http);
    hone__sigpipe pipe_state;
    hone__sigpipe_block(&pipe_state);
    curl_easy_cleanup(http->easy);
    (void)curl_multi_cleanup(http->multi);
    hone__sigpipe_restore(&pipe_state);
    hone__buf_free(&http->reply);
    hone__free(http);
}

static hone_status begin_try(hone__http *http, hone_error *err) {
    hone__buf_clear(&http->reply);
    http->header_bytes = 0;
    http->headers = 0;
    http->status = 0;
    http->headers_over = http->body_over = http->body_begun = false;
    http->location[0] = http->encoding[0] = http->retry_after[0] = http->retry_after_ms[0] = http->error[0] = '\0';
    http->heard_ns = hone__clock_ns();
    http->tries++;
    uint64_t left_ms = http->deadline_ns > http->heard_ns ? (http->deadline_ns - http->heard_ns) / 1000000u : 0;
    CURLcode code = curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, http->header);
    if (code == CURLE_OK)
        code = curl_easy_setopt(http->easy, CURLOPT_POSTFIELDS, http->body);
    if (code == CURLE_OK)
        code = curl_easy_setopt(http->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)http->bytes);
    if (code == CURLE_OK) /* a second line of defence behind our own deadline, which looks for a late answer first */
        code = curl_easy_setopt(http->easy, CURLOPT_TIMEOUT_MS, (long)(left_ms + 60000));
    if (code != CURLE_OK || curl_multi_add_handle(http->multi, http->easy) != CURLM_OK)
        return hone__fail_os(err, HONE_E_NETWORK, "llm", (int)code, "libcurl refuses the request: %s", curl_easy_strerror(code));
    http->added = true;
    http->state = HTTP_RUNNING;
    return HONE_OK;
}

static bool add_header(hone__http *http, const char *line) {
    struct curl_slist *longer = curl_slist_append(http->header, line);
    if (longer != NULL)
        http->header = longer;
    return longer != NULL;
}

hone_status hone__http_start(hone__http *http, const char *const *header, const char *body, size_t bytes, uint64_t deadline_ns,
                             hone_error *err) {
    hone__http_cancel(http);
    /* "Expect:" empty: libcurl would wait for a 100 Continue that many servers never send. */
    bool whole = add_header(http, "Content-Type: application/json") && add_header(http, "Accept: application/json") &&
                 add_header(http, "Expect:");
    for (size_t i = 0; whole && header[i] != NULL; i++)
        whole = add_header(http, header[i]);
    if (!whole) {
        wipe_header(http);
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for a request to the model");
    }
    http->body = body;
    http->bytes = bytes;
    http->deadline_ns = deadline_ns;
    http->tries = 0;
    http->cut = false;
    hone_status status = begin_try(http, err);
    if (status != HONE_OK) {
        hone__http_cancel(http);
        return status;
    }
    int running = 0; /* on its way before the caller turns to other work; what comes of it is for the next poll */
    hone__sigpipe pipe_state;
    hone__sigpipe_block(&pipe_state);
    (void)curl_multi_perform(http->multi, &running);
    hone__sigpipe_restore(&pipe_state);
    return HONE_OK;
}

uint32_t hone__http_tries(const hone__http *http) {
    return http->tries;
}

int64_t hone__http_retry_after(const char *seconds_or_date, const char *milliseconds, int64_t now_unix_s, uint32_t max_ms) {
    for (int i = 0; i < 2; i++) {
        const char *text = i == 0 ? milliseconds : seconds_or_date;
        char *end = NULL;
        double value = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : -1.0;
        if (end != NULL && *end == '\0' && value >= 0.0) {
            double wait = i == 0 ? value : value * 1000.0;
            return wait > (double)max_ms ? (int64_t)max_ms : (int64_t)wait;
        }
    }
    time_t when = seconds_or_date[0] != '\0' ? curl_getdate(seconds_or_date, NULL) : (time_t)-1;
    if (when == (time_t)-1)
        return -1;
    if ((int64_t)when <= now_unix_s)
        return 0;
    int64_t wait_s = (int64_t)when - now_unix_s;
    return wait_s > (int64_t)max_ms / 1000 ? (int64_t)max_ms : wait_s * 1000;
}

static bool retryable_status(long status) {
    static const short again[] = {408, 409, 425, 429, 500, 502, 503, 504, 529};
    for (size_t i = 0; i < sizeof again / sizeof again[0]; i++) {
        if (status == again[i])
            return true;
    }
    return false;
}

static bool retryable_code(const hone__http *http, CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    case CURLE_SSL_CONNECT_ERROR: /* a reset may pass; a protocol or certificate that does not fit stays so */
        return strstr(http->error, "reset") != NULL || strstr(http->error, "SSL_ERROR_SYSCALL") != NULL ||
               strstr(http->error, "unexpected eof") != NULL;
    default:
        return false;
    }
}

/* Go into the wait before the next try; false when there is none. */
static bool schedule_retry(hone__http *http, bool from_status) {
    if (http->tries >= http->limits->tries_max || http->retries >= http->limits->retries_max)
        return false;
    uint64_t span = (uint64_t)http->limits->backoff_ms << (http->tries - 1);
    if (span > http->limits->backoff_ms_max)
        span = http->limits->backoff_ms_max;
    uint64_t wait_ms = hone__rng_below(&http->rng, span + 1); /* full jitter */
    int64_t asked = from_status ? hone__http_retry_after(http->retry_after, http->retry_after_ms, hone__clock_unix_s(), http->limits->wait_ms_max)
                                : -1;
    if (asked >= 0) /* not earlier than asked, and a little apart from the others who were asked the same */
        wait_ms = (uint64_t)asked + hone__rng_below(&http->rng, 101);
    uint64_t at = hone__clock_ns() + wait_ms * 1000000u;
    if (at >= http->deadline_ns)
        return false; /* waiting for nothing */
    http->retry_at_ns = at;
    http->state = HTTP_WAITING;
    http->retries++;
    hone__log(HONE_LOG_WARN, "llm", "%s: try %u failed (HTTP %ld), again in %llu ms", http->config->origin, http->tries, http->status,
              (unsigned long long)wait_ms);
    return true;
}

/* libcurl quotes unusable proxy settings in its messages, password and all. */
static void hide_user_info(char *text) {
    for (char *at = strchr(text, '@'); at != NULL; at = strchr(at + 1, '@')) {
        for (char *c = at; c > text && c[-1] != '/' && c[-1] != ' ' && c[-1] != '\''; c--)
            c[-1] = '*';
    }
}

static hone_status fail_transfer(hone__http *http, CURLcode code, hone_error *err) {
    const char *origin = http->config->origin;
    /* libcurl says "out of memory" of a header line beyond its own limit (before 8.6, which has CURLE_TOO_LARGE, 100). */
    bool line_over = (code == CURLE_OUT_OF_MEMORY || (int)code == 100) && !http->body_begun && http->reply.status == HONE_OK;
    if (line_over)
        return hone__fail_os(err, HONE_E_REPLY, "llm", (int)code, "%s sent a header line that is too long", origin);
    if (http->headers_over)
        return hone__fail_os(err, HONE_E_REPLY, "llm", (int)code, "%s sent more than %u headers or %zu bytes of them", origin,
                             http->limits->headers_max, http->limits->header_bytes_max);
    if (http->body_over || code == CURLE_FILESIZE_EXCEEDED)
        return hone__fail_os(err, HONE_E_REPLY, "llm", (int)code, "%s sent an answer of more than %zu bytes", origin,
                             http->limits->body_bytes_max);
    if (http->reply.status == HONE_E_NOMEM)
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the answer of %s", origin);
    char text[HONE_LLM_ERROR_BYTES];
    hide_user_info(http->error);
    hone__excerpt(http->error[0] != '\0' ? http->error : curl_easy_strerror(code), http->config->key, text, sizeof text);
    bool unknown_issuer = code == CURLE_PEER_FAILED_VERIFICATION && (strstr(text, "issuer") != NULL || strstr(text, "self") != NULL);
    const char *hint = unknown_issuer || code == CURLE_SSL_CACERT_BADFILE ? " (HONE_LLM_CA_BUNDLE names the authorities to trust)" : "";
    return hone__fail_os(err, HONE_E_NETWORK, "llm", (int)code, "%s: %s%s%s", origin, text, hint,
                         http->tries > 1 ? "; after several tries" : "");
}

static hone_status fail_deadline(hone__http *http, hone_error *err) {
    uint32_t tries = http->tries;
    bool begun = http->body_begun;
    hone_status status = hone__fail_os(err, HONE_E_NETWORK, "llm", (int)CURLE_OPERATION_TIMEDOUT,
                                       "%s: no %sanswer within %u s (%u %s); the time limit covers all tries", http->config->origin,
                                       begun ? "complete " : "", http->config->timeout_s, tries, tries == 1 ? "try" : "tries");
    hone__http_cancel(http);
    return status;
}

/* The try has ended.  HONE_E_TIMEOUT: another one will come. */
static hone_status finish_try(hone__http *http, CURLcode code, hone__http_result *result, hone_error *err) {
    detach(http);
    /* A refusal that is too long or cut is a refusal all the same. */
    bool answered = code == CURLE_OK || (http->status >= 300 && !http->headers_over && http->body_begun);
    /* An answer that broke off may have been paid for: it is asked for once more, not as often as one that never began. */
    bool broke = !answered && http->body_begun;
    bool again = answered ? retryable_status(http->status) : !(broke && http->cut) && !http->headers_over && retryable_code(http, code);
    http->cut = http->cut || broke;
    if (again && schedule_retry(http, answered))
        return HONE_E_TIMEOUT;
    hone_status status = HONE_OK;
    if (!answered) {
        status = fail_transfer(http, code, err);
    } else {
        *result = (hone__http_result){.status = http->status, .body = http->reply.data, .bytes = http->reply.length, .tries = http->tries};
        if (result->body == NULL)
            result->body = "";
        memcpy(result->encoding, http->encoding, sizeof result->encoding);
        memcpy(result->location, http->location, sizeof result->location);
    }
    hone__http_cancel(http);
    return status;
}

static hone_status pump(hone__http *http, hone__http_result *result, hone_error *err) {
    hone__sigpipe pipe_state;
    int running = 0;
    hone__sigpipe_block(&pipe_state);
    CURLMcode code = curl_multi_perform(http->multi, &running);
    hone__sigpipe_restore(&pipe_state);
    if (code != CURLM_OK) {
        hone__http_cancel(http);
        return hone__fail_os(err, HONE_E_NETWORK, "llm", (int)code, "libcurl: %s", curl_multi_strerror(code));
    }
    int left = 0;
    for (CURLMsg *message = curl_multi_info_read(http->multi, &left); message != NULL; message = curl_multi_info_read(http->multi, &left)) {
        if (message->msg == CURLMSG_DONE)
            return finish_try(http, message->data.result, result, err);
    }
    if (http->headers > 0 && hone__clock_ns() - http->heard_ns > (uint64_t)http->limits->idle_ms * 1000000u) {
        hone_status status = hone__fail_os(err, HONE_E_NETWORK, "llm", (int)CURLE_OPERATION_TIMEDOUT,
                                           "%s began an answer and then sent nothing for %u ms", http->config->origin, http->limits->idle_ms);
        hone__http_cancel(http);
        return status;
    }
    return HONE_E_TIMEOUT;
}

hone_status hone__http_poll(hone__http *http, uint32_t timeout_ms, hone__http_result *result, hone_error *err) {
    uint64_t begin = hone__clock_ns();
    uint64_t until = begin + (uint64_t)timeout_ms * 1000000u;
    for (;;) {
        uint64_t now = hone__clock_ns();
        if (http->state == HTTP_WAITING && now >= http->retry_at_ns && now < http->deadline_ns) {
            hone_status status = begin_try(http, err);
            if (status != HONE_OK) {
                hone__http_cancel(http);
                return status;
            }
        }
        if (http->state == HTTP_RUNNING) {
            hone_status status = pump(http, result, err);
            if (status != HONE_E_TIMEOUT)
                return status;
        }
        now = hone__clock_ns();
        if (now >= http->deadline_ns) /* after the pump: an answer that came while nobody polled is an answer */
            return fail_deadline(http, err);
        if (now >= until) {
            int ready = 0;
            /* Callers that poll for 0 ms between measurements would see one step of the TLS handshake per call. */
            if (http->state == HTTP_RUNNING && now - begin < HONE_LLM_GRACE_NS &&
                curl_multi_poll(http->multi, NULL, 0, 0, &ready) == CURLM_OK && ready > 0)
                continue;
            return HONE_E_TIMEOUT;
        }
        uint64_t stop = until < http->deadline_ns ? until : http->deadline_ns;
        if (http->state == HTTP_WAITING && http->retry_at_ns < stop)
            stop = http->retry_at_ns;
        uint64_t wait_ms = stop > now ? (stop - now) / 1000000u + 1 : 0;
        if (wait_ms > 200) /* often enough for the check of idleness */
            wait_ms = 200;
        if (http->state == HTTP_RUNNING)
            (void)curl_multi_poll(http->multi, NULL, 0, (int)wait_ms, NULL);
        else
            hone__sleep_ms((uint32_t)wait_ms);
    }
}
