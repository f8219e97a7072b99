/* spec_read.c: members of a kernel spec with their types and ranges, and errors that name file, JSON pointer and way out. */
#include "spec_read.h"
#include "alloc.h"
#include "file.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- pointers and messages ---- */

static void append_escaped(char *text, size_t bytes, const char *name) {
    size_t at = strlen(text);
    for (const char *c = name; *c != '\0'; c++) {
        const char *put = *c == '~' ? "~0" : *c == '/' ? "~1" : (char[2]){*c, '\0'};
        size_t count = strlen(put);
        if (at + count + 4 > bytes) {
            memcpy(text + at, "...", 4);
            return;
        }
        memcpy(text + at, put, count + 1);
        at += count;
    }
}

hone__where hone__where_member(const hone__where *parent, const char *name) {
    hone__where at = {""};
    if (parent != NULL)
        at = *parent;
    size_t length = strlen(at.text);
    if (length + 6 < sizeof at.text) {
        memcpy(at.text + length, "/", 2);
        append_escaped(at.text, sizeof at.text, name);
    }
    return at;
}

hone__where hone__where_element(const hone__where *parent, uint32_t index) {
    char number[16];
    (void)snprintf(number, sizeof number, "%u", index);
    return hone__where_member(parent, number);
}

hone_status hone__mistake(const hone__reader *reader, const hone__where *at, const char *format, ...) {
    char what[384];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    /* The pointer and the way out matter more than the beginning of a long path. */
    size_t length = strlen(reader->label);
    const char *label = length > 100 ? reader->label + length - 97 : reader->label;
    const char *pointer = at == NULL || at->text[0] == '\0' ? "(top level)" : at->text;
    return hone__fail(reader->err, HONE_E_SPEC, "spec", "%s%s: %s: %s", label == reader->label ? "" : "...", label, pointer, what);
}

hone_status hone__mistake_nomem(const hone__reader *reader) {
    return hone__fail(reader->err, HONE_E_NOMEM, "spec", "no memory for the spec %s", reader->label);
}

hone__quoted hone__quote(const char *text) {
    hone__quoted quoted = {""};
    size_t at = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (at >= 48) {
            memcpy(quoted.text + at, "...", 4);
            return quoted;
        }
        quoted.text[at++] = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
    quoted.text[at] = '\0';
    return quoted;
}

const char *hone__type_name(const cJSON *item) {
    if (item == NULL)
        return "nothing";
    if (cJSON_IsObject(item))
        return "an object";
    if (cJSON_IsArray(item))
        return "an array";
    if (cJSON_IsString(item))
        return "a string";
    if (cJSON_IsNumber(item))
        return "a number";
    return cJSON_IsBool(item) ? "a boolean" : "null";
}

/* ---- unknown members ---- */

/* Edit distance of two short names, at most 31 characters looked at. */
static uint32_t distance(const char *a, const char *b) {
    uint32_t row[33];
    uint32_t b_length = (uint32_t)strnlen(b, 32);
    for (uint32_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (uint32_t i = 1; i <= 32 && a[i - 1] != '\0'; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= b_length; j++) {
            uint32_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            uint32_t least = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            row[j] = least < change ? least : change;
        }
    }
    return row[b_length];
}

static const char *closest(const char *name, const char *const *known, uint32_t count) {
    const char *best = NULL;
    uint32_t best_distance = 3;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t d = distance(name, known[i]);
        if (d < best_distance && d < strlen(known[i])) {
            best_distance = d;
            best = known[i];
        }
    }
    return best;
}

static void list_names(char *text, size_t bytes, const char *const *names, uint32_t count) {
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < count && at < bytes; i++) {
        int put = snprintf(text + at, bytes - at, "%s%s", i == 0 ? "" : ", ", names[i]);
        at += put > 0 ? (size_t)put : 0;
    }
}

hone_status hone__want_members(const hone__reader *reader, const cJSON *object, const hone__where *at, const char *const *known,
                               uint32_t known_count) {
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        bool found = strncmp(item->string, "x-", 2) == 0;
        for (uint32_t i = 0; i < known_count && !found; i++)
            found = strcmp(item->string, known[i]) == 0;
        if (found)
            continue;
        hone__where where = hone__where_member(at, item->string);
        const char *near = closest(item->string, known, known_count);
        if (near != NULL)
            return hone__mistake(reader, &where, "unknown member; did you mean \"%s\"? (members of your own begin with x-)", near);
        char names[256];
        list_names(names, sizeof names, known, known_count);
        return hone__mistake(reader, &where, "unknown member; known here: %s (members of your own begin with x-)", names);
    }
    return HONE_OK;
}

/* ---- typed members ---- */

hone_status hone__want_object(const hone__reader *reader, const cJSON *item, const hone__where *at) {
    if (!cJSON_IsObject(item))
        return hone__mistake(reader, at, "must be an object, not %s", hone__type_name(item));
    return HONE_OK;
}

hone_status hone__want_array(const hone__reader *reader, const cJSON *item, const hone__where *at, uint32_t min, uint32_t max) {
    if (cJSON_IsString(item))
        return hone__mistake(reader, at, "must be an array, not a string; write [\"%s\"]", hone__quote(item->valuestring).text);
    if (!cJSON_IsArray(item))
        return hone__mistake(reader, at, "must be an array, not %s; write [...]", hone__type_name(item));
    uint32_t count = 0;
    for (const cJSON *child = item->child; child != NULL && count <= max; child = child->next)
        count++;
    if (count > max)
        return hone__mistake(reader, at, "has more than %u elements; at most %u are read", max, max);
    if (count < min)
        return hone__mistake(reader, at, "must have at least %u element%s", min, min == 1 ? "" : "s");
    return HONE_OK;
}

hone_status hone__want_required(const hone__reader *reader, const cJSON *object, const hone__where *at, const char *name,
                                const cJSON **out) {
    *out = cJSON_GetObjectItemCaseSensitive(object, name);
    if (*out == NULL)
        return hone__mistake(reader, at, "required member \"%s\" is missing", name);
    return HONE_OK;
}

hone_status hone__want_text(const hone__reader *reader, const cJSON *item, const hone__where *at, const char **out) {
    *out = NULL;
    if (!cJSON_IsString(item))
        return hone__mistake(reader, at, "must be a string, not %s", hone__type_name(item));
    if (item->valuestring[0] == '\0')
        return hone__mistake(reader, at, "must not be empty");
    *out = item->valuestring;
    return HONE_OK;
}

hone_status hone__want_integer(const hone__reader *reader, const cJSON *item, const hone__where *at, int64_t min, int64_t max,
                               int64_t *out) {
    if (!cJSON_IsNumber(item))
        return hone__mistake(reader, at, "must be a whole number, not %s", hone__type_name(item));
    if (!hone__json_int(item, out))
        return hone__mistake(reader, at, "must be a whole number within -2^53..2^53, not %.17g", item->valuedouble);
    if (*out < min || *out > max)
        return hone__mistake(reader, at, "%lld is outside %lld..%lld", (long long)*out, (long long)min, (long long)max);
    return HONE_OK;
}

hone_status hone__want_number(const hone__reader *reader, const cJSON *item, const hone__where *at, double min, double max,
                              double *out) {
    if (!cJSON_IsNumber(item))
        return hone__mistake(reader, at, "must be a number, not %s", hone__type_name(item));
    if (!isfinite(item->valuedouble))
        return hone__mistake(reader, at, "must be a finite number");
    if (item->valuedouble < min)
        return hone__mistake(reader, at, "%g is below %g, the least that makes sense here", item->valuedouble, min);
    if (item->valuedouble > max)
        return hone__mistake(reader, at, "%g is above %g, the most that makes sense here", item->valuedouble, max);
    *out = item->valuedouble;
    return HONE_OK;
}

hone_status hone__want_choice(const hone__reader *reader, const cJSON *item, const hone__where *at, const char *const *names,
                              uint32_t count, uint32_t *out) {
    char list[192];
    list_names(list, sizeof list, names, count);
    if (!cJSON_IsString(item))
        return hone__mistake(reader, at, "must be one of %s, not %s", list, hone__type_name(item));
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(item->valuestring, names[i]) == 0) {
            *out = i;
            return HONE_OK;
        }
    }
    return hone__mistake(reader, at, "\"%s\" is not one of %s", hone__quote(item->valuestring).text, list);
}

bool hone__is_identifier(const char *text, size_t max, const char *more) {
    size_t length = 0;
    for (const char *c = text; *c != '\0'; c++, length++) {
        bool letter = (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') || *c == '_';
        bool later = length > 0 && ((*c >= '0' && *c <= '9') || strchr(more, *c) != NULL);
        if (length >= max || (!letter && !later))
            return false;
    }
    return length > 0;
}

/* "expression \"M * \": byte 4: ..." without the words that hone_error carries besides. */
hone_status hone__want_expr(const hone__reader *reader, const cJSON *item, const hone__where *at, bool with_params,
                            hone__expr **out) {
    char number[32];
    const char *text = number;
    int64_t whole = 0;
    if (cJSON_IsNumber(item)) {
        HONE_TRY(hone__want_integer(reader, item, at, -HONE_LIMIT_JSON_INT, HONE_LIMIT_JSON_INT, &whole));
        (void)snprintf(number, sizeof number, "%lld", (long long)whole);
    } else if (cJSON_IsString(item)) {
        text = item->valuestring;
    } else {
        return hone__mistake(reader, at, "must be an expression (a string) or a whole number, not %s", hone__type_name(item));
    }
    hone_error inner = {0};
    hone_status status = hone__expr_parse(out, text, hone__space_symbols(reader->kernel->space, with_params), &inner);
    if (status == HONE_E_NOMEM)
        return hone__mistake_nomem(reader);
    if (status != HONE_OK)
        return hone__mistake(reader, at, "%.330s%s", inner.message, with_params ? "" : " (over sizes only)");
    if (hone__expr_type(*out) != HONE_SYMBOL_INT)
        return hone__mistake(reader, at, "\"%s\" is not an integer expression", hone__quote(text).text);
    return HONE_OK;
}

/* ---- files ---- */

static hone_status check_text(const hone__reader *reader, const hone__where *at, const char *path, const char *text, size_t bytes) {
    const char *nul = memchr(text, '\0', bytes);
    if (nul != NULL)
        return hone__mistake(reader, at, "%s has a NUL byte at offset %zu; name a text file", path, (size_t)(nul - text));
    size_t bad = hone__utf8_span(text, bytes);
    if (bad < bytes)
        return hone__mistake(reader, at, "%s is not UTF-8 at offset %zu; convert it (iconv -t UTF-8)", path, bad);
    return HONE_OK;
}

hone_status hone__want_file(const hone__reader *reader, const hone__where *at, const char *path, size_t max, char **text,
                            char **resolved) {
    char *full = hone__path_join(reader->base_dir, path);
    if (full == NULL)
        return hone__mistake_nomem(reader);
    size_t bytes = 0;
    hone_error inner = {0};
    hone_status status = hone__file_read(full, max, text, &bytes, &inner);
    if (status == HONE_OK)
        status = check_text(reader, at, hone__quote(path).text, *text, bytes);
    else if (status == HONE_E_NOMEM)
        status = hone__mistake_nomem(reader);
    else
        status = hone__mistake(reader, at, "%.260s%s", inner.message,
                               status == HONE_E_NOTFOUND ? "; paths are relative to the spec's folder" : "");
    if (status != HONE_OK) {
        hone__free(*text);
        *text = NULL;
        hone__free(full);
        return status;
    }
    if (resolved != NULL)
        *resolved = full;
    else
        hone__free(full);
    return HONE_OK;
}
