/* session.c: what makes a tuning survive Ctrl-C, kill -9 and a lost gateway: every trial and every exchange with the model is journalled as it
 * happens, and the next process walks the same course with the journal's answers until it comes to new ground. */
#include "alloc.h"
#include "clock.h"
#include "log.h"
#include "transcript.h"
#include "tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A cache that cannot be written must not stop a tuning: say it once, count it, go on. */
static void store_failed(hone__tuning *tuning, const char *what, const hone_error *err) {
    hone__cache_count(tuning->cache, "store_error", 1);
    if (tuning->warning[0] == '\0') {
        (void)snprintf(tuning->warning, sizeof tuning->warning, "%s is not kept: %.200s", what, err->message);
        hone__log(HONE_LOG_WARN, "tune", "%s", tuning->warning);
    }
}

static int by_config(const void *a, const void *b) {
    const hone__known *left = a, *right = b;
    return memcmp(left->config.slot, right->config.slot, sizeof left->config.slot);
}

const hone__known *hone__session_find(const hone__tuning *tuning, const hone__config *config) {
    hone__known wanted = {.config = *config};
    return tuning->known_count == 0 ? NULL : bsearch(&wanted, tuning->known, tuning->known_count, sizeof wanted, by_config);
}

static void load_known(hone__tuning *tuning, uint32_t number) {
    hone__trial *trial = NULL;
    uint32_t count = 0;
    if (hone__journal_trials(tuning->reader, &tuning->key, number, &trial, &count, NULL) != HONE_OK)
        return;
    tuning->known = hone__alloc_array((size_t)count + 1, sizeof *tuning->known);
    for (uint32_t i = 0; i < count; i++) {
        cJSON *json = NULL;
        hone__known *known = tuning->known == NULL ? NULL : &tuning->known[tuning->known_count];
        /* An evaluator's death says nothing about the config that it met with: that one is tried again. */
        bool measured = trial[i].result.outcome != HONE_OUTCOME_EVALUATOR;
        if (known != NULL && measured && hone__json_parse(&json, trial[i].config, strlen(trial[i].config), "journal", NULL) == HONE_OK &&
            hone__config_read(tuning->kernel->space, json, false, &known->config, NULL, NULL) == HONE_OK) {
            known->result = trial[i].result;
            known->order = i;
            tuning->known_count++;
        }
        cJSON_Delete(json);
        hone__trial_clear(&trial[i]);
    }
    hone__free(trial);
    tuning->journalled = count;
    if (tuning->known_count > 1)
        qsort(tuning->known, tuning->known_count, sizeof *tuning->known, by_config);
}

/* What decides the course of a tuning: a session goes on only under the same. */
static char *course_of(const hone__tuning *tuning) {
    const hone_tune_options *options = &tuning->options;
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__buf_printf(&buf, "{\"search\":\"%s\",\"configs_per_round\":%u,\"force\":%u,\"evaluator\":", options->search,
                     options->configs_per_round, options->force != 0 || tuning->reason == HONE_TUNE_RECHECK);
    hone__buf_json_string(&buf, options->evaluator == NULL ? "" : options->evaluator);
    hone__buf_char(&buf, '}');
    return hone__buf_take(&buf);
}

static const char *model_of(const hone__tuning *tuning) {
    return tuning->llm == NULL ? "" : hone__llm_model(tuning->llm);
}

static bool same_course(const hone__tuning *tuning, const hone__session *old, const char *course) {
    return strcmp(old->options, course) == 0 && strcmp(old->strategy, tuning->strategy_name) == 0 &&
           strcmp(old->model, model_of(tuning)) == 0 && old->seed == tuning->options.seed;
}

static hone_status begin(hone__tuning *tuning, char *course, hone_error *err) {
    tuning->session = (hone__session){.strategy = hone__strdup(tuning->strategy_name),
                                      .model = hone__strdup(model_of(tuning)),
                                      .seed = tuning->options.seed,
                                      .runs = 1,
                                      .started_unix_s = hone__clock_unix_s(),
                                      .options = course};
    tuning->session_open = true;
    if (tuning->session.strategy == NULL || tuning->session.model == NULL)
        return hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the session");
    hone_error failure;
    if (hone__journal_begin(tuning->cache, &tuning->key, &tuning->session, &tuning->session_number, &failure) != HONE_OK)
        store_failed(tuning, "the journal", &failure);
    return HONE_OK;
}

hone_status hone__session_resume(hone__tuning *tuning, hone_error *err) {
    char *course = course_of(tuning);
    if (course == NULL)
        return hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the session");
    hone__session old;
    uint32_t number = 0;
    if (hone__journal_last(tuning->reader, &tuning->key, &number, &old, NULL) != HONE_OK)
        return begin(tuning, course, err);
    bool same = same_course(tuning, &old, course);
    if (!old.done && (same || !tuning->options.force))
        load_known(tuning, number);
    if (old.done || !same) {
        hone__session_clear(&old);
        tuning->journalled = 0;
        return begin(tuning, course, err);
    }
    hone__free(course);
    tuning->session = old;
    tuning->session_open = true;
    tuning->session_number = number;
    tuning->session.runs++;
    tuning->earlier_s = old.seconds;
    if (hone__journal_exchanges(tuning->reader, &tuning->key, number, &tuning->exchange, &tuning->exchange_count, NULL) != HONE_OK)
        tuning->exchange_count = 0;
    for (uint32_t i = 0; i < tuning->exchange_count; i++)
        hone__llm_charge(tuning->llm, tuning->exchange[i].tokens_in + tuning->exchange[i].tokens_out);
    hone__session_save(tuning, false);
    return HONE_OK;
}

static bool append(hone__tuning *tuning, const hone__proposal *proposal, const hone__measurement *result, bool from_journal) {
    if (tuning->trials == tuning->trials_capacity) {
        uint32_t capacity = tuning->trials_capacity == 0 ? 64 : 2 * tuning->trials_capacity;
        hone__proposal *trial = hone__realloc(tuning->trial, capacity * sizeof *trial);
        if (trial != NULL)
            tuning->trial = trial;
        hone__measurement *results = hone__realloc(tuning->result, capacity * sizeof *results);
        if (results != NULL)
            tuning->result = results;
        uint64_t *tickets = hone__realloc(tuning->ticket, capacity * sizeof *tickets);
        if (tickets != NULL)
            tuning->ticket = tickets;
        bool *flags = hone__realloc(tuning->from_journal, capacity * sizeof *flags);
        if (flags != NULL)
            tuning->from_journal = flags;
        if (trial == NULL || results == NULL || tickets == NULL || flags == NULL)
            return false;
        tuning->trials_capacity = capacity;
    }
    tuning->trial[tuning->trials] = *proposal;
    tuning->ticket[tuning->trials] = UINT64_MAX; /* until the evaluator has it */
    tuning->result[tuning->trials] = *result;
    tuning->from_journal[tuning->trials++] = from_journal;
    return true;
}

static void journal(hone__tuning *tuning, const hone__proposal *proposal, const hone__measurement *result) {
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone__config_print(&buf, tuning->kernel->space, &proposal->config);
    char *config = hone__buf_take(&buf);
    char *proposer = hone__strdup(proposal->proposer);
    hone_error err = {0};
    hone_status status = HONE_E_NOMEM;
    if (config != NULL && proposer != NULL) {
        hone__trial trial = {.config = config, .proposer = proposer, .result = *result, .created_unix_s = hone__clock_unix_s()};
        status = hone__journal_trial(tuning->cache, &tuning->key, tuning->session_number, tuning->journalled, &trial, &err);
    }
    if (status == HONE_OK)
        tuning->journalled++;
    else
        store_failed(tuning, "a trial", &err);
    hone__free(config);
    hone__free(proposer);
}

void hone__session_trial(hone__tuning *tuning, const hone__proposal *proposal, const hone__measurement *result, bool from_journal) {
    bool inherited = from_journal && tuning->session.runs == 1; /* from a session of another course: keep it in this one too */
    if (!from_journal || inherited)
        journal(tuning, proposal, result);
    if (!append(tuning, proposal, result, from_journal))
        return;
    bool good = result->outcome == HONE_OUTCOME_OK;
    tuning->failed += !good && result->outcome != HONE_OUTCOME_SLOW;
    tuning->resumed += from_journal;
    if (good && (tuning->best == UINT32_MAX || result->median_ns < tuning->result[tuning->best].median_ns))
        tuning->best = tuning->trials - 1;
    if (good && hone__config_equal(&proposal->config, &tuning->kernel->space->base))
        tuning->default_ns = result->median_ns;
    hone__cache_count(tuning->cache, good || result->outcome == HONE_OUTCOME_SLOW ? "trial" : "trial_failed", !from_journal);
}

void hone__session_save(hone__tuning *tuning, bool done) {
    tuning->session.done = done;
    tuning->session.seconds = hone__tuning_elapsed(tuning);
    hone_error err;
    if (hone__journal_update(tuning->cache, &tuning->key, tuning->session_number, &tuning->session, &err) != HONE_OK)
        store_failed(tuning, "the journal", &err);
}

/* ---- exchanges with the model ---- */

/* What the model was asked and said goes to the transcript once, be it said now or to an earlier process. */
static void transcribe(hone__tuning *tuning, const hone__exchange *exchange) {
    const char *path = tuning->options.transcript;
    if (path == NULL)
        return;
    hone__transcript *transcript = NULL;
    hone__transcript_line line;
    bool there = hone__transcript_read(&transcript, path, NULL) == HONE_OK && hone__transcript_find(transcript, exchange->index, &line) &&
                 strcmp(line.request, exchange->request) == 0;
    hone__transcript_free(transcript);
    line = (hone__transcript_line){.index = exchange->index,
                                   .request = exchange->request,
                                   .reply = exchange->reply,
                                   .tokens_in = exchange->tokens_in,
                                   .tokens_out = exchange->tokens_out,
                                   .seconds = exchange->seconds,
                                   .provider = hone__provider_name(hone__llm_provider(tuning->llm)),
                                   .model = hone__llm_model(tuning->llm)};
    hone_error err;
    if (there || hone__transcript_append(path, &line, &err) == HONE_OK)
        return;
    if (tuning->warning[0] == '\0')
        (void)snprintf(tuning->warning, sizeof tuning->warning, "the transcript is not written: %.200s", err.message);
    hone__log(HONE_LOG_WARN, "tune", "the transcript is not written: %s", err.message);
}

static int recall(void *user, uint32_t index, char **request, char **reply, uint64_t *tokens_in, uint64_t *tokens_out, double *seconds,
                  uint32_t *told) {
    hone__tuning *tuning = user;
    for (uint32_t i = 0; i < tuning->exchange_count; i++) {
        const hone__exchange *exchange = &tuning->exchange[i];
        if (exchange->index != index)
            continue;
        *request = hone__strdup(exchange->request);
        *reply = exchange->reply[0] == '\0' ? NULL : hone__strdup(exchange->reply);
        *tokens_in = exchange->tokens_in;
        *tokens_out = exchange->tokens_out;
        *seconds = exchange->seconds;
        *told = exchange->told;
        if (*request == NULL || (exchange->reply[0] != '\0' && *reply == NULL)) {
            hone__free(*request);
            hone__free(*reply);
            return 0;
        }
        if (*reply != NULL)
            transcribe(tuning, exchange);
        return 1;
    }
    return 0;
}

/* Keep the exchange in memory too: a reply is recorded with the request that was recorded before it. */
static hone__exchange *exchange_at(hone__tuning *tuning, uint32_t index) {
    for (uint32_t i = 0; i < tuning->exchange_count; i++) {
        if (tuning->exchange[i].index == index)
            return &tuning->exchange[i];
    }
    hone__exchange *grown = hone__realloc(tuning->exchange, (tuning->exchange_count + 1) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    tuning->exchange = grown;
    hone__exchange *exchange = &grown[tuning->exchange_count++];
    *exchange = (hone__exchange){.index = index, .request = hone__strdup(""), .reply = hone__strdup("")};
    return exchange;
}

static bool replace_text(char **kept, const char *text) {
    if (text == NULL)
        return true;
    char *copy = hone__strdup(text);
    if (copy == NULL)
        return false;
    hone__free(*kept);
    *kept = copy;
    return true;
}

static hone_status record(void *user, uint32_t index, const char *request, const char *reply, uint64_t tokens_in, uint64_t tokens_out,
                          double seconds, uint32_t told) {
    hone__tuning *tuning = user;
    hone__exchange *exchange = exchange_at(tuning, index);
    if (exchange == NULL || !replace_text(&exchange->request, request) || !replace_text(&exchange->reply, reply))
        return HONE_E_NOMEM;
    exchange->tokens_in = tokens_in;
    exchange->tokens_out = tokens_out;
    exchange->seconds = seconds;
    exchange->told = told;
    hone_error err;
    if (hone__journal_exchange(tuning->cache, &tuning->key, tuning->session_number, exchange, &err) != HONE_OK)
        store_failed(tuning, "an exchange with the model", &err);
    if (reply != NULL)
        transcribe(tuning, exchange);
    return HONE_OK;
}

hone__exchange_log hone__session_log(hone__tuning *tuning) {
    return (hone__exchange_log){.recall = recall, .record = record, .user = tuning};
}
