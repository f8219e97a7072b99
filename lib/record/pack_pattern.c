/* pack_pattern.c: texts whose numbers differ while all else repeats, as a pattern and values (spec/pack.md section 4). */
#include "pack_format.h"

enum { MARK_NUMBER = 1, MARK_BOOL = 2, DIGITS_MAX = PATTERN_DIGITS_MAX };

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void put_varint(hone__buf *buf, uint64_t value) {
    uint8_t bytes[10];
    size_t count = 0;
    do {
        bytes[count] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (bytes[count++] & 0x80);
    hone__buf_bytes(buf, bytes, count);
}

static size_t digit_run(const char *text, size_t left) {
    size_t count = 0;
    while (count < left && is_digit(text[count]))
        count++;
    return count;
}

/* Would this whole run of digits be taken out? */
static bool is_number(const char *digits, size_t count) {
    return count <= DIGITS_MAX && (digits[0] != '0' || count == 1);
}

/* 4 for "true", 5 for "false", 0 for anything else. */
static size_t bool_word(const char *text, size_t left) {
    if (left >= 4 && memcmp(text, "true", 4) == 0)
        return 4;
    return left >= 5 && memcmp(text, "false", 5) == 0 ? 5 : 0;
}

bool hone__pattern_split(const char *text, size_t count, hone__buf *pattern, hone__buf *values) {
    for (size_t i = 0; i < count;) {
        char c = text[i];
        if (c == MARK_NUMBER || c == MARK_BOOL)
            return false;
        size_t digits = is_digit(c) ? digit_run(text + i, count - i) : 0;
        size_t word = c == 't' || c == 'f' ? bool_word(text + i, count - i) : 0;
        if (digits > 0 && is_number(text + i, digits)) {
            uint64_t value = 0;
            for (size_t k = 0; k < digits; k++)
                value = value * 10 + (uint64_t)(text[i + k] - '0');
            hone__buf_char(pattern, MARK_NUMBER);
            put_varint(values, value);
        } else if (word > 0) {
            hone__buf_char(pattern, MARK_BOOL);
            put_varint(values, word == 4);
        } else {
            hone__buf_bytes(pattern, text + i, digits > 0 ? digits : 1);
        }
        i += digits > 0 ? digits : word > 0 ? word : 1;
    }
    return true;
}

bool hone__pattern_check(const char *pattern, size_t count, uint8_t *marker, uint32_t *marker_count) {
    *marker_count = 0;
    for (size_t i = 0; i < count;) {
        char c = pattern[i];
        size_t digits = is_digit(c) ? digit_run(pattern + i, count - i) : 0;
        if (c == MARK_NUMBER) {
            char next = i + 1 < count ? pattern[i + 1] : ' ';
            if (is_digit(next) || next == MARK_NUMBER)
                return false;
        } else if (digits > 0) {
            if (is_number(pattern + i, digits) || (i + digits < count && pattern[i + digits] == MARK_NUMBER))
                return false;
        } else if ((c == 't' || c == 'f') && bool_word(pattern + i, count - i) > 0) {
            return false;
        }
        if (c == MARK_NUMBER || c == MARK_BOOL)
            marker[(*marker_count)++] = (uint8_t)c;
        i += digits > 0 ? digits : 1;
    }
    return true;
}

static const uint8_t *get_varint(const uint8_t *at, const uint8_t *end, uint64_t *value) {
    uint64_t sum = 0;
    for (unsigned shift = 0; at < end && shift < 63; shift += 7) {
        uint8_t byte = *at++;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *value = sum;
            return (byte != 0 || shift == 0) && sum < PACK_NUMBER_END ? at : NULL;
        }
    }
    return NULL;
}

static size_t count_digits(uint64_t value) {
    size_t count = 1;
    for (; value > 9; value /= 10)
        count++;
    return count;
}

#define EACH_BYTE(value) ((value) * 0x0101010101010101ull)

/* Steps over up to 8 values of one byte at once, up to the first larger one; gives their number and adds their texts' lengths.  A number is 1
 * character, 2 from 10 on, 3 from 100 on; a bool is 5 less its value. */
static size_t skip_small(const uint8_t *marker, const uint8_t *at, size_t *length, bool *bad) {
    uint64_t value = pack_get64(at), large = value & EACH_BYTE(0x80);
    size_t count = large == 0 ? 8 : (size_t)__builtin_ctzll(large) / 8;
    uint64_t ours = count == 8 ? UINT64_MAX : (1ull << 8 * count) - 1;
    uint64_t is_bool = pack_get64(marker) >> 1 & EACH_BYTE(1) & ours; /* markers are 1 and 2 */
    uint64_t bools = is_bool * 0xff;
    value &= ours; /* so that no sum below carries into the next byte */
    uint64_t longer = ((value + EACH_BYTE(118)) >> 7 & EACH_BYTE(1)) + ((value + EACH_BYTE(28)) >> 7 & EACH_BYTE(1));
    uint64_t each = (EACH_BYTE(1) & ours) + (longer & ~bools) + 4 * is_bool - (value & is_bool);
    *bad = *bad || (value & bools & EACH_BYTE(0xfe)) != 0;
    *length += (size_t)(EACH_BYTE(each) >> 56);
    return count;
}

const uint8_t *hone__pattern_skip(const hone__text *pattern, const uint8_t *at, const uint8_t *end, size_t *text_length) {
    size_t length = pattern->length - pattern->marker_count;
    bool bad = false;
    for (uint32_t i = 0; i < pattern->marker_count; i++) {
        uint64_t value;
        while (pattern->marker_count - i >= 8 && end - at >= 8) {
            size_t count = skip_small(pattern->marker + i, at, &length, &bad);
            i += (uint32_t)count;
            at += count;
            if (count < 8)
                break;
        }
        if (i == pattern->marker_count)
            break;
        bool is_bool = pattern->marker[i] == MARK_BOOL;
        if (at < end && *at < 0x80) { /* nearly all of them; without a branch on the value, which nobody can foresee */
            unsigned small = *at++;
            length += is_bool ? 5 - small : 1u + (small > 9) + (small > 99);
            bad = bad || (is_bool && small > 1);
            continue;
        }
        at = get_varint(at, end, &value);
        if (at == NULL || is_bool)
            return NULL;
        length += count_digits(value);
    }
    *text_length = length;
    return bad ? NULL : at;
}

/* The top bits of eight bytes, as one byte: bit i is byte i's. */
static uint64_t top_bits(uint64_t word) {
    return (word >> 7 & EACH_BYTE(1)) * 0x0102040810204080ull >> 56;
}

/* Bytes of the values become bits of words, so that all values are checked at once and only their ends are walked over. */
const uint8_t *hone__pattern_check_values(const hone__text *pattern, const uint8_t *at, const uint8_t *end) {
    uint64_t ends = 0, small = 0, zeros = 0, high = EACH_BYTE(0x80);
    uint32_t count = 0;
    if (pattern->marker_count == 0 || pattern->marker_count > PATTERN_BOOLS_MAX)
        return NULL;
    for (unsigned bytes = 0; count < pattern->marker_count; bytes += 8) {
        if (bytes == 64 || end - at < (ptrdiff_t)bytes)
            return NULL;
        uint64_t word = pack_get64(at + bytes), low = word & EACH_BYTE(0x7f), stop = ~word & high;
        ends |= top_bits(stop) << bytes;
        small |= top_bits(~(low + EACH_BYTE(0x7e)) & stop) << bytes; /* 0 and 1 */
        zeros |= top_bits(~(low + EACH_BYTE(0x7f)) & stop) << bytes;
        count += (uint32_t)((stop >> 7) * EACH_BYTE(1) >> 56);
    }
    uint64_t begins = ends << 1 | 1, bits = small & begins, left = ends, last = 0, others = 0;
    for (uint32_t i = 0; i < pattern->marker_count; i++) {
        last = left & (0 - left);
        left ^= last;
        others |= (uint64_t)((bits & last) == 0) << i; /* neither 0 nor 1 */
    }
    uint64_t used = last | (last - 1), more = ~ends & used;
    more &= more >> 1;
    more &= more >> 2;
    more &= more >> 4; /* a value of nine bytes or more may be too large */
    const uint8_t *after = at + __builtin_ctzll(last) + 1;
    bool bad = (zeros & ~begins & used) != 0 || (others & pattern->bools) != 0 || more != 0 || after > end;
    return bad ? NULL : after;
}

static char *put_number(char *to, uint64_t value) {
    if (value < 10) {
        *to = (char)('0' + value);
        return to + 1;
    }
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    memcpy(to, digits + at, sizeof digits - at);
    return to + (sizeof digits - at);
}

/* How many of the next 8 bytes stand before the first marker. */
static size_t plain_bytes(const char *text) {
    uint64_t word = pack_get64((const uint8_t *)text), high = EACH_BYTE(0x80);
    uint64_t marks = (word - EACH_BYTE(3)) & ~word & high; /* bytes below 3; a borrow reaches only bytes after the first */
    return marks == 0 ? 8 : (size_t)__builtin_ctzll(marks) / 8;
}

char *hone__pattern_join(char *to, const char *room_end, const hone__text *pattern, const uint8_t *at) {
    const char *text = pattern->data, *end = text + pattern->length;
    while (text < end) {
        /* Between markers, eight at a time while there is room on both sides: what is written beyond the run is overwritten by what follows. */
        while (end - text >= 8 && room_end - to >= 8) {
            uint64_t word;
            memcpy(&word, text, 8);
            memcpy(to, &word, 8);
            size_t plain = plain_bytes(text);
            text += plain;
            to += plain;
            if (plain < 8)
                break;
        }
        if (text == end)
            break;
        char c = *text++;
        if ((unsigned char)c > MARK_BOOL) {
            *to++ = c;
            continue;
        }
        uint64_t value = 0;
        for (unsigned shift = 0;; shift += 7) {
            value |= (uint64_t)(*at & 0x7f) << shift;
            if ((*at++ & 0x80) == 0)
                break;
        }
        if (c == MARK_NUMBER) {
            to = put_number(to, value);
        } else {
            memcpy(to, value == 1 ? "true" : "fals", 4);
            to += 4;
            if (value == 0)
                *to++ = 'e';
        }
    }
    return to;
}
