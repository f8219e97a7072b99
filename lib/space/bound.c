/* bound.c: a space bound to sizes: its independent groups, validity with reasons, counting and sampling. */
#include "alloc.h"
#include "group.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORK_MAX = 3u << 19 }; /* values tried and constraints evaluated while expanding: some ten milliseconds */

/* ---- reasons ---- */

static void say_value(hone__text *text, const hone__space *space, uint32_t slot, uint32_t index) {
    const hone__param *param = &space->param[space->priv->param_of_slot[slot]];
    hone__say(text, "%s", param->name);
    if (param->kind == HONE_KIND_LIST || param->kind == HONE_KIND_PERMUTATION)
        hone__say(text, "[%u]", slot - param->first_slot);
    hone__say(text, "=");
    hone__domain_say(text, &param->domain, index);
}

static void say_constraint(hone__text *text, const hone__space *space, const hone__constraint *constraint, const int64_t *sizes,
                           const hone__config *config, const char *wrong) {
    const char *expr = hone__expr_text(constraint->expr);
    hone__say(text, "%.*s%s", hone__text_cut(expr, 240), expr, strlen(expr) > 240 ? " ..." : "");
    if (wrong != NULL)
        hone__say(text, " cannot be evaluated (%s)", wrong);
    else
        hone__say(text, " does not hold");
    uint32_t said = 0;
    for (uint32_t i = 0; i < space->size_count + space->slot_count && said <= 16; i++) {
        if (!hone__expr_reads(constraint->expr, i) || (config == NULL && i >= space->size_count))
            continue;
        hone__say(text, "%s", said == 0 ? ": " : ", ");
        if (said == 16)
            hone__say(text, "...");
        else if (i < space->size_count)
            hone__say(text, "%s=%lld", space->size_name[i], (long long)sizes[i]);
        else
            say_value(text, space, i - space->size_count, config->slot[i - space->size_count]);
        said++;
    }
    if (constraint->why != NULL)
        hone__say(text, " (%.*s)", hone__text_cut(constraint->why, 160), constraint->why);
}

/* A config that no reader can have made; the reason is for programmers. */
static void say_shape(hone__text *text, const hone__space *space, const hone__config *config) {
    for (uint32_t i = 0; i < space->slot_count; i++) {
        const hone__param *param = &space->param[space->priv->param_of_slot[i]];
        if (config->slot[i] < param->domain.count)
            continue;
        hone__say(text, "%s: value number %u of %u", param->name, config->slot[i], param->domain.count);
        return;
    }
    for (uint32_t i = 0; i < space->param_count; i++) {
        if (space->param[i].kind == HONE_KIND_PERMUTATION)
            hone__say(text, "%s%s", text->length > 0 ? ", " : "not an order: ", space->param[i].name);
    }
    if (text->length == 0)
        hone__say(text, "slots beyond the space's are not zero");
}

bool hone__bound_valid(const hone__bound *bound, const hone__config *config, hone__buf *why) {
    const hone__space *space = bound->space;
    hone__text text = {0, ""};
    if (!hone__config_shaped(space, config)) {
        if (why != NULL) {
            say_shape(&text, space, config);
            hone__buf_text(why, text.data);
        }
        return false;
    }
    if (bound->row != NULL) {
        bool listed = hone__bound_row(bound, config) != UINT32_MAX;
        if (!listed && why != NULL)
            hone__buf_text(why, "this combination is not one of those that are allowed");
        return listed;
    }
    int64_t values[HONE__VALUES_MAX];
    hone__space_values(space, bound->sizes, config, values);
    for (uint32_t i = 0; i < space->constraint_count; i++) {
        int64_t result = 0;
        const char *wrong = NULL;
        if (hone__expr_eval(space->constraint[i].expr, values, &result, &wrong) && result != 0)
            continue;
        if (why != NULL) {
            say_constraint(&text, space, &space->constraint[i], bound->sizes, config, wrong);
            hone__buf_text(why, text.data);
        }
        return false;
    }
    return true;
}

/* ---- groups ---- */

static uint32_t find_root(uint32_t *root, uint32_t slot) {
    while (root[slot] != slot) {
        root[slot] = root[root[slot]];
        slot = root[slot];
    }
    return slot;
}

static void find_groups(const hone__space *space, uint32_t *root) {
    for (uint32_t i = 0; i < space->slot_count; i++)
        root[i] = i;
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *param = &space->param[i];
        for (uint32_t j = 1; param->kind == HONE_KIND_PERMUTATION && j < param->slot_count; j++)
            root[find_root(root, param->first_slot + j)] = find_root(root, param->first_slot);
    }
    for (uint32_t i = 0; i < space->constraint_count; i++) {
        uint32_t first = UINT32_MAX;
        for (uint32_t j = 0; j < space->slot_count; j++) {
            if (!hone__expr_reads(space->constraint[i].expr, space->size_count + j))
                continue;
            if (first == UINT32_MAX)
                first = find_root(root, j);
            else
                root[find_root(root, j)] = first;
        }
    }
}

typedef struct ordering {
    const hone__space *space;
    const uint32_t *root;
    uint32_t group_root;
    bool set[HONE_LIMIT_SLOTS];
    bool checked[HONE_LIMIT_CONSTRAINTS];
} ordering;

/* How many assignments the constraint's open slots have (as a logarithm); negative: nothing to do with this group. */
static double open_cost(ordering *o, const hone__constraint *constraint) {
    double cost = 0;
    bool ours = false;
    for (uint32_t i = 0; i < o->space->slot_count; i++) {
        if (!hone__expr_reads(constraint->expr, o->space->size_count + i))
            continue;
        if (o->root[i] != o->group_root)
            return -1;
        ours = true;
        if (!o->set[i])
            cost += log(o->space->param[o->space->priv->param_of_slot[i]].domain.count) + 1e-3;
    }
    return ours ? cost : -1;
}

static void append_level(hone__bound *bound, hone__group *group, ordering *o, uint32_t slot) {
    const hone__space *space = bound->space;
    hone__level *level = &group->level[group->level_count++];
    level->slot = slot;
    level->param = space->priv->param_of_slot[slot];
    const hone__param *param = &space->param[level->param];
    level->count = level->choices = param->domain.count;
    level->is_order = param->kind == HONE_KIND_PERMUTATION;
    level->many = param->domain.kind == HONE_KIND_RANGE && level->count > 4 * HONE__SKIP_AFTER;
    for (uint32_t i = 0; level->is_order && i < param->slot_count; i++)
        level->choices -= o->set[param->first_slot + i] ? 1 : 0;
    o->set[slot] = true;
    level->check = &bound->check[bound->check_count];
    for (uint32_t i = 0; i < space->constraint_count; i++) {
        double cost = o->checked[i] ? -1 : open_cost(o, &space->constraint[i]);
        if (cost < 0 || cost > 0)
            continue;
        o->checked[i] = true;
        bound->check[bound->check_count++] = i;
        level->check_count++;
    }
    level->partial = &bound->partial[bound->partial_count];
    for (uint32_t i = 0; i < space->constraint_count; i++) {
        if (o->checked[i] || !hone__expr_reads(space->constraint[i].expr, space->size_count + slot))
            continue;
        bound->partial[bound->partial_count++].constraint = i;
        level->partial_count++;
    }
}

/* The open slot with the fewest values that `constraint` reads (NULL: any of the group); UINT32_MAX: none. */
static uint32_t smallest_slot(const ordering *o, const hone__constraint *constraint) {
    uint32_t best = UINT32_MAX;
    uint32_t best_count = 0;
    for (uint32_t i = 0; i < o->space->slot_count; i++) {
        if (o->set[i] || o->root[i] != o->group_root ||
            (constraint != NULL && !hone__expr_reads(constraint->expr, o->space->size_count + i)))
            continue;
        uint32_t count = o->space->param[o->space->priv->param_of_slot[i]].domain.count;
        if (best == UINT32_MAX || count < best_count) {
            best = i;
            best_count = count;
        }
    }
    return best;
}

/* Always complete the constraint that is cheapest to complete, so that dead ends show early. */
static void order_group(hone__bound *bound, hone__group *group, ordering *o) {
    for (;;) {
        const hone__constraint *cheapest = NULL;
        double least = 0;
        for (uint32_t i = 0; i < bound->space->constraint_count; i++) {
            if (o->checked[i])
                continue;
            double cost = open_cost(o, &bound->space->constraint[i]);
            if (cost > 0 && (cheapest == NULL || cost < least)) {
                cheapest = &bound->space->constraint[i];
                least = cost;
            }
        }
        uint32_t slot = smallest_slot(o, cheapest);
        if (slot == UINT32_MAX)
            return;
        append_level(bound, group, o, slot);
    }
}

static void find_ranges(hone__bound *bound) {
    const hone__space *space = bound->space;
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__domain *domain = &space->param[i].domain;
        hone__interval range = {hone__domain_int(domain, 0), hone__domain_int(domain, domain->count - 1)};
        for (uint32_t j = 0; domain->kind == HONE_KIND_ENUM && j < domain->count; j++) {
            int64_t value = hone__domain_int(domain, j);
            range.low = value < range.low ? value : range.low;
            range.high = value > range.high ? value : range.high;
        }
        for (uint32_t j = 0; j < space->param[i].slot_count; j++)
            bound->range[space->param[i].first_slot + j] = range;
    }
}

static void make_groups(hone__bound *bound) {
    const hone__space *space = bound->space;
    uint32_t root[HONE_LIMIT_SLOTS];
    ordering o = {.space = space, .root = root};
    find_groups(space, root);
    hone__level *level = bound->level;
    for (uint32_t i = 0; i < space->slot_count; i++) {
        if (o.set[i])
            continue;
        o.group_root = find_root(root, i);
        for (uint32_t j = 0; j < space->slot_count; j++)
            root[j] = find_root(root, j);
        hone__group *group = &bound->group[bound->group_count++];
        group->level = level;
        uint32_t checks_before = bound->check_count;
        order_group(bound, group, &o);
        group->free = bound->check_count == checks_before;
        for (uint32_t j = 0; j < group->level_count; j++)
            bound->group_of_slot[level[j].slot] = bound->group_count - 1;
        level += group->level_count;
    }
}

/* ---- binding ---- */

static hone_status nothing_valid(const hone__bound *bound, const hone__constraint *constraint, const char *how, hone_error *err) {
    const hone__space *space = bound->space;
    hone__text text = {0, ""};
    if (constraint != NULL)
        say_constraint(&text, space, constraint, bound->sizes, NULL, NULL);
    else
        hone__say(&text, "the constraints are too tight");
    hone__text sizes = {0, ""};
    for (uint32_t i = 0; i < space->size_count && sizes.length < 160; i++)
        hone__say(&sizes, "%s%s=%lld", i == 0 ? " for " : ", ", space->size_name[i], (long long)bound->sizes[i]);
    return hone__fail(err, HONE_E_CONFIG, "space", "no config is valid%s: %s%s; loosen the constraints or widen the parameters",
                      sizes.data, text.data, how);
}

/* Constraints over sizes alone hold for all configs or for none. */
static hone_status check_sizes(const hone__bound *bound, hone_error *err) {
    const hone__space *space = bound->space;
    int64_t values[HONE__VALUES_MAX];
    hone__space_values(space, bound->sizes, &space->base, values);
    for (uint32_t i = 0; i < space->constraint_count; i++) {
        const hone__expr *expr = space->constraint[i].expr;
        bool reads = false;
        for (uint32_t j = 0; j < space->slot_count; j++)
            reads = reads || hone__expr_reads(expr, space->size_count + j);
        int64_t result = 0;
        if (!reads && (!hone__expr_eval(expr, values, &result, NULL) || result == 0))
            return nothing_valid(bound, &space->constraint[i], "", err);
    }
    return HONE_OK;
}

static hone_status expand_group(hone__bound *bound, hone__group *group, uint64_t *budget, hone__draft *draft, hone_error *err) {
    uint32_t empty = UINT32_MAX;
    if (!group->free && !hone__group_expand(group, draft, budget, &empty))
        return hone__fail(err, HONE_E_NOMEM, "space", "out of memory");
    if (empty == UINT32_MAX)
        return HONE_OK;
    const hone__level *level = &group->level[empty];
    HONE_ASSERT(level->check_count + level->partial_count > 0);
    uint32_t which = level->check_count > 0 ? level->check[0] : level->partial_count > 0 ? level->partial[0].constraint : 0;
    return nothing_valid(bound, &bound->space->constraint[which],
                         group->level_count == 1 ? " for any value" : " together with the others", err);
}

static hone_status measure_group(hone__bound *bound, hone__group *group, hone__draft *draft, hone__rng *rng, uint32_t sharers,
                                 bool base_valid, hone_error *err) {
    hone__found found = hone__group_measure(group, rng, draft, sharers);
    hone__group_settle(group);
    if (found == HONE_FOUND_NONE)
        return nothing_valid(bound, NULL, " (all combinations were tried)", err);
    if (found == HONE_FOUND_TIRED && !base_valid)
        return nothing_valid(bound, NULL, " (none was found in millions of tries)", err);
    bound->count *= group->count;
    bound->exact = bound->exact && (group->listed || group->free);
    if (!group->listed && !group->free)
        bound->count_error = hypot(bound->count_error, 1 / sqrt(fmax(group->seen, 1)));
    return HONE_OK;
}

static int compare_costs(const void *a, const void *b) {
    const hone__group *x = *(hone__group *const *)a;
    const hone__group *y = *(hone__group *const *)b;
    return x->count < y->count ? -1 : x->count > y->count ? 1 : x->level < y->level ? -1 : x->level > y->level;
}

static hone_status bind(hone__bound *bound, hone_error *err) {
    hone__group *order[HONE_LIMIT_SLOTS];
    hone__draft draft;
    hone__rng rng;
    hone__rng_seed(&rng, 1); /* estimates are the same each time */
    HONE_TRY(check_sizes(bound, err));
    find_ranges(bound);
    make_groups(bound);
    hone__draft_init(&draft, bound);
    draft.learning = true;
    bool base_valid = hone__bound_valid(bound, &bound->space->base, NULL);
    /* Small groups first, so that a large one cannot eat their share of the work. */
    for (uint32_t i = 0; i < bound->group_count; i++) {
        order[i] = &bound->group[i];
        order[i]->count = 1;
        for (uint32_t j = 0; j < order[i]->level_count; j++)
            order[i]->count *= order[i]->level[j].choices;
    }
    qsort(order, bound->group_count, sizeof *order, compare_costs);
    uint64_t budget = WORK_MAX;
    bound->count = 1;
    bound->exact = true;
    uint32_t open = 0;
    for (uint32_t i = 0; i < bound->group_count; i++) {
        HONE_TRY(expand_group(bound, order[i], &budget, &draft, err));
        open += !order[i]->free && order[i]->complete < order[i]->level_count ? 1 : 0;
    }
    for (uint32_t i = 0; i < bound->group_count; i++)
        HONE_TRY(measure_group(bound, order[i], &draft, &rng, open > 0 ? open : 1, base_valid, err));
    return HONE_OK;
}

hone_status hone__bound_new(hone__bound **out, const hone__space *space, const int64_t *sizes, hone_error *err) {
    *out = NULL;
    hone__bound *bound = hone__alloc(sizeof *bound);
    if (bound == NULL)
        return hone__fail(err, HONE_E_NOMEM, "space", "out of memory");
    bound->space = space;
    for (uint32_t i = 0; i < space->size_count; i++)
        bound->sizes[i] = sizes[i];
    bound->group = hone__alloc_array(space->slot_count, sizeof *bound->group);
    bound->level = hone__alloc_array(space->slot_count, sizeof *bound->level);
    bound->check = hone__alloc_array(space->constraint_count + 1, sizeof *bound->check);
    hone_status status = HONE_OK;
    bound->partial = hone__alloc_array((size_t)space->constraint_count * space->slot_count + 1, sizeof *bound->partial);
    if (bound->group == NULL || bound->level == NULL || bound->check == NULL || bound->partial == NULL)
        status = hone__fail(err, HONE_E_NOMEM, "space", "out of memory");
    else
        status = bind(bound, err);
    if (status != HONE_OK) {
        hone__bound_free(bound);
        return status;
    }
    *out = bound;
    return HONE_OK;
}

void hone__bound_free(hone__bound *bound) {
    if (bound == NULL)
        return;
    for (uint32_t i = 0; bound->level != NULL && i < bound->space->slot_count; i++) {
        hone__free(bound->level[i].parent);
        hone__free(bound->level[i].value);
    }
    hone__free(bound->row);
    hone__free(bound->group);
    hone__free(bound->level);
    hone__free(bound->check);
    hone__free(bound->partial);
    hone__free(bound);
}

const hone__space *hone__bound_space(const hone__bound *bound) {
    return bound->space;
}

const int64_t *hone__bound_sizes(const hone__bound *bound) {
    return bound->sizes;
}

double hone__bound_count(const hone__bound *bound, bool *exact) {
    if (exact != NULL)
        *exact = bound->exact;
    return bound->count;
}

double hone__bound_count_error(const hone__bound *bound) {
    return bound->count_error;
}

double hone__bound_draw_work(const hone__bound *bound) {
    double work = bound->row != NULL ? bound->space->slot_count : 0;
    for (uint32_t i = 0; i < bound->group_count; i++)
        work += hone__group_draw_work(&bound->group[i]);
    return work;
}

bool hone__bound_sample(const hone__bound *bound, hone__rng *rng, hone__config *out) {
    if (bound->row != NULL)
        return hone__bound_at(bound, hone__draw(rng, bound->row_count), out);
    hone__draft draft;
    hone__draft_init(&draft, bound);
    for (uint32_t i = 0; i < bound->group_count; i++) {
        if (!hone__group_sample(&bound->group[i], rng, &draft))
            return false;
    }
    *out = draft.config;
    return true;
}
