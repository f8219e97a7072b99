/* hybrid_search.c: the conversation with a model, and a surrogate that learns from all of it.  Configs of a reply are measured one after the other (the
 * first reply whole, unless they are hardly better than draws) as long as they bring new bests, after the first ones in turn with the surrogate's own; the
 * others become candidates that the surrogate judges.  A round that paid is followed by the next one.  After one that did not, the surrogate goes on, and the
 * model is asked again, with less credit and after ever longer rests, when there is news for it: a better config that it has not seen, or nothing better for
 * long, so that another view is worth some trials.  What a model can waste is bounded by that: the credits of its rounds.  While it thinks, the surrogate goes
 * on for some trials: a device that waits for a minute is no better than one that measures for it. */
#include "conversation.h"

#include <stdio.h>
#include <string.h>

enum {
    CREDIT = 5,             /* configs of the model in a row without a new best before the rest is left to the surrogate ... */
    CREDIT_LATER = 2,       /* ... once a round of it did not pay */
    POOR_CREDIT = 2,        /* the same for a model whose configs are not clearly better than draws, */
    POOR_CREDIT_LATER = 1,
    POOR_RESULTS = 2,       /* which is judged by so many results at the least */
    REST = 12,              /* trials of the surrogate after a round that did not pay; doubled with each further one */
    ALONE = 7,              /* configs of a reply that are measured before the surrogate has every second trial */
    OPENERS_MAX = 8         /* configs of one reply that are measured for the sake of their family */
};
static const double good_share = 0.65; /* of the pairs of one config of the model and a draw in which the former is better */

/* Do two configs agree in every parameter that has two values?  Such are one family. */
static bool same_family(const hone__space *space, const hone__config *a, const hone__config *b) {
    for (uint32_t slot = 0; slot < space->slot_count; slot++) {
        const hone__param *param = &space->param[hone__space_param_of_slot(space, slot)];
        if (param->kind != HONE_KIND_PERMUTATION && param->domain.count == 2 && a->slot[slot] != b->slot[slot])
            return false;
    }
    return true;
}

static bool opens_family(const hone__strategy *strategy, const hone__config *config, const hone__config *before, uint32_t count) {
    if (hone__strategy_was_proposed(strategy, config))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (same_family(strategy->space, config, &before[i]))
            return false;
    }
    for (uint32_t i = 0; i < strategy->result_count; i++) {
        if (strncmp(strategy->result[i].proposer, "model:", 6) == 0 && same_family(strategy->space, config, &strategy->result[i].config))
            return false;
    }
    return true;
}

/* What the model holds most promising may all share one wrong belief: the first config of each family that it had none of before comes first, in its
 * own order, so that a credit that runs out leaves no family unvisited that it has chosen a config for. */
void hone__hybrid_families_first(hone__strategy *strategy) {
    hone__conversation *talk = strategy->state;
    hone__config *config = talk->parsed.config;
    talk->openers = 0;
    for (uint32_t i = 0; i < talk->parsed.count && talk->openers < OPENERS_MAX; i++) {
        hone__config one = config[i];
        if (!opens_family(strategy, &one, config, talk->openers))
            continue;
        memmove(&config[talk->openers + 1], &config[talk->openers], (i - talk->openers) * sizeof *config);
        config[talk->openers++] = one;
    }
}

/* Are its configs not clearly better than draws?  Two bad ones are enough to say so: what is spent on a bad model is lost, a good one's configs that are
 * not measured at once become candidates. */
static bool is_poor(const hone__strategy *strategy) {
    uint32_t results = 0;
    for (uint32_t i = 0; i < strategy->result_count; i++)
        results += strategy->result[i].told && strncmp(strategy->result[i].proposer, "model:", 6) == 0;
    return results >= POOR_RESULTS && hone__lfbo_against_draws(strategy, "model:") < good_share;
}

/* The first reply of a model that is not poor is measured whole and followed by the next request: it was given before anything was known, to test beliefs
 * rather than to follow one, and what the model believes in least comes last. */
static bool first_of_good(const hone__strategy *strategy) {
    return strategy->report.rounds == 1 && !is_poor(strategy);
}

static uint32_t credit_of(const hone__strategy *strategy) {
    const hone__conversation *talk = strategy->state;
    if (is_poor(strategy))
        return talk->duds > 0 ? POOR_CREDIT_LATER : POOR_CREDIT;
    if (first_of_good(strategy))
        return talk->parsed.count + 1;
    return talk->duds > 0 ? CREDIT_LATER : CREDIT;
}

/* One more config of the last reply, while the model has credit; what is left then, the surrogate judges.  *wait: the results in flight decide. */
static bool release(hone__strategy *strategy, bool *wait) {
    hone__conversation *talk = strategy->state;
    const uint32_t credit = credit_of(strategy);
    const bool poor = is_poor(strategy);
    char proposer[24];
    (void)snprintf(proposer, sizeof proposer, "model:%u", strategy->report.rounds);
    *wait = false;
    while (talk->held_next < talk->parsed.count) {
        const bool opener = talk->held_next < talk->openers && !poor;
        if (!opener && talk->dry >= credit)
            break;
        *wait = !opener && strategy->result_count > strategy->told && talk->dry + (strategy->result_count - strategy->told) >= credit;
        if (*wait)
            return false;
        if (hone__strategy_queue(strategy, &talk->parsed.config[talk->held_next++], proposer)) {
            talk->openers_end = opener ? strategy->result_count : talk->openers_end;
            return true;
        }
    }
    for (; talk->held_next < talk->parsed.count; talk->held_next++)
        hone__lfbo_offer(talk->lfbo, strategy, &talk->parsed.config[talk->held_next]);
    return false;
}

/* The last round is through: is the next one worth its price now? */
static bool worth_asking(hone__strategy *strategy) {
    hone__conversation *talk = strategy->state;
    if (talk->rest_from == 0) {
        talk->rest_from = strategy->told;
        talk->best_then = hone__conversation_best_ns(strategy);
        talk->duds = talk->paid || first_of_good(strategy) ? 0 : talk->duds + 1;
        if (strategy->report.rounds >= strategy->options.rounds_max)
            hone__conversation_end(strategy, "rounds: the model was asked as often as allowed");
    }
    if (talk->over || talk->paid || first_of_good(strategy))
        return !talk->over;
    uint32_t rested = strategy->told - talk->rest_from, rest = (uint32_t)REST << (talk->duds < 5 ? talk->duds - 1 : 4);
    return rested >= 2 * rest || (rested >= rest && hone__conversation_best_ns(strategy) < talk->best_then * 0.98);
}

/* The model thinks: what there is to do until it answers. */
static hone__ask_state propose_meanwhile(hone__strategy *strategy, uint32_t wanted) {
    hone__conversation *talk = strategy->state;
    uint32_t count = wanted < talk->meanwhile ? wanted : talk->meanwhile;
    uint32_t queued = count == 0 ? 0 : hone__lfbo_propose(talk->lfbo, strategy, count);
    talk->meanwhile -= queued;
    talk->waiting = queued == 0;
    return queued > 0 ? HONE_ASK_MORE : HONE_ASK_WAIT_MODEL;
}

/* What the model still has after its first configs shares the trials with the surrogate, which makes more of the best of them. */
static bool takes_turn(const hone__strategy *strategy) {
    hone__conversation *talk = strategy->state;
    bool turn = talk->surrogate_next && talk->released >= ALONE && talk->held_next < talk->parsed.count && strategy->report.rounds > 1;
    talk->surrogate_next = false;
    return turn;
}

static hone__ask_state hybrid_propose(hone__strategy *strategy, uint32_t wanted) {
    hone__conversation *talk = strategy->state;
    bool wait = false;
    if (talk->failure.code != 0)
        return HONE_ASK_WAIT_MODEL;
    if (talk->in_flight && !talk->over)
        return propose_meanwhile(strategy, wanted);
    if (takes_turn(strategy) && hone__lfbo_propose(talk->lfbo, strategy, 1) > 0)
        return HONE_ASK_MORE;
    if (release(strategy, &wait) || wait) {
        talk->released += wait ? 0 : 1;
        talk->surrogate_next = !wait;
        return HONE_ASK_MORE;
    }
    bool open = strategy->told < strategy->result_count;
    if (!talk->over && (talk->rest_from == 0 || worth_asking(strategy))) {
        if (open)
            return HONE_ASK_MORE; /* the results of this batch go into the next prompt */
        if (worth_asking(strategy)) {
            hone__conversation_ask(strategy, NULL);
            return propose_meanwhile(strategy, wanted);
        }
    }
    if (!hone__lfbo_stagnant(talk->lfbo, strategy) && hone__lfbo_propose(talk->lfbo, strategy, wanted) > 0)
        return HONE_ASK_MORE;
    if (strategy->told < strategy->handed)
        return HONE_ASK_MORE;
    if (strategy->stop[0] == '\0')
        (void)snprintf(strategy->stop, sizeof strategy->stop, "space exhausted");
    return HONE_ASK_DONE;
}

static hone_status hybrid_learn(hone__strategy *strategy, uint32_t result) {
    hone__conversation *talk = strategy->state;
    if (strncmp(strategy->result[result].proposer, "model:", 6) != 0)
        return HONE_OK;
    bool better = strategy->best == result;
    talk->paid = talk->paid || (better && hone__conversation_best_ns(strategy) < talk->best_then * 0.995);
    talk->dry = better ? 0 : talk->dry + (result >= talk->openers_end || is_poor(strategy));
    return HONE_OK;
}

const hone__strategy_impl hone__strategy_hybrid = {"hybrid",       hone__conversation_open, hone__conversation_close,
                                                   hybrid_propose, hybrid_learn,            hone__conversation_pump};
