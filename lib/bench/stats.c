/* stats.c: median, MAD, binomial-rank confidence interval and sign test.  Nothing here allocates. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(const double *sorted, uint32_t count) {
    uint32_t half = count / 2;
    return count % 2 == 1 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

/* The deviations left and right of the median are two sorted runs in a sorted array; merging them outwards from the median gives
 * their order statistics without a second array. */
static double median_deviation(const double *sorted, uint32_t count, double median) {
    uint32_t right = 0;
    while (right < count && sorted[right] < median)
        right++;
    uint32_t left = right; /* next on the left is sorted[left - 1] */
    double previous = 0.0;
    double current = 0.0;
    for (uint32_t taken = 0; taken <= count / 2; taken++) {
        previous = current;
        double from_left = left > 0 ? median - sorted[left - 1] : HUGE_VAL;
        double from_right = right < count ? sorted[right] - median : HUGE_VAL;
        if (from_left < from_right) {
            current = from_left;
            left--;
        } else {
            current = from_right;
            right++;
        }
    }
    return count % 2 == 1 ? current : 0.5 * (previous + current);
}

/* The largest k with P(Binomial(count, 1/2) < k) <= tail; 0 when even k = 1 is too much. */
static uint32_t lower_rank(uint32_t count, double tail) {
    double log_term = -(double)count * log(2.0);
    double sum = 0.0;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < count / 2; i++) {
        sum += exp(log_term);
        if (sum > tail)
            break;
        rank = i + 1;
        log_term += log((double)(count - i)) - log((double)(i + 1));
    }
    return rank;
}

hone__summary hone__stats_summary(double *sample, uint32_t count, double confidence) {
    hone__summary summary = {0.0, 0.0, 0.0, 0.0};
    if (count == 0)
        return summary;
    qsort(sample, count, sizeof *sample, ascending);
    summary.median = middle(sample, count);
    summary.mad = median_deviation(sample, count, summary.median);
    uint32_t rank = lower_rank(count, 0.5 * (1.0 - confidence));
    summary.low = sample[rank > 0 ? rank - 1 : 0];
    summary.high = sample[rank > 0 ? count - rank : count - 1];
    return summary;
}

double hone__stats_sign_p(uint32_t wins, uint32_t count) {
    if (count == 0 || wins > count)
        return 1.0;
    uint32_t fewer = wins < count - wins ? wins : count - wins;
    double log_term = -(double)count * log(2.0);
    double sum = 0.0;
    for (uint32_t i = 0; i <= fewer; i++) {
        sum += exp(log_term);
        log_term += log((double)(count - i)) - log((double)(i + 1));
    }
    return sum >= 0.5 ? 1.0 : 2.0 * sum;
}
