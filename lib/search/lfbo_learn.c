/* lfbo_learn.c: the learning half of lfbo (lfbo_parts.h): costs as the surrogates see them, what the prior leaves of them to be learnt, and when
 * the process and the forests are taught anew. */
#include "lfbo_parts.h"
#include "alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How these numbers were chosen: tests/bench/README.md. */
enum {
    FIT_POINTS = 160,        /* of the process, when there are more results: the best and the latest */
    FOREST_ROWS = 480,
    REGROW_LATER = 150,      /* results from which the forests are grown anew less often: they cost more, and differ less */
    JUDGED_MAX = 256
};
static const double warp_share = 1.0;      /* of the distance from the best to the median: what is worse than that is told apart less and less */
static const double warp_least = 0.05;
static const double relearn_growth = 1.25; /* more successes than at the last time, before weights are learnt anew */
static const double regrow_growth = 1.08, regrow_later = 1.2;  /* likewise results, before the forest is grown anew */

bool hone__lfbo_succeeded(const hone__result *result) {
    return result->told && (result->measurement.outcome == HONE_OUTCOME_OK || result->measurement.outcome == HONE_OUTCOME_SLOW) &&
           result->measurement.median_ns > 0;
}

static double cost_of(const hone__strategy *strategy, uint32_t result) {
    return log(strategy->result[result].measurement.median_ns);
}

bool hone__lfbo_take(hone__lfbo *lfbo, const hone__strategy *strategy) {
    if (lfbo->taken_capacity < strategy->result_count) {
        uint32_t capacity = 2 * strategy->result_count;
        uint8_t *taken = hone__realloc(lfbo->taken, capacity);
        if (taken != NULL) {
            memset(taken + lfbo->taken_capacity, 0, capacity - lfbo->taken_capacity);
            lfbo->taken = taken;
        }
        uint32_t *seen = hone__realloc(lfbo->seen, capacity * sizeof *seen);
        if (seen != NULL)
            lfbo->seen = seen;
        double *residue = hone__realloc(lfbo->residue, capacity * sizeof *residue);
        if (residue != NULL)
            lfbo->residue = residue;
        float (*foreseen)[HONE_PRIOR_SOURCES] = hone__realloc(lfbo->foreseen, capacity * sizeof *foreseen);
        if (foreseen != NULL)
            lfbo->foreseen = foreseen;
        if (taken == NULL || seen == NULL || residue == NULL || foreseen == NULL)
            return false;
        lfbo->taken_capacity = capacity;
    }
    for (uint32_t i = 0; i < strategy->result_count; i++) {
        if (!strategy->result[i].told || lfbo->taken[i])
            continue;
        lfbo->taken[i] = 1;
        lfbo->taught = false;
        lfbo->seen[lfbo->seen_count++] = i;
        if (hone__lfbo_succeeded(&strategy->result[i])) {
            lfbo->ok++;
            lfbo->best = lfbo->best == UINT32_MAX || cost_of(strategy, i) < cost_of(strategy, lfbo->best) ? i : lfbo->best;
        }
        lfbo->any_failed = lfbo->any_failed || !hone__lfbo_succeeded(&strategy->result[i]);
        float row[HONE_FEATURES_MAX];
        if (lfbo->prior.sources > 0)
            hone__features_fill(lfbo->features, &strategy->result[i].config, row);
        hone__prior_at(&lfbo->prior, row, lfbo->foreseen[i]);
    }
    return true;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Costs as the surrogates see them: how bad the bad ones are matters little, and must not drown what tells the good ones apart. */
static void set_warp(hone__lfbo *lfbo, const hone__strategy *strategy) {
    double *costs = hone__alloc_array(lfbo->seen_count + 1, sizeof *costs);
    uint32_t count = 0;
    for (uint32_t k = 0; k < lfbo->seen_count && costs != NULL; k++) {
        if (hone__lfbo_succeeded(&strategy->result[lfbo->seen[k]]))
            costs[count++] = cost_of(strategy, lfbo->seen[k]);
    }
    if (count > 0) {
        qsort(costs, count, sizeof *costs, by_size);
        lfbo->warp_base = costs[0];
        lfbo->warp_scale = warp_share * fmax(warp_least, costs[count / 2] - costs[0]);
    }
    hone__free(costs);
}

static double warped(const hone__lfbo *lfbo, double cost) {
    double over = cost - lfbo->warp_base;
    return over <= 0 ? over : lfbo->warp_scale * log1p(over / lfbo->warp_scale);
}

/* How far the prior is believed, and what it leaves to be learnt. */
static void take_residues(hone__lfbo *lfbo, const hone__strategy *strategy) {
    double cost[JUDGED_MAX];
    float foreseen[JUDGED_MAX][HONE_PRIOR_SOURCES];
    uint32_t count = 0;
    for (uint32_t k = 0; k < lfbo->seen_count && count < JUDGED_MAX && lfbo->prior.sources > 0; k++) {
        uint32_t i = lfbo->seen[k];
        if (!hone__lfbo_succeeded(&strategy->result[i]))
            continue;
        cost[count] = warped(lfbo, cost_of(strategy, i));
        memcpy(foreseen[count++], lfbo->foreseen[i], sizeof foreseen[0]);
    }
    hone__prior_judge(&lfbo->prior, cost, (const float (*)[HONE_PRIOR_SOURCES])foreseen, count);
    for (uint32_t k = 0; k < lfbo->seen_count; k++) {
        uint32_t i = lfbo->seen[k];
        if (hone__lfbo_succeeded(&strategy->result[i]))
            lfbo->residue[i] = warped(lfbo, cost_of(strategy, i)) - hone__prior_sum(lfbo->prior.trust, lfbo->foreseen[i]);
    }
}

typedef struct ranked {
    double cost;
    uint32_t result, age;
} ranked;

static int by_cost(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    return x->cost != y->cost ? (x->cost > y->cost) - (x->cost < y->cost) : (x->age > y->age) - (x->age < y->age);
}

static int by_age(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    return (x->age > y->age) - (x->age < y->age);
}

/* The successes, all or the best half of `most` and the latest of the rest, in order of age; returns how many. */
static uint32_t choose_points(const hone__lfbo *lfbo, const hone__strategy *strategy, ranked *out, uint32_t most) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < lfbo->seen_count; i++) {
        if (hone__lfbo_succeeded(&strategy->result[lfbo->seen[i]]))
            out[count++] = (ranked){cost_of(strategy, lfbo->seen[i]), lfbo->seen[i], i};
    }
    if (count <= most)
        return count;
    qsort(out, count, sizeof *out, by_cost);
    qsort(out + most / 2, count - most / 2, sizeof *out, by_age);
    memmove(out + most / 2, out + count - (most - most / 2), (most - most / 2) * sizeof *out);
    qsort(out, most, sizeof *out, by_age);
    return most;
}

static bool fit_anew(hone__lfbo *lfbo, const hone__strategy *strategy, bool learn) {
    const uint32_t width = lfbo->pool.width;
    ranked *chosen = hone__alloc_array(lfbo->seen_count + 1, sizeof *chosen);
    float *points = hone__alloc_array((size_t)FIT_POINTS * (width + 1), sizeof *points);
    double costs[FIT_POINTS];
    bool fitted = false;
    if (chosen != NULL && points != NULL) {
        uint32_t count = choose_points(lfbo, strategy, chosen, FIT_POINTS);
        for (uint32_t i = 0; i < count; i++) {
            hone__gaussian_place(lfbo->gaussian, &strategy->result[chosen[i].result].config, points + (size_t)i * width);
            costs[i] = lfbo->residue[chosen[i].result];
            lfbo->point_result[i] = chosen[i].result;
        }
        fitted = hone__gaussian_fit(lfbo->gaussian, points, costs, count, learn);
    }
    hone__free(chosen);
    hone__free(points);
    for (uint32_t i = 0; i < lfbo->pool.count; i++)
        lfbo->pool.known[i] = 0;
    return fitted;
}

/* `first`: number in seen of the first new result. */
static bool teach_process(hone__lfbo *lfbo, const hone__strategy *strategy, uint32_t first) {
    bool learn = lfbo->ok >= (uint32_t)(relearn_growth * lfbo->fits_ok) + 1 && lfbo->ok <= FIT_POINTS;
    bool fits = !learn && hone__gaussian_count(lfbo->gaussian) > 0;
    float point[HONE_LIMIT_SLOTS * HONE_GAUSSIAN_NUMBERS_MAX];
    for (uint32_t i = first; i < lfbo->seen_count && fits; i++) {
        uint32_t result = lfbo->seen[i];
        if (!hone__lfbo_succeeded(&strategy->result[result]))
            continue;
        hone__gaussian_place(lfbo->gaussian, &strategy->result[result].config, point);
        lfbo->point_result[hone__gaussian_count(lfbo->gaussian) % HONE_GAUSSIAN_POINTS] = result;
        fits = hone__gaussian_append(lfbo->gaussian, point);
    }
    if (!fits && !fit_anew(lfbo, strategy, true))
        return false;
    if (!fits)
        lfbo->fits_ok = lfbo->ok;
    double costs[HONE_GAUSSIAN_POINTS];
    for (uint32_t i = 0; i < hone__gaussian_count(lfbo->gaussian); i++)
        costs[i] = lfbo->residue[lfbo->point_result[i]];
    hone__gaussian_costs(lfbo->gaussian, costs);
    return true;
}

static bool forest_is_due(const hone__lfbo *lfbo) {
    double growth = lfbo->forest_at < REGROW_LATER ? regrow_growth : regrow_later;
    return !lfbo->forest_ready || lfbo->seen_count >= 1 + (uint32_t)(growth * lfbo->forest_at);
}

static void teach_forest(hone__lfbo *lfbo, hone__strategy *strategy) {
    if (!forest_is_due(lfbo))
        return;
    const uint32_t width = lfbo->pool.row_width, most = lfbo->seen_count;
    ranked *chosen = hone__alloc_array(most, sizeof *chosen);
    float *rows = hone__alloc_array((size_t)most * width, sizeof *rows), *targets = hone__alloc_array(most, sizeof *targets);
    if (chosen != NULL && rows != NULL && targets != NULL) {
        uint32_t count = choose_points(lfbo, strategy, chosen, FOREST_ROWS);
        for (uint32_t i = 0; i < count; i++) {
            hone__features_fill(lfbo->features, &strategy->result[chosen[i].result].config, rows + (size_t)i * width);
            targets[i] = (float)(lfbo->residue[chosen[i].result] - lfbo->residue[chosen[0].result]);
        }
        lfbo->forest_base = lfbo->residue[chosen[0].result];
        memcpy(lfbo->forest_trust, lfbo->prior.trust, sizeof lfbo->forest_trust);
        lfbo->forest_ready = hone__forest_fit(lfbo->costs, rows, targets, count, &strategy->rng);
        count = lfbo->seen_count < FOREST_ROWS ? lfbo->seen_count : FOREST_ROWS;
        for (uint32_t i = 0; i < count && lfbo->any_failed; i++) {
            const hone__result *result = &strategy->result[lfbo->seen[lfbo->seen_count - count + i]];
            hone__features_fill(lfbo->features, &result->config, rows + (size_t)i * width);
            targets[i] = hone__lfbo_succeeded(result) ? 0.0f : 1.0f;
        }
        if (lfbo->any_failed)
            lfbo->failures_ready = hone__forest_fit(lfbo->failures, rows, targets, count, &strategy->rng);
        lfbo->forest_at = lfbo->seen_count;
        for (uint32_t i = 0; i < lfbo->pool.count; i++)
            lfbo->pool.forest_variance[i] = -1;
    }
    hone__free(chosen);
    hone__free(rows);
    hone__free(targets);
}

bool hone__lfbo_learn(hone__lfbo *lfbo, hone__strategy *strategy) {
    if (forest_is_due(lfbo))
        set_warp(lfbo, strategy);
    if (!lfbo->taught) {
        take_residues(lfbo, strategy);
        if (!teach_process(lfbo, strategy, lfbo->taught_count))
            return false;
        lfbo->taught_count = lfbo->seen_count;
        lfbo->taught = true;
    }
    teach_forest(lfbo, strategy);
    return lfbo->forest_ready;
}

double hone__lfbo_warped(const hone__lfbo *lfbo, const hone__strategy *strategy, uint32_t result) {
    return warped(lfbo, cost_of(strategy, result));
}
