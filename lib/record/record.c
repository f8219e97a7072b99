/* record.c: which fields each kind of record has, in which order and with which limits (spec/record.md section 4). */
#include "record.h"
#include "alloc.h"
#include "layout.h"
#include "limit.h"

#include <string.h>

#define LINE_BYTES HONE_ENTRY_LINE_BYTES
#define CONFIG_BYTES HONE_ENTRY_CONFIG_BYTES
#define SIZES_BYTES HONE_ENTRY_SIZES_BYTES
#define DEVICE_BYTES HONE_ENTRY_DEVICE_BYTES
#define OPTIONS_BYTES (16u << 10)
#define REQUEST_BYTES (4u << 20)
#define SPACE_BYTES HONE_LIMIT_SPEC_BYTES

_Static_assert(REQUEST_BYTES + HONE_LIMIT_REPLY_BYTES + 1024 < HONE_LIMIT_RECORD_BYTES, "an exchange fits a record");
_Static_assert(HONE_LIMIT_SOURCE_BYTES + SPACE_BYTES + 4096 < HONE_LIMIT_RECORD_BYTES, "a kernel fits a record");

#define COUNT(table) ((uint32_t)(sizeof(table) / sizeof((table)[0])))

const char *hone__effort_name(hone__effort effort) {
    static const char *const names[] = {"none", "quick", "standard", "thorough"};
    return (unsigned)effort < COUNT(names) ? names[effort] : "unknown";
}

#define FIELD(kind, member, limit) HONE_FIELD(kind, hone__ranked, member, limit)
static const hone__field ranked_fields[] = {
    FIELD(TEXT, config, CONFIG_BYTES), FIELD(F64, time_ns, 0), FIELD(F64, low_ns, 0),
    FIELD(F64, high_ns, 0),            FIELD(F64, mad_ns, 0),  FIELD(U32, samples, 0),
};
#undef FIELD
static const hone__layout ranked_layout = {0, sizeof(hone__ranked), ranked_fields, COUNT(ranked_fields)};

#define FIELD(kind, member, limit) HONE_FIELD(kind, hone__entry, member, limit)
static const hone__field entry_fields[] = {
    FIELD(BYTES, key.kernel, 16),
    FIELD(BYTES, key.device, 16),
    FIELD(BYTES, key.problem, 16),
    FIELD(BYTES, key.key, 16),
    FIELD(TEXT, kernel_name, HONE_LIMIT_NAME_BYTES),
    FIELD(TEXT, sizes, SIZES_BYTES),
    FIELD(TEXT, device, DEVICE_BYTES),
    {HONE_FIELD_STRUCT, 0, offsetof(hone__entry, best), 0, &ranked_layout},
    {HONE_FIELD_LIST, HONE_ALTERNATIVES_MAX, offsetof(hone__entry, alternative), offsetof(hone__entry, alternative_count),
     &ranked_layout},
    FIELD(F64, default_ns, 0),
    FIELD(F64, flops, 0),
    FIELD(F64, bytes, 0),
    FIELD(F64, roofline, 0),
    FIELD(ENUM, effort, HONE_EFFORT_THOROUGH + 1),
    FIELD(ENUM, accuracy, HONE_ACCURACY_FAILED + 1),
    FIELD(BOOL, tie, 0),
    FIELD(TEXT, strategy, LINE_BYTES),
    FIELD(TEXT, model, LINE_BYTES),
    FIELD(TEXT, stop, LINE_BYTES),
    FIELD(TEXT, tool_version, LINE_BYTES),
    FIELD(TEXT, host, LINE_BYTES),
    FIELD(TEXT, driver, LINE_BYTES),
    FIELD(TEXT, toolkit, LINE_BYTES),
    FIELD(U32, rounds, 0),
    FIELD(U32, trials, 0),
    FIELD(U32, failed, 0),
    FIELD(U64, tokens, 0),
    FIELD(F64, seconds, 0),
    FIELD(I64, created_unix_s, 0),
};
#undef FIELD
static const hone__layout entry_layout = {HONE_RECORD_ENTRY, sizeof(hone__entry), entry_fields, COUNT(entry_fields)};

#define FIELD(kind, member, limit) HONE_FIELD(kind, hone__trial, member, limit)
static const hone__field trial_fields[] = {
    FIELD(TEXT, config, CONFIG_BYTES),
    FIELD(TEXT, proposer, HONE_LIMIT_NAME_BYTES),
    FIELD(ENUM, result.outcome, HONE_OUTCOME_COUNT),
    FIELD(ENUM, result.accuracy, HONE_ACCURACY_FAILED + 1),
    FIELD(F64, result.median_ns, 0),
    FIELD(F64, result.low_ns, 0),
    FIELD(F64, result.high_ns, 0),
    FIELD(F64, result.mad_ns, 0),
    FIELD(U32, result.samples, 0),
    FIELD(F64, result.compile_ms, 0),
    FIELD(F64, result.max_error, 0),
    FIELD(ARRAY, result.resources, sizeof(((hone__measurement *)0)->resources) - 1),
    FIELD(ARRAY, result.reason, sizeof(((hone__measurement *)0)->reason) - 1),
    FIELD(I64, created_unix_s, 0),
};
#undef FIELD
static const hone__layout trial_layout = {HONE_RECORD_TRIAL, sizeof(hone__trial), trial_fields, COUNT(trial_fields)};

#define FIELD(kind, member, limit) HONE_FIELD(kind, hone__exchange, member, limit)
static const hone__field exchange_fields[] = {
    FIELD(U32, index, 0),      FIELD(TEXT, request, REQUEST_BYTES), FIELD(TEXT, reply, HONE_LIMIT_REPLY_BYTES),
    FIELD(U64, tokens_in, 0),  FIELD(U64, tokens_out, 0),           FIELD(F64, seconds, 0),
    FIELD(U32, told, 0),
};
#undef FIELD
static const hone__layout exchange_layout = {HONE_RECORD_EXCHANGE, sizeof(hone__exchange), exchange_fields, COUNT(exchange_fields)};

#define FIELD(kind, member, limit) HONE_FIELD(kind, hone__session, member, limit)
static const hone__field session_fields[] = {
    FIELD(TEXT, strategy, LINE_BYTES), FIELD(TEXT, model, LINE_BYTES),     FIELD(U64, seed, 0),
    FIELD(BOOL, done, 0),              FIELD(F64, seconds, 0),             FIELD(U32, runs, 0),
    FIELD(I64, started_unix_s, 0),     FIELD(TEXT, options, OPTIONS_BYTES),
};
#undef FIELD
static const hone__layout session_layout = {HONE_RECORD_SESSION, sizeof(hone__session), session_fields, COUNT(session_fields)};

#define FIELD(kind, member, limit) HONE_FIELD(kind, hone__kernel_info, member, limit)
static const hone__field kernel_fields[] = {
    FIELD(BYTES, id, 16),
    FIELD(TEXT, name, HONE_LIMIT_NAME_BYTES),
    FIELD(TEXT, language, HONE_LIMIT_NAME_BYTES),
    FIELD(TEXT, space, SPACE_BYTES),
    FIELD(TEXT, source, HONE_LIMIT_SOURCE_BYTES),
};
#undef FIELD
static const hone__layout kernel_layout = {HONE_RECORD_KERNEL, sizeof(hone__kernel_info), kernel_fields, COUNT(kernel_fields)};

#define FIELD(kind, member, limit) HONE_FIELD(kind, hone__failure, member, limit)
static const hone__field failure_fields[] = {
    FIELD(TEXT, reason, LINE_BYTES),
    FIELD(I64, created_unix_s, 0),
    FIELD(I64, expires_unix_s, 0),
};
#undef FIELD
static const hone__layout failure_layout = {HONE_RECORD_FAILURE, sizeof(hone__failure), failure_fields, COUNT(failure_fields)};

#define CODEC(name)                                                                                          \
    hone_status hone__##name##_encode(hone__buf *buf, const CODEC_TYPE *record, hone__slot_key slot) {       \
        return hone__record_encode(buf, &name##_layout, record, slot);                                       \
    }                                                                                                        \
    hone_status hone__##name##_decode(CODEC_TYPE *record, const void *bytes, size_t count, hone__slot_key slot) { \
        return hone__record_decode(record, &name##_layout, bytes, count, slot);                              \
    }                                                                                                        \
    void hone__##name##_clear(CODEC_TYPE *record) {                                                          \
        hone__record_clear(record, &name##_layout);                                                          \
    }

#define CODEC_TYPE hone__entry
CODEC(entry)
#undef CODEC_TYPE
#define CODEC_TYPE hone__trial
CODEC(trial)
#undef CODEC_TYPE
#define CODEC_TYPE hone__exchange
CODEC(exchange)
#undef CODEC_TYPE
#define CODEC_TYPE hone__session
CODEC(session)
#undef CODEC_TYPE
#define CODEC_TYPE hone__failure
CODEC(failure)
#undef CODEC_TYPE

hone_status hone__kernel_info_encode(hone__buf *buf, const hone__kernel_info *info, hone__slot_key slot) {
    return hone__record_encode(buf, &kernel_layout, info, slot);
}

hone_status hone__kernel_info_decode(hone__kernel_info *info, const void *bytes, size_t count, hone__slot_key slot) {
    return hone__record_decode(info, &kernel_layout, bytes, count, slot);
}

void hone__kernel_info_clear(hone__kernel_info *info) {
    hone__record_clear(info, &kernel_layout);
}

/* ---- the order of merge (spec/record.md section 6) ---- */

static bool is_valid(const hone__entry *entry) {
    return hone__record_double(entry->best.time_ns) > 0.0 && entry->accuracy != HONE_ACCURACY_FAILED;
}

/* The exponent and the six leading bits of the fraction: 64 buckets an octave, 1.6 % to 0.8 % wide, the same on every machine. */
static uint64_t time_bucket(const hone__entry *entry) {
    double time = hone__record_double(entry->best.time_ns), high = hone__record_double(entry->best.high_ns);
    double bound = high > time ? high : time;
    uint64_t bits;
    memcpy(&bits, &bound, sizeof bits);
    return bits >> 46;
}

static int more_first(uint64_t a, uint64_t b) {
    return a > b ? -1 : a < b ? 1 : 0;
}

int hone__entry_compare(const hone__entry *a, const hone__entry *b) {
    bool valid = is_valid(a);
    if (valid != is_valid(b))
        return valid ? -1 : 1;
    int order = valid ? -more_first(time_bucket(a), time_bucket(b)) : 0;
    if (order == 0)
        order = more_first((uint64_t)a->effort, (uint64_t)b->effort);
    if (order == 0)
        order = more_first(a->best.samples, b->best.samples);
    if (order == 0)
        order = more_first(a->created_unix_s < 0 ? 0 : (uint64_t)a->created_unix_s, b->created_unix_s < 0 ? 0 : (uint64_t)b->created_unix_s);
    return order != 0 ? order : hone__record_compare(&entry_layout, a, b);
}

hone_status hone__entry_list_add(hone__entry_list *list, hone__entry *entry) {
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        hone__entry *grown = hone__realloc(list->entry, capacity * sizeof *grown);
        if (grown == NULL) {
            hone__entry_clear(entry);
            return HONE_E_NOMEM;
        }
        list->entry = grown;
        list->capacity = capacity;
    }
    list->entry[list->count++] = *entry;
    return HONE_OK;
}

void hone__entry_list_clear(hone__entry_list *list) {
    for (uint32_t i = 0; i < list->count; i++)
        hone__entry_clear(&list->entry[i]);
    hone__free(list->entry);
    *list = (hone__entry_list){.max = list->max};
}
