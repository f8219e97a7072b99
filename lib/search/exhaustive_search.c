/* exhaustive_search.c: the default first, then every valid config in the walk's order. */
#include "strategy_impl.h"

#include <stdio.h>

static hone_status exhaustive_open(hone__strategy *strategy, hone_error *err) {
    hone__strategy_queue_first(strategy);
    hone__walk *walk = NULL;
    hone_status status = hone__walk_new(&walk, strategy->options.bound);
    strategy->state = walk;
    return status == HONE_OK ? HONE_OK : hone__fail(err, status, "search", "cannot walk the space");
}

static void exhaustive_close(hone__strategy *strategy) {
    hone__walk_free(strategy->state);
}

static hone__ask_state exhaustive_propose(hone__strategy *strategy, uint32_t wanted) {
    uint32_t queued = 0;
    hone__config config;
    while (queued < wanted && hone__walk_next(strategy->state, &config))
        queued += hone__strategy_queue(strategy, &config, "exhaustive");
    if (queued > 0)
        return HONE_ASK_MORE;
    (void)snprintf(strategy->stop, sizeof strategy->stop, "space exhausted");
    return HONE_ASK_DONE;
}

const hone__strategy_impl hone__strategy_exhaustive = {"exhaustive", exhaustive_open, exhaustive_close, exhaustive_propose, NULL, NULL};
