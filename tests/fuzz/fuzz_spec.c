/* fuzz_spec.c: any bytes as a kernel spec: refused with a message that names the file, or a kernel that resolves without a crash and
 * whose default config is valid at the default sizes.  The corpus folder serves as the folder of sources. */
#include "alloc.h"
#include "holds.h"
#include "key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition, const char *what, const hone_error *err) {
    if (condition)
        return;
    (void)fprintf(stderr, "fuzz_spec: %s (%s)\n", what, err->message);
    abort();
}

static void resolve(const hone_kernel *kernel) {
    hone_problem problem;
    hone_error err = {0};
    hone_problem_init(kernel, &problem);
    must(hone__space_holds(kernel->space, problem.size, &kernel->space->base, NULL), "the default config is not valid", &err);
    cJSON *body = NULL;
    hone_status status = hone__kernel_prepare_json(kernel, problem.size, 1, &body, &err);
    must(status == HONE_OK, "prepare fails at the default sizes", &err);
    cJSON_Delete(body);
    for (uint32_t i = 0; i <= kernel->seed_count; i++) {
        const hone__config *config = i == kernel->seed_count ? &kernel->space->base : &kernel->seed[i];
        if (hone__kernel_compile_json(kernel, problem.size, config, &body, &err) == HONE_OK)
            cJSON_Delete(body);
        else
            must(err.message[0] != '\0', "no message", &err);
    }
    /* Sizes at their bounds may be refused, and must not crash. */
    for (uint32_t i = 0; i < kernel->size_count; i++)
        problem.size[i] = i % 2 == 0 ? kernel->size[i].min : kernel->size[i].max;
    if (hone__kernel_prepare_json(kernel, problem.size, 1, &body, &err) == HONE_OK)
        cJSON_Delete(body);
    (void)hone__space_holds(kernel->space, problem.size, &kernel->space->base, NULL);
    hone__buf bytes;
    hone__buf_init(&bytes, 64u << 20);
    hone__key_kernel_bytes(&bytes, kernel);
    hone__key_problem_bytes(&bytes, kernel, problem.size);
    must(bytes.status == HONE_OK, "no canonical bytes", &err);
    hone__buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hone_kernel *kernel = NULL;
    hone_error err = {0};
    size_t live = hone__alloc_live();
    hone_status status = hone_kernel_parse(&kernel, (const char *)data, size, HONE_SOURCE_DIR "/tests/fuzz/corpus/spec", "SPEC.json", &err);
    if (status == HONE_OK) {
        resolve(kernel);
        hone_kernel_free(kernel);
    } else {
        must(kernel == NULL, "a kernel beside an error", &err);
        must(status == HONE_E_SPEC || status == HONE_E_JSON || status == HONE_E_LIMIT, "unexpected status", &err);
        must(strncmp(err.message, "SPEC.json: ", 11) == 0, "the message does not name the file", &err);
        must(strchr(err.message, '\n') == NULL, "the message has more than one line", &err);
    }
    must(hone__alloc_live() == live, "leak", &err);
    return 0;
}
