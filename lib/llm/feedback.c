/* feedback.c: the refinement prompt: what the measurements came to, what they show, what nobody has tried, and what to do next
 * (spec/prompt.md section 3). */
#include "feedback.h"

#include "prompt_facts.h"

#include <math.h>
#include <string.h>

enum { ANCHORS = 3, RESULTS_SHOWN = 30, PATTERNS_SHOWN = 12, FAILURE_GROUPS = 8, REJECTIONS_SHOWN = 16, PROPOSERS = 12, LOPSIDED_SHOWN = 12 };

/* ---- state ---- */

typedef struct proposer_stats {
    const char *name;
    uint32_t trials, failed;
    double best_ns;
} proposer_stats;

static void put_proposers(hone__buf *buf, const hone__digest *digest) {
    proposer_stats stats[PROPOSERS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < digest->input->trial_count; i++) {
        const hone__shown_trial *trial = &digest->input->trial[i];
        const char *name = trial->proposer == NULL ? "unknown" : trial->proposer;
        uint32_t j = 0;
        while (j < count && strcmp(stats[j].name, name) != 0)
            j++;
        if (j == PROPOSERS)
            continue;
        if (j == count)
            stats[count++] = (proposer_stats){.name = name};
        stats[j].trials++;
        double ns = trial->result->outcome == HONE_OUTCOME_OK ? trial->result->median_ns : 0;
        stats[j].failed += trial->result->outcome != HONE_OUTCOME_OK && trial->result->outcome != HONE_OUTCOME_SLOW;
        if (ns > 0 && (stats[j].best_ns <= 0 || ns < stats[j].best_ns))
            stats[j].best_ns = ns;
    }
    hone__buf_text(buf, "- by proposer:");
    for (uint32_t i = 0; i < count; i++) {
        hone__buf_text(buf, i > 0 ? "; " : " ");
        hone__text_clean(buf, stats[i].name, 24, true);
        hone__buf_printf(buf, " %u", (unsigned)stats[i].trials);
        if (stats[i].failed > 0)
            hone__buf_printf(buf, " (%u failed)", (unsigned)stats[i].failed);
        if (stats[i].best_ns > 0) {
            hone__buf_text(buf, ", best ");
            hone__text_ms(buf, stats[i].best_ns);
        }
    }
    hone__buf_char(buf, '\n');
}

static void put_achieved(hone__buf *buf, const hone__digest *digest) {
    hone__roofline roof;
    hone__roofline_get(digest->input, &roof);
    double ns = digest->best->result->median_ns;
    if (roof.flops > 0 || roof.bytes > 0) {
        hone__buf_text(buf, "- achieved by the best:");
        if (roof.flops > 0) {
            hone__buf_char(buf, ' ');
            hone__text_number(buf, roof.flops / ns, 4);
            hone__buf_text(buf, " GFLOP/s");
        }
        if (roof.bytes > 0) {
            hone__buf_text(buf, roof.flops > 0 ? ", " : " ");
            hone__text_number(buf, roof.bytes / ns, 4);
            hone__buf_text(buf, " GB/s of necessary traffic");
        }
        hone__buf_char(buf, '\n');
    }
    if (roof.limit_ns > 0) {
        hone__buf_text(buf, "- that is ");
        hone__text_number(buf, 100 * roof.limit_ns / ns, 3);
        hone__buf_text(buf, " % of the roofline (");
        hone__text_ms(buf, roof.limit_ns);
        hone__buf_printf(buf, ", set by %s)%s\n", roof.memory_ns > roof.compute_ns ? "memory traffic" : "arithmetic",
                         roof.limit_ns > 1.05 * ns ? "; beyond it, so the stated work or the measured peak is not exact here" : "");
    }
}

static void put_best(hone__buf *buf, const hone__digest *digest) {
    if (digest->best == NULL) {
        hone__buf_text(buf, "- no config was measured to the end and found right yet\n");
        return;
    }
    hone__buf_text(buf, "- best: ");
    hone__text_ms(buf, digest->best->result->median_ns);
    hone__buf_printf(buf, " (measurement %u of %u, proposed by ", (unsigned)(digest->best - digest->input->trial) + 1u,
                     (unsigned)digest->input->trial_count);
    hone__text_clean(buf, digest->best->proposer == NULL ? "unknown" : digest->best->proposer, 24, true);
    hone__buf_text(buf, ")\n");
    const hone__shown_trial *standard = digest->standard;
    if (standard != NULL && standard->result->outcome == HONE_OUTCOME_OK && standard->result->median_ns > 0) {
        hone__buf_text(buf, "- default: ");
        hone__text_ms(buf, standard->result->median_ns);
        hone__buf_text(buf, "; the best is ");
        hone__text_number(buf, standard->result->median_ns / digest->best->result->median_ns, 3);
        hone__buf_text(buf, " times as fast\n");
    } else if (standard != NULL) {
        hone__buf_printf(buf, "- the default itself: %s\n", hone__outcome_name(standard->result->outcome));
    }
    put_achieved(buf, digest);
}

static void put_state(hone__buf *buf, const hone__digest *digest) {
    const hone__prompt_input *input = digest->input;
    hone__buf_printf(buf, "- round %u of %u; measurements: %u done, %u left\n", (unsigned)input->round, (unsigned)input->rounds_max,
                     (unsigned)input->trial_count, (unsigned)input->trials_left);
    put_best(buf, digest);
    uint32_t abandoned = 0;
    for (uint32_t i = 0; i < digest->timed_count; i++)
        abandoned += hone__digest_timed(digest, i)->result->outcome == HONE_OUTCOME_SLOW;
    hone__buf_printf(buf, "- %u timed (%u of them abandoned early as clearly slower), %u failed\n", (unsigned)digest->timed_count,
                     (unsigned)abandoned, (unsigned)digest->failed_count);
    if (input->trial_count > 0)
        put_proposers(buf, digest);
    if (digest->noise > 0) {
        hone__buf_text(buf, "- noise: typically +-");
        hone__text_number(buf, 100 * digest->noise, 2);
        hone__buf_text(buf, " %; smaller differences mean nothing\n");
    }
}

/* ---- anchors and results ---- */

static void put_anchors(hone__buf *buf, const hone__digest *digest) {
    uint32_t shown = 0;
    for (uint32_t i = 0; i < digest->timed_count && shown < ANCHORS; i++) {
        const hone__shown_trial *trial = hone__digest_timed(digest, i);
        if (trial->result->outcome != HONE_OUTCOME_OK)
            continue;
        hone__buf_printf(buf, "- %c, time x", (int)('A' + shown));
        hone__text_number(buf, trial->result->median_ns / hone__digest_unit(digest), 4);
        hone__buf_text(buf, ": ");
        hone__config_print(buf, digest->space, trial->config);
        hone__buf_char(buf, '\n');
        shown++;
    }
}

static void put_result(hone__buf *buf, const hone__digest *digest, uint32_t rank) {
    const hone__shown_trial *trial = hone__digest_timed(digest, rank);
    const hone__measurement *result = trial->result;
    hone__buf_text(buf, "- x");
    hone__text_number(buf, result->median_ns / hone__digest_unit(digest), 4);
    hone__buf_text(buf, " | ");
    hone__text_ms(buf, result->median_ns);
    double half = (result->high_ns - result->low_ns) / 2 / result->median_ns;
    if (result->low_ns > 0 && half > 0.01) { /* below one percent it is not worth the tokens */
        hone__buf_text(buf, " +-");
        hone__text_number(buf, 100 * half, 2);
        hone__buf_text(buf, "%");
    }
    if (result->outcome == HONE_OUTCOME_SLOW)
        hone__buf_text(buf, " (abandoned early)");
    hone__buf_text(buf, " | ");
    hone__config_print_sparse(buf, digest->space, trial->config);
    if (result->resources[0] != '\0') {
        hone__buf_text(buf, " | ");
        hone__text_clean(buf, result->resources, sizeof result->resources, true);
    }
    hone__buf_char(buf, '\n');
}

static void put_results(hone__buf *buf, const hone__digest *digest) {
    for (uint32_t i = 0; i < digest->timed_count && i < RESULTS_SHOWN; i++)
        put_result(buf, digest, i);
    if (digest->timed_count > RESULTS_SHOWN) {
        hone__buf_printf(buf, "- and %u slower ones, up to x", (unsigned)(digest->timed_count - RESULTS_SHOWN));
        hone__text_number(buf, hone__digest_ns(digest, digest->timed_count - 1) / hone__digest_unit(digest), 3);
        hone__buf_char(buf, '\n');
    }
}

/* ---- patterns of the top ---- */

typedef struct pattern {
    uint32_t slot, index;
    uint32_t top, rest;
    double lead; /* share in the top minus share in the rest */
} pattern;

static uint32_t count_with(const hone__digest *digest, uint32_t from, uint32_t to, uint32_t slot, uint32_t index) {
    uint32_t count = 0;
    for (uint32_t i = from; i < to; i++)
        count += hone__digest_timed(digest, i)->config->slot[slot] == index;
    return count;
}

/* Keep the list sorted by lead, longest first; drops the last when full. */
static void insert_pattern(pattern *list, uint32_t *count, pattern one) {
    uint32_t at = *count;
    while (at > 0 && list[at - 1].lead < one.lead)
        at--;
    if (at == PATTERNS_SHOWN)
        return;
    uint32_t last = *count < PATTERNS_SHOWN ? (*count)++ : PATTERNS_SHOWN - 1;
    for (uint32_t i = last; i > at; i--)
        list[i] = list[i - 1];
    list[at] = one;
}

static void put_patterns(hone__buf *buf, const hone__digest *digest) {
    uint32_t top = digest->timed_count / 4, rest;
    if (top < 3)
        top = 3;
    if (digest->timed_count < top + 3)
        return;
    rest = digest->timed_count - top;
    pattern list[PATTERNS_SHOWN];
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < digest->space->slot_count; slot++) {
        for (uint32_t i = 0; i < top; i++) {
            uint32_t index = hone__digest_timed(digest, i)->config->slot[slot];
            if (count_with(digest, 0, i, slot, index) > 0)
                continue; /* seen already */
            pattern one = {slot, index, count_with(digest, 0, top, slot, index),
                           count_with(digest, top, digest->timed_count, slot, index), 0};
            one.lead = (double)one.top / top - (double)one.rest / rest;
            if (one.lead >= 0.3 && one.top * 2 >= top)
                insert_pattern(list, &count, one);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        hone__buf_text(buf, "- ");
        hone__text_slot_value(buf, digest->space, list[i].slot, list[i].index);
        hone__buf_printf(buf, ": %u of the best %u, %u of the other %u\n", (unsigned)list[i].top, (unsigned)top, (unsigned)list[i].rest,
                         (unsigned)rest);
    }
}

/* ---- failures ---- */

typedef struct failure_group {
    const hone__measurement *result; /* of the first */
    uint32_t count;
} failure_group;

/* Reasons are alike when they differ in numbers only. */
static bool same_reason(const char *a, const char *b) {
    while (*a != '\0' && *b != '\0') {
        if (*a >= '0' && *a <= '9' && *b >= '0' && *b <= '9') {
            a += strspn(a, "0123456789.");
            b += strspn(b, "0123456789.");
        } else if (*a != *b) {
            return false;
        } else {
            a++;
            b++;
        }
    }
    return *a == *b;
}

static bool same_failure(const hone__measurement *a, const hone__measurement *b) {
    return a->outcome == b->outcome && same_reason(a->reason, b->reason);
}

static const hone__shown_trial *failed_trial(const hone__digest *digest, uint32_t i) {
    return &digest->input->trial[digest->failed[i]];
}

/* Values that all configs of the group have and few timed ones. */
static void put_shared(hone__buf *buf, const hone__digest *digest, const failure_group *group, const hone__config *first) {
    uint32_t shown = 0;
    for (uint32_t slot = 0; slot < digest->space->slot_count && shown < 6; slot++) {
        bool shared = true;
        for (uint32_t i = 0; i < digest->failed_count && shared; i++) {
            const hone__shown_trial *trial = failed_trial(digest, i);
            shared = !same_failure(trial->result, group->result) || trial->config->slot[slot] == first->slot[slot];
        }
        uint32_t timed = count_with(digest, 0, digest->timed_count, slot, first->slot[slot]);
        if (!shared || timed * 2 > digest->timed_count)
            continue;
        hone__buf_text(buf, shown == 0 ? "  all have " : ", ");
        hone__text_slot_value(buf, digest->space, slot, first->slot[slot]);
        hone__buf_printf(buf, " (so have %u of %u timed)", (unsigned)timed, (unsigned)digest->timed_count);
        shown++;
    }
    if (shown > 0)
        hone__buf_char(buf, '\n');
}

static void put_failure_group(hone__buf *buf, const hone__digest *digest, const failure_group *group) {
    hone__buf_printf(buf, "- %u x %s: ", (unsigned)group->count, hone__outcome_name(group->result->outcome));
    hone__text_clean(buf, group->result->reason[0] == '\0' ? "no reason given" : group->result->reason, 320, true);
    if (group->result->resources[0] != '\0') {
        hone__buf_text(buf, " [");
        hone__text_clean(buf, group->result->resources, sizeof group->result->resources, true);
        hone__buf_char(buf, ']');
    }
    hone__buf_char(buf, '\n');
    uint32_t shown = 0;
    const hone__config *first = NULL;
    for (uint32_t i = 0; i < digest->failed_count && shown < 3; i++) {
        const hone__shown_trial *trial = failed_trial(digest, i);
        if (!same_failure(trial->result, group->result))
            continue;
        first = first == NULL ? trial->config : first;
        hone__buf_text(buf, shown == 0 ? "  e.g. " : " ");
        hone__config_print_sparse(buf, digest->space, trial->config);
        shown++;
    }
    hone__buf_char(buf, '\n');
    if (group->count > 1 && first != NULL)
        put_shared(buf, digest, group, first);
}

/* Groups by outcome and reason, the most frequent first. */
static void put_failures(hone__buf *buf, const hone__digest *digest) {
    failure_group group[FAILURE_GROUPS];
    uint32_t count = 0, other = 0;
    for (uint32_t i = 0; i < digest->failed_count; i++) {
        const hone__measurement *result = failed_trial(digest, i)->result;
        uint32_t j = 0;
        while (j < count && !same_failure(group[j].result, result))
            j++;
        if (j == count && count < FAILURE_GROUPS)
            group[count++] = (failure_group){.result = result};
        if (j < count)
            group[j].count++;
        else
            other++;
    }
    for (uint32_t i = 1; i < count; i++) { /* insertion sort: stable, and there are eight at most */
        failure_group one = group[i];
        uint32_t j = i;
        for (; j > 0 && group[j - 1].count < one.count; j--)
            group[j] = group[j - 1];
        group[j] = one;
    }
    for (uint32_t i = 0; i < count; i++)
        put_failure_group(buf, digest, &group[i]);
    if (other > 0)
        hone__buf_printf(buf, "- and %u others\n", (unsigned)other);
}

static void put_rejected(hone__buf *buf, const hone__prompt_input *input) {
    for (uint32_t i = 0; i < input->rejection_count && i < REJECTIONS_SHOWN; i++) {
        const hone__rejection *rejection = &input->rejection[i];
        hone__buf_text(buf, "- ");
        hone__text_clean(buf, rejection->config == NULL ? "" : rejection->config, 160, true);
        hone__buf_text(buf, rejection->config == NULL || rejection->config[0] == '\0' ? "" : ": ");
        hone__text_clean(buf, rejection->reason == NULL ? "" : rejection->reason, 400, true);
        hone__buf_char(buf, '\n');
    }
    if (input->rejection_count > REJECTIONS_SHOWN)
        hone__buf_printf(buf, "- and %u more\n", (unsigned)(input->rejection_count - REJECTIONS_SHOWN));
}

/* ---- what to make of it ---- */

/* Values that nearly all trials share: what was assumed rather than tested. */
static uint32_t put_lopsided(hone__buf *buf, const hone__digest *digest) {
    uint32_t total = digest->input->trial_count, shown = 0;
    if (total < 5)
        return 0;
    for (uint32_t slot = 0; slot < digest->space->slot_count && shown < LOPSIDED_SHOWN; slot++) {
        uint32_t domain = digest->space->param[hone__space_param_of_slot(digest->space, slot)].domain.count;
        for (uint32_t i = 0; i < total; i++) {
            uint32_t index = digest->input->trial[i].config->slot[slot], same = 0;
            for (uint32_t j = 0; j < total; j++)
                same += digest->input->trial[j].config->slot[slot] == index;
            if (domain > 1 && same * 5 >= total * 4) {
                hone__buf_text(buf, shown == 0 ? "- Nearly all measured configs share: " : ", ");
                hone__text_slot_value(buf, digest->space, slot, index);
                hone__buf_printf(buf, " (%u of %u)", (unsigned)same, (unsigned)total);
                shown++;
                break;
            }
            if (i > total / 5)
                break; /* a value of four fifths would have turned up among the first fifth */
        }
    }
    if (shown > 0)
        hone__buf_text(buf, ". These choices are assumed more than tested.\n");
    return shown;
}

static void put_question(hone__buf *buf, const hone__digest *digest) {
    uint32_t wanted = digest->input->configs_wanted, opposite = wanted / 4 > 2 ? wanted / 4 : wanted < 2 ? wanted : 2;
    hone__buf_printf(buf,
                     "- Which assumption behind the configs so far do these results refute, or leave untested? Say it in \"thought\", and let at "
                     "least %u of the next configs test its opposite, with the other parameters chosen well for that opposite.\n",
                     (unsigned)opposite);
    (void)put_lopsided(buf, digest);
}

static bool last_batch_gained(const hone__digest *digest) {
    if (digest->best == NULL || digest->input->trial_count == 0 || digest->best->proposer == NULL)
        return digest->best != NULL;
    const char *last = digest->input->trial[digest->input->trial_count - 1].proposer;
    return last != NULL && strcmp(last, digest->best->proposer) == 0;
}

static void put_next(hone__buf *buf, const hone__digest *digest) {
    const hone__prompt_input *input = digest->input;
    hone__roofline roof;
    hone__roofline_get(input, &roof);
    double reached = digest->best != NULL ? roof.limit_ns / digest->best->result->median_ns : 0;
    bool last = input->round >= input->rounds_max || input->trials_left <= input->configs_wanted;
    if (digest->best == NULL)
        hone__buf_text(buf, "- Nothing works yet: first find any config that does. Stay away from what the failures share.\n");
    else if (digest->failed_count * 3 >= input->trial_count)
        hone__buf_text(buf, "- A third or more of the configs failed: see above what they share, and change that before anything else.\n");
    if (reached >= 0.9 && reached <= 1.05)
        hone__buf_text(buf, "- The best is within 10 % of the roofline: little is left; try only what could close the rest.\n");
    if (last)
        hone__buf_text(buf, "- This is the last batch. Spend most of it on what the measured effects favour, combined around the anchors, and a few on "
                            "the most promising family that was never tried.\n");
    else if (digest->best != NULL && !last_batch_gained(digest))
        hone__buf_text(buf, "- The last batch brought no gain: more of the same neighbourhood will not either. Put half of the configs or more into "
                            "values and combinations that were never tried.\n");
    else if (digest->best != NULL)
        hone__buf_text(buf, "- The last batch found the best so far: about half of the configs should change one or two parameters of the anchors (so "
                            "that each effect can be told), the rest should try what was never tried.\n");
    if (digest->best != NULL && digest->standard == digest->best && input->trial_count > 1)
        hone__buf_text(buf, "- The default is still the best: the directions tried so far were wrong.\n");
}

static void put_refine_task(hone__buf *buf, const hone__prompt_input *input) {
    hone__buf_printf(buf,
                     "Propose up to %u NEW configs, none of them measured before (those not listed above are known as well). Sparse against the "
                     "default, not against an anchor. Every constraint must hold. One JSON object {\"thought\": ..., \"configs\": [...]}, nothing "
                     "else.\n",
                     (unsigned)input->configs_wanted);
}

void hone__prompt_refine(hone__buf *buf, const hone__prompt_input *input) {
    hone__digest digest;
    if (!hone__digest_make(&digest, input)) {
        buf->status = HONE_E_NOMEM;
        return;
    }
    hone__sections sections = {.count = 0};
    put_state(hone__section_add(&sections, "State", 0, 0), &digest);
    put_anchors(hone__section_add(&sections, "Anchors (whole configs)", 8, 4 << 10), &digest);
    put_results(hone__section_add(&sections, "Results, fastest first (time as a multiple of the best | time | config, sparse)", 4, 4 << 10), &digest);
    put_patterns(hone__section_add(&sections, "Patterns of the fastest quarter", 3, 1 << 10), &digest);
    put_failures(hone__section_add(&sections, "Failures", 5, 4 << 10), &digest);
    put_rejected(hone__section_add(&sections, "Rejected or mended in your last answer", 1, 1 << 10), input);
    hone__feedback_effects(hone__section_add(&sections, "Measured effect of each value", 6, 8 << 10), &digest);
    hone__feedback_pairs(hone__section_add(&sections, "Controlled pairs (one parameter changed, all else equal)", 2, 2 << 10), &digest);
    hone__feedback_records(hone__section_add(&sections, "Each combination of the two-valued parameters, at its best", 6, 2 << 10), &digest);
    hone__feedback_steps(hone__section_add(&sections, "Single changes of the best that are valid and not measured", 3, 1 << 10), &digest);
    hone__feedback_never(hone__section_add(&sections, "Values never tried", 7, 8 << 10), &digest);
    hone__feedback_families(hone__section_add(&sections, "Combinations never tried", 7, 2 << 10), &digest);
    put_question(hone__section_add(&sections, "Question", 0, 0), &digest);
    put_next(hone__section_add(&sections, "Next step", 0, 0), &digest);
    put_refine_task(hone__section_add(&sections, "Task", 0, 0), input);
    hone__sections_write(buf, &sections);
    hone__digest_free(&digest);
}
