/* gpu_internal.h: what the files of the worker's GPU back end share.
 *
 * The worker never touches CUDA itself: a fault of a kernel poisons the process that launched it, so each GPU has a child, which is
 * replaced after a fault.  In the worker: gpu_start.c starts the children, gpu_front.c keeps them and relays, gpu_compile.c runs NVRTC in children of its own.
 * In a GPU's child: gpu_child.c reads the worker's lines, gpu_memory.c holds the buffers, gpu_module.c loads and launches, gpu_timing.c
 * measures, gpu_peaks.c finds the device's limits.  gpu_sources.c has the CUDA C that the back end itself needs,
 * gpu_headers.c the C headers that NVRTC lacks. */
#ifndef HONE_GPU_INTERNAL_H
#define HONE_GPU_INTERNAL_H

#include "bench_internal.h"
#include "cuda_driver.h"
#include "nvrtc_library.h"
#include "worker_internal.h"

#define HONE_GPUS_MAX 16u
#define HONE_GPU_GUARD 4096u           /* bytes of known content before and after each buffer */
#define HONE_GPU_CHUNK 32u             /* samples in the queue at a time */
#define HONE_GPU_MODULES 128u          /* kept loaded: twice what one compare may name */
#define HONE_GPU_SCRATCH ((size_t)1 << 17)
#define HONE_GPU_PEAKS 5u
#define HONE_GPU_PEAK_PARTS 4u

/* ---- limits of a device (gpu_launch.c) ---- */
typedef struct hone__gpu_limits {
    int64_t threads, block[3], grid[3], shared_bytes, registers, clusters;
} hone__gpu_limits;
/* False: the device cannot launch this, and why, with the numbers.  What needs no compiled code is checked here. */
bool hone__gpu_launch_fits(const hone__gpu_limits *limits, const hone__gpu_launch *launch, char *why, size_t bytes);
/* Read `launch` of a request; false when it is not well formed. */
bool hone__gpu_launch_read(const cJSON *item, hone__gpu_launch *launch);
void hone__gpu_launch_print(hone__buf *buf, const hone__gpu_launch *launch);

/* ---- the worker's side ---- */

/* Where a child is; shared memory, so that the worker can tell a hang from work. */
typedef struct hone__gpu_slate {
    volatile int32_t stage;            /* hone__stage */
    volatile uint64_t stage_since_ns;
    volatile uint64_t job;             /* number of the request in work */
    volatile uint64_t job_since_ns;
} hone__gpu_slate;

typedef struct hone__gpu {
    hone__channel channel;
    hone__gpu_slate *slate;
    bool up;
    int ordinal, core;                 /* core: its host thread's, -1: any */
    uint32_t dues;                     /* replies that come before that of the job: of starting up again */
    uint64_t job;                      /* request in work, 0: idle */
    hone__trial_kind kind;
    uint32_t module;                   /* index, of a measurement */
    double incumbent_ns, limit_s;
    uint64_t sent_ns;
} hone__gpu;

typedef struct hone__gpu_set {
    hone__gpu gpu[HONE_GPUS_MAX];
    uint32_t count;
    const hone__nvrtc *nvrtc;
    int driver;
    char arch[16];                     /* sm_90a */
    hone__gpu_limits limits;
    cJSON *device;                     /* as the hello carries it */
    char helper[512];                  /* compiled helper kernels */
    char *open_line, *prepare_line;    /* sent again to a child that takes another's place; without an id */
    uint32_t failed_starts;            /* in a row */
    double peak[HONE_GPU_PEAKS];       /* GB/s, then GFLOP/s of fp32, tf32, fp16, bf16 */
    bool peaks_known;
} hone__gpu_set;

#define HONE_GPU_START_S 60.0          /* of a child: context, buffers, reference */

/* gpu_start.c */
void hone__gpu_hello(hone__worker *worker, uint64_t id, const char *name, bool peaks);
void hone__gpu_prepare(hone__worker *worker, uint64_t id, const cJSON *request);
hone_status hone__gpu_start_child(hone__gpu *gpu, hone_error *err);
void hone__gpu_stop_child(hone__gpu *gpu);
/* {"id":N BODY}; `body` begins with a comma. */
hone_status hone__gpu_send_body(hone__gpu *gpu, uint64_t id, const char *body);
/* How a child ended, with the last it said on stderr. */
void hone__gpu_describe_end(hone__gpu *gpu, char *text, size_t bytes);
bool hone__gpu_ok(const cJSON *reply);
const char *hone__gpu_said(const cJSON *reply); /* why not */

/* gpu_front.c: what worker.c calls when the device is a GPU. */
void hone__gpu_measure(hone__worker *worker, uint64_t id, uint32_t index, const cJSON *request);
void hone__gpu_compare(hone__worker *worker, uint64_t id, const cJSON *request, const uint32_t *index, uint32_t count);
bool hone__gpu_busy(const hone__worker *worker, bool all); /* all: every GPU has work; else: any has */
void hone__gpu_step(hone__worker *worker);
uint32_t hone__gpu_fds(const hone__worker *worker, int *fd, uint32_t max);
void hone__gpu_end(hone__worker *worker);

/* gpu_compile.c */
hone_status hone__gpu_build_start(hone__worker *worker, hone__build *build, const char *source, const char *source_path,
                                  const char *include_dir, const char *entry, const cJSON *defines, const cJSON *options, hone_error *err);
/* What the code of a config depends on, from the source, the macros that can matter to it, and the options. */
void hone__gpu_source_key(const char *source, const cJSON *defines, const cJSON *options, uint64_t key[2]);

/* ---- the child's side ---- */

typedef struct hone__gpu_buffer {
    hone__cu_memory base, data;        /* allocation; the buffer inside it, between guards */
    hone__cu_memory pristine, reference;
    uint64_t bytes, whole;             /* of the buffer; of the allocation */
} hone__gpu_buffer;

typedef struct hone__gpu_loaded {
    char object[512];
    hone__cu_module module;
    hone__cu_function function;
    int registers, local_bytes, static_bytes, threads_max, blocks;
    uint32_t dynamic_bytes;            /* allowed so far */
    uint64_t used;                     /* when last, in uses */
} hone__gpu_loaded;

/* Memory that no kernel may change, and what its sum was. */
typedef struct hone__gpu_region {
    hone__cu_memory at;
    uint64_t bytes, sum;
    uint32_t arg;
    char kind;                         /* '<' and '>': guard before and after; 'i': input, 'p': its copy, 'r': reference */
} hone__gpu_region;

typedef struct hone__gpu_child {
    const hone__cuda *cuda;
    hone__gpu_slate *slate;
    int ordinal, core;
    hone__cu_device device;
    hone__cu_context context;
    hone__cu_stream stream;
    hone__gpu_limits limits;
    int out_fd;
    hone__cu_module helper;
    hone__cu_function fill, compare, sums, probe;
    hone__cu_memory flush, scratch;
    uint64_t flush_bytes;
    hone__cu_event start[HONE_GPU_CHUNK], stop[HONE_GPU_CHUNK];
    hone__problem problem;
    hone__gpu_buffer buffer[HONE_LIMIT_ARGS];
    hone__gpu_region *region;
    uint32_t region_count;
    hone__gpu_loaded loaded[HONE_GPU_MODULES];
    uint64_t uses;
    double sample[HONE_LIMIT_SAMPLES];
    uint32_t sample_count;
    double clock_mhz;                  /* of the multiprocessors, when last looked at */
    bool lost;                         /* the context is of no use any more: answer, then end */
    hone__measurement result;          /* of the request in work */
} hone__gpu_child;

/* gpu_child.c: the child's life; the context is a hone__gpu_child with slate, ordinal and core set. */
int hone__gpu_child_main(void *context);
/* Note a failed call: outcome by the error and the stage, reason with its words; marks the context as lost where it is.  Returns false. */
bool hone__gpu_failed(hone__gpu_child *child, hone__cu_result code, const char *what);
__attribute__((format(printf, 3, 4))) bool hone__gpu_refuse(hone__gpu_child *child, hone__outcome outcome, const char *format, ...);
void hone__gpu_stage(hone__gpu_child *child, hone__stage stage);

/* gpu_memory.c: false with child->result filled. */
bool hone__gpu_memory_open(hone__gpu_child *child);               /* flush, scratch */
bool hone__gpu_memory_prepare(hone__gpu_child *child);            /* the problem's buffers, filled */
bool hone__gpu_memory_reset(hone__gpu_child *child);              /* poison outputs, restore inouts; queued */
bool hone__gpu_memory_keep_reference(hone__gpu_child *child);
bool hone__gpu_memory_watch(hone__gpu_child *child);              /* note the sums of what no kernel may change */
bool hone__gpu_memory_untouched(hone__gpu_child *child);
bool hone__gpu_memory_right(hone__gpu_child *child, const char *when);

/* gpu_module.c */
bool hone__gpu_helper_open(hone__gpu_child *child, const char *object);
/* Load (or find loaded), check against the launch and the device's limits. */
hone__gpu_loaded *hone__gpu_module_ready(hone__gpu_child *child, const char *object, const hone__gpu_launch *launch);
bool hone__gpu_launch_problem(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch);
/* One of our own kernels. */
bool hone__gpu_launch_own(hone__gpu_child *child, hone__cu_function function, uint32_t grid_x, uint32_t grid_y, uint32_t threads, void **params);
bool hone__gpu_read_object(hone__gpu_child *child, const char *path, char **cubin, char *entry, size_t entry_bytes);
bool hone__gpu_wait(hone__gpu_child *child, const char *what);

/* gpu_timing.c */
bool hone__gpu_time(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch, const hone__trial *wanted);
bool hone__gpu_check(hone__gpu_child *child, const hone__gpu_loaded *loaded, const hone__gpu_launch *launch, hone__stage stage, const char *when,
                     double *ns);
bool hone__gpu_compare_all(hone__gpu_child *child, char *const *object, const hone__gpu_launch *launch, uint32_t count, uint32_t rounds,
                           double budget_ms, int32_t *subject, uint32_t *rounds_done);

/* gpu_peaks.c */
bool hone__gpu_peaks(hone__gpu_child *child, const cJSON *objects, double peak[HONE_GPU_PEAKS]);

/* gpu_headers.c: texts and names of headers that every compilation may include; the count of them. */
int hone__gpu_headers(const char *const **text, const char *const **name);

/* gpu_sources.c: caller frees (hone__free); NULL: out of memory. */
char *hone__gpu_helper_source(void);
char *hone__gpu_peaks_source(uint32_t part); /* in parts, which are compiled side by side */

#endif
