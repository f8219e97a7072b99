/* entry_filter.c: see entry_filter.h.  Members that are not set let everything pass; the others must all agree. */
#define _GNU_SOURCE
#include "entry_filter.h"
#include "json.h"
#include "limit.h"
#include "options.h"

#include <fnmatch.h>
#include <string.h>

enum { ID_DIGITS_LEAST = 4 };

hone_status hone__filter_read(hone_filter *out, const hone_filter *filter, hone_error *err) {
    *out = (hone_filter)HONE_FILTER_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, filter, "hone_filter", err));
    if (out->effort_min > (uint32_t)HONE_EFFORT_THOROUGH || out->effort_max > (uint32_t)HONE_EFFORT_THOROUGH)
        return hone__fail(err, HONE_E_ARG, "record", "an effort is 1 (quick), 2 (standard) or 3 (thorough)");
    if (!(out->speedup_min >= 0) || !(out->speedup_max >= 0))
        return hone__fail(err, HONE_E_ARG, "record", "a speed-up is not negative");
    return HONE_OK;
}

hone_status hone__filter_check(const hone_filter *filter, hone_error *err) {
    hone_filter read;
    return hone__filter_read(&read, filter, err);
}

bool hone__filter_is_empty(const hone_filter *filter) {
    return filter->kernel == NULL && filter->device == NULL && filter->strategy == NULL && filter->tool_version == NULL && filter->fn == NULL &&
           filter->effort_min == 0 && filter->effort_max == 0 && !(filter->speedup_min > 0) && !(filter->speedup_max > 0) &&
           filter->created_after == 0 && filter->created_before == 0;
}

/* Does the hexadecimal id begin with the pattern? */
static bool matches_id(const char *pattern, const uint8_t id[16]) {
    size_t length = strlen(pattern);
    return length >= ID_DIGITS_LEAST && length <= 32 && hone__hash_begins(id, pattern);
}

static bool matches(const char *pattern, const char *text) {
    return fnmatch(pattern, text == NULL ? "" : text, 0) == 0;
}

/* Devices have long names: a part will do, in any case of letters. */
static bool matches_name(const char *pattern, const char *name) {
    if (name == NULL)
        return false;
    if (strpbrk(pattern, "*?[") != NULL)
        return fnmatch(pattern, name, FNM_CASEFOLD) == 0;
    return strcasestr(name, pattern) != NULL;
}

static bool matches_device(const char *pattern, const hone__entry *entry) {
    if (matches_id(pattern, entry->key.device))
        return true;
    cJSON *device = NULL;
    if (entry->device == NULL || hone__json_parse(&device, entry->device, strlen(entry->device), "device", NULL) != HONE_OK)
        return false;
    const char *kind = hone__json_string(device, "kind");
    bool found = (kind != NULL && strcasecmp(kind, pattern) == 0) || matches_name(pattern, hone__json_string(device, "name")) ||
                 matches_name(pattern, hone__json_string(cJSON_GetObjectItemCaseSensitive(device, "identity"), "arch"));
    cJSON_Delete(device);
    return found;
}

static bool passes_numbers(const hone_filter *filter, const hone__entry *entry) {
    double speedup = entry->best.time_ns > 0 ? entry->default_ns / entry->best.time_ns : 0;
    if (filter->speedup_min > 0 && !(speedup >= filter->speedup_min))
        return false;
    if (filter->speedup_max > 0 && !(speedup <= filter->speedup_max))
        return false;
    if ((uint32_t)entry->effort < filter->effort_min || (filter->effort_max != 0 && (uint32_t)entry->effort > filter->effort_max))
        return false;
    if (filter->created_after != 0 && entry->created_unix_s < filter->created_after)
        return false;
    return filter->created_before == 0 || entry->created_unix_s < filter->created_before;
}

static bool passes_function(const hone_filter *filter, const hone__entry *entry) {
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES * 2);
    hone__entry_print(&buf, entry);
    bool passes = buf.status == HONE_OK && filter->fn(buf.data, filter->user) == 0;
    hone__buf_free(&buf);
    return passes;
}

bool hone__filter_passes(const hone_filter *given, const hone__entry *entry) {
    hone_filter filter;
    if (hone__filter_read(&filter, given, NULL) != HONE_OK || !passes_numbers(&filter, entry))
        return false;
    if (filter.strategy != NULL && !matches(filter.strategy, entry->strategy))
        return false;
    if (filter.tool_version != NULL && !matches(filter.tool_version, entry->tool_version))
        return false;
    if (filter.kernel != NULL && !matches(filter.kernel, entry->kernel_name) && !matches_id(filter.kernel, entry->key.kernel))
        return false;
    if (filter.device != NULL && !matches_device(filter.device, entry))
        return false;
    return filter.fn == NULL || passes_function(&filter, entry);
}
