/* config.c: configs as JSON, out and in; mending the slips that models and people make; macros; and the public view of a config. */
#include "space_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool hone__config_equal(const hone__config *a, const hone__config *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

bool hone__config_shaped(const hone__space *space, const hone__config *config) {
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        const uint32_t *slot = &config->slot[param->first_slot];
        uint32_t seen = 0;
        for (uint32_t j = 0; j < param->slot_count; j++) {
            if (slot[j] >= param->domain.count)
                return false;
            if (param->kind == HONE_KIND_PERMUTATION && (seen >> slot[j] & 1) != 0)
                return false;
            if (param->kind == HONE_KIND_PERMUTATION)
                seen |= 1u << slot[j];
        }
    }
    for (uint32_t i = space->slot_count; i < HONE_LIMIT_SLOTS; i++) {
        if (config->slot[i] != 0)
            return false;
    }
    return true;
}

/* ---- printing ---- */

void hone__domain_print(hone__buf *buf, const hone__domain *domain, uint32_t index) {
    if (domain->kind == HONE_KIND_BOOL)
        hone__buf_text(buf, index != 0 ? "true" : "false");
    else if (domain->type == HONE_SYMBOL_STRING)
        hone__buf_json_string(buf, domain->strings[index]);
    else if (domain->type == HONE_SYMBOL_NUMBER)
        hone__buf_json_double(buf, domain->numbers[index]);
    else
        hone__buf_printf(buf, "%lld", (long long)hone__domain_int(domain, index));
}

/* The shortest decimal that reads back the same. */
static void say_double(hone__text *text, double value) {
    char digits[40];
    for (int precision = 6; precision <= 17; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, value);
        double back = strtod(digits, NULL);
        if (memcmp(&back, &value, sizeof value) == 0)
            break;
    }
    hone__say(text, "%s", digits);
}

void hone__domain_say(hone__text *text, const hone__domain *domain, uint32_t index) {
    if (domain->kind == HONE_KIND_BOOL)
        hone__say(text, "%s", index != 0 ? "true" : "false");
    else if (domain->type == HONE_SYMBOL_STRING)
        hone__say(text, "\"%s\"", domain->strings[index]);
    else if (domain->type == HONE_SYMBOL_NUMBER)
        say_double(text, domain->numbers[index]);
    else
        hone__say(text, "%lld", (long long)hone__domain_int(domain, index));
}

static bool is_list(const hone__param *param) {
    return param->kind == HONE_KIND_LIST || param->kind == HONE_KIND_PERMUTATION;
}

static void print(hone__buf *buf, const hone__space *space, const hone__config *config, bool sparse) {
    const char *comma = "";
    hone__buf_char(buf, '{');
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        const uint32_t *slot = &config->slot[param->first_slot];
        if (sparse && memcmp(slot, &space->base.slot[param->first_slot], param->slot_count * sizeof *slot) == 0)
            continue;
        hone__buf_text(buf, comma);
        comma = ",";
        hone__buf_json_string(buf, param->name);
        hone__buf_char(buf, ':');
        if (is_list(param))
            hone__buf_char(buf, '[');
        for (uint32_t j = 0; j < param->slot_count; j++) {
            if (j > 0)
                hone__buf_char(buf, ',');
            hone__domain_print(buf, &param->domain, slot[j]);
        }
        if (is_list(param))
            hone__buf_char(buf, ']');
    }
    hone__buf_char(buf, '}');
}

void hone__config_print(hone__buf *buf, const hone__space *space, const hone__config *config) {
    print(buf, space, config, false);
}

void hone__config_print_sparse(hone__buf *buf, const hone__space *space, const hone__config *config) {
    print(buf, space, config, true);
}

void hone__config_macros(const hone__space *space, const hone__config *config, void (*each)(void *user, const char *definition),
                         void *user) {
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        hone__text text;
        for (uint32_t j = 0; j < param->slot_count; j++) {
            uint32_t index = config->slot[param->first_slot + j];
            hone__text_clear(&text);
            hone__say(&text, "%s", param->name);
            if (is_list(param))
                hone__say(&text, "_%u", j);
            hone__say(&text, "=");
            if (param->domain.kind == HONE_KIND_BOOL)
                hone__say(&text, "%u", index);
            else if (param->domain.type == HONE_SYMBOL_STRING)
                hone__say(&text, "%s", param->domain.strings[index]);
            else
                hone__domain_say(&text, &param->domain, index);
            each(user, text.data);
        }
        if (is_list(param)) {
            hone__text_clear(&text);
            hone__say(&text, "%s_LEN=%u", param->name, param->slot_count);
            each(user, text.data);
        }
    }
}

/* ---- reading: describing what would be right ---- */

/* "range 16..256 step 32", "one of 1, 2, 4". */
static void describe_domain(hone__text *text, const hone__domain *domain) {
    switch (domain->kind) {
    case HONE_KIND_RANGE:
        hone__say(text, "the range %lld..%lld step %lld", (long long)domain->min, (long long)domain->max, (long long)domain->step);
        return;
    case HONE_KIND_POW2:
        hone__say(text, "the powers of two %lld..%lld", (long long)domain->min, (long long)domain->max);
        return;
    case HONE_KIND_ENUM:
        hone__say(text, "the values ");
        for (uint32_t i = 0; i < domain->count; i++) {
            if (i == 12 && domain->count > 14) {
                hone__say(text, ", ... (%u values)", domain->count);
                return;
            }
            hone__say(text, "%s", i == 0 ? "" : ", ");
            hone__domain_say(text, domain, i);
        }
        return;
    default:
        hone__say(text, domain->kind == HONE_KIND_BOOL ? "true or false" : "0..%lld", (long long)domain->max);
    }
}

static void say_json(hone__text *text, const cJSON *json) {
    hone__buf buf;
    hone__buf_init(&buf, 1u << 16);
    hone__json_print(&buf, json);
    if (buf.length > 0)
        hone__say(text, "%.*s%s", hone__text_cut(buf.data, 60), buf.data, buf.length > 60 ? "..." : "");
    else
        hone__say(text, "the value");
    hone__buf_free(&buf);
}

/* ---- reading: numbers ---- */

/* The largest value that is not above `x` and the smallest that is not below it; false where there is none. */
typedef struct bracket {
    bool has_below, has_above;
    uint32_t below, above;
} bracket;

static bracket bracket_enum(const hone__domain *domain, double x) {
    bracket b = {0};
    for (uint32_t i = 0; i < domain->count; i++) {
        double value = domain->numbers[i];
        if (value <= x && (!b.has_below || value > domain->numbers[b.below])) {
            b.has_below = true;
            b.below = i;
        }
        if (value >= x && (!b.has_above || value < domain->numbers[b.above])) {
            b.has_above = true;
            b.above = i;
        }
    }
    return b;
}

static bracket bracket_number(const hone__domain *domain, double x) {
    if (domain->kind == HONE_KIND_ENUM)
        return bracket_enum(domain, x);
    uint32_t last = domain->count - 1;
    if (x < hone__domain_number(domain, 0))
        return (bracket){.has_above = true};
    if (x > hone__domain_number(domain, last))
        return (bracket){.has_below = true, .below = last};
    uint32_t low = 0; /* its value is not above x */
    uint32_t high = last;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (hone__domain_number(domain, middle) <= x)
            low = middle;
        else
            high = middle - 1;
    }
    bool exact = hone__domain_number(domain, low) >= x;
    return (bracket){true, true, low, exact ? low : low + 1};
}

static void say_nearest(hone__text *message, const hone__domain *domain, const bracket *b) {
    if (!b->has_below && !b->has_above)
        return;
    hone__say(message, "; nearest ");
    if (b->has_below)
        hone__domain_say(message, domain, b->below);
    if (b->has_below && b->has_above)
        hone__say(message, " or ");
    if (b->has_above)
        hone__domain_say(message, domain, b->above);
}

static bool read_number(const hone__domain *domain, double x, bool repair, uint32_t *index, hone__text *note, hone__text *message) {
    bracket b = bracket_number(domain, x);
    if (b.has_below && b.has_above && b.below == b.above) {
        *index = b.below;
        return true;
    }
    if (repair && b.has_below && b.has_above) {
        double down = x - hone__domain_number(domain, b.below);
        double up = hone__domain_number(domain, b.above) - x;
        *index = down <= up ? b.below : b.above;
        if (note != NULL) {
            say_double(note, x);
            hone__say(note, " is not in ");
            describe_domain(note, domain);
            hone__say(note, "; took the nearest, ");
            hone__domain_say(note, domain, *index);
        }
        return true;
    }
    say_double(message, x);
    hone__say(message, " is not in ");
    describe_domain(message, domain);
    say_nearest(message, domain, &b);
    return false;
}

/* ---- reading: scalars ---- */

/* Text without surrounding blanks; false if it does not fit. */
static bool trim(const char *text, char *out, size_t bytes) {
    text += strspn(text, " \t\r\n");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
        length--;
    if (length == 0 || length >= bytes)
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

static bool text_number(const char *text, double *x) {
    char word[64];
    if (!trim(text, word, sizeof word) || strspn(word, "0123456789+-.eE") != strlen(word))
        return false;
    char *end = NULL;
    *x = strtod(word, &end);
    return end != word && *end == '\0' && isfinite(*x);
}

static void note_read_as(hone__text *note, const cJSON *json, const hone__domain *domain, uint32_t index) {
    if (note == NULL || note->length > 0)
        return;
    say_json(note, json);
    hone__say(note, " read as ");
    hone__domain_say(note, domain, index);
}

static bool expected(hone__text *message, const hone__domain *domain, const cJSON *json) {
    say_json(message, json);
    hone__say(message, domain->type == HONE_SYMBOL_STRING ? " is not one of " : " is not in ");
    describe_domain(message, domain);
    return false;
}

static bool read_bool(const hone__domain *domain, const cJSON *json, bool repair, uint32_t *index, hone__text *note,
                      hone__text *message) {
    if (cJSON_IsBool(json)) {
        *index = cJSON_IsTrue(json) ? 1 : 0;
        return true;
    }
    int64_t whole = -1;
    char word[16] = "";
    if (repair && cJSON_IsString(json) && trim(json->valuestring, word, sizeof word)) {
        if (hone__name_same(word, "true") || strcmp(word, "1") == 0)
            whole = 1;
        else if (hone__name_same(word, "false") || strcmp(word, "0") == 0)
            whole = 0;
    }
    if (repair && cJSON_IsNumber(json))
        (void)hone__json_int(json, &whole);
    if (whole == 0 || whole == 1) {
        *index = (uint32_t)whole;
        note_read_as(note, json, domain, *index);
        return true;
    }
    say_json(message, json);
    hone__say(message, " is neither true nor false");
    return false;
}

static void say_closest(hone__text *message, const hone__domain *domain, const char *text) {
    uint32_t best = UINT32_MAX;
    uint32_t best_distance = UINT32_MAX;
    for (uint32_t i = 0; text != NULL && i < domain->count; i++) {
        if (!hone__name_close(text, domain->strings[i]))
            continue;
        uint32_t distance = hone__name_distance(text, domain->strings[i]);
        if (distance < best_distance) {
            best = i;
            best_distance = distance;
        }
    }
    if (best != UINT32_MAX)
        hone__say(message, "; nearest \"%s\"", domain->strings[best]);
}

static bool read_text(const hone__domain *domain, const cJSON *json, bool repair, uint32_t *index, hone__text *note,
                      hone__text *message) {
    const char *text = cJSON_GetStringValue(json);
    for (uint32_t i = 0; text != NULL && i < domain->count; i++) {
        if (strcmp(text, domain->strings[i]) == 0) {
            *index = i;
            return true;
        }
    }
    char word[80] = "";
    int64_t whole;
    if (repair && text != NULL)
        (void)trim(text, word, sizeof word);
    else if (repair && hone__json_int(json, &whole))
        (void)snprintf(word, sizeof word, "%lld", (long long)whole);
    uint32_t exact = UINT32_MAX;
    uint32_t same = UINT32_MAX;
    uint32_t same_count = 0;
    for (uint32_t i = 0; i < domain->count; i++) {
        if (strcmp(word, domain->strings[i]) == 0)
            exact = i;
        if (hone__name_same(word, domain->strings[i])) {
            same = i;
            same_count++;
        }
    }
    if (exact != UINT32_MAX || same_count == 1) {
        *index = exact != UINT32_MAX ? exact : same;
        note_read_as(note, json, domain, *index);
        return true;
    }
    (void)expected(message, domain, json);
    say_closest(message, domain, text);
    return false;
}

static bool read_scalar(const hone__domain *domain, const cJSON *json, bool repair, uint32_t *index, hone__text *note,
                        hone__text *message) {
    if (repair && cJSON_IsArray(json) && cJSON_GetArraySize(json) == 1 && !cJSON_IsArray(json->child)) {
        if (!read_scalar(domain, json->child, true, index, note, message))
            return false;
        note_read_as(note, json, domain, *index);
        return true;
    }
    if (domain->kind == HONE_KIND_BOOL)
        return read_bool(domain, json, repair, index, note, message);
    if (domain->type == HONE_SYMBOL_STRING)
        return read_text(domain, json, repair, index, note, message);
    double x;
    if (cJSON_IsNumber(json) && isfinite(json->valuedouble))
        return read_number(domain, json->valuedouble, repair, index, note, message);
    if (repair && cJSON_IsString(json) && text_number(json->valuestring, &x)) {
        if (!read_number(domain, x, true, index, note, message))
            return false;
        note_read_as(note, json, domain, *index);
        return true;
    }
    return expected(message, domain, json);
}

/* ---- reading: lists ---- */

static bool check_order(const hone__param *param, const uint32_t *slots, hone__text *message) {
    uint32_t seen = 0;
    for (uint32_t i = 0; i < param->slot_count; i++) {
        if ((seen >> slots[i] & 1) != 0) {
            hone__say(message, "%u is given twice; an order has each of 0..%u once", slots[i], param->slot_count - 1);
            return false;
        }
        seen |= 1u << slots[i];
    }
    return true;
}

static bool read_list(const hone__param *param, const cJSON *json, bool repair, uint32_t *slots, hone__text *note,
                      hone__text *message) {
    const char *what = param->kind == HONE_KIND_PERMUTATION ? "an order" : "a list";
    if (!cJSON_IsArray(json)) {
        say_json(message, json);
        hone__say(message, " is not %s of %u value%s", what, param->slot_count, param->slot_count == 1 ? "" : "s");
        return false;
    }
    uint32_t count = (uint32_t)cJSON_GetArraySize(json);
    if (count != param->slot_count) {
        hone__say(message, "%u value%s given, but it is %s of %u", count, count == 1 ? " was" : "s were", what, param->slot_count);
        return false;
    }
    /* A number between two values is no slip in an order. */
    bool mend = repair && param->kind != HONE_KIND_PERMUTATION;
    const cJSON *item;
    uint32_t i = 0;
    cJSON_ArrayForEach(item, json) {
        hone__text why = {0, ""};
        hone__text own = {0, ""};
        if (!read_scalar(&param->domain, item, mend, &slots[i], &own, &why)) {
            hone__say(message, "element %u: %s", i, why.data);
            return false;
        }
        if (own.length > 0 && note != NULL)
            hone__say(note, "%selement %u: %s", note->length > 0 ? "; " : "", i, own.data);
        i++;
    }
    return param->kind != HONE_KIND_PERMUTATION || check_order(param, slots, message);
}

bool hone__param_read(const hone__param *param, const cJSON *json, bool repair, uint32_t *slots, hone__text *note,
                      hone__text *message) {
    uint32_t read[HONE_LIMIT_SLOTS] = {0};
    bool fine;
    if (!is_list(param)) {
        fine = read_scalar(&param->domain, json, repair, read, note, message);
    } else if (repair && param->kind == HONE_KIND_LIST && !cJSON_IsArray(json) && !cJSON_IsObject(json)) {
        hone__text own = {0, ""};
        fine = read_scalar(&param->domain, json, true, read, &own, message);
        for (uint32_t i = 1; fine && i < param->slot_count; i++)
            read[i] = read[0];
        if (fine && note != NULL) {
            say_json(note, json);
            hone__say(note, " repeated for the list of %u%s%s", param->slot_count, own.length > 0 ? "; " : "", own.data);
        }
        if (!fine)
            hone__say(message, "; and it is a list of %u", param->slot_count);
    } else {
        fine = read_list(param, json, repair, read, note, message);
    }
    if (fine)
        memcpy(slots, read, param->slot_count * sizeof *slots);
    return fine;
}

/* ---- reading: configs ---- */

const hone__param *hone__param_find(const hone__space *space, const char *name) {
    for (uint32_t i = 0; i < space->param_count; i++) {
        if (strcmp(space->param[i].name, name) == 0)
            return &space->param[i];
    }
    return NULL;
}

const char *hone__param_nearest(const hone__space *space, const char *name) {
    const char *best = NULL;
    for (uint32_t i = 0; i < space->param_count; i++) {
        const char *other = space->param[i].name;
        if (hone__name_close(name, other) && (best == NULL || hone__name_distance(name, other) < hone__name_distance(name, best)))
            best = other;
    }
    return best;
}

/* The one parameter whose name differs only in case or blanks, unless the exact name is there as well. */
static const hone__param *find_loosely(const hone__space *space, const cJSON *json, const char *name) {
    char word[72];
    const hone__param *hit = NULL;
    if (!trim(name, word, sizeof word))
        return NULL;
    for (uint32_t i = 0; i < space->param_count; i++) {
        if (strcmp(word, space->param[i].name) == 0) {
            hit = &space->param[i];
            break;
        }
        if (!hone__name_same(word, space->param[i].name))
            continue;
        if (hit != NULL)
            return NULL;
        hit = &space->param[i];
    }
    return hit != NULL && cJSON_GetObjectItemCaseSensitive(json, hit->name) == NULL ? hit : NULL;
}

static void say_names(hone__text *text, const hone__space *space) {
    for (uint32_t i = 0; i < space->param_count; i++) {
        if (text->length > 300) {
            hone__say(text, " and %u more", space->param_count - i);
            return;
        }
        hone__say(text, "%s%s", i == 0 ? "" : ", ", space->param[i].name);
    }
}

/* A name from outside, fit for one line. */
static const char *clean_name(const char *name, char out[72]) {
    size_t bytes = 0;
    for (; name[bytes] != '\0' && bytes < 64; bytes++)
        out[bytes] = name[bytes] < 0x20 || name[bytes] > 0x7e ? '?' : name[bytes];
    out[bytes] = '\0';
    return out;
}

static hone_status unknown_name(const hone__space *space, const char *given, bool repair, hone__buf *notes, hone_error *err) {
    const char *close = hone__param_nearest(space, given);
    char name[72];
    (void)clean_name(given, name);
    if (repair) {
        if (notes != NULL)
            hone__buf_printf(notes, "%s: there is no such parameter%s%s; dropped\n", name, close == NULL ? "" : "; did you mean ",
                             close == NULL ? "" : close);
        return HONE_OK;
    }
    hone__text known = {0, ""};
    say_names(&known, space);
    if (close != NULL)
        return hone__fail(err, HONE_E_CONFIG, "space", "%s: there is no such parameter; did you mean %s?", name, close);
    return hone__fail(err, HONE_E_CONFIG, "space", "%s: there is no such parameter; the parameters are %s", name, known.data);
}

static hone_status read_member(const hone__space *space, const cJSON *json, const cJSON *item, bool repair, hone__config *config,
                               uint64_t *given, hone__buf *notes, hone_error *err) {
    const hone__param *param = hone__param_find(space, item->string);
    bool loose = param == NULL;
    if (loose && repair)
        param = find_loosely(space, json, item->string);
    if (param == NULL || (loose && (*given >> (param - space->param) & 1) != 0))
        return unknown_name(space, item->string, repair, notes, err);
    *given |= (uint64_t)1 << (param - space->param);
    char name[72];
    if (loose && notes != NULL)
        hone__buf_printf(notes, "%s: taken for %s\n", clean_name(item->string, name), param->name);
    hone__text note = {0, ""};
    hone__text message = {0, ""};
    if (!hone__param_read(param, item, repair, &config->slot[param->first_slot], &note, &message))
        return hone__fail(err, HONE_E_CONFIG, "space", "%s: %s", param->name, message.data);
    if (note.length > 0 && notes != NULL)
        hone__buf_printf(notes, "%s: %s\n", param->name, note.data);
    return HONE_OK;
}

hone_status hone__config_read(const hone__space *space, const cJSON *json, bool repair, hone__config *out, hone__buf *notes,
                              hone_error *err) {
    if (!cJSON_IsObject(json)) {
        hone__text message = {0, ""};
        say_json(&message, json);
        return hone__fail(err, HONE_E_CONFIG, "space", "a config is an object of parameter names and values, not %s", message.data);
    }
    _Static_assert(HONE_LIMIT_PARAMS <= 64, "`given` has one bit a parameter");
    uint64_t given = 0;
    hone__config config = space->base;
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
        HONE_TRY(read_member(space, json, item, repair, &config, &given, notes, err));
    *out = config;
    return HONE_OK;
}

/* ---- the public view ---- */

static const hone__domain *find_value(const hone_config *config, uint32_t index, uint32_t element, uint32_t *value) {
    if (config == NULL || index >= config->space->param_count || element >= config->space->param[index].slot_count)
        return NULL;
    const hone__param *param = &config->space->param[index];
    *value = config->values.slot[param->first_slot + element];
    return &param->domain;
}

int64_t hone_config_element(const hone_config *config, uint32_t index, uint32_t element) {
    uint32_t value;
    const hone__domain *domain = find_value(config, index, element, &value);
    return domain == NULL || domain->type == HONE_SYMBOL_STRING ? 0 : hone__domain_int(domain, value);
}

int64_t hone_config_int(const hone_config *config, uint32_t index) {
    return hone_config_element(config, index, 0);
}

const char *hone_config_string(const hone_config *config, uint32_t index) {
    uint32_t value;
    const hone__domain *domain = find_value(config, index, 0, &value);
    return domain == NULL ? NULL : hone__domain_string(domain, value);
}

double hone_config_number(const hone_config *config, uint32_t index) {
    uint32_t value;
    const hone__domain *domain = find_value(config, index, 0, &value);
    return domain == NULL || domain->type == HONE_SYMBOL_STRING ? 0 : hone__domain_number(domain, value);
}

hone_status hone_config_json(const hone_config *config, char **json, hone_error *err) {
    if (json == NULL)
        return hone__fail(err, HONE_E_ARG, "space", "json is NULL");
    *json = NULL;
    if (config == NULL)
        return hone__fail(err, HONE_E_ARG, "space", "config is NULL");
    hone__buf buf;
    hone__buf_init(&buf, SIZE_MAX / 4);
    hone__config_print(&buf, config->space, &config->values);
    *json = hone__buf_take(&buf);
    return *json == NULL ? hone__fail(err, HONE_E_NOMEM, "space", "out of memory") : HONE_OK;
}
