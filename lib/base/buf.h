/* buf.h: a growing byte buffer with a maximum that it is born with.  Failures stick: append freely, check once. */
#ifndef HONE_BUF_H
#define HONE_BUF_H

#include "status.h"

#include <stdbool.h>

typedef struct hone__buf {
    char *data;        /* NUL-terminated whenever length > 0 or after hone__buf_text */
    size_t length;
    size_t capacity;
    size_t max;
    hone_status status; /* HONE_OK, HONE_E_LIMIT or HONE_E_NOMEM */
} hone__buf;

void hone__buf_init(hone__buf *buf, size_t max);
void hone__buf_free(hone__buf *buf);
void hone__buf_clear(hone__buf *buf); /* forget content and failure, keep the memory */
void hone__buf_bytes(hone__buf *buf, const void *bytes, size_t count);
/* `count` bytes more, for the caller to write at once; NULL when the buffer has failed. */
char *hone__buf_room(hone__buf *buf, size_t count);
void hone__buf_text(hone__buf *buf, const char *text);
__attribute__((format(printf, 2, 3))) void hone__buf_printf(hone__buf *buf, const char *format, ...);
void hone__buf_char(hone__buf *buf, char c);
/* Little-endian integers, for canonical bytes. */
void hone__buf_u8(hone__buf *buf, uint8_t value);
void hone__buf_u16(hone__buf *buf, uint16_t value);
void hone__buf_u32(hone__buf *buf, uint32_t value);
void hone__buf_u64(hone__buf *buf, uint64_t value);
/* JSON: a quoted and escaped string; a double in the shortest form that reads back the same ("null" for NaN and infinities). */
void hone__buf_json_string(hone__buf *buf, const char *text);
void hone__buf_json_double(hone__buf *buf, double value);
/* Hand the content over as a NUL-terminated string (hone__free); NULL when the buffer had failed.  The buffer is empty after. */
char *hone__buf_take(hone__buf *buf);

#endif
