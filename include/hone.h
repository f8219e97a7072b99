/* hone.h: the one public header of Hone.  SPDX-License-Identifier: Apache-2.0
 *
 * Hone remembers how to launch GPU kernels fast.  A program asks, at launch time, "which config for this
 * kernel, these sizes, this device?" (hone_lookup) and gets the best known answer from a cache.  Only when
 * nobody has ever answered does it tune (hone_tune): it prompts a language model for configs, measures them in a
 * separate process, feeds the results back for a few rounds, verifies, and stores the winner.
 *
 * GUARANTEES
 *  - No config is ever returned that the kernel registered by the caller does not allow for the problem at hand:
 *    whatever a cache holds is validated against the caller's own space first.
 *  - A cache fault (damage, full disk, foreign lock, stopped writer) is a miss with a reason, never an abort.
 *  - The library does not print, exit, install signal handlers, change the locale or start threads.
 *
 * CAVEATS
 *  - Symptom: HONE_E_FORKED.  A cache opened before fork() was used in the child.  Fix: open after fork.
 *  - Symptom: HONE_E_NETFS on open.  The path is on a network or FUSE filesystem, where LMDB is not safe.
 *    Fix: put the cache on a local disk; HONE_CACHE names another place.
 *  - Symptom: HONE_E_BUSY from a store.  Another process held the writer lock beyond the deadline, perhaps stopped by a
 *    debugger.  Fix: none needed; the answer was used and only not remembered.
 *  - Symptom: a cache file grows although its content does not.  A reader holds an old snapshot.  Fix: do not stop
 *    (SIGSTOP) processes that iterate.
 *  - One process opens one cache file once; a second hone_cache_open of the same file shares the first.
 *
 * CONVENTIONS
 *  - A function that can fail returns hone_status: HONE_OK (0) or a negative code.  `hone_error *err` MAY be NULL;
 *    otherwise it is filled on failure.  Pointers set through `**out` belong to the caller and are NULL after a failure;
 *    pointers returned directly are borrowed and live as long as the object they came from.  Every free accepts NULL.
 *  - `const T *` MAY be used by many threads at once; `T *` needs exclusive use.
 *  - Strings are UTF-8, NUL-terminated.  Text returned through `char **` is freed with hone_free().
 *  - Options structs start with struct_size; initialise them with their _INIT macro.  Zero means "the default".
 */
#ifndef HONE_H
#define HONE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HONE_API __attribute__((visibility("default")))
#define HONE_NODISCARD __attribute__((warn_unused_result))
#else
#define HONE_API
#define HONE_NODISCARD
#endif

/* ---- version ------------------------------------------------------------------------------------------- */

#define HONE_VERSION_MAJOR 0
#define HONE_VERSION_MINOR 1
#define HONE_VERSION_PATCH 0
#define HONE_VERSION_STRING "0.1.0"

/** The version of the library that is linked, e.g. "0.1.0". */
HONE_API const char *hone_version(void);

/* ---- errors -------------------------------------------------------------------------------------------- */

/** Every status code: name, value, text.  Codes are append-only, grouped by tens and never reused. */
#define HONE_STATUS_MAP(X)                                                                                   \
    X(OK, 0, "success")                                                                                      \
    X(E_ARG, -10, "invalid argument")                                                                        \
    X(E_UNSUPPORTED, -11, "not supported by this version or build")                                          \
    X(E_FORKED, -12, "handle used in a forked child")                                                        \
    X(E_STATE, -13, "call not valid in this state")                                                          \
    X(E_NOTFOUND, -20, "not found")                                                                          \
    X(E_EXISTS, -21, "exists already")                                                                       \
    X(E_IO, -30, "input/output error")                                                                       \
    X(E_NOSPACE, -31, "no space left on device")                                                             \
    X(E_PERM, -32, "permission denied")                                                                      \
    X(E_NETFS, -33, "network filesystem refused")                                                            \
    X(E_UNSAFE, -34, "file or directory not trusted")                                                        \
    X(E_SPEC, -40, "mistake in a kernel spec")                                                               \
    X(E_JSON, -41, "malformed JSON")                                                                         \
    X(E_CORRUPT, -42, "corrupt data")                                                                        \
    X(E_VERSION, -43, "format version not supported")                                                        \
    X(E_CONFIG, -44, "config outside the config space")                                                      \
    X(E_EXPR, -45, "expression cannot be evaluated")                                                         \
    X(E_STORE, -50, "cache store error")                                                                     \
    X(E_BUSY, -51, "busy beyond the deadline")                                                               \
    X(E_FULL, -52, "cache is full")                                                                          \
    X(E_NODEVICE, -60, "no such device")                                                                     \
    X(E_NODRIVER, -61, "GPU driver not available")                                                           \
    X(E_EVALUATOR, -62, "evaluator failed")                                                                  \
    X(E_NOVALID, -63, "no config could be measured")                                                         \
    X(E_NETWORK, -70, "network error")                                                                       \
    X(E_PROVIDER, -71, "model provider refused or failed")                                                   \
    X(E_REPLY, -72, "model reply not usable")                                                                \
    X(E_NOMODEL, -73, "no model configured")                                                                 \
    X(E_LIMIT, -80, "limit exceeded")                                                                        \
    X(E_TIMEOUT, -81, "deadline passed")                                                                     \
    X(E_CANCELLED, -82, "cancelled")                                                                         \
    X(E_NOMEM, -90, "out of memory")                                                                         \
    X(E_BUG, -99, "internal error")

typedef enum hone_status {
#define HONE_STATUS_ENUM(name, value, text) HONE_##name = value,
    HONE_STATUS_MAP(HONE_STATUS_ENUM)
#undef HONE_STATUS_ENUM
} hone_status;

/** What went wrong, in the caller's storage; no heap.  `message` names the object and the way out, in one line. */
typedef struct hone_error {
    int32_t code;          /* hone_status */
    int32_t os_code;       /* errno, CURLcode, LMDB or HTTP status code; 0 when there is none */
    char subsystem[16];    /* the room that noticed: "space", "cache", "llm", ... */
    char message[512];
} hone_error;

/** The fixed text of a status, e.g. "not found"; "unknown status" for others.  Never NULL. */
HONE_API const char *hone_status_text(hone_status status);
/** The name of a status, e.g. "E_NOTFOUND". */
HONE_API const char *hone_status_name(hone_status status);

/** Free text that the library returned through `char **`. */
HONE_API void hone_free(void *text);

/* ---- logging ------------------------------------------------------------------------------------------- */

typedef enum hone_log_level {
    HONE_LOG_ERROR = 1, /* a promise was broken */
    HONE_LOG_WARN = 2,  /* degraded: a fallback was taken */
    HONE_LOG_INFO = 3,  /* once per object life */
    HONE_LOG_DEBUG = 4  /* per operation */
} hone_log_level;

/** Called on the thread that uses the library.  `message` is one line without secrets, valid during the call. */
typedef void hone_log_fn(hone_log_level level, const char *subsystem, const char *message, void *user);

/** Set the process-wide log callback (NULL, the default: silent).  Not thread-safe: call before other calls. */
HONE_API void hone_set_log(hone_log_fn *fn, hone_log_level max_level, void *user);

/* ---- kernels and problems ------------------------------------------------------------------------------- */

typedef struct hone_kernel hone_kernel;

/** Read a kernel spec (spec/kernel.md) and the files that it names.
 *  Blocks on file reads only.  Errors: HONE_E_IO, HONE_E_JSON, HONE_E_SPEC (message: file, JSON pointer, way out). */
HONE_API HONE_NODISCARD hone_status hone_kernel_load(hone_kernel **out, const char *path, hone_error *err);
/** The same from memory.  `base_dir` resolves relative paths (NULL: current directory); `label` names it in errors. */
HONE_API HONE_NODISCARD hone_status hone_kernel_parse(hone_kernel **out, const char *json, size_t json_bytes,
                                                      const char *base_dir, const char *label, hone_error *err);
HONE_API void hone_kernel_free(hone_kernel *kernel);
HONE_API const char *hone_kernel_name(const hone_kernel *kernel);
HONE_API const char *hone_kernel_language(const hone_kernel *kernel);
HONE_API uint32_t hone_kernel_size_count(const hone_kernel *kernel);
HONE_API const char *hone_kernel_size_name(const hone_kernel *kernel, uint32_t index);
HONE_API uint32_t hone_kernel_param_count(const hone_kernel *kernel);
HONE_API const char *hone_kernel_param_name(const hone_kernel *kernel, uint32_t index);
/** Index of a parameter, for hone_config_int(); UINT32_MAX when there is none of that name. */
HONE_API uint32_t hone_kernel_param_index(const hone_kernel *kernel, const char *name);

#define HONE_SIZES_MAX 32u

/** The sizes of one launch, in the order of the kernel's spec.  Plain data: copy it, keep it on the stack. */
typedef struct hone_problem {
    uint32_t struct_size;
    uint32_t count;
    int64_t size[HONE_SIZES_MAX];
} hone_problem;

/** Fill with the kernel's default sizes. */
HONE_API void hone_problem_init(const hone_kernel *kernel, hone_problem *problem);
/** Set one size by name.  Errors: HONE_E_ARG (no such size, or outside its min..max; message names the choices). */
HONE_API HONE_NODISCARD hone_status hone_problem_set(const hone_kernel *kernel, hone_problem *problem, const char *name,
                                                     int64_t value, hone_error *err);

/* ---- devices ------------------------------------------------------------------------------------------- */

typedef struct hone_device hone_device;

/** Identify a device: "cpu", "cuda:0"; NULL: the first GPU, or the CPU when there is none.
 *  Errors: HONE_E_NODEVICE, HONE_E_NODRIVER, HONE_E_ARG. */
HONE_API HONE_NODISCARD hone_status hone_device_open(hone_device **out, const char *name, hone_error *err);
/** The device that tuning `kernel` uses: the named one, the CPU for language "c", a GPU for "cuda"; for "external" what the
 *  kernel's evaluator (or `evaluator`, a command line, if not NULL) says in its hello.  Starts that evaluator. */
HONE_API HONE_NODISCARD hone_status hone_device_for(hone_device **out, const hone_kernel *kernel, const char *name,
                                                    const char *evaluator, hone_error *err);
HONE_API void hone_device_free(hone_device *device);
/** Identity and description as JSON: {"id", "kind", "name", "identity": {...}, "description": {...}}. */
HONE_API HONE_NODISCARD hone_status hone_device_json(const hone_device *device, char **json, hone_error *err);
HONE_API const char *hone_device_name(const hone_device *device);

/* ---- configs ------------------------------------------------------------------------------------------- */

/** One value for each parameter of a kernel.  Borrowed: lives as long as what returned it. */
typedef struct hone_config hone_config;

/** Integer value of parameter `index` (bool: 0 or 1); of element 0 for lists.  0 for strings and bad indices. */
HONE_API int64_t hone_config_int(const hone_config *config, uint32_t index);
/** Element `element` of a list or permutation. */
HONE_API int64_t hone_config_element(const hone_config *config, uint32_t index, uint32_t element);
/** String value, or NULL when the parameter is not a string. */
HONE_API const char *hone_config_string(const hone_config *config, uint32_t index);
/** Number value as double (for enums of non-integers). */
HONE_API double hone_config_number(const hone_config *config, uint32_t index);
/** The whole config as compact JSON, in the space's order. */
HONE_API HONE_NODISCARD hone_status hone_config_json(const hone_config *config, char **json, hone_error *err);

/* ---- caches and look-ups ------------------------------------------------------------------------------- */

typedef struct hone_cache hone_cache;

typedef struct hone_cache_options {
    uint32_t struct_size;
    uint32_t read_only;           /* 1: never write; the file MUST exist */
    uint64_t map_bytes_max;       /* largest size of the file; default 1 GiB */
    uint32_t writer_wait_ms;      /* longest wait for another writer; default 250 */
    uint32_t allow_network_fs;    /* 1: open on a network filesystem all the same; at your own risk */
    uint32_t durable;             /* 1: survive power loss at each commit; default: at most the last commit is lost */
} hone_cache_options;
#define HONE_CACHE_OPTIONS_INIT {sizeof(hone_cache_options), 0, 0, 0, 0, 0}

/** Open (and create) a cache.  `path` NULL: $HONE_CACHE, else $XDG_CACHE_HOME/hone/cache.hone, else ~/.cache/hone/cache.hone.
 *  A damaged or foreign file is set aside as PATH.corrupt-TIME with a warning, unless read_only.
 *  Errors: HONE_E_IO, HONE_E_PERM, HONE_E_NETFS, HONE_E_UNSAFE (owner or mode), HONE_E_CORRUPT, HONE_E_VERSION, HONE_E_NOSPACE. */
HONE_API HONE_NODISCARD hone_status hone_cache_open(hone_cache **out, const char *path, const hone_cache_options *options,
                                                    hone_error *err);
HONE_API void hone_cache_close(hone_cache *cache);
HONE_API const char *hone_cache_path(const hone_cache *cache);

typedef enum hone_match {
    HONE_MATCH_NONE = 0,
    HONE_MATCH_EXACT = 1,       /* this kernel, problem and device */
    HONE_MATCH_NEAR_SHAPE = 2,  /* this kernel and device, near sizes, valid here */
    HONE_MATCH_NEAR_DEVICE = 3, /* this kernel and problem, closest device of the same architecture */
    HONE_MATCH_DEFAULT = 4      /* the author's default */
} hone_match;
/** "exact", "near_shape", "near_device", "default", "none". */
HONE_API const char *hone_match_name(hone_match match);

typedef struct hone_answer hone_answer;

/** The best known config.  Always answers when the default is valid for the problem: a damaged or busy cache degrades to a
 *  worse tier.  `cache` MAY be NULL (then the default).  The kernel MUST outlive the answer.  Errors: HONE_E_ARG, HONE_E_CONFIG (not even the default is valid). */
HONE_API HONE_NODISCARD hone_status hone_lookup(hone_answer **out, const hone_cache *cache, const hone_kernel *kernel,
                                                const hone_device *device, const hone_problem *problem, hone_error *err);
HONE_API void hone_answer_free(hone_answer *answer);
HONE_API hone_match hone_answer_match(const hone_answer *answer);
HONE_API const hone_config *hone_answer_config(const hone_answer *answer);
/** Measured time of one run in milliseconds; 0 when unknown (default). */
HONE_API double hone_answer_time_ms(const hone_answer *answer);
/** The whole answer as JSON (spec/json.md, "lookup"): tier, distance, layer, age, effort, times, why better tiers did not match. */
HONE_API HONE_NODISCARD hone_status hone_answer_json(const hone_answer *answer, char **json, hone_error *err);
/** Every tier and layer, matched or not and why, field by field, as JSON (spec/json.md, "explain"). */
HONE_API HONE_NODISCARD hone_status hone_explain(char **json, const hone_cache *cache, const hone_kernel *kernel,
                                                 const hone_device *device, const hone_problem *problem, hone_error *err);

/* ---- looking into caches ------------------------------------------------------------------------------- */

/** Called once an entry with its JSON (spec/json.md, "entry"); a non-zero return stops.  No transaction is open meanwhile. */
typedef int hone_entry_fn(const char *entry_json, void *user);
/** Every entry, in key order.  Damaged records are skipped and counted in *damaged (MAY be NULL). */
HONE_API HONE_NODISCARD hone_status hone_cache_each(const hone_cache *cache, hone_entry_fn *fn, void *user, uint64_t *damaged,
                                                    hone_error *err);
/** One entry with its alternatives, trials and kernel text, as JSON (spec/json.md, "show").  `key` is the hexadecimal key or an
 *  unambiguous beginning of it (at least 4 digits).  Errors: HONE_E_NOTFOUND, HONE_E_ARG (ambiguous). */
HONE_API HONE_NODISCARD hone_status hone_cache_show(char **json, const hone_cache *cache, const char *key, hone_error *err);
/** Counts, sizes and counters that survive restarts, as JSON (spec/json.md, "stats"). */
HONE_API HONE_NODISCARD hone_status hone_cache_stats(char **json, const hone_cache *cache, hone_error *err);

/* ---- tuning -------------------------------------------------------------------------------------------- */

/** What a tuning tells while it runs.  Strings are valid during the call. */
typedef struct hone_progress {
    uint32_t struct_size;
    uint32_t trials;          /* measured so far, failed ones included */
    uint32_t trials_max;      /* the budget */
    uint32_t failed;
    uint32_t resumed;         /* taken from the journal */
    uint32_t round;           /* of the model; 0 before the first answer */
    double elapsed_s;
    double max_time_s;        /* 0: none */
    double best_ms;           /* 0 while nothing has run */
    double default_ms;
    const char *phase;        /* "start", "search", "waiting for the model", "finalists", "done" */
    const char *event;        /* one line about what just happened; NULL for a mere tick */
} hone_progress;
/** Called on the tuning thread, as things happen and about once a second between; not while the evaluator starts and prepares, which may take
 *  seconds.  A non-zero return cancels: everything measured stays in the journal. */
typedef int hone_progress_fn(const hone_progress *progress, void *user);

typedef struct hone_tune_options {
    uint32_t struct_size;
    uint32_t force;               /* 1: tune although the cache has an exact answer, and measure afresh */
    const char *search;           /* "auto" (default, or $HONE_AUTOTUNER), "hybrid", "lfbo", "llm", "random", "exhaustive" */
    const char *evaluator;        /* command line of an evaluator; NULL: the spec's, or the built-in worker */
    const char *worker;           /* program that runs the built-in worker as `PROGRAM worker`; NULL: $HONE_WORKER, then `hone` in PATH */
    uint32_t trials_max;          /* default 200 */
    uint32_t rounds_max;          /* of the model; default 4 */
    double time_max_s;            /* 0: none */
    uint64_t seed;                /* default 1 */
    uint64_t tokens_max;          /* of the whole tuning; 0: none */
    double roofline_stop;         /* stop within this fraction of the roofline, e.g. 0.97; 0: default 0.97; negative: never.  Memory counts as a
                                   * limit only where one run moves at least 8 times the last cache */
    /* The model; NULL: from the environment (HONE_LLM_PROVIDER, HONE_LLM_MODEL, HONE_LLM_API_BASE, HONE_LLM_CA_BUNDLE,
     * HONE_LLM_CLIENT_CERT, HONE_LLM_CLIENT_KEY, HONE_LLM_COMMAND, HONE_LLM_MAILBOX). */
    const char *llm_provider;     /* "openai", "chat", "anthropic", "command", "mailbox", "replay" */
    const char *llm_model;
    const char *llm_api_base;
    const char *llm_command;
    const char *llm_mailbox;      /* folder */
    const char *llm_replay;       /* a transcript file, answered from instead of a model */
    const char *transcript;       /* write the transcript (JSON lines, spec/transcript.md) here; NULL: none */
    uint32_t configs_per_round;   /* asked of the model; default 15 */
    uint32_t llm_timeout_s;       /* per request with its retries; default 300 */
    hone_progress_fn *progress;
    void *user;
} hone_tune_options;
#define HONE_TUNE_OPTIONS_INIT /* every member, so that C and C++ take it without a warning */                \
    {sizeof(hone_tune_options), 0, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL}

/** Make sure that the cache has an exact answer, tuning when it has none; the result as JSON (spec/json.md, "tune").
 *  Blocks for as long as the options allow.  Creates processes (evaluator, compilers).  On HONE_E_CANCELLED, HONE_E_NETWORK,
 *  HONE_E_PROVIDER, HONE_E_TIMEOUT everything measured is in the journal and the next call goes on from there.
 *  Errors besides: HONE_E_NOVALID, HONE_E_EVALUATOR, HONE_E_SPEC (the reference does not compile or run), HONE_E_CONFIG, HONE_E_NOMODEL,
 *  HONE_E_BUSY (another process tunes this key). */
HONE_API HONE_NODISCARD hone_status hone_tune(char **json, hone_cache *cache, const hone_kernel *kernel,
                                              const hone_device *device, const hone_problem *problem,
                                              const hone_tune_options *options, hone_error *err);

/** Exactly what the model would be sent first, as JSON {"provider","model","system","user",...}; sends nothing, starts nothing
 *  but the evaluator's hello.  `cache` MAY be NULL. */
HONE_API HONE_NODISCARD hone_status hone_prompt(char **json, const hone_cache *cache, const hone_kernel *kernel,
                                                const hone_device *device, const hone_problem *problem,
                                                const hone_tune_options *options, hone_error *err);

/* ---- simulation ---------------------------------------------------------------------------------------- */

typedef struct hone_simulate_options {
    uint32_t struct_size;
    uint32_t trials_max;          /* of one repeat; default 200 */
    uint32_t repeat;              /* default 1; repeat number i runs with seed + i */
    uint32_t transfer_count;
    const char *search;           /* as in hone_tune_options; default "auto" */
    uint64_t seed;                /* default 1 */
    double noise;                 /* multiplicative, standard deviation of each measurement, e.g. 0.03; default 0 */
    const char *const *transfer;  /* files: other recorded spaces of the same kernel, nearest first; their trials stand in for a cache */
    const hone_tune_options *model; /* how "llm" and "hybrid" reach a model: its llm_* members, rounds_max, tokens_max, configs_per_round and
                                     * transcript count, nothing else; NULL: from the environment */
    const char *about;            /* text about kernel and device for the model's prompt, beside what the file says; NULL: none */
} hone_simulate_options;
#define HONE_SIMULATE_OPTIONS_INIT {sizeof(hone_simulate_options), 0, 0, 0, NULL, 0, 0, NULL, NULL, NULL}

/** Called with one JSON line; valid during the call.  A non-zero return stops. */
typedef int hone_line_fn(const char *json, void *user);

/** Run a search strategy on a recorded space (a file as spec/space.md says, gzip or plain): each proposed config is looked up instead of
 *  measured.  Calls `fn` once a repeat with {"space","search","repeat","best":[...],"optimum",...} (spec/json.md, "simulate").  Needs neither
 *  cache nor device.  Strategies that ask a model get a prompt made from the file's names, values, constants and restrictions.  Errors:
 *  HONE_E_NOMODEL, HONE_E_NETWORK, HONE_E_PROVIDER, HONE_E_CORRUPT, HONE_E_JSON, HONE_E_LIMIT (the file), HONE_E_ARG, HONE_E_IO, HONE_E_NOTFOUND. */
HONE_API HONE_NODISCARD hone_status hone_simulate(const char *path, const hone_simulate_options *options, hone_line_fn *fn, void *user,
                                                  hone_error *err);

/** The built-in evaluator: speaks spec/evaluator.md on stdin and stdout until bye or end of file; returns an exit status.
 *  A program that links Hone and has no `hone` command beside it MAY call this early in main when argv[1] is "worker"
 *  and name itself in hone_tune_options.worker.  This function is a process's whole life: it forks, and kills its children. */
HONE_API int hone_worker_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif
#endif
