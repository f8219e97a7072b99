/* prompt_only.c: hone_prompt: what the model would be sent first, without sending it. */
#include "alloc.h"
#include "clock.h"
#include "tuning.h"

static void print(hone__buf *out, const hone__tuning *tuning, const char *user, const cJSON *schema) {
    hone__buf_printf(out, "{\"hone\":1,\"provider\":\"%s\",\"model\":",
                     tuning->llm == NULL ? "none" : hone__provider_name(hone__llm_provider(tuning->llm)));
    hone__buf_json_string(out, tuning->llm == NULL ? "" : hone__llm_model(tuning->llm));
    hone__buf_text(out, ",\"system\":");
    hone__buf_json_string(out, hone__prompt_system());
    hone__buf_text(out, ",\"user\":");
    hone__buf_json_string(out, user);
    hone__buf_text(out, ",\"schema\":");
    if (schema != NULL)
        hone__json_print(out, schema);
    else
        hone__buf_text(out, "null");
    hone__buf_char(out, '}');
}

static hone_status prompt_json(char **json, const hone__tuning *tuning, hone_error *err) {
    hone__buf user, out;
    hone__buf_init(&user, HONE_LIMIT_PROMPT_BYTES);
    hone__buf_init(&out, 8 * (size_t)HONE_LIMIT_PROMPT_BYTES);
    hone__prompt_input input = {.kernel = tuning->kernel,
                                .bound = tuning->bound,
                                .device = tuning->device,
                                .neighbour = tuning->neighbour,
                                .neighbour_count = tuning->neighbour_count,
                                .configs_wanted = tuning->options.configs_per_round,
                                .round = 1,
                                .rounds_max = tuning->options.rounds_max,
                                .trials_left = tuning->options.trials_max};
    hone__prompt_initial(&user, &input);
    cJSON *schema = hone__prompt_schema(tuning->kernel->space);
    if (user.status == HONE_OK && user.data != NULL) {
        print(&out, tuning, user.data, schema);
        *json = hone__buf_take(&out);
    }
    cJSON_Delete(schema);
    hone__buf_free(&user);
    hone__buf_free(&out);
    return *json != NULL ? HONE_OK : hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the prompt");
}

static hone_status prepare(hone__tuning *tuning, const hone_problem *problem, hone_error *err) {
    HONE_TRY(hone__tuning_problem(tuning, problem, err));
    tuning->key = hone__key_make(tuning->kernel, tuning->caller_device, tuning->sizes);
    HONE_TRY(hone__bound_new(&tuning->bound, tuning->kernel->space, tuning->sizes, err));
    HONE_TRY(hone__tuning_llm(tuning, err));
    HONE_TRY(hone__tuning_device(tuning, err));
    hone__tuning_recall(tuning);
    hone__tuning_neighbours(tuning);
    return HONE_OK;
}

hone_status hone_prompt(char **json, const hone_cache *cache, const hone_kernel *kernel, const hone_device *device,
                        const hone_problem *problem, const hone_tune_options *options, hone_error *err) {
    *json = NULL;
    hone__tuning *tuning = hone__alloc(sizeof *tuning);
    if (tuning == NULL)
        return hone__fail(err, HONE_E_NOMEM, "tune", "no memory for a prompt");
    tuning->kernel = kernel;
    tuning->caller_device = device;
    tuning->reader = cache;
    tuning->started_ns = hone__clock_ns();
    hone_status status = hone__tuning_options(&tuning->options, options, err);
    if (status == HONE_OK)
        status = prepare(tuning, problem, err);
    if (status == HONE_OK)
        status = prompt_json(json, tuning, err);
    hone__tuning_clear(tuning);
    hone__free(tuning);
    return status;
}
