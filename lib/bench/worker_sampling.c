/* worker_sampling.c: when a config has been sampled enough, or is not worth another sample: the same rules on CPU and GPU. */
#include "worker_internal.h"

#define ABANDON_EARLY 1.5        /* the fastest of the first three samples against the incumbent */
#define ABANDON_SURE 1.15        /* the lower end of the interval against the incumbent */
#define SAMPLES_LEAST 8u

bool hone__sampling_hopeless(const double *sample, uint32_t count, double low, double incumbent) {
    if (!(incumbent > 0.0))
        return false;
    double least = sample[0];
    for (uint32_t i = 1; i < count; i++)
        least = sample[i] < least ? sample[i] : least;
    return (count >= 3 && least > ABANDON_EARLY * incumbent) || least > 4.0 * incumbent ||
           (count >= 6 && low > ABANDON_SURE * incumbent);
}

bool hone__sampling_enough(const hone__summary *summary, uint32_t count, double precision, double incumbent) {
    /* What is certainly slower than the incumbent need not be known as well as what may replace it. */
    double behind = incumbent > 0.0 && summary->low > incumbent ? summary->low / incumbent - 1.0 : 0.0;
    return count >= SAMPLES_LEAST && 0.5 * (summary->high - summary->low) <= (precision + 0.25 * behind) * summary->median;
}
