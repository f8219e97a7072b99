/* bench_reply.c: an evaluator's replies to measurements.  Everything in them may be wrong: types, signs, NaN, sizes, text. */
#include "alloc.h"
#include "bench_internal.h"
#include "stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void hone__measurement_fail(hone__measurement *result, hone__outcome outcome, const char *reason) {
    *result = (hone__measurement){.outcome = outcome, .compile_ms = result->compile_ms};
    if (outcome == HONE_OUTCOME_WRONG || outcome == HONE_OUTCOME_NAN)
        result->accuracy = HONE_ACCURACY_FAILED;
    hone__text_clean_line(result->reason, sizeof result->reason, reason);
    if (result->reason[0] == '\0')
        (void)snprintf(result->reason, sizeof result->reason, "%s, no reason given", hone__outcome_name(outcome));
}

static void read_resources(const cJSON *reply, hone__measurement *result) {
    const cJSON *resources = cJSON_GetObjectItemCaseSensitive(reply, "resources");
    if (!cJSON_IsObject(resources))
        return;
    hone__buf text;
    hone__buf_init(&text, 4096);
    const cJSON *item;
    cJSON_ArrayForEach(item, resources) {
        if (!cJSON_IsNumber(item) && !cJSON_IsString(item) && !cJSON_IsBool(item))
            continue;
        hone__buf_printf(&text, "%s%.32s=", text.length > 0 ? " " : "", item->string);
        if (cJSON_IsString(item))
            hone__buf_printf(&text, "%.32s", item->valuestring);
        else
            hone__json_print(&text, item);
    }
    if (text.status == HONE_OK && text.length > 0)
        hone__text_clean_line(result->resources, sizeof result->resources, text.data);
    hone__buf_free(&text);
}

static double ratio_from(const cJSON *object, const char *name) {
    double value = hone__json_number(object, name, 0.0);
    return isfinite(value) && value >= 0.0 ? value : 0.0;
}

void hone__reply_error(const cJSON *reply, hone__measurement *result) {
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(reply, "error");
    const char *code = hone__json_string(error, "code");
    const char *message = hone__json_string(error, "message");
    const char *stage = hone__json_string(error, "stage");
    hone__outcome outcome = code != NULL ? hone__outcome_from_name(code) : HONE_OUTCOME_COUNT;
    char reason[2 * HONE_LIMIT_REASON_BYTES];
    if (outcome == HONE_OUTCOME_COUNT || outcome == HONE_OUTCOME_OK || outcome == HONE_OUTCOME_SLOW) {
        outcome = HONE_OUTCOME_EVALUATOR;
        (void)snprintf(reason, sizeof reason, "the evaluator answered %.40s%s%.40s: %.600s", code != NULL ? code : "an error without a code",
                       stage != NULL ? " at " : "", stage != NULL ? stage : "", message != NULL ? message : "no message");
    } else {
        (void)snprintf(reason, sizeof reason, "%.1000s", message != NULL ? message : "");
    }
    hone__measurement_fail(result, outcome, reason);
    result->max_error = ratio_from(error, "max_error");
    read_resources(reply, result);
}

bool hone__reply_compile(const cJSON *reply, int64_t *handle, hone__measurement *result) {
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"))) {
        hone__reply_error(reply, result);
        return false;
    }
    result->compile_ms = ratio_from(reply, "compile_ms");
    if (!hone__json_int(cJSON_GetObjectItemCaseSensitive(reply, "handle"), handle) || *handle < 0) {
        hone__measurement_fail(result, HONE_OUTCOME_EVALUATOR, "the evaluator's answer to compile has no handle (an integer from 0)");
        return false;
    }
    read_resources(reply, result);
    return true;
}

bool hone__sample_sane(const cJSON *item, double *ns) {
    if (!cJSON_IsNumber(item))
        return false;
    *ns = item->valuedouble;
    return isfinite(*ns) && *ns >= HONE_BENCH_SAMPLE_NS_MIN && *ns <= HONE_BENCH_SAMPLE_NS_MAX;
}

/* "samples_ns": [...].  Returns a static complaint or NULL. */
static const char *read_samples(const cJSON *samples, hone__measurement *result) {
    uint32_t count = 0;
    const cJSON *item;
    double *values = hone__alloc_array(HONE_LIMIT_SAMPLES, sizeof *values);
    const char *complaint = values == NULL ? "out of memory for samples" : NULL;
    cJSON_ArrayForEach(item, samples) {
        if (complaint != NULL)
            break;
        if (count == HONE_LIMIT_SAMPLES)
            complaint = "samples_ns holds more samples than allowed";
        else if (!hone__sample_sane(item, &values[count++]))
            complaint = "samples_ns holds a value that is no possible time (NaN, negative, zero or absurd)";
    }
    if (complaint == NULL && count == 0)
        complaint = "samples_ns is empty";
    if (complaint == NULL) {
        hone__summary summary = hone__stats_summary(values, count, 0.95);
        result->median_ns = summary.median;
        result->low_ns = summary.low;
        result->high_ns = summary.high;
        result->mad_ns = summary.mad;
        result->samples = count;
    }
    hone__free(values);
    return complaint;
}

static const char *read_summary(const cJSON *summary, hone__measurement *result) {
    int64_t count = 0;
    result->mad_ns = hone__json_number(summary, "mad_ns", 0.0);
    if (!hone__sample_sane(cJSON_GetObjectItemCaseSensitive(summary, "median_ns"), &result->median_ns) ||
        !hone__sample_sane(cJSON_GetObjectItemCaseSensitive(summary, "low_ns"), &result->low_ns) ||
        !hone__sample_sane(cJSON_GetObjectItemCaseSensitive(summary, "high_ns"), &result->high_ns) || !isfinite(result->mad_ns) ||
        result->mad_ns < 0.0 || result->mad_ns > result->median_ns)
        return "summary holds a value that is no possible time";
    if (result->low_ns > result->median_ns || result->median_ns > result->high_ns)
        return "summary is not ordered low <= median <= high";
    if (!hone__json_int(cJSON_GetObjectItemCaseSensitive(summary, "samples"), &count) || count < 1 || count > UINT32_MAX)
        return "summary has no count of samples";
    result->samples = (uint32_t)count;
    return NULL;
}

void hone__reply_measure(const cJSON *reply, hone__measurement *result) {
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"))) {
        hone__reply_error(reply, result);
        return;
    }
    const char *complaint;
    const cJSON *samples = cJSON_GetObjectItemCaseSensitive(reply, "samples_ns");
    const cJSON *summary = cJSON_GetObjectItemCaseSensitive(reply, "summary");
    if (cJSON_IsArray(samples))
        complaint = read_samples(samples, result);
    else if (cJSON_IsObject(summary))
        complaint = read_summary(summary, result);
    else
        complaint = "neither samples_ns nor summary";
    const char *accuracy = hone__json_string(reply, "accuracy");
    if (accuracy == NULL && cJSON_GetObjectItemCaseSensitive(reply, "accuracy") != NULL)
        accuracy = ""; /* no string */
    if (complaint == NULL && accuracy != NULL && strcmp(accuracy, "passed") != 0 && strcmp(accuracy, "unchecked") != 0)
        complaint = "accuracy is neither \"passed\" nor \"unchecked\"";
    const char *outcome = hone__json_string(reply, "outcome");
    if (complaint == NULL && outcome != NULL && strcmp(outcome, "ok") != 0 && strcmp(outcome, "abandoned") != 0)
        complaint = "outcome is neither \"ok\" nor \"abandoned\"";
    if (complaint != NULL) {
        char reason[256];
        (void)snprintf(reason, sizeof reason, "the evaluator's answer to measure is refused: %s", complaint);
        hone__measurement_fail(result, HONE_OUTCOME_EVALUATOR, reason);
        return;
    }
    result->outcome = outcome != NULL && strcmp(outcome, "abandoned") == 0 ? HONE_OUTCOME_SLOW : HONE_OUTCOME_OK;
    result->accuracy = accuracy != NULL && strcmp(accuracy, "passed") == 0 ? HONE_ACCURACY_PASSED : HONE_ACCURACY_UNCHECKED;
    result->max_error = ratio_from(reply, "max_error");
    read_resources(reply, result);
}
