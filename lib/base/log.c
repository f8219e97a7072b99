#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bearer tokens may have kilobytes; of longer ones the beginning is kept, and what follows it in a text goes with it. */
enum { SECRETS_MAX = 8, SECRET_BYTES = 4096, SECRET_BYTES_MIN = 8 };

static hone_log_fn *log_fn;
static hone_log_level log_level_max;
static void *log_user;
static char secrets[SECRETS_MAX][SECRET_BYTES];
static pthread_mutex_t secrets_lock = PTHREAD_MUTEX_INITIALIZER;

void hone_set_log(hone_log_fn *fn, hone_log_level max_level, void *user) {
    log_fn = fn;
    log_level_max = max_level;
    log_user = user;
}

void hone__secret_add(const char *secret) {
    size_t length = strnlen(secret, SECRET_BYTES - 1);
    if (length < SECRET_BYTES_MIN)
        return;
    (void)pthread_mutex_lock(&secrets_lock);
    int i = 0;
    while (i < SECRETS_MAX && secrets[i][0] != '\0' && (strlen(secrets[i]) != length || memcmp(secrets[i], secret, length) != 0))
        i++;
    if (i < SECRETS_MAX && secrets[i][0] == '\0') {
        memcpy(secrets[i], secret, length);
        secrets[i][length] = '\0';
    }
    (void)pthread_mutex_unlock(&secrets_lock);
}

void hone__secret_forget_all(void) {
    (void)pthread_mutex_lock(&secrets_lock);
    explicit_bzero(secrets, sizeof secrets);
    (void)pthread_mutex_unlock(&secrets_lock);
}

static int is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

static void redact_one(char *text, const char *secret) {
    size_t length = strlen(secret);
    char *hit = strstr(text, secret);
    for (; hit != NULL; hit = strstr(hit, secret)) {
        size_t count = length;
        while (length == SECRET_BYTES - 1 && is_token_char(hit[count]))
            count++;
        memset(hit, '*', count);
        hit += count;
    }
    /* A text that was cut may end in the secret's beginning. */
    size_t bytes = strlen(text), part = bytes < length ? bytes : length - 1;
    while (part >= SECRET_BYTES_MIN && memcmp(text + bytes - part, secret, part) != 0)
        part--;
    if (part >= SECRET_BYTES_MIN)
        memset(text + bytes - part, '*', part);
}

void hone__redact(char *text) {
    (void)pthread_mutex_lock(&secrets_lock);
    for (int i = 0; i < SECRETS_MAX && secrets[i][0] != '\0'; i++)
        redact_one(text, secrets[i]);
    (void)pthread_mutex_unlock(&secrets_lock);
    for (char *hit = strstr(text, "sk-"); hit != NULL; hit = strstr(hit + 1, "sk-")) {
        size_t length = 0;
        while (is_token_char(hit[length]))
            length++;
        if (length >= 16 && (hit == text || !is_token_char(hit[-1])))
            memset(hit, '*', length);
    }
}

void hone__log(hone_log_level level, const char *subsystem, const char *format, ...) {
    if (log_fn == NULL || level > log_level_max)
        return;
    char message[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    for (char *c = message; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
    hone__redact(message);
    log_fn(level, subsystem, message, log_user);
}
