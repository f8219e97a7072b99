/* stats.h: order statistics of timings.  No assumption on their distribution. */
#ifndef HONE_STATS_H
#define HONE_STATS_H

#include <stdint.h>

/* Median (mean of the middle two), MAD, and a confidence interval of the median by binomial ranks (David and Nagaraja, Order
 * Statistics, 2003, section 7.1): at least `confidence`; the whole range when the samples are too few for it.  Sorts `sample` in place. */
typedef struct hone__summary {
    double median, low, high, mad;
} hone__summary;
hone__summary hone__stats_summary(double *sample, uint32_t count, double confidence);
/* Two-sided p-value of the sign test with `wins` out of `count` (ties left out). */
double hone__stats_sign_p(uint32_t wins, uint32_t count);

#endif
