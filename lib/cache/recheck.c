/* recheck.c: entries that were measured under another driver or toolkit.  Neither is in the key: an upgrade must not empty a cache; what it
 * means is judged per entry, by the policy that the cache was opened with (hone_recheck). */
#include "lookup.h"

#include <string.h>

static void compare(hone__buf *why, const char *what, const char *then, const char *now) {
    if (then == NULL || now == NULL || then[0] == '\0' || now[0] == '\0' || strcmp(then, now) == 0)
        return; /* what is not known has not changed */
    hone__buf_printf(why, "%s%s %.100s then, %.100s now", why->length > 0 ? "; " : "", what, then, now);
}

bool hone__entry_changed(const hone__query *query, const hone__entry *entry, hone__buf *why) {
    const cJSON *description = query->device->description;
    size_t before = why->length;
    compare(why, "driver", entry->driver, hone__json_string(description, "driver"));
    compare(why, "toolkit", entry->toolkit,
            hone__json_string(description, query->kernel->language == HONE_LANGUAGE_C ? "compiler" : "toolkit"));
    return why->length > before;
}
