/* trial.h: what one measurement of one config came to.  Bench makes it, search learns from it, the journal keeps it, and the
 * model is told of it; so it stands below all of them. */
#ifndef HONE_TRIAL_H
#define HONE_TRIAL_H

#include "hone.h"
#include "limit.h"

#define HONE_OUTCOME_MAP(X)                                                                                  \
    X(OK, "ok")                           /* timed; right, or unchecked */                                   \
    X(SLOW, "abandoned")                  /* clearly slower than the incumbent: timed briefly, not checked */ \
    X(COMPILE_ERROR, "compile_error")                                                                        \
    X(COMPILE_TIMEOUT, "compile_timeout")                                                                    \
    X(RESOURCES, "resources")             /* memory, shared memory, registers, output: refused or exceeded */ \
    X(LAUNCH_ERROR, "launch_error")                                                                          \
    X(CRASH, "crash")                     /* signal or exit in the kernel */                                 \
    X(TIMEOUT, "timeout")                 /* hung or ran beyond run_s */                                      \
    X(WRONG, "wrong_result")                                                                                 \
    X(NAN, "nan")                                                                                            \
    X(EVALUATOR, "evaluator_error")       /* the evaluator died or broke the protocol over this config */

typedef enum hone__outcome {
#define HONE_OUTCOME_ENUM(name, text) HONE_OUTCOME_##name,
    HONE_OUTCOME_MAP(HONE_OUTCOME_ENUM)
#undef HONE_OUTCOME_ENUM
    HONE_OUTCOME_COUNT
} hone__outcome;

typedef enum hone__accuracy {
    HONE_ACCURACY_UNCHECKED = 0,
    HONE_ACCURACY_PASSED = 1,
    HONE_ACCURACY_FAILED = 2,
    HONE_ACCURACY_COUNT
} hone__accuracy;

typedef struct hone__measurement {
    hone__outcome outcome;
    hone__accuracy accuracy;
    double median_ns;      /* of one run; 0 unless OK or SLOW */
    double low_ns;         /* 95 % distribution-free confidence interval of the median */
    double high_ns;
    double mad_ns;         /* median absolute deviation of the samples */
    uint32_t samples;
    double compile_ms;
    double max_error;      /* largest |x - r| / (atol + rtol |r|); 0 when unchecked */
    char resources[160];   /* "registers=64 spills=0 shared_bytes=49152", or "" */
    char reason[HONE_LIMIT_REASON_BYTES]; /* why it failed, one line; "" when OK */
} hone__measurement;

const char *hone__outcome_name(hone__outcome outcome);
/* HONE_OUTCOME_COUNT when unknown. */
hone__outcome hone__outcome_from_name(const char *name);
/* "unchecked" also for what is none. */
const char *hone__accuracy_name(hone__accuracy accuracy);

#endif
