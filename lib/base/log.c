#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SECRETS_MAX = 8, SECRET_BYTES = 512 };

static hone_log_fn *log_fn;
static hone_log_level log_level_max;
static void *log_user;
static char secrets[SECRETS_MAX][SECRET_BYTES];

void hone_set_log(hone_log_fn *fn, hone_log_level max_level, void *user) {
    log_fn = fn;
    log_level_max = max_level;
    log_user = user;
}

void hone__secret_add(const char *secret) {
    size_t length = strlen(secret);
    if (length < 8 || length >= SECRET_BYTES)
        return;
    for (int i = 0; i < SECRETS_MAX; i++) {
        if (strcmp(secrets[i], secret) == 0)
            return;
        if (secrets[i][0] == '\0') {
            memcpy(secrets[i], secret, length + 1);
            return;
        }
    }
}

void hone__secret_forget_all(void) {
    explicit_bzero(secrets, sizeof secrets);
}

static int is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

void hone__redact(char *text) {
    for (int i = 0; i < SECRETS_MAX && secrets[i][0] != '\0'; i++) {
        size_t length = strlen(secrets[i]);
        for (char *hit = strstr(text, secrets[i]); hit != NULL; hit = strstr(hit + length, secrets[i]))
            memset(hit, '*', length);
    }
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
