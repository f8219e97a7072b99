/* feedback_effects.c: what each value did, on the average and in controlled pairs, and what nobody has tried (feedback.h). */
#include "alloc.h"
#include "feedback.h"
#include "prompt_facts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUPS_MAX = 12,        /* values or stretches of values shown for one parameter */
    DISTINCT_MAX = 512,
    NEVER_SHOWN = 16,
    DOMAIN_LISTED = 64,     /* larger domains are told by their gaps */
    PAIR_TRIALS = 200,      /* pairs are sought among the fastest of these */
    PAIRS_MAX = 4096,
    PAIR_LINES = 16,
    FAMILY_SLOTS = 8,
    FAMILY_LINES = 24,
    COMBINATIONS_MAX = 32,
    STEPS_LISTED = 8,
    STEP_REACH = 2
};

/* ---- features: what effects are told of ---- */

/* One slot; or, of a permutation short enough, its whole order: then values are ranks in lexicographic order. */
typedef struct tuned_feature {
    const hone__param *param;
    uint32_t slot;
    uint32_t count; /* of values */
    bool order;
} tuned_feature;

enum { ORDER_LENGTH_MAX = 4 };

static tuned_feature feature_of_slot(const hone__space *space, uint32_t slot) {
    const hone__param *param = &space->param[hone__space_param_of_slot(space, slot)];
    tuned_feature one = {param, slot, param->domain.count, param->kind == HONE_KIND_PERMUTATION && param->slot_count <= ORDER_LENGTH_MAX};
    if (one.order) {
        one.count = 1;
        for (uint32_t i = 2; i <= param->slot_count; i++)
            one.count *= i;
    }
    return one;
}

/* The slot after the feature that begins at `slot`. */
static uint32_t feature_end(const tuned_feature *feature) {
    return feature->order ? feature->param->first_slot + feature->param->slot_count : feature->slot + 1;
}

static uint32_t order_rank(const uint32_t *order, uint32_t length) {
    uint32_t rank = 0;
    for (uint32_t i = 0; i < length; i++) {
        uint32_t smaller = 0;
        for (uint32_t j = i + 1; j < length; j++)
            smaller += order[j] < order[i];
        rank = rank * (length - i) + smaller;
    }
    return rank;
}

static void order_of_rank(uint32_t rank, uint32_t length, uint32_t *order) {
    uint32_t digit[ORDER_LENGTH_MAX] = {0};
    for (uint32_t i = length; i-- > 0;) {
        digit[i] = rank % (length - i);
        rank /= length - i;
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i < length; i++) {
        uint32_t value = 0;
        for (uint32_t skip = digit[i]; (used >> value & 1u) != 0 || skip > 0; value++)
            skip -= (used >> value & 1u) == 0;
        order[i] = value;
        used |= 1u << value;
    }
}

static uint32_t feature_value(const tuned_feature *feature, const hone__config *config) {
    if (!feature->order)
        return config->slot[feature->slot];
    return order_rank(&config->slot[feature->param->first_slot], feature->param->slot_count);
}

static void set_feature(const tuned_feature *feature, hone__config *config, uint32_t value) {
    if (feature->order)
        order_of_rank(value, feature->param->slot_count, &config->slot[feature->param->first_slot]);
    else
        config->slot[feature->slot] = value;
}

static void put_feature(hone__buf *buf, const hone__space *space, const tuned_feature *feature) {
    if (feature->order)
        hone__buf_text(buf, feature->param->name);
    else
        hone__text_slot(buf, space, feature->slot);
}

static void put_value(hone__buf *buf, const tuned_feature *feature, uint32_t value) {
    if (!feature->order) {
        hone__domain_print(buf, &feature->param->domain, value);
        return;
    }
    hone__config config = {{0}};
    set_feature(feature, &config, value);
    hone__text_param_value(buf, feature->param, &config);
}

/* ---- effects: values one by one ---- */

/* The trials whose value lies in [low, high]. */
typedef struct value_stats {
    uint32_t low, high;
    uint32_t timed, failed;
    double best, median; /* as ratios to the best time */
} value_stats;

static int compare_doubles(const void *a, const void *b) {
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void fill_stats(value_stats *stats, const hone__digest *digest, const tuned_feature *feature) {
    double unit = hone__digest_unit(digest);
    stats->timed = stats->failed = 0;
    for (uint32_t i = 0; i < digest->timed_count; i++) {
        uint32_t index = feature_value(feature, hone__digest_timed(digest, i)->config);
        if (index >= stats->low && index <= stats->high)
            digest->scratch[stats->timed++] = hone__digest_ns(digest, i) / unit;
    }
    for (uint32_t i = 0; i < digest->failed_count; i++) {
        uint32_t index = feature_value(feature, digest->input->trial[digest->failed[i]].config);
        stats->failed += index >= stats->low && index <= stats->high;
    }
    qsort(digest->scratch, stats->timed, sizeof digest->scratch[0], compare_doubles);
    uint32_t half = stats->timed / 2;
    stats->best = stats->timed > 0 ? digest->scratch[0] : 0;
    stats->median = stats->timed == 0     ? 0
                    : stats->timed % 2 == 1 ? digest->scratch[half]
                                            : (digest->scratch[half - 1] + digest->scratch[half]) / 2;
}

static int compare_indices(const void *a, const void *b) {
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The distinct values tried, ascending; at most DISTINCT_MAX. */
static uint32_t distinct_indices(const hone__digest *digest, const tuned_feature *feature, uint32_t *index) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < digest->input->trial_count; i++) {
        uint32_t value = feature_value(feature, digest->input->trial[i].config);
        uint32_t j = 0;
        while (j < count && index[j] != value)
            j++;
        if (j == count && count < DISTINCT_MAX)
            index[count++] = value;
    }
    qsort(index, count, sizeof index[0], compare_indices);
    return count;
}

static void put_stats(hone__buf *buf, const tuned_feature *feature, const value_stats *stats) {
    put_value(buf, feature, stats->low);
    if (stats->high != stats->low) {
        hone__buf_text(buf, "..");
        put_value(buf, feature, stats->high);
    }
    if (stats->timed == 0) {
        hone__buf_printf(buf, ": all %u failed", (unsigned)stats->failed);
        return;
    }
    hone__buf_printf(buf, ": n=%u best ", (unsigned)stats->timed);
    hone__text_number(buf, stats->best, 3);
    hone__buf_text(buf, " median ");
    hone__text_number(buf, stats->median, 3);
    if (stats->failed > 0)
        hone__buf_printf(buf, ", %u failed", (unsigned)stats->failed);
}

static void put_feature_effects(hone__buf *buf, const hone__digest *digest, const tuned_feature *feature, uint32_t *index) {
    uint32_t count = distinct_indices(digest, feature, index);
    if (count < 2)
        return;
    uint32_t groups = count < GROUPS_MAX ? count : GROUPS_MAX;
    bool ordered = feature->param->domain.type != HONE_SYMBOL_STRING && !feature->order;
    hone__buf_text(buf, "- ");
    put_feature(buf, digest->space, feature);
    hone__buf_text(buf, " | ");
    for (uint32_t i = 0; i < groups; i++) {
        /* Ordered values share out evenly into stretches; of others only the first are shown. */
        uint32_t first = ordered ? i * count / groups : i;
        uint32_t last = ordered ? (i + 1) * count / groups - 1 : i;
        value_stats stats = {.low = index[first], .high = index[last]};
        fill_stats(&stats, digest, feature);
        hone__buf_text(buf, i > 0 ? " | " : "");
        put_stats(buf, feature, &stats);
    }
    if (!ordered && groups < count)
        hone__buf_printf(buf, " | and %u more values", (unsigned)(count - groups));
    hone__buf_char(buf, '\n');
}

void hone__feedback_effects(hone__buf *buf, const hone__digest *digest) {
    if (digest->timed_count < 2)
        return;
    uint32_t *index = hone__alloc_array(DISTINCT_MAX, sizeof *index);
    if (index == NULL) {
        buf->status = HONE_E_NOMEM;
        return;
    }
    for (uint32_t slot = 0; slot < digest->space->slot_count;) {
        tuned_feature one = feature_of_slot(digest->space, slot);
        put_feature_effects(buf, digest, &one, index);
        slot = feature_end(&one);
    }
    if (buf->length > 0)
        hone__buf_text(buf, "(time as a multiple of the best; other parameters vary, so these are no controlled comparisons; abandoned configs "
                            "count with the brief, rough times that they have)\n");
    hone__free(index);
}

/* ---- controlled pairs ---- */

/* Two timed configs that differ in one parameter; `from` has the lower indices. */
typedef struct pair {
    const hone__param *param;
    const hone__measurement *from_result, *to_result;
    const hone__config *from, *to;
} pair;

static int compare_values(const hone__param *param, const hone__config *a, const hone__config *b) {
    for (uint32_t i = 0; i < param->slot_count; i++) {
        uint32_t x = a->slot[param->first_slot + i], y = b->slot[param->first_slot + i];
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

static int compare_pairs(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->param != y->param)
        return x->param < y->param ? -1 : 1; /* both point into one array */
    int from = compare_values(x->param, x->from, y->from);
    return from != 0 ? from : compare_values(x->param, x->to, y->to);
}

/* The one parameter in which two configs differ; NULL: none or several. */
static const hone__param *only_difference(const hone__space *space, const hone__config *a, const hone__config *b) {
    const hone__param *found = NULL;
    for (uint32_t i = 0; i < space->param_count; i++) {
        if (compare_values(&space->param[i], a, b) == 0)
            continue;
        if (found != NULL)
            return NULL;
        found = &space->param[i];
    }
    return found;
}

static uint32_t find_pairs(const hone__digest *digest, pair *out) {
    uint32_t count = 0, trials = digest->timed_count < PAIR_TRIALS ? digest->timed_count : PAIR_TRIALS;
    for (uint32_t i = 0; i < trials; i++) {
        for (uint32_t j = i + 1; j < trials && count < PAIRS_MAX; j++) {
            const hone__shown_trial *a = hone__digest_timed(digest, i), *b = hone__digest_timed(digest, j);
            const hone__param *param = only_difference(digest->space, a->config, b->config);
            if (param == NULL)
                continue;
            bool swap = compare_values(param, a->config, b->config) > 0;
            const hone__shown_trial *from = swap ? b : a, *to = swap ? a : b;
            out[count++] = (pair){param, from->result, to->result, from->config, to->config};
        }
    }
    qsort(out, count, sizeof *out, compare_pairs);
    return count;
}

/* All pairs with one parameter and the same two values. */
typedef struct pair_group {
    const pair *first;
    uint32_t count;
    double mean, low, high; /* of time(to) / time(from); the mean is geometric */
    bool noise;             /* the intervals of the only pair overlap */
    bool rough;             /* one of them was abandoned early: timed once or twice, under whatever disturbance there was */
} pair_group;

static int compare_groups(const void *a, const void *b) {
    const pair_group *x = a, *y = b;
    double size_x = fabs(log(x->mean)), size_y = fabs(log(y->mean));
    if (x->noise != y->noise)
        return x->noise ? 1 : -1;
    if (x->rough != y->rough)
        return x->rough ? 1 : -1;
    if (size_x < size_y || size_x > size_y)
        return size_x > size_y ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static uint32_t group_pairs(const pair *pairs, uint32_t count, pair_group *out) {
    uint32_t groups = 0;
    for (uint32_t i = 0; i < count;) {
        pair_group group = {.first = &pairs[i], .low = HUGE_VAL};
        double sum = 0;
        for (; i < count && compare_pairs(&pairs[i], group.first) == 0; i++) {
            double ratio = pairs[i].to_result->median_ns / pairs[i].from_result->median_ns;
            sum += log(ratio);
            group.low = ratio < group.low ? ratio : group.low;
            group.high = ratio > group.high ? ratio : group.high;
            group.count++;
            group.rough = group.rough || pairs[i].from_result->outcome == HONE_OUTCOME_SLOW || pairs[i].to_result->outcome == HONE_OUTCOME_SLOW;
        }
        const hone__measurement *a = group.first->from_result, *b = group.first->to_result;
        group.mean = exp(sum / group.count);
        group.noise = group.count == 1 && a->high_ns > 0 && b->high_ns > 0 && a->low_ns <= b->high_ns && b->low_ns <= a->high_ns;
        out[groups++] = group;
    }
    qsort(out, groups, sizeof *out, compare_groups);
    return groups;
}

static void put_group(hone__buf *buf, const pair_group *group) {
    const hone__param *param = group->first->param;
    hone__buf_printf(buf, "- %s ", param->name);
    hone__text_param_value(buf, param, group->first->from);
    hone__buf_text(buf, " -> ");
    hone__text_param_value(buf, param, group->first->to);
    hone__buf_text(buf, ": time x");
    hone__text_number(buf, group->mean, 3);
    if (group->count > 1) {
        hone__buf_printf(buf, " (%u pairs, x", (unsigned)group->count);
        hone__text_number(buf, group->low, 3);
        hone__buf_text(buf, " to x");
        hone__text_number(buf, group->high, 3);
    } else {
        hone__buf_text(buf, " (1 pair");
    }
    hone__buf_text(buf, group->noise ? ", within noise)" : group->rough ? ", rough: with one abandoned early)" : ")");
    hone__buf_char(buf, '\n');
}

void hone__feedback_pairs(hone__buf *buf, const hone__digest *digest) {
    pair *pairs = hone__alloc_array(PAIRS_MAX, sizeof *pairs);
    pair_group *groups = hone__alloc_array(PAIRS_MAX, sizeof *groups);
    if (pairs == NULL || groups == NULL) {
        buf->status = HONE_E_NOMEM;
    } else {
        uint32_t count = group_pairs(pairs, find_pairs(digest, pairs), groups);
        for (uint32_t i = 0; i < count && i < PAIR_LINES; i++)
            put_group(buf, &groups[i]);
        if (count > PAIR_LINES)
            hone__buf_printf(buf, "- and %u smaller ones\n", (unsigned)(count - PAIR_LINES));
    }
    hone__free(pairs);
    hone__free(groups);
}

/* ---- never tried ---- */

static bool is_tried(const hone__digest *digest, const tuned_feature *feature, uint32_t value) {
    for (uint32_t i = 0; i < digest->input->trial_count; i++) {
        if (feature_value(feature, digest->input->trial[i].config) == value)
            return true;
    }
    return false;
}

static bool is_sampled(const hone__digest *digest, const tuned_feature *feature, uint32_t value) {
    for (uint32_t i = 0; i < digest->sample_count; i++) {
        if (feature_value(feature, &digest->sample[i]) == value)
            return true;
    }
    return false;
}

/* Would the best config stay valid with this value alone changed? */
static bool fits_best(const hone__digest *digest, const tuned_feature *feature, uint32_t value) {
    if (feature->param->kind == HONE_KIND_PERMUTATION && !feature->order)
        return false; /* one element alone cannot change */
    hone__config changed = digest->best != NULL ? *digest->best->config : digest->space->base;
    set_feature(feature, &changed, value);
    return hone__bound_valid(digest->input->bound, &changed, NULL);
}

/* A large domain: how much of it was seen, and where the widest gap is. */
static void put_gaps(hone__buf *buf, const hone__digest *digest, const tuned_feature *feature, uint32_t *index) {
    uint32_t count = distinct_indices(digest, feature, index), from = 0, to = 0;
    for (uint32_t i = 0; i <= count; i++) {
        uint32_t low = i == 0 ? 0 : index[i - 1] + 1, high = i == count ? feature->count : index[i]; /* untried: low .. high - 1 */
        if (high > low && high - low > to - from) {
            from = low;
            to = high;
        }
    }
    hone__buf_text(buf, "- ");
    put_feature(buf, digest->space, feature);
    hone__buf_printf(buf, ": %u of %u values tried", (unsigned)count, (unsigned)feature->count);
    if (to > from) {
        hone__buf_text(buf, "; the widest untried stretch is ");
        put_value(buf, feature, from);
        hone__buf_text(buf, " to ");
        put_value(buf, feature, to - 1);
    }
    hone__buf_char(buf, '\n');
}

/* One more of a feature's values in a line of its own. */
static void put_listed(hone__buf *buf, const hone__space *space, const tuned_feature *feature, uint32_t value, bool first) {
    if (first) {
        hone__buf_text(buf, "- ");
        put_feature(buf, space, feature);
    }
    hone__buf_text(buf, first ? ": " : ", ");
    put_value(buf, feature, value);
}

static void put_never(hone__buf *buf, const hone__digest *digest, const tuned_feature *feature) {
    uint32_t shown = 0, missing = 0;
    for (uint32_t value = 0; value < feature->count; value++) {
        if (is_tried(digest, feature, value))
            continue;
        missing++;
        if (shown == NEVER_SHOWN)
            continue;
        put_listed(buf, digest->space, feature, value, shown == 0);
        hone__buf_text(buf, fits_best(digest, feature, value) ? "*" : is_sampled(digest, feature, value) ? "" : "?");
        shown++;
    }
    if (missing > shown)
        hone__buf_printf(buf, ", and %u more", (unsigned)(missing - shown));
    if (missing > 0)
        hone__buf_char(buf, '\n');
}

void hone__feedback_never(hone__buf *buf, const hone__digest *digest) {
    uint32_t *index = hone__alloc_array(DISTINCT_MAX, sizeof *index);
    if (index == NULL) {
        buf->status = HONE_E_NOMEM;
        return;
    }
    for (uint32_t slot = 0; slot < digest->space->slot_count;) {
        tuned_feature one = feature_of_slot(digest->space, slot);
        if (one.count <= DOMAIN_LISTED)
            put_never(buf, digest, &one);
        else
            put_gaps(buf, digest, &one, index);
        slot = feature_end(&one);
    }
    if (buf->length > 0)
        hone__buf_printf(buf, "(* valid in the best config with nothing else changed; ? not in any of %u random valid configs: rare, or "
                              "excluded by the constraints)\n",
                         (unsigned)digest->sample_count);
    hone__free(index);
}

/* ---- families ---- */

/* Whether some config has all of these values. */
static bool has_values(const hone__config *config, const uint32_t *slot, const uint32_t *index, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (config->slot[slot[i]] != index[i])
            return false;
    }
    return true;
}

/* 0: tried; 1: never tried, but a random valid config has it; 2: never tried, and not seen in random ones. */
static int family_state(const hone__digest *digest, const uint32_t *slot, const uint32_t *index, uint32_t count) {
    for (uint32_t i = 0; i < digest->input->trial_count; i++) {
        if (has_values(digest->input->trial[i].config, slot, index, count))
            return 0;
    }
    for (uint32_t i = 0; i < digest->sample_count; i++) {
        if (has_values(&digest->sample[i], slot, index, count))
            return 1;
    }
    return 2;
}

typedef struct family_list {
    uint32_t lines, more;
} family_list;

static void put_family(hone__buf *buf, const hone__digest *digest, const uint32_t *slot, const uint32_t *index, uint32_t count,
                       family_list *list) {
    int state = family_state(digest, slot, index, count);
    if (state == 0)
        return;
    if (list->lines == FAMILY_LINES) {
        list->more++;
        return;
    }
    list->lines++;
    hone__buf_text(buf, "- ");
    for (uint32_t i = 0; i < count; i++) {
        hone__buf_text(buf, i > 0 ? " with " : "");
        hone__text_slot_value(buf, digest->space, slot[i], index[i]);
    }
    hone__buf_text(buf, state == 2 ? "?\n" : "\n");
}

static uint32_t domain_count(const hone__digest *digest, uint32_t slot) {
    return digest->space->param[hone__space_param_of_slot(digest->space, slot)].domain.count;
}

static void put_combinations(hone__buf *buf, const hone__digest *digest, const uint32_t *slot, uint32_t count, family_list *list) {
    uint32_t index[FAMILY_SLOTS] = {0};
    for (;;) {
        put_family(buf, digest, slot, index, count, list);
        uint32_t i = count;
        while (i > 0 && ++index[i - 1] == domain_count(digest, slot[i - 1]))
            index[--i] = 0;
        if (i == 0)
            return;
    }
}

static void put_pairs_of_values(hone__buf *buf, const hone__digest *digest, const uint32_t *slot, uint32_t count, family_list *list) {
    for (uint32_t a = 0; a < count; a++) {
        for (uint32_t b = a + 1; b < count; b++) {
            const uint32_t both[2] = {slot[a], slot[b]};
            put_combinations(buf, digest, both, 2, list);
        }
    }
}

void hone__feedback_families(hone__buf *buf, const hone__digest *digest) {
    uint32_t slot[FAMILY_SLOTS], count = 0;
    double combinations = 1;
    for (uint32_t i = 0; i < digest->space->slot_count && count < FAMILY_SLOTS; i++) {
        if (hone__slot_is_family(digest->space, i)) {
            slot[count++] = i;
            combinations *= domain_count(digest, i);
        }
    }
    if (count < 2)
        return;
    family_list list = {0, 0};
    if (combinations <= COMBINATIONS_MAX)
        put_combinations(buf, digest, slot, count, &list);
    else
        put_pairs_of_values(buf, digest, slot, count, &list);
    if (list.more > 0)
        hone__buf_printf(buf, "- and %u more\n", (unsigned)list.more);
    if (list.lines > 0)
        hone__buf_text(buf, "(? not in any random valid config that was drawn: perhaps excluded by the constraints)\n");
}

/* ---- what each combination of the two-valued parameters came to ---- */

enum { RECORD_SLOTS = 4 };

static void put_record(hone__buf *buf, const hone__digest *digest, const uint32_t *slot, const uint32_t *index, uint32_t count) {
    uint32_t tried = 0, timed = 0, best = 0;
    for (uint32_t i = 0; i < digest->input->trial_count; i++)
        tried += has_values(digest->input->trial[i].config, slot, index, count);
    for (uint32_t i = digest->timed_count; i-- > 0;) {
        if (has_values(hone__digest_timed(digest, i)->config, slot, index, count)) {
            best = i;
            timed++;
        }
    }
    if (tried == 0)
        return; /* told as never tried */
    hone__buf_text(buf, "- ");
    for (uint32_t i = 0; i < count; i++) {
        hone__buf_text(buf, i > 0 ? " with " : "");
        hone__text_slot_value(buf, digest->space, slot[i], index[i]);
    }
    hone__buf_printf(buf, ": %u tried, ", (unsigned)tried);
    if (timed == 0) {
        hone__buf_text(buf, "all failed\n");
        return;
    }
    hone__buf_text(buf, "best x");
    hone__text_number(buf, hone__digest_ns(digest, best) / hone__digest_unit(digest), 3);
    hone__buf_text(buf, ": ");
    hone__config_print_sparse(buf, digest->space, hone__digest_timed(digest, best)->config);
    hone__buf_char(buf, '\n');
}

void hone__feedback_records(hone__buf *buf, const hone__digest *digest) {
    uint32_t slot[RECORD_SLOTS], index[RECORD_SLOTS] = {0}, count = 0;
    for (uint32_t i = 0; i < digest->space->slot_count && count < RECORD_SLOTS; i++) {
        if (hone__slot_is_family(digest->space, i) && domain_count(digest, i) == 2)
            slot[count++] = i;
    }
    for (uint32_t at = 0; at < 1u << count && count > 0; at++) {
        for (uint32_t i = 0; i < count; i++)
            index[i] = at >> (count - 1 - i) & 1u;
        put_record(buf, digest, slot, index, count);
    }
    if (buf->length > 0)
        hone__buf_text(buf, "(A family that was tried with few configs, or only with other parameters that suit another family, is not judged yet.)\n");
}

/* ---- steps from the best that nobody has taken ---- */

static bool is_measured(const hone__digest *digest, const hone__config *config) {
    for (uint32_t i = 0; i < digest->input->trial_count; i++) {
        if (hone__config_equal(digest->input->trial[i].config, config))
            return true;
    }
    return false;
}

/* Values of one feature that leave the best valid and were never measured in it; of long domains those at most STEP_REACH places away. */
static void put_steps(hone__buf *buf, const hone__digest *digest, const tuned_feature *feature) {
    uint32_t at = feature_value(feature, digest->best->config), shown = 0;
    for (uint32_t value = 0; value < feature->count; value++) {
        if (value == at || (feature->count > STEPS_LISTED && (value > at ? value - at : at - value) > STEP_REACH))
            continue;
        hone__config changed = *digest->best->config;
        set_feature(feature, &changed, value);
        if (!hone__bound_valid(digest->input->bound, &changed, NULL) || is_measured(digest, &changed))
            continue;
        put_listed(buf, digest->space, feature, value, shown == 0);
        shown++;
    }
    if (shown > 0)
        hone__buf_char(buf, '\n');
}

void hone__feedback_steps(hone__buf *buf, const hone__digest *digest) {
    for (uint32_t slot = 0; digest->best != NULL && slot < digest->space->slot_count;) {
        tuned_feature one = feature_of_slot(digest->space, slot);
        if (one.param->kind != HONE_KIND_PERMUTATION || one.order) /* one element alone cannot change */
            put_steps(buf, digest, &one);
        slot = feature_end(&one);
    }
}
