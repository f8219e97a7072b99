/* local_search.h: model-free search around the best known configs, guided by a surrogate.  A strategy of its own, and what `auto` goes on
 * with when the model has given what it has. */
#ifndef HONE_LOCAL_SEARCH_H
#define HONE_LOCAL_SEARCH_H

#include "strategy_impl.h"

typedef struct hone__local hone__local;

hone__local *hone__local_new(const hone__space *space);
void hone__local_free(hone__local *local);
/* Queue up to `wanted` proposals from what the strategy has been told so far; 0 when the space is exhausted. */
uint32_t hone__local_propose(hone__local *local, hone__strategy *strategy, uint32_t wanted);
/* True, and the stop reason set, when many results in a row brought no gain. */
bool hone__local_stagnant(hone__strategy *strategy);

#endif
