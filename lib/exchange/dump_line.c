/* dump_line.c: one table a kind says which member of a line is which field of the struct; writing and reading both walk it. */
#include "dump_line.h"
#include "alloc.h"
#include "limit.h"
#include "utf8.h"

#include <math.h>
#include <string.h>

typedef enum member_type {
    MEMBER_ID,        /* 16 bytes; 32 hexadecimal digits */
    MEMBER_TEXT,
    MEMBER_JSON,      /* text that holds JSON: as JSON where that gives the same text back, else as a string */
    MEMBER_F64,
    MEMBER_U32,
    MEMBER_U64,
    MEMBER_I64,
    MEMBER_BOOL,
    MEMBER_EFFORT,
    MEMBER_ACCURACY,
    MEMBER_RANKED,
    MEMBER_RANKED_LIST
} member_type;

typedef struct member {
    const char *name;
    member_type type;
    size_t offset;
} member;

#define M(struct_, name_, type_, field_) {name_, MEMBER_##type_, offsetof(struct_, field_)}
static const member ranked_members[] = {
    M(hone__ranked, "config", JSON, config), M(hone__ranked, "time_ns", F64, time_ns), M(hone__ranked, "low_ns", F64, low_ns),
    M(hone__ranked, "high_ns", F64, high_ns), M(hone__ranked, "mad_ns", F64, mad_ns),  M(hone__ranked, "samples", U32, samples),
};
static const member entry_members[] = {
    M(hone__entry, "key", ID, key.key),
    M(hone__entry, "kernel_id", ID, key.kernel),
    M(hone__entry, "device_id", ID, key.device),
    M(hone__entry, "problem_id", ID, key.problem),
    M(hone__entry, "kernel", TEXT, kernel_name),
    M(hone__entry, "sizes", JSON, sizes),
    M(hone__entry, "device", JSON, device),
    M(hone__entry, "best", RANKED, best),
    M(hone__entry, "alternatives", RANKED_LIST, alternative),
    M(hone__entry, "default_ns", F64, default_ns),
    M(hone__entry, "flops", F64, flops),
    M(hone__entry, "bytes", F64, bytes),
    M(hone__entry, "roofline", F64, roofline),
    M(hone__entry, "effort", EFFORT, effort),
    M(hone__entry, "accuracy", ACCURACY, accuracy),
    M(hone__entry, "tie", BOOL, tie),
    M(hone__entry, "strategy", TEXT, strategy),
    M(hone__entry, "model", TEXT, model),
    M(hone__entry, "stop", TEXT, stop),
    M(hone__entry, "tool_version", TEXT, tool_version),
    M(hone__entry, "host", TEXT, host),
    M(hone__entry, "driver", TEXT, driver),
    M(hone__entry, "toolkit", TEXT, toolkit),
    M(hone__entry, "rounds", U32, rounds),
    M(hone__entry, "trials", U32, trials),
    M(hone__entry, "failed", U32, failed),
    M(hone__entry, "tokens", U64, tokens),
    M(hone__entry, "seconds", F64, seconds),
    M(hone__entry, "created_unix_s", I64, created_unix_s),
};
static const member kernel_members[] = {
    M(hone__kernel_info, "id", ID, id),         M(hone__kernel_info, "name", TEXT, name), M(hone__kernel_info, "language", TEXT, language),
    M(hone__kernel_info, "space", JSON, space), M(hone__kernel_info, "source", TEXT, source),
};
#undef M
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum { EFFORT_COUNT = HONE_EFFORT_THOROUGH + 1 };

/* ---- writing ---- */

/* Whole numbers beyond 2^53 are strings: few JSON readers keep them. */
static void put_whole(hone__buf *buf, uint64_t value) {
    const char *quote = value > (uint64_t)HONE_LIMIT_JSON_INT ? "\"" : "";
    hone__buf_printf(buf, "%s%llu%s", quote, (unsigned long long)value, quote);
}

/* Deeper text is written as a string: within a line it would be over the limit of those who read it. */
enum { DEPTH_MAX = HONE_LIMIT_JSON_DEPTH - 8 };

static bool is_shallow(const char *text) {
    int depth = 0;
    for (; *text != '\0'; text++) { /* brackets within strings count too: at worst a string where an object would do */
        depth += *text == '{' || *text == '[';
        depth -= *text == '}' || *text == ']';
        if (depth > DEPTH_MAX)
            return false;
    }
    return true;
}

/* Objects and arrays that are written as we would write them; everything else, damage too, is a string and comes back as it was. */
static void put_json(hone__buf *buf, const char *text) {
    bool as_it_is = (text[0] == '{' || text[0] == '[') && is_shallow(text) && hone__json_is_printed(text);
    if (as_it_is)
        hone__buf_text(buf, text);
    else
        hone__buf_json_string(buf, text);
}

static void put_members(hone__buf *buf, const member *table, size_t count, const char *base);

static void put_ranked(hone__buf *buf, const char *base) {
    hone__buf_char(buf, '{');
    put_members(buf, ranked_members, COUNT(ranked_members), base);
    hone__buf_char(buf, '}');
}

static void put_member(hone__buf *buf, const member *m, const char *base) {
    const char *at = base + m->offset;
    const char *text = "";
    char hex[33];
    double f64;
    uint32_t u32;
    uint64_t u64;
    bool flag;
    switch (m->type) {
    case MEMBER_ID:
        hone__hash_hex((const uint8_t *)at, hex);
        hone__buf_printf(buf, "\"%s\"", hex);
        break;
    case MEMBER_TEXT:
    case MEMBER_JSON:
        memcpy(&text, at, sizeof text);
        text = text == NULL ? "" : text;
        if (m->type == MEMBER_JSON)
            put_json(buf, text);
        else
            hone__buf_json_string(buf, text);
        break;
    case MEMBER_F64:
        memcpy(&f64, at, sizeof f64);
        hone__buf_json_double(buf, f64);
        break;
    case MEMBER_U32:
        memcpy(&u32, at, sizeof u32);
        put_whole(buf, u32);
        break;
    case MEMBER_U64:
    case MEMBER_I64: /* never negative in a record */
        memcpy(&u64, at, sizeof u64);
        put_whole(buf, u64);
        break;
    case MEMBER_BOOL:
        memcpy(&flag, at, sizeof flag);
        hone__buf_text(buf, flag ? "true" : "false");
        break;
    case MEMBER_EFFORT:
        memcpy(&u32, at, sizeof u32);
        hone__buf_printf(buf, "\"%s\"", hone__effort_name((hone__effort)u32));
        break;
    case MEMBER_ACCURACY:
        memcpy(&u32, at, sizeof u32);
        hone__buf_printf(buf, "\"%s\"", hone__accuracy_name((hone__accuracy)u32));
        break;
    case MEMBER_RANKED:
        put_ranked(buf, at);
        break;
    case MEMBER_RANKED_LIST:
        memcpy(&u32, base + offsetof(hone__entry, alternative_count), sizeof u32);
        hone__buf_char(buf, '[');
        for (uint32_t i = 0; i < u32 && i < HONE_ALTERNATIVES_MAX; i++) {
            hone__buf_text(buf, i == 0 ? "" : ",");
            put_ranked(buf, at + i * sizeof(hone__ranked));
        }
        hone__buf_char(buf, ']');
        break;
    }
}

static void put_members(hone__buf *buf, const member *table, size_t count, const char *base) {
    for (size_t i = 0; i < count; i++) {
        hone__buf_printf(buf, "%s\"%s\":", i == 0 ? "" : ",", table[i].name);
        put_member(buf, &table[i], base);
    }
}

void hone__dump_entry(hone__buf *buf, const hone__entry *entry) {
    hone__buf_text(buf, "{\"type\":\"entry\",");
    put_members(buf, entry_members, COUNT(entry_members), (const char *)entry);
    hone__buf_char(buf, '}');
}

void hone__dump_kernel(hone__buf *buf, const hone__kernel_info *info) {
    hone__buf_text(buf, "{\"type\":\"kernel\",");
    put_members(buf, kernel_members, COUNT(kernel_members), (const char *)info);
    hone__buf_char(buf, '}');
}

/* ---- reading ---- */

typedef struct reading {
    bool lenient;
    const char *within; /* "best." */
    hone_error *err;
} reading;

static hone_status refuse(const reading *r, const char *name, const char *what) {
    return hone__fail(r->err, HONE_E_JSON, "exchange", "%s%.64s %s", r->within, name, what);
}

static bool read_hex(const char *text, uint8_t out[16]) {
    if (text == NULL || strlen(text) != 32)
        return false;
    for (size_t i = 0; i < 32; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return false;
        out[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : out[i / 2] | digit);
    }
    return true;
}

/* A whole number from 0 to max: a JSON number up to 2^53, or decimal digits in a string. */
static bool read_whole(const cJSON *item, uint64_t max, uint64_t *out) {
    int64_t whole;
    const char *text = cJSON_GetStringValue(item);
    uint64_t sum = 0;
    if (text == NULL) {
        if (!hone__json_int(item, &whole) || whole < 0)
            return false;
        sum = (uint64_t)whole;
    } else {
        if (text[0] == '\0')
            return false;
        for (const char *c = text; *c != '\0'; c++) {
            if (*c < '0' || *c > '9' || __builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
                __builtin_add_overflow(sum, (uint64_t)(*c - '0'), &sum))
                return false;
        }
    }
    *out = sum;
    return sum <= max;
}

static bool read_name(const cJSON *item, const char *(*name_of)(uint32_t), uint32_t count, uint32_t *out) {
    const char *text = cJSON_GetStringValue(item);
    for (uint32_t i = 0; text != NULL && i < count; i++) {
        if (strcmp(text, name_of(i)) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static const char *effort_of(uint32_t value) {
    return hone__effort_name((hone__effort)value);
}

static const char *accuracy_of(uint32_t value) {
    return hone__accuracy_name((hone__accuracy)value);
}

static hone_status read_text(const reading *r, const member *m, const cJSON *item, char *at) {
    const char *text = cJSON_GetStringValue(item);
    char *owned;
    if (text == NULL && (m->type != MEMBER_JSON || (!cJSON_IsObject(item) && !cJSON_IsArray(item))))
        return refuse(r, m->name, m->type == MEMBER_JSON ? "is neither an object nor a string" : "is not a string");
    owned = text != NULL ? hone__strdup(text) : hone__json_text(item);
    if (owned == NULL)
        return hone__fail(r->err, HONE_E_NOMEM, "exchange", "no memory for a line");
    memcpy(at, &owned, sizeof owned);
    return HONE_OK;
}

static hone_status read_members(const reading *r, const member *table, size_t count, const cJSON *object, char *base);

static hone_status read_ranked(const reading *r, const char *name, const cJSON *item, char *base) {
    char within[32];
    size_t length = strlen(name);
    memcpy(within, name, length);
    memcpy(within + length, ".", 2);
    reading inner = {r->lenient, within, r->err};
    if (!cJSON_IsObject(item))
        return refuse(r, name, "is not an object");
    return read_members(&inner, ranked_members, COUNT(ranked_members), item, base);
}

static hone_status read_list(const reading *r, const member *m, const cJSON *item, char *base) {
    if (!cJSON_IsArray(item))
        return refuse(r, m->name, "is not a list");
    uint32_t count = 0;
    for (const cJSON *child = item->child; child != NULL; child = child->next) {
        if (count == HONE_ALTERNATIVES_MAX)
            return refuse(r, m->name, "has more than 5 members");
        char *at = base + m->offset + count * sizeof(hone__ranked);
        count++;
        memcpy(base + offsetof(hone__entry, alternative_count), &count, sizeof count); /* so that clearing finds what was read */
        HONE_TRY(read_ranked(r, m->name, child, at));
    }
    return HONE_OK;
}

static hone_status read_number(const reading *r, const member *m, const cJSON *item, char *at) {
    uint64_t whole;
    uint32_t u32;
    bool flag;
    if (m->type == MEMBER_F64) {
        double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!isfinite(value) || value < 0 || (signbit(value) && !(value < 0)))
            return refuse(r, m->name, "is not a number from 0 to the largest double");
        memcpy(at, &value, sizeof value);
    } else if (m->type == MEMBER_U32) {
        if (!read_whole(item, UINT32_MAX, &whole))
            return refuse(r, m->name, "is not a whole number from 0 to 4294967295");
        u32 = (uint32_t)whole;
        memcpy(at, &u32, sizeof u32);
    } else if (m->type == MEMBER_BOOL) {
        if (!cJSON_IsBool(item))
            return refuse(r, m->name, "is neither true nor false");
        flag = cJSON_IsTrue(item);
        memcpy(at, &flag, sizeof flag);
    } else {
        if (!read_whole(item, m->type == MEMBER_I64 ? INT64_MAX : UINT64_MAX, &whole))
            return refuse(r, m->name, "is not a whole number, not negative, in range");
        memcpy(at, &whole, sizeof whole);
    }
    return HONE_OK;
}

static hone_status read_member(const reading *r, const member *m, const cJSON *item, char *base) {
    char *at = base + m->offset;
    uint8_t id[16];
    uint32_t u32;
    switch (m->type) {
    case MEMBER_ID:
        if (!read_hex(cJSON_GetStringValue(item), id))
            return refuse(r, m->name, "is not a string of 32 hexadecimal digits");
        memcpy(at, id, sizeof id);
        return HONE_OK;
    case MEMBER_TEXT:
    case MEMBER_JSON:
        return read_text(r, m, item, at);
    case MEMBER_EFFORT:
        if (!read_name(item, effort_of, EFFORT_COUNT, &u32))
            return refuse(r, m->name, "is none of none, quick, standard, thorough");
        memcpy(at, &u32, sizeof u32);
        return HONE_OK;
    case MEMBER_ACCURACY:
        if (!read_name(item, accuracy_of, HONE_ACCURACY_COUNT, &u32))
            return refuse(r, m->name, "is none of unchecked, passed, failed");
        memcpy(at, &u32, sizeof u32);
        return HONE_OK;
    case MEMBER_RANKED:
        return read_ranked(r, m->name, item, at);
    case MEMBER_RANKED_LIST:
        return read_list(r, m, item, base);
    case MEMBER_F64:
    case MEMBER_U32:
    case MEMBER_U64:
    case MEMBER_I64:
    case MEMBER_BOOL:
        break;
    }
    return read_number(r, m, item, at);
}

/* Every member is wanted: one that is missing is a slip, and a default for it would be an invention. */
static hone_status read_members(const reading *r, const member *table, size_t count, const cJSON *object, char *base) {
    for (size_t i = 0; i < count; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, table[i].name);
        if (item == NULL)
            return refuse(r, table[i].name, "is missing");
        HONE_TRY(read_member(r, &table[i], item, base));
    }
    for (const cJSON *child = object->child; child != NULL && !r->lenient; child = child->next) {
        bool known = strcmp(child->string, "type") == 0 && r->within[0] == '\0';
        for (size_t i = 0; i < count && !known; i++)
            known = strcmp(child->string, table[i].name) == 0;
        if (!known) {
            char shown[65];
            hone__text_clean_line(shown, sizeof shown, child->string);
            return refuse(r, shown, "is not a member of such a line");
        }
    }
    return HONE_OK;
}

hone_status hone__undump_entry(hone__entry *out, const cJSON *line, bool lenient, hone_error *err) {
    reading r = {lenient, "", err};
    memset(out, 0, sizeof *out);
    hone_status status = read_members(&r, entry_members, COUNT(entry_members), line, (char *)out);
    if (status != HONE_OK)
        hone__entry_clear(out);
    return status;
}

hone_status hone__undump_kernel(hone__kernel_info *out, const cJSON *line, bool lenient, hone_error *err) {
    reading r = {lenient, "", err};
    memset(out, 0, sizeof *out);
    hone_status status = read_members(&r, kernel_members, COUNT(kernel_members), line, (char *)out);
    if (status != HONE_OK)
        hone__kernel_info_clear(out);
    return status;
}
