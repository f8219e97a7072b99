/* layout.h: tables that describe how a struct becomes a record (spec/record.md).  One walker encodes, decodes, frees and compares
 * every kind, so that no field can be treated differently in one direction. */
#ifndef HONE_LAYOUT_H
#define HONE_LAYOUT_H

#include "record.h"

#include <stddef.h>

#define HONE_RECORD_VERSION 1u       /* what this library writes, and the newest reader version that it understands */
#define HONE_RECORD_HEADER_BYTES 16u
#define HONE_RECORD_CHECKSUM_BYTES 16u

/* Limits of an entry's texts, which packs share. */
#define HONE_ENTRY_LINE_BYTES 1024u         /* provenance, one line each */
#define HONE_ENTRY_CONFIG_BYTES (32u << 10) /* 128 slots of at most 64 bytes, names and punctuation, doubled */
#define HONE_ENTRY_SIZES_BYTES 4096u
#define HONE_ENTRY_DEVICE_BYTES (16u << 10)

/* Append-only; never reused. */
typedef enum hone__record_kind {
    HONE_RECORD_ENTRY = 1,
    HONE_RECORD_TRIAL = 2,
    HONE_RECORD_EXCHANGE = 3,
    HONE_RECORD_SESSION = 4,
    HONE_RECORD_KERNEL = 5,
    HONE_RECORD_FAILURE = 6,
    HONE_RECORD_CLAIM = 7,
    HONE_RECORD_COUNTER = 8,
    HONE_RECORD_NOTE = 9,
    HONE_RECORD_META = 10
} hone__record_kind;

typedef enum hone__field_type {
    HONE_FIELD_TEXT,   /* char *, owned; u32 length and UTF-8 bytes */
    HONE_FIELD_ARRAY,  /* char[limit + 1]; stored as TEXT */
    HONE_FIELD_F64,
    HONE_FIELD_U32,
    HONE_FIELD_U64,
    HONE_FIELD_I64,    /* not negative */
    HONE_FIELD_BOOL,   /* u8, 0 or 1 */
    HONE_FIELD_ENUM,   /* u8, below limit */
    HONE_FIELD_BYTES,  /* limit raw bytes */
    HONE_FIELD_STRUCT, /* one nested struct */
    HONE_FIELD_LIST    /* u32 count, then at most limit nested structs */
} hone__field_type;

typedef struct hone__layout hone__layout;

typedef struct hone__field {
    hone__field_type type;
    uint32_t limit;
    size_t offset;
    size_t count_offset;      /* LIST: of a uint32_t */
    const hone__layout *nested; /* STRUCT, LIST */
} hone__field;

struct hone__layout {
    hone__record_kind kind;   /* 0 for nested ones */
    size_t struct_bytes;
    const hone__field *field;
    uint32_t field_count;
};

#define HONE_FIELD(kind_, struct_, member_, limit_) {HONE_FIELD_##kind_, (limit_), offsetof(struct_, member_), 0, NULL}

hone_status hone__record_encode(hone__buf *buf, const hone__layout *layout, const void *record, hone__slot_key slot);
hone_status hone__record_decode(void *record, const hone__layout *layout, const void *bytes, size_t count, hone__slot_key slot);
void hone__record_clear(void *record, const hone__layout *layout);
/* Order of the payload bytes that the two would be encoded to, without encoding them. */
int hone__record_compare(const hone__layout *layout, const void *a, const void *b);
/* Is the frame around a record's payload sound?  HONE_E_CORRUPT, HONE_E_VERSION. */
hone_status hone__record_frame(const void *bytes, size_t count, hone__record_kind kind, hone__slot_key slot);
/* Append a frame's header for a payload of so many bytes. */
void hone__record_head(hone__buf *buf, hone__record_kind kind, uint32_t payload_bytes);
/* The checksum of a record's header and payload under a slot key. */
void hone__record_checksum(uint8_t out[16], const void *bytes, size_t count, hone__slot_key slot);
/* What an encoder writes for a double: 0 for NaN, negative numbers and -0, the largest finite one for infinity. */
double hone__record_double(double value);

#endif
