/* filter.c: which entries take part (hone.h, hone_filter). */
#include "alloc.h"
#include "exchange.h"
#include "json.h"
#include "limit.h"
#include "status.h"

#include <ctype.h>
#include <string.h>

hone_status hone__filter_check(const hone_filter *filter, hone_error *err) {
    if (filter == NULL)
        return HONE_OK;
    if (filter->struct_size != sizeof *filter)
        return hone__fail(err, HONE_E_ARG, "filter", "hone_filter.struct_size is not set; use HONE_FILTER_INIT");
    if (filter->effort_min > HONE_EFFORT_THOROUGH)
        return hone__fail(err, HONE_E_ARG, "filter", "an effort is 1 (quick), 2 (standard) or 3 (thorough)");
    if (!(filter->speedup_min >= 0))
        return hone__fail(err, HONE_E_ARG, "filter", "a speed-up is not negative");
    return HONE_OK;
}

static bool begins_id(const char *text, const uint8_t id[16]) {
    hone__hash hash;
    char hex[33];
    size_t length = strlen(text);
    memcpy(hash.byte, id, 16);
    hone__hash_hex(&hash, hex);
    bool begins = length >= 4 && length <= 32;
    for (size_t i = 0; begins && i < length; i++)
        begins = tolower((unsigned char)text[i]) == hex[i];
    return begins;
}

static bool contains(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (i < length && text[i] != '\0' && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == length)
            return true;
    }
    return length == 0;
}

static bool device_passes(const char *wanted, const hone__entry *entry) {
    if (begins_id(wanted, entry->key.device))
        return true;
    cJSON *device = NULL;
    if (hone__json_parse(&device, entry->device, strlen(entry->device), "entry", NULL) != HONE_OK)
        return contains(entry->device, wanted);
    const char *name = hone__json_string(device, "name");
    bool passes = name != NULL && contains(name, wanted);
    cJSON_Delete(device);
    return passes;
}

static bool asks(const hone_filter *filter, const hone__entry *entry) {
    if (filter->fn == NULL)
        return true;
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone__entry_print(&buf, entry);
    bool passes = buf.status == HONE_OK && filter->fn(buf.data, filter->user) == 0;
    hone__buf_free(&buf);
    return passes;
}

bool hone__filter_passes(const hone_filter *filter, const hone__entry *entry) {
    if (filter == NULL)
        return true;
    double speedup = entry->best.time_ns > 0 ? entry->default_ns / entry->best.time_ns : 0;
    return (filter->effort_min == 0 || (uint32_t)entry->effort >= filter->effort_min) &&
           (filter->kernel == NULL || strcmp(filter->kernel, entry->kernel_name) == 0 || begins_id(filter->kernel, entry->key.kernel)) &&
           (filter->strategy == NULL || strcmp(filter->strategy, entry->strategy) == 0) &&
           (filter->tool_version == NULL || strcmp(filter->tool_version, entry->tool_version) == 0) &&
           (filter->created_after == 0 || entry->created_unix_s >= filter->created_after) &&
           (filter->created_before == 0 || entry->created_unix_s < filter->created_before) &&
           (filter->speedup_min <= 0 || (entry->default_ns > 0 && speedup >= filter->speedup_min)) &&
           (filter->device == NULL || device_passes(filter->device, entry)) && asks(filter, entry);
}
