/* model.c: see model.h. */
#include "model.h"
#include "alloc.h"
#include "transcript.h"

#include <string.h>

enum { ROUNDS = 4, CONFIGS_PER_ROUND = 15, INITIAL_RANDOM = 5 }; /* as hone_tune */

static int recall_nothing(void *user, uint32_t index, char **request, char **reply, uint64_t *tokens_in, uint64_t *tokens_out, double *seconds,
                          uint32_t *told) {
    (void)user, (void)index, (void)request, (void)reply, (void)tokens_in, (void)tokens_out, (void)seconds, (void)told;
    return 0;
}

static hone_status record(void *user, uint32_t index, const char *request, const char *reply, uint64_t tokens_in, uint64_t tokens_out,
                          double seconds, uint32_t told) {
    hone__simulated_model *model = user;
    (void)told;
    if (request != NULL) {
        hone__free(model->request);
        model->request = hone__strdup(request);
    }
    if (reply == NULL || model->request == NULL)
        return model->request == NULL ? HONE_E_NOMEM : HONE_OK;
    hone__transcript_line line = {.index = index,
                                  .request = model->request,
                                  .reply = reply,
                                  .tokens_in = tokens_in,
                                  .tokens_out = tokens_out,
                                  .seconds = seconds,
                                  .provider = hone__provider_name(hone__llm_provider(model->llm)),
                                  .model = hone__llm_model(model->llm)};
    return hone__transcript_append(model->transcript, &line, NULL);
}

static hone_status describe(hone__simulated_model *model, const hone__recorded *recorded, const char *about, hone_error *err) {
    hone__buf text;
    hone__buf_init(&text, HONE_LIMIT_PROMPT_BYTES);
    hone__buf_text(&text, recorded->about);
    hone__buf_text(&text, about == NULL ? "" : about);
    model->description = hone__buf_take(&text);
    if (model->description == NULL)
        return hone__fail(err, HONE_E_NOMEM, "simulate", "no memory for the description, or it is longer than %u bytes", HONE_LIMIT_PROMPT_BYTES);
    model->device.kind = hone__strdup("gpu");
    if (model->device.kind == NULL)
        return hone__fail(err, HONE_E_NOMEM, "simulate", "no memory for the device");
    model->kernel.name = recorded->kernel;
    model->kernel.description = model->description;
    model->kernel.language = HONE_LANGUAGE_EXTERNAL;
    model->kernel.space = recorded->space;
    model->device.name = recorded->gpu;
    return HONE_OK;
}

hone_status hone__simulated_model_open(hone__simulated_model *model, const hone__recorded *recorded, const hone_simulate_options *options,
                                       const char **strategy, hone_error *err) {
    *model = (hone__simulated_model){0};
    bool automatic = strcmp(options->search, "auto") == 0;
    *strategy = automatic ? "lfbo" : options->search;
    if (!automatic && strcmp(options->search, "llm") != 0 && strcmp(options->search, "hybrid") != 0)
        return HONE_OK;
    const hone_tune_options none = HONE_TUNE_OPTIONS_INIT, *how = options->model == NULL ? &none : options->model;
    hone__llm_options wanted = {.provider = how->llm_provider,
                                .model = how->llm_model,
                                .api_base = how->llm_api_base,
                                .command = how->llm_command,
                                .mailbox = how->llm_mailbox,
                                .replay = how->llm_replay,
                                .timeout_s = how->llm_timeout_s,
                                .tokens_max = how->tokens_max};
    HONE_TRY(hone__llm_open(&model->llm, &wanted, err));
    if (automatic && hone__llm_provider(model->llm) != HONE_PROVIDER_NONE)
        *strategy = "hybrid";
    if (how->transcript != NULL) {
        model->transcript = how->transcript;
        model->log = (hone__exchange_log){recall_nothing, record, model};
    }
    return describe(model, recorded, options->about, err);
}

void hone__simulated_model_use(hone__simulated_model *model, const hone_simulate_options *options, hone__strategy_options *out) {
    const hone_tune_options *how = options->model;
    if (model->llm == NULL)
        return;
    out->kernel = &model->kernel;
    out->device = &model->device;
    out->llm = model->llm;
    out->log = model->transcript == NULL ? NULL : &model->log;
    out->rounds_max = how != NULL && how->rounds_max > 0 ? how->rounds_max : ROUNDS;
    out->configs_per_round = how != NULL && how->configs_per_round > 0 ? how->configs_per_round : CONFIGS_PER_ROUND;
    out->initial_random = INITIAL_RANDOM;
    out->fall_back = strcmp(options->search, "auto") == 0;
}

void hone__simulated_model_close(hone__simulated_model *model) {
    hone__llm_close(model->llm);
    hone__free(model->device.kind);
    hone__free(model->description);
    hone__free(model->request);
}
