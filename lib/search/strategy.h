/* strategy.h: ask and tell.  A strategy proposes configs and learns what they came to; it never runs anything.  Given the same seed, the
 * same results in the same order and the same model replies, it proposes the same configs: resuming relies on that. */
#ifndef HONE_STRATEGY_H
#define HONE_STRATEGY_H

#include "llm.h"
#include "prompt.h"

typedef struct hone__strategy hone__strategy;

typedef struct hone__proposal {
    hone__config config;
    char proposer[24];            /* "default", "known", "seed", "neighbour", "random", "model:1", "lfbo", ... */
} hone__proposal;

typedef enum hone__ask_state {
    HONE_ASK_MORE,                /* proposals were given, or will be after the next tell */
    HONE_ASK_WAIT_MODEL,          /* nothing until the model answers: call hone__strategy_pump */
    HONE_ASK_DONE                 /* the strategy is through */
} hone__ask_state;

/* Recorded model exchanges (resume and replay): how the strategy reads and writes them.  `recall` returns 1 and sets the texts (owned by
 * the caller of recall, hone__free; reply may be NULL when it never came) if exchange `index` is on record; `record` is called with reply
 * NULL before sending, and again with the reply.  `told`: trials that were known at that time; a recalled reply is taken when as many are
 * known again.  A failing record ends the request. */
typedef struct hone__exchange_log {
    int (*recall)(void *user, uint32_t index, char **request, char **reply, uint64_t *tokens_in, uint64_t *tokens_out, double *seconds,
                  uint32_t *told);
    hone_status (*record)(void *user, uint32_t index, const char *request, const char *reply, uint64_t tokens_in, uint64_t tokens_out,
                          double seconds, uint32_t told);
    void *user;
} hone__exchange_log;

/* A trial of the same kernel at another problem or on another device, in this space's terms. */
typedef struct hone__evidence {
    hone__config config;          /* shaped, perhaps not valid here */
    uint32_t source;              /* 0: the nearest; trials of one source are comparable with each other */
    double cost;                  /* log of its time over the best one of its source; infinite when it failed */
} hone__evidence;

typedef struct hone__strategy_options {
    const hone_kernel *kernel;    /* llm only; others use bound */
    const hone_device *device;    /* llm only */
    const hone__bound *bound;
    const hone__config *incumbent; /* what is known for this very problem: measured right after the default; NULL: nothing is */
    const hone__config *seed;     /* author seeds valid here */
    uint32_t seed_count;
    const hone__neighbour *neighbour;
    uint32_t neighbour_count;
    const hone__evidence *evidence; /* lfbo and what builds on it; borrowed */
    uint32_t evidence_count;
    uint64_t rng_seed;
    uint32_t trials_max;
    uint32_t rounds_max, configs_per_round, initial_random; /* llm */
    hone__llm *llm;               /* llm only; borrowed */
    const hone__exchange_log *log; /* llm only; may be NULL */
    uint32_t meanwhile;           /* hybrid: configs of the surrogate that may be measured while one request is under way; 0: the device waits */
    double min_gain;              /* end when a relative gain of so much is not to be expected any more; 0: only the budget ends lfbo; negative: that of
                                   * the model's rounds too */
    bool fall_back;               /* auto: a failing model is a warning and lfbo goes on; else it ends the search */
} hone__strategy_options;

/* `name`: "hybrid", "lfbo", "llm", "random", "exhaustive".  Each strategy is one file that fills one table (strategy_impl.h). */
hone_status hone__strategy_open(hone__strategy **out, const char *name, const hone__strategy_options *options, hone_error *err);
void hone__strategy_close(hone__strategy *strategy);
/* At most `max` new configs, none ever proposed before, all valid.  Never blocks. */
hone__ask_state hone__strategy_ask(hone__strategy *strategy, hone__proposal *out, uint32_t max, uint32_t *count);
/* What a proposed config came to, in order of measurement. */
hone_status hone__strategy_tell(hone__strategy *strategy, const hone__config *config, const hone__measurement *result);
/* Let model traffic move for at most timeout_ms.  An error ends the search (unless fall_back). HONE_E_TIMEOUT: still waiting. */
hone_status hone__strategy_pump(hone__strategy *strategy, uint32_t timeout_ms, hone_error *err);
/* Why it is done ("rounds", "space exhausted", "stagnation", "model failed: ..."); "" before. */
const char *hone__strategy_stop(const hone__strategy *strategy);
/* Rounds answered by the model, tokens and seconds spent on it. */
typedef struct hone__strategy_report {
    uint32_t rounds, requests, rejected;
    uint64_t tokens_in, tokens_out;
    double model_seconds;
    char warning[256];            /* fall back and the like; "" */
} hone__strategy_report;
void hone__strategy_report_get(const hone__strategy *strategy, hone__strategy_report *out);

#endif
