/* random_search.c: the default first, then uniform draws without repetition; the yardstick for all others. */
#include "strategy_impl.h"

#include <stdio.h>

static hone_status random_open(hone__strategy *strategy, hone_error *err) {
    (void)err;
    hone__strategy_queue_first(strategy);
    return HONE_OK;
}

static void random_close(hone__strategy *strategy) {
    hone__walk_free(strategy->state);
    strategy->state = NULL;
}

/* When draws hit only old configs, the rest of the space is small: take it in order. */
static uint32_t walk_on(hone__strategy *strategy, uint32_t wanted) {
    hone__walk *walk = strategy->state;
    if (walk == NULL && hone__walk_new(&walk, strategy->options.bound) != HONE_OK)
        return 0;
    strategy->state = walk;
    uint32_t queued = 0;
    hone__config config;
    while (queued < wanted && hone__walk_next(walk, &config))
        queued += hone__strategy_queue(strategy, &config, "random");
    return queued;
}

static hone__ask_state random_propose(hone__strategy *strategy, uint32_t wanted) {
    uint32_t queued = strategy->state == NULL ? hone__strategy_queue_random(strategy, wanted) : 0;
    if (queued == 0)
        queued = walk_on(strategy, wanted);
    if (queued > 0)
        return HONE_ASK_MORE;
    (void)snprintf(strategy->stop, sizeof strategy->stop, "space exhausted");
    return HONE_ASK_DONE;
}

const hone__strategy_impl hone__strategy_random = {"random", random_open, random_close, random_propose, NULL, NULL};
