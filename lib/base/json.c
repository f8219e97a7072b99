#include "json.h"
#include "alloc.h"
#include "limits.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void hook_cjson(void) {
    cJSON_Hooks hooks = {.malloc_fn = hone__alloc, .free_fn = hone__free};
    cJSON_InitHooks(&hooks);
}

static pthread_once_t hook_once = PTHREAD_ONCE_INIT;

/* cJSON recurses up to 1000 levels; refuse deeper input than ours before it starts. */
static bool depth_fits(const char *text, size_t bytes) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > HONE_LIMIT_JSON_DEPTH)
                return false;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}

static unsigned line_of(const char *text, const char *end) {
    unsigned line = 1;
    for (const char *c = text; c < end; c++)
        line += *c == '\n';
    return line;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

/* Sorted when there are many: a hostile object of 100,000 members must not take a minute. */
static const cJSON *duplicate_member(const cJSON *object) {
    size_t count = 0;
    for (const cJSON *item = object->child; item != NULL; item = item->next)
        count++;
    const cJSON **sorted = count > 32 ? hone__alloc_array(count, sizeof *sorted) : NULL;
    const cJSON *hit = NULL;
    if (sorted == NULL) {
        for (const cJSON *a = object->child; a != NULL && hit == NULL; a = a->next) {
            for (const cJSON *b = a->next; b != NULL && hit == NULL; b = b->next)
                hit = strcmp(a->string, b->string) == 0 ? b : NULL;
        }
        return hit;
    }
    count = 0;
    for (const cJSON *item = object->child; item != NULL; item = item->next)
        sorted[count++] = item;
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 1; i < count && hit == NULL; i++)
        hit = strcmp(sorted[i - 1]->string, sorted[i]->string) == 0 ? sorted[i] : NULL;
    hone__free(sorted);
    return hit;
}

static const cJSON *find_duplicate(const cJSON *item) {
    const cJSON *hit = cJSON_IsObject(item) ? duplicate_member(item) : NULL;
    for (const cJSON *child = item->child; child != NULL && hit == NULL; child = child->next)
        hit = find_duplicate(child); /* depth is bounded above */
    return hit;
}

hone_status hone__json_parse(cJSON **out, const char *text, size_t bytes, const char *label, hone_error *err) {
    *out = NULL;
    (void)pthread_once(&hook_once, hook_cjson);
    if (!depth_fits(text, bytes))
        return hone__fail(err, HONE_E_JSON, "json", "%s: nested deeper than %d levels", label, HONE_LIMIT_JSON_DEPTH);
    const char *end = NULL;
    cJSON *item = cJSON_ParseWithLengthOpts(text, bytes, &end, 0);
    if (item == NULL) {
        if (end == NULL)
            end = text;
        return hone__fail(err, HONE_E_JSON, "json", "%s: not valid JSON near line %u, byte %zu", label, line_of(text, end),
                          (size_t)(end - text));
    }
    while (end < text + bytes && (*end == ' ' || *end == '\t' || *end == '\n' || *end == '\r'))
        end++;
    if (end < text + bytes) {
        cJSON_Delete(item);
        return hone__fail(err, HONE_E_JSON, "json", "%s: text after the JSON value at line %u", label, line_of(text, end));
    }
    const cJSON *duplicate = find_duplicate(item);
    if (duplicate != NULL) {
        hone_status status = hone__fail(err, HONE_E_JSON, "json", "%s: member \"%.64s\" is given twice", label, duplicate->string);
        cJSON_Delete(item);
        return status;
    }
    *out = item;
    return HONE_OK;
}

bool hone__json_int(const cJSON *item, int64_t *value) {
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || fabs(item->valuedouble) > (double)HONE_LIMIT_JSON_INT)
        return false;
    int64_t whole = (int64_t)item->valuedouble;
    double back = (double)whole;
    if (back < item->valuedouble || back > item->valuedouble)
        return false;
    *value = whole;
    return true;
}

void hone__json_print(hone__buf *buf, const cJSON *item) {
    if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
        bool object = cJSON_IsObject(item);
        hone__buf_char(buf, object ? '{' : '[');
        for (const cJSON *child = item->child; child != NULL; child = child->next) {
            if (child != item->child)
                hone__buf_char(buf, ',');
            if (object) {
                hone__buf_json_string(buf, child->string);
                hone__buf_char(buf, ':');
            }
            hone__json_print(buf, child);
        }
        hone__buf_char(buf, object ? '}' : ']');
        return;
    }
    int64_t whole;
    if (cJSON_IsString(item))
        hone__buf_json_string(buf, item->valuestring);
    else if (hone__json_int(item, &whole))
        hone__buf_printf(buf, "%lld", (long long)whole);
    else if (cJSON_IsNumber(item))
        hone__buf_json_double(buf, item->valuedouble);
    else if (cJSON_IsRaw(item))
        hone__buf_text(buf, item->valuestring);
    else
        hone__buf_text(buf, cJSON_IsTrue(item) ? "true" : cJSON_IsFalse(item) ? "false" : "null");
}

char *hone__json_text(const cJSON *item) {
    hone__buf buf;
    hone__buf_init(&buf, SIZE_MAX / 4);
    hone__json_print(&buf, item);
    return hone__buf_take(&buf);
}

const char *hone__json_string(const cJSON *object, const char *name) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

double hone__json_number(const cJSON *object, const char *name, double fallback) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}
