/* entry_filter.c: see entry_filter.h.  Members that are not set let everything pass; the others must all agree. */
#define _GNU_SOURCE
#include "entry_filter.h"
#include "alloc.h"
#include "json.h"
#include "options.h"

#include <fnmatch.h>
#include <string.h>

enum { ID_DIGITS_LEAST = 8 };

static bool is_effort(const char *name) {
    for (int effort = HONE_EFFORT_NONE; effort <= (int)HONE_EFFORT_THOROUGH; effort++) {
        if (strcmp(name, hone__effort_name((hone__effort)effort)) == 0)
            return true;
    }
    return false;
}

hone_status hone__filter_read(hone_filter *out, const hone_filter *filter, hone_error *err) {
    *out = (hone_filter)HONE_FILTER_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, filter, "hone_filter", err));
    if (out->effort != NULL && !is_effort(out->effort))
        return hone__fail(err, HONE_E_ARG, "record", "an effort is none, quick, standard or thorough; got \"%.40s\"", out->effort);
    if (!(out->speedup_min >= 0) || !(out->speedup_max >= 0))
        return hone__fail(err, HONE_E_ARG, "record", "a speed-up is not negative");
    return HONE_OK;
}

bool hone__filter_is_empty(const hone_filter *filter) {
    return filter->kernel == NULL && filter->device == NULL && filter->strategy == NULL && filter->effort == NULL &&
           filter->tool_version == NULL && !(filter->speedup_min > 0) && !(filter->speedup_max > 0) && filter->created_from_unix_s == 0 &&
           filter->created_to_unix_s == 0;
}

/* Does the hexadecimal id begin with the pattern?  Short patterns are names, even those that could be digits, such as "face". */
static bool matches_id(const char *pattern, const uint8_t id[16]) {
    size_t length = strlen(pattern);
    hone__hash hash;
    char hex[33];
    memcpy(hash.byte, id, sizeof hash.byte);
    hone__hash_hex(&hash, hex);
    return length >= ID_DIGITS_LEAST && length <= 32 && strncasecmp(hex, pattern, length) == 0;
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
    if (filter->created_from_unix_s != 0 && entry->created_unix_s < filter->created_from_unix_s)
        return false;
    return filter->created_to_unix_s == 0 || entry->created_unix_s <= filter->created_to_unix_s;
}

bool hone__filter_passes(const hone_filter *filter, const hone__entry *entry) {
    if (!passes_numbers(filter, entry))
        return false;
    if (filter->effort != NULL && strcmp(filter->effort, hone__effort_name(entry->effort)) != 0)
        return false;
    if (filter->strategy != NULL && !matches(filter->strategy, entry->strategy))
        return false;
    if (filter->tool_version != NULL && !matches(filter->tool_version, entry->tool_version))
        return false;
    if (filter->kernel != NULL && !matches(filter->kernel, entry->kernel_name) && !matches_id(filter->kernel, entry->key.kernel))
        return false;
    return filter->device == NULL || matches_device(filter->device, entry);
}
