/* pack.h: the portable, read-only, canonical file of entries (spec/pack.md): reader, writer and the items that flow between packs, caches
 * and merges.  Nothing here knows LMDB.  A pack is hostile input: no byte of it is trusted before its checksum and its bounds are checked. */
#ifndef HONE_PACK_H
#define HONE_PACK_H

#include "record.h"

#define HONE_PACK_VERSION 1u           /* what this library writes, and the newest reader version that it understands */
#define HONE_SLOT_BYTES 32u            /* kernel id, first 8 bytes; device id, first 8; key, 16 (spec/record.md section 7, `entry`) */
#define HONE_PACK_STRINGS_MAX 65536u   /* what a pack keeps once; further texts stand in their records */
#define HONE_PACK_STRING_BYTES_MAX (16u << 20)
#define HONE_PACK_MEMORY_MAX (1024ull << 20) /* default of hone_pack_options.memory_bytes_max */

typedef struct hone__pack hone__pack;

/* ---- open ----
 * A file is never mapped: whoever can shorten it could kill us with SIGBUS.  Its pages are read (pread) into private memory when they are
 * first needed, verified once, and searched in place from then on.  A file that changes or shrinks while it is open gives HONE_E_CORRUPT.
 *
 * Opening reads and checks the header only, O(1).  `options` MAY be NULL (hone.h, hone_pack_options); require_signature is refused here
 * (HONE_E_UNSUPPORTED): hone__layer_open (lib/cache/layer.h) knows signatures, and is what everybody outside this room opens packs with.
 * HONE_E_NOTFOUND, HONE_E_PERM, HONE_E_IO, HONE_E_CORRUPT, HONE_E_VERSION (a newer format), HONE_E_UNSAFE (signature), HONE_E_LIMIT,
 * HONE_E_NOMEM, HONE_E_ARG. */
hone_status hone__pack_open(hone__pack **out, const char *path, const hone_pack_options *options, hone_error *err);
/* The bytes MUST live as long as the pack; they are not copied.  `name` is what messages and answers call it. */
hone_status hone__pack_open_memory(hone__pack **out, const char *name, const void *bytes, size_t count, const hone_pack_options *options,
                                   hone_error *err);
/* From hone__alloc; freed with the pack.  For bytes that were read and verified as a whole. */
void hone__pack_own(hone__pack *pack, void *bytes);
void hone__pack_set_signer(hone__pack *pack, const char signer[33]);
/* Let go of it; who does so last closes it. */
void hone__pack_close(hone__pack *pack);
/* Another hold on an open pack.  With `own_bytes` one that does not need bytes that are the caller's: those are copied. */
hone_status hone__pack_hold(hone__pack **out, hone__pack *pack, bool own_bytes, hone_error *err);
/* Does the file begin as packs do?  False also when it cannot be read; *code is then why (errno), else 0. */
bool hone__pack_probe(const char *path, int *code);

typedef struct hone__pack_info {
    uint64_t file_bytes, entries, groups, strings, kernels;
    uint64_t record_bytes, index_bytes, string_bytes, kernel_bytes;
    uint32_t reader, writer;     /* format versions */
    uint64_t checksum;           /* of the header, which covers the checksums of all sections: equal packs have equal ones */
    bool is_signed;              /* a signature was required and verified */
    char signer[33];             /* its key id; "" */
} hone__pack_info;
const hone__pack_info *hone__pack_about(const hone__pack *pack);
const char *hone__pack_path(const hone__pack *pack);

/* ---- items ----
 * One entry as bytes, in one of two encodings: RECORD as in a cache (spec/record.md, frame included), or PACKED as in a pack, whose texts
 * are references into the pack's strings.  Borrowed: valid until what made it moves on or is closed. */
typedef struct hone__strings hone__strings;
typedef enum hone__item_kind { HONE_ITEM_RECORD, HONE_ITEM_PACKED } hone__item_kind;
typedef struct hone__item {
    uint8_t slot[HONE_SLOT_BYTES];
    hone__item_kind kind;
    const uint8_t *bytes;
    size_t count;
    const hone__strings *strings;  /* PACKED */
} hone__item;

/* The item as a record of a cache, byte for byte as hone__entry_encode makes it, appended to `buf`. */
hone_status hone__item_record(hone__buf *buf, const hone__item *item);
/* The item decoded (hone__entry_clear).  HONE_E_CORRUPT, HONE_E_VERSION, HONE_E_NOMEM. */
hone_status hone__item_decode(hone__entry *out, const hone__item *item);

/* ---- look-up ---- */
/* One key.  HONE_E_NOTFOUND is a miss; HONE_E_CORRUPT damage on the way to it.  Any number of threads at once. */
hone_status hone__pack_get(const hone__pack *pack, const hone__key *key, hone__entry *out, hone_error *err);
/* The same without decoding: the packed bytes, verified by their checksum, appended to `scratch` (which the caller clears). */
hone_status hone__pack_find(const hone__pack *pack, const uint8_t slot[HONE_SLOT_BYTES], hone__item *out, hone__buf *scratch);
/* Entries of one kernel at any problem and device, as hone__cache_of_kernel: a new array of at most `max`; damaged ones are skipped and counted. */
hone_status hone__pack_of_kernel(const hone__pack *pack, const uint8_t kernel_id[16], uint32_t max, hone__entry **out, uint32_t *count,
                                 uint32_t *damaged, hone_error *err);
/* Group number `group` (of hone__pack_about's): entries of one kernel and device stand together.  How many they are, and the first sound one of them. */
hone_status hone__pack_group(const hone__pack *pack, uint64_t group, hone__entry *out, uint64_t *entries);
/* What the pack keeps of a kernel; HONE_E_NOTFOUND. */
hone_status hone__pack_get_kernel(const hone__pack *pack, const uint8_t id[16], hone__kernel_info *out, hone_error *err);

/* ---- sources: entries in ascending order of slots, from whatever has them ---- */
typedef struct hone__source hone__source;
struct hone__source {
    const char *name;            /* for reports: a path */
    /* The next entry, in its place and not yet checked itself; HONE_E_NOTFOUND at the end.  A failure that sets *reason (static text; else it is NULL)
     * rejects one entry, whose slot is set, and the walk goes on with the next call.  Any other failure ends it. */
    hone_status (*next)(hone__source *source, hone__item *item, const char **reason, hone_error *err);
    /* The next kernel in ascending order of ids (the caller's: hone__kernel_info_clear); HONE_E_NOTFOUND at the end.  Rejections as above.  After
     * the last entry only. */
    hone_status (*next_kernel)(hone__source *source, hone__kernel_info *info, const char **reason, hone_error *err);
    void (*close)(hone__source *source);
    uint64_t entries;            /* how many to expect, for progress; 0 unknown */
};
static inline void hone__source_close(hone__source *source) {
    if (source != NULL)
        source->close(source);
}
/* Walk a pack in slot order with buffers of a fixed size.  The pack MUST outlive it. */
hone_status hone__pack_source(hone__source **out, const hone__pack *pack, hone_error *err);

/* Read everything: every checksum, bound, order and rule of spec/pack.md; the first fault is the message.  Memory does not grow with the
 * number of entries.  `progress` (MAY be NULL) gets entries done and in all; a non-zero return cancels (HONE_E_CANCELLED). */
hone_status hone__pack_verify(const hone__pack *pack, hone_count_fn *progress, void *user, hone_error *err);

/* ---- write ---- */
typedef struct hone__pack_writer hone__pack_writer;
typedef struct hone__pack_writer_options {
    bool force;                  /* overwrite an existing file; else HONE_E_EXISTS */
    bool no_sync;                /* do not fsync: for tests and benchmarks */
    bool discard;                /* compute everything, write nothing (dry run) */
} hone__pack_writer_options;
/* Writes a temporary file beside `path`; finish makes it appear whole, abort leaves nothing.  Memory is bounded (about 40 MiB at worst).
 * `path` NULL: into memory (hone__pack_writer_finish_memory), for tests and embedding. */
hone_status hone__pack_writer_open(hone__pack_writer **out, const char *path, const hone__pack_writer_options *options, hone_error *err);
/* Slots MUST ascend strictly (HONE_E_ARG).  The item is checked: HONE_E_CORRUPT, HONE_E_VERSION. */
hone_status hone__pack_writer_add(hone__pack_writer *writer, const hone__item *item, hone_error *err);
hone_status hone__pack_writer_add_entry(hone__pack_writer *writer, const hone__entry *entry, hone_error *err);
/* After all entries; ids MUST ascend strictly. */
hone_status hone__pack_writer_add_kernel(hone__pack_writer *writer, const hone__kernel_info *info, hone_error *err);
/* Both free the writer, whatever they return.  `info` (MAY be NULL): of what was written. */
hone_status hone__pack_writer_finish(hone__pack_writer *writer, hone__pack_info *info, hone_error *err);
hone_status hone__pack_writer_finish_memory(hone__pack_writer *writer, char **bytes, size_t *count, hone_error *err);
void hone__pack_writer_abort(hone__pack_writer *writer);

#endif
