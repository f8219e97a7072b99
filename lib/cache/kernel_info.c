/* kernel_info.c: what a cache keeps of a kernel, so that it can say later what has changed since. */
#include "alloc.h"
#include "cache.h"
#include "kernel.h"

#include <string.h>

/* Members of the spec that are in the key. */
static const char *const members[] = {"entry", "options", "sizes", "args", "params", "constraints", "launch", "evaluator"};
#define MEMBER_COUNT (sizeof members / sizeof members[0])

/* Line endings do not count, as in the key. */
static bool hash_lines(const char *text, hone__hash *hash) {
    hone__buf lines;
    hone__buf_init(&lines, HONE_LIMIT_DEPENDENCY_BYTES);
    for (const char *c = text; *c != '\0';) {
        size_t plain = strcspn(c, "\r");
        hone__buf_bytes(&lines, c, plain);
        c += plain;
        if (*c == '\r') {
            hone__buf_char(&lines, '\n');
            c += c[1] == '\n' ? 2 : 1;
        }
    }
    bool ok = lines.status == HONE_OK;
    if (ok)
        *hash = hone__hash_bytes(lines.data, lines.length);
    hone__buf_free(&lines);
    return ok;
}

/* Only what is in the key: the evaluator's command is for language external alone. */
static const cJSON *member_of(const hone_kernel *kernel, size_t index) {
    if (strcmp(members[index], "evaluator") == 0 && kernel->language != HONE_LANGUAGE_EXTERNAL)
        return NULL;
    return cJSON_GetObjectItemCaseSensitive(kernel->spec, members[index]);
}

static void print_dependencies(hone__buf *buf, const hone_kernel *kernel) {
    hone__buf_text(buf, "[");
    for (uint32_t i = 0; i < kernel->dependency_count; i++) {
        hone__hash hash;
        char hex[33];
        if (!hash_lines(kernel->dependency[i].text, &hash)) {
            buf->status = HONE_E_NOMEM;
            return;
        }
        hone__hash_hex(hash.byte, hex);
        hone__buf_text(buf, i > 0 ? ",[" : "[");
        hone__buf_json_string(buf, kernel->dependency[i].path);
        hone__buf_printf(buf, ",\"%s\"]", hex);
    }
    hone__buf_char(buf, ']');
}

static char *print_space(const hone_kernel *kernel) {
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_SPEC_BYTES * 2);
    hone__buf_text(&buf, "{\"dependencies\":");
    print_dependencies(&buf, kernel);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        const cJSON *item = member_of(kernel, i);
        if (item == NULL)
            continue;
        hone__buf_printf(&buf, ",\"%s\":", members[i]);
        hone__json_print(&buf, item);
    }
    hone__buf_char(&buf, '}');
    return hone__buf_take(&buf);
}

hone_status hone__kernel_info_make(hone__kernel_info *out, const hone_kernel *kernel) {
    *out = (hone__kernel_info){.name = hone__strdup(kernel->name)};
    memcpy(out->id, kernel->id, sizeof out->id);
    out->language = hone__strdup(hone_kernel_language(kernel));
    out->space = print_space(kernel);
    /* A record is bounded; a source that does not fit beside the space is not kept. */
    size_t used = out->space != NULL ? strlen(out->space) : 0;
    bool fits = strlen(kernel->source.text) + used + 4096 < HONE_LIMIT_RECORD_BYTES;
    out->source = hone__strdup(fits ? kernel->source.text : "");
    if (out->name != NULL && out->language != NULL && out->space != NULL && out->source != NULL)
        return HONE_OK;
    hone__kernel_info_clear(out);
    return HONE_E_NOMEM;
}

static void list(hone__buf *fields, const char *name) {
    hone__buf_printf(fields, "%s%s", fields->length > 0 ? ", " : "", name);
}

static bool is_empty(const cJSON *item) {
    return item == NULL || (cJSON_IsArray(item) && item->child == NULL);
}

/* A record of params and constraints alone says nothing of the other members. */
static void compare_space(hone__buf *fields, const cJSON *kept, const hone_kernel *kernel) {
    bool whole = cJSON_GetObjectItemCaseSensitive(kept, "dependencies") != NULL;
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        const cJSON *theirs = cJSON_GetObjectItemCaseSensitive(kept, members[i]);
        const cJSON *ours = member_of(kernel, i);
        if ((theirs == NULL && !whole) || (is_empty(theirs) && is_empty(ours)))
            continue;
        if ((theirs == NULL) != (ours == NULL) || (ours != NULL && !cJSON_Compare(theirs, ours, 1)))
            list(fields, members[i]);
    }
    if (!whole)
        return;
    hone__buf ours;
    hone__buf_init(&ours, HONE_LIMIT_RECORD_BYTES);
    print_dependencies(&ours, kernel);
    const cJSON *theirs = cJSON_GetObjectItemCaseSensitive(kept, "dependencies");
    char *text = theirs != NULL ? hone__json_text(theirs) : NULL;
    if (text != NULL && ours.status == HONE_OK && strcmp(text, ours.data) != 0)
        list(fields, "dependencies");
    hone__free(text);
    hone__buf_free(&ours);
}

void hone__kernel_info_compare(hone__buf *fields, const hone__kernel_info *kept, const hone_kernel *kernel) {
    hone__hash theirs, ours;
    if (strcmp(kept->language, hone_kernel_language(kernel)) != 0)
        list(fields, "language");
    if (kept->source[0] != '\0' && hash_lines(kept->source, &theirs) && hash_lines(kernel->source.text, &ours) &&
        memcmp(theirs.byte, ours.byte, sizeof ours.byte) != 0)
        list(fields, "source");
    cJSON *space = NULL;
    if (hone__json_parse(&space, kept->space, strlen(kept->space), "kernel record", NULL) == HONE_OK)
        compare_space(fields, space, kernel);
    cJSON_Delete(space);
    if (fields->length == 0)
        list(fields, "something that the cache did not keep (source, entry, options, sizes, args, launch or dependencies)");
}
