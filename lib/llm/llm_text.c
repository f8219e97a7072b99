/* llm_text.c: UTF-8, readable prompts, request hashes, safe excerpts of text from outside, and SIGPIPE. */
#include "llm_impl.h"
#include "alloc.h"
#include "hash.h"
#include "log.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

void hone__utf8_append(hone__buf *out, const char *text) {
    size_t bytes = strlen(text);
    for (size_t i = 0; i < bytes;) {
        size_t length = hone__utf8_length(text + i, bytes - i);
        if (length == 0)
            hone__buf_text(out, "\xef\xbf\xbd");
        else
            hone__buf_bytes(out, text + i, length);
        i += length == 0 ? 1 : length;
    }
}

static void render_part(hone__buf *out, const char *title, const char *text) {
    hone__buf_printf(out, "===== %s =====\n\n", title);
    hone__utf8_append(out, text);
    hone__buf_text(out, "\n\n");
}

void hone__request_render(hone__buf *out, const hone__llm_request *request) {
    if (request->system != NULL && request->system[0] != '\0')
        render_part(out, "SYSTEM", request->system);
    for (uint32_t i = 0; i < request->message_count; i++) {
        bool assistant = strcmp(request->message[i].role, "assistant") == 0;
        render_part(out, assistant ? "ASSISTANT (your earlier answer)" : "USER", request->message[i].text);
    }
}

void hone__request_hash(const hone__llm_request *request, char hex[9]) {
    /* Lengths go in, so that no two conversations share bytes; out of memory shows as a failed buffer and so as another name. */
    hone__buf bytes;
    hone__buf_init(&bytes, SIZE_MAX / 4);
    const char *system = request->system == NULL ? "" : request->system;
    hone__buf_u64(&bytes, strlen(system));
    hone__buf_text(&bytes, system);
    for (uint32_t i = 0; i < request->message_count; i++) {
        hone__buf_u64(&bytes, strlen(request->message[i].role));
        hone__buf_text(&bytes, request->message[i].role);
        hone__buf_u64(&bytes, strlen(request->message[i].text));
        hone__buf_text(&bytes, request->message[i].text);
    }
    hone__hash hash = hone__hash_bytes(bytes.data == NULL ? "" : bytes.data, bytes.length);
    hone__buf_free(&bytes);
    char whole[33];
    hone__hash_hex(hash.byte, whole);
    memcpy(hex, whole, 8);
    hex[8] = '\0';
}

void hone__redact_key(char *text, const char *key) {
    size_t length = key == NULL ? 0 : strlen(key);
    if (length > 0) {
        for (char *hit = strstr(text, key); hit != NULL; hit = strstr(hit + length, key))
            memset(hit, '*', length);
    }
    hone__redact(text);
}

void hone__excerpt(const char *text, const char *key, char *line, size_t bytes) {
    line[0] = '\0';
    char *copy = hone__strdup(text);
    if (copy == NULL)
        return;
    hone__redact_key(copy, key);
    size_t used = 0;
    bool space = true; /* leading and repeated white space goes */
    for (size_t i = 0, length = strlen(copy); i < length && used + 1 < bytes;) {
        size_t wide = hone__utf8_length(copy + i, length - i);
        unsigned char c = (unsigned char)copy[i];
        if (c <= 0x20 || c == 0x7f || (wide == 2 && c == 0xc2 && (unsigned char)copy[i + 1] < 0xa0)) {
            if (!space)
                line[used++] = ' ';
            space = true;
        } else if (used + (wide == 0 ? 1 : wide) >= bytes) {
            break;
        } else {
            space = false;
            if (wide == 0)
                line[used++] = '?';
            for (size_t k = 0; k < wide; k++)
                line[used++] = copy[i + k];
        }
        i += wide == 0 ? 1 : wide;
    }
    while (used > 0 && line[used - 1] == ' ')
        used--;
    line[used] = '\0';
    explicit_bzero(copy, strlen(copy));
    hone__free(copy);
}

void hone__sigpipe_block(hone__sigpipe *state) {
    sigset_t pipe_only;
    sigset_t pending;
    sigset_t old;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    state->was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    /* Only undo what we did: the host may have had it blocked. */
    state->blocked = pthread_sigmask(SIG_BLOCK, &pipe_only, &old) == 0 && sigismember(&old, SIGPIPE) == 0;
}

void hone__sigpipe_restore(const hone__sigpipe *state) {
    sigset_t pipe_only;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    if (!state->was_pending) {
        const struct timespec zero = {0, 0};
        (void)sigtimedwait(&pipe_only, NULL, &zero);
    }
    if (state->blocked)
        (void)pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
}
