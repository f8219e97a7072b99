/* lfbo.h: model-free search with a surrogate: a forest and a Gaussian process learn from everything measured which configs are good, which are
 * uncertain and which fail.  A strategy of its own ("lfbo"), and what a model's rounds go on with. */
#ifndef HONE_LFBO_H
#define HONE_LFBO_H

#include "strategy_impl.h"

typedef struct hone__lfbo hone__lfbo;

hone__lfbo *hone__lfbo_new(const hone__space *space); /* NULL: out of memory */
void hone__lfbo_free(hone__lfbo *lfbo);
/* Learn from the options' evidence, and queue its best configs; once, before anything is proposed.  False: out of memory. */
bool hone__lfbo_evidence(hone__lfbo *lfbo, hone__strategy *strategy);
/* Queue up to `wanted` proposals from what the strategy has been told so far; 0 when the space is exhausted. */
uint32_t hone__lfbo_propose(hone__lfbo *lfbo, hone__strategy *strategy, uint32_t wanted);
/* Queue the one of some draws that is least like anything proposed; false: none was new. */
bool hone__lfbo_queue_apart(hone__strategy *strategy);
/* Is the advice of a proposer (the beginning of its name) better here than draws, or does it only happen to be?  The share of all pairs of one result of
 * each in which the former is better (Mann and Whitney's statistic); 0.5 when it says nothing, or there is nothing to compare. */
double hone__lfbo_against_draws(const hone__strategy *strategy, const char *proposer);
/* Make a config a candidate among the others. */
void hone__lfbo_offer(hone__lfbo *lfbo, const hone__strategy *strategy, const hone__config *config);
/* True, and the stop reason set, when going on is not worth its price. */
bool hone__lfbo_stagnant(const hone__lfbo *lfbo, hone__strategy *strategy);

#endif
