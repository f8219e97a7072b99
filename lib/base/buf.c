#include "buf.h"
#include "alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void hone__buf_init(hone__buf *buf, size_t max) {
    *buf = (hone__buf){.max = max < SIZE_MAX / 4 ? max : SIZE_MAX / 4}; /* so that no sum below overflows */
}

void hone__buf_free(hone__buf *buf) {
    hone__free(buf->data);
    *buf = (hone__buf){.max = buf->max};
}

void hone__buf_clear(hone__buf *buf) {
    buf->length = 0;
    buf->status = HONE_OK;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

/* Room for `count` more bytes and a NUL. */
static bool reserve(hone__buf *buf, size_t count) {
    if (buf->status != HONE_OK)
        return false;
    if (count > buf->max - buf->length) {
        buf->status = HONE_E_LIMIT;
        return false;
    }
    size_t need = buf->length + count + 1;
    if (need <= buf->capacity)
        return true;
    size_t capacity = buf->capacity < 128 ? 256 : buf->capacity * 2;
    if (capacity > buf->max + 1)
        capacity = buf->max + 1;
    if (capacity < need)
        capacity = need;
    char *data = hone__realloc(buf->data, capacity);
    if (data == NULL) {
        buf->status = HONE_E_NOMEM;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

char *hone__buf_room(hone__buf *buf, size_t count) {
    if (!reserve(buf, count))
        return NULL;
    char *room = buf->data + buf->length;
    buf->length += count;
    buf->data[buf->length] = '\0';
    return room;
}

void hone__buf_bytes(hone__buf *buf, const void *bytes, size_t count) {
    if (!reserve(buf, count))
        return;
    if (count > 0)
        memcpy(buf->data + buf->length, bytes, count);
    buf->length += count;
    buf->data[buf->length] = '\0';
}

void hone__buf_text(hone__buf *buf, const char *text) {
    hone__buf_bytes(buf, text, strlen(text));
}

void hone__buf_char(hone__buf *buf, char c) {
    hone__buf_bytes(buf, &c, 1);
}

void hone__buf_printf(hone__buf *buf, const char *format, ...) {
    va_list args;
    size_t room = buf->status == HONE_OK ? buf->capacity - buf->length : 0;
    va_start(args, format);
    int count = vsnprintf(room > 0 ? buf->data + buf->length : NULL, room, format, args);
    va_end(args);
    if (count < 0 && buf->status == HONE_OK)
        buf->status = HONE_E_LIMIT; /* more than INT_MAX bytes */
    bool cut = count >= 0 && (size_t)count >= room;
    if (count < 0 || !reserve(buf, (size_t)count)) {
        if (room > 0)
            buf->data[buf->length] = '\0';
        return;
    }
    if (cut) {
        va_start(args, format);
        (void)vsnprintf(buf->data + buf->length, (size_t)count + 1, format, args);
        va_end(args);
    }
    buf->length += (size_t)count;
}

static void little_endian(hone__buf *buf, uint64_t value, size_t count) {
    uint8_t bytes[8];
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    hone__buf_bytes(buf, bytes, count);
}

void hone__buf_u8(hone__buf *buf, uint8_t value) {
    little_endian(buf, value, 1);
}

void hone__buf_u16(hone__buf *buf, uint16_t value) {
    little_endian(buf, value, 2);
}

void hone__buf_u32(hone__buf *buf, uint32_t value) {
    little_endian(buf, value, 4);
}

void hone__buf_u64(hone__buf *buf, uint64_t value) {
    little_endian(buf, value, 8);
}

/* The letter of a two-character escape, 'u' for a longer one, 0 for what stands for itself. */
static char escape_of(char c) {
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return (unsigned char)c < 0x20 || c == 0x7f ? 'u' : '\0';
    }
}

void hone__buf_json_string(hone__buf *buf, const char *text) {
    hone__buf_char(buf, '"');
    for (const char *c = text; *c != '\0';) {
        const char *plain = c;
        char escape = '\0';
        while (*c != '\0' && (escape = escape_of(*c)) == '\0')
            c++;
        hone__buf_bytes(buf, plain, (size_t)(c - plain));
        if (*c == '\0')
            break;
        if (escape == 'u')
            hone__buf_printf(buf, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            hone__buf_bytes(buf, (const char[]){'\\', escape}, 2);
        c++;
    }
    hone__buf_char(buf, '"');
}

char *hone__buf_take(hone__buf *buf) {
    if (!reserve(buf, 0)) {
        hone__buf_free(buf);
        return NULL;
    }
    buf->data[buf->length] = '\0';
    char *text = buf->data;
    *buf = (hone__buf){.max = buf->max};
    return text;
}
