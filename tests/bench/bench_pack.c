/* bench_pack.c: packs against LMDB and JSON, on made-up results of the kernels in tests/kernels (their spaces, sizes and this device).
 *
 *     build/release/tests/bench_pack [--entries N] [--dir DIR] [--seed S] [--keep] --json
 *
 * prints one JSON object; for N = 1,000,000 it needs about 10 GB in DIR (default $TMPDIR, else /tmp) and some minutes.  Members:
 *   fresh.*      a new process opens the file, finds one random key and closes it: from before the open to after the close, median of many
 *   find.*       ns of CPU of one look-up of a random key in an open file: pack (verified by its checksums), pack with decoding, mdb_get, mdb_get with decoding
 *   merge.*      two packs of N entries, of whose keys half are common; input entries a second of CPU and of wall clock (with fsync)
 *   import.*     pack -> fresh cache, against a plain loop of sorted mdb_put with MDB_APPEND of the same bytes into a fresh file, same flags
 *   size.*       bytes of the pack, of LMDB's file, of the records alone
 *   memory.*     peak anonymous resident KiB of merge, export, import, verify, each in a process of its own, sampled every 4096 entries or batch
 * Everything runs on warm page cache.  Merge, import and the plain loop take turns, with their outputs removed before each turn and after memory for
 * all of them has been touched once (touch_memory says why); the figures are the medians.  Merge and import each have a second thread that
 * writes. */
#define _GNU_SOURCE
#include "alloc.h"
#include "cache.h"
#include "device.h"
#include "json.h"
#include "kernel.h"
#include "layer.h"
#include "limit.h"
#include "merge.h"
#include "pack_format.h"
#include "rng.h"
#include "slot.h"
#include "space.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <lmdb.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAP_BYTES (64ull << 30)
enum { SIZES = 12, KERNELS = 4, CONFIGS = 4000, DEVICES = 6, FRESH_RUNS = 201, TURNS = 3, IMPORT_BATCH_BYTES = 16 << 20 };

static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_pack: %s: %s\n", what, why);
    exit(1);
}

static void must(hone_status status, const char *what, const hone_error *err) {
    if (status != HONE_OK)
        die(what, err != NULL && err->message[0] != '\0' ? err->message : hone_status_text(status));
}

static void must_mdb(int rc, const char *what) {
    if (rc != 0)
        die(what, mdb_strerror(rc));
}

static double wall_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double cpu_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- made-up results ---- */

typedef struct made_kernel {
    hone_kernel *kernel;
    char *config[CONFIGS];
    uint32_t configs;
} made_kernel;

typedef struct made_key {
    uint8_t slot[HONE_SLOT_BYTES];
    int64_t size[SIZES];
    uint32_t kernel, device;
} made_key;

typedef struct world {
    made_kernel made[KERNELS];
    hone_device *device[DEVICES];
    char *device_json[DEVICES];
    made_key *key;
    uint64_t count;
    uint64_t seed;
} world;

static void make_configs(made_kernel *made, uint64_t seed) {
    hone_problem problem;
    hone_error err = {0};
    hone__bound *bound = NULL;
    hone__rng rng;
    hone_problem_init(made->kernel, &problem);
    must(hone__bound_new(&bound, made->kernel->space, problem.size, &err), "space", &err);
    hone__rng_seed(&rng, seed);
    while (made->configs < CONFIGS) {
        hone__config config;
        hone__buf buf;
        if (!hone__bound_sample(bound, &rng, &config))
            break;
        hone__buf_init(&buf, 1 << 16);
        hone__config_print(&buf, made->kernel->space, &config);
        made->config[made->configs++] = hone__buf_take(&buf);
    }
    hone__bound_free(bound);
}

static void make_devices(world *w) {
    hone_error err = {0};
    for (int d = 0; d < DEVICES; d++) {
        must(hone_device_open(&w->device[d], "cpu", &err), "device", &err);
        (void)cJSON_ReplaceItemInObjectCaseSensitive(w->device[d]->identity, "cores", cJSON_CreateNumber(2 << d));
        must(hone__key_identify_device(w->device[d]), "device id", NULL);
        must(hone_device_json(w->device[d], &w->device_json[d], &err), "device", &err);
    }
}

static int by_slot(const void *a, const void *b) {
    return memcmp(((const made_key *)a)->slot, ((const made_key *)b)->slot, HONE_SLOT_BYTES);
}

static void make_world(world *w, uint64_t count, uint64_t seed) {
    static const char *const files[KERNELS] = {"sgemm", "rmsnorm", "conv2d", "stencil3d"};
    w->seed = seed;
    for (int k = 0; k < KERNELS; k++) {
        char path[1024];
        hone_error err = {0};
        (void)snprintf(path, sizeof path, "%s/tests/kernels/%s.json", HONE_SOURCE_DIR, files[k]);
        must(hone_kernel_load(&w->made[k].kernel, path, &err), path, &err);
        make_configs(&w->made[k], seed + (uint64_t)k);
    }
    make_devices(w);
    uint64_t drawn = count + count / 3; /* a random problem may come up twice */
    w->key = calloc(drawn, sizeof *w->key);
    hone__rng rng;
    hone__rng_seed(&rng, seed * 7 + 1);
    for (uint64_t i = 0; i < drawn; i++) {
        made_key *key = &w->key[i];
        int64_t sizes[HONE_SIZES_MAX];
        key->kernel = (uint32_t)hone__rng_below(&rng, KERNELS);
        key->device = (uint32_t)hone__rng_below(&rng, DEVICES);
        const hone_kernel *kernel = w->made[key->kernel].kernel;
        for (uint32_t s = 0; s < kernel->size_count && s < SIZES; s++) {
            sizes[s] = 1 + (int64_t)hone__rng_below(&rng, 16384);
            key->size[s] = sizes[s];
        }
        hone__key made = hone__key_make(kernel, w->device[key->device], sizes);
        (void)hone__entry_slot(&made, key->slot);
    }
    qsort(w->key, drawn, sizeof *w->key, by_slot);
    for (uint64_t i = 0; i < drawn; i++) {
        if (w->count == 0 || by_slot(&w->key[w->count - 1], &w->key[i]) != 0)
            w->key[w->count++] = w->key[i];
    }
    if (w->count <= count)
        return;
    for (uint64_t i = 0; i < count; i++) /* as many as asked for, from all over the keys */
        w->key[i] = w->key[(uint64_t)((double)i / (double)count * (double)w->count)];
    w->count = count;
}

static void free_world(world *w) {
    for (int k = 0; k < KERNELS; k++) {
        for (uint32_t c = 0; c < w->made[k].configs; c++)
            hone__free(w->made[k].config[c]);
        hone_kernel_free(w->made[k].kernel);
    }
    for (int d = 0; d < DEVICES; d++) {
        hone_device_free(w->device[d]);
        hone_free(w->device_json[d]);
    }
    free(w->key);
}

static void make_ranked(const made_kernel *made, hone__rng *rng, double time_ns, hone__ranked *out) {
    out->config = made->config[hone__rng_below(rng, made->configs)];
    out->time_ns = time_ns;
    out->low_ns = time_ns * (1 - 0.01 * hone__rng_unit(rng));
    out->high_ns = time_ns * (1 + 0.01 * hone__rng_unit(rng));
    out->mad_ns = time_ns * 0.01 * hone__rng_unit(rng);
    out->samples = 11 + (uint32_t)hone__rng_below(rng, 60);
}

/* The record of entry i as tuning `version` found it. */
static void make_record(const world *w, uint64_t i, uint64_t version, hone__buf *buf) {
    static char stops[][12] = {"trials", "time", "roofline", "no progress"};
    static char strategies[][8] = {"lfbo", "hybrid", "llm"};
    static char none[] = "", tool[] = HONE_VERSION_STRING, host[] = "node-17.cluster.example.org", toolkit[] = "gcc 12.2.0", model[] = "gpt-5.1-codex";
    const made_key *key = &w->key[i];
    const made_kernel *made = &w->made[key->kernel];
    hone__rng rng;
    hone__rng_seed(&rng, w->seed ^ (i * 31 + version));
    hone__entry e;
    memset(&e, 0, sizeof e);
    const int64_t *sizes = key->size;
    e.key = hone__key_make(made->kernel, w->device[key->device], sizes);
    e.kernel_name = made->kernel->name;
    char text[256];
    int at = 0;
    for (uint32_t s = 0; s < made->kernel->size_count; s++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s\"%s\":%lld", s == 0 ? "{" : ",", made->kernel->size[s].name, (long long)sizes[s]);
    (void)snprintf(text + at, sizeof text - (size_t)at, "}");
    e.sizes = text;
    e.device = w->device_json[key->device];
    double time_ns = exp(10 + 8 * hone__rng_unit(&rng));
    make_ranked(made, &rng, time_ns, &e.best);
    e.alternative_count = HONE_ALTERNATIVES_MAX;
    for (uint32_t a = 0; a < HONE_ALTERNATIVES_MAX; a++)
        make_ranked(made, &rng, time_ns *= 1 + 0.05 * hone__rng_unit(&rng), &e.alternative[a]);
    e.default_ns = time_ns * (1 + 2 * hone__rng_unit(&rng));
    e.flops = 1e9 * hone__rng_unit(&rng);
    e.bytes = 1e8 * hone__rng_unit(&rng);
    e.roofline = hone__rng_unit(&rng);
    e.effort = (hone__effort)(1 + hone__rng_below(&rng, 3));
    e.accuracy = HONE_ACCURACY_PASSED;
    e.tie = hone__rng_below(&rng, 2) != 0;
    uint64_t strategy = hone__rng_below(&rng, 3);
    e.strategy = strategies[strategy];
    e.model = strategy == 0 ? none : model;
    e.stop = stops[hone__rng_below(&rng, 4)];
    e.tool_version = tool;
    e.host = host;
    e.driver = none;
    e.toolkit = toolkit;
    e.rounds = (uint32_t)hone__rng_below(&rng, 5);
    e.trials = 50 + (uint32_t)hone__rng_below(&rng, 200);
    e.failed = (uint32_t)hone__rng_below(&rng, 20);
    e.tokens = strategy == 0 ? 0 : hone__rng_below(&rng, 60000);
    e.seconds = 300 * hone__rng_unit(&rng);
    e.created_unix_s = 1790000000 + (int64_t)hone__rng_below(&rng, 10000000);
    hone__buf_clear(buf);
    must(hone__entry_encode(buf, &e, (hone__slot_key){key->slot, HONE_SLOT_BYTES}), "encode", NULL);
}

/* ---- files ---- */

/* Entries first .. of a world into a pack: those whose number is in [from, to) as version 1, so that packs overlap with other results. */
static void write_pack(const world *w, const char *path, uint64_t version, uint64_t skip) {
    hone__pack_writer_options options = {.force = true, .no_sync = true};
    hone__pack_writer *writer;
    hone_error err = {0};
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    must(hone__pack_writer_open(&writer, path, &options, &err), path, &err);
    for (uint64_t i = 0; i < w->count; i++) {
        if (i % 3 == skip)
            continue;
        make_record(w, i, version, &buf);
        hone__item item = {.kind = HONE_ITEM_RECORD, .bytes = (const uint8_t *)buf.data, .count = buf.length};
        memcpy(item.slot, w->key[i].slot, HONE_SLOT_BYTES);
        must(hone__pack_writer_add(writer, &item, &err), "add", &err);
    }
    must(hone__pack_writer_finish(writer, NULL, &err), "finish", &err);
    hone__buf_free(&buf);
}

static MDB_env *open_env(const char *path, unsigned flags) {
    MDB_env *env;
    must_mdb(mdb_env_create(&env), path);
    must_mdb(mdb_env_set_maxdbs(env, 16), path);
    must_mdb(mdb_env_set_mapsize(env, MAP_BYTES), path);
    must_mdb(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS | flags, 0600), path);
    return env;
}

static void remove_cache(const char *path) {
    static const char *const endings[] = {"", "-lock", ".wlock"};
    for (size_t i = 0; i < 3; i++) {
        char name[1100];
        (void)snprintf(name, sizeof name, "%s%s", path, endings[i]);
        (void)unlink(name);
    }
}


/* A virtual machine's memory is the host's only once it has been touched, and touching it costs the guest's CPU: an import of 2 GB into the page
 * cache took 6.2 s of system time with pages that had never been used, and 1.0 s with pages that another file had left.  So who came later in this
 * program was slower.  Nearly all free memory, or as much as all turns may need, is touched once. */
static void touch_memory(uint64_t needed) {
    uint64_t free_bytes = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 10 * 9;
    size_t bytes = (size_t)(needed < free_bytes ? needed : free_bytes);
    volatile char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        die("memory", "cannot be touched");
    (void)madvise((void *)(uintptr_t)memory, bytes, MADV_HUGEPAGE);
    for (size_t at = 0; at < bytes; at += 4096)
        memory[at] = 1;
    (void)munmap((void *)(uintptr_t)memory, bytes);
}

/* The plain loop: the same records (unpacked before, outside the clock, 64 MiB at a time), sorted, appended, in transactions of as many bytes as
 * the import makes, or all in one. */
static double plain_loop(const char *pack_path, const char *path, uint64_t batch_bytes, double *cpu, uint64_t *record_bytes) {
    hone__pack *pack;
    hone__source *source;
    hone_error err = {0};
    enum { CHUNK = 16384 };
    remove_cache(path);
    must(hone__pack_open(&pack, pack_path, NULL, &err), pack_path, &err);
    must(hone__pack_source(&source, pack, &err), pack_path, &err);
    MDB_env *env = open_env(path, MDB_NOMETASYNC);
    MDB_dbi dbi;
    MDB_txn *txn;
    must_mdb(mdb_txn_begin(env, NULL, 0, &txn), path);
    must_mdb(mdb_dbi_open(txn, "entry", MDB_CREATE, &dbi), path);
    hone__buf buf;
    hone__buf_init(&buf, 1u << 30);
    size_t *end = calloc(CHUNK, sizeof *end);
    uint8_t(*slot)[HONE_SLOT_BYTES] = calloc(CHUNK, sizeof *slot);
    double spent = 0, spent_cpu = 0;
    uint64_t in_batch = 0;
    *record_bytes = 0;
    for (bool more = true; more;) {
        uint64_t count = 0;
        hone__buf_clear(&buf);
        while (count < CHUNK) {
            hone__item item;
            const char *reason = NULL;
            hone_status status = source->next(source, &item, &reason, &err);
            if (status == HONE_E_NOTFOUND) {
                more = false;
                break;
            }
            must(status, "next", &err);
            must(hone__item_record(&buf, &item), "unpack", NULL);
            memcpy(slot[count], item.slot, HONE_SLOT_BYTES);
            end[count++] = buf.length;
        }
        double start = wall_s(), start_cpu = cpu_s();
        for (uint64_t i = 0; i < count; i++) {
            size_t at = i == 0 ? 0 : end[i - 1];
            MDB_val key = {HONE_SLOT_BYTES, slot[i]}, value = {end[i] - at, buf.data + at};
            must_mdb(mdb_put(txn, dbi, &key, &value, MDB_APPEND), "put");
            in_batch += value.mv_size;
            if (in_batch >= batch_bytes) {
                in_batch = 0;
                must_mdb(mdb_txn_commit(txn), "commit");
                must_mdb(mdb_txn_begin(env, NULL, 0, &txn), "begin");
            }
        }
        spent += wall_s() - start;
        spent_cpu += cpu_s() - start_cpu;
        *record_bytes += buf.length;
    }
    double start = wall_s(), start_cpu = cpu_s();
    must_mdb(mdb_txn_commit(txn), "commit");
    spent += wall_s() - start;
    *cpu = spent_cpu + cpu_s() - start_cpu;
    mdb_env_close(env);
    hone__source_close(source);
    hone__pack_close(pack);
    hone__buf_free(&buf);
    free(end);
    free(slot);
    return spent;
}

/* ---- one task in a process of its own ---- */

typedef struct child_result {
    double wall, cpu;
    long peak_kib;
} child_result;

static char self[4096];

/* Run ourselves with these words; its stdout is "wall cpu". */
static child_result run_child(const char *const *words) {
    char *argv[12] = {self, (char *)(uintptr_t)"--child"};
    size_t count = 2;
    for (; *words != NULL && count < 11; words++)
        argv[count++] = (char *)(uintptr_t)*words;
    int pipe_fd[2];
    if (pipe(pipe_fd) != 0)
        die("pipe", "failed");
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, pipe_fd[1], 1);
    (void)posix_spawn_file_actions_addclose(&actions, pipe_fd[0]);
    pid_t pid;
    if (posix_spawn(&pid, self, &actions, NULL, argv, environ) != 0)
        die("spawn", self);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipe_fd[1]);
    char text[128] = "";
    ssize_t got = read(pipe_fd[0], text, sizeof text - 1);
    (void)close(pipe_fd[0]);
    int status;
    struct rusage usage;
    if (got <= 0 || wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("child", argv[2]);
    child_result result = {0, 0, 0};
    if (sscanf(text, "%lf %lf %ld", &result.wall, &result.cpu, &result.peak_kib) != 3)
        die("child", text);
    return result;
}

/* The largest RssAnon seen: memory of the process itself.  Pages of LMDB's mapped file are the system's page cache, and are as many as fit. */
static long peak_anon_kib;

static int sample_memory(uint64_t done, uint64_t total, void *user) {
    (void)done;
    (void)total;
    (void)user;
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long anon = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        (void)sscanf(line, "RssAnon: %ld", &anon);
    if (file != NULL)
        (void)fclose(file);
    peak_anon_kib = anon > peak_anon_kib ? anon : peak_anon_kib;
    return 0;
}

static long peak_kib(void) {
    (void)sample_memory(0, 0, NULL);
    return peak_anon_kib;
}

static void find_in_pack(const char *path, const uint8_t *slot) {
    hone__pack *pack;
    hone__item item;
    hone__buf scratch;
    hone__buf_init(&scratch, HONE_LIMIT_RECORD_BYTES);
    must(hone__pack_open(&pack, path, NULL, NULL), path, NULL);
    must(hone__pack_find(pack, slot, &item, &scratch), "find", NULL);
    hone__buf_free(&scratch);
    hone__pack_close(pack);
}

static void find_in_lmdb(const char *path, uint8_t *slot) {
    MDB_env *env = open_env(path, MDB_RDONLY);
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = {HONE_SLOT_BYTES, slot}, value;
    must_mdb(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), path);
    must_mdb(mdb_dbi_open(txn, "entry", 0, &dbi), path);
    must_mdb(mdb_get(txn, dbi, &key, &value), "get");
    mdb_txn_abort(txn);
    mdb_env_close(env);
}

static void read_hex(const char *hex, uint8_t slot[HONE_SLOT_BYTES]) {
    for (size_t i = 0; i < HONE_SLOT_BYTES; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        slot[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static int child(int argc, char **argv) {
    const char *task = argc > 2 ? argv[2] : "";
    hone_error err = {0};
    hone_exchange_options options = HONE_EXCHANGE_OPTIONS_INIT;
    options.force = 1;
    options.no_sync = getenv("BENCH_NO_SYNC") != NULL;
    options.progress = sample_memory;
    double start = wall_s(), start_cpu = cpu_s();
    uint8_t slot[HONE_SLOT_BYTES];
    if (argc > 4 && strncmp(task, "find-", 5) == 0) {
        read_hex(argv[4], slot);
        start = wall_s();
        start_cpu = cpu_s();
        if (strcmp(task, "find-pack") == 0)
            find_in_pack(argv[3], slot);
        else if (strcmp(task, "find-lmdb") == 0)
            find_in_lmdb(argv[3], slot);
    } else if (strcmp(task, "merge") == 0) {
        const char *in[] = {argv[4], argv[5]};
        must(hone_merge(NULL, argv[3], in, 2, &options, &err), "merge", &err);
    } else if (strcmp(task, "verify") == 0) {
        hone__pack *pack;
        must(hone__pack_open(&pack, argv[3], NULL, &err), "open", &err);
        must(hone__pack_verify(pack, sample_memory, NULL, &err), "verify", &err);
        hone__pack_close(pack);
    } else if (strcmp(task, "import") == 0 || strcmp(task, "export") == 0) {
        hone_cache_options open = HONE_CACHE_OPTIONS_INIT;
        hone_cache *cache;
        open.map_bytes_max = MAP_BYTES;
        must(hone_cache_open(&cache, argv[3], &open, &err), "open", &err);
        start = wall_s();
        if (strcmp(task, "import") == 0)
            must(hone_import(NULL, cache, argv[4], &options, &err), "import", &err);
        else
            must(hone_export(NULL, cache, argv[4], &options, &err), "export", &err);
        printf("%.9f %.9f %ld\n", wall_s() - start, cpu_s() - start_cpu, peak_kib());
        hone_cache_close(cache);
        return 0;
    } else {
        die("child", task);
    }
    printf("%.9f %.9f %ld\n", wall_s() - start, cpu_s() - start_cpu, peak_kib());
    return 0;
}

/* ---- measuring ---- */

static int by_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void hex_of(const uint8_t slot[HONE_SLOT_BYTES], char hex[2 * HONE_SLOT_BYTES + 1]) {
    for (size_t i = 0; i < HONE_SLOT_BYTES; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", slot[i]);
}

/* Seconds inside a fresh process from before the open to after the answer and close; pack and LMDB in turn, random keys. */
static void measure_fresh(const world *w, const char *pack, const char *lmdb, double *pack_s, double *lmdb_s, double *pack_cpu, double *lmdb_cpu) {
    static double a[FRESH_RUNS], b[FRESH_RUNS], c[FRESH_RUNS], d[FRESH_RUNS];
    hone__rng rng;
    hone__rng_seed(&rng, 99);
    for (int i = 0; i < FRESH_RUNS; i++) {
        char hex[2 * HONE_SLOT_BYTES + 1];
        uint64_t index = hone__rng_below(&rng, w->count);
        hex_of(w->key[index - index % 3 + 1 < w->count ? index - index % 3 + 1 : 1].slot, hex);
        child_result in_pack = run_child((const char *const[]){"find-pack", pack, hex, NULL});
        child_result in_lmdb = run_child((const char *const[]){"find-lmdb", lmdb, hex, NULL});
        a[i] = in_pack.wall;
        b[i] = in_lmdb.wall;
        c[i] = in_pack.cpu;
        d[i] = in_lmdb.cpu;
    }
    qsort(a, FRESH_RUNS, sizeof *a, by_double);
    qsort(b, FRESH_RUNS, sizeof *b, by_double);
    qsort(c, FRESH_RUNS, sizeof *c, by_double);
    qsort(d, FRESH_RUNS, sizeof *d, by_double);
    *pack_s = a[FRESH_RUNS / 2];
    *lmdb_s = b[FRESH_RUNS / 2];
    *pack_cpu = c[FRESH_RUNS / 2];
    *lmdb_cpu = d[FRESH_RUNS / 2];
}

typedef struct find_times {
    double pack, pack_decoded, lmdb, lmdb_decoded, lmdb_checked;
} find_times;

static uint32_t *random_order(const world *w, uint32_t count) {
    hone__rng rng;
    uint32_t *order = calloc(count, sizeof *order);
    hone__rng_seed(&rng, 5);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t index = hone__rng_below(&rng, w->count);
        order[i] = (uint32_t)(index - index % 3 + 1 < w->count ? index - index % 3 + 1 : 1);
    }
    return order;
}

static void measure_find(const world *w, const char *pack_path, const char *lmdb_path, find_times *out) {
    uint32_t rounds = w->count < 200000 ? (uint32_t)w->count : 200000;
    uint32_t *order = random_order(w, rounds);
    hone__pack *pack;
    hone__buf scratch;
    hone__buf_init(&scratch, HONE_LIMIT_RECORD_BYTES);
    must(hone__pack_open(&pack, pack_path, NULL, NULL), pack_path, NULL);
    MDB_env *env = open_env(lmdb_path, MDB_RDONLY);
    MDB_txn *txn;
    MDB_dbi dbi;
    must_mdb(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), lmdb_path);
    must_mdb(mdb_dbi_open(txn, "entry", 0, &dbi), lmdb_path);
    double best[5] = {1e9, 1e9, 1e9, 1e9, 1e9};
    for (int pass = 0; pass < 3; pass++) { /* the first warms what is kept in memory */
        for (int kind = 0; kind < 5; kind++) {
            double start = cpu_s();
            uint32_t count = kind == 1 || kind == 3 ? rounds / 4 : rounds;
            for (uint32_t i = 0; i < count; i++) {
                uint8_t slot[HONE_SLOT_BYTES];
                memcpy(slot, w->key[order[i]].slot, HONE_SLOT_BYTES);
                hone__item item;
                hone__entry entry;
                hone__slot_key slot_key = {slot, HONE_SLOT_BYTES};
                MDB_val key = {HONE_SLOT_BYTES, slot}, value;
                if (kind < 2) {
                    hone__buf_clear(&scratch);
                    must(hone__pack_find(pack, slot, &item, &scratch), "find", NULL);
                } else {
                    must_mdb(mdb_get(txn, dbi, &key, &value), "get");
                }
                if (kind == 1)
                    must(hone__item_decode(&entry, &item), "decode", NULL);
                else if (kind == 3)
                    must(hone__entry_decode(&entry, value.mv_data, value.mv_size, slot_key), "decode", NULL);
                else if (kind == 4)
                    must(hone__record_frame(value.mv_data, value.mv_size, HONE_RECORD_ENTRY, slot_key), "check", NULL);
                if (kind == 1 || kind == 3)
                    hone__entry_clear(&entry);
            }
            double ns = (cpu_s() - start) / count * 1e9;
            best[kind] = pass > 0 && ns < best[kind] ? ns : best[kind];
        }
    }
    *out = (find_times){best[0], best[1], best[2], best[3], best[4]};
    mdb_txn_abort(txn);
    mdb_env_close(env);
    hone__pack_close(pack);
    hone__buf_free(&scratch);
    free(order);
}

/* Seconds to parse all entries from JSON; beyond 50,000 that is a sample, scaled. */
static double measure_json(const char *pack_path, uint64_t *parsed) {
    hone__pack *pack;
    hone__source *source;
    hone__item item;
    hone__buf buf;
    double spent = 0;
    const char *reason;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    must(hone__pack_open(&pack, pack_path, NULL, NULL), pack_path, NULL);
    must(hone__pack_source(&source, pack, NULL), pack_path, NULL);
    for (*parsed = 0; *parsed < 50000 && source->next(source, &item, &reason, NULL) == HONE_OK; ++*parsed) {
        hone__entry entry;
        cJSON *json = NULL;
        must(hone__item_decode(&entry, &item), "decode", NULL);
        hone__buf_clear(&buf);
        hone__entry_print(&buf, &entry);
        hone__entry_clear(&entry);
        double start = wall_s();
        must(hone__json_parse(&json, buf.data, buf.length, "entry", NULL), "parse", NULL);
        spent += wall_s() - start;
        cJSON_Delete(json);
    }
    spent = spent / (double)*parsed * (double)hone__pack_about(pack)->entries;
    hone__source_close(source);
    hone__pack_close(pack);
    hone__buf_free(&buf);
    return spent;
}

static uint64_t file_bytes(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

/* ---- the whole ---- */

typedef struct run {
    uint64_t entries, seed;
    const char *dir;
    bool keep;
    char folder[600], a[700], b[700], merged[700], cache[700], plain[700], exported[700];
} run;

static void read_words(run *r, int argc, char **argv) {
    *r = (run){.entries = 100000, .seed = 1, .dir = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--entries") == 0 && i + 1 < argc)
            r->entries = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            r->seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            r->dir = argv[++i];
        else if (strcmp(argv[i], "--keep") == 0)
            r->keep = true;
        else if (strcmp(argv[i], "--json") != 0)
            die("usage", "bench_pack [--entries N] [--dir DIR] [--seed S] [--keep] --json");
    }
    if (r->entries < 10 || realpath("/proc/self/exe", self) == NULL)
        die("usage", "--entries is at least 10");
    (void)snprintf(r->folder, sizeof r->folder, "%s/bench-pack-XXXXXX", r->dir);
    if (mkdtemp(r->folder) == NULL)
        die(r->folder, "cannot make a folder");
    char *const path[] = {r->a, r->b, r->merged, r->cache, r->plain, r->exported};
    static const char *const name[] = {"a.hpk", "b.hpk", "merged.hpk", "cache.hone", "plain.mdb", "exported.hpk"};
    for (size_t i = 0; i < 6; i++)
        (void)snprintf(path[i], 700, "%s/%s", r->folder, name[i]);
}

static void clean_up(run *r) {
    if (r->keep)
        return;
    remove_cache(r->cache);
    remove_cache(r->plain);
    (void)unlink(r->a);
    (void)unlink(r->b);
    (void)unlink(r->merged);
    (void)unlink(r->exported);
    (void)rmdir(r->folder);
}

static void report_answers(const world *w, const run *r, uint64_t in_a) {
    uint64_t parsed;
    double pack, lmdb, pack_cpu, lmdb_cpu;
    find_times find;
    measure_fresh(w, r->a, r->plain, &pack, &lmdb, &pack_cpu, &lmdb_cpu);
    measure_find(w, r->a, r->plain, &find);
    double json_s = measure_json(r->a, &parsed);
    printf("{\"entries\":%llu,\"fresh\":{\"pack_us\":%.2f,\"lmdb_us\":%.2f,\"pack_to_lmdb\":%.3f,\"pack_cpu_us\":%.2f,\"lmdb_cpu_us\":%.2f,"
           "\"json_parse_s\":%.3f,\"json_entries_parsed\":%llu,\"json_to_pack\":%.0f},",
           (unsigned long long)in_a, pack * 1e6, lmdb * 1e6, pack / lmdb, pack_cpu * 1e6, lmdb_cpu * 1e6, json_s, (unsigned long long)parsed, json_s / pack);
    printf("\"find\":{\"pack_ns\":%.0f,\"mdb_get_ns\":%.0f,\"mdb_get_checked_ns\":%.0f,\"pack_to_mdb_get\":%.3f,\"pack_decoded_ns\":%.0f,"
           "\"mdb_get_decoded_ns\":%.0f},",
           find.pack, find.lmdb, find.lmdb_checked, find.pack / find.lmdb, find.pack_decoded, find.lmdb_decoded);
}

static double median(double *values) {
    qsort(values, TURNS, sizeof *values, by_double);
    return values[TURNS / 2];
}

typedef struct turns {
    double wall[TURNS], cpu[TURNS];
    long peak_kib;
} turns;

static void keep_turn(turns *of, int turn, child_result result) {
    of->wall[turn] = result.wall;
    of->cpu[turn] = result.cpu;
    of->peak_kib = result.peak_kib > of->peak_kib ? result.peak_kib : of->peak_kib;
}

static child_result merge_turn(const run *r, bool sync) {
    (void)unlink(r->merged);
    (void)(sync ? unsetenv("BENCH_NO_SYNC") : setenv("BENCH_NO_SYNC", "1", 1));
    child_result result = run_child((const char *const[]){"merge", r->merged, r->a, r->b, NULL});
    (void)unsetenv("BENCH_NO_SYNC");
    return result;
}

static void report_work(const run *r, uint64_t in_a) {
    static turns one, plain, importing, merging, unsynced;
    double inputs = 2 * (double)in_a;
    uint64_t record_bytes = 0;
    touch_memory(16 * file_bytes(r->plain));
    for (int turn = 0; turn < TURNS; turn++) {
        child_result result = {0, 0, 0};
        result.wall = plain_loop(r->a, r->plain, UINT64_MAX, &result.cpu, &record_bytes);
        keep_turn(&one, turn, result);
        result.wall = plain_loop(r->a, r->plain, IMPORT_BATCH_BYTES, &result.cpu, &record_bytes);
        keep_turn(&plain, turn, result);
        remove_cache(r->cache);
        keep_turn(&importing, turn, run_child((const char *const[]){"import", r->cache, r->a, NULL}));
        keep_turn(&merging, turn, merge_turn(r, true));
        keep_turn(&unsynced, turn, merge_turn(r, false));
    }
    child_result import = {median(importing.wall), median(importing.cpu), importing.peak_kib};
    child_result merge = {median(merging.wall), median(merging.cpu), merging.peak_kib};
    child_result no_sync = {median(unsynced.wall), median(unsynced.cpu), unsynced.peak_kib};
    double one_s = median(one.wall), one_cpu = median(one.cpu), plain_s = median(plain.wall), plain_cpu = median(plain.cpu);
    child_result verify = run_child((const char *const[]){"verify", r->a, NULL});
    child_result export = run_child((const char *const[]){"export", r->cache, r->exported, NULL});
    printf("\"merge\":{\"inputs\":%.0f,\"wall_s\":%.3f,\"wall_no_sync_s\":%.3f,\"cpu_s\":%.3f,\"inputs_per_s\":%.0f,\"inputs_per_s_no_sync\":%.0f,"
           "\"inputs_per_cpu_s\":%.0f},",
           inputs, merge.wall, no_sync.wall, no_sync.cpu, inputs / merge.wall, inputs / no_sync.wall, inputs / no_sync.cpu);
    printf("\"import\":{\"wall_s\":%.3f,\"plain_s\":%.3f,\"plain_one_txn_s\":%.3f,\"speed\":%.3f,\"speed_to_one_txn\":%.3f,\"cpu_s\":%.3f,"
           "\"plain_cpu_s\":%.3f,\"plain_one_txn_cpu_s\":%.3f},",
           import.wall, plain_s, one_s, plain_s / import.wall, one_s / import.wall, import.cpu, plain_cpu, one_cpu);
    printf("\"size\":{\"pack_bytes\":%llu,\"lmdb_bytes\":%llu,\"record_bytes\":%llu,\"pack_to_lmdb\":%.3f},", (unsigned long long)file_bytes(r->a),
           (unsigned long long)file_bytes(r->plain), (unsigned long long)record_bytes, (double)file_bytes(r->a) / (double)file_bytes(r->plain));
    printf("\"memory\":{\"merge_kib\":%ld,\"verify_kib\":%ld,\"import_kib\":%ld,\"export_kib\":%ld},\"seconds\":{\"verify\":%.3f,\"export\":%.3f}}\n",
           merge.peak_kib, verify.peak_kib, import.peak_kib, export.peak_kib, verify.wall, export.wall);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--child") == 0)
        return child(argc, argv);
    run r;
    world w = {.count = 0};
    read_words(&r, argc, argv);
    /* 3/2 N keys, of which each pack has two thirds: N entries each, half of them common. */
    make_world(&w, r.entries + r.entries / 2, r.seed);
    write_pack(&w, r.a, 1, 0);
    write_pack(&w, r.b, 2, 2);
    hone__pack *pack;
    must(hone__pack_open(&pack, r.a, NULL, NULL), r.a, NULL);
    uint64_t in_a = hone__pack_about(pack)->entries;
    hone__pack_close(pack);
    double cpu;
    uint64_t bytes;
    (void)plain_loop(r.a, r.plain, IMPORT_BATCH_BYTES, &cpu, &bytes); /* the file that is asked */
    report_answers(&w, &r, in_a);
    (void)fflush(stdout);
    report_work(&r, in_a);
    clean_up(&r);
    free_world(&w);
    return 0;
}
