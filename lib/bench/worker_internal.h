/* worker_internal.h: what the files of the built-in evaluator share.  worker.c talks, worker_problem.c holds inputs and reference,
 * worker_compile.c runs compilers, worker_trial.c runs a kernel in a child of its own, worker_timing.c times it there. */
#ifndef HONE_WORKER_INTERNAL_H
#define HONE_WORKER_INTERNAL_H

#include "json.h"
#include "limit.h"
#include "process.h"
#include "stats.h"
#include "trial.h"

#include <signal.h>
#include <sys/types.h>

#define HONE_WORKER_TEXT_MAX 4096u   /* of a compiler's or kernel's output, kept for the reason */
#define HONE_WORKER_JOBS_MAX 64u

/* ---- buffers between guard pages ---- */
typedef struct hone__arena {
    unsigned char *map;        /* the whole mapping, guards included */
    size_t map_bytes;
    unsigned char *span;       /* accessible pages */
    size_t span_bytes;
    unsigned char *data;       /* the buffer: its end lies at the rear guard as nearly as its alignment allows */
    size_t bytes;
} hone__arena;

bool hone__arena_map(hone__arena *arena, size_t bytes, size_t align, bool shared);
void hone__arena_unmap(hone__arena *arena);
void hone__arena_protect(const hone__arena *arena, bool writable);
void hone__arena_canary_set(const hone__arena *arena);
/* Bytes written outside the buffer: offset of the first relative to its start (negative: before it); false when intact. */
bool hone__arena_canary_hit(const hone__arena *arena, long long *offset);
/* Does the address lie in this arena's mapping? */
bool hone__arena_owns(const hone__arena *arena, const void *address);

/* ---- element types ---- */
typedef enum hone__element {
    HONE_ELEMENT_F64, HONE_ELEMENT_F32, HONE_ELEMENT_F16, HONE_ELEMENT_BF16, HONE_ELEMENT_I64, HONE_ELEMENT_I32, HONE_ELEMENT_I16,
    HONE_ELEMENT_I8, HONE_ELEMENT_U64, HONE_ELEMENT_U32, HONE_ELEMENT_U16, HONE_ELEMENT_U8, HONE_ELEMENT_COUNT
} hone__element;
hone__element hone__element_from_name(const char *name);
size_t hone__element_bytes(hone__element element);
const char *hone__element_c_type(hone__element element); /* spelt with the compiler's own macros, which need no header */
void hone__element_store(hone__element element, void *to, uint64_t index, double value);
long double hone__element_load(hone__element element, const void *from, uint64_t index);

typedef struct hone__fill_rule {
    int kind;                  /* 'u', 'n', 'c', 'i' */
    double a, b;
} hone__fill_rule;
void hone__element_fill(hone__element element, void *to, uint64_t count, const hone__fill_rule *rule, uint64_t seed);

typedef struct hone__deviation {
    double max_error;          /* largest |x - r| / (atol + rtol |r|), at most 1e300 */
    uint64_t index;            /* of the worst element */
    uint64_t wrong, nans;      /* elements beyond the tolerance; of these NaN where the reference has none */
    double value, expected;
} hone__deviation;
void hone__element_compare(hone__element element, const void *x, const void *reference, uint64_t count, double rtol, double atol,
                           hone__deviation *out);

/* ---- the prepared problem ---- */
typedef struct hone__worker_arg {
    char name[HONE_LIMIT_NAME_BYTES + 1];
    bool is_buffer, in, out;
    hone__element element;
    uint64_t count;            /* elements */
    uint64_t shape[8];
    uint32_t rank;
    hone__fill_rule fill;
    hone__arena work;          /* what the kernel gets; of an `in` buffer read-only; of others untouched in the worker */
    hone__arena pristine;      /* inout: content before each checked run */
    hone__arena reference;     /* out, inout: the truth, shared with the child that computes it, then read-only */
    unsigned char scalar[16];
} hone__worker_arg;

typedef struct hone__problem {
    bool ready;
    char *include_dir, *entry, *source, *source_path;
    hone__worker_arg *arg;
    uint32_t arg_count;
    bool has_reference;
    double rtol, atol, compile_s, run_s;
    uint64_t memory_bytes, output_bytes;
    uint64_t seed;
} hone__problem;

/* ---- a launch on a GPU ---- */
typedef struct hone__gpu_launch {
    uint32_t grid[3], block[3], cluster[3]; /* 1 where the request has fewer; cluster[0] 0: none */
    uint32_t shared_bytes;                  /* dynamic */
    uint32_t cooperative;                   /* 1: the blocks of the grid may wait for each other */
} hone__gpu_launch;

/* ---- a compile ---- */
typedef struct hone__build {
    bool active;
    uint64_t request;          /* to reply to; 0: the worker's own */
    hone__process process;
    uint64_t started_ns, deadline_ns;
    char object[512];
    char text[HONE_WORKER_TEXT_MAX];
    size_t text_length;
    uint64_t text_total, text_max;
    /* result */
    hone__outcome outcome;
    double ms;
    char reason[HONE_LIMIT_REASON_BYTES];
    /* on a GPU */
    hone__gpu_launch launch;
    uint64_t source_key[2];    /* what the code depends on: equal keys are compiled once */
} hone__build;

typedef struct hone__module {
    char object[512];
    uint64_t hash[2];
    uint64_t bytes;
    bool failed;               /* equal code has failed before: not run again */
    hone__measurement failure;
    /* on a GPU */
    hone__gpu_launch launch;
    uint64_t source_key[2];
    char *answer;              /* of its measurement, for configs of equal code and launch; NULL: not measured yet */
} hone__module;

/* ---- a run in a child ---- */
typedef enum hone__stage {
    HONE_STAGE_START, HONE_STAGE_SETUP, HONE_STAGE_LOAD, HONE_STAGE_CHECK, HONE_STAGE_COMPARE, HONE_STAGE_TIME, HONE_STAGE_RECHECK,
    HONE_STAGE_DONE
} hone__stage;

/* Shared between worker and child.  The kernel may scribble on it: the worker believes nothing in it unchecked. */
typedef struct hone__slate {
    volatile int32_t stage;
    volatile int32_t subject;  /* index of the handle that runs */
    volatile uint64_t stage_since_ns;
    volatile int32_t fault_signal;
    volatile uint64_t fault_address, fault_stack, fault_vm_bytes, base_vm_bytes;
    volatile int32_t wait_status, ended;
    hone__measurement result;
    uint32_t count;
    double sample[HONE_LIMIT_SAMPLES];
} hone__slate;

typedef enum hone__trial_kind { HONE_TRIAL_MEASURE, HONE_TRIAL_COMPARE, HONE_TRIAL_REFERENCE, HONE_TRIAL_PEAK } hone__trial_kind;

typedef struct hone__trial {
    bool active;
    hone__trial_kind kind;
    uint64_t request;
    uint32_t handle[64];       /* index of modules */
    const char *object[64];
    uint32_t count;
    uint32_t rounds;
    double precision, budget_ms, incumbent_ns;
    double run_s;              /* limit of the whole child */
    pid_t pid;
    bool own_namespace;
    int text_fd, done_fd;
    char text[HONE_WORKER_TEXT_MAX];
    size_t text_length;
    uint64_t text_total;
    uint64_t started_ns, deadline_ns;
    hone__slate *slate;
} hone__trial;

typedef struct hone__worker {
    int in_fd, out_fd;
    hone__buf in;
    size_t in_done;
    bool finished;
    char dir[256];
    int janitor_fd;
    int timing_core;           /* -1: unknown, not pinned */
    int core_lock_fd;
    uint32_t parallel;
    char **compiler;           /* words of $CC or "cc" */
    hone__problem problem;
    hone__build build[HONE_WORKER_JOBS_MAX];
    hone__module *module;
    uint32_t module_count, module_capacity;
    int64_t handle_base;       /* handle of module[0]: numbers are never given twice, so that a stale one is known as such */
    uint32_t object_count;     /* for file names */
    hone__trial trial;
    cJSON *inbox;              /* array of requests not yet begun */
    struct hone_device *device;
    double peak_gbps, peak_gflops;
    bool peaks_known;
    struct hone__gpu_set *gpus; /* NULL: tunes on the CPU */
} hone__worker;

typedef void hone__launch_fn(void *const *args);

/* worker_sandbox.c */
/* Where its folder is made: $TMPDIR, else /tmp. */
const char *hone__worker_temporary(void);
bool hone__worker_dir_make(hone__worker *worker);
void hone__worker_dir_remove(const char *path);
void hone__worker_cores_choose(hone__worker *worker);
/* Start a child in a PID namespace of its own if the system allows; as fork. */
pid_t hone__fork_contained(bool *own_namespace);
/* In the child: no new processes, no signals to others, no leaving the process group. */
void hone__deny_processes(void);

/* worker_problem.c */
/* For language "c" buffers are mapped and inputs filled; for "cuda" arguments are only described. */
hone_status hone__problem_read(hone__problem *problem, const cJSON *request, const char *language, hone_error *err);
void hone__problem_clear(hone__problem *problem);

/* worker_compile.c */
hone_status hone__build_start(hone__worker *worker, hone__build *build, const char *source_file, const cJSON *defines, const cJSON *options,
                              hone_error *err);
/* Read its output, enforce limits; true when it has ended and outcome and reason are set. */
bool hone__build_step(hone__build *build);
void hone__build_wait(hone__build *build);
void hone__build_kill(hone__build *build);
hone_status hone__source_write(const hone__worker *worker, const char *file, const hone__problem *problem, const char *source,
                               const char *source_path, const char *entry, hone_error *err);

/* worker_trial.c */
hone_status hone__trial_start(hone__worker *worker, hone__trial *trial, hone_error *err);
bool hone__trial_step(hone__trial *trial, const hone__problem *problem); /* true: ended; slate->result holds the outcome */
void hone__trial_wait(hone__trial *trial, const hone__problem *problem);
void hone__trial_end(hone__trial *trial);  /* kill and free */

/* worker_timing.c: in the child. */
void hone__trial_child(hone__worker *worker, hone__trial *trial);
void hone__stage_set(hone__slate *slate, hone__stage stage);
const char *hone__stage_name(int32_t stage);

/* worker_sampling.c */
/* Clearly slower than the incumbent (0: there is none); `low` is the lower end of the median's interval, 0 when unknown. */
bool hone__sampling_hopeless(const double *sample, uint32_t count, double low, double incumbent);
/* Known as precisely as wanted. */
bool hone__sampling_enough(const hone__summary *summary, uint32_t count, double precision, double incumbent);

/* worker.c */
/* Write a line to the client and free it. */
void hone__worker_line(hone__worker *worker, hone__buf *line);
void hone__worker_refuse(hone__worker *worker, uint64_t id, const char *stage, const char *code, const char *message);
/* The same with a measurement's outcome, reason and limits; handle -1: no config to name. */
void hone__worker_refuse_result(hone__worker *worker, uint64_t id, const char *stage, const hone__measurement *result, int64_t handle);
void hone__worker_forget(hone__worker *worker);

/* worker_reference.c: compile and run the reference, keep its outputs. */
hone_status hone__worker_reference(hone__worker *worker, const cJSON *reference, double *ms, hone_error *err);

/* worker_peaks.c */
void hone__worker_peaks(hone__worker *worker);
double hone__peak_call(void *library, int which);

#endif
