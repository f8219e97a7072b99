/* tuning.h: the state of one tuning under way, shared by the files of this room: setup.c and neighbours.c make it, session.c remembers it across
 * processes, tune.c runs it, result.c turns its end into an entry. */
#ifndef HONE_TUNING_H
#define HONE_TUNING_H

#include "tune.h"

/* A trial that an earlier process measured. */
typedef struct hone__known {
    hone__config config;
    hone__measurement result;
    uint32_t order;                    /* in the journal */
} hone__known;

/* Who wants a key tuned. */
typedef enum hone__tune_reason {
    HONE_TUNE_ASKED,                   /* somebody called hone_tune */
    HONE_TUNE_LAUNCH,                  /* a launch found nothing good enough */
    HONE_TUNE_RECHECK                  /* a launch found what was measured under other software */
} hone__tune_reason;

typedef struct hone__tuning {
    hone_cache *cache;                 /* for writing; NULL when only a prompt is wanted */
    const hone_cache *reader;          /* for reading; may be NULL then too */
    const hone_kernel *kernel;
    const hone_device *caller_device;
    hone_device *own_device;           /* that one, when the caller gave none */
    hone_tune_options options;         /* defaults filled in */
    const char *strategy_name;         /* "hybrid", "lfbo", "llm", "random", "exhaustive" */
    const char *search_name;           /* as asked: "auto", ... */
    hone_problem problem;
    int64_t sizes[HONE_SIZES_MAX];
    hone__key key;
    hone_device *device;               /* with peaks */
    hone__bound *bound;
    hone__bench *bench;
    bool asked_for_peaks;              /* when it was started, before the device was known */
    hone__llm *llm;
    hone__strategy *strategy;
    hone__tune_reason reason;
    hone__entry stored;                /* what the cache's own file has for this key: not good enough, and superseded by what is found */
    bool has_stored;
    hone__config incumbent;            /* the best of what is known for this key: measured first, and a finalist */
    bool has_incumbent;
    hone__neighbour *neighbour;
    uint32_t neighbour_count;
    hone__evidence *evidence;          /* trials of the nearest neighbours, from the journal */
    uint32_t evidence_count;
    hone__config *seed;                /* author seeds valid here */
    uint32_t seed_count;
    double flops, bytes, limit_ns;     /* roofline of one run; 0 unknown */
    bool limit_verified;

    uint32_t session_number;
    hone__session session;
    bool session_open;
    bool claimed, lost;                /* the claim; another has it now, because this process was stopped beyond its lease */
    hone__known *known;                /* sorted by config */
    uint32_t known_count;
    hone__exchange *exchange;          /* of the session that is resumed, by index */
    uint32_t exchange_count;
    uint32_t journalled;               /* trials of this session already in the journal */

    uint64_t started_ns;
    double earlier_s;                  /* spent by earlier processes on this session */
    uint64_t claim_looked_ns, claim_renewed_ns;
    hone__proposal *trial;             /* told so far, in order, with results */
    hone__measurement *result;
    uint64_t *ticket;                  /* what the evaluator's client knows each trial by; finalists get another one if they run again */
    bool *from_journal;
    uint32_t trials, trials_capacity;
    uint64_t next_ticket;
    uint32_t failed, resumed;
    uint32_t best;                     /* index in trial; UINT32_MAX */
    double default_ns;
    char stop[160];
    char warning[256];
    const char *phase;
    bool late;                         /* given up before anything was measured, because the time was over */
} hone__tuning;

/* ---- tune.c ---- */
hone_status hone__tune(char **json, hone_cache *cache, const hone_kernel *kernel, const hone_device *device, const hone_problem *problem,
                       const hone_tune_options *options, hone__tune_reason reason, hone_error *err);

/* ---- claimed.c ---- */
/* Claim the key.  HONE_E_BUSY: another process tunes it.  A cache that cannot hold a claim does not stop a tuning. */
hone_status hone__tuning_claim(hone__tuning *tuning, hone_error *err);
/* Keep the claim alive; false: it is lost, and another process tunes or has tuned the key. */
bool hone__tuning_keep_claim(hone__tuning *tuning);

/* ---- known.c ---- */
/* Is there an exact answer of enough effort, in the cache's file or in a pack under it?  A thorough result serves a quick request, never the
 * reverse.  *match: what a look-up finds. */
bool hone__tuning_answered(const hone__tuning *tuning, hone_match *match, hone__entry *entry);
/* The same after the claim was taken: between our look and our claim another process may have finished, and a key is tuned once. */
bool hone__tuning_answered_meanwhile(const hone__tuning *tuning, hone_match *match, hone__entry *entry);
/* What is known of the key and not good enough: the tuning starts from it. */
void hone__tuning_recall(hone__tuning *tuning);
bool hone__tuning_is_incumbent(const hone__tuning *tuning, uint32_t trial);
/* Store the result: over what it started from, if that was measured beside it. */
hone_status hone__tuning_store(hone__tuning *tuning, const hone__entry *entry, hone_error *err);

/* ---- failed.c ---- */
/* A key that could not be tuned is left alone for a while. */
hone_status hone__tuning_refuse_failure(const hone__tuning *tuning, hone_error *err);
/* None of its configs ran: for an hour, and twice as long each time again, up to a week. */
void hone__tuning_remember_hopeless(hone__tuning *tuning, const char *reason);
/* Something else ended a tuning that a launch had asked for: not at once again, but for one minute, two, four, up to half an hour.  Who calls
 * hone_tune is not kept waiting by this. */
void hone__tuning_remember_fault(hone__tuning *tuning, hone_status status, const char *reason);

/* ---- tuner.c ---- */
/* A handle of the caller's own on the same file and packs: its claims are told apart from those of others in this process.  `outlives`: it may be
 * used after the other one is closed, when the bytes of packs in memory may be gone. */
hone_status hone__tuning_own_handle(hone_cache **out, const hone_cache *cache, bool outlives, hone_error *err);

/* ---- setup.c ---- */
hone_status hone__tuning_options(hone_tune_options *out, const hone_tune_options *given, hone_error *err);
/* The problem and its sizes; NULL: the kernel's default.  HONE_E_ARG: it is none of this kernel. */
hone_status hone__tuning_problem(hone__tuning *tuning, const hone_problem *problem, hone_error *err);
/* When the caller gave no device: the one that the kernel is tuned on.  Leaves an evaluator that had to be asked running. */
hone_status hone__tuning_own_device(hone__tuning *tuning, hone_error *err);
/* The device with its peaks: from the cache's note, else measured by the evaluator's hello and noted. Also leaves the evaluator running. */
hone_status hone__tuning_device(hone__tuning *tuning, hone_error *err);
/* Measure the peaks a second time and keep the higher: on a busy machine the first reading may be low, and a search must not end at a
 * limit that is none. */
void hone__tuning_verify_peaks(hone__tuning *tuning);
hone_status hone__tuning_seeds(hone__tuning *tuning, hone_error *err);
void hone__tuning_roofline(hone__tuning *tuning);
hone_status hone__tuning_llm(hone__tuning *tuning, hone_error *err);
void hone__tuning_clear(hone__tuning *tuning);

/* ---- neighbours.c ---- */
/* The nearest entries of the kernel, and the trials behind them.  A cache that cannot be read has none. */
void hone__tuning_neighbours(hone__tuning *tuning);

/* ---- session.c ---- */
/* Go on with an unfinished session of the same course, or begin one (taking over what an unfinished one of another course measured). */
hone_status hone__session_resume(hone__tuning *tuning, hone_error *err);
const hone__known *hone__session_find(const hone__tuning *tuning, const hone__config *config);
void hone__session_trial(hone__tuning *tuning, const hone__proposal *proposal, const hone__measurement *result, bool from_journal);
void hone__session_save(hone__tuning *tuning, bool done);
hone__exchange_log hone__session_log(hone__tuning *tuning);

/* ---- result.c ---- */
/* The effort that a trial budget stands for: less than 100 quick, less than 500 standard. */
hone__effort hone__effort_wanted(const hone_tune_options *options);
double hone__tuning_elapsed(const hone__tuning *tuning);
/* Measure the best interleaved, choose, store. */
hone_status hone__tuning_finish(hone__tuning *tuning, hone__entry *entry, hone_error *err);
hone_status hone__result_json(char **json, const hone__entry *entry, const hone__tuning *tuning, hone_match before, bool tuned,
                              hone_error *err);
/* Progress; true when the caller wants to cancel.  Also keeps the claim alive. */
bool hone__tuning_tick(hone__tuning *tuning, const char *event);
/* The time budget ended a while ago: what is still in hand hangs, and is given up. */
bool hone__tuning_overdue(const hone__tuning *tuning);
/* For what takes time before the first trial: non-zero when the caller cancels, or when the tuning is overdue; then `late` is set. */
int hone__tuning_start_tick(void *user);

#endif
