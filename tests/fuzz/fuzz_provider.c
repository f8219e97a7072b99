/* fuzz_provider.c: reply bodies of the three HTTP providers, error texts, Retry-After values and redirect targets, all hostile. */
#include "alloc.h"
#include "llm_impl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool held) {
    if (!held)
        abort();
}

static void parse_as(hone__provider provider, const char *body, size_t size) {
    hone__llm_reply reply = {0};
    hone_error err = {0};
    hone_status status = hone__provider_parse(hone__provider_api_of(provider), body, size, &reply, &err);
    must((status == HONE_OK) == (reply.text != NULL));
    if (status == HONE_OK) {
        must(reply.text[strspn(reply.text, " \t\r\n")] != '\0');
        must(hone__utf8_valid(reply.text, strlen(reply.text)));
    } else {
        must(status == HONE_E_REPLY || status == HONE_E_PROVIDER);
        must(err.message[0] != '\0');
        for (const char *c = err.message; *c != '\0'; c++)
            must((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
    hone__llm_reply_clear(&reply);
}

/* First byte: which parser. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    size_t live = hone__alloc_live();
    char *body = hone__strndup((const char *)data + 1, size - 1);
    if (body == NULL)
        return 0;
    switch (data[0]) {
    case 'O':
        parse_as(HONE_PROVIDER_OPENAI, body, size - 1);
        break;
    case 'C':
        parse_as(HONE_PROVIDER_CHAT, body, size - 1);
        break;
    case 'A':
        parse_as(HONE_PROVIDER_ANTHROPIC, body, size - 1);
        break;
    case 'E': {
        char text[HONE_LLM_ERROR_BYTES];
        hone__provider_error_text(body, strlen(body), "topsecretkey", text, sizeof text);
        must(strlen(text) < sizeof text && hone__utf8_valid(text, strlen(text)) && strstr(text, "topsecretkey") == NULL);
        break;
    }
    case 'R': {
        int64_t wait = hone__http_retry_after(body, body, 1700000000, 60000);
        must(wait >= -1 && wait <= 60000);
        break;
    }
    default: {
        char host[128];
        hone__llm_url_host("https://a.example/v1/messages", body, host, sizeof host);
        must(strlen(host) < sizeof host);
        char *url = NULL;
        char *origin = NULL;
        bool loopback = false;
        hone_status status = hone__llm_url(body, "/messages", &url, &origin, &loopback, NULL);
        must((status == HONE_OK) == (url != NULL));
        must(status != HONE_OK || strncmp(url, "https://", 8) == 0 || (loopback && strncmp(url, "http://", 7) == 0));
        hone__free(url);
        hone__free(origin);
    }
    }
    hone__free(body);
    must(hone__alloc_live() == live);
    return 0;
}
