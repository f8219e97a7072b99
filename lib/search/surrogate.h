/* surrogate.h: a Gaussian process over configs: what is a config likely to cost, and how sure are we?  (Rasmussen and Williams,
 * Gaussian Processes for Machine Learning, 2006, chapters 2 and 5.)  Distance is per slot: numeric domains by relative position, strings
 * and booleans by equality; each slot's weight is learnt from the data's likelihood. */
#ifndef HONE_SURROGATE_H
#define HONE_SURROGATE_H

#include "space.h"

#define HONE_SURROGATE_POINTS 320u /* training set at most: factoring it takes about 5 ms */

typedef struct hone__surrogate hone__surrogate;

hone__surrogate *hone__surrogate_new(const hone__space *space); /* NULL: out of memory */
void hone__surrogate_free(hone__surrogate *surrogate);
/* Train on `count` <= HONE_SURROGATE_POINTS costs.  `relearn`: also adapt weights (costs more).  False: not possible (too few). */
bool hone__surrogate_fit(hone__surrogate *surrogate, const hone__config *config, const double *cost, uint32_t count, bool relearn);
void hone__surrogate_predict(const hone__surrogate *surrogate, const hone__config *config, double *mean, double *deviation);
/* Expected improvement below `best` (same units as cost). */
double hone__surrogate_improvement(const hone__surrogate *surrogate, const hone__config *config, double best);
/* 1 for the same config, towards 0 for unlike ones. */
double hone__surrogate_likeness(const hone__surrogate *surrogate, const hone__config *a, const hone__config *b);

#endif
