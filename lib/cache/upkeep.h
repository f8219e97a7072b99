/* upkeep.h: what the calls that look after a cache share (cache_prune.c, cache_gc.c, cache_compact.c) and rooms above use too. */
#ifndef HONE_UPKEEP_H
#define HONE_UPKEEP_H

#include "cache.h"
#include "entry_filter.h"

/* A call under way. */
typedef struct hone__work {
    hone_work_options options;
    hone_filter filter;
    uint64_t done, total;
} hone__work;

/* Read what the caller gave; texts stay the caller's. */
hone_status hone__work_begin(hone__work *work, const hone_work_options *options, hone_error *err);
/* `count` more records are done; HONE_E_CANCELLED when the caller says so. */
hone_status hone__work_step(hone__work *work, uint64_t count, hone_error *err);
/* Hand a line of JSON to the caller; likewise. */
hone_status hone__work_line(hone__work *work, const hone__buf *line, hone_error *err);
/* Hand the report over.  `report` MAY be NULL.  A status that is a failure is passed on, and then there is no report. */
hone_status hone__work_end(char **report, hone__buf *buf, hone_status status, hone_error *err);

/* Check a cache file (cache_verify.c): its pages, then every record.  Appends the report ("verify" in spec/json.md) to `buf`; *sound: nothing was
 * damaged.  Damage is no failure of the call. */
hone_status hone__cache_verify(hone__buf *buf, const char *path, hone__work *work, bool *sound, hone_error *err);

#endif
