/* bench_internal.h: what the files of the evaluator client share.  bench.c schedules, bench_channel.c moves lines, bench_reply.c
 * distrusts what comes back, bench_compare.c settles finalists. */
#ifndef HONE_BENCH_INTERNAL_H
#define HONE_BENCH_INTERNAL_H

#include "bench.h"
#include "utf8.h"
#include "process.h"

#define HONE_BENCH_PROTOCOL 1
#define HONE_BENCH_MARGIN_S 5.0        /* beyond the evaluator's own limits */
#define HONE_BENCH_KNOWN_MAX 64u       /* configs that can still be compared: the fastest are kept */
#define HONE_BENCH_RESTARTS_NEW 5u     /* in a row, while no config has ever come to a result */
#define HONE_BENCH_RESTARTS_MAX 20u    /* in a row, later: a family of configs may crash an evaluator one by one */
#define HONE_BENCH_SAMPLE_NS_MAX 1e13  /* a sample of three hours is a lie */
#define HONE_BENCH_SAMPLE_NS_MIN 1e-3

/* ---- lines to and from a child ---- */
typedef struct hone__channel {
    hone__process process;
    hone__buf out;         /* not yet written: from out_done on */
    size_t out_done;
    hone__buf in;          /* not yet taken: from in_done on */
    size_t in_done, in_scanned;
    char *tail;            /* the last HONE_LIMIT_STDERR_BYTES of its stderr */
    size_t tail_length;
    bool out_closed;       /* its stdout is at its end */
    bool broken;           /* a line beyond the limit */
} hone__channel;

hone_status hone__channel_open(hone__channel *channel, const char *const *argv, const char *cwd, hone_error *err);
/* The same with a function of ours in the child (process.h). */
hone_status hone__channel_fork(hone__channel *channel, hone__process_body *body, void *context, hone_error *err);
void hone__channel_close(hone__channel *channel);
/* Queue one line (without the newline) and write what the pipe takes. */
hone_status hone__channel_send(hone__channel *channel, const char *line);
/* Move bytes in both directions; waits at most timeout_ms for the first. */
void hone__channel_move(hone__channel *channel, int timeout_ms);
/* Take one whole line; it is valid until the next _move.  False: none yet. */
bool hone__channel_line(hone__channel *channel, const char **line, size_t *bytes);
/* The last lines of its stderr as one line of printable text. */
void hone__channel_tail(const hone__channel *channel, char *text, size_t bytes);
/* Read what is left on stderr after its end. */
void hone__channel_drain_stderr(hone__channel *channel);

/* ---- scheduling ---- */
typedef enum hone__job_state {
    HONE_JOB_QUEUED,
    HONE_JOB_COMPILING,
    HONE_JOB_COMPILED,
    HONE_JOB_MEASURING,
    HONE_JOB_DONE
} hone__job_state;

typedef struct hone__job {
    uint64_t ticket;
    char *body;                  /* of `compile`, without the braces */
    hone__job_state state;
    hone__job_state suspect;     /* in flight at this stage when the evaluator failed together with others; QUEUED: no suspect */
    uint64_t request;            /* id of the request in flight, 0: none */
    uint64_t sent_ns;            /* when that one left */
    uint64_t deadline_ns;
    int64_t handle;
    hone__measurement result;
} hone__job;

typedef enum hone__bench_phase {
    HONE_PHASE_DOWN,
    HONE_PHASE_GREETING,
    HONE_PHASE_IDLE,             /* greeted, nothing prepared */
    HONE_PHASE_PREPARING,
    HONE_PHASE_READY,
    HONE_PHASE_DEAD              /* given up */
} hone__bench_phase;

struct hone__bench {
    char **command;              /* one block */
    char *cwd;
    char *device;
    hone__bench_options options;
    hone__channel channel;
    hone__bench_phase phase;
    cJSON *hello;                /* of the first greeting */
    bool can_compare, can_cancel;
    bool ever_result;
    uint32_t parallel;           /* compiles at a time; 0: one request at a time */
    uint32_t measures;           /* measurements at a time, beside them: equal devices, at least 1 */
    char *prepare;               /* body without the braces */
    double reference_s;          /* what prepare may take besides compiling */
    uint64_t next_request;
    uint64_t control_request;    /* hello, prepare, compare or cancel in flight */
    uint64_t control_deadline_ns;
    double control_limit_s;
    cJSON *control_reply;        /* of a compare, or of a failed hello or prepare */
    uint32_t restarts;           /* in a row */
    bool parting;                /* the last measurement was answered by a crash: the evaluator may be ending over it */
    hone_error failure;          /* why it is dead, or why the last start failed */
    char fault_reason[HONE_LIMIT_REASON_BYTES];
    hone__outcome fault_outcome; /* of the last fault */
    hone__job *queue[HONE_LIMIT_BATCH];
    uint32_t queue_count;
    hone__job *known[HONE_BENCH_KNOWN_MAX];
    uint32_t known_count;
    hone__job *dropped[HONE_LIMIT_BATCH];
    uint32_t dropped_count;
    double incumbent_ns;
};

/* One step: start or restart, send what may be sent, wait at most timeout_ms, take in replies, enforce deadlines. */
hone_status hone__bench_pump(hone__bench *bench, uint32_t timeout_ms, hone_error *err);
/* Send a control request: {"id":N,"op":OP,BODY}.  Nothing else may be in flight. */
hone_status hone__bench_control(hone__bench *bench, const char *op, const char *body, double limit_s);
hone_status hone__bench_send_compile(hone__bench *bench, hone__job *job);
hone_status hone__bench_send_measure(hone__bench *bench, hone__job *job, double budget_ms, double incumbent_ns);
uint32_t hone__bench_in_flight(const hone__bench *bench);

/* ---- replies ---- */
void hone__measurement_fail(hone__measurement *result, hone__outcome outcome, const char *reason);
/* {"error": {...}} to an outcome and a reason. */
void hone__reply_error(const cJSON *reply, hone__measurement *result);
/* A reply of `compile`: sets handle; false when it is not well formed (result then says how). */
bool hone__reply_compile(const cJSON *reply, int64_t *handle, hone__measurement *result);
void hone__reply_measure(const cJSON *reply, hone__measurement *result);
bool hone__sample_sane(const cJSON *item, double *ns);

#endif
