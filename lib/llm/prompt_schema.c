/* prompt_schema.c: a JSON schema of the answer for providers that can hold a model to one.  Sparse configs have only optional members,
 * which "strict" modes do not allow: it is meant for the non-strict mode (spec/prompt.md section 6). */
#include "prompt_text.h"

enum { ENUM_MAX = 64 }; /* longer domains are given by type and bounds: the parser checks them anyway */

static cJSON *domain_value(const hone__domain *domain, uint32_t index) {
    if (domain->type == HONE_SYMBOL_STRING)
        return cJSON_CreateString(hone__domain_string(domain, index));
    if (domain->type == HONE_SYMBOL_NUMBER)
        return cJSON_CreateNumber(hone__domain_number(domain, index));
    return cJSON_CreateNumber((double)hone__domain_int(domain, index));
}

static bool add_enum(cJSON *schema, const hone__domain *domain) {
    cJSON *list = cJSON_AddArrayToObject(schema, "enum");
    for (uint32_t i = 0; i < domain->count; i++) {
        if (list == NULL || !cJSON_AddItemToArray(list, domain_value(domain, i)))
            return false;
    }
    return true;
}

static bool fill_domain(cJSON *schema, const hone__domain *domain) {
    if (domain->kind == HONE_KIND_BOOL)
        return cJSON_AddStringToObject(schema, "type", "boolean") != NULL;
    const char *type = domain->type == HONE_SYMBOL_STRING ? "string" : domain->type == HONE_SYMBOL_NUMBER ? "number" : "integer";
    if (cJSON_AddStringToObject(schema, "type", type) == NULL)
        return false;
    if (domain->count <= ENUM_MAX)
        return add_enum(schema, domain);
    if (domain->kind != HONE_KIND_RANGE)
        return true;
    double max = (double)domain->min + (double)(domain->count - 1) * (double)domain->step;
    bool whole = domain->step > 1 && domain->min % domain->step == 0;
    return cJSON_AddNumberToObject(schema, "minimum", (double)domain->min) != NULL &&
           cJSON_AddNumberToObject(schema, "maximum", max) != NULL &&
           (!whole || cJSON_AddNumberToObject(schema, "multipleOf", (double)domain->step) != NULL);
}

static bool fill_param(cJSON *schema, const hone__param *param) {
    bool ok = true;
    if (param->description != NULL && param->description[0] != '\0') {
        hone__buf text;
        hone__buf_init(&text, 1024);
        hone__text_clean(&text, param->description, 200, true);
        ok = text.status == HONE_OK && text.data != NULL && cJSON_AddStringToObject(schema, "description", text.data) != NULL;
        hone__buf_free(&text);
    }
    if (param->kind != HONE_KIND_LIST && param->kind != HONE_KIND_PERMUTATION)
        return ok && fill_domain(schema, &param->domain);
    ok = ok && cJSON_AddStringToObject(schema, "type", "array") != NULL;
    cJSON *items = ok ? cJSON_AddObjectToObject(schema, "items") : NULL;
    if (items == NULL)
        return false;
    if (param->kind == HONE_KIND_PERMUTATION)
        ok = cJSON_AddStringToObject(items, "type", "integer") != NULL && cJSON_AddNumberToObject(items, "minimum", 0) != NULL &&
             cJSON_AddNumberToObject(items, "maximum", param->slot_count - 1) != NULL &&
             cJSON_AddTrueToObject(schema, "uniqueItems") != NULL;
    else
        ok = fill_domain(items, &param->domain);
    return ok && cJSON_AddNumberToObject(schema, "minItems", param->slot_count) != NULL &&
           cJSON_AddNumberToObject(schema, "maxItems", param->slot_count) != NULL;
}

static bool fill_config(cJSON *schema, const hone__space *space) {
    if (cJSON_AddStringToObject(schema, "type", "object") == NULL || cJSON_AddFalseToObject(schema, "additionalProperties") == NULL)
        return false;
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    for (uint32_t i = 0; i < space->param_count; i++) {
        cJSON *one = properties == NULL ? NULL : cJSON_AddObjectToObject(properties, space->param[i].name);
        if (one == NULL || !fill_param(one, &space->param[i]))
            return false;
    }
    return true;
}

static bool fill(cJSON *schema, const hone__space *space) {
    if (cJSON_AddStringToObject(schema, "type", "object") == NULL || cJSON_AddFalseToObject(schema, "additionalProperties") == NULL)
        return false;
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    cJSON *thought = properties == NULL ? NULL : cJSON_AddObjectToObject(properties, "thought");
    cJSON *configs = thought == NULL ? NULL : cJSON_AddObjectToObject(properties, "configs");
    cJSON *required = configs == NULL ? NULL : cJSON_AddArrayToObject(schema, "required");
    cJSON *items = required == NULL ? NULL : cJSON_AddObjectToObject(configs, "items");
    return items != NULL && cJSON_AddStringToObject(thought, "type", "string") != NULL &&
           cJSON_AddStringToObject(configs, "type", "array") != NULL && cJSON_AddItemToArray(required, cJSON_CreateString("thought")) &&
           cJSON_AddItemToArray(required, cJSON_CreateString("configs")) && fill_config(items, space);
}

cJSON *hone__prompt_schema(const hone__space *space) {
    cJSON *schema = cJSON_CreateObject();
    if (schema != NULL && !fill(schema, space)) {
        cJSON_Delete(schema);
        schema = NULL;
    }
    return schema;
}
