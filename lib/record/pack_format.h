/* pack_format.h: the numbers of spec/pack.md and the inside of an open pack.  Shared by pack_*.c, and by tests that build hostile files. */
#ifndef HONE_PACK_FORMAT_H
#define HONE_PACK_FORMAT_H

#include "layout.h"
#include "pack.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum {
    PACK_RECORDS,
    PACK_INDEX,
    PACK_GROUPS,
    PACK_STRINGS,
    PACK_STRING_BYTES,
    PACK_KERNEL_BYTES,
    PACK_KERNELS,
    PACK_SECTIONS
};

enum {
    PACK_HEADER_BYTES = 256,
    PACK_HEADER_BYTES_MAX = 65536, /* of any version to come */
    PACK_CHECKSUM_AT = 248,
    PACK_ITEM_BYTES = 24,
    PACK_TRAILER_BYTES = 16,
    PACK_BLOCK_ITEMS = 170,
    PACK_BLOCK_BYTES = PACK_BLOCK_ITEMS * PACK_ITEM_BYTES + PACK_TRAILER_BYTES,
    PACK_STRING_MAX = 32768,
    PACK_KERNEL_HEAD_BYTES = 16
};
_Static_assert(PACK_BLOCK_BYTES == 4096, "a block of a table is a page");

#define PACK_ENTRIES_MAX (1ull << 40)
#define PACK_KERNELS_MAX (1ull << 20)
#define PACK_NUMBER_END 1000000000000000000ull /* values of patterns are below */

extern const uint8_t hone__pack_magic[8];

/* ---- records: head, tail, checksum ---- */
enum {
    PACKED_KERNEL = 0,
    PACKED_DEVICE_ID = 4,
    PACKED_PROBLEM = 8,
    PACKED_NAME = 24,
    PACKED_SIZES = 28,
    PACKED_DEVICE = 32,
    PACKED_BEST = 36,
    PACKED_COUNT = 76,
    PACKED_ALTERNATIVES = 80,
    PACKED_RANKED_BYTES = 40,
    /* after the alternatives */
    PACKED_NUMBERS = 0,
    PACKED_TEXTS = 35,
    PACKED_PROVENANCE = 63,
    PACKED_REST_BYTES = 99,

    RANKED_NUMBERS_BYTES = 36, /* four f64, one u32: the same bytes in both encodings */
    NUMBERS_BYTES = 35,
    PROVENANCE_BYTES = 36,
    LINES = 7,                 /* strategy ... toolkit */
    TEXTS_MAX = 3 + 1 + (int)HONE_ALTERNATIVES_MAX + LINES,
    REFERENCES_MAX = TEXTS_MAX + 2,
    PACKED_HEAD_MAX = PACKED_ALTERNATIVES + PACKED_RANKED_BYTES * (int)HONE_ALTERNATIVES_MAX + PACKED_REST_BYTES
};
#define REFERENCE_INLINE 0xffffffffu

static inline uint32_t pack_get32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t pack_get64(const uint8_t *at) {
    return (uint64_t)pack_get32(at) | (uint64_t)pack_get32(at + 4) << 32;
}

static inline void pack_put32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline void pack_put64(uint8_t *at, uint64_t value) {
    pack_put32(at, (uint32_t)value);
    pack_put32(at + 4, (uint32_t)(value >> 32));
}

/* Bytes of a table of so many items. */
static inline uint64_t pack_table_bytes(uint64_t items) {
    return items * PACK_ITEM_BYTES + (items + PACK_BLOCK_ITEMS - 1) / PACK_BLOCK_ITEMS * PACK_TRAILER_BYTES;
}

uint64_t hone__pack_checksum(const void *bytes, size_t count, uint64_t seed);
/* The block's trailer: identity and checksum. */
void hone__pack_seal_block(uint8_t *block, size_t payload, unsigned section, uint64_t number);
bool hone__pack_block_sound(const uint8_t *block, size_t bytes, unsigned section, uint64_t number);

/* ---- an open pack ---- */

/* A section.  `base` NULL: read from the file each time.  Else memory in which blocks of PACK_BLOCK_BYTES are good once their state is
 * PART_GOOD; the caller's own memory, or ours that is filled on demand. */
typedef struct hone__part {
    uint64_t offset, bytes;
    const uint8_t *base;
    uint8_t *owned;               /* writable view of base, in the arena; NULL when the bytes are the caller's */
    _Atomic uint8_t *state;       /* one for each block; in the arena */
    bool is_table;
    uint8_t section;
} hone__part;
enum { PART_UNKNOWN, PART_FILLED, PART_GOOD, PART_BAD }; /* filled: its bytes are there, and not checked */

enum {
    TEXT_LOADED = 1,              /* data, length, checksum are set and the bytes verified */
    TEXT_BAD = 2,
    TEXT_IS_TEXT = 4,             /* UTF-8 without NUL */
    TEXT_SEEN_AS_PATTERN = 8,
    TEXT_IS_PATTERN = 16
};
enum { PATTERN_BOOLS_MAX = 64, PATTERN_DIGITS_MAX = 18 };
typedef struct hone__text {
    const char *data;
    uint64_t checksum;
    uint8_t *marker;              /* the pattern's bytes 01 and 02 in their order; owned */
    uint64_t bools;               /* bit i: marker i is 02; of the first PATTERN_BOOLS_MAX */
    uint32_t length, marker_count;
    _Atomic uint32_t state;
} hone__text;

struct hone__strings {
    const hone__pack *pack;
    uint64_t serial;              /* never the same for two; tells remapping tables apart */
    uint32_t count;
    hone__text *text;
};

struct hone__pack {
    char *path;
    atomic_int others;            /* who hold it besides the first */
    int fd;                       /* -1: in memory */
    uint8_t *whole;               /* the file read into memory, owned; NULL otherwise */
    hone__pack_info info;
    hone__part part[PACK_SECTIONS];
    uint64_t section_checksum[PACK_SECTIONS];
    hone__strings strings;
    uint8_t *arena;               /* one mapping for all parts, their states and `verified` */
    size_t arena_bytes;
    _Atomic uint8_t *verified;    /* one bit for each record in memory whose checksum was found right; NULL: records are read each time */
    pthread_mutex_t loading;      /* filling parts and texts; whoever finds them filled takes no lock */
};

/* ---- reading (pack_part.c) ---- */
/* Bytes of a part: a pointer into memory, or read into `scratch` (room for `bytes`).  HONE_E_CORRUPT when they are not there. */
hone_status hone__part_read(const hone__pack *pack, const hone__part *part, uint64_t at, size_t bytes, uint8_t *scratch, const uint8_t **out);
/* One item of a table, from a block that has been checked. */
hone_status hone__part_item(const hone__pack *pack, const hone__part *part, uint64_t index, uint8_t out[PACK_ITEM_BYTES]);
/* Straight from the file, past all that is kept in memory. */
hone_status hone__pack_pread(const hone__pack *pack, uint64_t offset, void *to, size_t bytes);
/* Where record `index` lies; checks order and bounds. */
hone_status hone__pack_record_place(const hone__pack *pack, uint64_t index, uint64_t offset, uint64_t *bytes);

/* ---- strings (pack_strings.c) ---- */
/* The text that a reference stands for, loaded and verified. */
hone_status hone__strings_load(const hone__strings *strings, uint32_t reference, const hone__text **out);
hone_status hone__strings_load_pattern(const hone__strings *strings, uint32_t reference, const hone__text **out);
static inline hone_status hone__strings_text(const hone__strings *strings, uint32_t reference, const hone__text **out) {
    if (reference - 1 < strings->count) {
        *out = &strings->text[reference - 1];
        if ((atomic_load_explicit(&(*out)->state, memory_order_acquire) & (TEXT_LOADED | TEXT_BAD)) == TEXT_LOADED)
            return HONE_OK;
    }
    return hone__strings_load(strings, reference, out);
}
static inline hone_status hone__strings_pattern(const hone__strings *strings, uint32_t reference, const hone__text **out) {
    if (reference - 1 < strings->count) {
        *out = &strings->text[reference - 1];
        if ((atomic_load_explicit(&(*out)->state, memory_order_acquire) & TEXT_IS_PATTERN) != 0)
            return HONE_OK;
    }
    return hone__strings_load_pattern(strings, reference, out);
}
void hone__strings_free(hone__strings *strings);

/* ---- patterns (pack_pattern.c) ---- */
/* Split a text into its pattern and values (varints), appended.  False: the text holds a marker byte itself. */
bool hone__pattern_split(const char *text, size_t count, hone__buf *pattern, hone__buf *values);
/* Is this a pattern that hone__pattern_split makes?  Collects its markers (room for `count`). */
bool hone__pattern_check(const char *pattern, size_t count, uint8_t *marker, uint32_t *marker_count);
/* Step over a pattern's values; adds the length of the text that they make.  NULL: malformed. */
const uint8_t *hone__pattern_skip(const hone__text *pattern, const uint8_t *at, const uint8_t *end, size_t *text_length);
/* The same without the length, for most patterns and values; NULL: not of these, or malformed.  The 8 bytes after `end` MUST be readable. */
const uint8_t *hone__pattern_check_values(const hone__text *pattern, const uint8_t *at, const uint8_t *end);
/* Write the text; where it ends.  The values MUST have been stepped over before, and the text fit before `room_end`; what is left of that room may be
 * overwritten. */
char *hone__pattern_join(char *to, const char *room_end, const hone__text *pattern, const uint8_t *at);

/* ---- both encodings of an entry as one view (pack_view.c) ---- */
typedef struct hone__view_text {
    const uint8_t *bytes;         /* RECORD and inline: the text; pattern: its values; else NULL */
    uint32_t length;              /* of the text; of a pattern's: that or more, within the text's limit */
    uint32_t reference;           /* PACKED; REFERENCE_INLINE for RECORD and inline */
    const hone__text *text;       /* PACKED: what the reference stands for; NULL for 0 and inline */
} hone__view_text;

/* Order of texts: kernel id, device id, name, sizes, device, best, alternatives ..., strategy ... toolkit. */
typedef struct hone__view {
    uint32_t alternatives, text_count;
    const uint8_t *problem;
    const uint8_t *ranked[1 + HONE_ALTERNATIVES_MAX];
    const uint8_t *numbers, *provenance;
    hone__view_text text[REFERENCES_MAX];
} hone__view;
enum { VIEW_KERNEL, VIEW_DEVICE_ID, VIEW_NAME, VIEW_SIZES, VIEW_DEVICE, VIEW_BEST };

/* Parse and check everything. */
hone_status hone__view_make(hone__view *view, const hone__item *item);
static inline bool hone__view_is_pattern(const hone__view *view, uint32_t text) {
    return text == VIEW_SIZES || (text >= VIEW_BEST && text <= VIEW_BEST + view->alternatives);
}
hone_status hone__packed_verify(const hone__item *item);
/* Where the reference of a view's text stands in a head. */
static inline size_t hone__reference_place(uint32_t text, uint32_t alternatives) {
    static const uint8_t first[] = {PACKED_KERNEL, PACKED_DEVICE_ID, PACKED_NAME, PACKED_SIZES, PACKED_DEVICE, PACKED_BEST};
    if (text <= VIEW_BEST)
        return first[text];
    size_t rest = PACKED_ALTERNATIVES + (size_t)PACKED_RANKED_BYTES * alternatives;
    if (text <= VIEW_BEST + alternatives)
        return PACKED_ALTERNATIVES + (size_t)PACKED_RANKED_BYTES * (text - VIEW_BEST - 1);
    return rest + PACKED_TEXTS + 4 * (size_t)(text - VIEW_BEST - 1 - alternatives);
}
/* The record of a cache (frame and all) from a view of either kind. */
hone_status hone__view_record(hone__buf *buf, const hone__view *view, const uint8_t slot[HONE_SLOT_BYTES]);

/* hone__pack_writer_add with the view of a sound item. */
hone_status hone__pack_writer_add_view(hone__pack_writer *writer, const hone__item *item, const hone__view *view, hone_error *err);

/* What hone__entry_compare looks at first. */
typedef struct hone__rank {
    bool valid;
    uint64_t bucket, effort, samples, created;
} hone__rank;
hone__rank hone__view_rank(const hone__view *view);
int hone__rank_compare(const hone__rank *a, const hone__rank *b);
/* hone__entry_compare without decoding: negative when a is the better evidence, 0 only for equal entries. */
hone_status hone__view_compare(int *order, const hone__view *a, const hone__item *item_a, const hone__view *b, const hone__item *item_b);

/* The checksum of packed bytes (without it) whose strings have these checksums. */
uint64_t hone__packed_checksum(const uint8_t *bytes, size_t count, const uint8_t slot[HONE_SLOT_BYTES], const uint8_t *string_checksums,
                               size_t string_count);

/* ---- kernels (pack_kernel.c) ---- */
hone_status hone__pack_kernel_encode(hone__buf *buf, const hone__kernel_info *info);
hone_status hone__pack_kernel_decode(hone__kernel_info *out, const uint8_t id[16], const uint8_t *bytes, size_t count);
hone_status hone__pack_kernel_at(const hone__pack *pack, uint64_t index, hone__kernel_info *out); /* pack_find.c */
/* Negative when a is the one that a merge keeps. */
int hone__pack_kernel_compare(const hone__kernel_info *a, const hone__kernel_info *b);

#endif
