/* neighbour.c: valid configs one step from a config, and the valid config nearest to a wanted one. */
#include "group.h"

#include <string.h>

enum {
    TRIES_MAX = 1u << 16,      /* configs tried for one list of neighbours */
    SEARCH_WORK_MAX = 1u << 20 /* for one repair of a group that is not listed */
};

/* ---- neighbours ---- */

typedef struct collector {
    const hone__bound *bound;
    const hone__config *from;
    hone__config *out;
    uint32_t count, max;
    uint32_t tries;
} collector;

static bool full(const collector *c) {
    return c->count == c->max || c->tries >= TRIES_MAX;
}

static void offer(collector *c, const hone__config *config) {
    c->tries++;
    if (hone__bound_valid(c->bound, config, NULL))
        c->out[c->count++] = *config;
}

static void offer_steps(collector *c, const hone__param *param, uint32_t slot, uint32_t distance) {
    uint32_t index = c->from->slot[slot];
    if (distance >= param->domain.count)
        return;
    hone__config config = *c->from;
    if (distance < param->domain.count - index && !full(c)) {
        config.slot[slot] = index + distance;
        offer(c, &config);
    }
    if (index >= distance && !full(c)) {
        config.slot[slot] = index - distance;
        offer(c, &config);
    }
}

static void offer_swaps(collector *c, const hone__param *param, uint32_t distance) {
    for (uint32_t i = 0; i + distance < param->slot_count && !full(c); i++) {
        uint32_t a = param->first_slot + i;
        uint32_t b = a + distance;
        hone__config config = *c->from;
        config.slot[a] = c->from->slot[b];
        config.slot[b] = c->from->slot[a];
        offer(c, &config);
    }
}

/* How far values of this parameter may move. */
static uint32_t reach(const hone__param *param, uint32_t radius) {
    bool ordered = param->kind != HONE_KIND_PERMUTATION && param->domain.type != HONE_SYMBOL_STRING;
    uint32_t all = param->kind == HONE_KIND_PERMUTATION ? param->slot_count - 1 : param->domain.count - 1;
    return ordered && radius > 0 && radius < all ? radius : all;
}

uint32_t hone__bound_neighbours(const hone__bound *bound, const hone__config *from, uint32_t radius, hone__config *out,
                                uint32_t max) {
    const hone__space *space = bound->space;
    collector c = {.bound = bound, .from = from, .out = out, .max = max};
    if (!hone__config_shaped(space, from))
        return 0;
    uint32_t farthest = 0;
    for (uint32_t i = 0; i < space->param_count; i++)
        farthest = reach(&space->param[i], radius) > farthest ? reach(&space->param[i], radius) : farthest;
    /* Far steps in huge domains become coarser, or there would be no end. */
    for (uint64_t distance = 1; distance <= farthest && !full(&c); distance += 1 + distance / 2048) {
        for (uint32_t i = 0; i < space->param_count && !full(&c); i++) {
            const hone__param *param = &space->param[i];
            if (distance > reach(param, radius))
                continue;
            if (param->kind == HONE_KIND_PERMUTATION)
                offer_swaps(&c, param, (uint32_t)distance);
            for (uint32_t j = 0; param->kind != HONE_KIND_PERMUTATION && j < param->slot_count; j++)
                offer_steps(&c, param, param->first_slot + j, (uint32_t)distance);
        }
    }
    return c.count;
}

/* ---- repair ---- */

/* Changed slots count most, then how far they moved (relative to the domain). */
double hone__slot_distance(uint32_t domain_count, uint32_t wanted, uint32_t value) {
    if (wanted == value)
        return 0;
    uint32_t steps = wanted > value ? wanted - value : value - wanted;
    return 16 + 8.0 * steps / domain_count + (steps < 8 ? steps * 0.5 : 4);
}

static double slot_distance(const hone__level *level, const hone__config *wanted, uint32_t value) {
    return hone__slot_distance(level->count, wanted->slot[level->slot], value);
}

static double group_distance(const hone__group *group, const hone__draft *draft, const hone__config *wanted) {
    double distance = 0;
    for (uint32_t i = 0; i < group->level_count; i++)
        distance += slot_distance(&group->level[i], wanted, draft->config.slot[group->level[i].slot]);
    return distance;
}

static void set_all(const hone__group *group, hone__draft *draft, const hone__config *config) {
    hone__draft_clear(draft, group);
    for (uint32_t i = 0; i < group->level_count; i++)
        hone__draft_set(draft, &group->level[i], config->slot[group->level[i].slot]);
}

static bool group_valid(const hone__group *group, hone__draft *draft) {
    for (uint32_t i = 0; i < group->level_count; i++) {
        if (!hone__draft_check(draft, &group->level[i]))
            return false;
    }
    return true;
}

/* The listed assignment with the least distance; ties are broken at random. */
static void nearest_listed(const hone__group *group, const hone__config *wanted, hone__rng *rng, hone__draft *draft) {
    const hone__level *last = &group->level[group->level_count - 1];
    double best = 0;
    uint32_t best_node = 0;
    uint32_t ties = 0;
    for (uint32_t node = 0; node < last->node_count; node++) {
        double distance = 0;
        uint32_t at = node;
        for (uint32_t i = group->level_count; i-- > 0 && (ties == 0 || distance <= best);) {
            distance += slot_distance(&group->level[i], wanted, group->level[i].value[at]);
            at = group->level[i].parent[at];
        }
        if (ties == 0 || distance < best) {
            best = distance;
            best_node = node;
            ties = 1;
        } else if (distance <= best && hone__draw(rng, ++ties) == 0) {
            best_node = node;
        }
    }
    hone__draft_clear(draft, group);
    hone__draft_load(draft, group, group->level_count, best_node);
}

/* Put wanted values back one by one wherever that stays valid. */
static void pull_back(const hone__group *group, const hone__config *wanted, hone__draft *draft) {
    for (uint32_t i = 0; i < group->level_count; i++) {
        const hone__level *level = &group->level[i];
        uint32_t value = draft->config.slot[level->slot];
        if (level->is_order || value == wanted->slot[level->slot])
            continue;
        hone__draft_set(draft, level, wanted->slot[level->slot]);
        if (!group_valid(group, draft))
            hone__draft_set(draft, level, value);
    }
}

static void keep_nearer(const hone__group *group, const hone__config *wanted, hone__draft *draft, hone__config *best,
                        double *best_distance) {
    double distance = group_distance(group, draft, wanted);
    if (*best_distance < 0 || distance < *best_distance) {
        *best_distance = distance;
        *best = draft->config;
    }
}

/* One changed slot, nearest values first. */
static void change_one(const hone__group *group, const hone__config *wanted, hone__draft *draft, hone__config *best,
                       double *best_distance) {
    for (uint32_t i = 0; i < group->level_count; i++) {
        const hone__level *level = &group->level[i];
        if (level->is_order)
            continue;
        uint32_t from = wanted->slot[level->slot];
        bool hit = false;
        for (uint32_t distance = 1; distance < level->count && distance < 4096 && !hit; distance++) {
            for (int up = 0; up < 2 && !hit; up++) {
                if (up == 0 ? distance > from : distance >= level->count - from)
                    continue;
                hone__draft_set(draft, level, up == 0 ? from - distance : from + distance);
                hit = group_valid(group, draft);
            }
        }
        if (hit)
            keep_nearer(group, wanted, draft, best, best_distance);
        hone__draft_set(draft, level, from);
    }
}

static bool nearest_searched(const hone__group *group, const hone__config *wanted, hone__rng *rng, hone__draft *draft) {
    hone__config best = draft->config;
    double best_distance = -1;
    set_all(group, draft, wanted);
    change_one(group, wanted, draft, &best, &best_distance);
    if (best_distance < 0) {
        hone__descent descent;
        hone__draft_clear(draft, group);
        draft->work = 0;
        hone__descent_begin(&descent, group, HONE_VISIT_NEAR, NULL, wanted);
        if (hone__descent_next(&descent, draft, SEARCH_WORK_MAX) == HONE_FOUND_ONE) {
            pull_back(group, wanted, draft);
            keep_nearer(group, wanted, draft, &best, &best_distance);
        }
        for (int i = 0; i < 8; i++) {
            if (!hone__group_sample(group, rng, draft))
                break;
            pull_back(group, wanted, draft);
            keep_nearer(group, wanted, draft, &best, &best_distance);
        }
    }
    if (best_distance < 0)
        return false;
    set_all(group, draft, &best);
    return true;
}

/* Bring every slot into its domain and every permutation to an order. */
static void make_shaped(const hone__space *space, hone__config *config) {
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        uint32_t *slot = &config->slot[param->first_slot];
        uint32_t used = 0;
        for (uint32_t j = 0; j < param->slot_count; j++) {
            if (slot[j] >= param->domain.count)
                slot[j] = param->domain.count - 1;
            if (param->kind != HONE_KIND_PERMUTATION)
                continue;
            while ((used >> slot[j] & 1) != 0)
                slot[j] = (slot[j] + 1) % param->slot_count;
            used |= 1u << slot[j];
        }
    }
    for (uint32_t i = space->slot_count; i < HONE_LIMIT_SLOTS; i++)
        config->slot[i] = 0;
}

bool hone__bound_repair(const hone__bound *bound, const hone__config *wanted, hone__rng *rng, hone__config *out) {
    hone__config shaped = *wanted;
    make_shaped(bound->space, &shaped);
    if (bound->row != NULL) {
        hone__listed_nearest(bound, &shaped, rng, out);
        return true;
    }
    hone__draft draft;
    hone__draft_init(&draft, bound);
    for (uint32_t i = 0; i < bound->group_count; i++) {
        const hone__group *group = &bound->group[i];
        set_all(group, &draft, &shaped);
        if (group_valid(group, &draft))
            continue;
        if (group->listed)
            nearest_listed(group, &shaped, rng, &draft);
        else if (!nearest_searched(group, &shaped, rng, &draft))
            return false;
    }
    *out = draft.config;
    return true;
}
