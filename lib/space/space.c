/* space.c: the config space of a kernel spec: parameters, default config and constraints put together
 * (spec/kernel.md sections 4 and 5). */
#include "alloc.h"
#include "space_private.h"

#include <stdio.h>
#include <string.h>

static hone_status out_of_memory(const hone__spec_reader *reader) {
    return hone__fail(reader->err, HONE_E_NOMEM, "space", "%s: out of memory", reader->label);
}

static int64_t find_string_id(const void *user, const char *text, size_t bytes) {
    const hone__space *space = user;
    return hone__intern_find(&space->priv->intern, text, bytes);
}

const char *hone__space_string(const hone__space *space, int64_t id) {
    return id >= 0 && id < space->priv->intern.count ? space->priv->intern.text[id] : NULL;
}

/* ---- names ---- */

static bool is_name(const char *name) {
    size_t bytes = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return bytes >= 1 && bytes <= 32 && name[bytes] == '\0' && (name[0] < '0' || name[0] > '9');
}

static hone_status check_name(const hone__spec_reader *reader, const hone__space *space, const char *pointer, const char *name) {
    static const char *const reserved[] = {"min", "max", "ceil_div", "is_pow2", "abs", "true", "false"};
    if (!is_name(name))
        return hone__spec_fail(reader, pointer, "a parameter's name is a letter or _ and then up to 31 letters, digits or _");
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(name, reserved[i]) == 0)
            return hone__spec_fail(reader, pointer, "\"%s\" is a word of the expression language; choose another name", name);
    }
    for (uint32_t i = 0; i < space->size_count; i++) {
        if (strcmp(name, space->size_name[i]) == 0)
            return hone__spec_fail(reader, pointer, "\"%s\" is also the name of a size; rename one of them", name);
    }
    return HONE_OK;
}

/* ---- defaults ---- */

/* The domain's own default, then the parameter's (for a list: the inner one, repeated, then the list's). */
static hone_status read_default(const hone__spec_reader *reader, const char *pointer, const cJSON *json, const hone__param *param,
                                uint32_t *slots) {
    char at[320];
    hone__text message = {0, ""};
    for (uint32_t i = 0; i < param->slot_count; i++)
        slots[i] = param->kind == HONE_KIND_PERMUTATION ? i : 0;
    const cJSON *of = cJSON_GetObjectItemCaseSensitive(json, "of");
    const cJSON *inner = param->kind == HONE_KIND_LIST ? cJSON_GetObjectItemCaseSensitive(of, "default") : NULL;
    if (inner != NULL) {
        hone__param scalar = {.name = param->name, .kind = param->domain.kind, .domain = param->domain, .slot_count = 1};
        uint32_t index;
        if (!hone__param_read(&scalar, inner, false, &index, NULL, &message)) {
            (void)snprintf(at, sizeof at, "%s/of/default", pointer);
            return hone__spec_fail(reader, at, "%s", message.data);
        }
        for (uint32_t i = 0; i < param->slot_count; i++)
            slots[i] = index;
    }
    const cJSON *own = cJSON_GetObjectItemCaseSensitive(json, "default");
    if (own != NULL && !hone__param_read(param, own, false, slots, NULL, &message)) {
        (void)snprintf(at, sizeof at, "%s/default", pointer);
        return hone__spec_fail(reader, at, "%s", message.data);
    }
    return HONE_OK;
}

static hone_status parse_default_config(const hone__spec_reader *reader, const cJSON *json, hone__space *space) {
    if (json == NULL)
        return HONE_OK;
    if (!cJSON_IsObject(json))
        return hone__spec_fail(reader, "/default", "must be an object that names parameters and their values");
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        if (strncmp(item->string, "x-", 2) == 0)
            continue;
        char at[256];
        hone__pointer(at, sizeof at, "/default", item->string);
        const hone__param *param = hone__param_find(space, item->string);
        const char *close = hone__param_nearest(space, item->string);
        if (param == NULL)
            return hone__spec_fail(reader, at, close == NULL ? "there is no such parameter%s" : "there is no such parameter; did you mean %s?",
                                   close == NULL ? "" : close);
        hone__text message = {0, ""};
        if (!hone__param_read(param, item, false, &space->base.slot[param->first_slot], NULL, &message))
            return hone__spec_fail(reader, at, "%s", message.data);
    }
    return HONE_OK;
}

/* ---- parameters ---- */

static hone_status parse_param(const hone__spec_reader *reader, const cJSON *json, hone__space *space) {
    char pointer[256];
    hone__pointer(pointer, sizeof pointer, "/params", json->string);
    HONE_TRY(check_name(reader, space, pointer, json->string));
    if (space->param_count == HONE_LIMIT_PARAMS)
        return hone__spec_fail(reader, "/params", "more than %u parameters; merge or fix some", HONE_LIMIT_PARAMS);
    hone__param *param = &space->param[space->param_count++];
    param->name = hone__strdup(json->string);
    if (param->name == NULL)
        return out_of_memory(reader);
    HONE_TRY(hone__param_parse(reader, pointer, json, param));
    if (param->slot_count > HONE_LIMIT_SLOTS - space->slot_count)
        return hone__spec_fail(reader, pointer, "the parameters have more than %u values in all; shorten the lists", HONE_LIMIT_SLOTS);
    param->first_slot = space->slot_count;
    space->slot_count += param->slot_count;
    for (uint32_t i = 0; i < param->slot_count; i++)
        space->priv->param_of_slot[param->first_slot + i] = space->param_count - 1;
    return read_default(reader, pointer, json, param, &space->base.slot[param->first_slot]);
}

static hone_status parse_params(const hone__spec_reader *reader, const cJSON *json, hone__space *space) {
    if (!cJSON_IsObject(json))
        return hone__spec_fail(reader, "/params", "missing or not an object; add \"params\": {\"NAME\": {\"kind\": ...}, ...}");
    int count = cJSON_GetArraySize(json);
    space->param = hone__alloc_array(count < (int)HONE_LIMIT_PARAMS ? (size_t)count : HONE_LIMIT_PARAMS, sizeof *space->param);
    if (space->param == NULL)
        return out_of_memory(reader);
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        if (strncmp(item->string, "x-", 2) != 0)
            HONE_TRY(parse_param(reader, item, space));
    }
    if (space->param_count == 0)
        return hone__spec_fail(reader, "/params", "there is nothing to tune; add at least one parameter");
    return HONE_OK;
}

static void make_symbols(hone__space *space) {
    struct hone__space_private *priv = space->priv;
    uint32_t count = 0;
    for (uint32_t i = 0; i < space->size_count; i++, count++)
        priv->symbol[count] = (hone__symbol){.name = space->size_name[i], .type = HONE_SYMBOL_INT, .first = i, .length = 1};
    for (uint32_t i = 0; i < space->param_count; i++, count++) {
        const hone__param *param = &space->param[i];
        priv->symbol[count] = (hone__symbol){
            .name = param->name,
            .type = param->domain.type,
            .first = space->size_count + param->first_slot,
            .length = param->slot_count,
            .is_list = param->kind == HONE_KIND_LIST || param->kind == HONE_KIND_PERMUTATION,
        };
    }
    priv->sizes_only = (hone__symbols){priv->symbol, space->size_count, find_string_id, space};
    priv->all = (hone__symbols){priv->symbol, count, find_string_id, space};
}

/* ---- constraints ---- */

static hone_status constraint_texts(const hone__spec_reader *reader, const char *pointer, const cJSON *json, const char **text,
                                    const char **why) {
    char at[128];
    *text = cJSON_GetStringValue(json);
    *why = NULL;
    if (*text != NULL)
        return HONE_OK;
    if (!cJSON_IsObject(json))
        return hone__spec_fail(reader, pointer, "must be an expression as a string, or {\"expr\": \"...\", \"why\": \"...\"}");
    const cJSON *member;
    cJSON_ArrayForEach(member, json) {
        bool known = strcmp(member->string, "expr") == 0 || strcmp(member->string, "why") == 0;
        hone__pointer(at, sizeof at, pointer, member->string);
        if (!known && strncmp(member->string, "x-", 2) != 0)
            return hone__spec_fail(reader, at, "unknown member; a constraint has expr and why");
        if (known && !cJSON_IsString(member))
            return hone__spec_fail(reader, at, "must be a string");
    }
    *text = hone__json_string(json, "expr");
    *why = hone__json_string(json, "why");
    if (*text == NULL)
        return hone__spec_fail(reader, pointer, "\"expr\" is missing; add \"expr\": \"BM %% 16 == 0\" or the like");
    return HONE_OK;
}

static hone_status parse_constraint(const hone__spec_reader *reader, const cJSON *json, hone__space *space) {
    char pointer[128];
    (void)snprintf(pointer, sizeof pointer, "/constraints/%u", space->constraint_count);
    const char *text;
    const char *why;
    HONE_TRY(constraint_texts(reader, pointer, json, &text, &why));
    if (!cJSON_IsString(json))
        (void)snprintf(pointer, sizeof pointer, "/constraints/%u/expr", space->constraint_count);
    hone__constraint *constraint = &space->constraint[space->constraint_count++];
    hone_error detail = {0};
    hone_status status = hone__expr_parse(&constraint->expr, text, &space->priv->all, &detail);
    if (status == HONE_E_NOMEM)
        return out_of_memory(reader);
    if (status != HONE_OK)
        return hone__spec_fail(reader, pointer, "%s", detail.message);
    if (hone__expr_type(constraint->expr) != HONE_SYMBOL_INT)
        return hone__spec_fail(reader, pointer, "a constraint is true or false, this is a string; compare it with == or !=");
    if (why != NULL) {
        constraint->why = hone__strdup(why);
        if (constraint->why == NULL)
            return out_of_memory(reader);
    }
    return HONE_OK;
}

static hone_status parse_constraints(const hone__spec_reader *reader, const cJSON *json, hone__space *space) {
    if (json == NULL)
        return HONE_OK;
    if (!cJSON_IsArray(json))
        return hone__spec_fail(reader, "/constraints", "must be a list of expressions");
    int count = cJSON_GetArraySize(json);
    if (count > (int)HONE_LIMIT_CONSTRAINTS)
        return hone__spec_fail(reader, "/constraints", "%d constraints, at most %u are allowed; join some with &&", count,
                               HONE_LIMIT_CONSTRAINTS);
    space->constraint = hone__alloc_array((size_t)count, sizeof *space->constraint);
    if (space->constraint == NULL)
        return out_of_memory(reader);
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
        HONE_TRY(parse_constraint(reader, item, space));
    return HONE_OK;
}

/* ---- the whole ---- */

static hone_status parse_all(const hone__spec_reader *reader, const cJSON *spec, hone__space *space) {
    HONE_TRY(parse_params(reader, cJSON_GetObjectItemCaseSensitive(spec, "params"), space));
    make_symbols(space);
    HONE_TRY(parse_default_config(reader, cJSON_GetObjectItemCaseSensitive(spec, "default"), space));
    return parse_constraints(reader, cJSON_GetObjectItemCaseSensitive(spec, "constraints"), space);
}

hone_status hone__space_parse(hone__space **out, const cJSON *spec, const char *label, const char *const *size_names,
                              uint32_t size_count, hone_error *err) {
    HONE_ASSERT(size_count <= HONE_SIZES_MAX);
    *out = NULL;
    hone__spec_reader reader = {.label = label, .err = err};
    hone__space *space = hone__alloc(sizeof *space);
    if (space == NULL)
        return out_of_memory(&reader);
    space->priv = hone__alloc(sizeof *space->priv);
    if (space->priv == NULL) {
        hone__free(space);
        return out_of_memory(&reader);
    }
    reader.intern = &space->priv->intern;
    space->size_count = size_count;
    for (uint32_t i = 0; i < size_count; i++)
        space->size_name[i] = size_names[i];
    hone_status status = parse_all(&reader, spec, space);
    if (status != HONE_OK) {
        hone__space_free(space);
        return status;
    }
    *out = space;
    return HONE_OK;
}

void hone__space_free(hone__space *space) {
    if (space == NULL)
        return;
    for (uint32_t i = 0; i < space->constraint_count; i++) {
        hone__expr_free(space->constraint[i].expr);
        hone__free(space->constraint[i].why);
    }
    hone__free(space->constraint);
    for (uint32_t i = 0; i < space->param_count; i++)
        hone__param_clear(&space->param[i]);
    hone__free(space->param);
    hone__intern_free(&space->priv->intern);
    hone__free(space->priv);
    hone__free(space);
}

const hone__symbols *hone__space_symbols(const hone__space *space, bool with_params) {
    return with_params ? &space->priv->all : &space->priv->sizes_only;
}

uint32_t hone__space_param_of_slot(const hone__space *space, uint32_t slot) {
    HONE_ASSERT(slot < space->slot_count);
    return space->priv->param_of_slot[slot];
}

void hone__space_values(const hone__space *space, const int64_t *sizes, const hone__config *config, int64_t *values) {
    for (uint32_t i = 0; i < space->size_count; i++)
        *values++ = sizes[i];
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        for (uint32_t j = 0; j < param->slot_count; j++)
            *values++ = hone__domain_int(&param->domain, config->slot[param->first_slot + j]);
    }
}

double hone__space_raw_count(const hone__space *space) {
    double count = 1;
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        for (uint32_t j = 0; j < param->slot_count; j++)
            count *= param->kind == HONE_KIND_PERMUTATION ? j + 1 : param->domain.count;
    }
    return count;
}
