/* lfbo.c: see lfbo.h.  After a few draws that are unlike each other, each proposal is the candidate with the largest expected improvement under
 * the mixture of forest and Gaussian process, times the square of its chance not to fail.  Some proposals take the least predicted cost instead: the polish
 * around the best, one parameter at a time, which is not left to luck.  Learning and the making of candidates: lfbo_parts.h. */
#include "lfbo_parts.h"
#include "alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* How these numbers were chosen: tests/bench/README.md. */
enum {
    BEGIN_AT = 8,            /* results before the surrogates speak */
    APART_DRAWS = 8,         /* draws from which the one least like all others begins */
    POLISH_EVERY = 8,        /* proposals, of which one takes the least predicted cost */
    TREES = 16,
    FAILURE_TREES = 16,
    RECENT_MAX = 32,
    TRANSFERRED = 3,         /* configs of the evidence that are tried first, */
    DRAWS_BESIDE = 3,        /* draws that they are judged beside, */
    OPPOSITES = 3,           /* and, if they are better, the best with one value exchanged; else as many draws more */
    PATIENCE = 80            /* results without a gain that is worth it */
};
static const double evidence_shows = 0.6; /* pairs of one of its best configs and a draw in which the former is better */
static const double expected_share = 0.1; /* of the gain that is worth going on for: if a trial is expected to bring less, half the patience does */
static const double process_share = 0.85; /* of the process in the mixture, the forest has the rest */

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
        hone__forest_options options = {.trees = TREES, .tries = 2 + width / 4};
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

/* Candidates like a config whose result is about to come, or like one that has just failed, are worth less.  The likest counts alone: with thirty
 * in flight all around the best, the product of all would leave nothing there and drive the search into what is known to be bad. */
static double unlike_recent(const hone__lfbo *lfbo, const float *point, const float *recent, uint32_t count) {
    double factor = 1.0;
    for (uint32_t i = 0; i < count; i++)
        factor = fmin(factor, 1.0 - hone__gaussian_likeness(lfbo->gaussian, point, recent + (size_t)i * lfbo->pool.width));
    return factor;
}

/* What is being measured, and what failed since the forest was grown, which does not know of it yet. */
static uint32_t place_recent(const hone__lfbo *lfbo, const hone__strategy *strategy, float **points) {
    const uint32_t open = strategy->result_count - strategy->told;
    uint32_t count = 0;
    *points = hone__alloc_array((size_t)RECENT_MAX * (lfbo->pool.width + 1), sizeof **points);
    for (uint32_t i = strategy->result_count; *points != NULL && i-- > 0 && count < open && count < RECENT_MAX;) {
        if (!strategy->result[i].told)
            hone__gaussian_place(lfbo->gaussian, &strategy->result[i].config, *points + (size_t)count++ * lfbo->pool.width);
    }
    for (uint32_t k = lfbo->seen_count; *points != NULL && k-- > lfbo->forest_at && count < RECENT_MAX;) {
        const hone__result *result = &strategy->result[lfbo->seen[k]];
        if (!hone__lfbo_succeeded(result))
            hone__gaussian_place(lfbo->gaussian, &result->config, *points + (size_t)count++ * lfbo->pool.width);
    }
    return count;
}

/* Score all members; the best of them by expected improvement, or by least cost (`polish`). */
static uint32_t choose(hone__lfbo *lfbo, const hone__strategy *strategy, bool polish) {
    hone__pool *pool = &lfbo->pool;
    const double best = hone__lfbo_warped(lfbo, strategy, lfbo->best);
    uint32_t chosen = UINT32_MAX;
    double top = -HUGE_VAL, top_gain = 0;
    float *recent = NULL;
    uint32_t recent_count = place_recent(lfbo, strategy, &recent);
    for (uint32_t i = 0; i < pool->count; i++) {
        outlook seen = look(lfbo, i);
        double runs = 1.0 - seen.failing; /* squared: a few trees that have not heard of a failure must not make a region of them worth a visit */
        double gain = improvement(seen.mean, sqrt(seen.variance + 1e-10), best) * runs * runs;
        pool->score[i] = gain;
        top_gain = fmax(top_gain, gain);
        double score = polish ? -seen.mean - 3.0 * seen.failing : gain;
        if (!polish && score > top) /* it can only become less */
            score *= unlike_recent(lfbo, pool->point + (size_t)i * pool->width, recent, recent_count);
        if (score > top) {
            top = score;
            chosen = i;
        }
    }
    hone__free(recent);
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

static double result_cost(const hone__strategy *strategy, uint32_t result) {
    return hone__lfbo_succeeded(&strategy->result[result]) ? log(strategy->result[result].measurement.median_ns) : HUGE_VAL;
}

double hone__lfbo_against_draws(const hone__strategy *strategy, const char *proposer) {
    double better = 0, pairs = 0;
    for (uint32_t i = 0; i < strategy->result_count; i++) {
        const hone__result *advised = &strategy->result[i];
        if (!advised->told || strncmp(advised->proposer, proposer, strlen(proposer)) != 0)
            continue;
        double cost = result_cost(strategy, i);
        for (uint32_t k = 0; k < strategy->result_count; k++) {
            if (!strategy->result[k].told || strcmp(strategy->result[k].proposer, "random") != 0)
                continue;
            double drawn = result_cost(strategy, k);
            better += cost < drawn ? 1.0 : cost > drawn ? 0.0 : 0.5;
            pairs += 1.0;
        }
    }
    return pairs > 0 ? better / pairs : 0.5;
}

/* What the best configs elsewhere have in common may be wrong here, and no transferred config would show it: one value of the best is exchanged, as
 * long as the best is not what was known without them, and the evidence has shown that it knows something. */
static bool queue_opposite(hone__lfbo *lfbo, hone__strategy *strategy) {
    if (lfbo->opposites == 0 || lfbo->seen_count < lfbo->transferred_end + DRAWS_BESIDE || lfbo->best == UINT32_MAX)
        return false;
    lfbo->opposites--;
    const hone__result *best = &strategy->result[lfbo->best];
    return strcmp(best->proposer, "default") != 0 && strcmp(best->proposer, "known") != 0 && strcmp(best->proposer, "seed") != 0 &&
           hone__lfbo_against_draws(strategy, "transfer") >= evidence_shows &&
           hone__prior_queue_opposite(&lfbo->prior, lfbo->features, strategy, &best->config);
}

static bool propose_one(hone__lfbo *lfbo, hone__strategy *strategy) {
    if (!hone__lfbo_take(lfbo, strategy))
        return false;
    if (queue_opposite(lfbo, strategy))
        return true;
    if (lfbo->seen_count < BEGIN_AT || strategy->result_count < lfbo->draws_wanted || lfbo->ok < 2)
        return hone__lfbo_queue_apart(strategy);
    if (!hone__lfbo_learn(lfbo, strategy))
        return false;
    hone__lfbo_refresh(lfbo, strategy);
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
    lfbo->draws_wanted = strategy->result_count + TRANSFERRED + DRAWS_BESIDE + OPPOSITES;
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
