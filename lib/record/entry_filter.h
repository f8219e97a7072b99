/* entry_filter.h: which entries a command is about: by kernel, device, age, effort, tool version, strategy, speed-up (hone_filter). */
#ifndef HONE_ENTRY_FILTER_H
#define HONE_ENTRY_FILTER_H

#include "record.h"

/* Check what the caller filled in and copy the members that this version knows; NULL gives a filter that every entry passes.
 * HONE_E_ARG, HONE_E_UNSUPPORTED.  Texts stay the caller's. */
hone_status hone__filter_read(hone_filter *out, const hone_filter *filter, hone_error *err);
/* The same without the copy. */
hone_status hone__filter_check(const hone_filter *filter, hone_error *err);
/* Does it let everything pass? */
bool hone__filter_is_empty(const hone_filter *filter);
/* `filter` as the caller gave it, or as hone__filter_read gives it; NULL: yes. */
bool hone__filter_passes(const hone_filter *filter, const hone__entry *entry);

#endif
