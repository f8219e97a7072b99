/* domain.c: one parameter of a kernel spec: its kind, its values, and every mistake that a hand can make there
 * (spec/kernel.md section 4).  Also the interning of enum texts and the values of a domain by index. */
#include "alloc.h"
#include "space_private.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- interned texts ---- */

static uint32_t text_hash(const char *text, size_t bytes) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* The cell of the text, or the empty cell where it belongs. */
static uint32_t intern_cell(const hone__intern *intern, const char *text, size_t bytes) {
    uint32_t cell = text_hash(text, bytes) & (intern->table_size - 1);
    while (intern->table[cell] != 0) {
        const char *other = intern->text[intern->table[cell] - 1];
        if (strlen(other) == bytes && memcmp(other, text, bytes) == 0)
            break;
        cell = (cell + 1) & (intern->table_size - 1);
    }
    return cell;
}

int64_t hone__intern_find(const hone__intern *intern, const char *text, size_t bytes) {
    if (intern->table_size == 0)
        return -1;
    return (int64_t)intern->table[intern_cell(intern, text, bytes)] - 1;
}

static bool intern_grow(hone__intern *intern) {
    uint32_t capacity = intern->capacity == 0 ? 32 : intern->capacity * 2;
    char **text = hone__realloc(intern->text, capacity * sizeof *text);
    if (text == NULL)
        return false;
    intern->text = text;
    uint32_t *table = hone__alloc_array((size_t)capacity * 2, sizeof *table);
    if (table == NULL)
        return false;
    hone__free(intern->table);
    intern->table = table;
    intern->table_size = capacity * 2;
    intern->capacity = capacity;
    for (uint32_t i = 0; i < intern->count; i++)
        table[intern_cell(intern, intern->text[i], strlen(intern->text[i]))] = i + 1;
    return true;
}

static int64_t intern_add(hone__intern *intern, const char *text) {
    size_t bytes = strlen(text);
    int64_t id = hone__intern_find(intern, text, bytes);
    if (id >= 0)
        return id;
    if (intern->count == intern->capacity && !intern_grow(intern))
        return -2;
    char *copy = hone__strdup(text);
    if (copy == NULL)
        return -2;
    uint32_t cell = intern_cell(intern, text, bytes);
    intern->text[intern->count] = copy;
    intern->table[cell] = ++intern->count;
    return (int64_t)intern->count - 1;
}

void hone__intern_free(hone__intern *intern) {
    for (uint32_t i = 0; i < intern->count; i++)
        hone__free(intern->text[i]);
    hone__free(intern->text);
    hone__free(intern->table);
}

/* ---- values by index ---- */

int64_t hone__domain_int(const hone__domain *domain, uint32_t index) {
    switch (domain->kind) {
    case HONE_KIND_POW2:
        return domain->min << index;
    case HONE_KIND_ENUM:
        if (domain->type != HONE_SYMBOL_NUMBER)
            return domain->integers[index];
        return fabs(domain->numbers[index]) < 0x1p63 ? (int64_t)domain->numbers[index] : 0;
    case HONE_KIND_RANGE:
        return domain->min + (int64_t)index * domain->step;
    case HONE_KIND_BOOL:
    case HONE_KIND_PERMUTATION:
    case HONE_KIND_LIST:
        break;
    }
    return index;
}

double hone__domain_number(const hone__domain *domain, uint32_t index) {
    if (domain->type == HONE_SYMBOL_STRING)
        return index;
    return domain->type == HONE_SYMBOL_NUMBER ? domain->numbers[index] : (double)hone__domain_int(domain, index);
}

const char *hone__domain_string(const hone__domain *domain, uint32_t index) {
    return domain->type == HONE_SYMBOL_STRING ? domain->strings[index] : NULL;
}

/* ---- mistakes ---- */

hone_status hone__spec_fail(const hone__spec_reader *reader, const char *pointer, const char *format, ...) {
    char detail[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    return hone__fail(reader->err, HONE_E_SPEC, "space", "%s: %s: %s", reader->label, pointer, detail);
}

void hone__pointer(char *out, size_t bytes, const char *prefix, const char *name) {
    int written = snprintf(out, bytes, "%s/", prefix);
    size_t at = written < 0 ? 0 : (size_t)written < bytes ? (size_t)written : bytes - 1;
    for (const char *c = name; *c != '\0' && at + 3 < bytes && c - name < 80; c++) {
        if (*c == '~' || *c == '/') {
            out[at++] = '~';
            out[at++] = *c == '~' ? '0' : '1';
        } else {
            out[at++] = *c;
        }
    }
    out[at] = '\0';
}

static hone_status out_of_memory(const hone__spec_reader *reader) {
    return hone__fail(reader->err, HONE_E_NOMEM, "space", "%s: out of memory", reader->label);
}

/* ---- members ---- */

static const struct kind_text {
    const char *name;
    hone__kind kind;
    const char *members; /* each between spaces */
} kinds[] = {
    {"range", HONE_KIND_RANGE, " kind min max step default description "},
    {"pow2", HONE_KIND_POW2, " kind min max default description "},
    {"enum", HONE_KIND_ENUM, " kind values default description "},
    {"bool", HONE_KIND_BOOL, " kind default description "},
    {"permutation", HONE_KIND_PERMUTATION, " kind length default description "},
    {"list", HONE_KIND_LIST, " kind length of default description "},
};

static hone_status check_members(const hone__spec_reader *reader, const char *pointer, const cJSON *json,
                                 const struct kind_text *kind) {
    const cJSON *member;
    cJSON_ArrayForEach(member, json) {
        if (strncmp(member->string, "x-", 2) == 0)
            continue;
        char word[72];
        (void)snprintf(word, sizeof word, " %.64s ", member->string);
        if (strchr(member->string, ' ') == NULL && member->string[0] != '\0' && strstr(kind->members, word) != NULL)
            continue;
        char at[256];
        hone__pointer(at, sizeof at, pointer, member->string);
        return hone__spec_fail(reader, at, "a parameter of kind %s has no such member; it has:%.*s", kind->name,
                               (int)strlen(kind->members) - 1, kind->members);
    }
    return HONE_OK;
}

static hone_status member_int(const hone__spec_reader *reader, const char *pointer, const cJSON *json, const char *name,
                              const int64_t *fallback, int64_t *value) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (item == NULL && fallback == NULL)
        return hone__spec_fail(reader, pointer, "\"%s\" is missing; add \"%s\": an integer", name, name);
    if (item == NULL) {
        *value = *fallback;
        return HONE_OK;
    }
    if (hone__json_int(item, value))
        return HONE_OK;
    char at[256];
    hone__pointer(at, sizeof at, pointer, name);
    return hone__spec_fail(reader, at, "must be an integer within +-2^53");
}

static bool is_power_of_two(int64_t value) {
    return value > 0 && (value & (value - 1)) == 0;
}

static hone_status parse_range(const hone__spec_reader *reader, const char *pointer, const cJSON *json, hone__domain *domain) {
    static const int64_t one = 1;
    HONE_TRY(member_int(reader, pointer, json, "min", NULL, &domain->min));
    HONE_TRY(member_int(reader, pointer, json, "max", NULL, &domain->max));
    HONE_TRY(member_int(reader, pointer, json, "step", &one, &domain->step));
    char at[256];
    if (domain->min > domain->max) {
        hone__pointer(at, sizeof at, pointer, "min");
        return hone__spec_fail(reader, at, "min %lld is above max %lld; swap them", (long long)domain->min,
                               (long long)domain->max);
    }
    if (domain->step < 1) {
        hone__pointer(at, sizeof at, pointer, "step");
        return hone__spec_fail(reader, at, "step %lld must be at least 1", (long long)domain->step);
    }
    int64_t count = (domain->max - domain->min) / domain->step + 1;
    if (count > UINT32_MAX)
        return hone__spec_fail(reader, pointer, "the range has %lld values, at most 4294967295 are allowed; use a larger step",
                               (long long)count);
    domain->count = (uint32_t)count;
    return HONE_OK;
}

static hone_status parse_pow2(const hone__spec_reader *reader, const char *pointer, const cJSON *json, hone__domain *domain) {
    HONE_TRY(member_int(reader, pointer, json, "min", NULL, &domain->min));
    HONE_TRY(member_int(reader, pointer, json, "max", NULL, &domain->max));
    char at[256];
    for (int i = 0; i < 2; i++) {
        int64_t value = i == 0 ? domain->min : domain->max;
        if (is_power_of_two(value))
            continue;
        int64_t below = 1;
        while (below * 2 <= value)
            below *= 2;
        hone__pointer(at, sizeof at, pointer, i == 0 ? "min" : "max");
        if (value < 1)
            return hone__spec_fail(reader, at, "%lld is not a power of two; the least one is 1", (long long)value);
        return hone__spec_fail(reader, at, "%lld is not a power of two; near ones are %lld and %lld", (long long)value,
                               (long long)below, (long long)below * 2);
    }
    if (domain->min > domain->max) {
        hone__pointer(at, sizeof at, pointer, "min");
        return hone__spec_fail(reader, at, "min %lld is above max %lld; swap them", (long long)domain->min,
                               (long long)domain->max);
    }
    for (int64_t value = domain->min; value <= domain->max; value *= 2)
        domain->count++;
    return HONE_OK;
}

static int compare_ints(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bool enum_text_fits(const char *text) {
    size_t bytes = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+:-");
    return bytes >= 1 && bytes <= HONE_LIMIT_NAME_BYTES && text[bytes] == '\0';
}

static hone_status parse_enum_value(const hone__spec_reader *reader, const char *at, const cJSON *item, uint32_t index,
                                    hone__domain *domain) {
    bool string = cJSON_IsString(item);
    if (!string && !cJSON_IsNumber(item))
        return hone__spec_fail(reader, at, "must be a number or a string (for true and false use kind bool)");
    if (index > 0 && string != (domain->type == HONE_SYMBOL_STRING))
        return hone__spec_fail(reader, at, "numbers and strings cannot be mixed in one enum; quote all values or none");
    if (string) {
        domain->type = HONE_SYMBOL_STRING;
        if (!enum_text_fits(item->valuestring))
            return hone__spec_fail(reader, at, "a string value is 1 to 64 of A-Z a-z 0-9 _ . + : -");
        int64_t id = intern_add(reader->intern, item->valuestring);
        domain->strings[index] = hone__strdup(item->valuestring);
        if (id < 0 || domain->strings[index] == NULL)
            return out_of_memory(reader);
        domain->integers[index] = id;
        domain->numbers[index] = index;
        return HONE_OK;
    }
    if (!isfinite(item->valuedouble))
        return hone__spec_fail(reader, at, "must be a finite number");
    domain->numbers[index] = item->valuedouble == 0 ? 0 : item->valuedouble; /* no negative zero */
    if (!hone__json_int(item, &domain->integers[index]))
        domain->type = HONE_SYMBOL_NUMBER;
    return HONE_OK;
}

/* Sorting finds out whether there is a duplicate at all; only then a slow search names it. */
static hone_status check_duplicates(const hone__spec_reader *reader, const char *pointer, const cJSON *values,
                                    const hone__domain *domain) {
    bool string = domain->type == HONE_SYMBOL_STRING;
    double *sorted = hone__alloc_array(domain->count, sizeof *sorted);
    if (sorted == NULL)
        return out_of_memory(reader);
    for (uint32_t i = 0; i < domain->count; i++)
        sorted[i] = string ? (double)domain->integers[i] : domain->numbers[i];
    qsort(sorted, domain->count, sizeof *sorted, compare_doubles);
    bool duplicate = false;
    for (uint32_t i = 1; i < domain->count; i++)
        duplicate = duplicate || compare_doubles(&sorted[i - 1], &sorted[i]) == 0;
    hone__free(sorted);
    for (uint32_t i = 0; duplicate && i < domain->count; i++) {
        for (uint32_t j = i + 1; j < domain->count; j++) {
            if (string ? compare_ints(&domain->integers[i], &domain->integers[j]) != 0
                       : compare_doubles(&domain->numbers[i], &domain->numbers[j]) != 0)
                continue;
            const cJSON *item = cJSON_GetArrayItem(values, (int)j);
            if (string)
                return hone__spec_fail(reader, pointer, "\"%s\" is there twice (/%u and /%u); remove one", item->valuestring, i, j);
            return hone__spec_fail(reader, pointer, "%.17g is there twice (/%u and /%u); remove one", item->valuedouble, i, j);
        }
    }
    return HONE_OK;
}

static hone_status parse_enum(const hone__spec_reader *reader, const char *pointer, const cJSON *json, hone__domain *domain) {
    const cJSON *values = cJSON_GetObjectItemCaseSensitive(json, "values");
    if (values == NULL)
        return hone__spec_fail(reader, pointer, "\"values\" is missing; add \"values\": [numbers or strings]");
    char at[256];
    char element[300];
    hone__pointer(at, sizeof at, pointer, "values");
    int count = cJSON_IsArray(values) ? cJSON_GetArraySize(values) : 0;
    if (count < 1 || count > (int)HONE_LIMIT_ENUM)
        return hone__spec_fail(reader, at, "must be a list of 1 to %u numbers or strings", HONE_LIMIT_ENUM);
    domain->integers = hone__alloc_array((size_t)count, sizeof *domain->integers);
    domain->numbers = hone__alloc_array((size_t)count, sizeof *domain->numbers);
    domain->strings = hone__alloc_array((size_t)count, sizeof *domain->strings);
    if (domain->integers == NULL || domain->numbers == NULL || domain->strings == NULL)
        return out_of_memory(reader);
    const cJSON *item;
    cJSON_ArrayForEach(item, values) {
        (void)snprintf(element, sizeof element, "%s/%u", at, domain->count);
        domain->count++;
        HONE_TRY(parse_enum_value(reader, element, item, domain->count - 1, domain));
    }
    return check_duplicates(reader, at, values, domain);
}

static hone_status find_kind(const hone__spec_reader *reader, const char *pointer, const cJSON *json, const struct kind_text **kind) {
    if (!cJSON_IsObject(json))
        return hone__spec_fail(reader, pointer, "must be an object such as {\"kind\": \"pow2\", \"min\": 16, \"max\": 256}");
    const char *name = hone__json_string(json, "kind");
    char at[256];
    hone__pointer(at, sizeof at, pointer, "kind");
    if (name == NULL)
        return hone__spec_fail(reader, at, "missing or not a string; it is range, pow2, enum, bool, permutation or list");
    const char *close = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        *kind = &kinds[i];
        if (strcmp(name, kinds[i].name) == 0)
            return check_members(reader, pointer, json, &kinds[i]);
        if (hone__name_close(name, kinds[i].name))
            close = kinds[i].name;
    }
    return hone__spec_fail(reader, at, "unknown kind \"%.40s\"%s%s; it is range, pow2, enum, bool, permutation or list", name,
                           close == NULL ? "" : ", did you mean ", close == NULL ? "" : close);
}

static hone_status parse_scalar(const hone__spec_reader *reader, const char *pointer, const cJSON *json, hone__kind kind,
                                hone__domain *domain) {
    *domain = (hone__domain){.kind = kind, .type = HONE_SYMBOL_INT, .step = 1};
    if (kind == HONE_KIND_RANGE)
        return parse_range(reader, pointer, json, domain);
    if (kind == HONE_KIND_POW2)
        return parse_pow2(reader, pointer, json, domain);
    if (kind == HONE_KIND_ENUM)
        return parse_enum(reader, pointer, json, domain);
    domain->max = 1;
    domain->count = 2;
    return HONE_OK;
}

static hone_status parse_length(const hone__spec_reader *reader, const char *pointer, const cJSON *json, uint32_t max,
                                hone__param *param) {
    int64_t length;
    HONE_TRY(member_int(reader, pointer, json, "length", NULL, &length));
    if (length < 1 || length > max) {
        char at[256];
        hone__pointer(at, sizeof at, pointer, "length");
        return hone__spec_fail(reader, at, "length %lld must be 1 to %u", (long long)length, max);
    }
    param->slot_count = (uint32_t)length;
    return HONE_OK;
}

static hone_status parse_list(const hone__spec_reader *reader, const char *pointer, const cJSON *json, hone__param *param) {
    HONE_TRY(parse_length(reader, pointer, json, 64, param));
    const cJSON *of = cJSON_GetObjectItemCaseSensitive(json, "of");
    if (of == NULL)
        return hone__spec_fail(reader, pointer, "\"of\" is missing; add \"of\": {a parameter of kind range, pow2, enum or bool}");
    char at[256];
    hone__pointer(at, sizeof at, pointer, "of");
    const struct kind_text *kind = NULL;
    HONE_TRY(find_kind(reader, at, of, &kind));
    if (kind->kind == HONE_KIND_LIST || kind->kind == HONE_KIND_PERMUTATION)
        return hone__spec_fail(reader, at, "a list holds range, pow2, enum or bool, not %s", kind->name);
    return parse_scalar(reader, at, of, kind->kind, &param->domain);
}

hone_status hone__param_parse(const hone__spec_reader *reader, const char *pointer, const cJSON *json, hone__param *param) {
    const struct kind_text *kind = NULL;
    HONE_TRY(find_kind(reader, pointer, json, &kind));
    param->kind = kind->kind;
    param->slot_count = 1;
    const cJSON *description = cJSON_GetObjectItemCaseSensitive(json, "description");
    if (description != NULL && !cJSON_IsString(description)) {
        char at[256];
        hone__pointer(at, sizeof at, pointer, "description");
        return hone__spec_fail(reader, at, "must be a string");
    }
    if (description != NULL) {
        param->description = hone__strdup(description->valuestring);
        if (param->description == NULL)
            return out_of_memory(reader);
    }
    if (kind->kind == HONE_KIND_LIST)
        return parse_list(reader, pointer, json, param);
    if (kind->kind != HONE_KIND_PERMUTATION)
        return parse_scalar(reader, pointer, json, kind->kind, &param->domain);
    HONE_TRY(parse_length(reader, pointer, json, 16, param));
    param->domain = (hone__domain){.kind = HONE_KIND_PERMUTATION, .type = HONE_SYMBOL_INT, .step = 1};
    param->domain.max = param->slot_count - 1;
    param->domain.count = param->slot_count;
    return HONE_OK;
}

void hone__param_clear(hone__param *param) {
    for (uint32_t i = 0; param->domain.strings != NULL && i < param->domain.count; i++)
        hone__free(param->domain.strings[i]);
    hone__free(param->domain.strings);
    hone__free(param->domain.numbers);
    hone__free(param->domain.integers);
    hone__free(param->description);
    hone__free(param->name);
    *param = (hone__param){0};
}
