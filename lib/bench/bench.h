/* bench.h: the client of an evaluator (spec/evaluator.md).  Submit configs, take results, but for stragglers in the order of submission;
 * compiling runs ahead.  A dead, hanging or lying evaluator costs the config that it was working on, never the search. */
#ifndef HONE_BENCH_H
#define HONE_BENCH_H

#include "json.h"
#include "trial.h"

typedef struct hone__bench hone__bench;

typedef struct hone__bench_options {
    const char *const *command;   /* argv of the evaluator; NULL-terminated */
    const char *cwd;              /* its folder, or NULL */
    double start_s;               /* deadline of hello; default 120 */
    double compile_s, run_s;      /* limits per config, handed to the evaluator and enforced here with a margin */
    uint64_t memory_bytes, output_bytes;
    double precision;             /* wanted half-width of the interval relative to the median; default 0.01 */
    double budget_ms;             /* measuring time of one config at the most; default 500 */
    const char *device;           /* "cpu", "cuda:0"; passed in hello; NULL: evaluator's choice */
    bool measure_peaks;           /* ask hello for measured peaks */
    int (*tick)(void *user);      /* polled about every 200 ms until hello is answered; non-zero gives up.  NULL: none */
    void *user;
} hone__bench_options;

/* Start and greet.  Errors: HONE_E_EVALUATOR with the evaluator's own words, HONE_E_CANCELLED. */
hone_status hone__bench_open(hone__bench **out, const hone__bench_options *options, hone_error *err);
void hone__bench_close(hone__bench *bench); /* bye, a short grace, then kill */
/* The hello's reply: {"device": {...}, "peaks": {...}, "evaluator": "...", "parallel": n}.  Borrowed. */
const cJSON *hone__bench_hello(const hone__bench *bench);
/* How many configs are worth having in flight (parallel compiles + 1). */
uint32_t hone__bench_parallel(const hone__bench *bench);
/* The problem that all further configs are for; kept, and sent again when the evaluator has to be restarted.
 * Blocks; `tick` (may be NULL) is polled about every 200 ms and gives up by non-zero.
 * Errors: HONE_E_SPEC (the reference does not compile or run: message holds the compiler's first lines), HONE_E_EVALUATOR, HONE_E_CANCELLED. */
hone_status hone__bench_prepare(hone__bench *bench, const cJSON *prepare, int (*tick)(void *user), void *user, hone_error *err);
/* Queue one config: `compile` as hone__kernel_compile_json makes it (copied).  Tickets are the caller's, unique. */
hone_status hone__bench_submit(hone__bench *bench, uint64_t ticket, const cJSON *compile, hone_error *err);
/* The next result in order of submission; a compile that takes a second and more may be overtaken.  HONE_E_TIMEOUT: none within timeout_ms (poll again); HONE_E_NOTFOUND: nothing is queued;
 * HONE_E_EVALUATOR: the evaluator cannot be restarted any more. */
hone_status hone__bench_next(hone__bench *bench, uint32_t timeout_ms, uint64_t *ticket, hone__measurement *out, hone_error *err);
/* Best time so far; configs whose interval lies clearly above are abandoned.  0: never abandon. */
void hone__bench_set_incumbent(hone__bench *bench, double ns);
/* Drop what is queued or compiling; what is being measured, or done, stays. */
void hone__bench_cancel(hone__bench *bench);
/* Give up what the evaluator is working on, as a timeout for the reason `why`.  It is killed, and started again when it is next needed. */
void hone__bench_interrupt(hone__bench *bench, const char *why);

/* ---- finalists ---- */
typedef struct hone__finalist {
    uint64_t ticket;              /* measured OK before (compiled again when the evaluator was restarted) */
    hone__measurement result;     /* out: of the interleaved samples */
    uint32_t rank;                /* out: 0 is best */
    bool tied_with_best;          /* out: not told apart from rank 0 at the stated error rate */
} hone__finalist;
typedef struct hone__compare_options {
    double error_rate;            /* probability of calling two equal configs different; default 0.05, over all pairs with the best */
    double budget_ms;             /* measuring time at the most; default 3000 */
    double enough_ms;             /* beyond it only as many blocks are awaited as say something (27); default: the budget */
    double worth;                 /* differences below this fraction need not be told apart; default 0.002 */
    double limit_s;               /* given up after this, whatever hangs: HONE_E_TIMEOUT, or the result of what was measured; default none */
} hone__compare_options;
/* Measure in rounds A B C A B C ... until the order against the best is settled, called a tie, or the budget ends.  Blocks; `tick` (may be
 * NULL) is polled about every 200 ms and cancels by non-zero. */
hone_status hone__bench_compare(hone__bench *bench, hone__finalist *finalist, uint32_t count, const hone__compare_options *options,
                                int (*tick)(void *user), void *user, hone_error *err);

#endif
