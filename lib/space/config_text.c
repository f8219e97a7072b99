/* config_text.c: a config's own JSON, as hone__config_print writes it, read straight into a config.  Caches hold that form and every first look-up
 * reads one; a JSON tree for it costs ten times as much.  What is written in any other way is left to hone__config_read. */
#include "space_private.h"

#include <string.h>

enum { DIGITS_MAX = 15 };

static bool skip(const char **at, const char *text, size_t bytes) {
    if (strncmp(*at, text, bytes) != 0)
        return false;
    *at += bytes;
    return true;
}

static bool read_int(const char **at, int64_t *value) {
    bool negative = skip(at, "-", 1);
    const char *first = *at;
    *value = 0;
    for (; **at >= '0' && **at <= '9' && *at - first < DIGITS_MAX; ++*at)
        *value = *value * 10 + (**at - '0');
    *value = negative ? -*value : *value;
    return *at > first; /* what follows must be a comma or an end, so a longer or broken number is no whole one */
}

static bool index_of(const hone__domain *domain, int64_t value, uint32_t *index) {
    if (domain->kind == HONE_KIND_RANGE) {
        if (value < domain->min || value > domain->max || (value - domain->min) % domain->step != 0)
            return false;
        *index = (uint32_t)((value - domain->min) / domain->step);
        return *index < domain->count;
    }
    for (*index = 0; *index < domain->count; ++*index) {
        if (hone__domain_int(domain, *index) == value)
            return true;
    }
    return false;
}

/* Texts with escapes are not read here: no domain's text has a backslash before its end. */
static bool read_string(const char **at, const hone__domain *domain, uint32_t *index) {
    if (!skip(at, "\"", 1))
        return false;
    for (*index = 0; *index < domain->count; ++*index) {
        const char *text = domain->strings[*index], *start = *at;
        size_t bytes = strlen(text);
        if (strpbrk(text, "\\\"") == NULL && skip(at, text, bytes) && skip(at, "\"", 1))
            return true;
        *at = start;
    }
    return false;
}

static bool read_value(const char **at, const hone__domain *domain, uint32_t *index) {
    int64_t value;
    if (domain->kind == HONE_KIND_BOOL) {
        *index = **at == 't' ? 1 : 0;
        return *index == 1 ? skip(at, "true", 4) : skip(at, "false", 5);
    }
    if (domain->type == HONE_SYMBOL_STRING)
        return read_string(at, domain, index);
    return domain->type == HONE_SYMBOL_INT && read_int(at, &value) && index_of(domain, value, index);
}

static bool read_param(const char **at, const hone__param *param, uint32_t *slot) {
    if (param->kind != HONE_KIND_LIST && param->kind != HONE_KIND_PERMUTATION)
        return read_value(at, &param->domain, slot);
    for (uint32_t i = 0; i < param->slot_count; i++) {
        if (!skip(at, i == 0 ? "[" : ",", 1) || !read_value(at, &param->domain, &slot[i]))
            return false;
    }
    return skip(at, "]", 1);
}

bool hone__config_read_text(const hone__space *space, const char *text, hone__config *out) {
    hone__config config = space->base;
    const char *at = text;
    bool any = false;
    if (!skip(&at, "{", 1))
        return false;
    for (uint32_t i = 0; i < space->param_count && *at != '}'; i++) {
        const hone__param *param = &space->param[i];
        const char *start = at;
        if ((any && !skip(&at, ",", 1)) || !skip(&at, "\"", 1) || !skip(&at, param->name, strlen(param->name)) || !skip(&at, "\":", 2)) {
            at = start; /* a sparse one: it is another parameter's turn */
            continue;
        }
        if (!read_param(&at, param, &config.slot[param->first_slot]))
            return false;
        any = true;
    }
    if (strcmp(at, "}") != 0 || !hone__config_shaped(space, &config))
        return false;
    *out = config;
    return true;
}
