/* layout.c: the frame around a payload (magic, versions, kind, length, checksum) and the walkers over field tables. */
#include "layout.h"
#include "utf8.h"
#include "alloc.h"
#include "limit.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* In this file itself: records are short, and a call into the library for each is a good part of their checksum. */
#define XXH_INLINE_ALL
#include <xxhash.h>

static const uint8_t magic[4] = {'H', 'O', 'N', 'R'};

_Static_assert(sizeof(double) == 8 && DBL_MANT_DIG == 53, "doubles are IEEE 754 binary64");
_Static_assert(sizeof(hone__effort) == 4 && sizeof(hone__accuracy) == 4 && sizeof(hone__outcome) == 4, "enums are 32 bits");
_Static_assert(sizeof(bool) == 1, "bool is one byte");

/* ---- numbers and text ---- */

static uint64_t get_le(const uint8_t *at, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void put_le(uint8_t *at, uint64_t value, size_t count) {
    for (size_t i = 0; i < count; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

double hone__record_double(double value) {
    if (!(value > 0.0)) /* also NaN and -0 */
        return 0.0;
    return value > DBL_MAX ? DBL_MAX : value;
}

/* Compilers and kernels print what they like, and a bounded copy may end within a character: a record must not be lost over it. */
static void append_text(hone__buf *buf, const char *text, size_t limit) {
    size_t count = text == NULL ? 0 : strnlen(text, limit + 1);
    if (count > limit) {
        if (buf->status == HONE_OK)
            buf->status = HONE_E_LIMIT;
        return;
    }
    hone__buf_u32(buf, (uint32_t)count);
    if (count == 0)
        return;
    size_t start = buf->length;
    hone__buf_bytes(buf, text, count);
    if (buf->status != HONE_OK)
        return;
    char *at = buf->data + start;
    for (size_t i = 0; i < count;) {
        size_t step = hone__utf8_length(at + i, count - i);
        if (step == 0)
            at[i] = '?';
        i += step == 0 ? 1 : step;
    }
}

/* ---- one field as its fixed-width bytes; 0 for the other types ---- */

static size_t scalar_bytes(uint8_t out[8], const hone__field *field, const uint8_t *at) {
    uint32_t u32;
    uint64_t u64;
    double f64;
    bool flag;
    switch (field->type) {
    case HONE_FIELD_F64:
        memcpy(&f64, at, sizeof f64);
        f64 = hone__record_double(f64);
        memcpy(&u64, &f64, sizeof u64);
        put_le(out, u64, 8);
        return 8;
    case HONE_FIELD_U64:
        memcpy(&u64, at, sizeof u64);
        put_le(out, u64, 8);
        return 8;
    case HONE_FIELD_I64:
        memcpy(&u64, at, sizeof u64);
        put_le(out, u64 >> 63 != 0 ? 0 : u64, 8);
        return 8;
    case HONE_FIELD_U32:
        memcpy(&u32, at, sizeof u32);
        put_le(out, u32, 4);
        return 4;
    case HONE_FIELD_ENUM:
        memcpy(&u32, at, sizeof u32);
        out[0] = (uint8_t)u32;
        return 1;
    case HONE_FIELD_BOOL:
        memcpy(&flag, at, sizeof flag);
        out[0] = flag ? 1 : 0;
        return 1;
    default:
        return 0;
    }
}

static const char *text_of(const hone__field *field, const uint8_t *at) {
    if (field->type == HONE_FIELD_ARRAY)
        return (const char *)at;
    const char *text;
    memcpy(&text, at, sizeof text);
    return text == NULL ? "" : text;
}

static uint32_t list_count(const hone__field *field, const uint8_t *base) {
    uint32_t count;
    memcpy(&count, base + field->count_offset, sizeof count);
    return count;
}

/* ---- encode ---- */

static hone_status encode_fields(hone__buf *buf, const hone__layout *layout, const uint8_t *base) {
    for (uint32_t f = 0; f < layout->field_count; f++) {
        const hone__field *field = &layout->field[f];
        const uint8_t *at = base + field->offset;
        uint8_t scalar[8];
        uint32_t number;
        switch (field->type) {
        case HONE_FIELD_TEXT:
        case HONE_FIELD_ARRAY:
            append_text(buf, text_of(field, at), field->limit);
            break;
        case HONE_FIELD_BYTES:
            hone__buf_bytes(buf, at, field->limit);
            break;
        case HONE_FIELD_STRUCT:
            HONE_TRY(encode_fields(buf, field->nested, at));
            break;
        case HONE_FIELD_LIST:
            number = list_count(field, base);
            if (number > field->limit)
                return HONE_E_ARG;
            hone__buf_u32(buf, number);
            for (uint32_t i = 0; i < number; i++)
                HONE_TRY(encode_fields(buf, field->nested, at + i * field->nested->struct_bytes));
            break;
        case HONE_FIELD_ENUM:
            memcpy(&number, at, sizeof number);
            if (number >= field->limit)
                return HONE_E_ARG;
            hone__buf_u8(buf, (uint8_t)number);
            break;
        default:
            hone__buf_bytes(buf, scalar, scalar_bytes(scalar, field, at));
        }
    }
    return buf->status;
}

void hone__record_checksum(uint8_t out[16], const void *bytes, size_t count, hone__slot_key slot) {
    /* The slot key goes in as the seed: one pass, no copy, and no streaming state, whose size differs between releases of xxHash. */
    XXH64_hash_t seed = XXH3_64bits(slot.count > 0 ? slot.bytes : "", slot.count);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(bytes, count, seed));
    memcpy(out, canonical.digest, 16);
}

void hone__record_head(hone__buf *buf, hone__record_kind kind, uint32_t payload_bytes) {
    hone__buf_bytes(buf, magic, sizeof magic);
    hone__buf_u16(buf, HONE_RECORD_VERSION); /* reader */
    hone__buf_u16(buf, HONE_RECORD_VERSION); /* writer */
    hone__buf_u16(buf, (uint16_t)kind);
    hone__buf_u16(buf, 0);
    hone__buf_u32(buf, payload_bytes);
}

hone_status hone__record_encode(hone__buf *buf, const hone__layout *layout, const void *record, hone__slot_key slot) {
    HONE_ASSERT(layout->kind != 0);
    size_t start = buf->length;
    hone__record_head(buf, layout->kind, 0); /* the payload's length is set below */
    HONE_TRY(encode_fields(buf, layout, record));
    HONE_TRY(buf->status);
    size_t count = buf->length - start;
    if (count > HONE_LIMIT_RECORD_BYTES - HONE_RECORD_CHECKSUM_BYTES)
        return HONE_E_LIMIT;
    put_le((uint8_t *)buf->data + start + 12, count - HONE_RECORD_HEADER_BYTES, 4);
    uint8_t checksum[16];
    hone__record_checksum(checksum, buf->data + start, count, slot);
    hone__buf_bytes(buf, checksum, sizeof checksum);
    return buf->status;
}

/* ---- decode ---- */

typedef struct cursor {
    const uint8_t *at;
    size_t left;
} cursor;

static const uint8_t *take(cursor *from, size_t count) {
    if (count > from->left)
        return NULL;
    const uint8_t *at = from->at;
    from->at += count;
    from->left -= count;
    return at;
}

static hone_status decode_text(cursor *from, const hone__field *field, uint8_t *at) {
    const uint8_t *length = take(from, 4);
    if (length == NULL)
        return HONE_E_CORRUPT;
    size_t count = (size_t)get_le(length, 4);
    const uint8_t *bytes = count > field->limit ? NULL : take(from, count);
    /* NUL is refused: strings end at it. */
    if (bytes == NULL || strnlen((const char *)bytes, count) < count || !hone__utf8_valid((const char *)bytes, count))
        return HONE_E_CORRUPT;
    if (field->type == HONE_FIELD_ARRAY) {
        memcpy(at, bytes, count);
        at[count] = '\0';
        return HONE_OK;
    }
    char *text = hone__strndup((const char *)bytes, count);
    if (text == NULL)
        return HONE_E_NOMEM;
    memcpy(at, &text, sizeof text);
    return HONE_OK;
}

static hone_status decode_scalar(cursor *from, const hone__field *field, uint8_t *at) {
    bool wide = field->type == HONE_FIELD_F64 || field->type == HONE_FIELD_U64 || field->type == HONE_FIELD_I64;
    size_t width = wide ? 8 : field->type == HONE_FIELD_U32 ? 4 : 1;
    const uint8_t *bytes = take(from, width);
    if (bytes == NULL)
        return HONE_E_CORRUPT;
    uint64_t u64 = get_le(bytes, width);
    uint32_t u32 = (uint32_t)u64;
    bool flag = u64 == 1;
    double f64;
    switch (field->type) {
    case HONE_FIELD_F64:
        memcpy(&f64, &u64, sizeof f64);
        if (u64 >> 63 != 0 || !isfinite(f64))
            return HONE_E_CORRUPT;
        memcpy(at, &f64, sizeof f64);
        return HONE_OK;
    case HONE_FIELD_I64:
        if (u64 >> 63 != 0)
            return HONE_E_CORRUPT;
        memcpy(at, &u64, sizeof u64);
        return HONE_OK;
    case HONE_FIELD_U64:
        memcpy(at, &u64, sizeof u64);
        return HONE_OK;
    case HONE_FIELD_BOOL:
        if (u64 > 1)
            return HONE_E_CORRUPT;
        memcpy(at, &flag, sizeof flag);
        return HONE_OK;
    case HONE_FIELD_ENUM:
        if (u64 >= field->limit)
            return HONE_E_CORRUPT;
        memcpy(at, &u32, sizeof u32);
        return HONE_OK;
    default:
        memcpy(at, &u32, sizeof u32);
        return HONE_OK;
    }
}

static hone_status decode_fields(cursor *from, const hone__layout *layout, uint8_t *base);

static hone_status decode_list(cursor *from, const hone__field *field, uint8_t *base) {
    const uint8_t *bytes = take(from, 4);
    if (bytes == NULL)
        return HONE_E_CORRUPT;
    uint32_t count = (uint32_t)get_le(bytes, 4);
    if (count > field->limit)
        return HONE_E_CORRUPT;
    /* Set before the items, so that clearing after a failure reaches those already made. */
    memcpy(base + field->count_offset, &count, sizeof count);
    for (uint32_t i = 0; i < count; i++)
        HONE_TRY(decode_fields(from, field->nested, base + field->offset + i * field->nested->struct_bytes));
    return HONE_OK;
}

static hone_status decode_fields(cursor *from, const hone__layout *layout, uint8_t *base) {
    for (uint32_t f = 0; f < layout->field_count; f++) {
        const hone__field *field = &layout->field[f];
        uint8_t *at = base + field->offset;
        const uint8_t *bytes;
        switch (field->type) {
        case HONE_FIELD_TEXT:
        case HONE_FIELD_ARRAY:
            HONE_TRY(decode_text(from, field, at));
            break;
        case HONE_FIELD_BYTES:
            bytes = take(from, field->limit);
            if (bytes == NULL)
                return HONE_E_CORRUPT;
            memcpy(at, bytes, field->limit);
            break;
        case HONE_FIELD_STRUCT:
            HONE_TRY(decode_fields(from, field->nested, at));
            break;
        case HONE_FIELD_LIST:
            HONE_TRY(decode_list(from, field, base));
            break;
        default:
            HONE_TRY(decode_scalar(from, field, at));
        }
    }
    return HONE_OK;
}

/* The frame is the same in every version, so that a reader can tell damage from novelty. */
hone_status hone__record_frame(const void *bytes, size_t count, hone__record_kind kind, hone__slot_key slot) {
    const uint8_t *at = bytes;
    size_t frame = HONE_RECORD_HEADER_BYTES + HONE_RECORD_CHECKSUM_BYTES;
    if (count < frame || count > HONE_LIMIT_RECORD_BYTES || memcmp(at, magic, sizeof magic) != 0)
        return HONE_E_CORRUPT;
    if (get_le(at + 12, 4) != count - frame)
        return HONE_E_CORRUPT;
    uint8_t checksum[16];
    size_t covered = count - HONE_RECORD_CHECKSUM_BYTES;
    hone__record_checksum(checksum, at, covered, slot);
    if (memcmp(checksum, at + covered, sizeof checksum) != 0)
        return HONE_E_CORRUPT;
    uint64_t reader = get_le(at + 4, 2), writer = get_le(at + 6, 2);
    if (reader == 0 || reader > writer || get_le(at + 10, 2) != 0)
        return HONE_E_CORRUPT;
    if (reader > HONE_RECORD_VERSION)
        return HONE_E_VERSION;
    return get_le(at + 8, 2) == (uint64_t)kind ? HONE_OK : HONE_E_CORRUPT;
}

hone_status hone__record_decode(void *record, const hone__layout *layout, const void *bytes, size_t count, hone__slot_key slot) {
    memset(record, 0, layout->struct_bytes);
    const uint8_t *at = bytes;
    HONE_TRY(hone__record_frame(bytes, count, layout->kind, slot));
    cursor from = {at + HONE_RECORD_HEADER_BYTES, count - HONE_RECORD_HEADER_BYTES - HONE_RECORD_CHECKSUM_BYTES};
    hone_status status = decode_fields(&from, layout, record);
    /* A newer writer may have appended fields; from one of our version or older they are damage. */
    if (status == HONE_OK && from.left > 0 && get_le(at + 6, 2) <= HONE_RECORD_VERSION)
        status = HONE_E_CORRUPT;
    if (status != HONE_OK)
        hone__record_clear(record, layout);
    return status;
}

/* ---- clear and compare ---- */

static void clear_fields(const hone__layout *layout, uint8_t *base) {
    for (uint32_t f = 0; f < layout->field_count; f++) {
        const hone__field *field = &layout->field[f];
        uint8_t *at = base + field->offset;
        char *text;
        if (field->type == HONE_FIELD_TEXT) {
            memcpy(&text, at, sizeof text);
            hone__free(text);
        } else if (field->type == HONE_FIELD_STRUCT) {
            clear_fields(field->nested, at);
        } else if (field->type == HONE_FIELD_LIST) {
            uint32_t count = list_count(field, base);
            for (uint32_t i = 0; i < count && i < field->limit; i++)
                clear_fields(field->nested, at + i * field->nested->struct_bytes);
        }
    }
}

void hone__record_clear(void *record, const hone__layout *layout) {
    if (record == NULL)
        return;
    clear_fields(layout, record);
    memset(record, 0, layout->struct_bytes);
}

/* As memcmp sees the little-endian encodings. */
static int compare_le(uint64_t a, uint64_t b) {
    uint8_t x[8], y[8];
    put_le(x, a, 8);
    put_le(y, b, 8);
    return memcmp(x, y, 8);
}

static int compare_text(const char *a, const char *b) {
    size_t x = strlen(a), y = strlen(b);
    return x != y ? compare_le(x, y) : memcmp(a, b, x);
}

static int compare_fields(const hone__layout *layout, const uint8_t *a, const uint8_t *b) {
    int order = 0;
    for (uint32_t f = 0; f < layout->field_count && order == 0; f++) {
        const hone__field *field = &layout->field[f];
        const uint8_t *x = a + field->offset, *y = b + field->offset;
        uint8_t left[8], right[8];
        switch (field->type) {
        case HONE_FIELD_TEXT:
        case HONE_FIELD_ARRAY:
            order = compare_text(text_of(field, x), text_of(field, y));
            break;
        case HONE_FIELD_BYTES:
            order = memcmp(x, y, field->limit);
            break;
        case HONE_FIELD_STRUCT:
            order = compare_fields(field->nested, x, y);
            break;
        case HONE_FIELD_LIST: {
            uint32_t count = list_count(field, a);
            order = compare_le(count, list_count(field, b));
            for (uint32_t i = 0; i < count && order == 0; i++)
                order = compare_fields(field->nested, x + i * field->nested->struct_bytes, y + i * field->nested->struct_bytes);
            break;
        }
        default: {
            size_t count = scalar_bytes(left, field, x);
            (void)scalar_bytes(right, field, y);
            order = memcmp(left, right, count);
        }
        }
    }
    return order;
}

int hone__record_compare(const hone__layout *layout, const void *a, const void *b) {
    return compare_fields(layout, a, b);
}
