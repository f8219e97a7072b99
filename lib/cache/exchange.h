/* exchange.h: what export, import and merge share, and what other commands over whole caches may use. */
#ifndef HONE_EXCHANGE_H
#define HONE_EXCHANGE_H

#include "entry_filter.h"
#include "layer.h"
#include "merge.h"

/* A cache's own entries and kernels in order, a bounded part in each read transaction.  The cache MUST outlive it. */
hone_status hone__cache_source(hone__source **out, const hone_cache *cache, hone_error *err);

/* A path as a source: a pack or a cache (opened read-only), by its first bytes. */
typedef struct hone__opened {
    hone__source *source;
    hone__pack *pack;     /* one of these two */
    hone_cache *cache;
} hone__opened;
hone_status hone__source_open(hone__opened *out, const char *path, const hone_pack_options *options, hone_error *err);
void hone__source_shut(hone__opened *opened);
/* The one entry whose key begins with `digits`, 4 to 32 hexadecimal ones; damaged entries do not count.  HONE_E_NOTFOUND, HONE_E_ARG: no digits,
 * or several entries. */
hone_status hone__source_find(hone__source *source, const char *digits, hone__key *out, hone_error *err);

/* ---- the report (spec/json.md, "exchange") ---- */
enum { HONE_REASONS_MAX = 8 };
typedef struct hone__tally {
    const char *name;                         /* of the input */
    const char *kind;                         /* "pack" or "cache" */
    hone__merge_counts counts;
    const char *reason[HONE_REASONS_MAX];     /* static texts */
    uint64_t reason_count[HONE_REASONS_MAX];
} hone__tally;
/* Sends an event for what is not simply taken over; non-zero cancels. */
int hone__exchange_event(const hone_exchange_options *options, hone__tally *tally, const hone__merge_event *event);
/* `out` NULL: import.  `info` NULL: nothing was written as a pack. */
hone_status hone__exchange_report(char **report, const hone_exchange_options *options, const hone__tally *tally, uint32_t count, const char *out,
                                  const hone__pack_info *info, uint64_t kernels, hone_error *err);
hone_status hone__exchange_options(hone_exchange_options *out, const hone_exchange_options *options, hone_error *err);

#endif
