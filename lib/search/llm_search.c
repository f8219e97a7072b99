/* llm_search.c: rounds of a model's proposals.  The first request leaves before anything is measured; the default, neighbours from the
 * cache, the author's seeds and a few draws are measured meanwhile.  The next request leaves when most of a reply's batch is measured, so
 * that model and device work at the same time.  When the model has given what it has (or fails, and that is allowed), lfbo takes the rest.
 *
 * `hybrid` is the same conversation with less credit: configs of a reply are measured one after the other only as long as they bring new bests;
 * the others become candidates that the surrogate judges.  A round that paid is followed by the next one.  After one that did not, the surrogate
 * goes on, and the model is asked again, with less credit and after ever longer rests, when there is news for it: a better config that it has not
 * seen, or nothing better for long, so that another view is worth some trials.  What a model can waste is bounded by that: the credits of its rounds.
 * While it thinks, the surrogate goes on for some trials: a device that waits for a minute is no better than one that measures for it. */
#include "alloc.h"
#include "lfbo.h"
#include "log.h"
#include "transcript.h"
#include "utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ASK_AGAIN_PERCENT = 60, /* of a batch told before the next request leaves */
    STAGNANT_ROUNDS = 2,    /* rounds without a gain that is worth it before it stops */
    CREDIT = 5,             /* hybrid: configs of the model in a row without a new best before the rest is left to the surrogate ... */
    CREDIT_LATER = 2,       /* ... once a round of it did not pay */
    POOR_CREDIT = 2,        /* the same for a model whose configs are not clearly better than draws, */
    POOR_CREDIT_LATER = 1,
    POOR_RESULTS = 2,       /* which is judged by so many results at the least */
    REST = 12,              /* hybrid: trials of the surrogate after a round that did not pay; doubled with each further one */
    OPENERS_MAX = 8,        /* hybrid: configs of one reply that are measured for the sake of their family */
    EMPTY_ROUNDS = 2,       /* rounds without one new config before it stops */
    ECHO_BYTES = 32768      /* of a reply that is sent back as the model's own turn */
};
static const double good_share = 0.65; /* of the pairs of one config of the model and a draw in which the former is better */

typedef struct conversation {
    char *initial;              /* first user message */
    char *last_reply;           /* "" before the first */
    hone__parsed_reply parsed;  /* of the last reply: its rejections go into the next prompt */
    hone__lfbo *lfbo;           /* NULL unless it may go on */
    uint32_t exchange;          /* index of the next request */
    uint32_t batch_first, batch_end; /* results queued from the last reply */
    uint32_t held_next;         /* hybrid: next of the last reply's configs to be measured */
    uint32_t openers;           /* hybrid: so many of the reply's configs stand for a family each, */
    uint32_t openers_end;       /* and these are results before this one */
    uint32_t dry;               /* hybrid: the model's results since the last new best */
    bool hybrid;
    bool paid;                  /* hybrid: the last reply brought a new best */
    uint32_t duds;              /* hybrid: rounds in a row that did not */
    uint32_t rest_from;         /* hybrid: told when the last round was through; 0: it is not */
    double best_then;           /* hybrid: best when the last reply came, then when its round was through */
    uint32_t stagnant, empty;
    double best_asked;          /* best when the last request left */
    bool in_flight;             /* the transport has a request of ours */
    bool repairing;             /* ... which is the one cheap repair of a useless reply */
    bool over;                  /* no further requests */
    uint32_t meanwhile;         /* hybrid: trials that the surrogate may still have while this request is under way */
    bool waiting;               /* nothing to propose before the reply */
    char *recalled;             /* reply from the record, to be taken when as much is known as when it came */
    uint32_t recalled_told;
    uint64_t recalled_in, recalled_out;
    double recalled_s;
    hone_error failure;         /* code != 0: to be returned by pump */
} conversation;

static double best_ns(const hone__strategy *strategy) {
    return strategy->best == UINT32_MAX ? HUGE_VAL : strategy->result[strategy->best].measurement.median_ns;
}

/* The model will not be asked again; `why` is for people. */
static void end_rounds(hone__strategy *strategy, const char *why) {
    conversation *talk = strategy->state;
    talk->over = true;
    (void)snprintf(strategy->stop, sizeof strategy->stop, "%s", why);
}

static void fail_model(hone__strategy *strategy, const hone_error *err) {
    conversation *talk = strategy->state;
    char why[sizeof strategy->stop];
    if (err->code == HONE_E_LIMIT) { /* the token budget is a reason to stop, not a failure */
        (void)snprintf(why, sizeof why, "tokens: %.120s", err->message);
        end_rounds(strategy, why);
        return;
    }
    (void)snprintf(why, sizeof why, "model failed: %.120s", err->message);
    end_rounds(strategy, why);
    if (strategy->options.fall_back) {
        (void)snprintf(strategy->report.warning, sizeof strategy->report.warning, "%.200s; lfbo goes on", why);
        hone__log(HONE_LOG_WARN, "search", "%s; lfbo goes on", why);
    } else {
        talk->failure = *err;
    }
}

/* A conversation goes on with the first message that it began with, whatever was measured or tuned between its processes. */
static void keep_initial(conversation *talk, const char *recorded) {
    cJSON *json = NULL;
    if (hone__json_parse(&json, recorded, strlen(recorded), "recorded request", NULL) != HONE_OK)
        return;
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(json, "messages");
    const char *text = hone__json_string(cJSON_GetArrayItem(messages, 0), "text");
    char *copy = text == NULL ? NULL : hone__strdup(text);
    if (copy != NULL) {
        hone__free(talk->initial);
        talk->initial = copy;
    }
    cJSON_Delete(json);
}

/* A request that was recorded before its process ended leaves exactly as it was. */
static hone_status start_recorded(hone__strategy *strategy, hone__llm_request *request, const char *text, hone_error *err) {
    cJSON *json = NULL;
    HONE_TRY(hone__json_parse(&json, text, strlen(text), "recorded request", err));
    hone__message message[4];
    request->message = message;
    request->message_count = 0;
    request->system = hone__json_string(json, "system");
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "messages")) {
        const char *role = hone__json_string(item, "role"), *body = hone__json_string(item, "text");
        if (request->message_count < 4 && role != NULL && body != NULL)
            message[request->message_count++] = (hone__message){role, body};
    }
    hone_status status = HONE_OK;
    if (request->system == NULL || request->message_count == 0)
        status = hone__fail(err, HONE_E_CORRUPT, "search", "the recorded request %u is damaged", request->index);
    else
        status = hone__llm_start(strategy->options.llm, request, err);
    cJSON_Delete(json);
    return status;
}

static hone_status start(hone__strategy *strategy, hone__llm_request *request, hone_error *err) {
    conversation *talk = strategy->state;
    const hone__exchange_log *log = strategy->options.log;
    char *old_request = NULL, *old_reply = NULL;
    if (log != NULL && log->recall(log->user, request->index, &old_request, &old_reply, &talk->recalled_in, &talk->recalled_out,
                                   &talk->recalled_s, &talk->recalled_told) == 1) {
        hone_status status = HONE_OK;
        if (request->index == 0)
            keep_initial(talk, old_request);
        if (old_reply != NULL)
            talk->recalled = old_reply;
        else
            status = start_recorded(strategy, request, old_request, err);
        hone__free(old_request);
        return status;
    }
    char *text = hone__llm_request_json(request);
    if (text == NULL)
        return hone__fail(err, HONE_E_NOMEM, "search", "no memory for the request");
    hone_status status = HONE_OK;
    if (log != NULL)
        status = log->record(log->user, request->index, text, NULL, 0, 0, 0, strategy->told);
    hone__free(text);
    if (status != HONE_OK)
        return hone__fail(err, status, "search", "cannot record the request: %s", hone_status_text(status));
    return hone__llm_start(strategy->options.llm, request, err);
}

/* Send `text` as the next user message (NULL: the initial one alone). */
static void ask_model(hone__strategy *strategy, const char *text) {
    conversation *talk = strategy->state;
    hone_error err = {0};
    cJSON *schema = hone__prompt_schema(strategy->space);
    const hone__message message[3] = {{"user", talk->initial}, {"assistant", talk->last_reply}, {"user", text}};
    hone__llm_request request = {.index = talk->exchange++,
                                 .system = hone__prompt_system(),
                                 .message = message,
                                 .message_count = text == NULL ? 1 : 3,
                                 .schema = schema};
    hone__message joined[1];
    hone__buf both;
    hone__buf_init(&both, 3 * (size_t)HONE_LIMIT_PROMPT_BYTES);
    if (text != NULL && talk->last_reply[0] == '\0') { /* an empty turn is refused by providers: one message instead */
        hone__buf_printf(&both, "%s\n\n%s", talk->initial, text);
        joined[0] = (hone__message){"user", both.status == HONE_OK ? both.data : text};
        request.message = joined;
        request.message_count = 1;
    }
    hone_status status = start(strategy, &request, &err);
    cJSON_Delete(schema);
    hone__buf_free(&both);
    strategy->report.requests++;
    talk->best_asked = best_ns(strategy);
    talk->meanwhile = strategy->options.meanwhile;
    talk->waiting = false;
    if (status != HONE_OK)
        fail_model(strategy, &err);
    else
        talk->in_flight = true;
}

static hone__prompt_input input_of(const hone__strategy *strategy, hone__shown_trial *shown) {
    const hone__strategy_options *options = &strategy->options;
    const conversation *talk = strategy->state;
    uint32_t count = 0;
    for (uint32_t i = 0; i < strategy->result_count && shown != NULL; i++) {
        const hone__result *result = &strategy->result[i];
        if (result->told)
            shown[count++] = (hone__shown_trial){&result->config, result->proposer, &result->measurement};
    }
    return (hone__prompt_input){
        .kernel = options->kernel,
        .bound = options->bound,
        .device = options->device,
        .neighbour = options->neighbour,
        .neighbour_count = options->neighbour_count,
        .configs_wanted = options->configs_per_round,
        .trial = shown,
        .trial_count = count,
        .rejection = talk->parsed.rejection,
        .rejection_count = talk->parsed.rejection_count,
        .round = strategy->report.rounds + 1,
        .rounds_max = options->rounds_max,
        .trials_left = options->trials_max > strategy->told ? options->trials_max - strategy->told : 0,
    };
}

/* Ask for the next batch; `problem`: for a repair of the last reply instead. */
static void ask_next(hone__strategy *strategy, const char *problem) {
    conversation *talk = strategy->state;
    hone__shown_trial *shown = hone__alloc_array(strategy->result_count + 1, sizeof *shown);
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_PROMPT_BYTES);
    hone_error err = {0};
    if (shown != NULL) {
        hone__prompt_input input = input_of(strategy, shown);
        if (problem != NULL)
            hone__prompt_repair(&buf, &input, problem);
        else
            hone__prompt_refine(&buf, &input);
    }
    if (shown == NULL || buf.status != HONE_OK) {
        (void)hone__fail(&err, HONE_E_NOMEM, "search", "no memory for the prompt");
        fail_model(strategy, &err);
    } else {
        talk->repairing = problem != NULL;
        ask_model(strategy, buf.data);
    }
    hone__buf_free(&buf);
    hone__free(shown);
}

/* A reply was measured far enough: go on, or stop because rounds do not pay any more. */
static void next_round(hone__strategy *strategy) {
    conversation *talk = strategy->state;
    if (strategy->report.rounds >= strategy->options.rounds_max) {
        end_rounds(strategy, "rounds: the model was asked as often as allowed");
        return;
    }
    if (strategy->report.rounds > 0) {
        double worth = strategy->options.min_gain > 0 ? strategy->options.min_gain : 0.005;
        talk->stagnant = best_ns(strategy) < talk->best_asked * (1.0 - worth) ? 0 : talk->stagnant + 1;
        if (talk->stagnant >= STAGNANT_ROUNDS && strategy->options.min_gain >= 0) {
            char why[80];
            (void)snprintf(why, sizeof why, "stagnation: two rounds of the model without a gain of %.3g %%", 100 * worth);
            end_rounds(strategy, why);
            return;
        }
    }
    ask_next(strategy, NULL);
}

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
static void families_first(hone__strategy *strategy) {
    conversation *talk = strategy->state;
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

static void take_reply(hone__strategy *strategy, char *text, uint64_t tokens_in, uint64_t tokens_out, double seconds) {
    conversation *talk = strategy->state;
    hone__free(talk->last_reply);
    talk->last_reply = text;
    talk->in_flight = false;
    size_t bytes = strlen(text);
    strategy->report.tokens_in += tokens_in;
    strategy->report.tokens_out += tokens_out;
    strategy->report.model_seconds += seconds;
    hone__parsed_reply_clear(&talk->parsed);
    hone_error err = {0};
    hone_status status = hone__reply_parse(&talk->parsed, text, bytes, strategy->options.bound,
                                           2 * strategy->options.configs_per_round, &err);
    if (status != HONE_OK) {
        fail_model(strategy, &err);
        return;
    }
    if (bytes > ECHO_BYTES) { /* at a character's beginning */
        bytes = hone__utf8_cut(text, ECHO_BYTES);
        text[bytes] = '\0';
    }
    strategy->report.rejected += talk->parsed.rejection_count;
    if (talk->parsed.count == 0 && !talk->repairing) {
        ask_next(strategy, talk->parsed.problem[0] != '\0' ? talk->parsed.problem : "no config in it was usable");
        return;
    }
    talk->repairing = false;
    strategy->report.rounds++;
    char proposer[24];
    (void)snprintf(proposer, sizeof proposer, "model:%u", strategy->report.rounds);
    talk->batch_first = strategy->result_count;
    uint32_t fresh = 0;
    for (uint32_t i = 0; i < talk->parsed.count; i++) {
        const hone__config *config = &talk->parsed.config[i];
        fresh += talk->hybrid ? !hone__strategy_was_proposed(strategy, config) : hone__strategy_queue(strategy, config, proposer);
    }
    talk->batch_end = strategy->result_count;
    talk->held_next = talk->dry = talk->rest_from = 0;
    if (talk->hybrid)
        families_first(strategy);
    talk->paid = false;
    talk->best_then = best_ns(strategy);
    talk->empty = fresh > 0 ? 0 : talk->empty + 1;
    if (talk->empty >= EMPTY_ROUNDS)
        end_rounds(strategy, "stagnation: the model had no new valid config in two rounds");
}

static hone_status llm_open(hone__strategy *strategy, hone_error *err) {
    const hone__strategy_options *options = &strategy->options;
    if (options->llm == NULL || hone__llm_provider(options->llm) == HONE_PROVIDER_NONE)
        return hone__fail(err, HONE_E_NOMODEL, "search",
                          "no model is configured: set HONE_LLM_PROVIDER and HONE_LLM_MODEL (and a key), HONE_LLM_COMMAND or HONE_LLM_MAILBOX, "
                          "or use --search lfbo");
    conversation *talk = hone__alloc(sizeof *talk);
    strategy->state = talk;
    if (talk == NULL)
        return hone__fail(err, HONE_E_NOMEM, "search", "no memory for the conversation");
    talk->last_reply = hone__strdup("");
    talk->hybrid = strategy->impl == &hone__strategy_hybrid;
    talk->lfbo = options->fall_back || talk->hybrid ? hone__lfbo_new(strategy->space) : NULL;
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_PROMPT_BYTES);
    hone__prompt_input input = input_of(strategy, NULL);
    hone__prompt_initial(&buf, &input);
    talk->initial = hone__buf_take(&buf);
    if (talk->initial == NULL || talk->last_reply == NULL || ((options->fall_back || talk->hybrid) && talk->lfbo == NULL))
        return hone__fail(err, HONE_E_NOMEM, "search", "no memory for the prompt");
    if (options->rounds_max == 0)
        end_rounds(strategy, "rounds: none allowed");
    else
        ask_model(strategy, NULL);
    hone__strategy_queue_known(strategy);
    if (talk->lfbo != NULL && !hone__lfbo_evidence(talk->lfbo, strategy))
        return hone__fail(err, HONE_E_NOMEM, "search", "no memory for the evidence");
    for (uint32_t i = 0; i < options->initial_random; i++)
        (void)hone__lfbo_queue_apart(strategy);
    return HONE_OK;
}

static void llm_close(hone__strategy *strategy) {
    conversation *talk = strategy->state;
    if (talk == NULL)
        return;
    if (talk->in_flight && talk->recalled == NULL)
        hone__llm_cancel(strategy->options.llm);
    hone__parsed_reply_clear(&talk->parsed);
    hone__lfbo_free(talk->lfbo);
    hone__free(talk->recalled);
    hone__free(talk->initial);
    hone__free(talk->last_reply);
    hone__free(talk);
}

static hone__ask_state llm_propose(hone__strategy *strategy, uint32_t wanted) {
    conversation *talk = strategy->state;
    if (!talk->over && !talk->in_flight) {
        if (strategy->told < strategy->handed || strategy->handed < strategy->result_count)
            return HONE_ASK_MORE; /* the next request leaves when enough of this batch is told */
        next_round(strategy);
    }
    talk->waiting = talk->failure.code != 0 || (talk->in_flight && !talk->over);
    if (talk->waiting)
        return HONE_ASK_WAIT_MODEL;
    if (talk->over && talk->lfbo != NULL && !hone__lfbo_stagnant(talk->lfbo, strategy) && hone__lfbo_propose(talk->lfbo, strategy, wanted) > 0)
        return HONE_ASK_MORE;
    return talk->over && strategy->told == strategy->handed ? HONE_ASK_DONE : HONE_ASK_MORE;
}

/* Are its configs not clearly better than draws?  Two bad ones are enough to say so: what is spent on a bad model is lost, a good one's configs that are
 * not measured at once become candidates. */
static bool is_poor(const hone__strategy *strategy) {
    uint32_t results = 0;
    for (uint32_t i = 0; i < strategy->result_count; i++)
        results += strategy->result[i].told && strncmp(strategy->result[i].proposer, "model:", 6) == 0;
    return results >= POOR_RESULTS && hone__lfbo_against_draws(strategy, "model:") < good_share;
}

/* A poor model has less of it. */
static uint32_t credit_of(const hone__strategy *strategy) {
    const conversation *talk = strategy->state;
    if (is_poor(strategy))
        return talk->duds > 0 ? POOR_CREDIT_LATER : POOR_CREDIT;
    return talk->duds > 0 ? CREDIT_LATER : CREDIT;
}

/* One more config of the last reply, while the model has credit; what is left then, the surrogate judges.  *wait: the results in flight decide. */
static bool release(hone__strategy *strategy, bool *wait) {
    conversation *talk = strategy->state;
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
    conversation *talk = strategy->state;
    if (talk->rest_from == 0) {
        talk->rest_from = strategy->told;
        talk->best_then = best_ns(strategy);
        talk->duds = talk->paid ? 0 : talk->duds + 1;
        if (strategy->report.rounds >= strategy->options.rounds_max)
            end_rounds(strategy, "rounds: the model was asked as often as allowed");
    }
    if (talk->over || talk->paid)
        return !talk->over;
    uint32_t rested = strategy->told - talk->rest_from, rest = (uint32_t)REST << (talk->duds < 5 ? talk->duds - 1 : 4);
    return rested >= 2 * rest || (rested >= rest && best_ns(strategy) < talk->best_then * 0.98);
}

/* The model thinks: what there is to do until it answers. */
static hone__ask_state propose_meanwhile(hone__strategy *strategy, uint32_t wanted) {
    conversation *talk = strategy->state;
    uint32_t count = wanted < talk->meanwhile ? wanted : talk->meanwhile;
    uint32_t queued = count == 0 ? 0 : hone__lfbo_propose(talk->lfbo, strategy, count);
    talk->meanwhile -= queued;
    talk->waiting = queued == 0;
    return queued > 0 ? HONE_ASK_MORE : HONE_ASK_WAIT_MODEL;
}

static hone__ask_state hybrid_propose(hone__strategy *strategy, uint32_t wanted) {
    conversation *talk = strategy->state;
    bool wait = false;
    if (talk->failure.code != 0)
        return HONE_ASK_WAIT_MODEL;
    if (talk->in_flight && !talk->over)
        return propose_meanwhile(strategy, wanted);
    if (release(strategy, &wait) || wait)
        return HONE_ASK_MORE;
    bool open = strategy->told < strategy->result_count;
    if (!talk->over && (talk->rest_from == 0 || worth_asking(strategy))) {
        if (open)
            return HONE_ASK_MORE; /* the results of this batch go into the next prompt */
        if (worth_asking(strategy)) {
            ask_next(strategy, NULL);
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
    conversation *talk = strategy->state;
    if (strncmp(strategy->result[result].proposer, "model:", 6) != 0)
        return HONE_OK;
    bool better = strategy->best == result;
    talk->paid = talk->paid || (better && best_ns(strategy) < talk->best_then * 0.995);
    talk->dry = better ? 0 : talk->dry + (result >= talk->openers_end || is_poor(strategy));
    return HONE_OK;
}

static hone_status llm_learn(hone__strategy *strategy, uint32_t result) {
    (void)result;
    conversation *talk = strategy->state;
    uint32_t size = talk->batch_end - talk->batch_first;
    if (talk->over || talk->in_flight || size == 0)
        return HONE_OK;
    uint32_t told = 0;
    for (uint32_t i = talk->batch_first; i < talk->batch_end; i++)
        told += strategy->result[i].told;
    if (told * 100 >= size * ASK_AGAIN_PERCENT)
        next_round(strategy);
    return HONE_OK;
}

static hone_status record_reply(hone__strategy *strategy, const hone__llm_reply *reply, hone_error *err) {
    const hone__exchange_log *log = strategy->options.log;
    const conversation *talk = strategy->state;
    if (log == NULL)
        return HONE_OK;
    hone_status status = log->record(log->user, talk->exchange - 1, NULL, reply->text, reply->tokens_in, reply->tokens_out, reply->seconds,
                                     strategy->told);
    return status == HONE_OK ? HONE_OK : hone__fail(err, status, "search", "cannot record the reply: %s", hone_status_text(status));
}

/* HONE_E_TIMEOUT while there is no answer; else what came of it is in the conversation's state. */
static hone_status poll_model(hone__strategy *strategy, uint32_t timeout_ms) {
    conversation *talk = strategy->state;
    hone__llm_reply reply = {0};
    hone_error failure = {0};
    hone_status status = hone__llm_poll(strategy->options.llm, timeout_ms, &reply, &failure);
    if (status == HONE_E_TIMEOUT)
        return status;
    talk->in_flight = false;
    if (status == HONE_OK)
        status = record_reply(strategy, &reply, &failure);
    if (status == HONE_OK) {
        char *text = reply.text;
        reply.text = NULL;
        take_reply(strategy, text, reply.tokens_in, reply.tokens_out, reply.seconds);
    } else {
        strategy->report.tokens_in += reply.tokens_in; /* a failed request costs, too */
        strategy->report.tokens_out += reply.tokens_out;
        strategy->report.model_seconds += reply.seconds;
        if (status == HONE_E_REPLY && !talk->repairing) /* empty, refused, not text: one more chance */
            ask_next(strategy, failure.message);
        else
            fail_model(strategy, &failure);
    }
    hone__llm_reply_clear(&reply);
    return HONE_OK;
}

static hone_status llm_pump(hone__strategy *strategy, uint32_t timeout_ms, hone_error *err) {
    conversation *talk = strategy->state;
    if (talk->in_flight && talk->recalled != NULL) {
        bool nothing_else = talk->waiting && strategy->told == strategy->handed;
        if (strategy->told < talk->recalled_told && !nothing_else)
            return HONE_OK;
        char *text = talk->recalled;
        talk->recalled = NULL;
        take_reply(strategy, text, talk->recalled_in, talk->recalled_out, talk->recalled_s);
    } else if (talk->in_flight) {
        hone_status status = poll_model(strategy, timeout_ms);
        if (status == HONE_E_TIMEOUT)
            return status;
    }
    if (talk->failure.code == 0)
        return HONE_OK;
    if (err != NULL)
        *err = talk->failure;
    return (hone_status)talk->failure.code;
}

const hone__strategy_impl hone__strategy_llm = {"llm", llm_open, llm_close, llm_propose, llm_learn, llm_pump};
const hone__strategy_impl hone__strategy_hybrid = {"hybrid", llm_open, llm_close, hybrid_propose, hybrid_learn, llm_pump};
