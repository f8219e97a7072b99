/* local_search.c: see local_search.h.  Candidates are steps from the best configs, crossings of them and fresh draws; the one with the
 * largest expected improvement that is unlike what is already in flight goes next.  Every fourth proposal is the step from the best config that
 * the surrogate likes most, so that the end of the descent is not left to luck. */
#include "local_search.h"
#include "alloc.h"
#include "surrogate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    FIRST_RANDOM = 10,   /* draws before the surrogate speaks */
    ELITES = 4,
    STEPS = 48,          /* candidates around each elite */
    DRAWS = 96,
    CANDIDATES = ELITES * STEPS * 2 + DRAWS + 64,
    RELEARN_EVERY = 12,
    PATIENCE = 80        /* results without a gain of half a percent before it gives up */
};

struct hone__local {
    hone__surrogate *surrogate;
    hone__config *candidate;
    uint32_t candidate_count;
    uint32_t proposals;
    uint32_t fitted_at;      /* results known at the last fit */
    uint32_t learnt_at;
    bool ready;
    hone__walk *walk;        /* the rest of a nearly exhausted space */
};

hone__local *hone__local_new(const hone__space *space) {
    hone__local *local = hone__alloc(sizeof *local);
    if (local == NULL)
        return NULL;
    local->surrogate = hone__surrogate_new(space);
    local->candidate = hone__alloc_array(CANDIDATES, sizeof *local->candidate);
    if (local->surrogate == NULL || local->candidate == NULL) {
        hone__local_free(local);
        return NULL;
    }
    return local;
}

void hone__local_free(hone__local *local) {
    if (local == NULL)
        return;
    hone__surrogate_free(local->surrogate);
    hone__free(local->candidate);
    hone__walk_free(local->walk);
    hone__free(local);
}

/* Indices of the best results, best first. */
static uint32_t elites_of(const hone__strategy *strategy, uint32_t *elite, uint32_t max) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < strategy->result_count; i++) {
        const hone__result *result = &strategy->result[i];
        if (!result->told || result->measurement.outcome != HONE_OUTCOME_OK)
            continue;
        uint32_t at = count < max ? count : max;
        while (at > 0 && strategy->result[elite[at - 1]].measurement.median_ns > result->measurement.median_ns)
            at--;
        if (at == max)
            continue;
        if (count < max)
            count++;
        for (uint32_t k = count - 1; k > at; k--)
            elite[k] = elite[k - 1];
        elite[at] = i;
    }
    return count;
}

/* Train on the best half and the latest half when there are more results than the surrogate takes. */
static bool fit(hone__local *local, hone__strategy *strategy) {
    if (local->ready && local->fitted_at == strategy->told)
        return true;
    hone__config *config = hone__alloc_array(HONE_SURROGATE_POINTS, sizeof *config);
    double *cost = hone__alloc_array(HONE_SURROGATE_POINTS, sizeof *cost);
    uint32_t count = 0;
    if (config != NULL && cost != NULL) {
        uint32_t elite[HONE_SURROGATE_POINTS / 2];
        uint32_t elites = elites_of(strategy, elite, HONE_SURROGATE_POINTS / 2);
        for (uint32_t i = 0; i < elites; i++) {
            config[count] = strategy->result[elite[i]].config;
            cost[count++] = hone__strategy_cost(strategy, &strategy->result[elite[i]].measurement);
        }
        double worst_elite = elites == 0 ? -HUGE_VAL : strategy->result[elite[elites - 1]].measurement.median_ns;
        for (uint32_t i = strategy->result_count; i-- > 0 && count < HONE_SURROGATE_POINTS;) {
            const hone__result *result = &strategy->result[i];
            bool elite_already = result->measurement.outcome == HONE_OUTCOME_OK &&
                                 (elites < HONE_SURROGATE_POINTS / 2 || result->measurement.median_ns <= worst_elite);
            if (!result->told || elite_already)
                continue;
            config[count] = result->config;
            cost[count++] = hone__strategy_cost(strategy, &result->measurement);
        }
        bool relearn = !local->ready || strategy->told >= local->learnt_at + RELEARN_EVERY;
        local->ready = hone__surrogate_fit(local->surrogate, config, cost, count, relearn);
        local->fitted_at = strategy->told;
        if (relearn)
            local->learnt_at = strategy->told;
    }
    hone__free(config);
    hone__free(cost);
    return local->ready;
}

static void add_candidate(hone__local *local, const hone__strategy *strategy, const hone__config *config) {
    if (local->candidate_count < CANDIDATES && !hone__strategy_was_proposed(strategy, config))
        local->candidate[local->candidate_count++] = *config;
}

/* One random step, any size. */
static bool step(hone__strategy *strategy, const hone__config *from, hone__config *out) {
    hone__config near[STEPS];
    uint32_t radius = (uint32_t)hone__rng_below(&strategy->rng, 3); /* 0: any value */
    uint32_t count = hone__bound_neighbours(strategy->options.bound, from, radius, near, STEPS);
    if (count == 0)
        return false;
    *out = near[hone__rng_below(&strategy->rng, count)];
    return true;
}

static void cross(hone__strategy *strategy, const hone__config *a, const hone__config *b, hone__config *out) {
    *out = *a;
    for (uint32_t p = 0; p < strategy->space->param_count; p++) {
        const hone__param *param = &strategy->space->param[p];
        if (hone__rng_below(&strategy->rng, 2) == 0)
            memcpy(&out->slot[param->first_slot], &b->slot[param->first_slot], param->slot_count * sizeof out->slot[0]);
    }
}

static void gather(hone__local *local, hone__strategy *strategy, const uint32_t *elite, uint32_t elites) {
    local->candidate_count = 0;
    hone__config near[STEPS];
    for (uint32_t e = 0; e < elites; e++) {
        const hone__config *from = &strategy->result[elite[e]].config;
        uint32_t count = hone__bound_neighbours(strategy->options.bound, from, 1, near, STEPS);
        for (uint32_t i = 0; i < count; i++)
            add_candidate(local, strategy, &near[i]);
        for (uint32_t i = 0; i < STEPS; i++) {
            hone__config moved = *from;
            uint32_t steps = 1 + (uint32_t)hone__rng_below(&strategy->rng, 3);
            for (uint32_t k = 0; k < steps && step(strategy, &moved, &moved); k++) {
            }
            add_candidate(local, strategy, &moved);
        }
    }
    for (uint32_t i = 0; i < 64 && elites > 1; i++) {
        hone__config child;
        uint32_t a = (uint32_t)hone__rng_below(&strategy->rng, elites), b = (uint32_t)hone__rng_below(&strategy->rng, elites);
        cross(strategy, &strategy->result[elite[a]].config, &strategy->result[elite[b]].config, &child);
        if (hone__bound_valid(strategy->options.bound, &child, NULL))
            add_candidate(local, strategy, &child);
    }
    for (uint32_t i = 0; i < DRAWS; i++) {
        hone__config drawn;
        if (hone__bound_sample(strategy->options.bound, &strategy->rng, &drawn))
            add_candidate(local, strategy, &drawn);
    }
}

static double score_of(const hone__local *local, const hone__strategy *strategy, const hone__config *config, double best, bool greedy) {
    double score;
    if (greedy) {
        double mean, deviation;
        hone__surrogate_predict(local->surrogate, config, &mean, &deviation);
        return -mean;
    }
    score = hone__surrogate_improvement(local->surrogate, config, best);
    for (uint32_t i = strategy->result_count; i-- > 0 && strategy->result_count - i <= 64;) {
        if (!strategy->result[i].told)
            score *= 1.0 - hone__surrogate_likeness(local->surrogate, config, &strategy->result[i].config);
    }
    return score;
}

static bool propose_one(hone__local *local, hone__strategy *strategy) {
    uint32_t elite[ELITES];
    uint32_t elites = elites_of(strategy, elite, ELITES);
    if (strategy->told < FIRST_RANDOM || elites == 0 || !fit(local, strategy))
        return hone__strategy_queue_random(strategy, 1) == 1;
    gather(local, strategy, elite, elites);
    double best = hone__strategy_cost(strategy, &strategy->result[elite[0]].measurement);
    bool greedy = local->proposals % 4 == 3;
    uint32_t chosen = UINT32_MAX;
    double top = -HUGE_VAL;
    for (uint32_t i = 0; i < local->candidate_count; i++) {
        double score = score_of(local, strategy, &local->candidate[i], best, greedy);
        if (score > top) {
            top = score;
            chosen = i;
        }
    }
    return chosen != UINT32_MAX && hone__strategy_queue(strategy, &local->candidate[chosen], "local");
}

uint32_t hone__local_propose(hone__local *local, hone__strategy *strategy, uint32_t wanted) {
    uint32_t queued = 0;
    while (queued < wanted && local->walk == NULL && propose_one(local, strategy)) {
        queued++;
        local->proposals++;
    }
    if (queued == 0 && local->walk == NULL && hone__walk_new(&local->walk, strategy->options.bound) != HONE_OK)
        return 0;
    hone__config config;
    while (queued < wanted && local->walk != NULL && hone__walk_next(local->walk, &config))
        queued += hone__strategy_queue(strategy, &config, "local");
    return queued;
}

/* ---- the strategy ---- */

static hone_status local_open(hone__strategy *strategy, hone_error *err) {
    hone__strategy_queue_known(strategy);
    strategy->state = hone__local_new(strategy->space);
    return strategy->state != NULL ? HONE_OK : hone__fail(err, HONE_E_NOMEM, "search", "no memory for local search");
}

static void local_close(hone__strategy *strategy) {
    hone__local_free(strategy->state);
}

/* The last result that was better than all before it by half a percent. */
static uint32_t last_gain(const hone__strategy *strategy) {
    double best = HUGE_VAL;
    uint32_t at = 0, told = 0;
    for (uint32_t i = 0; i < strategy->result_count; i++) {
        const hone__result *result = &strategy->result[i];
        if (!result->told)
            continue;
        told++;
        if (result->measurement.outcome == HONE_OUTCOME_OK && result->measurement.median_ns < best * 0.995) {
            best = result->measurement.median_ns;
            at = told;
        }
    }
    return at;
}

bool hone__local_stagnant(hone__strategy *strategy) {
    if (strategy->best == UINT32_MAX || strategy->told < last_gain(strategy) + PATIENCE)
        return false;
    (void)snprintf(strategy->stop, sizeof strategy->stop, "stagnation: no gain of 0.5 %% in %d trials", PATIENCE);
    return true;
}

static hone__ask_state local_propose(hone__strategy *strategy, uint32_t wanted) {
    if (hone__local_stagnant(strategy))
        return HONE_ASK_DONE;
    if (hone__local_propose(strategy->state, strategy, wanted) > 0)
        return HONE_ASK_MORE;
    if (strategy->told < strategy->handed)
        return HONE_ASK_MORE; /* nothing to add before the results in flight are known */
    (void)snprintf(strategy->stop, sizeof strategy->stop, "space exhausted");
    return HONE_ASK_DONE;
}

const hone__strategy_impl hone__strategy_local = {"local", local_open, local_close, local_propose, NULL, NULL};
