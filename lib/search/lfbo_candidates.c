/* lfbo_candidates.c: where the candidates of lfbo come from (lfbo_parts.h): draws from anywhere, neighbours of the best, steps from good configs and
 * from promising candidates, mixtures of two good ones.  The pool keeps them from one proposal to the next. */
#include "lfbo_parts.h"

#include <math.h>
#include <string.h>

/* How these numbers were chosen: tests/bench/README.md. */
enum {
    ELITES = 8,              /* best configs that candidates are made from */
    FIRST_DRAWS = 192,       /* candidates that the pool begins with ... */
    NEIGHBOURS = 96,         /* ... around a new best ... */
    STEPS = 6,               /* ... and more for each proposal: steps from the elites, */
    CLIMBS = 8,              /* steps from candidates that look promising, */
    LOOKED_AT = 16,          /* of which each is the best of so many, */
    CROSSES = 8,             /* mixtures of two elites, */
    DRAWS = 64,              /* draws from anywhere: where few steps are valid, nothing else reaches what is good; */
    DRAWS_LEAST = 4,
    DRAWS_POINTS = 4096,     /* fewer when so many over the process's points, each of which a newcomer is compared with, are less, */
    DRAWS_WORK = 16384       /* or so much work over that of a draw: valid configs may be rare */
};

static uint32_t elites_of(const hone__lfbo *lfbo, const hone__strategy *strategy, uint32_t *elite, uint32_t max) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < lfbo->seen_count; k++) {
        uint32_t i = lfbo->seen[k];
        if (!hone__lfbo_succeeded(&strategy->result[i]))
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

void hone__lfbo_refresh(hone__lfbo *lfbo, hone__strategy *strategy) {
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
    double draws = fmin(DRAWS_POINTS / (1.0 + hone__gaussian_count(lfbo->gaussian)), DRAWS_WORK / hone__bound_draw_work(strategy->options.bound));
    add_draws(lfbo, strategy, (uint32_t)fmax(DRAWS_LEAST, fmin(DRAWS, draws)));
}
