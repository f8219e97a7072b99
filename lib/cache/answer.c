/* answer.c: an answer and what it says of itself (spec/json.md, "lookup"). */
#include "alloc.h"
#include "lookup.h"

#include <string.h>

/* Free what the answer owns, but not the answer. */
static void clear(hone_answer *answer) {
    if (answer->has_source)
        hone__entry_clear(&answer->source);
    answer->has_source = false;
    for (uint32_t i = 0; i < answer->note_count; i++)
        hone__free(answer->note[i].name);
    hone__free(answer->note);
    hone__free(answer->device);
    hone__free(answer->layer);
    answer->note = NULL;
    answer->note_count = 0;
    answer->device = answer->layer = NULL;
}

void hone_answer_free(hone_answer *answer) {
    if (answer == NULL)
        return;
    clear(answer);
    hone__free(answer);
}

void hone__entry_promote(hone__entry *entry, uint32_t rank) {
    if (rank == 0)
        return;
    hone__ranked best = entry->best;
    entry->best = entry->alternative[rank - 1];
    entry->alternative[rank - 1] = best;
}

hone_match hone_answer_match(const hone_answer *answer) {
    return answer->match;
}

const hone_config *hone_answer_config(const hone_answer *answer) {
    return &answer->config;
}

/* A time measured at other sizes or elsewhere is not this problem's. */
double hone_answer_time_ms(const hone_answer *answer) {
    return answer->match == HONE_MATCH_EXACT ? hone__entry_ranked(&answer->source, answer->rank)->time_ns / 1e6 : 0;
}

void hone__print_id(hone__buf *buf, const uint8_t id[16]) {
    char hex[33];
    hone__hash_hex(id, hex);
    hone__buf_printf(buf, "\"%s\"", hex);
}

static void number(hone__buf *buf, const char *name, double value) {
    hone__buf_printf(buf, ",\"%s\":", name);
    hone__buf_json_double(buf, value);
}

static void string(hone__buf *buf, const char *name, const char *value) {
    hone__buf_printf(buf, ",\"%s\":", name);
    if (value == NULL || value[0] == '\0')
        hone__buf_text(buf, "null");
    else
        hone__buf_json_string(buf, value);
}

static void json(hone__buf *buf, const char *name, const char *text) {
    hone__buf_printf(buf, ",\"%s\":", name);
    hone__json_print_text(buf, text);
}

static void sizes(hone__buf *buf, const hone__query *query) {
    hone__buf_text(buf, ",\"sizes\":{");
    for (uint32_t i = 0; i < query->kernel->size_count; i++) {
        hone__buf_text(buf, i > 0 ? "," : "");
        hone__buf_json_string(buf, query->kernel->size[i].name);
        hone__buf_printf(buf, ":%lld", (long long)query->problem.size[i]);
    }
    hone__buf_char(buf, '}');
}

/* Times are of this problem on this device when the match is exact; else they stand in "from". */
static void times(hone__buf *buf, const hone_answer *answer) {
    const hone__ranked *ranked = hone__entry_ranked(&answer->source, answer->rank);
    number(buf, "time_ms", ranked->time_ns / 1e6);
    number(buf, "low_ms", ranked->low_ns / 1e6);
    number(buf, "high_ms", ranked->high_ns / 1e6);
    hone__buf_printf(buf, ",\"samples\":%u", ranked->samples);
    number(buf, "default_ms", answer->source.default_ns / 1e6);
}

static void from(hone__buf *buf, const hone_answer *answer) {
    hone__buf_text(buf, ",\"from\":{\"key\":");
    hone__print_id(buf, answer->source.key.key);
    json(buf, "sizes", answer->source.sizes);
    cJSON *device = NULL;
    (void)hone__json_parse(&device, answer->source.device, strlen(answer->source.device), "record", NULL);
    string(buf, "device", hone__json_string(device, "name"));
    cJSON_Delete(device);
    times(buf, answer);
    hone__buf_printf(buf, ",\"rank\":%u}", answer->rank);
}

static void provenance(hone__buf *buf, const hone_answer *answer) {
    if (!answer->has_source) {
        hone__buf_text(buf, ",\"age_s\":null,\"effort\":\"none\",\"strategy\":null,\"model\":null,\"trials\":0,"
                            "\"accuracy\":\"unchecked\",\"tie\":false,\"roofline\":null");
        return;
    }
    const hone__entry *source = &answer->source;
    int64_t age = answer->now_unix_s - source->created_unix_s;
    hone__buf_printf(buf, ",\"age_s\":%lld", (long long)(age > 0 ? age : 0));
    string(buf, "effort", hone__effort_name(source->effort));
    string(buf, "strategy", source->strategy);
    string(buf, "model", source->model);
    hone__buf_printf(buf, ",\"trials\":%u", source->trials);
    string(buf, "accuracy", hone__accuracy_name(source->accuracy));
    hone__buf_printf(buf, ",\"tie\":%s", source->tie ? "true" : "false");
    if (answer->match == HONE_MATCH_EXACT && source->roofline > 0)
        number(buf, "roofline", source->roofline);
    else
        hone__buf_text(buf, ",\"roofline\":null");
}

/* An exact answer may have been measured at other sizes of the same bucket, or with another ignored size. */
static bool measured_here(const hone_answer *answer) {
    if (answer->match != HONE_MATCH_EXACT || answer->rank > 0)
        return false;
    cJSON *kept = NULL;
    bool same = hone__json_parse(&kept, answer->source.sizes, strlen(answer->source.sizes), "record", NULL) == HONE_OK;
    for (uint32_t i = 0; same && i < answer->query.kernel->size_count; i++) {
        int64_t value = 0;
        same = hone__json_int(cJSON_GetObjectItemCaseSensitive(kept, answer->query.kernel->size[i].name), &value) &&
               value == answer->query.problem.size[i];
    }
    cJSON_Delete(kept);
    return same;
}

static void layers(hone__buf *buf, const hone_answer *answer) {
    hone__buf_text(buf, ",\"layers\":[");
    for (uint32_t i = 0; i < answer->note_count; i++) {
        const hone__layer_note *note = &answer->note[i];
        hone__buf_text(buf, i > 0 ? ",{\"layer\":" : "{\"layer\":");
        hone__buf_json_string(buf, note->name);
        hone__buf_printf(buf, ",\"answered\":%s,\"reason\":", note->answered ? "true" : "false");
        hone__buf_json_string(buf, note->reason);
        hone__buf_char(buf, '}');
    }
    hone__buf_char(buf, ']');
}

void hone__answer_print(hone__buf *buf, const hone_answer *answer) {
    static const char *const tiers[] = {"exact", "near_shape", "near_device"};
    hone__buf_printf(buf, "{\"match\":\"%s\",\"key\":", hone_match_name(answer->match));
    hone__print_id(buf, answer->query.key.key);
    string(buf, "kernel", answer->query.kernel->name);
    sizes(buf, &answer->query);
    string(buf, "device", answer->device);
    hone__buf_text(buf, ",\"config\":");
    hone__config_print(buf, answer->config.space, &answer->config.values);
    if (answer->match == HONE_MATCH_EXACT)
        times(buf, answer);
    else
        hone__buf_text(buf, ",\"time_ms\":null,\"low_ms\":null,\"high_ms\":null,\"samples\":0,\"default_ms\":null");
    number(buf, "distance", answer->distance);
    string(buf, "layer", answer->layer);
    layers(buf, answer);
    provenance(buf, answer);
    if (answer->has_source && !measured_here(answer))
        from(buf, answer);
    else
        hone__buf_text(buf, ",\"from\":null");
    string(buf, "changed", answer->changed);
    hone__buf_text(buf, ",\"why\":[");
    bool first = true;
    for (int tier = 0; tier < 3 && tier + 1 < (int)answer->match; tier++) {
        hone__buf_printf(buf, "%s{\"tier\":\"%s\",\"reason\":", first ? "" : ",", tiers[tier]);
        hone__buf_json_string(buf, answer->reason[tier]);
        hone__buf_char(buf, '}');
        first = false;
    }
    hone__buf_text(buf, "]}");
}

hone_status hone_answer_json(const hone_answer *answer, char **out, hone_error *err) {
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone__answer_print(&buf, answer);
    *out = hone__buf_take(&buf);
    return *out != NULL ? HONE_OK : hone__fail(err, HONE_E_NOMEM, "lookup", "no memory for an answer's JSON");
}
