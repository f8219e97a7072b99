/* strategy_impl.h: what every strategy shares: options, what has been proposed, what it came to, the queue of proposals.  A strategy
 * is one table of three functions over this. */
#ifndef HONE_STRATEGY_IMPL_H
#define HONE_STRATEGY_IMPL_H

#include "strategy.h"

typedef struct hone__strategy_impl {
    const char *name;
    hone_status (*open)(hone__strategy *strategy, hone_error *err);
    void (*close)(hone__strategy *strategy);
    /* Put at least one proposal into the queue if there is one to make now. */
    hone__ask_state (*propose)(hone__strategy *strategy, uint32_t wanted);
    hone_status (*learn)(hone__strategy *strategy, uint32_t result);      /* index of the new result; may be NULL */
    hone_status (*pump)(hone__strategy *strategy, uint32_t timeout_ms, hone_error *err); /* may be NULL */
} hone__strategy_impl;

extern const hone__strategy_impl hone__strategy_random;
extern const hone__strategy_impl hone__strategy_exhaustive;
extern const hone__strategy_impl hone__strategy_llm;
extern const hone__strategy_impl hone__strategy_hybrid;
extern const hone__strategy_impl hone__strategy_lfbo;

typedef struct hone__result {
    hone__config config;
    char proposer[24];
    bool told;                    /* false: proposed, not measured yet */
    hone__measurement measurement;
} hone__result;

struct hone__strategy {
    const hone__strategy_impl *impl;
    hone__strategy_options options;
    const hone__space *space;
    hone__rng rng;
    hone__result *result;         /* everything proposed, in order of proposal */
    uint32_t result_count, result_capacity;
    uint32_t handed;              /* results [0, handed) were given out by ask */
    uint32_t told;                /* how many of them have been told */
    uint32_t *slot;               /* hash table over `result`: index + 1, 0 = empty */
    uint32_t slot_count;
    uint32_t best;                /* index of the best OK result; UINT32_MAX */
    hone_status failed;           /* sticks: out of memory */
    char stop[160];
    hone__strategy_report report;
    void *state;                  /* the strategy's own */
};

/* Queue a config unless it was proposed before or is not valid.  True when it was new. */
bool hone__strategy_queue(hone__strategy *strategy, const hone__config *config, const char *proposer);
/* Queue the default, and what is known for this very problem. */
void hone__strategy_queue_first(hone__strategy *strategy);
/* Those, the neighbours and the author's seeds. */
void hone__strategy_queue_known(hone__strategy *strategy);
/* Queue up to `count` random valid configs that were not proposed before; returns how many. */
uint32_t hone__strategy_queue_random(hone__strategy *strategy, uint32_t count);
bool hone__strategy_was_proposed(const hone__strategy *strategy, const hone__config *config);

#endif
