/* llm_url.c: base URLs to endpoints.  https everywhere, http on loopback only; no credentials in URLs; bases with and without /v1. */
#include "alloc.h"
#include "llm_impl.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

static bool has_control(const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
            return true;
    }
    return false;
}

/* libcurl keeps the brackets of [::1]. */
static void bare_host(const char *host, char *bare, size_t bytes) {
    size_t length = strlen(host);
    if (host[0] == '[' && length >= 2 && host[length - 1] == ']')
        (void)snprintf(bare, bytes, "%.*s", (int)(length - 2), host + 1);
    else
        (void)snprintf(bare, bytes, "%s", host);
}

static bool is_loopback(const char *host) {
    char bare[256];
    struct in_addr four;
    struct in6_addr six;
    bare_host(host, bare, sizeof bare);
    if (inet_pton(AF_INET, bare, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, bare, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six) != 0;
    return strcasecmp(bare, "localhost") == 0; /* libcurl resolves it to loopback itself */
}

/* Where clouds keep instance credentials. */
static bool is_link_local(const char *host) {
    char bare[256];
    struct in_addr four;
    struct in6_addr six;
    bare_host(host, bare, sizeof bare);
    if (inet_pton(AF_INET, bare, &four) == 1)
        return (ntohl(four.s_addr) >> 16) == 0xa9fe;
    return inet_pton(AF_INET6, bare, &six) == 1 && IN6_IS_ADDR_LINKLOCAL(&six) != 0;
}

static bool ends_with(const char *text, size_t length, const char *end) {
    size_t tail = strlen(end);
    return length >= tail && memcmp(text + length - tail, end, tail) == 0;
}

/* "/v1", "/v1beta", "/api/v3": is the last part a version? */
static bool ends_in_version(const char *path, size_t length) {
    size_t start = length;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return length - start >= 2 && path[start] == 'v' && path[start + 1] >= '0' && path[start + 1] <= '9';
}

static hone_status set_path(CURLU *handle, const char *endpoint, hone_error *err) {
    char *path = NULL;
    if (curl_url_get(handle, CURLUPART_PATH, &path, 0) != CURLUE_OK)
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for a URL");
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/')
        length--;
    hone__buf whole;
    hone__buf_init(&whole, 2 * HONE_LLM_VALUE_BYTES);
    hone__buf_bytes(&whole, path, length);
    if (!ends_with(path, length, endpoint)) {
        if (!ends_in_version(path, length))
            hone__buf_text(&whole, "/v1");
        hone__buf_text(&whole, endpoint);
    }
    curl_free(path);
    char *text = hone__buf_take(&whole);
    if (text == NULL || curl_url_set(handle, CURLUPART_PATH, text, 0) != CURLUE_OK) {
        hone__free(text);
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for a URL");
    }
    hone__free(text);
    return HONE_OK;
}

static hone_status check_parts(CURLU *handle, const char *base, bool *loopback, hone_error *err) {
    char *scheme = NULL;
    char *host = NULL;
    char *fragment = NULL;
    hone_status status = HONE_OK;
    *loopback = false;
    if (curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK || curl_url_get(handle, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        status = hone__fail(err, HONE_E_ARG, "llm", "the model's base URL \"%.200s\" has no host", base);
    else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
        status = hone__fail(err, HONE_E_ARG, "llm", "the model's base URL begins with %.20s:; use https:", scheme);
    else if (strcmp(scheme, "http") == 0 && !is_loopback(host))
        status = hone__fail(err, HONE_E_ARG, "llm",
                            "plain http to %.200s would send prompts and key in clear; use https (http is for 127.0.0.1, [::1] and localhost)",
                            host);
    else if (is_link_local(host))
        status = hone__fail(err, HONE_E_ARG, "llm", "%.200s is a link-local address (cloud metadata lives there); not used", host);
    else if (curl_url_get(handle, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_OK)
        status = hone__fail(err, HONE_E_ARG, "llm", "the model's base URL has a fragment (#...); remove it");
    else
        *loopback = is_loopback(host);
    curl_free(scheme);
    curl_free(host);
    curl_free(fragment);
    return status;
}

static hone_status take_parts(CURLU *handle, char **url, char **origin, hone_error *err) {
    char *whole = NULL;
    char *host = NULL;
    char *port = NULL;
    if (curl_url_get(handle, CURLUPART_URL, &whole, 0) == CURLUE_OK && curl_url_get(handle, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        (void)curl_url_get(handle, CURLUPART_PORT, &port, 0); /* none is fine */
        hone__buf text;
        hone__buf_init(&text, HONE_LLM_VALUE_BYTES + 16);
        hone__buf_text(&text, host);
        if (port != NULL)
            hone__buf_printf(&text, ":%s", port);
        *origin = hone__buf_take(&text);
        *url = hone__strdup(whole);
    }
    curl_free(whole);
    curl_free(host);
    curl_free(port);
    if (*url != NULL && *origin != NULL)
        return HONE_OK;
    hone__free(*url);
    hone__free(*origin);
    *url = *origin = NULL;
    return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for a URL");
}

hone_status hone__llm_url(const char *base, const char *endpoint, char **url, char **origin, bool *loopback, hone_error *err) {
    *url = *origin = NULL;
    *loopback = false;
    if (strlen(base) > HONE_LLM_VALUE_BYTES || has_control(base))
        return hone__fail(err, HONE_E_ARG, "llm", "the model's base URL is too long or has blanks, control or non-ASCII characters in it");
    CURLU *handle = curl_url();
    if (handle == NULL)
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for a URL");
    CURLUcode code = curl_url_set(handle, CURLUPART_URL, base, CURLU_DISALLOW_USER);
    hone_status status = HONE_OK;
    if (code == CURLUE_USER_NOT_ALLOWED) /* the URL is not quoted: it holds a password */
        status = hone__fail(err, HONE_E_ARG, "llm", "the model's base URL has a user or password in it; put the key into HONE_LLM_API_KEY");
    else if (code == CURLUE_OUT_OF_MEMORY)
        status = hone__fail(err, HONE_E_NOMEM, "llm", "no memory for a URL");
    else if (code != CURLUE_OK)
        status = hone__fail(err, HONE_E_ARG, "llm", "the model's base URL is not usable (%s); write it as https://host/v1",
                            curl_url_strerror(code));
    else
        status = check_parts(handle, base, loopback, err);
    if (status == HONE_OK)
        status = set_path(handle, endpoint, err);
    if (status == HONE_OK)
        status = take_parts(handle, url, origin, err);
    curl_url_cleanup(handle);
    return status;
}

void hone__llm_url_host(const char *url, const char *location, char *host, size_t bytes) {
    (void)snprintf(host, bytes, "%s", "an unreadable address");
    CURLU *handle = curl_url();
    char *found = NULL;
    /* Setting a second URL resolves it against the first. */
    if (handle != NULL && curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_set(handle, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(handle, CURLUPART_HOST, &found, 0) == CURLUE_OK)
        hone__excerpt(found, NULL, host, bytes);
    curl_free(found);
    curl_url_cleanup(handle);
}
