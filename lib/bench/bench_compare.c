/* bench_compare.c: finalists, measured in rounds A B C A B C until their order against the best is settled or called a tie.
 *
 * What is compared: the unit is a block, a few rounds in one process of the evaluator.  Rounds inside a block share one placement of code
 * and data in memory, which can favour one config by more than the clock's noise, so they are not independent; blocks are.  A config's
 * value in a block is the median of its rounds there.
 *
 * How it is decided: after a fixed number of blocks (a look) each config is compared with the currently fastest by a two-sided sign test
 * over blocks.  error_rate is shared out over all pairs, since the fastest is picked from the same data, and over all looks (Bonferroni
 * both times), so that the probability of calling any two equal configs different stays below it.  A difference below `worth` is
 * never called one.
 *
 * Gross differences: a config that in every block, from the second on, is slower than the best ever was by a quarter is called different
 * and left out of further blocks.  No error rate is claimed for that rule; noise of such size in all blocks, and always to the
 * disadvantage of the same config, would need a machine on which nothing can be told anyway. */
#define _GNU_SOURCE
#include "alloc.h"
#include "bench_internal.h"
#include "clock.h"
#include "stats.h"

#include <math.h>
#include <string.h>

#define FINALISTS_MAX 16u
#define BLOCKS_MAX 192u
#define HANGS_MAX 2u
static const uint32_t looks[] = {12, 18, 27, 40, 60, 90, 135, BLOCKS_MAX};
#define BLOCKS_ENOUGH 27u
#define LOOK_COUNT (sizeof looks / sizeof looks[0])

typedef struct match {
    hone__bench *bench;
    hone__finalist *finalist;
    hone__job *job[FINALISTS_MAX];
    bool out[FINALISTS_MAX];              /* failed during the comparison */
    bool far[FINALISTS_MAX];              /* grossly slower: not measured any more */
    uint32_t have[FINALISTS_MAX];         /* blocks of its own: fewer than `blocks` once it is far */
    uint32_t count;
    uint32_t blocks;
    uint32_t rounds;                      /* in each block */
    double block_ms;                      /* budget of one */
    double *value[FINALISTS_MAX];         /* [block]: median of the config's rounds there */
    double *sample[FINALISTS_MAX];        /* all rounds */
    uint32_t sample_count[FINALISTS_MAX];
    uint32_t hangs;                       /* compare requests that were never answered */
    uint64_t end_ns;                      /* give up then; 0: never */
    int (*tick)(void *user);
    void *user;
} match;

static hone_status poll_tick(const match *m, hone_error *err) {
    if (m->tick != NULL && m->tick(m->user) != 0)
        return hone__fail(err, HONE_E_CANCELLED, "bench", "cancelled while finalists were compared");
    if (m->end_ns != 0 && hone__clock_ns() > m->end_ns)
        return hone__fail(err, HONE_E_TIMEOUT, "bench", "the time for it is over, and the evaluator has not answered");
    return HONE_OK;
}

/* Wait until nothing is in flight.  A fault on the way is no error here: the caller looks at what became of its request. */
static hone_status settle(const match *m, hone_error *err) {
    do {
        HONE_TRY(poll_tick(m, err));
        HONE_TRY(hone__bench_pump(m->bench, 200, err));
    } while (hone__bench_in_flight(m->bench) > 0 || m->bench->phase != HONE_PHASE_READY);
    return HONE_OK;
}

/* Configs that were begun run to their end first; their results wait for hone__bench_next. */
static hone_status wait_for_queue(const match *m, hone_error *err) {
    for (uint32_t i = 0; i < m->bench->queue_count;) {
        if (m->bench->queue[i]->state == HONE_JOB_DONE) {
            i++;
            continue;
        }
        HONE_TRY(poll_tick(m, err));
        HONE_TRY(hone__bench_pump(m->bench, 200, err));
    }
    return HONE_OK;
}

static void drop(match *m, uint32_t i, hone__outcome outcome, const char *reason) {
    m->out[i] = true;
    hone__measurement_fail(&m->finalist[i].result, outcome, reason);
}

/* After a restart handles are void: compile again those that need it, one at a time. */
static hone_status compile_again(match *m, hone_error *err) {
    for (uint32_t i = 0; i < m->count; i++) {
        hone__job *job = m->job[i];
        for (int attempt = 0; !m->out[i] && !m->far[i] && job->state != HONE_JOB_COMPILED; attempt++) {
            if (job->state == HONE_JOB_DONE) {
                drop(m, i, job->result.outcome, job->result.reason);
                break;
            }
            if (attempt == 2) {
                drop(m, i, HONE_OUTCOME_EVALUATOR, m->bench->fault_reason);
                break;
            }
            HONE_TRY(settle(m, err));
            HONE_TRY(hone__bench_send_compile(m->bench, job));
            HONE_TRY(settle(m, err));
        }
    }
    return HONE_OK;
}

/* Why nothing could be compared: the evaluator's last fault, else what it said of a config. */
static const char *blame(const match *m) {
    if (m->bench->fault_reason[0] != '\0')
        return m->bench->fault_reason;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->out[i])
            return m->finalist[i].result.reason;
    }
    return "no reason given";
}

static uint32_t still_in(const match *m) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->count; i++)
        count += !m->out[i] && !m->far[i];
    return count;
}

static double median_of(double *values, uint32_t count) {
    return hone__stats_summary(values, count, 0.95).median;
}

/* One config's rounds of a block.  Returns false when they are no times. */
static bool take_rounds(match *m, uint32_t i, const cJSON *samples) {
    double rounds[64];
    uint32_t count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, samples) {
        if (count == 64 || !hone__sample_sane(item, &rounds[count]))
            return false;
        count++;
    }
    if (count == 0)
        return false;
    for (uint32_t k = 0; k < count && m->sample_count[i] < HONE_LIMIT_SAMPLES; k++)
        m->sample[i][m->sample_count[i]++] = rounds[k];
    m->value[i][m->blocks] = median_of(rounds, count);
    return true;
}

static hone_status refused(match *m, const cJSON *reply, hone_error *err) {
    hone__measurement told = {.outcome = HONE_OUTCOME_EVALUATOR};
    hone__reply_error(reply, &told);
    int64_t handle = -1;
    (void)hone__json_int(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(reply, "error"), "handle"), &handle);
    for (uint32_t i = 0; i < m->count; i++) {
        if (!m->out[i] && m->job[i]->handle == handle) {
            drop(m, i, told.outcome, told.reason);
            return HONE_OK;
        }
    }
    return hone__fail(err, HONE_E_EVALUATOR, "bench", "the evaluator cannot compare: %.400s", told.reason);
}

/* One block by one `compare` request. */
static hone_status block_together(match *m, bool *counted, hone_error *err) {
    hone__buf body;
    hone__buf_init(&body, 4096);
    hone__buf_text(&body, ",\"handles\":[");
    uint32_t listed[FINALISTS_MAX];
    uint32_t count = 0;
    /* Another order of loading in each block: where code lands in memory is part of the noise, and by this order it favours each of a pair
     * equally often (a turn, then the same turn backwards). */
    for (uint32_t k = 0; k < m->count; k++) {
        uint32_t turn = m->blocks / 2;
        uint32_t i = (m->blocks % 2 == 0 ? k + turn : m->count - 1 - k + turn) % m->count;
        if (m->out[i] || m->far[i])
            continue;
        hone__buf_printf(&body, "%s%lld", count > 0 ? "," : "", (long long)m->job[i]->handle);
        listed[count++] = i;
    }
    hone__buf_printf(&body, "],\"rounds\":%u,\"budget_ms\":", m->rounds);
    hone__buf_json_double(&body, m->block_ms);
    hone_status status = body.status;
    if (status == HONE_OK)
        status = hone__bench_control(m->bench, "compare", body.data,
                                     m->bench->options.run_s * count + m->block_ms * 2e-3 + HONE_BENCH_MARGIN_S);
    hone__buf_free(&body);
    HONE_TRY(status);
    HONE_TRY(settle(m, err));
    const cJSON *reply = m->bench->control_reply;
    if (reply == NULL) {
        /* It died or hung: restarted, compiled and tried again by the caller; but a hang costs a minute, so not often. */
        if (m->bench->fault_outcome == HONE_OUTCOME_TIMEOUT && ++m->hangs == HANGS_MAX)
            return hone__fail(err, HONE_E_EVALUATOR, "bench", "%.400s", m->bench->fault_reason);
        return HONE_OK;
    }
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok")))
        return refused(m, reply, err);
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(reply, "samples_ns");
    if (cJSON_GetArraySize(rows) != (int)count)
        return hone__fail(err, HONE_E_EVALUATOR, "bench", "the evaluator's answer to compare has no list of samples for each handle");
    for (uint32_t k = 1; k < count; k++) {
        if (cJSON_GetArraySize(cJSON_GetArrayItem(rows, (int)k)) != cJSON_GetArraySize(cJSON_GetArrayItem(rows, 0)))
            return hone__fail(err, HONE_E_EVALUATOR, "bench", "the evaluator's answer to compare has lists of unequal length");
    }
    for (uint32_t k = 0; k < count; k++) {
        if (!take_rounds(m, listed[k], cJSON_GetArrayItem(rows, (int)k)))
            return hone__fail(err, HONE_E_EVALUATOR, "bench", "the evaluator's answer to compare holds a value that is no possible time");
    }
    *counted = true;
    return HONE_OK;
}

/* One block for an evaluator without `compare`: one short measurement of each, in changing order. */
static hone_status block_in_turn(match *m, bool *counted, hone_error *err) {
    for (uint32_t k = 0; k < m->count; k++) {
        uint32_t turn = m->blocks / 2;
        uint32_t i = (m->blocks % 2 == 0 ? k + turn : m->count - 1 - k + turn) % m->count;
        if (m->out[i] || m->far[i])
            continue;
        hone__job *job = m->job[i];
        hone__measurement kept = job->result;
        HONE_TRY(hone__bench_send_measure(m->bench, job, m->block_ms / m->count, 0.0));
        HONE_TRY(settle(m, err));
        hone__measurement got = job->result;
        job->result = kept;
        if (job->state != HONE_JOB_DONE)
            return HONE_OK; /* faulted: the block does not count */
        job->state = HONE_JOB_COMPILED;
        if (got.outcome != HONE_OUTCOME_OK) {
            drop(m, i, got.outcome, got.reason);
            continue;
        }
        m->value[i][m->blocks] = got.median_ns;
        if (m->sample_count[i] < HONE_LIMIT_SAMPLES)
            m->sample[i][m->sample_count[i]++] = got.median_ns;
    }
    *counted = true;
    return HONE_OK;
}

/* ---- the decision ---- */

/* Median over blocks of a's time relative to b's; wins: blocks in which a was faster. */
static double ratio_of(const match *m, uint32_t a, uint32_t b, double *scratch, uint32_t *wins, uint32_t *decided) {
    *wins = 0;
    *decided = 0;
    uint32_t both = m->have[a] < m->have[b] ? m->have[a] : m->have[b];
    for (uint32_t k = 0; k < both; k++) {
        scratch[k] = m->value[a][k] / m->value[b][k];
        *wins += m->value[a][k] < m->value[b][k];
        *decided += m->value[a][k] < m->value[b][k] || m->value[a][k] > m->value[b][k];
    }
    return median_of(scratch, both);
}

static uint32_t fastest(const match *m) {
    uint32_t best = UINT32_MAX;
    double least = HUGE_VAL;
    static const double none = HUGE_VAL;
    for (uint32_t i = 0; i < m->count; i++) {
        double scratch[BLOCKS_MAX];
        if (m->out[i] || m->far[i])
            continue;
        memcpy(scratch, m->value[i], m->have[i] * sizeof scratch[0]);
        double median = m->have[i] > 0 ? median_of(scratch, m->have[i]) : none;
        if (median < least || best == UINT32_MAX) {
            least = median;
            best = i;
        }
    }
    return best;
}

static void leave_far_ones(match *m, uint32_t best) {
    double worst = 0.0;
    for (uint32_t k = 0; k < m->blocks; k++)
        worst = m->value[best][k] > worst ? m->value[best][k] : worst;
    for (uint32_t i = 0; i < m->count; i++) {
        double least = HUGE_VAL;
        for (uint32_t k = 0; k < m->have[i]; k++)
            least = m->value[i][k] < least ? m->value[i][k] : least;
        if (i == best || m->out[i] || m->far[i] || m->blocks < 2 || !(least > 1.25 * worst))
            continue;
        m->far[i] = true;
        m->finalist[i].tied_with_best = false;
    }
}

/* One look.  True when every config is told apart from the best, or known to be within `worth` of it. */
static bool look(match *m, const hone__compare_options *options, uint32_t best) {
    double pairs = 0.5 * m->count * (m->count - 1);
    double level = options->error_rate / ((pairs > 1.0 ? pairs : 1.0) * (double)LOOK_COUNT);
    bool settled = true;
    for (uint32_t i = 0; i < m->count; i++) {
        double scratch[BLOCKS_MAX];
        uint32_t wins, decided;
        if (m->out[i] || m->far[i] || i == best)
            continue;
        double ratio = ratio_of(m, i, best, scratch, &wins, &decided);
        bool different = hone__stats_sign_p(wins, decided) <= level && ratio > 1.0 + options->worth;
        m->finalist[i].tied_with_best = !different;
        hone__summary interval = hone__stats_summary(scratch, m->blocks, 1.0 - level); /* all that are still in have all blocks */
        bool same = interval.low > 1.0 - options->worth && interval.high < 1.0 + options->worth;
        settled = settled && (different || same);
    }
    return settled;
}

static void conclude(match *m, uint32_t best) {
    double value[FINALISTS_MAX];
    for (uint32_t i = 0; i < m->count; i++) {
        double scratch[BLOCKS_MAX];
        uint32_t wins, decided;
        value[i] = HUGE_VAL;
        if (m->out[i])
            continue;
        hone__measurement *result = &m->finalist[i].result;
        *result = m->job[i]->result;
        value[i] = i == best ? 1.0 : (m->far[i] ? 1e6 : 1.0) * ratio_of(m, i, best, scratch, &wins, &decided);
        hone__summary summary = hone__stats_summary(m->sample[i], m->sample_count[i], 0.95);
        result->median_ns = summary.median;
        result->low_ns = summary.low;
        result->high_ns = summary.high;
        result->mad_ns = summary.mad;
        result->samples = m->sample_count[i];
    }
    for (uint32_t i = 0; i < m->count; i++) {
        m->finalist[i].rank = 0;
        m->finalist[i].tied_with_best = m->finalist[i].tied_with_best && !m->out[i] && i != best;
        for (uint32_t k = 0; k < m->count; k++) {
            bool before = k == best ? i != best : i != best && (value[k] < value[i] || (!(value[k] > value[i]) && k < i));
            m->finalist[i].rank += k != i && before;
        }
    }
}

static hone_status play(match *m, const hone__compare_options *options, hone_error *err) {
    uint64_t start = hone__clock_ns();
    double slowest = 0.0;
    double round_ns = 0.0;
    for (uint32_t i = 0; i < m->count; i++) {
        double ns = m->job[i]->result.median_ns;
        slowest = ns > slowest ? ns : slowest;
        round_ns += ns > 50000.0 ? ns : 50000.0;
    }
    m->rounds = round_ns < 2e6 ? 15 : slowest < 20e6 ? 5 : slowest < 100e6 ? 2 : 1;
    m->block_ms = m->bench->can_compare ? 2.0 * m->rounds * round_ns * 1e-6 + 20.0 : 5.0 * round_ns * 1e-6 + 5.0 * m->count;
    uint32_t next_look = 0;
    uint32_t idle = 0;
    while (m->blocks < BLOCKS_MAX && still_in(m) > 1) {
        bool counted = false;
        HONE_TRY(compile_again(m, err));
        if (still_in(m) < 2)
            break;
        HONE_TRY(m->bench->can_compare ? block_together(m, &counted, err) : block_in_turn(m, &counted, err));
        if (!counted && ++idle > 3 + m->count)
            return hone__fail(err, HONE_E_EVALUATOR, "bench", "the evaluator fails when finalists are compared: %.400s", blame(m));
        for (uint32_t i = 0; counted && i < m->count; i++)
            m->have[i] += !m->out[i] && !m->far[i];
        m->blocks += counted;
        if (still_in(m) == 0)
            break; /* the last ones failed in this very block: there is no fastest */
        if (counted)
            leave_far_ones(m, fastest(m));
        if (counted && m->blocks == looks[next_look]) {
            next_look++;
            if (look(m, options, fastest(m)))
                break;
        }
        /* The budget, but never less than the first look while that is in sight: fewer blocks decide nothing. */
        double spent_ms = (double)(hone__clock_ns() - start) * 1e-6;
        if (spent_ms > options->budget_ms * (m->blocks < looks[0] ? 1.5 : 1.0))
            break;
        if (spent_ms > options->enough_ms && m->blocks >= BLOCKS_ENOUGH)
            break;
    }
    if (m->blocks == 0 && idle > 0)
        return hone__fail(err, HONE_E_EVALUATOR, "bench", "the evaluator fails when finalists are compared: %.400s", blame(m));
    return HONE_OK;
}

static hone_status enlist(match *m, hone__finalist *finalist, uint32_t count, hone_error *err) {
    m->finalist = finalist;
    m->count = count;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < m->bench->known_count; k++) {
            if (m->bench->known[k]->ticket == finalist[i].ticket)
                m->job[i] = m->bench->known[k];
        }
        if (m->job[i] == NULL)
            return hone__fail(err, HONE_E_ARG, "bench", "finalist %llu was not measured here, or is not among the fastest %u",
                              (unsigned long long)finalist[i].ticket, HONE_BENCH_KNOWN_MAX);
        finalist[i].result = m->job[i]->result;
        finalist[i].tied_with_best = true;
        m->value[i] = hone__alloc_array(BLOCKS_MAX, sizeof(double));
        m->sample[i] = hone__alloc_array(HONE_LIMIT_SAMPLES, sizeof(double));
        if (m->value[i] == NULL || m->sample[i] == NULL)
            return hone__fail(err, HONE_E_NOMEM, "bench", "no memory for finalists");
    }
    return HONE_OK;
}

/* Too few blocks for any statement: what single measurements said, all tied. */
static void conclude_untried(match *m) {
    for (uint32_t i = 0; i < m->count; i++) {
        m->finalist[i].rank = 0;
        for (uint32_t k = 0; k < m->count; k++) {
            double mine = m->out[i] ? HUGE_VAL : m->finalist[i].result.median_ns;
            double theirs = m->out[k] ? HUGE_VAL : m->finalist[k].result.median_ns;
            m->finalist[i].rank += theirs < mine || (!(theirs > mine) && k < i);
        }
        m->finalist[i].tied_with_best = !m->out[i] && m->finalist[i].rank != 0;
    }
}

hone_status hone__bench_compare(hone__bench *bench, hone__finalist *finalist, uint32_t count, const hone__compare_options *options,
                                int (*tick)(void *user), void *user, hone_error *err) {
    hone__compare_options used = options != NULL ? *options : (hone__compare_options){0};
    used.error_rate = used.error_rate > 0.0 && used.error_rate < 1.0 ? used.error_rate : 0.05;
    used.budget_ms = used.budget_ms > 0.0 ? used.budget_ms : 3000.0;
    used.enough_ms = used.enough_ms > 0.0 ? used.enough_ms : used.budget_ms;
    used.worth = used.worth > 0.0 && used.worth < 1.0 ? used.worth : 0.002;
    if (count < 1 || count > FINALISTS_MAX)
        return hone__fail(err, HONE_E_ARG, "bench", "1 to %u finalists can be compared", FINALISTS_MAX);
    match m = {.bench = bench, .tick = tick, .user = user};
    if (used.limit_s > 0.0)
        m.end_ns = hone__clock_ns() + (uint64_t)(used.limit_s * 1e9);
    hone_status status = wait_for_queue(&m, err);
    if (status == HONE_OK)
        status = enlist(&m, finalist, count, err);
    if (status == HONE_OK)
        status = settle(&m, err);
    if (status == HONE_OK)
        status = play(&m, &used, err);
    if (status == HONE_E_TIMEOUT && m.blocks > 0)
        status = HONE_OK; /* what was measured until then decides */
    if (status == HONE_OK && m.blocks > 0) {
        uint32_t best = fastest(&m);
        (void)look(&m, &used, best);
        conclude(&m, best);
    } else {
        conclude_untried(&m);
    }
    for (uint32_t i = 0; i < count; i++) {
        hone__free(m.value[i]);
        hone__free(m.sample[i]);
    }
    return status;
}
