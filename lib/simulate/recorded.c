/* recorded.c: reading a recorded space (spec/space.md): decompression with a bound, parameters as enums, rows as the list of valid configs. */
#include "recorded.h"
#include "alloc.h"
#include "utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- the file ---- */

static hone_status unpack(hone__buf *text, gzFile file, const char *path, hone_error *err) {
    char chunk[16384];
    for (;;) {
        int got = gzread(file, chunk, sizeof chunk);
        if (got < 0) {
            int code = Z_OK;
            const char *message = gzerror(file, &code);
            if (code == Z_ERRNO)
                return hone__fail_os(err, HONE_E_IO, "simulate", errno, "cannot read %.160s: %s", path, strerror(errno));
            return hone__fail(err, HONE_E_CORRUPT, "simulate", "%.160s: %.60s", path, message);
        }
        if (got == 0)
            break;
        hone__buf_bytes(text, chunk, (size_t)got);
        if (text->status == HONE_E_LIMIT)
            return hone__fail(err, HONE_E_LIMIT, "simulate", "%.160s holds more than %u bytes", path, HONE_LIMIT_RECORDED_BYTES);
        if (text->status != HONE_OK)
            return hone__fail(err, text->status, "simulate", "no memory for %.160s", path);
    }
    int code = Z_OK; /* a stream that ends too early is not an error of gzread */
    (void)gzerror(file, &code);
    return code == Z_BUF_ERROR ? hone__fail(err, HONE_E_CORRUPT, "simulate", "%.160s ends too early", path) : HONE_OK;
}

hone_status hone__recorded_load(hone__recorded **out, const char *path, hone_error *err) {
    *out = NULL;
    gzFile file = gzopen(path, "rb");
    if (file == NULL)
        return hone__fail_os(err, hone__status_of_errno(errno), "simulate", errno, "cannot open %.160s: %s", path, strerror(errno));
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_RECORDED_BYTES);
    hone_status status = unpack(&text, file, path, err);
    if (gzclose(file) != Z_OK && status == HONE_OK)
        status = hone__fail(err, HONE_E_CORRUPT, "simulate", "%.160s ends too early", path);
    if (status == HONE_OK)
        status = hone__recorded_parse(out, text.length > 0 ? text.data : "", text.length, path, err);
    hone__buf_free(&text);
    return status;
}

/* ---- the space ---- */

static int by_number(const void *a, const void *b) {
    double x = (*(cJSON *const *)a)->valuedouble, y = (*(cJSON *const *)b)->valuedouble;
    return (x > y) - (x < y);
}

/* One parameter as kernel.md writes it.  Numbers go in ascending order, so that neighbours in the domain are neighbours in value. */
static cJSON *param_spec(const cJSON *values) {
    int count = cJSON_GetArraySize(values), bools = 0, numbers = 0;
    const cJSON **item = hone__alloc_array((size_t)count + 1, sizeof *item);
    cJSON *spec = cJSON_CreateObject(), *list = cJSON_CreateArray(), *value;
    if (item == NULL || spec == NULL || list == NULL) {
        hone__free(item);
        cJSON_Delete(spec);
        cJSON_Delete(list);
        return NULL;
    }
    count = 0;
    for (value = values->child; value != NULL; value = value->next) {
        bools += cJSON_IsBool(value) ? 1 : 0;
        numbers += cJSON_IsNumber(value) ? 1 : 0;
        item[count++] = value;
    }
    if (numbers == count && count > 1)
        qsort(item, (size_t)count, sizeof *item, by_number);
    bool is_bool = bools == count && count > 0, complete = cJSON_AddStringToObject(spec, "kind", is_bool ? "bool" : "enum") != NULL;
    for (int i = 0; i < count && !is_bool; i++)
        complete = cJSON_AddItemToArray(list, cJSON_Duplicate(item[i], 1)) && complete;
    hone__free(item);
    if (is_bool || !cJSON_AddItemToObject(spec, "values", list)) {
        complete = complete && is_bool;
        cJSON_Delete(list);
    }
    if (complete)
        return spec;
    cJSON_Delete(spec);
    return NULL;
}

static hone_status read_space(hone__recorded *recorded, const cJSON *json, const char *label, hone_error *err) {
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(json, "params"), *values;
    if (!cJSON_IsObject(params) || params->child == NULL)
        return hone__fail(err, HONE_E_CORRUPT, "simulate", "%.120s: /params is not an object of lists", label);
    cJSON *spec = cJSON_CreateObject();
    cJSON *wanted = spec == NULL ? NULL : cJSON_AddObjectToObject(spec, "params");
    hone_status status = wanted == NULL ? hone__fail(err, HONE_E_NOMEM, "simulate", "%.120s: no memory for the space", label) : HONE_OK;
    cJSON_ArrayForEach(values, params) {
        if (status != HONE_OK)
            break;
        cJSON *param = cJSON_IsArray(values) ? param_spec(values) : NULL;
        if (param == NULL || !cJSON_AddItemToObject(wanted, values->string, param)) {
            cJSON_Delete(param);
            status = hone__fail(err, cJSON_IsArray(values) ? HONE_E_NOMEM : HONE_E_CORRUPT, "simulate", "%.120s: /params/%.40s is not a list",
                                label, values->string);
        }
    }
    if (status == HONE_OK)
        status = hone__space_parse(&recorded->space, spec, label, NULL, 0, err);
    cJSON_Delete(spec);
    return status;
}

/* Index of a value in a parameter's domain; UINT32_MAX when it is not there. */
static uint32_t index_of(const hone__domain *domain, const cJSON *value) {
    if (domain->kind == HONE_KIND_BOOL)
        return cJSON_IsBool(value) ? (uint32_t)cJSON_IsTrue(value) : UINT32_MAX;
    if (domain->type == HONE_SYMBOL_STRING) {
        for (uint32_t i = 0; cJSON_IsString(value) && i < domain->count; i++) {
            if (strcmp(domain->strings[i], value->valuestring) == 0)
                return i;
        }
        return UINT32_MAX;
    }
    uint32_t low = 0, high = cJSON_IsNumber(value) ? domain->count : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (domain->numbers[middle] < value->valuedouble)
            low = middle + 1;
        else
            high = middle;
    }
    return cJSON_IsNumber(value) && low < domain->count && !(domain->numbers[low] > value->valuedouble) ? low : UINT32_MAX;
}

/* Members that are no parameters (constants) are passed over. */
static hone_status read_config(const hone__space *space, const cJSON *json, const char *label, const char *where, uint32_t *slot,
                               hone_error *err) {
    const cJSON *at = json == NULL ? NULL : json->child; /* members usually come in the parameters' order */
    for (uint32_t p = 0; p < space->param_count; p++) {
        const hone__param *param = &space->param[p];
        bool next = at != NULL && at->string != NULL && strcmp(at->string, param->name) == 0;
        const cJSON *value = next ? at : cJSON_GetObjectItemCaseSensitive(json, param->name);
        slot[param->first_slot] = value == NULL ? UINT32_MAX : index_of(&param->domain, value);
        if (slot[param->first_slot] == UINT32_MAX)
            return hone__fail(err, HONE_E_CORRUPT, "simulate", "%.120s: %s: %.64s %s", label, where, param->name,
                              value == NULL ? "is missing" : "has a value that /params does not list");
        at = value->next;
    }
    return HONE_OK;
}

/* ---- the rows ---- */

static uint8_t failure_of(hone__recorded *recorded, const char *text) {
    const uint32_t most = sizeof recorded->reason / sizeof recorded->reason[0];
    for (uint32_t i = 0; i < recorded->reason_count; i++) {
        if (strcmp(recorded->reason[i], text) == 0)
            return (uint8_t)i;
    }
    if (recorded->reason_count < most) {
        char *copy = hone__strndup(text, strnlen(text, HONE_LIMIT_REASON_BYTES - 1));
        if (copy == NULL)
            return 0;
        recorded->reason[recorded->reason_count++] = copy;
    }
    return (uint8_t)(recorded->reason_count - 1);
}

typedef struct outcome {
    double time_ms;
    uint8_t failure;
} outcome;

static hone_status read_outcome(hone__recorded *recorded, const cJSON *row, const char *label, const char *where, outcome *out, hone_error *err) {
    const cJSON *time = cJSON_GetObjectItemCaseSensitive(row, "time_ms"), *error = cJSON_GetObjectItemCaseSensitive(row, "error");
    *out = (outcome){0};
    if (cJSON_IsString(error)) {
        out->failure = failure_of(recorded, error->valuestring);
        return HONE_OK;
    }
    if (!cJSON_IsNumber(time) || !isfinite(time->valuedouble) || time->valuedouble <= 1e-9 || time->valuedouble > 1e12)
        return hone__fail(err, HONE_E_CORRUPT, "simulate", "%.120s: %s has neither an error nor a time above 0", label, where);
    out->time_ms = time->valuedouble;
    return HONE_OK;
}

/* Sort times by the bound's rows. */
static hone_status assign(hone__recorded *recorded, const uint32_t *slots, const outcome *outcomes, const char *label, hone_error *err) {
    const uint32_t width = recorded->space->slot_count;
    recorded->time_ms = hone__alloc_array(recorded->row_count, sizeof *recorded->time_ms);
    recorded->failure = hone__alloc_array(recorded->row_count, sizeof *recorded->failure);
    if (recorded->time_ms == NULL || recorded->failure == NULL)
        return hone__fail(err, HONE_E_NOMEM, "simulate", "%.120s: no memory for the rows", label);
    recorded->best = UINT32_MAX;
    for (uint32_t i = 0; i < recorded->row_count; i++) {
        hone__config config = {{0}};
        memcpy(config.slot, slots + (size_t)i * width, width * sizeof *slots);
        uint32_t row = hone__bound_row(recorded->bound, &config);
        recorded->time_ms[row] = outcomes[i].time_ms;
        recorded->failure[row] = outcomes[i].failure;
        if (outcomes[i].time_ms > 0 && (recorded->best == UINT32_MAX || outcomes[i].time_ms < recorded->time_ms[recorded->best]))
            recorded->best = row;
    }
    if (recorded->best == UINT32_MAX)
        return hone__fail(err, HONE_E_CONFIG, "simulate", "%.120s: no config of it has run", label);
    return HONE_OK;
}

static hone_status read_rows(hone__recorded *recorded, const cJSON *json, const char *label, hone_error *err) {
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(json, "rows"), *row;
    uint32_t count = cJSON_IsArray(rows) ? (uint32_t)cJSON_GetArraySize(rows) : 0, i = 0;
    if (count == 0)
        return hone__fail(err, HONE_E_CORRUPT, "simulate", "%.120s: /rows is not a list with rows", label);
    if (count > HONE_LIMIT_RECORDED_ROWS)
        return hone__fail(err, HONE_E_LIMIT, "simulate", "%.120s: more than %u rows", label, HONE_LIMIT_RECORDED_ROWS);
    uint32_t *slots = hone__alloc_array((size_t)count * recorded->space->slot_count, sizeof *slots);
    outcome *outcomes = hone__alloc_array(count, sizeof *outcomes);
    hone_status status = slots == NULL || outcomes == NULL ? hone__fail(err, HONE_E_NOMEM, "simulate", "%.120s: no memory for the rows", label)
                                                           : HONE_OK;
    recorded->row_count = count;
    cJSON_ArrayForEach(row, rows) {
        if (status != HONE_OK)
            break;
        char where[32];
        (void)snprintf(where, sizeof where, "/rows/%u", i);
        const cJSON *config = cJSON_GetObjectItemCaseSensitive(row, "config");
        status = read_config(recorded->space, config, label, where, slots + (size_t)i * recorded->space->slot_count, err);
        if (status == HONE_OK)
            status = read_outcome(recorded, row, label, where, &outcomes[i], err);
        i++;
    }
    if (status == HONE_OK)
        status = hone__bound_new_listed(&recorded->bound, recorded->space, slots, count, err);
    if (status == HONE_OK)
        status = assign(recorded, slots, outcomes, label, err);
    hone__free(slots);
    hone__free(outcomes);
    return status;
}

/* The recorded default; without one (or when it is no row) the row nearest to the middle of every domain. */
static hone_status find_default(hone__recorded *recorded, const cJSON *json, const char *label, hone_error *err) {
    hone__space *space = recorded->space;
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(json, "default");
    hone__config wanted = {{0}};
    for (uint32_t s = 0; s < space->slot_count; s++)
        wanted.slot[s] = (space->param[s].domain.count - 1) / 2;
    if (cJSON_IsObject(given))
        HONE_TRY(read_config(space, given, label, "/default", wanted.slot, err));
    else if (given != NULL && !cJSON_IsNull(given))
        return hone__fail(err, HONE_E_CORRUPT, "simulate", "%.120s: /default is neither a config nor null", label);
    hone__rng rng;
    hone__rng_seed(&rng, 1);
    if (!hone__bound_repair(recorded->bound, &wanted, &rng, &space->base))
        return hone__fail(err, HONE_E_CONFIG, "simulate", "%.120s: no default", label);
    return HONE_OK;
}

/* One line of at most 200 bytes. */
static char *name_of(const char *text) {
    enum { NAME_BYTES = 200 };
    const char *whole = text == NULL || text[0] == '\0' ? "unnamed" : text;
    size_t bytes = strlen(whole);
    char *name = hone__strndup(whole, bytes > NAME_BYTES ? hone__utf8_cut(whole, NAME_BYTES) : bytes);
    for (char *at = name; at != NULL && *at != '\0'; at++)
        *at = (unsigned char)*at < ' ' ? ' ' : *at;
    return name;
}

hone_status hone__recorded_parse(hone__recorded **out, const char *text, size_t bytes, const char *label, hone_error *err) {
    *out = NULL;
    cJSON *json = NULL;
    HONE_TRY(hone__json_parse(&json, text, bytes, label, err));
    hone__recorded *recorded = hone__alloc(sizeof *recorded);
    hone_status status = recorded == NULL ? hone__fail(err, HONE_E_NOMEM, "simulate", "%.120s: no memory for it", label) : HONE_OK;
    if (status == HONE_OK && !cJSON_IsObject(json))
        status = hone__fail(err, HONE_E_CORRUPT, "simulate", "%.120s: not a JSON object", label);
    if (status == HONE_OK)
        status = read_space(recorded, json, label, err);
    if (status == HONE_OK)
        status = read_rows(recorded, json, label, err);
    if (status == HONE_OK)
        status = find_default(recorded, json, label, err);
    if (status == HONE_OK) {
        const char *kernel = hone__json_string(json, "kernel"), *gpu = hone__json_string(json, "gpu");
        recorded->kernel = name_of(kernel);
        recorded->gpu = name_of(gpu);
        recorded->about = hone__recorded_about(json);
        if (recorded->kernel == NULL || recorded->gpu == NULL || recorded->about == NULL)
            status = hone__fail(err, HONE_E_NOMEM, "simulate", "%.120s: no memory for it", label);
    }
    cJSON_Delete(json);
    if (status != HONE_OK)
        hone__recorded_free(recorded);
    else
        *out = recorded;
    return status;
}

void hone__recorded_free(hone__recorded *recorded) {
    if (recorded == NULL)
        return;
    for (uint32_t i = 0; i < recorded->reason_count; i++)
        hone__free(recorded->reason[i]);
    hone__bound_free(recorded->bound);
    hone__space_free(recorded->space);
    hone__free(recorded->time_ms);
    hone__free(recorded->failure);
    hone__free(recorded->kernel);
    hone__free(recorded->gpu);
    hone__free(recorded->about);
    hone__free(recorded);
}
