/* names.c: finding the name that somebody probably meant, and bounded messages. */
#include "names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DISTANCE_BYTES = 64 };

void hone__text_clear(hone__text *text) {
    text->length = 0;
    text->data[0] = '\0';
}

int hone__text_cut(const char *text, int max) {
    int bytes = 0;
    while (bytes < max && text[bytes] != '\0')
        bytes++;
    if (text[bytes] == '\0')
        return bytes;
    while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes--;
    return bytes;
}

void hone__say(hone__text *text, const char *format, ...) {
    size_t room = sizeof text->data - text->length;
    va_list args;
    va_start(args, format);
    int count = vsnprintf(text->data + text->length, room, format, args);
    va_end(args);
    if (count < 0)
        return;
    if ((size_t)count < room) {
        text->length += (size_t)count;
        return;
    }
    /* Cut: a character that lost its tail goes as a whole. */
    size_t end = sizeof text->data - 1;
    size_t lead = end;
    while (lead > 0 && ((unsigned char)text->data[lead - 1] & 0xc0) == 0x80)
        lead--;
    if (lead > 0 && (unsigned char)text->data[lead - 1] >= 0xc0)
        end = lead - 1;
    text->data[end] = '\0';
    text->length = end;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool hone__name_same(const char *a, const char *b) {
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

uint32_t hone__name_distance(const char *a, const char *b) {
    size_t rows = strlen(a);
    size_t columns = strlen(b);
    if (rows > DISTANCE_BYTES || columns > DISTANCE_BYTES)
        return UINT32_MAX;
    uint32_t line[3][DISTANCE_BYTES + 1];
    uint32_t *before = line[0];
    uint32_t *above = line[1];
    uint32_t *now = line[2];
    memset(before, 0, sizeof line[0]);
    for (size_t j = 0; j <= columns; j++)
        above[j] = (uint32_t)j;
    for (size_t i = 1; i <= rows; i++) {
        now[0] = (uint32_t)i;
        for (size_t j = 1; j <= columns; j++) {
            uint32_t cost = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
            now[j] = least(least(above[j] + 1, now[j - 1] + 1), above[j - 1] + cost);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                now[j] = least(now[j], before[j - 2] + 1);
        }
        uint32_t *spare = before;
        before = above;
        above = now;
        now = spare;
    }
    return above[columns];
}

bool hone__name_close(const char *a, const char *b) {
    size_t bytes = strlen(a) > strlen(b) ? strlen(a) : strlen(b);
    size_t fewer = strlen(a) > strlen(b) ? strlen(b) : strlen(a);
    if (bytes - fewer > 3)
        return false;
    uint32_t distance = hone__name_distance(a, b);
    return distance != UINT32_MAX && distance <= (bytes <= 2 ? 1u : bytes <= 6 ? 2u : 3u) && distance < bytes;
}
