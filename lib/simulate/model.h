/* model.h: the model's part of a simulation: a recorded space has no sources and no device, only what its file and the user say of them. */
#ifndef HONE_SIMULATE_MODEL_H
#define HONE_SIMULATE_MODEL_H

#include "recorded.h"
#include "strategy.h"

typedef struct hone__simulated_model {
    hone_kernel kernel;
    hone_device device;
    char *description;
    hone__llm *llm;               /* NULL when the strategy asks no model */
    hone__exchange_log log;
    const char *transcript;       /* path, or NULL; borrowed */
    char *request;                /* the last one sent */
} hone__simulated_model;

/* What `search` needs of it; "auto" becomes "hybrid" or "lfbo" in *strategy.  The model object must not move while it is used. */
hone_status hone__simulated_model_open(hone__simulated_model *model, const hone__recorded *recorded, const hone_simulate_options *options,
                                       const char **strategy, hone_error *err);
void hone__simulated_model_close(hone__simulated_model *model);
/* Into a strategy's options. */
void hone__simulated_model_use(hone__simulated_model *model, const hone_simulate_options *options, hone__strategy_options *out);

#endif
