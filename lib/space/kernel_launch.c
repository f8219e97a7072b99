/* kernel_launch.c: launch geometry (spec/kernel.md section 6) and option templates (section 5). */
#include "alloc.h"
#include "spec_read.h"

#include <string.h>

#define OPTION_BYTES_MAX 4096u
#define EXTENT_MAX 2147483647 /* the largest grid extent of any device that we know of */

/* ---- launch ---- */

static hone_status read_extents(const hone__reader *reader, const cJSON *launch, const hone__where *at, const char *name,
                                bool required, bool with_params, hone__expr *out[3]) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(launch, name);
    if (item == NULL) {
        if (!required)
            return HONE_OK;
        return hone__mistake(reader, at, "required member \"%s\" is missing", name);
    }
    hone__where where = hone__where_member(at, name);
    HONE_TRY(hone__want_array(reader, item, &where, 1, 3));
    uint32_t i = 0;
    for (const cJSON *child = item->child; child != NULL; child = child->next, i++) {
        hone__where element = hone__where_element(&where, i);
        HONE_TRY(hone__want_expr(reader, child, &element, with_params, &out[i]));
    }
    return HONE_OK;
}

hone_status hone__read_launch(const hone__reader *reader, const cJSON *launch, const hone__where *parent, bool with_params,
                              hone__launch *out) {
    static const char *const members[] = {"grid", "block", "cluster", "shared_bytes", "cooperative"};
    const hone_kernel *kernel = reader->kernel;
    hone__where at = hone__where_member(parent, "launch");
    if (launch == NULL) {
        if (kernel->language != HONE_LANGUAGE_CUDA)
            return HONE_OK;
        return hone__mistake(reader, parent, "required member \"launch\" is missing (language cuda needs grid and block)");
    }
    if (kernel->language == HONE_LANGUAGE_C)
        return hone__mistake(reader, &at, "language c has no launch geometry; leave \"launch\" out");
    HONE_TRY(hone__want_object(reader, launch, &at));
    HONE_TRY(hone__want_members(reader, launch, &at, members, 5));
    HONE_TRY(read_extents(reader, launch, &at, "grid", true, with_params, out->grid));
    HONE_TRY(read_extents(reader, launch, &at, "block", true, with_params, out->block));
    HONE_TRY(read_extents(reader, launch, &at, "cluster", false, with_params, out->cluster));
    const cJSON *together = cJSON_GetObjectItemCaseSensitive(launch, "cooperative");
    if (together != NULL && !cJSON_IsBool(together)) {
        hone__where where = hone__where_member(&at, "cooperative");
        return hone__mistake(reader, &where, "true or false is expected");
    }
    out->cooperative = cJSON_IsTrue(together);
    const cJSON *shared = cJSON_GetObjectItemCaseSensitive(launch, "shared_bytes");
    if (shared == NULL)
        return HONE_OK;
    hone__where where = hone__where_member(&at, "shared_bytes");
    return hone__want_expr(reader, shared, &where, with_params, &out->shared_bytes);
}

static hone_status extent(const char *name, uint32_t index, const hone__expr *expr, const int64_t *values, int64_t least, int64_t *out,
                          hone_error *err) {
    const char *why = NULL;
    hone__quoted text = hone__quote(hone__expr_text(expr));
    if (!hone__expr_eval(expr, values, out, &why))
        return hone__fail(err, HONE_E_EXPR, "spec", "launch %s[%u] = %s: %s", name, index, text.text, why != NULL ? why : "error");
    if (*out < least || *out > EXTENT_MAX)
        return hone__fail(err, HONE_E_EXPR, "spec", "launch %s[%u] = %s is %lld, outside %lld..%d", name, index, text.text,
                          (long long)*out, (long long)least, EXTENT_MAX);
    return HONE_OK;
}

static hone_status extents(const char *name, hone__expr *const expr[3], const int64_t *values, int64_t out[3], uint32_t *rank,
                           hone_error *err) {
    for (*rank = 0; *rank < 3 && expr[*rank] != NULL; (*rank)++)
        HONE_TRY(extent(name, *rank, expr[*rank], values, 1, &out[*rank], err));
    return HONE_OK;
}

hone_status hone__launch_geometry(const hone__launch *launch, const int64_t *values, hone__geometry *out, hone_error *err) {
    *out = (hone__geometry){.grid_rank = 0};
    HONE_TRY(extents("grid", launch->grid, values, out->grid, &out->grid_rank, err));
    HONE_TRY(extents("block", launch->block, values, out->block, &out->block_rank, err));
    HONE_TRY(extents("cluster", launch->cluster, values, out->cluster, &out->cluster_rank, err));
    if (launch->shared_bytes != NULL)
        HONE_TRY(extent("shared_bytes", 0, launch->shared_bytes, values, 0, &out->shared_bytes, err));
    return HONE_OK;
}

/* ---- option templates ---- */

/* The text of an interned string id. */
static const char *string_of_id(const hone__space *space, int64_t id) {
    for (uint32_t p = 0; p < space->param_count; p++) {
        const hone__domain *domain = &space->param[p].domain;
        for (uint32_t i = 0; domain->type == HONE_SYMBOL_STRING && i < domain->count; i++) {
            if (hone__domain_int(domain, i) == id)
                return hone__domain_string(domain, i);
        }
    }
    return NULL;
}

/* One ${...}: `values` NULL only checks that it parses. */
static hone_status resolve_one(const hone__space *space, const char *text, bool with_params, const int64_t *values, hone__buf *out,
                               hone_error *err) {
    hone__expr *expr = NULL;
    HONE_TRY(hone__expr_parse(&expr, text, hone__space_symbols(space, with_params), err));
    int64_t result = 0;
    const char *why = NULL;
    hone_status status = HONE_OK;
    hone__symbol_type type = hone__expr_type(expr);
    if (type == HONE_SYMBOL_NUMBER) {
        status = hone__fail(err, HONE_E_EXPR, "spec", "${%s} is not an integer; the source sees it as a macro already",
                            hone__quote(text).text);
    } else if (values != NULL && !hone__expr_eval(expr, values, &result, &why)) {
        status = hone__fail(err, HONE_E_EXPR, "spec", "${%s}: %s", hone__quote(text).text, why != NULL ? why : "error");
    } else if (values != NULL && type == HONE_SYMBOL_STRING) {
        const char *string = string_of_id(space, result);
        hone__buf_text(out, string != NULL ? string : "");
    } else if (values != NULL) {
        hone__buf_printf(out, "%lld", (long long)result);
    }
    hone__expr_free(expr);
    return status;
}

hone_status hone__option_resolve(const hone__space *space, const char *option, bool with_params, const int64_t *values,
                                 hone__buf *out, hone_error *err) {
    for (const char *c = option; *c != '\0';) {
        size_t plain = strcspn(c, "$");
        hone__buf_bytes(out, c, plain);
        c += plain;
        if (*c == '\0')
            break;
        if (c[1] == '$') {
            hone__buf_char(out, '$');
            c += 2;
            continue;
        }
        const char *end = c[1] == '{' ? strchr(c, '}') : NULL;
        if (end == NULL)
            return hone__fail(err, HONE_E_EXPR, "spec", "'$' at byte %zu starts neither ${expression} nor $$ (a dollar sign)",
                              (size_t)(c - option));
        char *text = hone__strndup(c + 2, (size_t)(end - c) - 2);
        if (text == NULL)
            return hone__fail(err, HONE_E_NOMEM, "spec", "no memory for an option");
        hone_status status = resolve_one(space, text, with_params, values, out, err);
        hone__free(text);
        if (status != HONE_OK)
            return status;
        c = end + 1;
    }
    if (out->status != HONE_OK)
        return hone__fail(err, out->status, "spec", "an option is longer than %u bytes", OPTION_BYTES_MAX);
    return HONE_OK;
}

static hone_status check_option(const hone__reader *reader, const char *text, const hone__where *at, bool with_params) {
    hone__buf scratch;
    hone__buf_init(&scratch, OPTION_BYTES_MAX);
    hone_error inner = {0};
    hone_status status = hone__option_resolve(reader->kernel->space, text, with_params, NULL, &scratch, &inner);
    hone__buf_free(&scratch);
    if (status == HONE_E_NOMEM)
        return hone__mistake_nomem(reader);
    if (status != HONE_OK)
        return hone__mistake(reader, at, "%.300s%s", inner.message, with_params ? "" : " (over sizes only)");
    return HONE_OK;
}

hone_status hone__read_options(const hone__reader *reader, const cJSON *options, const hone__where *at, bool with_params,
                               char ***out, uint32_t *count) {
    if (options == NULL)
        return HONE_OK;
    HONE_TRY(hone__want_array(reader, options, at, 0, HONE_LIMIT_OPTIONS));
    *out = hone__alloc_array((size_t)cJSON_GetArraySize(options), sizeof **out);
    if (*out == NULL)
        return hone__mistake_nomem(reader);
    for (const cJSON *item = options->child; item != NULL; item = item->next) {
        hone__where where = hone__where_element(at, *count);
        const char *text = NULL;
        HONE_TRY(hone__want_text(reader, item, &where, &text));
        HONE_TRY(check_option(reader, text, &where, with_params));
        (*out)[*count] = hone__strdup(text);
        if ((*out)[*count] == NULL)
            return hone__mistake_nomem(reader);
        (*count)++;
    }
    return HONE_OK;
}
