/* forest.h: a small ensemble of extremely randomised trees (Geurts, Ernst and Wehenkel, "Extremely randomized trees", 2006) over rows of
 * numbers.  Each leaf holds a mean, so that the same forest regresses (targets are costs) and classifies (targets are 0 and 1: the
 * mean is a probability).  Trees disagree where data are few: their spread is the uncertainty. */
#ifndef HONE_FOREST_H
#define HONE_FOREST_H

#include "rng.h"

#include <stdbool.h>

#define HONE_FOREST_TREES_MAX 64u

typedef struct hone__forest hone__forest;

typedef struct hone__forest_options {
    uint32_t trees;               /* at most HONE_FOREST_TREES_MAX */
    uint32_t tries;               /* features looked at for one split */
} hone__forest_options;

/* NULL: out of memory. */
hone__forest *hone__forest_new(uint32_t features, const hone__forest_options *options);
void hone__forest_free(hone__forest *forest);
/* Train anew on `count` rows of `features` numbers, with targets.  False: out of memory. */
bool hone__forest_fit(hone__forest *forest, const float *rows, const float *target, uint32_t count, hone__rng *rng);
/* Mean of the trees, and the variance: what the trees differ by and what their leaves are spread by. */
void hone__forest_predict(const hone__forest *forest, const float *row, double *mean, double *variance);

#endif
