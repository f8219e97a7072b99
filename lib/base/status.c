#include "status.h"
#include "alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hone_version(void) {
    return HONE_VERSION_STRING;
}

const char *hone_status_text(hone_status status) {
    switch (status) {
#define STATUS_TEXT(name, value, text)                                                                       \
    case HONE_##name:                                                                                        \
        return text;
        HONE_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    default:
        return "unknown status";
    }
}

const char *hone_status_name(hone_status status) {
    switch (status) {
#define STATUS_NAME(name, value, text)                                                                       \
    case HONE_##name:                                                                                        \
        return #name;
        HONE_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    default:
        return "E_UNKNOWN";
    }
}

void hone_free(void *text) {
    hone__free(text);
}

/* A message that was cut must not end in the middle of a UTF-8 character. */
static void trim_broken_end(char *text) {
    size_t length = strlen(text), tail = 0;
    while (tail < 3 && tail < length && ((unsigned char)text[length - 1 - tail] & 0xc0) == 0x80)
        tail++;
    if (tail == length)
        return;
    unsigned char lead = (unsigned char)text[length - 1 - tail];
    size_t wanted = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (wanted > tail)
        text[length - 1 - tail] = '\0';
}

__attribute__((format(printf, 5, 0))) static void fill(hone_error *err, hone_status status, const char *subsystem, int os_code,
                                                       const char *format, va_list args) {
    if (err == NULL)
        return;
    err->code = status;
    err->os_code = os_code;
    (void)snprintf(err->subsystem, sizeof err->subsystem, "%s", subsystem);
    /* Through a second buffer, because callers may quote the old message in the new one. */
    char message[sizeof err->message];
    (void)vsnprintf(message, sizeof message, format, args);
    for (char *c = message; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
    trim_broken_end(message);
    memcpy(err->message, message, sizeof message);
}

hone_status hone__fail(hone_error *err, hone_status status, const char *subsystem, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fill(err, status, subsystem, 0, format, args);
    va_end(args);
    return status;
}

hone_status hone__fail_os(hone_error *err, hone_status status, const char *subsystem, int os_code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fill(err, status, subsystem, os_code, format, args);
    va_end(args);
    if (err != NULL && (os_code == EMFILE || os_code == ENFILE)) {
        size_t length = strlen(err->message);
        (void)snprintf(err->message + length, sizeof err->message - length, "%s",
                       os_code == EMFILE ? " in this process; see `ulimit -n`" : " on this machine; see /proc/sys/fs/file-max");
    }
    return status;
}

hone_status hone__status_of_errno(int os_errno) {
    switch (os_errno) {
    case ENOENT:
        return HONE_E_NOTFOUND;
    case EEXIST:
        return HONE_E_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return HONE_E_PERM;
    case ENOSPC:
    case EDQUOT:
        return HONE_E_NOSPACE;
    case ENOMEM:
        return HONE_E_NOMEM;
    case ELOOP:
        return HONE_E_UNSAFE;
    default:
        return HONE_E_IO;
    }
}

void hone__assert_failed(const char *condition, const char *file, int line) {
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
