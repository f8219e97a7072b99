/* explain.c: hone_explain: every tier, what was considered and field by field why it did not match (spec/json.md, "explain"). */
#include "alloc.h"
#include "holds.h"
#include "layer.h"
#include "lookup.h"
#include "versions.h"

#include <string.h>

/* ---- other versions of the kernel ---- */

static void print_version(hone__buf *buf, const hone__query *query, const hone__version *other) {
    hone__kernel_info info = {.name = NULL};
    hone__buf fields;
    hone__buf_init(&fields, 512);
    if (hone__layers_get_kernel(query->cache, other->id, &info, NULL) == HONE_OK) {
        hone__kernel_info_compare(&fields, &info, query->kernel);
        hone__kernel_info_clear(&info);
    } else {
        hone__buf_text(&fields, "unknown (no layer keeps a text of that version)");
    }
    hone__buf_text(buf, "{\"kernel_id\":");
    hone__print_id(buf, other->id);
    hone__buf_printf(buf, ",\"entries\":%llu,\"differs\":", (unsigned long long)other->entries);
    hone__buf_json_string(buf, fields.length > 0 ? fields.data : "");
    hone__buf_char(buf, '}');
    hone__buf_free(&fields);
}

static void print_versions(hone__buf *buf, const hone__query *query) {
    hone__versions all;
    hone__versions_find(&all, query->cache, query->kernel);
    hone__buf_text(buf, ",\"other_versions\":[");
    for (uint32_t i = 0; i < all.count; i++) {
        hone__buf_text(buf, i > 0 ? "," : "");
        print_version(buf, query, &all.found[i]);
    }
    hone__buf_char(buf, ']');
}

/* ---- the whole ---- */

static void print_question(hone__buf *buf, const hone__query *query) {
    hone__buf_text(buf, ",\"kernel\":{\"name\":");
    hone__buf_json_string(buf, query->kernel->name);
    hone__buf_text(buf, ",\"id\":");
    hone__print_id(buf, query->key.kernel);
    hone__buf_text(buf, "},\"device\":{\"name\":");
    hone__buf_json_string(buf, query->device->name);
    hone__buf_text(buf, ",\"id\":");
    hone__print_id(buf, query->key.device);
    hone__buf_text(buf, ",\"kind\":");
    hone__buf_json_string(buf, query->device->kind);
    hone__buf_text(buf, ",\"identity\":");
    hone__json_print(buf, query->device->identity);
    hone__buf_text(buf, "},\"problem\":{\"id\":");
    hone__print_id(buf, query->key.problem);
    hone__buf_text(buf, ",\"sizes\":[");
    static const char *const roles[] = {"exact", "bucket", "ignore"};
    static const char *const nears[] = {"snap", "divides", "fixed"};
    for (uint32_t i = 0; i < query->kernel->size_count; i++) {
        const hone__size *size = &query->kernel->size[i];
        hone__buf_printf(buf, "%s{\"name\":\"%s\",\"value\":%lld,\"role\":\"%s\",\"in_key\":", i > 0 ? "," : "", size->name,
                         (long long)query->problem.size[i], roles[size->role]);
        if (size->role == HONE_ROLE_IGNORE)
            hone__buf_text(buf, "null");
        else
            hone__buf_printf(buf, "%lld", (long long)hone__size_key_value(size, query->problem.size[i]));
        hone__buf_printf(buf, ",\"near\":\"%s\"}", nears[size->near]);
    }
    hone__buf_text(buf, "]}");
}

static void print_default(hone__buf *buf, const hone__query *query) {
    hone__buf why;
    hone__buf_init(&why, HONE_REASON_MAX);
    const hone__space *space = query->kernel->space;
    bool valid = hone__space_holds(space, query->problem.size, &space->base, &why);
    hone__buf_printf(buf, ",{\"tier\":\"default\",\"matched\":%s,\"reason\":", valid ? "true" : "false");
    hone__buf_json_string(buf, valid ? "" : why.length > 0 ? why.data : "a constraint does not hold");
    hone__buf_text(buf, ",\"candidates\":[],\"omitted\":0}");
    hone__buf_free(&why);
}

static void print_tiers(hone__buf *buf, const hone__query *query, const hone__report *report) {
    static const char *const names[] = {"exact", "near_shape", "near_device"};
    hone__buf_text(buf, ",\"tiers\":[");
    for (int tier = 0; tier < 3; tier++) {
        hone__buf_printf(buf, "%s{\"tier\":\"%s\",\"matched\":%s,\"reason\":", tier > 0 ? "," : "", names[tier],
                         report->matched[tier] ? "true" : "false");
        hone__buf_json_string(buf, report->matched[tier] ? "" : report->reason[tier]);
        hone__buf_text(buf, ",\"candidates\":");
        if (report->candidates[tier] != NULL)
            hone__json_print(buf, report->candidates[tier]);
        else
            hone__buf_text(buf, "[]");
        hone__buf_printf(buf, ",\"omitted\":%u}", report->omitted[tier]);
    }
    print_default(buf, query);
    hone__buf_char(buf, ']');
}

static void print_failure(hone__buf *buf, const hone__query *query) {
    hone__failure failure = {.reason = NULL};
    hone__buf_text(buf, ",\"failure\":");
    if (query->cache == NULL || hone__cache_get_failure(query->cache, &query->key, &failure, NULL) != HONE_OK) {
        hone__buf_text(buf, "null");
        return;
    }
    hone__buf_text(buf, "{\"reason\":");
    hone__buf_json_string(buf, failure.reason);
    hone__buf_printf(buf, ",\"created_unix_s\":%lld,\"expires_unix_s\":%lld}", (long long)failure.created_unix_s,
                     (long long)failure.expires_unix_s);
    hone__failure_clear(&failure);
}

static void print_explanation(hone__buf *buf, const hone_answer *answer, const hone__report *report) {
    const hone__query *query = &answer->query;
    hone__buf_printf(buf, "{\"match\":\"%s\",\"key\":", hone_match_name(answer->match));
    hone__print_id(buf, query->key.key);
    hone__buf_text(buf, ",\"layers\":[");
    for (uint32_t i = 0; i < hone__layer_count(query->cache); i++) {
        hone__buf_text(buf, i > 0 ? "," : "");
        hone__buf_json_string(buf, hone__layer_name(query->cache, i));
    }
    hone__buf_char(buf, ']');
    print_question(buf, query);
    print_tiers(buf, query, report);
    print_versions(buf, query);
    print_failure(buf, query);
    hone__buf_text(buf, ",\"answer\":");
    if (answer->match == HONE_MATCH_NONE)
        hone__buf_text(buf, "null");
    else
        hone__answer_print(buf, answer);
    hone__buf_char(buf, '}');
}

hone_status hone_explain(char **json, const hone_cache *cache, const hone_kernel *kernel, const hone_device *device,
                         const hone_problem *problem, hone_error *err) {
    *json = NULL;
    hone__query query;
    HONE_TRY(hone__lookup_query(&query, cache, kernel, device, problem, err));
    hone_answer *answer = hone__alloc(sizeof *answer);
    hone__report *report = hone__alloc(sizeof *report);
    hone_status status = answer != NULL && report != NULL ? HONE_OK : HONE_E_NOMEM;
    hone__buf buf;
    hone__buf_init(&buf, 8u << 20);
    if (status == HONE_OK) {
        for (int tier = 0; tier < 3; tier++)
            report->candidates[tier] = cJSON_CreateArray();
        status = hone__lookup_resolve(answer, &query, report, NULL);
        if (status == HONE_E_CONFIG)
            status = HONE_OK; /* that there is no answer is what is explained */
    }
    if (status == HONE_OK)
        print_explanation(&buf, answer, report);
    for (int tier = 0; tier < 3 && report != NULL; tier++)
        cJSON_Delete(report->candidates[tier]);
    hone__free(report);
    hone_answer_free(answer);
    *json = status == HONE_OK ? hone__buf_take(&buf) : NULL;
    hone__buf_free(&buf);
    if (*json == NULL)
        return hone__fail(err, HONE_E_NOMEM, "lookup", "no memory for an explanation");
    return HONE_OK;
}
