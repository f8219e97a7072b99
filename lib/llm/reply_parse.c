/* reply_parse.c: from a model's answer to valid configs (spec/prompt.md section 4).  reply_scan.c finds the values; here it is decided
 * which of them are configs, and each is read, checked, mended within narrow bounds, or rejected with a reason for the model. */
#include "alloc.h"
#include "prompt_text.h"
#include "reply_scan.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { REJECTIONS_MAX = 64, CANDIDATES_MAX = 4096, REPAIRS_MAX = 64, SHOWN_BYTES = 160, REASON_BYTES = 400, THOUGHT_BYTES = 500,
       STRANGERS_MAX = 2048 /* members that name no parameter, in all configs: looking for what was meant is slow */ };

typedef struct intake {
    hone__parsed_reply *out;
    const hone__bound *bound;
    const hone__space *space;
    uint32_t max;
    uint32_t candidates, repairs, rejections_lost, strangers;
    bool saw_value, full, part;
    bool thought_named;   /* found under "thought" itself */
    hone_status status;   /* HONE_OK or HONE_E_NOMEM */
} intake;

/* ---- results ---- */

static char *cleaned(const char *text, size_t max) {
    hone__buf buf;
    hone__buf_init(&buf, max + 8);
    hone__text_clean(&buf, text, max, true);
    return hone__buf_take(&buf);
}

/* A note for the model about one config (`item`, may be NULL): why it was rejected, or what was mended. */
static void reject(intake *parse, const cJSON *item, const char *reason) {
    hone__parsed_reply *out = parse->out;
    if (out->rejection_count == REJECTIONS_MAX) {
        parse->rejections_lost++;
        return;
    }
    if (out->rejection == NULL)
        out->rejection = hone__alloc_array(REJECTIONS_MAX + 1, sizeof *out->rejection);
    hone__buf shown;
    hone__buf_init(&shown, SHOWN_BYTES + 64); /* what does not fit is not printed: the item may be large */
    if (item != NULL)
        hone__json_print(&shown, item);
    hone__rejection rejection = {.config = cleaned(shown.data == NULL ? "" : shown.data, SHOWN_BYTES),
                                 .reason = cleaned(reason, REASON_BYTES)};
    hone__buf_free(&shown);
    if (out->rejection == NULL || rejection.config == NULL || rejection.reason == NULL) {
        hone__free(rejection.config);
        hone__free(rejection.reason);
        parse->status = HONE_E_NOMEM;
        return;
    }
    out->rejection[out->rejection_count++] = rejection;
}

static void accept(intake *parse, const hone__config *config) {
    hone__parsed_reply *out = parse->out;
    for (uint32_t i = 0; i < out->count; i++) {
        if (hone__config_equal(&out->config[i], config))
            return;
    }
    if (out->count == parse->max) {
        parse->full = true;
        return;
    }
    hone__config *grown = hone__realloc(out->config, (out->count + 1) * sizeof *grown);
    if (grown == NULL) {
        parse->status = HONE_E_NOMEM;
        return;
    }
    out->config = grown;
    out->config[out->count++] = *config;
}

/* ---- one config ---- */

static bool names_param(const hone__space *space, const char *name) {
    for (uint32_t i = 0; i < space->param_count; i++) {
        if (strcasecmp(space->param[i].name, name) == 0)
            return true;
    }
    return false;
}

/* The same member twice: one of two equal ones goes; of different ones nobody knows which is meant. */
static bool merge_duplicates(cJSON *object, char *reason, size_t bytes) {
    for (cJSON *a = object->child; a != NULL; a = a->next) {
        for (cJSON *b = a->next, *next; b != NULL; b = next) {
            next = b->next;
            if (strcmp(a->string, b->string) != 0)
                continue;
            bool plain = !cJSON_IsObject(a) && !cJSON_IsArray(a);
            if (!plain || !cJSON_Compare(a, b, true)) {
                (void)snprintf(reason, bytes, "%.64s is given twice with different values", a->string);
                return false;
            }
            cJSON_Delete(cJSON_DetachItemViaPointer(object, b));
        }
    }
    return true;
}

/* How many parameters differ, and the last that does. */
static uint32_t changed_params(const hone__space *space, const hone__config *a, const hone__config *b, const hone__param **which) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        if (memcmp(&a->slot[param->first_slot], &b->slot[param->first_slot], param->slot_count * sizeof a->slot[0]) != 0) {
            count++;
            *which = param;
        }
    }
    return count;
}

/* A config that breaks a constraint is taken only when one changed parameter makes it valid, and the model is told. */
static void mend_or_reject(intake *parse, const cJSON *item, const hone__config *wanted, const hone__buf *why) {
    const char *reason = why->data == NULL ? "not valid for these sizes" : why->data;
    hone__config mended;
    const hone__param *param = NULL;
    hone__rng rng;
    hone__rng_seed(&rng, 1);
    if (parse->repairs++ >= REPAIRS_MAX || !hone__bound_repair(parse->bound, wanted, &rng, &mended) ||
        changed_params(parse->space, wanted, &mended, &param) != 1 || !hone__bound_valid(parse->bound, &mended, NULL)) {
        reject(parse, item, reason);
        return;
    }
    hone__buf text;
    hone__buf_init(&text, 2048);
    hone__buf_printf(&text, "repaired: %s changed from ", param->name);
    hone__text_param_value(&text, param, wanted);
    hone__buf_text(&text, " to ");
    hone__text_param_value(&text, param, &mended);
    hone__buf_text(&text, ", because ");
    hone__text_clean(&text, reason, REASON_BYTES, true);
    reject(parse, item, text.data == NULL ? "repaired" : text.data);
    hone__buf_free(&text);
    accept(parse, &mended);
}

/* False, with a reason, when reading the object would cost more than it can be worth. */
static bool is_affordable(intake *parse, const cJSON *item, char *reason, size_t bytes) {
    int members = cJSON_GetArraySize(item);
    if (members > 4 * (int)HONE_LIMIT_PARAMS) {
        (void)snprintf(reason, bytes, "%d members; the space has %u parameters", members, (unsigned)parse->space->param_count);
        return false;
    }
    for (const cJSON *member = item->child; member != NULL; member = member->next)
        parse->strangers += !names_param(parse->space, member->string);
    (void)snprintf(reason, bytes, "too many members in this reply name no parameter");
    return parse->strangers <= STRANGERS_MAX;
}

static void take_config(intake *parse, cJSON *item) {
    char reason[160];
    if (!is_affordable(parse, item, reason, sizeof reason)) {
        reject(parse, item, reason);
        return;
    }
    if (!merge_duplicates(item, reason, sizeof reason)) {
        reject(parse, item, reason);
        return;
    }
    hone__config config;
    hone_error err = {0};
    hone__buf notes, why;
    hone__buf_init(&notes, 4096);
    hone__buf_init(&why, 4096);
    hone_status status = hone__config_read(parse->space, item, true, &config, &notes, &err);
    if (status == HONE_E_NOMEM) {
        parse->status = status;
    } else if (status != HONE_OK) {
        reject(parse, item, err.message);
    } else if (!hone__bound_valid(parse->bound, &config, &why)) {
        mend_or_reject(parse, item, &config, &why);
    } else {
        if (notes.length > 0) {
            hone__buf_clear(&why);
            hone__buf_text(&why, "taken, but mended: ");
            hone__text_clean(&why, notes.data, REASON_BYTES, true);
            reject(parse, item, why.data == NULL ? "mended" : why.data);
        }
        accept(parse, &config);
    }
    hone__buf_free(&notes);
    hone__buf_free(&why);
}

/* ---- finding configs in a value ---- */

static bool is_one_of(const char *name, const char *const *names) {
    for (; *names != NULL; names++) {
        if (strcasecmp(name, *names) == 0)
            return true;
    }
    return false;
}

static bool names_configs(const char *name) {
    static const char *const names[] = {"configs", "config", "configurations", "configuration", "proposals", "candidates", NULL};
    return is_one_of(name, names);
}

static bool holds_containers(const cJSON *item) {
    return cJSON_IsObject(item) ||
           (cJSON_IsArray(item) && item->child != NULL && (cJSON_IsObject(item->child) || cJSON_IsArray(item->child)));
}

static bool is_wrapped_json(const cJSON *item) {
    return cJSON_IsString(item) && strchr(item->valuestring, '{') != NULL;
}

typedef enum object_kind { OBJECT_CONFIG, OBJECT_WRAPPER, OBJECT_EMPTY, OBJECT_UNKNOWN } object_kind;

/* By the first member that decides, so that an object cut short is never taken for another kind than the whole one. */
static object_kind kind_of(const hone__space *space, const cJSON *object) {
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        bool is_param = names_param(space, member->string);
        bool wraps = holds_containers(member) || is_wrapped_json(member) || (cJSON_IsArray(member) && !is_param);
        if (names_configs(member->string) && wraps)
            return OBJECT_WRAPPER;
        if (is_param)
            return OBJECT_CONFIG;
        if (holds_containers(member))
            return OBJECT_WRAPPER;
    }
    return object->child == NULL ? OBJECT_EMPTY : OBJECT_UNKNOWN;
}

static void take_thought(intake *parse, const cJSON *member) {
    static const char *const names[] = {"thought", "thoughts", "reasoning", "analysis", "explanation", "hypothesis", NULL};
    if (!cJSON_IsString(member) || member->string == NULL || member->valuestring[0] == '\0' || !is_one_of(member->string, names))
        return;
    bool named = strcasecmp(member->string, "thought") == 0;
    if (parse->out->thought != NULL && (parse->thought_named || !named))
        return;
    hone__free(parse->out->thought);
    parse->out->thought = cleaned(member->valuestring, THOUGHT_BYTES);
    parse->thought_named = named;
    if (parse->out->thought == NULL)
        parse->status = HONE_E_NOMEM;
}

static bool may_go_on(const intake *parse) {
    return parse->status == HONE_OK && !parse->full && parse->candidates < CANDIDATES_MAX;
}

static void scan_text(intake *parse, const char *text, size_t bytes, bool nested);

/* A container that is being walked: `list`: its elements are meant as configs. */
typedef struct place {
    cJSON *item, *next;
    bool list;
} place;

/* Decide on one object; true when it is to be walked. */
static bool visit_object(intake *parse, cJSON *item, bool in_list) {
    object_kind kind = kind_of(parse->space, item);
    if (kind == OBJECT_WRAPPER)
        return true;
    if (kind != OBJECT_CONFIG && !in_list)
        return false;
    parse->candidates++;
    if (hone__scan_is_open(item)) {
        if (item->child != NULL)
            reject(parse, item, "incomplete: the reply ends, or stops being JSON, inside this config");
    } else if (kind == OBJECT_UNKNOWN) {
        reject(parse, item, "names no parameter of the config space");
    } else {
        take_config(parse, item);
    }
    return false;
}

static void visit_scalar(intake *parse, const cJSON *item, bool in_list, bool nested) {
    take_thought(parse, item);
    if (is_wrapped_json(item) && !nested && (in_list || (item->string != NULL && names_configs(item->string)))) {
        scan_text(parse, item->valuestring, strlen(item->valuestring), true);
    } else if (in_list && item->string == NULL) {
        parse->candidates++;
        reject(parse, item, "not an object: each config is an object like {\"NAME\": value}");
    }
}

static void walk(intake *parse, cJSON *root, bool nested) {
    place stack[HONE_LIMIT_JSON_DEPTH + 1];
    uint32_t depth = 0;
    if (cJSON_IsObject(root) && !visit_object(parse, root, nested))
        return;
    stack[depth++] = (place){root, root->child, false};
    while (depth > 0 && may_go_on(parse)) {
        place *top = &stack[depth - 1];
        cJSON *item = top->next;
        if (item == NULL) {
            depth--;
            continue;
        }
        top->next = item->next;
        bool named = item->string != NULL && names_configs(item->string);
        bool in_list = top->list || named || (cJSON_IsArray(top->item) && cJSON_IsObject(item));
        bool go_down = cJSON_IsArray(item) || (cJSON_IsObject(item) && visit_object(parse, item, in_list));
        if (go_down && depth <= HONE_LIMIT_JSON_DEPTH)
            stack[depth++] = (place){item, item->child, cJSON_IsArray(item) && (named || top->list)};
        else if (!cJSON_IsObject(item) && !cJSON_IsArray(item))
            visit_scalar(parse, item, top->list, nested);
    }
}

static void scan_text(intake *parse, const char *text, size_t bytes, bool nested) {
    hone__reply_scan scan;
    hone__reply_scan_init(&scan, text, bytes);
    while (may_go_on(parse)) {
        cJSON *value;
        hone__found found = hone__reply_scan_next(&scan, &value);
        if (scan.out_of_memory)
            parse->status = HONE_E_NOMEM;
        if (found != HONE_FOUND_NONE && parse->status == HONE_OK) {
            parse->saw_value = true;
            parse->part = parse->part || found == HONE_FOUND_PART;
            walk(parse, value, nested);
        }
        cJSON_Delete(value);
        if (found == HONE_FOUND_NONE)
            return;
    }
}

/* ---- the whole ---- */

static void describe_problem(intake *parse, size_t bytes) {
    hone__parsed_reply *out = parse->out;
    if (out->count > 0)
        return;
    const char *text = bytes == 0             ? "the reply is empty"
                       : !parse->saw_value    ? "there is no JSON object in the reply"
                       : parse->candidates > 0 ? "no config in the reply could be used"
                       : parse->part          ? "the reply ends, or stops being JSON, before the first config is complete"
                                              : "the JSON in the reply holds no configs: {\"configs\": [{...}]} is wanted";
    if (parse->candidates > 0 && out->rejection_count > 0)
        (void)snprintf(out->problem, sizeof out->problem, "%s (%u rejected); the first: %.180s", text, (unsigned)out->rejection_count,
                       out->rejection[0].reason);
    else
        (void)snprintf(out->problem, sizeof out->problem, "%s", text);
}

hone_status hone__reply_parse(hone__parsed_reply *out, const char *text, size_t bytes, const hone__bound *bound, uint32_t max,
                              hone_error *err) {
    *out = (hone__parsed_reply){.count = 0};
    intake parse = {.out = out, .bound = bound, .space = hone__bound_space(bound), .max = max, .status = HONE_OK};
    /* The JSON room hooks cJSON to our allocator at its first use; values made before would be freed by the other one. */
    cJSON *hooked = NULL;
    if (hone__json_parse(&hooked, "0", 1, "reply", NULL) != HONE_OK)
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory to read the reply");
    cJSON_Delete(hooked);
    bool too_long = bytes > HONE_LIMIT_REPLY_BYTES;
    scan_text(&parse, text, too_long ? HONE_LIMIT_REPLY_BYTES : bytes, false);
    char more[96];
    if (parse.status == HONE_OK && (parse.full || parse.candidates >= CANDIDATES_MAX)) {
        (void)snprintf(more, sizeof more, "the reply holds more configs than the %u that are taken; the rest was not read",
                       (unsigned)out->count);
        reject(&parse, NULL, more);
    }
    if (parse.status == HONE_OK && parse.rejections_lost > 0) {
        (void)snprintf(more, sizeof more, "and %u more like these", (unsigned)parse.rejections_lost);
        hone__rejection last = {.config = cleaned("", 1), .reason = cleaned(more, sizeof more)};
        out->rejection[out->rejection_count++] = last; /* room for one more than REJECTIONS_MAX */
        if (last.config == NULL || last.reason == NULL)
            parse.status = HONE_E_NOMEM;
    }
    if (parse.status == HONE_OK && out->thought == NULL && (out->thought = hone__strdup("")) == NULL)
        parse.status = HONE_E_NOMEM;
    if (parse.status != HONE_OK) {
        hone__parsed_reply_clear(out);
        return hone__fail(err, parse.status, "llm", "no memory to read the reply");
    }
    describe_problem(&parse, bytes);
    return HONE_OK;
}

void hone__parsed_reply_clear(hone__parsed_reply *parsed) {
    for (uint32_t i = 0; i < parsed->rejection_count; i++) {
        hone__free(parsed->rejection[i].config);
        hone__free(parsed->rejection[i].reason);
    }
    hone__free(parsed->rejection);
    hone__free(parsed->config);
    hone__free(parsed->thought);
    *parsed = (hone__parsed_reply){.count = 0};
}
