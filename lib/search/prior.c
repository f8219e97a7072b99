#include "prior.h"
#include "alloc.h"

#include <math.h>
#include <string.h>

enum { LEAST_EVIDENCE = 8, SOURCES_MAX = 16 };
/* Results that would have to disagree before the first belief (slope 1) is halved. */
static const double first_belief = 2.0;

bool hone__prior_open(hone__prior *prior, const hone__strategy_options *options, const hone__features *features, hone__rng *rng) {
    *prior = (hone__prior){0};
    const uint32_t width = hone__features_count(features);
    uint32_t count = 0;
    float *rows = hone__alloc_array((size_t)options->evidence_count * width + 1, sizeof *rows);
    float *costs = hone__alloc_array((size_t)options->evidence_count + 1, sizeof *costs);
    double sum = 0;
    for (uint32_t i = 0; rows != NULL && costs != NULL && i < options->evidence_count; i++) {
        if (!isfinite(options->evidence[i].cost))
            continue;
        hone__features_fill(features, &options->evidence[i].config, rows + (size_t)count * width);
        costs[count] = (float)options->evidence[i].cost;
        sum += (double)costs[count++];
    }
    bool fine = rows != NULL && costs != NULL;
    for (uint32_t i = 0; i < count; i++)
        costs[i] -= (float)(sum / count);
    if (fine && count >= LEAST_EVIDENCE) {
        hone__forest_options trees = {.trees = 24, .tries = 2 + width / 2, .leaf_min = 1};
        prior->forest = hone__forest_new(width, &trees);
        fine = prior->forest != NULL && hone__forest_fit(prior->forest, rows, costs, NULL, count, rng);
        prior->trust = 1.0;
    }
    hone__free(rows);
    hone__free(costs);
    return fine;
}

void hone__prior_close(hone__prior *prior) {
    hone__forest_free(prior->forest);
    prior->forest = NULL;
}

double hone__prior_at(const hone__prior *prior, const float *row) {
    double mean = 0, variance;
    if (prior->forest != NULL)
        hone__forest_predict(prior->forest, row, &mean, &variance);
    return mean;
}

void hone__prior_judge(hone__prior *prior, const double *cost, const double *predicted, uint32_t count) {
    if (prior->forest == NULL || count < 3)
        return;
    double cost_mean = 0, mean = 0;
    for (uint32_t i = 0; i < count; i++) {
        cost_mean += cost[i] / count;
        mean += predicted[i] / count;
    }
    double cross = 0, spread = 1e-9, cost_spread = 1e-9;
    for (uint32_t i = 0; i < count; i++) {
        cross += (cost[i] - cost_mean) * (predicted[i] - mean);
        spread += (predicted[i] - mean) * (predicted[i] - mean);
        cost_spread += (cost[i] - cost_mean) * (cost[i] - cost_mean);
    }
    /* Regression, pulled to slope 1 at first; and what correlates no more than by chance is believed the less, the more is known. */
    double slope = (cross + first_belief * spread / count) / (spread + first_belief * spread / count);
    double likeness = cross / sqrt(spread * cost_spread);
    double belief = (count * fmax(0, likeness - 1.0 / sqrt(count)) + first_belief) / (count + first_belief);
    prior->trust = fmin(1.5, fmax(0, slope) * belief);
}

/* The best of one source that was not taken yet; UINT32_MAX. */
static uint32_t best_of(const hone__strategy *strategy, uint32_t source) {
    const hone__strategy_options *options = &strategy->options;
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < options->evidence_count; i++) {
        const hone__evidence *evidence = &options->evidence[i];
        if (evidence->source != source || !isfinite(evidence->cost) || hone__strategy_was_proposed(strategy, &evidence->config) ||
            !hone__bound_valid(options->bound, &evidence->config, NULL))
            continue;
        if (best == UINT32_MAX || evidence->cost < options->evidence[best].cost)
            best = i;
    }
    return best;
}

void hone__prior_queue_best(hone__strategy *strategy, uint32_t most) {
    uint32_t queued = 0;
    bool any = strategy->options.evidence_count > 0;
    while (any && queued < most) {
        any = false;
        for (uint32_t source = 0; source < SOURCES_MAX && queued < most; source++) {
            uint32_t best = best_of(strategy, source);
            if (best == UINT32_MAX)
                continue;
            any = true;
            queued += hone__strategy_queue(strategy, &strategy->options.evidence[best].config, "transfer");
        }
    }
}
