/* utf8.c: see utf8.h. */
#include "utf8.h"

#include <string.h>

size_t hone__utf8_length(const char *text, size_t left) {
    const unsigned char *byte = (const unsigned char *)text;
    unsigned char lead = left == 0 ? 0xff : byte[0];
    if (lead < 0x80)
        return 1;
    size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (byte[1] < low || byte[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if (byte[i] < 0x80 || byte[i] > 0xbf)
            return 0;
    }
    return length;
}

size_t hone__utf8_span(const char *text, size_t bytes) {
    size_t at = 0;
    while (at < bytes) {
        uint64_t eight;
        if (bytes - at >= sizeof eight) {
            memcpy(&eight, text + at, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        size_t length = hone__utf8_length(text + at, bytes - at);
        if (length == 0)
            break;
        at += length;
    }
    return at;
}

size_t hone__utf8_cut(const char *text, size_t bytes) {
    while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes--;
    return bytes;
}

/* Controls (C0, DEL, C1) and marks that reorder or hide text are not for showing. */
static bool is_showable(const char *text, size_t length) {
    const unsigned char *byte = (const unsigned char *)text;
    uint32_t point = length == 1 ? byte[0] : byte[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        point = point << 6 | (byte[i] & 0x3fu);
    return !(point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c || (point >= 0x200b && point <= 0x200f) ||
             (point >= 0x2028 && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) || point == 0xfeff);
}

void hone__text_clean(hone__buf *buf, const char *text, size_t max, bool one_line) {
    size_t count = strnlen(text, max + 4); /* enough to see whether the last character is whole */
    bool cut = count > max;
    size_t room = cut ? (max > 3 ? max - 3 : 0) : max;
    size_t end = buf->length + room;
    for (size_t i = 0; i < count && buf->length < end && buf->status == HONE_OK;) {
        char c = text[i];
        if (c == '\r') {
            i++;
            continue;
        }
        if (c == '\n' || c == '\t') {
            hone__buf_char(buf, one_line ? ' ' : c);
            i++;
            continue;
        }
        size_t length = hone__utf8_length(text + i, count - i);
        if (length == 0 || !is_showable(text + i, length)) {
            hone__buf_char(buf, '?');
            i++;
        } else if (buf->length + length > end) {
            break;
        } else {
            hone__buf_bytes(buf, text + i, length);
            i += length;
        }
    }
    if (cut)
        hone__buf_text(buf, "...");
}

void hone__text_clean_line(char *to, size_t bytes, const char *from) {
    hone__buf line;
    hone__buf_init(&line, bytes - 1);
    while (*from == ' ' || *from == '\n' || *from == '\t' || *from == '\r')
        from++;
    hone__text_clean(&line, from, bytes - 1, true);
    size_t length = line.length;
    while (length > 0 && line.data[length - 1] == ' ')
        length--;
    if (length > 0)
        memcpy(to, line.data, length);
    to[length] = '\0';
    hone__buf_free(&line);
}
