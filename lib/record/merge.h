/* merge.h: many sources into one stream in slot order, of each key the entry that the policy wants (spec/pack.md section 9).  Policy best is a join:
 * commutative, associative, idempotent.  Memory is bounded by the number of sources. */
#ifndef HONE_MERGE_H
#define HONE_MERGE_H

#include "pack.h"

/* What became of one entry of one source. */
typedef enum hone__merge_fate {
    HONE_MERGE_IMPORTED,   /* it is in the result */
    HONE_MERGE_SAME,       /* another source gave the same bytes first */
    HONE_MERGE_KEPT_OTHER, /* another source's entry of this key was preferred */
    HONE_MERGE_REJECTED,   /* damaged or of a newer version: `reason` */
    HONE_MERGE_FILTERED,
    HONE_MERGE_REMOVED     /* three-way: another side removed what this side left as it was in the base */
} hone__merge_fate;

typedef struct hone__merge_event {
    hone__merge_fate fate;
    uint32_t source;          /* index */
    const hone__item *item;   /* NULL when the slot is unknown */
    const char *reason;
} hone__merge_event;

typedef struct hone__merge_counts {
    uint64_t seen, imported, same, kept_other, rejected, filtered, removed;
    uint64_t rejected_kernels;
    uint64_t conflicting;     /* keys at which this source had other bytes than another source */
} hone__merge_counts;

typedef struct hone__merge_options {
    hone_merge_policy policy;    /* ours: the first source that has the key; theirs: the last; newest: created, then best */
    hone__source *base;          /* three-way: entries of the common base; NULL: none.  See spec/pack.md section 9 */
    bool (*wanted)(const hone__item *item, void *user); /* NULL: all */
    int (*event)(const hone__merge_event *event, void *user); /* every entry of every source; non-zero cancels; NULL */
    hone_count_fn *progress;     /* entries read; non-zero cancels; NULL */
    void *user;
} hone__merge_options;

struct hone__view; /* pack_format.h */
/* Where the result goes.  `put` returns HONE_OK to go on. */
typedef struct hone__merge_sink {
    hone_status (*put)(void *sink, const hone__item *item, const struct hone__view *view, hone_error *err); /* the view of the item: it is sound */
    hone_status (*put_kernel)(void *sink, const hone__kernel_info *info, hone_error *err); /* in id order, after all entries */
    void *sink;
} hone__merge_sink;

/* `counts` is an array of source_count.  Kernels: the union; of one id, one with a source text, then the smaller bytes. */
hone_status hone__merge_run(hone__source *const *source, uint32_t source_count, const hone__merge_sink *sink,
                            const hone__merge_options *options, hone__merge_counts *counts, hone_error *err);
/* A sink that writes a pack. */
hone__merge_sink hone__merge_to_pack(hone__pack_writer *writer);

#endif
