/* group.c: drafts of configs, the trie of partial assignments and depth-first search in one group of connected slots. */
#include "group.h"
#include "alloc.h"

#include <string.h>

enum {
    LISTED_MAX = 1u << 18,  /* assignments of a listed group */
    LEVEL_MAX = 1u << 19,   /* partial assignments of one level */
    PARTIAL_TRIES = 2048,   /* before a partial check is judged ... */
    PARTIAL_PAYS = 32,      /* ... by finding something once in so many tries */
};

/* ---- drafts ---- */

void hone__draft_init(hone__draft *draft, const hone__bound *bound) {
    memset(draft, 0, sizeof *draft);
    draft->bound = bound;
    hone__space_values(bound->space, bound->sizes, &draft->config, draft->value);
    const uint32_t sizes = bound->space->size_count;
    for (uint32_t i = 0; i < sizes; i++)
        draft->box[i] = (hone__interval){draft->value[i], draft->value[i]};
    memcpy(&draft->box[sizes], bound->range, bound->space->slot_count * sizeof draft->box[0]);
}

void hone__draft_set(hone__draft *draft, const hone__level *level, uint32_t value) {
    const hone__space *space = draft->bound->space;
    draft->config.slot[level->slot] = value;
    int64_t number = hone__domain_int(&space->param[level->param].domain, value);
    draft->value[space->size_count + level->slot] = number;
    draft->box[space->size_count + level->slot] = (hone__interval){number, number};
    if (level->is_order)
        draft->used[level->param] |= 1u << value;
}

void hone__draft_unset(hone__draft *draft, const hone__level *level) {
    draft->box[draft->bound->space->size_count + level->slot] = draft->bound->range[level->slot];
    if (level->is_order)
        draft->used[level->param] &= ~(1u << draft->config.slot[level->slot]);
}

static bool pays(const hone__partial *partial) {
    return partial->tries < PARTIAL_TRIES || (uint64_t)partial->hits * PARTIAL_PAYS >= partial->tries;
}

/* `patient`: the level has many values in ascending order, so what the first thousands say means little. */
static bool check_partial(hone__draft *draft, hone__partial *partial, bool patient) {
    if (draft->learning && !patient && !pays(partial))
        return true;
    const hone__expr *expr = draft->bound->space->constraint[partial->constraint].expr;
    draft->work += 2 * hone__expr_cost(expr);
    bool possible = hone__expr_possible(expr, draft->box);
    if (draft->learning) {
        partial->tries++;
        partial->hits += possible ? 0 : 1;
    }
    return possible;
}

void hone__group_settle(hone__group *group) {
    for (uint32_t i = 0; i < group->level_count; i++) {
        hone__level *level = &group->level[i];
        uint32_t kept = 0;
        for (uint32_t j = 0; j < level->partial_count; j++) {
            if (level->partial[j].hits > 0 && pays(&level->partial[j]))
                level->partial[kept++] = level->partial[j];
        }
        level->partial_count = kept;
    }
}

bool hone__draft_check(hone__draft *draft, const hone__level *level) {
    const hone__constraint *constraint = draft->bound->space->constraint;
    for (uint32_t i = 0; i < level->check_count; i++) {
        const hone__expr *expr = constraint[level->check[i]].expr;
        int64_t result;
        draft->work += hone__expr_cost(expr);
        if (!hone__expr_eval(expr, draft->value, &result, NULL) || result == 0)
            return false;
    }
    for (uint32_t i = 0; i < level->partial_count; i++) {
        if (!check_partial(draft, &level->partial[i], level->many))
            return false;
    }
    return true;
}

/* No value from `first` to `last` can do. */
static bool is_refuted(hone__draft *draft, const hone__level *level, uint32_t first, uint64_t count) {
    const hone__space *space = draft->bound->space;
    const hone__domain *domain = &space->param[level->param].domain;
    uint64_t last = first + count - 1 < level->count ? first + count - 1 : level->count - 1;
    hone__interval *box = &draft->box[space->size_count + level->slot];
    *box = (hone__interval){hone__domain_int(domain, first), hone__domain_int(domain, (uint32_t)last)};
    bool refuted = false;
    for (uint32_t i = 0; i < level->check_count + level->partial_count && !refuted; i++) {
        uint32_t which = i < level->check_count ? level->check[i] : level->partial[i - level->check_count].constraint;
        refuted = !hone__expr_possible(space->constraint[which].expr, draft->box);
        draft->work += 2 * hone__expr_cost(space->constraint[which].expr);
    }
    *box = draft->bound->range[level->slot];
    return refuted;
}

uint32_t hone__draft_skip(hone__draft *draft, const hone__level *level, uint32_t from) {
    uint64_t size = HONE__SKIP_AFTER;
    uint64_t at = from;
    if (!level->many || from >= level->count || !is_refuted(draft, level, from, size))
        return from;
    do {
        at += size;
        size *= 2;
    } while (at < level->count && is_refuted(draft, level, (uint32_t)at, size));
    while (size > 1 && at < level->count) {
        size /= 2;
        if (is_refuted(draft, level, (uint32_t)at, size))
            at += size;
    }
    return at < level->count ? (uint32_t)at : level->count;
}

void hone__draft_load(hone__draft *draft, const hone__group *group, uint32_t levels, uint32_t node) {
    for (uint32_t i = levels; i-- > 0;) {
        const hone__level *level = &group->level[i];
        hone__draft_set(draft, level, level->value[node]);
        node = level->parent[node];
    }
}

void hone__draft_clear(hone__draft *draft, const hone__group *group) {
    for (uint32_t i = 0; i < group->level_count; i++) {
        const hone__level *level = &group->level[i];
        if (level->is_order)
            draft->used[level->param] = 0;
        draft->box[draft->bound->space->size_count + level->slot] = draft->bound->range[level->slot];
    }
}

static bool is_used(const hone__draft *draft, const hone__level *level, uint32_t value) {
    return level->is_order && (draft->used[level->param] >> value & 1) != 0;
}

/* ---- the trie ---- */

typedef struct nodes {
    uint32_t *parent, *value;
    uint32_t count, capacity;
} nodes;

static bool add_node(nodes *list, uint32_t parent, uint32_t value) {
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        uint32_t *parents = hone__realloc(list->parent, capacity * sizeof *parents);
        if (parents == NULL)
            return false;
        list->parent = parents;
        uint32_t *values = hone__realloc(list->value, capacity * sizeof *values);
        if (values == NULL)
            return false;
        list->value = values;
        list->capacity = capacity;
    }
    list->parent[list->count] = parent;
    list->value[list->count++] = value;
    return true;
}

typedef enum expansion { EXPANDED, TOO_BIG, NO_MEMORY } expansion;

static expansion expand_level(hone__group *group, uint32_t depth, hone__draft *draft, uint64_t *budget, nodes *list) {
    const hone__level *level = &group->level[depth];
    uint32_t parents = depth == 0 ? 1 : group->level[depth - 1].node_count;
    /* Unchecked levels multiply; there is no use in starting one that cannot fit. */
    bool checks = level->check_count + level->partial_count > 0;
    if (!checks && (uint64_t)parents * level->choices > LEVEL_MAX)
        return TOO_BIG;
    for (uint32_t parent = 0; parent < parents; parent++) {
        if (checks || level->is_order) {
            hone__draft_clear(draft, group);
            hone__draft_load(draft, group, depth, parent);
            draft->work += depth / 4 + 1;
        }
        uint32_t failed = 0;
        for (uint32_t value = 0; value < level->count; value++) {
            draft->work++;
            if (failed == HONE__SKIP_AFTER && checks) {
                failed = 0;
                value = hone__draft_skip(draft, level, value);
                if (value == level->count)
                    break;
            }
            if (is_used(draft, level, value))
                continue;
            bool fits = true;
            if (checks) {
                hone__draft_set(draft, level, value);
                fits = hone__draft_check(draft, level);
                hone__draft_unset(draft, level);
            }
            failed = fits ? 0 : failed + 1;
            if (draft->work > *budget || (fits && list->count == LEVEL_MAX))
                return TOO_BIG;
            if (fits && !add_node(list, parent, value))
                return NO_MEMORY;
        }
    }
    return EXPANDED;
}

bool hone__group_expand(hone__group *group, hone__draft *draft, uint64_t *budget, uint32_t *empty) {
    *empty = UINT32_MAX;
    draft->work = 0;
    expansion result = EXPANDED;
    while (group->complete < group->level_count && *empty == UINT32_MAX) {
        nodes list = {0};
        hone__level *level = &group->level[group->complete];
        result = expand_level(group, group->complete, draft, budget, &list);
        if (result == EXPANDED && group->complete + 1 == group->level_count && list.count > LISTED_MAX)
            result = TOO_BIG;
        if (result != EXPANDED) {
            hone__free(list.parent);
            hone__free(list.value);
            break;
        }
        level->parent = list.parent;
        level->value = list.value;
        level->node_count = list.count;
        if (list.count == 0)
            *empty = group->complete;
        group->complete++;
    }
    *budget -= draft->work < *budget ? draft->work : *budget;
    hone__draft_clear(draft, group);
    return result != NO_MEMORY;
}

/* ---- depth-first search ---- */

static uint32_t gcd(uint32_t a, uint32_t b) {
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* A random order of 0 .. count-1: offset + i * stride modulo count. */
static void random_order(hone__rng *rng, uint32_t count, uint32_t *offset, uint32_t *stride) {
    *offset = hone__draw(rng, count);
    do
        *stride = 1 + hone__draw(rng, count);
    while (gcd(*stride, count) != 1);
}

static uint32_t ordered(uint32_t i, uint32_t count, uint32_t offset, uint32_t stride) {
    return (uint32_t)(((uint64_t)i * stride + offset) % count);
}

/* The i-th nearest to `wanted`: wanted, +1, -1, +2 ... within 0 .. count-1. */
static uint32_t nearest(uint32_t i, uint32_t count, uint32_t wanted) {
    if (wanted >= count)
        wanted = count - 1;
    uint32_t up = count - 1 - wanted;
    uint32_t both = 2 * (uint64_t)(up < wanted ? up : wanted) >= i ? i : UINT32_MAX;
    if (both != UINT32_MAX)
        return (i & 1) != 0 ? wanted + (i + 1) / 2 : wanted - i / 2;
    return up < wanted ? wanted - (i - up) : i;
}

static void enter_level(hone__descent *d, uint32_t depth) {
    d->depth = depth;
    if (depth == d->group->level_count)
        return;
    d->next[depth] = d->failed[depth] = d->offset[depth] = 0;
    d->stride[depth] = 1;
    if (d->visit != HONE_VISIT_RANDOM)
        return;
    const hone__level *level = &d->group->level[depth];
    if (level->many)
        d->offset[depth] = hone__draw(d->rng, level->count); /* ascending, so that runs can be skipped */
    else
        random_order(d->rng, level->count, &d->offset[depth], &d->stride[depth]);
}

void hone__descent_begin(hone__descent *descent, const hone__group *group, hone__visit visit, hone__rng *rng,
                         const hone__config *wanted) {
    memset(descent, 0, sizeof *descent);
    descent->group = group;
    descent->visit = visit;
    descent->rng = rng;
    descent->wanted = wanted;
    descent->base = visit == HONE_VISIT_NEAR ? 0 : group->complete;
    descent->node_stride = 1;
    if (visit == HONE_VISIT_RANDOM && descent->base > 0)
        random_order(rng, group->level[descent->base - 1].node_count, &descent->node_offset, &descent->node_stride);
}

/* Load the next node of the trie; false at the end. */
static bool next_node(hone__descent *d, hone__draft *draft) {
    uint32_t count = d->base == 0 ? 1 : d->group->level[d->base - 1].node_count;
    if (d->node_next == count)
        return false;
    uint32_t node = ordered(d->node_next++, count, d->node_offset, d->node_stride);
    hone__draft_clear(draft, d->group);
    hone__draft_load(draft, d->group, d->base, node);
    draft->work += d->base / 4 + 1;
    d->inside = true;
    enter_level(d, d->base);
    return true;
}

/* False: what was left was skipped. */
static bool next_value(hone__descent *d, hone__draft *draft, const hone__level *level, uint32_t *value) {
    uint32_t i = d->next[d->depth]++;
    if (d->visit == HONE_VISIT_NEAR) {
        *value = nearest(i, level->count, d->wanted->slot[level->slot]);
        return true;
    }
    *value = ordered(i, level->count, d->offset[d->depth], d->stride[d->depth]);
    if (!level->many || d->failed[d->depth] < HONE__SKIP_AFTER)
        return true;
    d->failed[d->depth] = 0;
    uint64_t skipped = hone__draft_skip(draft, level, *value) - *value;
    if (i + skipped >= level->count) {
        d->next[d->depth] = level->count;
        return false;
    }
    d->next[d->depth] += (uint32_t)skipped;
    *value = ordered(i + (uint32_t)skipped, level->count, d->offset[d->depth], 1);
    return true;
}

hone__found hone__descent_next(hone__descent *d, hone__draft *draft, uint64_t work_max) {
    const hone__level *level = d->group->level;
    for (;;) {
        if (!d->inside) {
            if (!next_node(d, draft))
                return HONE_FOUND_NONE;
            if (d->base == d->group->level_count) {
                d->inside = false;
                return HONE_FOUND_ONE;
            }
        } else if (d->depth == d->group->level_count || d->next[d->depth] == level[d->depth].count) {
            /* Found before, or all values tried: back to the level above. */
            if (d->depth == d->base) {
                d->inside = false;
                continue;
            }
            d->depth--;
            hone__draft_unset(draft, &level[d->depth]);
            continue;
        }
        if (draft->work >= work_max)
            return HONE_FOUND_TIRED;
        uint32_t value;
        draft->work++;
        if (!next_value(d, draft, &level[d->depth], &value) || is_used(draft, &level[d->depth], value))
            continue;
        hone__draft_set(draft, &level[d->depth], value);
        if (!hone__draft_check(draft, &level[d->depth])) {
            d->failed[d->depth]++;
            hone__draft_unset(draft, &level[d->depth]);
            continue;
        }
        d->failed[d->depth] = 0;
        enter_level(d, d->depth + 1);
        if (d->depth == d->group->level_count)
            return HONE_FOUND_ONE;
    }
}
