#include "prior.h"
#include "alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_EVIDENCE = 8, TREES = 24, SWEEPS = 8 };
/* Results that would have to disagree before the first belief (slopes that add up to 1) is halved. */
static const double first_belief = 1.0;

static uint32_t source_of(const hone__evidence *evidence) {
    return evidence->source < HONE_PRIOR_SOURCES ? evidence->source : HONE_PRIOR_SOURCES - 1;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What is far from the best is told apart less and less, as the surrogates see it; the average becomes 0. */
static void even_out(float *costs, double *sorted, uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = (double)costs[i];
    qsort(sorted, count, sizeof *sorted, by_size);
    double least = sorted[0], scale = fmax(0.05, sorted[count / 2] - least);
    for (uint32_t i = 0; i < count; i++) {
        costs[i] = (float)(scale * log1p(((double)costs[i] - least) / scale));
        sum += (double)costs[i];
    }
    for (uint32_t i = 0; i < count; i++)
        costs[i] -= (float)(sum / count);
}

static bool learn_source(hone__prior *prior, uint32_t source, const hone__strategy_options *options, const hone__features *features, hone__rng *rng) {
    const uint32_t width = hone__features_count(features);
    uint32_t count = 0;
    float *rows = hone__alloc_array((size_t)options->evidence_count * width + 1, sizeof *rows);
    float *costs = hone__alloc_array((size_t)options->evidence_count + 1, sizeof *costs);
    double *sorted = hone__alloc_array((size_t)options->evidence_count + 1, sizeof *sorted);
    bool fine = rows != NULL && costs != NULL && sorted != NULL;
    for (uint32_t i = 0; fine && i < options->evidence_count; i++) {
        if (source_of(&options->evidence[i]) != source || !isfinite(options->evidence[i].cost))
            continue;
        hone__features_fill(features, &options->evidence[i].config, rows + (size_t)count * width);
        costs[count++] = (float)options->evidence[i].cost;
    }
    if (fine && count >= LEAST_EVIDENCE) {
        even_out(costs, sorted, count);
        hone__forest_options trees = {.trees = TREES, .tries = 2 + width / 2};
        hone__forest *forest = hone__forest_new(width, &trees);
        fine = forest != NULL && hone__forest_fit(forest, rows, costs, count, rng);
        prior->forest[prior->sources++] = forest;
    }
    hone__free(rows);
    hone__free(costs);
    hone__free(sorted);
    return fine;
}

bool hone__prior_open(hone__prior *prior, const hone__strategy_options *options, const hone__features *features, hone__rng *rng) {
    *prior = (hone__prior){0};
    bool fine = true;
    for (uint32_t source = 0; source < HONE_PRIOR_SOURCES && options->evidence_count > 0 && fine; source++)
        fine = learn_source(prior, source, options, features, rng);
    for (uint32_t k = 0; k < prior->sources; k++)
        prior->trust[k] = 1.0 / prior->sources;
    return fine;
}

void hone__prior_close(hone__prior *prior) {
    for (uint32_t k = 0; k < prior->sources; k++)
        hone__forest_free(prior->forest[k]);
    prior->sources = 0;
}

void hone__prior_at(const hone__prior *prior, const float *row, float predicted[HONE_PRIOR_SOURCES]) {
    for (uint32_t k = 0; k < HONE_PRIOR_SOURCES; k++) {
        double mean = 0, variance;
        if (k < prior->sources)
            hone__forest_predict(prior->forest[k], row, &mean, &variance);
        predicted[k] = (float)mean;
    }
}

double hone__prior_sum(const double trust[HONE_PRIOR_SOURCES], const float predicted[HONE_PRIOR_SOURCES]) {
    double sum = 0;
    for (uint32_t k = 0; k < HONE_PRIOR_SOURCES; k++)
        sum += trust[k] * (double)predicted[k];
    return sum;
}

/* Moments of the results: what regression needs of them. */
typedef struct moments {
    double cost, spread[HONE_PRIOR_SOURCES][HONE_PRIOR_SOURCES], cross[HONE_PRIOR_SOURCES];
} moments;

static void take_moments(moments *m, uint32_t sources, const double *cost, const float (*predicted)[HONE_PRIOR_SOURCES], uint32_t count) {
    double cost_mean = 0, mean[HONE_PRIOR_SOURCES] = {0};
    for (uint32_t i = 0; i < count; i++) {
        cost_mean += cost[i] / count;
        for (uint32_t k = 0; k < sources; k++)
            mean[k] += (double)predicted[i][k] / count;
    }
    *m = (moments){.cost = 1e-9};
    for (uint32_t i = 0; i < count; i++) {
        double here = cost[i] - cost_mean;
        m->cost += here * here;
        for (uint32_t k = 0; k < sources; k++) {
            double there = (double)predicted[i][k] - mean[k];
            m->cross[k] += here * there;
            for (uint32_t j = 0; j < sources; j++)
                m->spread[k][j] += there * ((double)predicted[i][j] - mean[j]);
        }
    }
}

void hone__prior_judge(hone__prior *prior, const double *cost, const float (*predicted)[HONE_PRIOR_SOURCES], uint32_t count) {
    const uint32_t sources = prior->sources;
    if (sources == 0 || count < 3)
        return;
    moments m;
    take_moments(&m, sources, cost, predicted, count);
    double slope[HONE_PRIOR_SOURCES];
    for (uint32_t k = 0; k < sources; k++)
        slope[k] = 1.0 / sources;
    /* Regression without slopes below 0, pulled to equal slopes at first, one source at a time. */
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        for (uint32_t k = 0; k < sources; k++) {
            double rest = m.cross[k], pull = first_belief * m.spread[k][k] / count + 1e-9;
            for (uint32_t j = 0; j < sources; j++)
                rest -= j == k ? 0 : slope[j] * m.spread[k][j];
            slope[k] = fmin(1.5, fmax(0, (rest + pull / sources) / (m.spread[k][k] + pull)));
        }
    }
    double cross = 0, spread = 1e-9;
    for (uint32_t k = 0; k < sources; k++) {
        cross += slope[k] * m.cross[k];
        for (uint32_t j = 0; j < sources; j++)
            spread += slope[k] * slope[j] * m.spread[k][j];
    }
    /* What correlates no more than by chance is believed the less, the more is known. */
    double likeness = cross / sqrt(spread * m.cost);
    double belief = (count * fmax(0, likeness - 1.5 / sqrt(count)) + first_belief) / (count + first_belief);
    for (uint32_t k = 0; k < sources; k++)
        prior->trust[k] = slope[k] * belief;
}

/* ---- the first candidates ---- */

static uint32_t differing(const hone__strategy *strategy, const hone__config *a, const hone__config *b) {
    uint32_t count = 0;
    for (uint32_t s = 0; s < strategy->space->slot_count; s++)
        count += a->slot[s] != b->slot[s] ? 1 : 0;
    return count;
}

/* Configs of the evidence in the order of what the sources say of them on average. */
typedef struct candidate {
    double cost;
    uint32_t at;
} candidate;

static int by_cost(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->cost != y->cost ? (x->cost > y->cost) - (x->cost < y->cost) : (x->at > y->at) - (x->at < y->at);
}

/* What all sources say of a config, as if each were right. */
static double said_of(const hone__prior *prior, const hone__features *features, const hone__config *config, float *row) {
    static const double all[HONE_PRIOR_SOURCES] = {1, 1, 1, 1};
    float predicted[HONE_PRIOR_SOURCES];
    hone__features_fill(features, config, row);
    hone__prior_at(prior, row, predicted);
    return hone__prior_sum(all, predicted);
}

static uint32_t rank(const hone__prior *prior, const hone__features *features, const hone__strategy_options *options, candidate *out) {
    uint32_t count = 0;
    float *row = hone__alloc_array(hone__features_count(features), sizeof *row);
    for (uint32_t i = 0; i < options->evidence_count && row != NULL; i++) {
        const hone__evidence *evidence = &options->evidence[i];
        if (!isfinite(evidence->cost) || !hone__bound_valid(options->bound, &evidence->config, NULL))
            continue;
        out[count++] = (candidate){prior->sources > 0 ? said_of(prior, features, &evidence->config, row) : evidence->cost, i};
    }
    hone__free(row);
    if (count > 0)
        qsort(out, count, sizeof *out, by_cost);
    return count;
}

void hone__prior_queue_best(const hone__prior *prior, const hone__features *features, hone__strategy *strategy, uint32_t most) {
    const hone__strategy_options *options = &strategy->options;
    if (options->evidence_count == 0)
        return;
    candidate *ranked = hone__alloc_array(options->evidence_count, sizeof *ranked);
    uint32_t count = ranked == NULL ? 0 : rank(prior, features, options, ranked), queued = 0;
    for (uint32_t unlike = 2; unlike > 0 && queued < most; unlike--) { /* near duplicates of the best only when there is nothing else */
        for (uint32_t i = 0; i < count && queued < most; i++) {
            const hone__config *config = &options->evidence[ranked[i].at].config;
            bool apart = true;
            for (uint32_t k = 0; k < strategy->result_count && apart; k++)
                apart = differing(strategy, config, &strategy->result[k].config) >= unlike;
            queued += apart && hone__strategy_queue(strategy, config, "transfer");
        }
    }
    hone__free(ranked);
}

bool hone__prior_queue_opposite(const hone__prior *prior, const hone__features *features, hone__strategy *strategy, const hone__config *base) {
    const hone__space *space = strategy->space;
    hone__config chosen = *base;
    double least = HUGE_VAL;
    float *row = hone__alloc_array(hone__features_count(features), sizeof *row);
    for (uint32_t s = 0; s < space->slot_count && row != NULL; s++) {
        const hone__param *param = &space->param[hone__space_param_of_slot(space, s)];
        hone__config other = *base;
        other.slot[s] = base->slot[s] == 0 ? 1 : 0;
        if (param->kind == HONE_KIND_PERMUTATION || param->domain.count != 2 || hone__strategy_was_proposed(strategy, &other) ||
            !hone__bound_valid(strategy->options.bound, &other, NULL))
            continue;
        double cost = said_of(prior, features, &other, row);
        if (cost < least) {
            least = cost;
            chosen = other;
        }
    }
    hone__free(row);
    return least < HUGE_VAL && hone__strategy_queue(strategy, &chosen, "opposite");
}
