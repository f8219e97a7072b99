/* sample.c: random valid assignments of one group, and how many there are.
 *
 * Three ways, from fair to merely certain.  (1) Completion: a uniform node of the trie, completed by uniform values, thrown away
 * as a whole at the first constraint that fails: exactly uniform, but slow when few completions are valid.  (2) Dives: at each
 * level a uniform choice among the values that pass; a dive that arrives has its number of ways as weight, and one of several
 * dives is taken by weight: near uniform.  (3) Randomised depth-first search with restarts: finds what there is, not fair. */
#include "group.h"

enum {
    DIVE_VALUES = 256,          /* children looked at in one level of a dive */
    DIVE_RARE = 4,              /* of DIVE_VALUES random ones */
    DIVE_TRIES = 2048,          /* in looking at all values of a large domain */
    DIVE_KEEP = 12,             /* dives to choose from */
    LINE_MAX = 2,               /* with more valid values in a line, single completions are as good */
    MEASURE_COMPLETIONS = 1u << 17, /* work in measuring ... */
    MEASURE_LINES = 1u << 20,
    MEASURE_HITS = 4000,        /* more would not make the estimate much better */
    MEASURE_DIVES = 1u << 18,
    MEASURE_DESCENTS = 1u << 22,
    SAMPLE_DIVES = 1u << 19,    /* ... and in one sample */
    SAMPLE_DESCENTS = 1u << 22,
};

uint32_t hone__draw(hone__rng *rng, uint32_t bound) {
    uint64_t product = (hone__rng_next(rng) >> 32) * bound;
    if ((uint32_t)product < bound) {
        uint32_t threshold = (0 - bound) % bound;
        while ((uint32_t)product < threshold)
            product = (hone__rng_next(rng) >> 32) * bound;
    }
    return (uint32_t)(product >> 32);
}

static uint32_t base_count(const hone__group *group) {
    return group->complete == 0 ? 1 : group->level[group->complete - 1].node_count;
}

static void load_random_node(const hone__group *group, hone__rng *rng, hone__draft *draft) {
    hone__draft_clear(draft, group);
    hone__draft_load(draft, group, group->complete, hone__draw(rng, base_count(group)));
    draft->work += group->complete / 4 + 1;
}

static uint32_t draw_value(const hone__level *level, hone__rng *rng, const hone__draft *draft) {
    uint32_t rank = hone__draw(rng, level->choices);
    if (!level->is_order)
        return rank;
    uint32_t value = 0;
    for (;; value++) {
        if ((draft->used[level->param] >> value & 1) == 0 && rank-- == 0)
            return value;
    }
}

static bool complete_once(const hone__group *group, hone__rng *rng, hone__draft *draft) {
    load_random_node(group, rng, draft);
    for (uint32_t i = group->complete; i < group->level_count; i++) {
        const hone__level *level = &group->level[i];
        draft->work++;
        hone__draft_set(draft, level, draw_value(level, rng, draft));
        if (!hone__draft_check(draft, level))
            return false;
    }
    return true;
}

static bool passes(const hone__level *level, hone__draft *draft, uint32_t value) {
    draft->work++;
    if (level->is_order && (draft->used[level->param] >> value & 1) != 0)
        return false;
    hone__draft_set(draft, level, value);
    bool fits = hone__draft_check(draft, level);
    hone__draft_unset(draft, level);
    return fits;
}

/* All values that pass, one of them chosen; false if that took more than `tries_max` tries. */
static bool dive_all(const hone__level *level, hone__rng *rng, hone__draft *draft, uint32_t tries_max, uint32_t *count,
                     uint32_t *chosen) {
    uint32_t failed = 0;
    uint32_t tries = 0;
    *count = 0;
    for (uint32_t value = 0; value < level->count; value++) {
        if (failed >= HONE__SKIP_AFTER) {
            failed = 0;
            value = hone__draft_skip(draft, level, value);
            if (value == level->count)
                break;
        }
        if (tries++ == tries_max)
            return false;
        failed++;
        if (!passes(level, draft, value))
            continue;
        failed = 0;
        if (hone__draw(rng, ++*count) == 0)
            *chosen = value;
    }
    return true;
}

/* Choose among the values of a checked level that pass; returns how many there are (estimated for large domains). */
static double dive_level(const hone__level *level, hone__rng *rng, hone__draft *draft) {
    uint32_t count = 0;
    uint32_t chosen = 0;
    double total = 0;
    if (level->count <= DIVE_VALUES) {
        (void)dive_all(level, rng, draft, level->count, &count, &chosen);
        total = count;
    } else {
        for (uint32_t i = 0; i < DIVE_VALUES; i++) {
            uint32_t value = draw_value(level, rng, draft);
            if (passes(level, draft, value) && hone__draw(rng, ++count) == 0)
                chosen = value;
        }
        total = (double)count * level->count / DIVE_VALUES;
        uint32_t all;
        uint32_t other = 0;
        /* Too rare to be met by chance: intervals may lead there. */
        if (count < DIVE_RARE && dive_all(level, rng, draft, DIVE_TRIES, &all, &other)) {
            total = count = all;
            chosen = other;
        }
    }
    if (count > 0)
        hone__draft_set(draft, level, chosen);
    return total;
}

/* The last level's values are looked at all at once: cheaper than single completions where few are valid. */
static bool has_lines(const hone__group *group) {
    const hone__level *last = &group->level[group->level_count - 1];
    return group->complete < group->level_count && !last->is_order && last->check_count > 0 && last->count > 1 &&
           last->count <= DIVE_VALUES;
}

/* How many values complete a random choice of all others; one of them is in the draft. */
static uint32_t complete_line(const hone__group *group, hone__rng *rng, hone__draft *draft) {
    const hone__level *last = &group->level[group->level_count - 1];
    load_random_node(group, rng, draft);
    for (const hone__level *level = &group->level[group->complete]; level < last; level++) {
        draft->work++;
        hone__draft_set(draft, level, draw_value(level, rng, draft));
        if (!hone__draft_check(draft, level))
            return 0;
    }
    uint32_t count;
    uint32_t chosen = 0;
    (void)dive_all(last, rng, draft, last->count, &count, &chosen);
    if (count > 0)
        hone__draft_set(draft, last, chosen);
    return count;
}

/* Lines with more valid values must be taken more often, so that each config is as likely as any other. */
static bool sample_by_lines(const hone__group *group, hone__rng *rng, hone__draft *draft, double lines_max) {
    for (double lines = 0; lines < lines_max; lines++) {
        uint32_t count = complete_line(group, rng, draft);
        if (count > 0 && (count >= group->line_max || hone__draw(rng, group->line_max) < count))
            return true;
    }
    return false;
}

/* The weight of where the dive arrived; 0: nowhere. */
static double dive(const hone__group *group, hone__rng *rng, hone__draft *draft) {
    load_random_node(group, rng, draft);
    double weight = base_count(group);
    for (uint32_t i = group->complete; i < group->level_count && weight > 0; i++) {
        const hone__level *level = &group->level[i];
        if (level->check_count + level->partial_count == 0) {
            draft->work++;
            hone__draft_set(draft, level, draw_value(level, rng, draft));
            weight *= level->choices;
        } else {
            weight *= dive_level(level, rng, draft);
        }
    }
    return weight;
}

static void save(const hone__group *group, const hone__draft *draft, uint32_t *values) {
    for (uint32_t i = 0; i < group->level_count; i++)
        values[i] = draft->config.slot[group->level[i].slot];
}

static void restore(const hone__group *group, hone__draft *draft, const uint32_t *values) {
    hone__draft_clear(draft, group);
    for (uint32_t i = 0; i < group->level_count; i++)
        hone__draft_set(draft, &group->level[i], values[i]);
}

/* Each dive replaces the kept one with the probability that its weight has among all so far. */
static bool sample_by_dives(const hone__group *group, hone__rng *rng, hone__draft *draft) {
    uint32_t kept[HONE_LIMIT_SLOTS];
    double total = 0;
    draft->work = 0;
    for (uint32_t arrived = 0; arrived < DIVE_KEEP && draft->work < SAMPLE_DIVES;) {
        double weight = dive(group, rng, draft);
        if (weight <= 0)
            continue;
        arrived++;
        total += weight;
        if (hone__rng_unit(rng) * total <= weight)
            save(group, draft, kept);
    }
    if (total <= 0)
        return false;
    restore(group, draft, kept);
    return true;
}

static hone__found sample_by_descents(const hone__group *group, hone__rng *rng, hone__draft *draft, uint64_t work_max) {
    hone__descent descent;
    draft->work = 0;
    for (uint64_t share = 4096; draft->work < work_max; share *= 2) {
        hone__descent_begin(&descent, group, HONE_VISIT_RANDOM, rng, NULL);
        hone__found found = hone__descent_next(&descent, draft, draft->work + share);
        if (found != HONE_FOUND_TIRED)
            return found;
    }
    return HONE_FOUND_TIRED;
}

bool hone__group_sample(const hone__group *group, hone__rng *rng, hone__draft *draft) {
    if (group->free || group->listed)
        return complete_once(group, rng, draft);
    if (group->accept_rate > 0) {
        double tries_max = 16 / group->accept_rate + 64;
        if (group->line_max > 0 && sample_by_lines(group, rng, draft, tries_max))
            return true;
        for (double tries = 0; tries < tries_max; tries++) {
            if (complete_once(group, rng, draft))
                return true;
        }
    }
    if (group->dive_rate > 0 && sample_by_dives(group, rng, draft))
        return true;
    return sample_by_descents(group, rng, draft, SAMPLE_DESCENTS) == HONE_FOUND_ONE;
}

double hone__group_draw_work(const hone__group *group) {
    if (group->free || group->listed)
        return group->level_count;
    return group->accept_rate > 0 ? group->level_count / group->accept_rate : SAMPLE_DIVES;
}

/* Sets count, accept_rate and line_max; returns how many valid assignments were met. */
static double measure_completions(hone__group *group, hone__rng *rng, hone__draft *draft, double all,
                                  uint32_t sharers) {
    double tries = 0;
    double hits = 0;
    for (draft->work = 0; draft->work < MEASURE_COMPLETIONS / sharers && hits < MEASURE_HITS; tries++)
        hits += complete_once(group, rng, draft) ? 1 : 0;
    group->accept_rate = hits / tries;
    if (group->accept_rate < 1.0 / 64 && has_lines(group)) {
        double lines = 0;
        uint32_t most = 0;
        hits = 0;
        for (draft->work = 0; draft->work < MEASURE_LINES / sharers && hits < 4 * MEASURE_HITS; lines++) {
            uint32_t count = complete_line(group, rng, draft);
            hits += count;
            most = count > most ? count : most;
        }
        group->accept_rate = hits / (lines * group->level[group->level_count - 1].count);
        group->line_max = most <= LINE_MAX ? most : 0;
    }
    group->count = all * group->accept_rate;
    return hits;
}

hone__found hone__group_measure(hone__group *group, hone__rng *rng, hone__draft *draft, uint32_t sharers) {
    double all = base_count(group);
    for (uint32_t i = group->complete; i < group->level_count; i++)
        all *= group->level[i].choices;
    group->listed = group->complete == group->level_count;
    group->count = all;
    group->accept_rate = group->dive_rate = 1;
    if (group->listed || group->free)
        return all > 0 ? HONE_FOUND_ONE : HONE_FOUND_NONE;
    double hits = measure_completions(group, rng, draft, all, sharers);
    group->seen = hits;
    if (hits >= 10)
        return HONE_FOUND_ONE;
    double dives = 0;
    double arrived = 0;
    double weights = 0;
    double squares = 0;
    for (draft->work = 0; draft->work < MEASURE_DIVES / sharers; dives++) {
        double weight = dive(group, rng, draft);
        arrived += weight > 0 ? 1 : 0;
        weights += weight;
        squares += weight * weight;
    }
    group->dive_rate = arrived / dives;
    /* A few dives can carry nearly all the weight: believe them only as far as they are many. */
    if (arrived > 0 && weights * weights / squares > hits) {
        group->count = weights / dives;
        group->seen = weights * weights / squares;
    }
    if (group->accept_rate > 0 || arrived > 0)
        return HONE_FOUND_ONE;
    hone__found found = sample_by_descents(group, rng, draft, MEASURE_DESCENTS);
    group->count = found == HONE_FOUND_NONE ? 0 : 1;
    return found;
}
