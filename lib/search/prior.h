/* prior.h: what trials of the same kernel elsewhere (other problems, other devices) say about configs here: a forest over their relative costs.
 * How far it is believed is measured on the results of this search. */
#ifndef HONE_PRIOR_H
#define HONE_PRIOR_H

#include "encoding.h"
#include "forest.h"
#include "strategy_impl.h"

typedef struct hone__prior {
    hone__forest *forest;         /* NULL: there is no evidence, or too little */
    double trust;                 /* slope of costs here over costs predicted: 0 when it says nothing */
} hone__prior;

bool hone__prior_open(hone__prior *prior, const hone__strategy_options *options, const hone__features *features, hone__rng *rng);
void hone__prior_close(hone__prior *prior);
/* Predicted cost relative to the average; 0 without evidence. */
double hone__prior_at(const hone__prior *prior, const float *row);
/* Set trust from `count` results: costs and what was predicted for them. */
void hone__prior_judge(hone__prior *prior, const double *cost, const double *predicted, uint32_t count);
/* Queue the best configs of the evidence, source by source in turn, at most `most`. */
void hone__prior_queue_best(hone__strategy *strategy, uint32_t most);

#endif
