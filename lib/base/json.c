#include "json.h"
#include "alloc.h"
#include "limit.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cJSON says only that it failed: whether that was for want of memory is seen here. */
static _Thread_local bool was_short;

static void *alloc_for_cjson(size_t bytes) {
    void *memory = hone__alloc(bytes);
    was_short = was_short || memory == NULL;
    return memory;
}

static void hook_cjson(void) {
    cJSON_Hooks hooks = {.malloc_fn = alloc_for_cjson, .free_fn = hone__free};
    cJSON_InitHooks(&hooks);
}

static pthread_once_t hook_once = PTHREAD_ONCE_INIT;

static const char too_deep[] = "nested too deep";

/* The end of the string that begins before `at`; *nul when it holds \u0000. */
static size_t string_end(const char *text, size_t bytes, size_t at, bool *nul) {
    *nul = false;
    for (; at < bytes && text[at] != '"'; at++) {
        if (text[at] != '\\')
            continue;
        *nul = *nul || (bytes - at > 5 && memcmp(text + at + 1, "u0000", 5) == 0);
        at++;
    }
    return at;
}

/* What cJSON would let pass: nesting beyond ours (it recurses, up to 1000 levels), and \u0000 in a member's name, which would end the name
 * early, so that two different ones look the same.  (In a value it ends the text early; hone__json_nul_value finds that for those whom it
 * would harm.)  NULL: nothing wrong. */
static const char *find_fault(const char *text, size_t bytes) {
    int depth = 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (c == '"') {
            bool nul;
            i = string_end(text, bytes, i + 1, &nul);
            size_t next = i + 1;
            while (nul && next < bytes && (text[next] == ' ' || text[next] == '\t' || text[next] == '\n' || text[next] == '\r'))
                next++;
            if (nul && next < bytes && text[next] == ':')
                return "a member's name holds \\u0000";
        } else if (c == '{' || c == '[') {
            if (++depth > HONE_LIMIT_JSON_DEPTH)
                return too_deep;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return NULL;
}

size_t hone__json_nul_value(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != '"')
            continue;
        size_t opening = i;
        bool nul;
        i = string_end(text, bytes, i + 1, &nul);
        if (nul)
            return opening;
    }
    return bytes;
}

static unsigned line_of(const char *text, const char *end) {
    unsigned line = 1;
    for (const char *c = text; c < end; c++)
        line += *c == '\n';
    return line;
}

static int compare_names(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

enum { POINTER_BYTES = 160 };

/* Put "/name" before the pointer, or "..." when there is no room. */
static void prepend(char *pointer, const char *name, size_t index) {
    char longer[POINTER_BYTES];
    int length = name != NULL ? snprintf(longer, sizeof longer, "/%.40s%s", name, pointer) : snprintf(longer, sizeof longer, "/%zu%s", index, pointer);
    if (length < POINTER_BYTES)
        memcpy(pointer, longer, (size_t)length + 1);
    else
        memcpy(pointer, "...", 3);
}

/* The first name that occurs twice in one object, at any depth (which is bounded above); NULL: none.  `pointer`, POINTER_BYTES long and empty
 * at first, becomes that object's.  Sorted, because comparing each with each would take minutes for a hostile object of 100,000 members.
 * *status is HONE_E_NOMEM when there was no memory for it. */
static const char *find_duplicate(const cJSON *item, char *pointer, hone_status *status) {
    const char *duplicate = NULL;
    size_t count = 0, i = 0, index = 0;
    const cJSON *child;
    cJSON_ArrayForEach(child, item) {
        count += cJSON_IsObject(item) ? 1 : 0;
        if (cJSON_IsObject(child) || cJSON_IsArray(child))
            duplicate = find_duplicate(child, pointer, status);
        if (duplicate != NULL)
            prepend(pointer, child->string, index);
        if (duplicate != NULL || *status != HONE_OK)
            return duplicate;
        index++;
    }
    if (count < 2)
        return NULL;
    const char **name = hone__alloc_array(count, sizeof *name);
    if (name == NULL) {
        *status = HONE_E_NOMEM;
        return NULL;
    }
    cJSON_ArrayForEach(child, item)
        name[i++] = child->string;
    qsort(name, count, sizeof *name, compare_names);
    for (i = 1; i < count && duplicate == NULL; i++)
        duplicate = strcmp(name[i - 1], name[i]) == 0 ? name[i] : NULL;
    hone__free(name);
    return duplicate;
}

/* cJSON 1.7.15 (Debian 12) reads one byte beyond text that ends after a comma (CVE-2023-53154): give it a copy with an end. */
static cJSON *parse_copy(const char *text, size_t bytes, size_t *end, bool *no_memory) {
    char *copy = hone__strndup(bytes == 0 ? "" : text, bytes);
    *no_memory = copy == NULL;
    *end = 0;
    if (copy == NULL)
        return NULL;
    const char *stop = NULL;
    was_short = false;
    cJSON *item = cJSON_ParseWithLengthOpts(copy, bytes, &stop, 0);
    *no_memory = item == NULL && was_short;
    *end = stop == NULL ? 0 : (size_t)(stop - copy);
    hone__free(copy);
    return item;
}

hone_status hone__json_parse(cJSON **out, const char *text, size_t bytes, const char *label, hone_error *err) {
    *out = NULL;
    (void)pthread_once(&hook_once, hook_cjson);
    if (bytes == 0)
        return hone__fail(err, HONE_E_JSON, "json", "%s: not valid JSON: it is empty", label);
    const char *fault = find_fault(text, bytes);
    if (fault == too_deep)
        return hone__fail(err, HONE_E_JSON, "json", "%s: nested deeper than %d levels", label, HONE_LIMIT_JSON_DEPTH);
    if (fault != NULL)
        return hone__fail(err, HONE_E_JSON, "json", "%s: %s", label, fault);
    size_t end;
    bool no_memory;
    cJSON *item = parse_copy(text, bytes, &end, &no_memory);
    if (no_memory)
        return hone__fail(err, HONE_E_NOMEM, "json", "%s: no memory to read it", label);
    if (item == NULL) {
        char mistake[HONE_JSON_MISTAKE_BYTES];
        hone__json_mistake(mistake, text, bytes, end);
        return hone__fail(err, HONE_E_JSON, "json", "%s: not valid JSON at %s", label, mistake);
    }
    while (end < bytes && (text[end] == ' ' || text[end] == '\t' || text[end] == '\n' || text[end] == '\r'))
        end++;
    hone_status status = HONE_OK;
    char pointer[POINTER_BYTES] = "";
    const char *duplicate = find_duplicate(item, pointer, &status);
    if (end < bytes)
        status = hone__fail(err, HONE_E_JSON, "json", "%s: text after the JSON value at line %u; one value is read, remove the rest", label,
                            line_of(text, text + end));
    else if (duplicate != NULL)
        status = hone__fail(err, HONE_E_JSON, "json", "%s: %s: member \"%.64s\" is given twice; remove one", label,
                            pointer[0] != '\0' ? pointer : "(top level)", duplicate);
    else if (status != HONE_OK)
        status = hone__fail(err, status, "json", "%s: no memory to check it", label);
    if (status == HONE_OK)
        *out = item;
    else
        cJSON_Delete(item);
    return status;
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
    return cJSON_IsNumber(item) && isfinite(item->valuedouble) ? item->valuedouble : fallback;
}
