/* prior.h: what trials of the same kernel elsewhere (other problems, other devices) say about configs here: for each source a forest over its
 * relative costs.  How far each is believed is measured on the results of this search. */
#ifndef HONE_PRIOR_H
#define HONE_PRIOR_H

#include "encoding.h"
#include "forest.h"
#include "strategy_impl.h"

#define HONE_PRIOR_SOURCES 4u     /* further ones are taken together with the last */

typedef struct hone__prior {
    uint32_t sources;             /* 0: there is no evidence, or too little */
    hone__forest *forest[HONE_PRIOR_SOURCES];
    double trust[HONE_PRIOR_SOURCES]; /* slopes of costs here over costs predicted: 0 when it says nothing */
} hone__prior;

bool hone__prior_open(hone__prior *prior, const hone__strategy_options *options, const hone__features *features, hone__rng *rng);
void hone__prior_close(hone__prior *prior);
/* Cost relative to the average, as each source predicts it. */
void hone__prior_at(const hone__prior *prior, const float *row, float predicted[HONE_PRIOR_SOURCES]);
/* The sources together, as far as each is trusted. */
double hone__prior_sum(const double trust[HONE_PRIOR_SOURCES], const float predicted[HONE_PRIOR_SOURCES]);
/* Set trust from `count` results: costs and what was predicted for them. */
void hone__prior_judge(hone__prior *prior, const double *cost, const float (*predicted)[HONE_PRIOR_SOURCES], uint32_t count);
/* Queue the configs of the evidence that are good for all sources and unlike each other, at most `most`. */
void hone__prior_queue_best(const hone__prior *prior, const hone__features *features, hone__strategy *strategy, uint32_t most);

#endif
