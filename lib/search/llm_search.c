/* llm_search.c: rounds of a model's proposals.  The first request leaves before anything is measured; the default, neighbours from the
 * cache, the author's seeds and a few draws are measured meanwhile.  The next request leaves when most of a reply's batch is measured, so
 * that model and device work at the same time.  When the model has given what it has (or fails, and that is allowed), lfbo takes the rest.
 * hybrid_search.c: the same conversation, whose replies have less credit. */
#include "alloc.h"
#include "conversation.h"
#include "log.h"
#include "transcript.h"
#include "utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ASK_AGAIN_PERCENT = 60, /* of a batch told before the next request leaves */
    STAGNANT_ROUNDS = 2,    /* rounds without a gain that is worth it before it stops */
    EMPTY_ROUNDS = 2,       /* rounds without one new config before it stops */
    ECHO_BYTES = 32768      /* of a reply that is sent back as the model's own turn */
};

double hone__conversation_best_ns(const hone__strategy *strategy) {
    return strategy->best == UINT32_MAX ? HUGE_VAL : strategy->result[strategy->best].measurement.median_ns;
}

void hone__conversation_end(hone__strategy *strategy, const char *why) {
    hone__conversation *talk = strategy->state;
    talk->over = true;
    (void)snprintf(strategy->stop, sizeof strategy->stop, "%s", why);
}

static void fail_model(hone__strategy *strategy, const hone_error *err) {
    hone__conversation *talk = strategy->state;
    char why[sizeof strategy->stop];
    if (err->code == HONE_E_LIMIT) { /* the token budget is a reason to stop, not a failure */
        (void)snprintf(why, sizeof why, "tokens: %.120s", err->message);
        hone__conversation_end(strategy, why);
        return;
    }
    (void)snprintf(why, sizeof why, "model failed: %.120s", err->message);
    hone__conversation_end(strategy, why);
    if (strategy->options.fall_back) {
        (void)snprintf(strategy->report.warning, sizeof strategy->report.warning, "%.200s; lfbo goes on", why);
        hone__log(HONE_LOG_WARN, "search", "%s; lfbo goes on", why);
    } else {
        talk->failure = *err;
    }
}

/* A conversation goes on with the first message that it began with, whatever was measured or tuned between its processes. */
static void keep_initial(hone__conversation *talk, const char *recorded) {
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
    hone__conversation *talk = strategy->state;
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
    hone__conversation *talk = strategy->state;
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
    talk->best_asked = hone__conversation_best_ns(strategy);
    talk->meanwhile = strategy->options.meanwhile;
    talk->waiting = false;
    if (status != HONE_OK)
        fail_model(strategy, &err);
    else
        talk->in_flight = true;
}

static hone__prompt_input input_of(const hone__strategy *strategy, hone__shown_trial *shown) {
    const hone__strategy_options *options = &strategy->options;
    const hone__conversation *talk = strategy->state;
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

void hone__conversation_ask(hone__strategy *strategy, const char *problem) {
    hone__conversation *talk = strategy->state;
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
    hone__conversation *talk = strategy->state;
    if (strategy->report.rounds >= strategy->options.rounds_max) {
        hone__conversation_end(strategy, "rounds: the model was asked as often as allowed");
        return;
    }
    if (strategy->report.rounds > 0) {
        double worth = strategy->options.min_gain > 0 ? strategy->options.min_gain : 0.005;
        talk->stagnant = hone__conversation_best_ns(strategy) < talk->best_asked * (1.0 - worth) ? 0 : talk->stagnant + 1;
        if (talk->stagnant >= STAGNANT_ROUNDS && strategy->options.min_gain >= 0) {
            char why[80];
            (void)snprintf(why, sizeof why, "stagnation: two rounds of the model without a gain of %.3g %%", 100 * worth);
            hone__conversation_end(strategy, why);
            return;
        }
    }
    hone__conversation_ask(strategy, NULL);
}

static void take_reply(hone__strategy *strategy, char *text, uint64_t tokens_in, uint64_t tokens_out, double seconds) {
    hone__conversation *talk = strategy->state;
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
        hone__conversation_ask(strategy, talk->parsed.problem[0] != '\0' ? talk->parsed.problem : "no config in it was usable");
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
    talk->held_next = talk->dry = talk->rest_from = talk->released = 0;
    if (talk->hybrid)
        hone__hybrid_families_first(strategy);
    talk->paid = false;
    talk->best_then = hone__conversation_best_ns(strategy);
    talk->empty = fresh > 0 ? 0 : talk->empty + 1;
    if (talk->empty >= EMPTY_ROUNDS)
        hone__conversation_end(strategy, "stagnation: the model had no new valid config in two rounds");
}

hone_status hone__conversation_open(hone__strategy *strategy, hone_error *err) {
    const hone__strategy_options *options = &strategy->options;
    if (options->llm == NULL || hone__llm_provider(options->llm) == HONE_PROVIDER_NONE)
        return hone__fail(err, HONE_E_NOMODEL, "search",
                          "no model is configured: set HONE_LLM_PROVIDER and HONE_LLM_MODEL (and a key), HONE_LLM_COMMAND or HONE_LLM_MAILBOX, "
                          "or use --search lfbo");
    hone__conversation *talk = hone__alloc(sizeof *talk);
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
        hone__conversation_end(strategy, "rounds: none allowed");
    else
        ask_model(strategy, NULL);
    hone__strategy_queue_known(strategy);
    if (talk->lfbo != NULL && !hone__lfbo_evidence(talk->lfbo, strategy))
        return hone__fail(err, HONE_E_NOMEM, "search", "no memory for the evidence");
    for (uint32_t i = 0; i < options->initial_random; i++)
        (void)hone__lfbo_queue_apart(strategy);
    return HONE_OK;
}

void hone__conversation_close(hone__strategy *strategy) {
    hone__conversation *talk = strategy->state;
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
    hone__conversation *talk = strategy->state;
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

static hone_status llm_learn(hone__strategy *strategy, uint32_t result) {
    (void)result;
    hone__conversation *talk = strategy->state;
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
    const hone__conversation *talk = strategy->state;
    if (log == NULL)
        return HONE_OK;
    hone_status status = log->record(log->user, talk->exchange - 1, NULL, reply->text, reply->tokens_in, reply->tokens_out, reply->seconds,
                                     strategy->told);
    return status == HONE_OK ? HONE_OK : hone__fail(err, status, "search", "cannot record the reply: %s", hone_status_text(status));
}

/* HONE_E_TIMEOUT while there is no answer; else what came of it is in the conversation's state. */
static hone_status poll_model(hone__strategy *strategy, uint32_t timeout_ms) {
    hone__conversation *talk = strategy->state;
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
            hone__conversation_ask(strategy, failure.message);
        else
            fail_model(strategy, &failure);
    }
    hone__llm_reply_clear(&reply);
    return HONE_OK;
}

hone_status hone__conversation_pump(hone__strategy *strategy, uint32_t timeout_ms, hone_error *err) {
    hone__conversation *talk = strategy->state;
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

const hone__strategy_impl hone__strategy_llm = {"llm", hone__conversation_open, hone__conversation_close, llm_propose, llm_learn, hone__conversation_pump};
