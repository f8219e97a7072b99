/* exact_enough.c: whether a key needs tuning at all.  A look-up answers with the best evidence, whatever its effort; a tuning of more effort is asked
 * for what the layers have of that effort, so that one that was made is found again although another layer's entry looks faster. */
#include "lookup.h"

/* Does the entry serve, and with which of its configs?  That one becomes its best. */
static bool serves(const hone__query *query, hone__entry *entry, hone__effort effort, bool current) {
    hone__config config;
    uint32_t rank = 0;
    hone__buf why;
    hone__buf_init(&why, HONE_REASON_MAX);
    bool good = entry->effort >= effort && hone__entry_usable(query, entry, &config, &rank, &why) &&
                !(current && hone__entry_changed(query, entry, &why));
    hone__buf_free(&why);
    if (good)
        hone__entry_promote(entry, rank);
    return good;
}

bool hone__exact_enough(const hone_cache *cache, const hone_kernel *kernel, const hone_device *device, const hone_problem *problem,
                        hone__effort effort, bool current, hone__entry *out) {
    hone__query query;
    bool found = false;
    if (hone__lookup_query(&query, cache, kernel, device, problem, NULL) != HONE_OK)
        return false;
    for (uint32_t layer = 0; layer < hone__layer_count(cache); layer++) {
        hone__entry entry;
        if (hone__layer_get(cache, layer, &query.key, &entry, NULL) != HONE_OK)
            continue;
        if (!serves(&query, &entry, effort, current) || (found && hone__entry_compare(&entry, out) >= 0)) {
            hone__entry_clear(&entry);
            continue;
        }
        if (found)
            hone__entry_clear(out);
        *out = entry;
        found = true;
    }
    return found;
}
