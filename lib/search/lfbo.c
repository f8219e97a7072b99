/* lfbo.c: see lfbo.h.  After a few draws that are unlike each other, each proposal is the candidate with the largest expected improvement under
 * the mixture of forest and Gaussian process, times its chance not to fail.  Some proposals take the least predicted cost instead: the polish
 * around the best, one parameter at a time, which is not left to luck. */
#include "lfbo.h"
#include "alloc.h"
#include "pool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How these numbers were chosen: tests/bench/README.md. */
enum {
    BEGIN_AT = 8,            /* results before the surrogates speak */
    APART_DRAWS = 8,         /* draws from which the one least like all others begins */
    ELITES = 8,              /* best configs that candidates are made from */
    FIRST_DRAWS = 192,       /* candidates that the pool begins with ... */
    NEIGHBOURS = 96,         /* ... around a new best ... */
    STEPS = 6,               /* ... and more for each proposal: steps from the elites, */
    CLIMBS = 8,              /* steps from candidates that look promising, */
    LOOKED_AT = 16,          /* of which each is the best of so many, */
    CROSSES = 8,             /* mixtures of two elites, */
    DRAWS = 4,               /* draws from anywhere */
    POLISH_EVERY = 8,        /* proposals, of which one takes the least predicted cost */
    TREES = 24,
    FAILURE_TREES = 16,
    FIT_POINTS = 160,        /* of the process, when there are more results: the best and the latest */
    FOREST_ROWS = 480,
    REGROW_LATER = 150,      /* results from which the forests are grown anew less often: they cost more, and differ less */
    PENDING_MAX = 32,
    JUDGED_MAX = 256,
    TRANSFERRED = 3,         /* configs of the evidence that are tried first, */
    OPPOSITES = 3,           /* the best of them with one value exchanged, */
    DRAWS_BESIDE = 3,        /* and draws that they are judged beside */
    PATIENCE = 80            /* results without a gain that is worth it */
};
static const double expected_share = 0.1; /* of the gain that is worth going on for: if a trial is expected to bring less, half the patience does */
static const double process_share = 0.85; /* of the process in the mixture, the forest has the rest */
static const double warp_share = 1.0;      /* of the distance from the best to the median: what is worse than that is told apart less and less */
static const double warp_least = 0.05;
static const double relearn_growth = 1.25; /* more successes than at the last time, before weights are learnt anew */
static const double regrow_growth = 1.08, regrow_later = 1.2;  /* likewise results, before the forest is grown anew */

struct hone__lfbo {
    hone__features *features;
    hone__gaussian *gaussian;
    hone__forest *costs, *failures;
    hone__pool pool;
    hone__prior prior;
    double *residue;             /* by result: cost less what the prior explains */
    float (*foreseen)[HONE_PRIOR_SOURCES]; /* by result: what the prior predicts */
    uint32_t *seen;              /* results taken in, in order */
    uint32_t seen_count, seen_capacity;
    uint8_t *taken;              /* by result */
    uint32_t taken_capacity;
    uint32_t point_result[HONE_GAUSSIAN_POINTS];
    uint32_t fits_ok;            /* successes at the last learning of weights */
    uint32_t ok;                 /* successes so far */
    uint32_t forest_at;          /* results at the last growing of the forest */
    double forest_trust[HONE_PRIOR_SOURCES]; /* of the prior, when it grew */
    double forest_base;          /* what its targets count from */
    uint32_t taught_count;       /* results that the process has */
    bool taught;
    bool any_failed, forest_ready, failures_ready, whole;
    bool started;
    uint32_t best_expanded;      /* whose neighbours are in the pool */
    uint32_t proposals;
    uint32_t transferred_end;    /* results that the cache is the reason of come before */
    uint32_t opposites;          /* that are still due */
    uint32_t draws_wanted;       /* results before the surrogates speak, when there is evidence: some are draws */
    double warp_base, warp_scale;
    double gain;                 /* smoothed largest expected improvement */
    uint32_t best;               /* of the results taken in; UINT32_MAX */
    hone__walk *walk;
};

hone__lfbo *hone__lfbo_new(const hone__space *space) {
    hone__lfbo *lfbo = hone__alloc(sizeof *lfbo);
    if (lfbo == NULL)
        return NULL;
    lfbo->best_expanded = lfbo->best = UINT32_MAX;
    lfbo->gain = 1.0;
    lfbo->features = hone__features_new(space);
    lfbo->gaussian = hone__gaussian_new(space);
    if (lfbo->features != NULL && lfbo->gaussian != NULL) {
        uint32_t width = hone__features_count(lfbo->features);
        hone__forest_options options = {.trees = TREES, .tries = 2 + width / 2, .leaf_min = 1};
        lfbo->costs = hone__forest_new(width, &options);
        options.trees = FAILURE_TREES;
        lfbo->failures = hone__forest_new(width, &options);
    }
    if (lfbo->costs == NULL || lfbo->failures == NULL || !hone__pool_open(&lfbo->pool, lfbo->gaussian, lfbo->features, &lfbo->prior)) {
        hone__lfbo_free(lfbo);
        return NULL;
    }
    return lfbo;
}

void hone__lfbo_free(hone__lfbo *lfbo) {
    if (lfbo == NULL)
        return;
    hone__features_free(lfbo->features);
    hone__gaussian_free(lfbo->gaussian);
    hone__forest_free(lfbo->costs);
    hone__forest_free(lfbo->failures);
    hone__pool_close(&lfbo->pool);
    hone__prior_close(&lfbo->prior);
    hone__walk_free(lfbo->walk);
    hone__free(lfbo->seen);
    hone__free(lfbo->taken);
    hone__free(lfbo->residue);
    hone__free(lfbo->foreseen);
    hone__free(lfbo);
}

/* ---- taking in results ---- */

static bool succeeded(const hone__result *result) {
    return result->told && (result->measurement.outcome == HONE_OUTCOME_OK || result->measurement.outcome == HONE_OUTCOME_SLOW) &&
           result->measurement.median_ns > 0;
}

static double cost_of(const hone__strategy *strategy, uint32_t result) {
    return log(strategy->result[result].measurement.median_ns);
}

static bool take_results(hone__lfbo *lfbo, const hone__strategy *strategy) {
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
        lfbo->seen[lfbo->seen_count++] = i;
        if (succeeded(&strategy->result[i])) {
            lfbo->ok++;
            lfbo->best = lfbo->best == UINT32_MAX || cost_of(strategy, i) < cost_of(strategy, lfbo->best) ? i : lfbo->best;
        }
        lfbo->any_failed = lfbo->any_failed || !succeeded(&strategy->result[i]);
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
        if (succeeded(&strategy->result[lfbo->seen[k]]))
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
        if (!succeeded(&strategy->result[i]))
            continue;
        cost[count] = warped(lfbo, cost_of(strategy, i));
        memcpy(foreseen[count++], lfbo->foreseen[i], sizeof foreseen[0]);
    }
    hone__prior_judge(&lfbo->prior, cost, (const float (*)[HONE_PRIOR_SOURCES])foreseen, count);
    for (uint32_t k = 0; k < lfbo->seen_count; k++) {
        uint32_t i = lfbo->seen[k];
        if (succeeded(&strategy->result[i]))
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
        if (succeeded(&strategy->result[lfbo->seen[i]]))
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
        if (!succeeded(&strategy->result[result]))
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
        lfbo->forest_ready = hone__forest_fit(lfbo->costs, rows, targets, NULL, count, &strategy->rng);
        count = lfbo->seen_count < FOREST_ROWS ? lfbo->seen_count : FOREST_ROWS;
        for (uint32_t i = 0; i < count && lfbo->any_failed; i++) {
            const hone__result *result = &strategy->result[lfbo->seen[lfbo->seen_count - count + i]];
            hone__features_fill(lfbo->features, &result->config, rows + (size_t)i * width);
            targets[i] = succeeded(result) ? 0.0f : 1.0f;
        }
        if (lfbo->any_failed)
            lfbo->failures_ready = hone__forest_fit(lfbo->failures, rows, targets, NULL, count, &strategy->rng);
        lfbo->forest_at = lfbo->seen_count;
        for (uint32_t i = 0; i < lfbo->pool.count; i++)
            lfbo->pool.forest_variance[i] = -1;
    }
    hone__free(chosen);
    hone__free(rows);
    hone__free(targets);
}

/* ---- candidates ---- */

static uint32_t elites_of(const hone__lfbo *lfbo, const hone__strategy *strategy, uint32_t *elite, uint32_t max) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < lfbo->seen_count; k++) {
        uint32_t i = lfbo->seen[k];
        if (!succeeded(&strategy->result[i]))
            continue;
        double time = strategy->result[i].measurement.median_ns;
        uint32_t at = count < max ? count : max;
        while (at > 0 && strategy->result[elite[at - 1]].measurement.median_ns > time)
            at--;
        if (at == max)
            continue;
        if (count < max)
            count++;
        for (uint32_t m = count - 1; m > at; m--)
            elite[m] = elite[m - 1];
        elite[at] = i;
    }
    return count;
}

/* One parameter changed: a step, two steps or any value; false if no try was valid. */
static bool mutate(hone__strategy *strategy, hone__config *config) {
    const hone__space *space = strategy->space;
    for (int tries = 0; tries < 12; tries++) {
        uint32_t slot = (uint32_t)hone__rng_below(&strategy->rng, space->slot_count);
        const hone__param *param = &space->param[hone__space_param_of_slot(space, slot)];
        hone__config changed = *config;
        if (param->kind == HONE_KIND_PERMUTATION) {
            uint32_t other = param->first_slot + (uint32_t)hone__rng_below(&strategy->rng, param->slot_count);
            changed.slot[slot] = config->slot[other];
            changed.slot[other] = config->slot[slot];
        } else {
            uint32_t reach = 1 + (uint32_t)hone__rng_below(&strategy->rng, 2), index = config->slot[slot];
            bool any = hone__rng_below(&strategy->rng, 3) == 0, up = hone__rng_below(&strategy->rng, 2) == 0;
            if (any)
                index = (uint32_t)hone__rng_below(&strategy->rng, param->domain.count);
            else
                index = up ? index + reach : index - reach; /* wraps below 0: not valid */
            changed.slot[slot] = index;
        }
        if (changed.slot[slot] != config->slot[slot] && hone__bound_valid(strategy->options.bound, &changed, NULL)) {
            *config = changed;
            return true;
        }
    }
    return false;
}

static void cross(hone__strategy *strategy, const hone__config *a, const hone__config *b, hone__config *out) {
    *out = *a;
    for (uint32_t p = 0; p < strategy->space->param_count; p++) {
        const hone__param *param = &strategy->space->param[p];
        if (hone__rng_below(&strategy->rng, 2) == 0)
            memcpy(&out->slot[param->first_slot], &b->slot[param->first_slot], param->slot_count * sizeof out->slot[0]);
    }
}

static void add_draws(hone__lfbo *lfbo, hone__strategy *strategy, uint32_t count) {
    hone__config drawn;
    for (uint32_t i = 0; i < count && hone__bound_sample(strategy->options.bound, &strategy->rng, &drawn); i++)
        (void)hone__pool_add(&lfbo->pool, strategy, &drawn);
}

static void begin_pool(hone__lfbo *lfbo, hone__strategy *strategy) {
    lfbo->started = true;
    bool exact = false;
    double count = hone__bound_count(strategy->options.bound, &exact);
    hone__walk *walk = NULL;
    if (exact && count <= HONE_POOL_MEMBERS && hone__walk_new(&walk, strategy->options.bound) == HONE_OK) {
        hone__config config;
        while (hone__walk_next(walk, &config))
            (void)hone__pool_add(&lfbo->pool, strategy, &config);
        hone__walk_free(walk);
        lfbo->whole = true;
        return;
    }
    add_draws(lfbo, strategy, FIRST_DRAWS);
}

/* From the most promising of some candidates: the maximum of what is expected is looked for, not only found among what was drawn. */
static void climb(hone__lfbo *lfbo, hone__strategy *strategy) {
    hone__pool *pool = &lfbo->pool;
    uint32_t top = UINT32_MAX;
    for (uint32_t k = 0; k < LOOKED_AT && pool->count > 0; k++) {
        uint32_t at = (uint32_t)hone__rng_below(&strategy->rng, pool->count);
        if (isfinite(pool->score[at]) && (top == UINT32_MAX || pool->score[at] > pool->score[top]))
            top = at;
    }
    if (top == UINT32_MAX)
        return;
    hone__config moved = pool->config[top];
    if (mutate(strategy, &moved))
        (void)hone__pool_add(pool, strategy, &moved);
}

static void refresh_pool(hone__lfbo *lfbo, hone__strategy *strategy) {
    if (!lfbo->started)
        begin_pool(lfbo, strategy);
    if (lfbo->whole)
        return;
    uint32_t elite[ELITES];
    uint32_t elites = elites_of(lfbo, strategy, elite, ELITES);
    if (HONE_POOL_MEMBERS - lfbo->pool.count < NEIGHBOURS + 32)
        hone__pool_thin(&lfbo->pool, HONE_POOL_MEMBERS / 2 + 64);
    if (lfbo->best != lfbo->best_expanded) {
        hone__config near[NEIGHBOURS];
        lfbo->best_expanded = lfbo->best;
        uint32_t count = hone__bound_neighbours(strategy->options.bound, &strategy->result[lfbo->best].config, 0, near, NEIGHBOURS);
        for (uint32_t i = 0; i < count; i++)
            (void)hone__pool_add(&lfbo->pool, strategy, &near[i]);
    }
    for (uint32_t i = 0; i < STEPS && elites > 0; i++) {
        hone__config moved = strategy->result[elite[hone__rng_below(&strategy->rng, elites)]].config;
        uint32_t steps = 1 + (uint32_t)hone__rng_below(&strategy->rng, 3);
        for (uint32_t k = 0; k < steps && mutate(strategy, &moved); k++) {
        }
        (void)hone__pool_add(&lfbo->pool, strategy, &moved);
    }
    for (uint32_t i = 0; i < CLIMBS; i++)
        climb(lfbo, strategy);
    for (uint32_t i = 0; i < CROSSES && elites > 1; i++) {
        hone__config child;
        uint32_t a = (uint32_t)hone__rng_below(&strategy->rng, elites), b = (uint32_t)hone__rng_below(&strategy->rng, elites);
        cross(strategy, &strategy->result[elite[a]].config, &strategy->result[elite[b]].config, &child);
        if (hone__bound_valid(strategy->options.bound, &child, NULL))
            (void)hone__pool_add(&lfbo->pool, strategy, &child);
    }
    add_draws(lfbo, strategy, DRAWS);
}

/* ---- choosing ---- */

static double improvement(double mean, double deviation, double best) {
    double z = (best - mean) / deviation;
    return deviation * (z * 0.5 * erfc(-z * 0.7071067811865476) + exp(-0.5 * z * z) * 0.3989422804014327);
}

/* What both surrogates say of one member, brought up to date. */
typedef struct outlook {
    double mean, variance, failing;
} outlook;

static outlook look(hone__lfbo *lfbo, uint32_t member) {
    hone__pool *pool = &lfbo->pool;
    const uint32_t points = hone__gaussian_count(lfbo->gaussian);
    float *whitened = pool->whitened + (size_t)member * HONE_GAUSSIAN_POINTS;
    if (pool->known[member] < points) {
        hone__gaussian_whiten(lfbo->gaussian, pool->point + (size_t)member * pool->width, pool->known[member], whitened);
        pool->known[member] = points;
    }
    if (pool->forest_variance[member] < 0) {
        const float *row = pool->row + (size_t)member * pool->row_width;
        double mean = 0, variance = 0, failing = 0, unused;
        hone__forest_predict(lfbo->costs, row, &mean, &variance);
        if (lfbo->failures_ready)
            hone__forest_predict(lfbo->failures, row, &failing, &unused);
        pool->forest_mean[member] = (float)mean;
        pool->forest_variance[member] = (float)variance;
        pool->failing[member] = (float)failing;
    }
    double mean, deviation;
    double tree = lfbo->forest_base + (double)pool->forest_mean[member] + hone__prior_sum(lfbo->forest_trust, pool->prior[member]);
    hone__gaussian_predict(lfbo->gaussian, whitened, &mean, &deviation);
    mean += hone__prior_sum(lfbo->prior.trust, pool->prior[member]);
    double apart = mean - tree;
    const double p = process_share, q = 1.0 - p;
    return (outlook){.mean = p * mean + q * tree,
                     .variance = p * deviation * deviation + q * (double)pool->forest_variance[member] + p * q * apart * apart,
                     .failing = (double)pool->failing[member]};
}

/* Candidates like a config that is being measured are worth less: its result is about to come. */
static double unlike_pending(const hone__lfbo *lfbo, const float *point, const float *pending, uint32_t count) {
    double factor = 1.0;
    for (uint32_t i = 0; i < count; i++)
        factor *= 1.0 - hone__gaussian_likeness(lfbo->gaussian, point, pending + (size_t)i * lfbo->pool.width);
    return factor;
}

static uint32_t place_pending(const hone__lfbo *lfbo, const hone__strategy *strategy, float **points) {
    *points = NULL;
    uint32_t open = strategy->result_count - strategy->told, count = 0;
    if (open == 0)
        return 0;
    *points = hone__alloc_array((size_t)PENDING_MAX * (lfbo->pool.width + 1), sizeof **points);
    for (uint32_t i = strategy->result_count; *points != NULL && i-- > 0 && count < open && count < PENDING_MAX;) {
        if (!strategy->result[i].told)
            hone__gaussian_place(lfbo->gaussian, &strategy->result[i].config, *points + (size_t)count++ * lfbo->pool.width);
    }
    return count;
}

/* Score all members; the best of them by expected improvement, or by least cost (`polish`). */
static uint32_t choose(hone__lfbo *lfbo, const hone__strategy *strategy, bool polish) {
    hone__pool *pool = &lfbo->pool;
    const double best = warped(lfbo, cost_of(strategy, lfbo->best));
    uint32_t chosen = UINT32_MAX;
    double top = -HUGE_VAL, top_gain = 0;
    float *pending = NULL;
    uint32_t pending_count = place_pending(lfbo, strategy, &pending);
    for (uint32_t i = 0; i < pool->count; i++) {
        outlook seen = look(lfbo, i);
        double gain = improvement(seen.mean, sqrt(seen.variance + 1e-10), best) * (1.0 - seen.failing);
        pool->score[i] = gain;
        top_gain = fmax(top_gain, gain);
        double score = polish ? -seen.mean - 3.0 * seen.failing : gain;
        if (!polish && pending_count > 0)
            score *= unlike_pending(lfbo, pool->point + (size_t)i * pool->width, pending, pending_count);
        if (score > top) {
            top = score;
            chosen = i;
        }
    }
    hone__free(pending);
    lfbo->gain = 0.9 * lfbo->gain + 0.1 * top_gain;
    return chosen;
}

/* ---- the beginning ---- */

static double nearest(const hone__strategy *strategy, const hone__config *config) {
    const hone__space *space = strategy->space;
    double least = HUGE_VAL;
    for (uint32_t i = 0; i < strategy->result_count; i++) {
        double distance = 0;
        for (uint32_t s = 0; s < space->slot_count; s++) {
            uint32_t a = config->slot[s], b = strategy->result[i].config.slot[s];
            uint32_t last = space->param[hone__space_param_of_slot(space, s)].domain.count - 1;
            distance += a == b ? 0 : 0.3 + 0.7 * fabs((double)a - (double)b) / last;
        }
        least = fmin(least, distance);
    }
    return least;
}

/* The one of some draws that is least like anything proposed. */
bool hone__lfbo_queue_apart(hone__strategy *strategy) {
    hone__config drawn, chosen = strategy->space->base;
    double top = -1;
    for (int i = 0; i < 4 * APART_DRAWS && (i < APART_DRAWS || top < 0); i++) {
        if (!hone__bound_sample(strategy->options.bound, &strategy->rng, &drawn))
            break;
        double apart = hone__strategy_was_proposed(strategy, &drawn) ? -1 : nearest(strategy, &drawn);
        if (apart > top) {
            top = apart;
            chosen = drawn;
        }
    }
    return top >= 0 && hone__strategy_queue(strategy, &chosen, "random");
}

/* What the best configs elsewhere have in common may be wrong here, and no transferred config would show it: one value of the best is exchanged, as
 * long as the best is not what was known without them. */
static bool queue_opposite(hone__lfbo *lfbo, hone__strategy *strategy) {
    if (lfbo->opposites == 0 || lfbo->seen_count < lfbo->transferred_end || lfbo->best == UINT32_MAX)
        return false;
    lfbo->opposites--;
    const hone__result *best = &strategy->result[lfbo->best];
    return strcmp(best->proposer, "default") != 0 && strcmp(best->proposer, "seed") != 0 &&
           hone__prior_queue_opposite(&lfbo->prior, lfbo->features, strategy, &best->config);
}

static bool propose_one(hone__lfbo *lfbo, hone__strategy *strategy) {
    uint32_t first = lfbo->seen_count;
    if (!take_results(lfbo, strategy))
        return false;
    if (lfbo->seen_count > first)
        lfbo->taught = false;
    if (queue_opposite(lfbo, strategy))
        return true;
    if (lfbo->seen_count < BEGIN_AT || strategy->result_count < lfbo->draws_wanted || lfbo->ok < 2)
        return hone__lfbo_queue_apart(strategy);
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
    if (!lfbo->forest_ready)
        return false;
    refresh_pool(lfbo, strategy);
    for (;;) { /* a member may have been proposed by somebody else since it came into the pool */
        uint32_t chosen = choose(lfbo, strategy, lfbo->proposals % POLISH_EVERY == POLISH_EVERY - 1);
        if (chosen == UINT32_MAX)
            return false;
        hone__config config = lfbo->pool.config[chosen];
        hone__pool_remove(&lfbo->pool, chosen);
        if (hone__strategy_queue(strategy, &config, "lfbo"))
            return true;
        if (strategy->failed != HONE_OK)
            return false;
    }
}


uint32_t hone__lfbo_propose(hone__lfbo *lfbo, hone__strategy *strategy, uint32_t wanted) {
    uint32_t queued = 0;
    while (queued < wanted && lfbo->walk == NULL && propose_one(lfbo, strategy)) {
        queued++;
        lfbo->proposals++;
    }
    if (queued == 0 && lfbo->walk == NULL && hone__walk_new(&lfbo->walk, strategy->options.bound) != HONE_OK)
        return 0;
    hone__config config;
    while (queued < wanted && lfbo->walk != NULL && hone__walk_next(lfbo->walk, &config))
        queued += hone__strategy_queue(strategy, &config, "lfbo");
    return queued;
}

void hone__lfbo_offer(hone__lfbo *lfbo, const hone__strategy *strategy, const hone__config *config) {
    if (hone__bound_valid(strategy->options.bound, config, NULL))
        (void)hone__pool_add(&lfbo->pool, strategy, config);
}

bool hone__lfbo_evidence(hone__lfbo *lfbo, hone__strategy *strategy) {
    if (strategy->options.evidence_count == 0)
        return true;
    if (!hone__prior_open(&lfbo->prior, &strategy->options, lfbo->features, &strategy->rng))
        return false;
    lfbo->draws_wanted = strategy->result_count + TRANSFERRED + OPPOSITES + DRAWS_BESIDE;
    hone__prior_queue_best(&lfbo->prior, lfbo->features, strategy, TRANSFERRED);
    lfbo->transferred_end = strategy->result_count;
    lfbo->opposites = OPPOSITES;
    return true;
}

/* ---- the strategy ---- */

static hone_status lfbo_open(hone__strategy *strategy, hone_error *err) {
    hone__strategy_queue_known(strategy);
    hone__lfbo *lfbo = hone__lfbo_new(strategy->space);
    strategy->state = lfbo;
    return lfbo != NULL && hone__lfbo_evidence(lfbo, strategy) ? HONE_OK : hone__fail(err, HONE_E_NOMEM, "search", "no memory for the surrogate");
}

static void lfbo_close(hone__strategy *strategy) {
    hone__lfbo_free(strategy->state);
}

/* The last result that was better than all before it by a gain that is worth it. */
static uint32_t last_gain(const hone__strategy *strategy) {
    double best = HUGE_VAL;
    uint32_t at = 0, told = 0;
    for (uint32_t i = 0; i < strategy->result_count; i++) {
        const hone__result *result = &strategy->result[i];
        if (!result->told)
            continue;
        told++;
        if (result->measurement.outcome == HONE_OUTCOME_OK && result->measurement.median_ns < best * (1.0 - strategy->options.min_gain)) {
            best = result->measurement.median_ns;
            at = told;
        }
    }
    return at;
}

bool hone__lfbo_stagnant(const hone__lfbo *lfbo, hone__strategy *strategy) {
    double worth = strategy->options.min_gain;
    if (worth <= 0 || strategy->best == UINT32_MAX)
        return false;
    uint32_t since = strategy->told - last_gain(strategy);
    if (since >= PATIENCE)
        (void)snprintf(strategy->stop, sizeof strategy->stop, "stagnation: no gain of %.3g %% in %d trials", 100 * worth, PATIENCE);
    else if (since >= PATIENCE / 2 && lfbo->gain < expected_share * worth)
        (void)snprintf(strategy->stop, sizeof strategy->stop, "stagnation: a trial is expected to gain %.2g %%, and none did in %u", 100 * lfbo->gain,
                       since);
    else
        return false;
    return true;
}

static hone__ask_state lfbo_propose(hone__strategy *strategy, uint32_t wanted) {
    if (hone__lfbo_stagnant(strategy->state, strategy))
        return HONE_ASK_DONE;
    if (hone__lfbo_propose(strategy->state, strategy, wanted) > 0)
        return HONE_ASK_MORE;
    if (strategy->told < strategy->handed)
        return HONE_ASK_MORE; /* nothing to add before the results in flight are known */
    (void)snprintf(strategy->stop, sizeof strategy->stop, "space exhausted");
    return HONE_ASK_DONE;
}

const hone__strategy_impl hone__strategy_lfbo = {"lfbo", lfbo_open, lfbo_close, lfbo_propose, NULL, NULL};
