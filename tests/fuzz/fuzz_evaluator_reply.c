/* fuzz_evaluator_reply.c: any bytes as an evaluator's reply.  Oracle: whatever comes out is a sane measurement with printable text. */
#include "bench_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const hone__measurement *result) {
    bool timed = result->outcome == HONE_OUTCOME_OK || result->outcome == HONE_OUTCOME_SLOW;
    if ((unsigned)result->outcome >= HONE_OUTCOME_COUNT)
        abort();
    if (timed && (!(result->low_ns > 0.0) || !(result->low_ns <= result->median_ns) || !(result->median_ns <= result->high_ns) ||
                  !isfinite(result->high_ns) || !(result->mad_ns >= 0.0) || result->samples == 0))
        abort();
    if (!timed && (result->reason[0] == '\0' || result->median_ns > 0.0))
        abort();
    if (!(result->max_error >= 0.0) || !(result->compile_ms >= 0.0))
        abort();
    if (memchr(result->reason, '\0', sizeof result->reason) == NULL || memchr(result->resources, '\0', sizeof result->resources) == NULL)
        abort();
    for (const char *c = result->reason; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cJSON *reply = NULL;
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (hone__json_parse(&reply, text, size, "reply", NULL) == HONE_OK) {
        int64_t handle = -1;
        hone__measurement compiled = {.outcome = HONE_OUTCOME_OK, .median_ns = 0.0};
        if (!hone__reply_compile(reply, &handle, &compiled))
            check(&compiled);
        else if (handle < 0)
            abort();
        hone__measurement measured = {.outcome = HONE_OUTCOME_COUNT};
        hone__reply_measure(reply, &measured);
        check(&measured);
    }
    cJSON_Delete(reply);
    free(text);
    return 0;
}
