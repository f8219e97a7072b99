/* hone.h: the one public header of Hone.  SPDX-License-Identifier: Apache-2.0
 *
 * Hone remembers how to launch GPU kernels fast.  A program asks, before a launch, "which config for this kernel, these
 * sizes, this device?" (hone_site_lookup) and gets the best known answer: from memory within nanoseconds, the first time
 * from a cache file.  Only when nobody has ever answered does Hone tune, if the program wants that: it prompts a language
 * model for configs, measures them in a separate process, feeds the results back for a few rounds, verifies, and stores the winner.
 *
 * GUARANTEES
 *  - No config is ever returned that the kernel registered by the caller does not allow for the problem at hand:
 *    whatever a cache holds is validated against the caller's own space first.
 *  - hone_site_lookup of a problem that it has answered before takes no lock, makes no system call, does not allocate, waits for
 *    nobody and cannot fail.  Its memory is bounded however many problems are asked for.
 *  - What any process stores is noticed by the next look-up in every other; nobody has to restart or reopen.
 *  - A cache fault (damage, full disk, foreign lock, stopped writer) is a miss with a reason, never an abort.
 *  - The library does not print, exit, install signal handlers or change the locale.  It starts threads only for those who call for
 *    them, with all signals blocked (hone_tuner_start: one; hone_import, and what writes a file of more than 32 MiB: one that is gone when the call returns), and
 *    processes only to tune.
 *
 * THE SIMPLE API, in a dozen calls
 *
 *     hone_kernel_load(&kernel, "matmul.json", &err);       once for each kernel, at start
 *     hone_device_open(&device, NULL, &err);
 *     hone_cache_open(&cache, NULL, NULL, &err);            a failure is no reason to stop: a site also works with cache NULL
 *     hone_site_open(&site, cache, kernel, device, NULL, &err);
 *     block = hone_kernel_param_index(kernel, "BLOCK");
 *     hone_problem_init(kernel, &problem);
 *
 *     problem.size[0] = m;                                  before each launch
 *     config = hone_site_lookup(site, &problem, &match);    NULL: not even the author's default is valid for these sizes
 *     launch(..., hone_config_int(config, block));
 *
 *     hone_cache_close(cache);                              at the end: its sites, and all their configs, go with it
 *     hone_device_free(device); hone_kernel_free(kernel);   at any time after hone_site_open
 *
 * Tuning what is missing meanwhile is one call more: hone_tuner_start(cache, NULL, &err).  To tune beforehand: hone_tune, or the
 * command `hone tune`.  To ship what was tuned: hone_export and hone_cache_add_pack.  To know why an answer is what it is: hone_lookup
 * and hone_explain.  Programs that do all this are under tests/examples.
 *
 * CAVEATS
 *  - Symptom: HONE_E_FORKED.  A cache opened before fork() was used in the child.  Fix: open after fork.  Sites go on in the child with
 *    what they have in memory, and answer anything else with the default; a tuner stays with the parent.
 *  - Symptom: a site does not notice what others store.  It reads a cache that is not this user's to lock, hence a copy, renewed about once a
 *    second when something is asked that it does not know.  Fix: give such users a pack (hone_cache_add_pack), or write access.
 *  - Symptom: HONE_E_NETFS on open.  The path is on a network or FUSE filesystem, where LMDB is not safe.
 *    Fix: put the cache on a local disk; HONE_CACHE names another place.
 *  - Symptom: HONE_E_BUSY from a store.  Another process held the writer lock beyond the deadline, perhaps stopped by a
 *    debugger.  Fix: none needed; the answer was used and only not remembered.
 *  - Symptom: a cache file grows although its content does not, in the end HONE_E_FULL from a store.  A reader holds an old
 *    snapshot.  Fix: do not stop (SIGSTOP) processes that iterate; when such a reader is gone its pages are used again.
 *  - Symptom: HONE_E_UNSAFE on open.  File or folder belong to somebody else, may be written by others, or are links.  Fix: in
 *    the message; a cache is one user's (root's may be read by all), and others are served by packs.
 *  - Symptom: HONE_E_BUSY from tuning although its owner was killed.  Owners in other PID namespaces (containers) cannot be
 *    seen; their claim holds for its lease, two minutes, as does one that is stopped.  Fix: wait for it.
 *  - Symptom: SIGBUS in a process that has a cache open.  Another program truncated the file or wrote into it.  Fix: replace a
 *    cache by rename only; that is noticed by the next store, or within a second by a look-up that reads the file.
 *  - Symptom: the last store is gone after a power failure.  Fix: hone_cache_options.durable; a killed process loses nothing.
 *  - One process opens one cache file once; a second hone_cache_open of the same file shares the first.
 *
 * CONVENTIONS
 *  - A function that can fail returns hone_status: HONE_OK (0) or a negative code.  `hone_error *err` MAY be NULL;
 *    otherwise it is filled on failure.  Pointers set through `**out` belong to the caller and are NULL after a failure;
 *    pointers returned directly are borrowed and live as long as the object they came from.  Every free accepts NULL.
 *  - `const T *` MAY be used by many threads at once; `T *` needs exclusive use, but for what is said at hone_site_open and
 *    hone_tuner_start.
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

/** The version of the library that is linked, e.g. "0.1.0"; compare with HONE_VERSION_STRING, that of the header.  A constant. */
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

/** The fixed text of a status, e.g. "not found"; "unknown status" for others.  Never NULL; a constant. */
HONE_API const char *hone_status_text(hone_status status);
/** The name of a status without its prefix, e.g. "E_NOTFOUND"; "E_UNKNOWN" for others.  Never NULL; a constant. */
HONE_API const char *hone_status_name(hone_status status);

/** Free text that the library returned through `char **`; nothing else, as it need not be from the program's own heap.  NULL is allowed. */
HONE_API void hone_free(void *text);

/* ---- logging ------------------------------------------------------------------------------------------- */

typedef enum hone_log_level {
    HONE_LOG_ERROR = 1, /* a promise was broken */
    HONE_LOG_WARN = 2,  /* degraded: a fallback was taken */
    HONE_LOG_INFO = 3,  /* once per object life */
    HONE_LOG_DEBUG = 4  /* per operation */
} hone_log_level;

/** Called on the thread that does the work: the caller's, a tuner's (hone_tuner_start) or the writing one of hone_import.
 *  `message` is one line without secrets, valid during the call. */
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
/** Let go of a kernel.  Sites that were opened with it hold it themselves; answers (hone_lookup) do not, and MUST be freed before.  Exclusive. */
HONE_API void hone_kernel_free(hone_kernel *kernel);

/* What a kernel says of itself.  It never changes after hone_kernel_load, so any number of threads MAY ask; texts live as long as the kernel.  None of
 * these blocks, allocates or fails. */

/** The spec's "name".  Never NULL. */
HONE_API const char *hone_kernel_name(const hone_kernel *kernel);
/** The spec's "language": "cuda", "c" or "external".  Never NULL. */
HONE_API const char *hone_kernel_language(const hone_kernel *kernel);
/** How many sizes a problem of this kernel has: hone_problem.count, at most HONE_SIZES_MAX. */
HONE_API uint32_t hone_kernel_size_count(const hone_kernel *kernel);
/** Name of the size at `index`, in the spec's order, which is that of hone_problem.size; NULL beyond the last. */
HONE_API const char *hone_kernel_size_name(const hone_kernel *kernel, uint32_t index);
/** How many parameters a config of this kernel has. */
HONE_API uint32_t hone_kernel_param_count(const hone_kernel *kernel);
/** Name of the parameter at `index`, in the spec's order, which is that of hone_config_int(); NULL beyond the last. */
HONE_API const char *hone_kernel_param_name(const hone_kernel *kernel, uint32_t index);
/** Index of a parameter, for hone_config_int(); UINT32_MAX when there is none of that name.  Compares names one by one: ask once, at start. */
HONE_API uint32_t hone_kernel_param_index(const hone_kernel *kernel, const char *name);

#define HONE_SIZES_MAX 32u

/** The sizes of one launch, in the order of the kernel's spec.  Plain data: copy it, keep it on the stack. */
typedef struct hone_problem {
    uint32_t struct_size;
    uint32_t count;
    int64_t size[HONE_SIZES_MAX];
} hone_problem;

/** Fill with the kernel's default sizes, struct_size and count; sizes beyond `count` become 0.  Does not fail. */
HONE_API void hone_problem_init(const hone_kernel *kernel, hone_problem *problem);
/** Set one size by name; in a launch loop write to problem->size[index] instead, whose range the look-up checks.
 *  Errors: HONE_E_ARG (no such size, or outside its min..max; message names the choices); the problem is unchanged then. */
HONE_API HONE_NODISCARD hone_status hone_problem_set(const hone_kernel *kernel, hone_problem *problem, const char *name,
                                                     int64_t value, hone_error *err);

/* ---- devices ------------------------------------------------------------------------------------------- */

typedef struct hone_device hone_device;

/** Identify a device: "cpu", "cuda:0", "cuda:all" (every GPU of this machine; they must be equal); NULL: the first GPU, or the CPU when there
 *  is none.  For a GPU this loads libcuda.so.1 ($HONE_CUDA_LIBRARY names another file) and calls cuInit, which can take some hundred
 *  milliseconds the first time; no context is created.  CUDA does not survive a fork: identify GPUs after it.
 *  Errors: HONE_E_NODEVICE (no such GPU), HONE_E_NODRIVER (no driver, older than CUDA 11.8, incomplete, or it does not start), HONE_E_ARG
 *  (cuda:all with unequal GPUs). */
HONE_API HONE_NODISCARD hone_status hone_device_open(hone_device **out, const char *name, hone_error *err);
/** The device that tuning `kernel` uses: the named one, the CPU for language "c", a GPU for "cuda"; for "external" what the
 *  kernel's evaluator (or `evaluator`, a command line, if not NULL) says in its hello.  Starts that evaluator. */
HONE_API HONE_NODISCARD hone_status hone_device_for(hone_device **out, const hone_kernel *kernel, const char *name,
                                                    const char *evaluator, hone_error *err);
/** Let go of a device.  Sites that were opened with it hold it themselves; answers do not use it after the look-up.  Exclusive. */
HONE_API void hone_device_free(hone_device *device);
/** Identity and description as JSON: {"id", "kind", "name", "identity": {...}, "description": {...}}.  Does not ask the device again.  Threads: any
 *  number.  Errors: HONE_E_ARG, HONE_E_NOMEM. */
HONE_API HONE_NODISCARD hone_status hone_device_json(const hone_device *device, char **json, hone_error *err);
/** The device's name as its maker or system gives it, e.g. "NVIDIA H100 80GB HBM3"; not part of its identity.  Never NULL; lives as long as the device. */
HONE_API const char *hone_device_name(const hone_device *device);

/* ---- configs ------------------------------------------------------------------------------------------- */

/** One value for each parameter of a kernel.  Never changes.  Borrowed: lives as long as what returned it, the site or the answer. */
typedef struct hone_config hone_config;

/* Values by the parameter's index (hone_kernel_param_index).  Any number of threads; none of these blocks, allocates or fails: about a nanosecond each.
 * A NULL config has the value 0 or NULL everywhere, as has an index beyond the last. */

/** Integer value of parameter `index` (bool: 0 or 1; a number that is no integer is cut); of element 0 for lists.  0 for strings. */
HONE_API int64_t hone_config_int(const hone_config *config, uint32_t index);
/** Integer value of element `element` of a list or permutation; 0 beyond its last.  Element 0 of a scalar is its value. */
HONE_API int64_t hone_config_element(const hone_config *config, uint32_t index, uint32_t element);
/** String value, or NULL when the parameter is not a string.  The text belongs to the kernel and lives as long as the config. */
HONE_API const char *hone_config_string(const hone_config *config, uint32_t index);
/** Number value as double (for enums of non-integers; integers and bools too); of element 0 for lists.  0 for strings. */
HONE_API double hone_config_number(const hone_config *config, uint32_t index);
/** The whole config as compact JSON, in the space's order: {"BLOCK":128,"UNROLL":true}.  Allocates.  Errors: HONE_E_ARG, HONE_E_NOMEM. */
HONE_API HONE_NODISCARD hone_status hone_config_json(const hone_config *config, char **json, hone_error *err);

/* ---- caches -------------------------------------------------------------------------------------------- */

typedef struct hone_cache hone_cache;

/** What an entry is worth that was measured under another driver or toolkit than the device has now. */
typedef enum hone_recheck {
    HONE_RECHECK_USE = 0,    /* as much as before */
    HONE_RECHECK_TUNE = 1,   /* as much as before, and a tuner (hone_tuner_start) measures it again */
    HONE_RECHECK_IGNORE = 2  /* nothing: look-ups go on to other entries and tiers */
} hone_recheck;

typedef struct hone_cache_options {
    uint32_t struct_size;
    uint32_t read_only;           /* 1: never write; the file MUST exist */
    uint64_t map_bytes_max;       /* largest size of the file; default 1 GiB (the command `hone`: 64 GiB) */
    uint32_t writer_wait_ms;      /* longest wait for another writer; default 250 */
    uint32_t allow_network_fs;    /* 1: open on a network filesystem all the same; at your own risk */
    uint32_t durable;             /* 1: survive power loss at each commit; default: at most the last commit is lost */
    uint32_t recheck;             /* hone_recheck: entries measured under another driver or toolkit; default: used */
} hone_cache_options;
#define HONE_CACHE_OPTIONS_INIT {sizeof(hone_cache_options), 0, 0, 0, 0, 0, 0}

/** Open (and create) a cache.  `path` NULL: $HONE_CACHE, else $XDG_CACHE_HOME/hone/cache.hone, else ~/.cache/hone/cache.hone.
 *  Takes some ten microseconds however large the file is, beyond 64 MiB; smaller ones are looked through, a microsecond a page.  Waits for a writer
 *  (writer_wait_ms) only if something has to be made or mended.  What only writing needs is prepared by the first write, of some hundred microseconds.
 *  Threads: any number, of the same file too.
 *  A damaged cache is set aside as PATH.corrupt-TIME with a warning, unless read_only; files that are no caches are refused and stay.
 *  Errors: HONE_E_IO, HONE_E_PERM, HONE_E_NETFS, HONE_E_UNSAFE (owner or mode), HONE_E_CORRUPT, HONE_E_VERSION, HONE_E_NOSPACE. */
HONE_API HONE_NODISCARD hone_status hone_cache_open(hone_cache **out, const char *path, const hone_cache_options *options,
                                                    hone_error *err);
/** Stop its tuner (hone_tuner_options.stop_wait_ms), free its sites with their configs, store counters, drop claims, let go of the file.  Exclusive.
 *  In a forked child it only frees memory. */
HONE_API void hone_cache_close(hone_cache *cache);
/** The file's absolute path, links in its folder followed; "" for a cache of packs only, NULL for NULL.  Lives as long as the cache; any thread. */
HONE_API const char *hone_cache_path(const hone_cache *cache);

typedef enum hone_match {
    HONE_MATCH_NONE = 0,
    HONE_MATCH_EXACT = 1,       /* this kernel, problem and device */
    HONE_MATCH_NEAR_SHAPE = 2,  /* this kernel and device, near sizes, valid here */
    HONE_MATCH_NEAR_DEVICE = 3, /* this kernel and problem, closest device of the same architecture */
    HONE_MATCH_DEFAULT = 4      /* the author's default */
} hone_match;
/** "exact", "near_shape", "near_device", "default"; "none" for everything else.  Never NULL; a constant. */
HONE_API const char *hone_match_name(hone_match match);

/* ---- launches ------------------------------------------------------------------------------------------ */

/** One kernel on one device, asked before every launch: a table in memory before the cache and its packs. */
typedef struct hone_site hone_site;

typedef struct hone_site_options {
    uint32_t struct_size;
    uint32_t problems_max;        /* kept in memory, the least used give way; default 4096, at least 64, at most 1048576.  A problem of eight
                                   * sizes takes about 400 to 800 bytes; each different config, of at most 16384, half a kilobyte */
    uint32_t never_tune;          /* 1: a tuner of the cache leaves this site's misses alone */
} hone_site_options;
#define HONE_SITE_OPTIONS_INIT {sizeof(hone_site_options), 0, 0}

/** A handle for the launches of one kernel.  `cache` MAY be NULL: then every answer is the default.  The site holds kernel and device; the caller
 *  may free both at once.  It lives until hone_site_close or hone_cache_close, whichever comes first.
 *  Threads: MAY be called while others look up in the same cache, or open and close other sites.  Does not read the cache yet.
 *  Errors: HONE_E_ARG, HONE_E_NOMEM, HONE_E_FORKED. */
HONE_API HONE_NODISCARD hone_status hone_site_open(hone_site **out, hone_cache *cache, const hone_kernel *kernel,
                                                   const hone_device *device, const hone_site_options *options, hone_error *err);
/** Frees its configs.  Exclusive of look-ups in this site.  MUST NOT be called after hone_cache_close: that has freed it. */
HONE_API void hone_site_close(hone_site *site);
/** The best known config for this problem, as hone_lookup finds it; *match (MAY be NULL): how it was found.  NULL and HONE_MATCH_NONE: the problem is
 *  none of the kernel's (number or range of sizes), or nothing is known and the default is not valid for it.
 *  Lifetime: the config lives as long as the site, also when a better one has replaced it; equal answers are one pointer.
 *  Time: nanoseconds when the problem has been answered before and no entry of the kernel has changed since: no lock, no system call, no
 *  allocation.  Else it reads the cache, which takes microseconds, or milliseconds with thousands of entries of the kernel to choose a near answer from;
 *  it never waits for a writer, nor for a tuning.
 *  Staleness: a commit by any thread or process is seen by the next look-up.  One that concerns another kernel, or a tuning's journal, costs a
 *  single small read.  Exact answers are renewed at once; near ones are compared with new entries at other sizes at most each 50 ms.
 *  Sizes: those that the kernel declares `bucket` or `ignore` share one slot where no constraint reads them; a near answer among them is
 *  then the one for the first that was asked.  Threads: any number.  Counters (hone_cache_stats) count what was asked of the cache, not each launch. */
HONE_API const hone_config *hone_site_lookup(const hone_site *site, const hone_problem *problem, hone_match *match);

/* ---- look-ups that explain themselves ------------------------------------------------------------------ */

typedef struct hone_answer hone_answer;

/** The best known config.  Always answers when the default is valid for the problem: a damaged or busy cache degrades to a
 *  worse tier.  `cache` MAY be NULL (then the default).  The kernel MUST outlive the answer.  Errors: HONE_E_ARG, HONE_E_CONFIG (not even the default is valid). */
HONE_API HONE_NODISCARD hone_status hone_lookup(hone_answer **out, const hone_cache *cache, const hone_kernel *kernel,
                                                const hone_device *device, const hone_problem *problem, hone_error *err);
/** Frees its config, too.  Exclusive: nobody may use answer or config any more. */
HONE_API void hone_answer_free(hone_answer *answer);
/** How the answer was found.  Never HONE_MATCH_NONE. */
HONE_API hone_match hone_answer_match(const hone_answer *answer);
/** The config to launch with.  Never NULL; lives as long as the answer and its kernel. */
HONE_API const hone_config *hone_answer_config(const hone_answer *answer);
/** Median time of one run in milliseconds, as it was measured for this very problem on this kind of device; 0 when the match is not exact. */
HONE_API double hone_answer_time_ms(const hone_answer *answer);
/** The whole answer as JSON (spec/json.md, "lookup"): tier, distance, layer, age, effort, times, why better tiers did not match.  Asks nothing anew.
 *  Threads: any number.  Errors: HONE_E_ARG, HONE_E_NOMEM, HONE_E_LIMIT. */
HONE_API HONE_NODISCARD hone_status hone_answer_json(const hone_answer *answer, char **json, hone_error *err);
/** Every tier and layer, matched or not and why, field by field, as JSON (spec/json.md, "explain").  Reads the cache; takes milliseconds with thousands
 *  of entries of the kernel; counts nothing.  Threads: any number.  Errors: those of hone_lookup, HONE_E_NOMEM. */
HONE_API HONE_NODISCARD hone_status hone_explain(char **json, const hone_cache *cache, const hone_kernel *kernel,
                                                 const hone_device *device, const hone_problem *problem, hone_error *err);

/* ---- groups -------------------------------------------------------------------------------------------- */

typedef struct hone_group_result {
    uint32_t struct_size;
    uint32_t all_exact;           /* 1: every member has an exact answer and gets it; 0: every member gets its default */
    uint32_t missing;             /* members without an exact answer */
    uint32_t reserved;
    uint64_t snapshot;            /* number of the cache's state that was looked at; 0 without a cache */
    uint64_t digest;              /* of kernels, problems and configs: equal on ranks that will launch the same */
} hone_group_result;
#define HONE_GROUP_RESULT_INIT {sizeof(hone_group_result), 0, 0, 0, 0, 0}

/** Answer a set of problems against one state of the cache: all exact, or all default.  A cache that is warm on some ranks of a job only would have
 *  them launch different kernels, which deadlocks collectives.  Ranks that may see different states or caches compare `digest` (8 bytes, one
 *  all-gather) and, if they differ, all launch their defaults.  `site`, `problem` and `config` have `count` (1 to 65536) members; the sites are of one cache.
 *  Configs live as long as their sites.  Reads the cache each time; allocates.  Threads: any number.
 *  Errors: HONE_E_ARG (also a problem out of range), HONE_E_CONFIG (not all exact, and a default is not valid), HONE_E_NOMEM. */
HONE_API HONE_NODISCARD hone_status hone_group_lookup(const hone_config **config, const hone_site *const *site, const hone_problem *problem,
                                                      uint32_t count, hone_group_result *result, hone_error *err);

/* ---- looking into caches ------------------------------------------------------------------------------- */

/** Called once an entry with its JSON (spec/json.md, "entry"); a non-zero return stops.  No transaction is open meanwhile. */
typedef int hone_entry_fn(const char *entry_json, void *user);
/** Every entry of the cache's own file, in key order; not those of packs (with packs only: none).  Damaged records are skipped and counted in *damaged (MAY be NULL).  Reads a
 *  few entries at a time, so that a slow `fn` holds nobody up: what is stored meanwhile may or may not be among them.  HONE_OK also when `fn` stopped.
 *  Threads: any number; `fn` runs on the caller's.  Errors: HONE_E_FORKED, HONE_E_STORE, HONE_E_NOMEM, HONE_E_ARG. */
HONE_API HONE_NODISCARD hone_status hone_cache_each(const hone_cache *cache, hone_entry_fn *fn, void *user, uint64_t *damaged,
                                                    hone_error *err);
/** One entry with its alternatives, trials and kernel text, as JSON (spec/json.md, "show").  `key` is the hexadecimal key or an
 *  unambiguous beginning of it (at least 4 digits).  Errors: HONE_E_NOTFOUND, HONE_E_ARG (ambiguous). */
HONE_API HONE_NODISCARD hone_status hone_cache_show(char **json, const hone_cache *cache, const char *key, hone_error *err);
/** Counts, sizes and counters that survive restarts, as JSON (spec/json.md, "stats"), with what this process has counted and not yet stored.  Does
 *  not write.  Threads: any number.  Errors: HONE_E_NOTFOUND (packs only), HONE_E_CORRUPT, HONE_E_FORKED, HONE_E_STORE, HONE_E_NOMEM. */
HONE_API HONE_NODISCARD hone_status hone_cache_stats(char **json, const hone_cache *cache, hone_error *err);

/* ---- packs and layers ----------------------------------------------------------------------------------
 * A pack (spec/pack.md) is one portable, read-only file of entries: the same entries give the same bytes on every machine.  Packs lie
 * under a cache as layers, live and without import; of all layers the best exact answer wins, by the rule of merge (spec/record.md
 * section 6).  A pack is never mapped: a file that shrinks or changes while it is open is a miss with a reason, not a SIGBUS. */

/** Called now and then with how much of long work is done; `total` 0: unknown.  A non-zero return cancels (HONE_E_CANCELLED). */
typedef int hone_count_fn(uint64_t done, uint64_t total, void *user);

typedef struct hone_pack_options {
    uint32_t struct_size;
    uint32_t require_signature;   /* 1: refuse (HONE_E_UNSAFE) a pack without a valid signature by one of the keys in `trust` */
    uint32_t verify;              /* 1: check every byte while opening, not only what is used later */
    uint32_t reserved;            /* 0 */
    uint64_t memory_bytes_max;    /* private memory for the parts in use (what look-ups touch), and the largest signed pack; default 1 GiB */
    const char *trust;            /* file of public keys (spec/signature.md); needed by require_signature */
    const char *signature;        /* NULL: the pack's path and ".sig"; needed by require_signature for packs in memory */
} hone_pack_options;
#define HONE_PACK_OPTIONS_INIT {sizeof(hone_pack_options), 0, 0, 0, 0, NULL, NULL}

/** A cache without a file, for programs that only ship packs (hone_cache_add_pack): every write to it is HONE_E_PERM.  hone_cache_close frees it.
 *  Errors: HONE_E_ARG, HONE_E_NOMEM. */
HONE_API HONE_NODISCARD hone_status hone_cache_new(hone_cache **out, hone_error *err);
/** Put a pack under the cache as a further layer, for look-ups, near answers and explanations.  Opening costs microseconds, unless the options
 *  ask for more.  At most 64.  Exclusive: not while other threads use the cache.
 *  Errors: HONE_E_NOTFOUND, HONE_E_PERM, HONE_E_IO, HONE_E_CORRUPT, HONE_E_VERSION, HONE_E_UNSAFE (signature), HONE_E_LIMIT; the cache is unchanged. */
HONE_API HONE_NODISCARD hone_status hone_cache_add_pack(hone_cache *cache, const char *path, const hone_pack_options *options,
                                                        hone_error *err);
/** The same for a pack linked into the program (`hone export --format object`).  `bytes` MUST stay valid and unchanged until the cache is closed;
 *  `name` (copied) is what answers call the layer. */
HONE_API HONE_NODISCARD hone_status hone_cache_add_pack_memory(hone_cache *cache, const char *name, const void *bytes, size_t count,
                                                               const hone_pack_options *options, hone_error *err);

/* ---- exchange: export, import, merge -------------------------------------------------------------------- */

typedef enum hone_merge_policy {
    HONE_MERGE_BEST = 0,   /* the better evidence: in any order of inputs the same result */
    HONE_MERGE_NEWEST = 1, /* created later; then the better evidence */
    HONE_MERGE_OURS = 2,   /* the first input that has the key; for import: what the cache has */
    HONE_MERGE_THEIRS = 3  /* the last input that has the key; for import: what the pack has */
} hone_merge_policy;

/** Which entries take part.  Zero and NULL: no condition.  All conditions MUST hold. */
typedef struct hone_filter {
    uint32_t struct_size;
    uint32_t effort_min;          /* 1 quick, 2 standard, 3 thorough */
    const char *kernel;           /* name or pattern of it, or the beginning (4 digits at least) of the kernel id in hexadecimal */
    const char *device;           /* part or pattern of the device's name, letter case ignored; its kind ("cpu"); or the beginning of the device id */
    const char *strategy;         /* equal, or a shell's pattern: "random", "l*" */
    const char *tool_version;     /* equal, or a pattern: "0.1.*" */
    int64_t created_after;        /* seconds since 1970; inclusive */
    int64_t created_before;       /* exclusive */
    double speedup_min;           /* default_ns / best ns; entries without a default's time do not pass */
    hone_entry_fn *fn;            /* called last, with the entry's JSON: non-zero leaves it out */
    void *user;
    double speedup_max;           /* at most; entries without a default's time pass */
    uint32_t effort_max;          /* at most: 1 quick, 2 standard */
    uint32_t reserved;            /* 0 */
} hone_filter;
#define HONE_FILTER_INIT {sizeof(hone_filter), 0, NULL, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, 0, 0, 0}

/** Called for entries that are not simply taken over: {"action","key","input","reason"} (spec/json.md, "exchange").  Non-zero cancels. */
typedef int hone_exchange_fn(const char *event_json, void *user);

typedef struct hone_exchange_options {
    uint32_t struct_size;
    uint32_t dry_run;             /* 1: read, decide and report everything, write nothing */
    uint32_t force;               /* 1: an existing output file is replaced; else HONE_E_EXISTS */
    uint32_t policy;              /* hone_merge_policy */
    uint32_t without_source;      /* 1: leave the kernels' source texts out */
    uint32_t no_sync;             /* 1: do not wait for the disk */
    const hone_filter *filter;    /* NULL: all */
    const char *base;             /* merge: a pack or cache from which all inputs came; entries that an input removed stay removed */
    const hone_pack_options *pack; /* how packs are opened; NULL: unsigned ones too */
    hone_exchange_fn *event;
    hone_count_fn *progress;      /* entries read */
    void *user;                   /* of event and progress */
} hone_exchange_options;
#define HONE_EXCHANGE_OPTIONS_INIT {sizeof(hone_exchange_options), 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL}

/* Each returns its report as JSON (spec/json.md, "exchange") through `report` (MAY be NULL; else hone_free), blocks on files, and needs memory that does not
 * grow with the number of entries.  Output files appear whole or not at all; what goes beyond 32 MiB is written past the page cache, by a thread that lives
 * no longer than the call.  Errors: HONE_E_EXISTS, HONE_E_NOTFOUND, HONE_E_CORRUPT (an input as a whole),
 * HONE_E_VERSION, HONE_E_UNSAFE, HONE_E_NOSPACE, HONE_E_PERM, HONE_E_IO, HONE_E_CANCELLED, HONE_E_ARG, HONE_E_BUSY, HONE_E_FULL. */

/** Write the cache's own entries and kernels (not those of its packs) as a pack. */
HONE_API HONE_NODISCARD hone_status hone_export(char **report, const hone_cache *cache, const char *out_path,
                                                const hone_exchange_options *options, hone_error *err);
/** Take the entries of a pack into the cache, a bounded number in each transaction: what was done before a failure stays, and doing it
 *  again goes on.  Entries are unpacked by a thread that lives no longer than the call and has all signals blocked; the caller's thread writes them,
 *  and calls `options`' callbacks, between transactions. */
HONE_API HONE_NODISCARD hone_status hone_import(char **report, hone_cache *cache, const char *pack_path,
                                                const hone_exchange_options *options, hone_error *err);
/** Merge packs and caches (paths, told apart by their first bytes) into a new pack. */
HONE_API HONE_NODISCARD hone_status hone_merge(char **report, const char *out_path, const char *const *in_path, size_t in_count,
                                               const hone_exchange_options *options, hone_error *err);

/* ---- signatures (spec/signature.md) ----------------------------------------------------------------------- */

/** Make an Ed25519 key pair: the secret key's file (mode 0600) and the public key's, which serves as a trust file, also concatenated with
 *  others.  `comment` (one line, MAY be NULL) names the owner.  Existing files: HONE_E_EXISTS. */
HONE_API HONE_NODISCARD hone_status hone_key_generate(const char *secret_path, const char *public_path, const char *comment, hone_error *err);
/** Sign a file of any kind, read as a stream: writes the detached signature.  `signature_path` NULL: `path` and ".sig".
 *  Errors: HONE_E_EXISTS (unless `force`), HONE_E_CORRUPT (the key file), HONE_E_UNSAFE (the key file is open to others), HONE_E_IO. */
HONE_API HONE_NODISCARD hone_status hone_sign(const char *path, const char *secret_path, const char *signature_path, int force,
                                              hone_error *err);
/** Check a file against its detached signature and a file of trusted keys.  `*signer` (MAY be NULL; hone_free): {"key","comment"} of the key that
 *  signed.  Errors: HONE_E_UNSAFE (not signed, by nobody who is trusted, or not what was signed), HONE_E_CORRUPT (a malformed key or signature
 *  file), HONE_E_NOTFOUND, HONE_E_IO. */
HONE_API HONE_NODISCARD hone_status hone_signature_check(char **signer, const char *path, const char *signature_path, const char *trust_path,
                                                         hone_error *err);

/* ---- looking after caches ------------------------------------------------------------------------------ */

/** Called with one JSON line; valid during the call.  A non-zero return stops. */
typedef int hone_line_fn(const char *json, void *user);

/** What the calls of this section share; each says what it uses. */
typedef struct hone_work_options {
    uint32_t struct_size;
    uint32_t dry_run;             /* 1: change nothing, and report what would be done */
    uint32_t strict;              /* 1: the first rejected record ends the call */
    uint32_t force;               /* 1: an existing output file is replaced; else HONE_E_EXISTS */
    const hone_filter *filter;    /* NULL: every entry */
    const hone_pack_options *pack; /* how packs are opened; NULL: unsigned ones too */
    uint64_t keep_s;              /* hone_cache_gc: what is younger than this stays; 0: 30 days */
    hone_count_fn *progress;      /* NULL: none; records looked at.  What was written before a cancel is complete and stays */
    hone_line_fn *line;           /* NULL: none; what the call tells one by one, as JSON.  A non-zero return cancels */
    void *user;                   /* of progress and line */
} hone_work_options;
#define HONE_WORK_OPTIONS_INIT {sizeof(hone_work_options), 0, 0, 0, NULL, NULL, 0, NULL, NULL, NULL}

/* Where a call takes a path of a cache or a pack, the file's first bytes tell which it is; NULL is the default cache (hone_cache_open).  Each
 * returns its report as JSON through `report` (MAY be NULL; else hone_free), blocks on files, and needs memory that does not grow with the
 * number of entries.  Errors besides those that are named: HONE_E_NOTFOUND, HONE_E_PERM, HONE_E_UNSAFE, HONE_E_CORRUPT (a file as a whole), HONE_E_VERSION,
 * HONE_E_IO, HONE_E_NOSPACE, HONE_E_CANCELLED, HONE_E_ARG, HONE_E_NOMEM. */

/** Each entry of a cache or pack, in key order, to `line` (spec/json.md, "entry").  Uses filter, pack, progress.  *report: "list" in spec/json.md. */
HONE_API HONE_NODISCARD hone_status hone_list(char **report, const char *path, const hone_work_options *options, hone_error *err);
/** What hone_cache_show and hone_cache_stats say, of a pack.  `options` MAY be NULL.  Errors besides: HONE_E_ARG also when it is a cache. */
HONE_API HONE_NODISCARD hone_status hone_pack_show(char **json, const char *path, const char *key, const hone_pack_options *options, hone_error *err);
HONE_API HONE_NODISCARD hone_status hone_pack_stats(char **json, const char *path, const hone_pack_options *options, hone_error *err);
/** Is the file a pack, by its first bytes?  1 or 0; 0 also when it cannot be read. */
HONE_API int hone_is_pack(const char *path);

/** Write every entry and kernel of a cache or pack as JSON lines (spec/dump.md), without loss, sorted: the same content gives the same bytes.
 *  To the file `out_path`, which appears whole or not at all; NULL: line by line to `line`.  Uses force, filter, pack, progress.  The journal,
 *  claims and counters are not in it.  *report: "dump" in spec/json.md.  Errors besides: HONE_E_EXISTS. */
HONE_API HONE_NODISCARD hone_status hone_dump(char **report, const char *path, const char *out_path, const hone_work_options *options,
                                              hone_error *err);

/** Read JSON lines of hone_dump from an open file (`fd` stays open) into a cache; of two entries of one key the better evidence stays.  Lines
 *  that are refused go to `line` with their number and reason, and the others are taken, unless `strict`.  `label` names the input in messages.
 *  With dry_run `cache` MAY be NULL: an empty one.  Uses dry_run, strict, filter, progress (bytes).  *report: "load" in spec/json.md.  Stores in
 *  batches: what was stored before a failure stays, and loading again goes on.  Errors besides: HONE_E_JSON (no dump; with strict, a line that is
 *  none), HONE_E_BUSY, HONE_E_FULL. */
HONE_API HONE_NODISCARD hone_status hone_load(char **report, hone_cache *cache, int fd, const char *label, const hone_work_options *options,
                                              hone_error *err);

/** Compare two caches or packs.  `line` gets each difference (spec/json.md, "diff": gained, lost, changed, with times), in key order.  Uses filter, pack,
 *  progress.  *different (MAY be NULL): 1 when there is any.  *report: totals. */
HONE_API HONE_NODISCARD hone_status hone_diff(char **report, int *different, const char *path_a, const char *path_b,
                                              const hone_work_options *options, hone_error *err);

/** Check a cache or pack from its first to its last byte: pages, order, every record.  Damage is no failure of the call: *sound (MAY be NULL) is 0
 *  then, the report says what was found, and `line` gets each damaged record of a cache.  A cache file that somebody else may be damaging right now
 *  can take the process down (LMDB maps it): a program that must stay up calls this in a child process, as `hone verify` does.  Uses pack (its
 *  `trust` makes the signature count, too), progress.  *report: "verify" in spec/json.md. */
HONE_API HONE_NODISCARD hone_status hone_verify(char **report, int *sound, const char *path, const hone_work_options *options, hone_error *err);

typedef struct hone_embed_options {
    uint32_t struct_size;
    uint32_t force;               /* 1: an existing output file is replaced; else HONE_E_EXISTS */
    const char *format;           /* "c-header" or "object" */
    const char *symbol;           /* a C identifier; NULL: "hone_pack" */
    const char *machine;          /* of an object: "x86-64" or "aarch64"; NULL: this machine's */
} hone_embed_options;
#define HONE_EMBED_OPTIONS_INIT {sizeof(hone_embed_options), 0, NULL, NULL, NULL}

/** Make a file of a pack that is compiled or linked into a program, which then opens the pack from memory (hone_cache_add_pack_memory).
 *  "c-header": defines `static const unsigned char SYMBOL[]` and the accessor `SYMBOL_bytes(&count)`.  "object": an ELF relocatable object with the
 *  hidden symbols `const unsigned char SYMBOL[]` and `const uint64_t SYMBOL_size`; no compiler or assembler is needed.  The pack is verified first.
 *  The same pack gives the same bytes. */
HONE_API HONE_NODISCARD hone_status hone_embed(const char *pack_path, const char *out_path, const hone_embed_options *options, hone_error *err);

/** Remove the entries that the filter lets pass; an empty filter is refused (HONE_E_ARG).  Entries that are replaced meanwhile stay.  Uses
 *  dry_run, filter, progress; `line` gets each entry (spec/json.md, "entry") before it goes.  *report: "prune" in spec/json.md.  Writes in batches, each a transaction of its own; other processes go on meanwhile.  Errors: those of storing. */
HONE_API HONE_NODISCARD hone_status hone_cache_prune(char **report, hone_cache *cache, const hone_work_options *options, hone_error *err);

/** Remove what nobody needs any more: the journal of tunings that began more than `keep_s` ago and have ended, or were begun anew; failures
 *  and claims that have expired; kernels without entries (none while a key is being tuned); and beside the file PATH.corrupt-* and leftovers of
 *  writers that died, older than `keep_s`.  No entry goes.  Uses dry_run, progress, keep_s.  *report: "gc" in spec/json.md. */
HONE_API HONE_NODISCARD hone_status hone_cache_gc(char **report, hone_cache *cache, const hone_work_options *options, hone_error *err);

/** Write the cache's file anew without its free pages, and put it in place of the old one in one step.  Writers, here and in other
 *  processes, wait meanwhile as long as their deadline allows; readers go on with the old file and find the new one within a second.  A crash
 *  at any point leaves the old file or the new one.  Needs as much free space as the data take.  Uses dry_run.  *report: "compact" in
 *  spec/json.md.  Errors: HONE_E_BUSY, HONE_E_NOSPACE, HONE_E_CORRUPT (dump what can be read and load it into a new cache). */
HONE_API HONE_NODISCARD hone_status hone_cache_compact(char **report, hone_cache *cache, const hone_work_options *options, hone_error *err);

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
/** Called on the tuning thread, as things happen and about once a second between.  A non-zero return cancels: everything measured stays in the journal. */
typedef int hone_progress_fn(const hone_progress *progress, void *user);

typedef struct hone_tune_options {
    uint32_t struct_size;
    uint32_t force;               /* 1: tune although the cache has an exact answer, and measure afresh */
    const char *search;           /* "auto" (default, or $HONE_AUTOTUNER), "hybrid", "lfbo", "llm", "random", "exhaustive" */
    const char *evaluator;        /* command line of an evaluator; NULL: the spec's, or the built-in worker */
    const char *worker;           /* program that runs the built-in worker as `PROGRAM worker`; NULL: $HONE_WORKER, then `hone` in PATH */
    uint32_t trials_max;          /* at the most; default 200.  What takes several times as long as the others is not waited for at the end */
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
    double min_gain;              /* a relative gain that is worth going on for: lfbo and hybrid stop when 80 trials in a row brought none as large, or half
                                   * as many and no trial is expected to gain a tenth of it, llm after two rounds without one; 0: default 0.005; negative:
                                   * only the budget ends them */
    const char *device;           /* which device, as for hone_device_for, when hone_tune is given none; NULL: its default */
} hone_tune_options;
#define HONE_TUNE_OPTIONS_INIT /* every member, so that C and C++ take it without a warning */                \
    {sizeof(hone_tune_options), 0, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, 0, NULL}

/** Make sure that the cache or one of its packs has an exact answer of the effort that trials_max stands for (below 100 quick, from 500 thorough), tuning
 *  when none has one; the result as JSON (spec/json.md, "tune").  An answer of less effort is where the tuning begins: its config is measured with the
 *  others, and what comes out takes its place, so that an effort is spent once.  A key that could not be tuned is refused (HONE_E_NOVALID, with the
 *  reason) for an hour, after the next failure for two, and so on up to a week; `force` tries at once.
 *  `device` NULL: that of hone_device_for with the options' device and evaluator; an evaluator is then started once for both.  `problem` NULL: the
 *  kernel's default sizes.
 *  Blocks for as long as the options allow.  Creates processes (evaluator, compilers).  On HONE_E_CANCELLED, HONE_E_NETWORK,
 *  HONE_E_PROVIDER, HONE_E_TIMEOUT everything measured is in the journal and the next call goes on from there.
 *  Errors besides: HONE_E_NOVALID, HONE_E_EVALUATOR, HONE_E_SPEC (the reference does not compile or run), HONE_E_CONFIG, HONE_E_NOMODEL,
 *  HONE_E_BUSY (another process tunes this key). */
HONE_API HONE_NODISCARD hone_status hone_tune(char **json, hone_cache *cache, const hone_kernel *kernel,
                                              const hone_device *device, const hone_problem *problem,
                                              const hone_tune_options *options, hone_error *err);

/* ---- tuning on a miss ---------------------------------------------------------------------------------- */

typedef struct hone_tuner_options {
    uint32_t struct_size;
    uint32_t queue_max;           /* problems that wait; default 256, at most 65536 */
    uint32_t retry_s;             /* what failed may be asked for again after so long; default 3600 */
    uint32_t stop_wait_ms;        /* how long hone_cache_close waits for the tuner; default 10000 */
    const hone_tune_options *tune; /* copied; NULL: defaults.  Its `force` is ignored, its `progress` called on the tuner's thread */
} hone_tuner_options;
#define HONE_TUNER_OPTIONS_INIT {sizeof(hone_tuner_options), 0, 0, 0, NULL}

typedef struct hone_tuner_state {
    uint32_t struct_size;
    uint32_t running;
    uint32_t busy;                /* a problem is being tuned */
    uint32_t queued;
    uint64_t done;                /* tuned, here or in another process */
    uint64_t failed;
    uint64_t dropped;             /* found the queue full; later look-ups ask again */
} hone_tuner_state;
#define HONE_TUNER_STATE_INIT {sizeof(hone_tuner_state), 0, 0, 0, 0, 0, 0}

/** Tune in the background: one thread, all signals blocked in it, takes one problem after the other from a bounded queue.  hone_site_lookup puts in, once
 *  each, what has no exact answer; what has one of less effort than `tune` stands for (hone_tune_options.trials_max); and with HONE_RECHECK_TUNE
 *  what was measured under another driver or toolkit.  It goes on with the answer that it has, and a later one finds the result.  Only one of all
 *  processes tunes a key; what another is at stays queued until its result is there, and is tuned here if it dies over it; a key without a config that runs is left alone by all of them
 *  for an hour, then two, up to a week; after another failure (evaluator, model) for a minute, then two, up to half an hour.  Threads: MAY be called while others look up; not beside
 *  another start or stop.  Errors: HONE_E_EXISTS (one runs), HONE_E_PERM (read-only cache), HONE_E_ARG, HONE_E_NOMEM, those of hone_cache_open. */
HONE_API HONE_NODISCARD hone_status hone_tuner_start(hone_cache *cache, const hone_tuner_options *options, hone_error *err);
/** Stop the tuner and wait at most `wait_ms` for it; what waits in the queue is dropped, what is measured is kept in the journal.  HONE_OK also when
 *  none runs.  HONE_E_TIMEOUT: it is inside something that cannot be interrupted (an evaluator that starts or prepares); it ends by itself after
 *  that, and needs nothing of the cache meanwhile.  hone_cache_close does the same with stop_wait_ms.  Threads: as hone_tuner_start. */
HONE_API HONE_NODISCARD hone_status hone_tuner_stop(hone_cache *cache, uint32_t wait_ms, hone_error *err);
/** Wait until nothing is queued or being tuned: for warming up.  HONE_OK at once when no tuner runs.  Errors: HONE_E_TIMEOUT. */
HONE_API HONE_NODISCARD hone_status hone_tuner_wait(const hone_cache *cache, uint32_t wait_ms, hone_error *err);
/** What the tuner is doing.  *state is initialised with HONE_TUNER_STATE_INIT.  Does not wait. */
HONE_API HONE_NODISCARD hone_status hone_tuner_state_get(const hone_cache *cache, hone_tuner_state *state, hone_error *err);

/** What a look-up that may wait does when there is no exact answer of the wanted effort. */
typedef enum hone_miss {
    HONE_MISS_FALLBACK = 0,        /* nothing: the best other answer */
    HONE_MISS_TUNE_NOW = 1,        /* tune on this thread, unless another process or thread does: then wait for its result */
    HONE_MISS_TUNE_BACKGROUND = 2  /* put it into the tuner's queue and wait for the result */
} hone_miss;

typedef struct hone_resolve_options {
    uint32_t struct_size;
    uint32_t on_miss;             /* hone_miss */
    uint32_t deadline_ms;         /* 0: none */
    const hone_tune_options *tune; /* for HONE_MISS_TUNE_NOW; NULL: defaults */
} hone_resolve_options;
#define HONE_RESOLVE_OPTIONS_INIT {sizeof(hone_resolve_options), 0, 0, NULL}

/** A look-up that may wait: for the first launch, for warming up, for programs that rather wait than launch with a default.  *config and *match (MAY be
 *  NULL) are the best known answer at the end, also when this fails (NULL: none is valid); they live as long as the site.
 *  Blocks until the answer is exact and of the wanted effort, the tuner could not make it so, or the deadline.  HONE_MISS_TUNE_NOW tunes on this thread and creates processes; of many
 *  threads and processes that ask, one tunes, and the others see its result within milliseconds; if it dies, another takes over.  Its deadline is looked
 *  at between measurements: an evaluator that starts, prepares or compiles is waited for up to its own limits.
 *  Threads: any number.  Errors: HONE_E_TIMEOUT (the deadline), HONE_E_STATE (no tuner runs, or it was stopped), HONE_E_NOVALID (could not be tuned), HONE_E_PERM (read-only cache), HONE_E_ARG,
 *  HONE_E_CONFIG (no valid config), and those of hone_tune. */
HONE_API HONE_NODISCARD hone_status hone_site_resolve(const hone_config **config, const hone_site *site, const hone_problem *problem,
                                                      const hone_resolve_options *options, hone_match *match, hone_error *err);

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
    uint32_t in_flight;           /* configs proposed before the first of them is told, as where compiling runs ahead; default 1, at most 64 */
} hone_simulate_options;
#define HONE_SIMULATE_OPTIONS_INIT {sizeof(hone_simulate_options), 0, 0, 0, NULL, 0, 0, NULL, NULL, NULL, 0}

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
