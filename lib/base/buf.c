#include "buf.h"
#include "alloc.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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
    va_start(args, format);
    int count = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (count < 0 && buf->status == HONE_OK)
        buf->status = HONE_E_LIMIT; /* more than INT_MAX bytes */
    if (count < 0 || !reserve(buf, (size_t)count))
        return;
    va_start(args, format);
    (void)vsnprintf(buf->data + buf->length, (size_t)count + 1, format, args);
    va_end(args);
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

void hone__buf_json_string(hone__buf *buf, const char *text) {
    hone__buf_char(buf, '"');
    for (const char *c = text; *c != '\0'; c++) {
        switch (*c) {
        case '"':
            hone__buf_text(buf, "\\\"");
            break;
        case '\\':
            hone__buf_text(buf, "\\\\");
            break;
        case '\n':
            hone__buf_text(buf, "\\n");
            break;
        case '\r':
            hone__buf_text(buf, "\\r");
            break;
        case '\t':
            hone__buf_text(buf, "\\t");
            break;
        default:
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                hone__buf_printf(buf, "\\u%04x", (unsigned)(unsigned char)*c);
            else
                hone__buf_char(buf, *c);
        }
    }
    hone__buf_char(buf, '"');
}

static bool reads_back(double value, int digits, char text[40]) {
    (void)snprintf(text, 40, "%.*e", digits - 1, value);
    double back = strtod(text, NULL);
    return memcmp(&back, &value, sizeof value) == 0;
}

/* The fewest digits from 6 on that read back the same.  A decimal of up to 15 digits survives the way through a double, so that 15 digits show all
 * shorter ones too, with zeros after them; doubles below DBL_MIN have fewer bits, and are tried one by one. */
static int digits_of(double value) {
    char text[40];
    int digits = fabs(value) < DBL_MIN ? 6 : DBL_DIG;
    while (digits < 17 && !reads_back(value, digits, text))
        digits++;
    if (digits != DBL_DIG || fabs(value) < DBL_MIN)
        return digits;
    for (const char *c = strchr(text, 'e') - 1; digits > 6 && *c == '0'; c--)
        digits--;
    return digits;
}

void hone__buf_json_double(hone__buf *buf, double value) {
    if (!isfinite(value)) {
        hone__buf_text(buf, "null");
        return;
    }
    char text[40];
    (void)snprintf(text, sizeof text, "%.*g", digits_of(value), value);
    /* The program that we live in may have set a locale with another decimal point, of one byte or more. */
    bool point = false;
    for (const char *c = text; *c != '\0'; c++) {
        bool plain = (*c >= '0' && *c <= '9') || *c == '-' || *c == '+' || *c == 'e';
        if (plain || !point)
            hone__buf_char(buf, plain ? *c : '.');
        point = point || !plain;
    }
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
