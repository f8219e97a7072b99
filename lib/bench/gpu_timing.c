/* gpu_timing.c: in a GPU's child: one checked run, timed runs, finalists round by round.  Times are the device's own events around one launch,
 * with the caches flushed in between by writing over memory, as Triton's do_bench does it: the flush also hides the host's launching. */
#include "clock.h"
#include "gpu_internal.h"

#include <string.h>

#define CHUNK_NS_MAX 20e6        /* in the queue at a time, so that a config can be abandoned */
#define PROBE_STEPS 8192u        /* some seventy microseconds: the device's nanoseconds may come in steps of a thousand */
#define CLOCK_DRIFT 0.85         /* a clock that moved by more while a config was measured: measured once more.  Under a heavy load it falls by
                                  * a tenth for good, which is the device's own speed */

/* ---- one launch ---- */

/* Queue one timed launch into pair `slot` of the events. */
static bool queue_sample(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch, uint32_t slot) {
    const hone__cuda *cuda = child->cuda;
    hone__cu_result code = cuda->set_bytes(child->flush, 0, child->flush_bytes, child->stream);
    if (code == HONE_CU_OK)
        code = cuda->event_record(child->start[slot], child->stream);
    if (code != HONE_CU_OK)
        return hone__gpu_failed(child, code, "timing");
    if (!hone__gpu_launch_problem(child, loaded, launch))
        return false;
    code = cuda->event_record(child->stop[slot], child->stream);
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "timing");
}

static bool read_sample(hone__gpu_child *child, uint32_t slot, double *ns) {
    float ms = 0.0f;
    hone__cu_result code = child->cuda->event_elapsed(&ms, child->start[slot], child->stop[slot]);
    *ns = (double)ms * 1e6 > 1.0 ? (double)ms * 1e6 : 1.0;
    return code == HONE_CU_OK || hone__gpu_failed(child, code, "reading the time");
}

static bool sample_chunk(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch, uint32_t count, double *to) {
    for (uint32_t i = 0; i < count; i++) {
        if (!queue_sample(child, loaded, launch, i))
            return false;
    }
    if (!hone__gpu_wait(child, "running"))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_sample(child, i, &to[i]))
            return false;
    }
    return true;
}

bool hone__gpu_check(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch, hone__stage stage, const char *when,
                     double *ns) {
    hone__gpu_stage(child, HONE_STAGE_SETUP);
    if (!hone__gpu_memory_reset(child))
        return false;
    hone__gpu_stage(child, stage);
    if (!queue_sample(child, loaded, launch, 0) || !hone__gpu_wait(child, "running") || !read_sample(child, 0, ns))
        return false;
    hone__gpu_stage(child, HONE_STAGE_COMPARE);
    if (!child->problem.has_reference || hone__gpu_memory_right(child, when))
        return true;
    /* Wrong because it spoilt its own inputs?  Then that is the reason, and the next config must not find them. */
    hone__measurement wrong = child->result;
    if (!child->lost && hone__gpu_memory_untouched(child))
        child->result = wrong;
    return false;
}

/* ---- the clock ---- */

/* The multiprocessors' clock as it is now, in MHz; 0 when it cannot be told. */
static bool look_at_clock(hone__gpu_child *child, double *mhz) {
    unsigned long long seen[2] = {0, 0};
    unsigned steps = PROBE_STEPS;
    hone__cu_memory out = child->scratch + HONE_GPU_SCRATCH / 2; /* the first half holds the table of buffers */
    void *params[] = {&out, &steps};
    if (!hone__gpu_launch_own(child, child->probe, 1, 1, 32, params) || !hone__gpu_wait(child, "reading the clock"))
        return false;
    hone__cu_result code = child->cuda->copy_out(seen, out, sizeof seen);
    if (code != HONE_CU_OK)
        return hone__gpu_failed(child, code, "reading the clock");
    *mhz = seen[1] > 0 ? (double)seen[0] * 1e3 / (double)seen[1] : 0.0;
    return true;
}

/* ---- a config ---- */

typedef struct plan {
    double estimate, budget_ns;
    uint64_t start;
} plan;

static uint32_t chunk_size(const hone__gpu_child *child, const plan *p, uint32_t count) {
    static const uint32_t first[] = {3, 5};
    double each = p->estimate + (double)child->flush_bytes * 1e-3; /* flushing a gigabyte takes less than a millisecond */
    double left = p->budget_ns - (double)(hone__clock_ns() - p->start);
    double most = left < CHUNK_NS_MAX ? left / each : CHUNK_NS_MAX / each;
    uint32_t wanted = count == 0 ? first[0] : count == first[0] ? first[1] : count / 2;
    wanted = wanted > HONE_GPU_CHUNK ? HONE_GPU_CHUNK : wanted;
    wanted = wanted > HONE_LIMIT_SAMPLES - count ? HONE_LIMIT_SAMPLES - count : wanted;
    return most >= wanted ? wanted : most >= 1.0 ? (uint32_t)most : count == 0 ? 1 : 0;
}

static hone__outcome sample_until_known(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch,
                                        const hone__trial *wanted, const plan *p) {
    static double scratch[HONE_LIMIT_SAMPLES];
    child->sample_count = 0;
    for (;;) {
        uint32_t more = chunk_size(child, p, child->sample_count);
        if (more == 0)
            return HONE_OUTCOME_OK;
        if (!sample_chunk(child, loaded, launch, more, child->sample + child->sample_count))
            return child->result.outcome;
        child->sample_count += more;
        memcpy(scratch, child->sample, child->sample_count * sizeof scratch[0]);
        hone__summary summary = hone__stats_summary(scratch, child->sample_count, 0.95);
        if (hone__sampling_hopeless(child->sample, child->sample_count, summary.low, wanted->incumbent_ns))
            return HONE_OUTCOME_SLOW;
        if (hone__sampling_enough(&summary, child->sample_count, wanted->precision, wanted->incumbent_ns))
            return HONE_OUTCOME_OK;
    }
}

static void summarise(hone__gpu_child *child, hone__outcome outcome) {
    hone__summary summary = hone__stats_summary(child->sample, child->sample_count, 0.95);
    child->result.outcome = outcome;
    child->result.samples = child->sample_count;
    child->result.median_ns = summary.median;
    child->result.low_ns = summary.low;
    child->result.high_ns = summary.high;
    child->result.mad_ns = summary.mad;
}

static bool time_runs(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch, const hone__trial *wanted,
                      double first_ns) {
    plan p = {.estimate = first_ns, .budget_ns = wanted->budget_ms * 1e6, .start = hone__clock_ns()};
    double warm[4];
    hone__gpu_stage(child, HONE_STAGE_TIME);
    if (first_ns > p.budget_ns || (wanted->incumbent_ns > 0.0 && first_ns > 20.0 * wanted->incumbent_ns)) {
        child->sample[0] = first_ns; /* one more run would not fit, or is not worth it */
        child->sample_count = 1;
        summarise(child, wanted->incumbent_ns > 0.0 && first_ns > 4.0 * wanted->incumbent_ns ? HONE_OUTCOME_SLOW : HONE_OUTCOME_OK);
        return true;
    }
    uint32_t warming = first_ns < 1e6 ? 4 : first_ns < 20e6 ? 1 : 0;
    if (warming > 0 && !sample_chunk(child, loaded, launch, warming, warm))
        return false;
    if (warming > 0)
        p.estimate = warm[warming - 1];
    for (int attempt = 0;; attempt++) {
        double before = 0.0;
        if (!look_at_clock(child, &before))
            return false;
        hone__outcome outcome = sample_until_known(child, loaded, launch, wanted, &p);
        if (outcome != HONE_OUTCOME_OK && outcome != HONE_OUTCOME_SLOW)
            return false;
        if (!look_at_clock(child, &child->clock_mhz))
            return false;
        bool drifted = before > 0.0 && child->clock_mhz > 0.0 && (child->clock_mhz < CLOCK_DRIFT * before || before < CLOCK_DRIFT * child->clock_mhz);
        if (!drifted || attempt == 1 || outcome == HONE_OUTCOME_SLOW) {
            summarise(child, outcome);
            return true;
        }
        p.start = hone__clock_ns();
    }
}

bool hone__gpu_time(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch, const hone__trial *wanted) {
    double first_ns = 0.0, last_ns = 0.0;
    if (!hone__gpu_check(child, loaded, launch, HONE_STAGE_CHECK, "", &first_ns))
        return false;
    if (!time_runs(child, loaded, launch, wanted, first_ns))
        return false;
    hone__measurement timed = child->result;
    /* Once more: a kernel that keeps state between runs, or races, may have been right only once. */
    if (!hone__gpu_check(child, loaded, launch, HONE_STAGE_RECHECK, "after the timed runs ", &last_ns) || !hone__gpu_memory_untouched(child))
        return false;
    timed.max_error = child->result.max_error;
    timed.accuracy = child->problem.has_reference ? HONE_ACCURACY_PASSED : HONE_ACCURACY_UNCHECKED;
    child->result = timed;
    return true;
}

/* ---- finalists ---- */

/* One round: each config once, behind one another in the queue, as many at a time as there are events. */
static bool one_round(hone__gpu_child *child, hone__gpu_loaded *const *loaded, const hone__gpu_launch *launch, uint32_t count, uint32_t round,
                      int32_t *subject, double *to) {
    for (uint32_t from = 0; from < count; from += HONE_GPU_CHUNK) {
        uint32_t here = count - from < HONE_GPU_CHUNK ? count - from : HONE_GPU_CHUNK;
        for (uint32_t k = 0; k < here; k++) {
            uint32_t i = (from + k + round) % count; /* nobody always runs first, or always behind the same one */
            *subject = (int32_t)i;
            if (!queue_sample(child, loaded[i], &launch[i], k))
                return false;
        }
        *subject = -1;
        if (!hone__gpu_wait(child, "running finalists"))
            return false;
        for (uint32_t k = 0; k < here; k++) {
            if (!read_sample(child, k, &to[(from + k + round) % count]))
                return false;
        }
    }
    return true;
}

bool hone__gpu_compare_all(hone__gpu_child *child, char *const *object, const hone__gpu_launch *launch, uint32_t count, uint32_t rounds,
                           double budget_ms, int32_t *subject, uint32_t *rounds_done) {
    static hone__gpu_loaded *loaded[HONE_GPU_MODULES];
    double round_ns = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        double ns = 0.0;
        *subject = (int32_t)i;
        loaded[i] = hone__gpu_module_ready(child, object[i], &launch[i]);
        if (loaded[i] == NULL || !hone__gpu_check(child, loaded[i], &launch[i], HONE_STAGE_CHECK, "", &ns))
            return false;
        round_ns += ns;
    }
    hone__gpu_stage(child, HONE_STAGE_TIME);
    uint64_t start = hone__clock_ns();
    *rounds_done = 0;
    while (*rounds_done < rounds && (*rounds_done + 1) * count <= HONE_LIMIT_SAMPLES) {
        if (*rounds_done > 0 && (double)(hone__clock_ns() - start) + round_ns > budget_ms * 1e6)
            break;
        if (!one_round(child, loaded, launch, count, *rounds_done, subject, child->sample + (size_t)*rounds_done * count))
            return false;
        (*rounds_done)++;
    }
    *subject = -1;
    return hone__gpu_memory_untouched(child);
}
