/* bench_lookup.c: what a look-up costs: warm, in a fresh process, and in memory; beside a bare hash table, LMDB, SQLite and files that are read at
 * start.  usage: bench_lookup [--json] [--entries N] [--skip-first] [--dir FOLDER].  README.md here says how to read the figures. */
#define _GNU_SOURCE
#include "bench/bench_data.h"
#include "bench/bench_first.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROBLEMS = 1000, BATCH = 100, SAMPLES = 4000, SLOW_SAMPLES = 1000, ROUNDS = 5, PAIRS = 15, COUNTED = 100000 };

/* ---- counting allocations: this program's own door to the heap ---- */

static atomic_uint_fast64_t allocations;
#ifndef HONE_SANITIZED
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *malloc(size_t bytes) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_calloc(count, bytes);
}
void *realloc(void *old, size_t bytes) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_realloc(old, bytes);
}
#endif

/* ---- the contestants ---- */

/* A bare table: XXH3 of the 64 bytes, open addressing, comparison of all of them. */
typedef struct bare_slot {
    int64_t size[8];
    const void *value;
} bare_slot;

typedef struct warm {
    bench_place place;
    hone_cache *cache;
    hone_site *site;
    hone_problem *problem;
    int64_t (*size)[8]; /* of the problems: what a program has at hand when it fills a hone_problem on its stack */
    uint32_t *order; /* a random one; a multiple of BATCH */
    uint32_t order_count;
    bare_slot *bare;
    uint32_t bare_mask;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *txn;
    sqlite3 *db, *db_rollback; /* with a write-ahead log, and as SQLite is by default */
    sqlite3_stmt *select, *select_rollback;
} warm;

__attribute__((noinline)) static const void *bare_find(const warm *w, const int64_t *size) {
    for (uint64_t at = XXH3_64bits(size, 64);; at++) {
        const bare_slot *slot = &w->bare[at & w->bare_mask];
        if (slot->value == NULL)
            return NULL;
        if (memcmp(slot->size, size, 64) == 0)
            return slot->value;
    }
}

static void bare_add(warm *w, const int64_t *size, const void *value) {
    uint64_t at = XXH3_64bits(size, 64);
    while (w->bare[at & w->bare_mask].value != NULL)
        at++;
    memcpy(w->bare[at & w->bare_mask].size, size, 64);
    w->bare[at & w->bare_mask].value = value;
}

/* As in a launch: eight sizes that the program has at hand are put into a problem on the stack.  Chained, each look-up waits for the one before,
 * because what came out takes part in the next index; else the processor may overlap them with one another, as with other work. */
#define CONTESTANT(name, chained, expression)                                                                                                  \
    static uint32_t name(const warm *w, uint32_t at, uint32_t missing) {                                                                       \
        hone_problem on_stack = w->problem[0], *problem = &on_stack;                                                                           \
        for (uint32_t i = 0; i < BATCH; i++) {                                                                                                 \
            memcpy(problem->size, w->size[w->order[at + i + (chained ? missing : 0)]], 64);                                                    \
            __asm__ volatile("" : : "r"(problem) : "memory"); /* it is really written */                                                       \
            missing += (expression) == NULL;                                                                                                   \
        }                                                                                                                                      \
        return missing;                                                                                                                        \
    }

static const void *mdb_held(const warm *w, const hone_problem *problem) {
    MDB_val key = {64, (void *)(uintptr_t)problem->size}, value;
    return mdb_get(w->txn, w->dbi, &key, &value) == 0 ? value.mv_data : NULL;
}

/* As a program does that wants to see others' commits and not to hold up their pages: a snapshot for each look-up. */
static const void *mdb_fresh(const warm *w, const hone_problem *problem) {
    BENCH_CHECK(mdb_txn_renew(w->txn) == 0);
    const void *found = mdb_held(w, problem);
    mdb_txn_reset(w->txn);
    return found;
}

static const void *sqlite_find(sqlite3_stmt *select, const hone_problem *problem) {
    BENCH_CHECK(sqlite3_bind_blob(select, 1, problem->size, 64, SQLITE_STATIC) == SQLITE_OK);
    const void *found = sqlite3_step(select) == SQLITE_ROW ? sqlite3_column_blob(select, 0) : NULL;
    BENCH_CHECK(sqlite3_reset(select) == SQLITE_OK);
    return found;
}

static const void *values_of(const hone_config *config) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < 6; i++)
        sum += hone_config_int(config, i);
    return sum > 0 ? config : NULL;
}

CONTESTANT(run_site, false, hone_site_lookup(w->site, problem, NULL))
CONTESTANT(run_site_chained, true, hone_site_lookup(w->site, problem, NULL))
CONTESTANT(run_values, false, values_of(hone_site_lookup(w->site, problem, NULL)))
CONTESTANT(run_bare, false, bare_find(w, problem->size))
CONTESTANT(run_bare_chained, true, bare_find(w, problem->size))
CONTESTANT(run_mdb_held, false, mdb_held(w, problem))
CONTESTANT(run_mdb_fresh, false, mdb_fresh(w, problem))
CONTESTANT(run_sqlite, false, sqlite_find(w->select, problem))
CONTESTANT(run_sqlite_rollback, false, sqlite_find(w->select_rollback, problem))

static void time_batches(const warm *w, uint32_t (*run)(const warm *, uint32_t, uint32_t), double *sample, uint32_t samples) {
    for (uint32_t i = 0; i < samples; i++) {
        uint32_t at = i * BATCH % w->order_count;
        uint64_t start = hone__clock_ns();
        uint32_t missing = run(w, at, 0);
        sample[i] = (double)(hone__clock_ns() - start) / BATCH;
        BENCH_CHECK(missing == 0);
    }
}

/* ---- setting up ---- */

static void setup_lmdb(warm *w) {
    hone__buf buf;
    hone__buf_init(&buf, 65536);
    MDB_txn *txn;
    BENCH_CHECK(mdb_env_create(&w->env) == 0 && mdb_env_set_mapsize(w->env, 64u << 20) == 0);
    BENCH_CHECK(mdb_env_open(w->env, w->place.lmdb, MDB_NOSUBDIR | MDB_NOTLS, 0600) == 0);
    BENCH_CHECK(mdb_txn_begin(w->env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &w->dbi) == 0);
    for (uint32_t i = 0; i < PROBLEMS; i++) {
        hone__key key;
        bench_encode(&w->place, i, &key, &buf);
        MDB_val k = {64, w->problem[i].size}, v = {buf.length, buf.data};
        BENCH_CHECK(mdb_put(txn, w->dbi, &k, &v, 0) == 0);
    }
    BENCH_CHECK(mdb_txn_commit(txn) == 0);
    BENCH_CHECK(mdb_txn_begin(w->env, NULL, MDB_RDONLY, &w->txn) == 0);
    hone__buf_free(&buf);
}

static void setup_sqlite(warm *w, const char *path, const char *journal, sqlite3 **db, sqlite3_stmt **select) {
    hone__buf buf;
    sqlite3_stmt *insert;
    hone__buf_init(&buf, 65536);
    BENCH_CHECK(sqlite3_open(path, db) == SQLITE_OK && sqlite3_exec(*db, journal, NULL, NULL, NULL) == SQLITE_OK);
    BENCH_CHECK(sqlite3_exec(*db, "CREATE TABLE e(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID; BEGIN", NULL, NULL, NULL) == SQLITE_OK);
    BENCH_CHECK(sqlite3_prepare_v2(*db, "INSERT INTO e VALUES(?,?)", -1, &insert, NULL) == SQLITE_OK);
    for (uint32_t i = 0; i < PROBLEMS; i++) {
        hone__key key;
        bench_encode(&w->place, i, &key, &buf);
        BENCH_CHECK(sqlite3_bind_blob(insert, 1, w->problem[i].size, 64, SQLITE_STATIC) == SQLITE_OK);
        BENCH_CHECK(sqlite3_bind_blob(insert, 2, buf.data, (int)buf.length, SQLITE_STATIC) == SQLITE_OK);
        BENCH_CHECK(sqlite3_step(insert) == SQLITE_DONE && sqlite3_reset(insert) == SQLITE_OK);
    }
    BENCH_CHECK(sqlite3_finalize(insert) == SQLITE_OK && sqlite3_exec(*db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
    BENCH_CHECK(sqlite3_prepare_v2(*db, "SELECT v FROM e WHERE k=?", -1, select, NULL) == SQLITE_OK);
    hone__buf_free(&buf);
}

static void setup(warm *w, const char *folder) {
    bench_paths(&w->place, folder);
    bench_subject(&w->place);
    bench_make_cache(&w->place, PROBLEMS);
    w->cache = bench_open(w->place.cache);
    BENCH_CHECK(hone_site_open(&w->site, w->cache, w->place.kernel, w->place.device, NULL, NULL) == HONE_OK);
    w->problem = calloc(PROBLEMS, sizeof *w->problem);
    w->size = calloc(PROBLEMS, sizeof *w->size);
    w->order_count = 64 * BATCH;
    w->order = calloc(w->order_count + BATCH, sizeof *w->order);
    w->bare_mask = 2047;
    w->bare = aligned_alloc(64, 2048 * sizeof *w->bare);
    BENCH_CHECK(w->problem != NULL && w->size != NULL && w->order != NULL && w->bare != NULL);
    memset(w->bare, 0, 2048 * sizeof *w->bare);
    hone__rng rng;
    hone__rng_seed(&rng, 1);
    for (uint32_t i = 0; i < w->order_count + BATCH; i++)
        w->order[i] = (uint32_t)hone__rng_below(&rng, PROBLEMS);
    for (uint32_t i = 0; i < PROBLEMS; i++) {
        hone_match match;
        w->problem[i] = bench_problem(w->place.kernel, i);
        memcpy(w->size[i], w->problem[i].size, 64);
        const hone_config *config = hone_site_lookup(w->site, &w->problem[i], &match);
        BENCH_CHECK(config != NULL && match == HONE_MATCH_EXACT);
        bare_add(w, w->problem[i].size, config);
    }
    for (uint32_t i = 0; i < PROBLEMS; i++)
        BENCH_CHECK(hone_site_lookup(w->site, &w->problem[i], NULL) == bare_find(w, w->problem[i].size));
    setup_lmdb(w);
    setup_sqlite(w, w->place.sqlite, "PRAGMA journal_mode=WAL", &w->db, &w->select);
    setup_sqlite(w, w->place.sqlite_rollback, "PRAGMA journal_mode=DELETE", &w->db_rollback, &w->select_rollback);
}

static void teardown(warm *w) {
    (void)sqlite3_finalize(w->select);
    (void)sqlite3_close(w->db);
    (void)sqlite3_finalize(w->select_rollback);
    (void)sqlite3_close(w->db_rollback);
    mdb_txn_abort(w->txn);
    mdb_env_close(w->env);
    hone_cache_close(w->cache);
    hone_kernel_free(w->place.kernel);
    hone_device_free(w->place.device);
    free(w->problem);
    free(w->size);
    free(w->order);
    free(w->bare);
}

/* ---- two threads ---- */

typedef struct racer {
    const warm *w;
    uint32_t (*run)(const warm *, uint32_t, uint32_t);
    atomic_int *start;
    double seconds;
} racer;

static void *race(void *user) {
    racer *self = user;
    atomic_fetch_sub(self->start, 1);
    while (atomic_load(self->start) > 0) {
    }
    uint64_t start = hone__clock_ns();
    for (uint32_t i = 0; i < 20000; i++)
        BENCH_CHECK(self->run(self->w, i * BATCH % self->w->order_count, 0) == 0);
    self->seconds = (double)(hone__clock_ns() - start) / 1e9;
    return NULL;
}

/* Look-ups a second of `count` threads together. */
static double rate_of(const warm *w, uint32_t (*run)(const warm *, uint32_t, uint32_t), uint32_t count) {
    racer racers[2] = {{.w = w, .run = run}, {.w = w, .run = run}};
    pthread_t threads[2];
    atomic_int start = (int)count;
    double rate = 0;
    for (uint32_t i = 0; i < count; i++) {
        racers[i].start = &start;
        BENCH_CHECK(pthread_create(&threads[i], NULL, race, &racers[i]) == 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        BENCH_CHECK(pthread_join(threads[i], NULL) == 0);
        rate += 20000.0 * BATCH / racers[i].seconds;
    }
    return rate;
}

/* What two threads do together over what one does.  `best` compares the best rates of all rounds, the least disturbed ones, `middle` is the median
 * of the rounds' ratios. */
typedef struct scaling {
    double one, two, best, middle, ratio[PAIRS];
} scaling;

static void add_pair(const warm *w, uint32_t (*run)(const warm *, uint32_t, uint32_t), scaling *s, uint32_t round) {
    double one = rate_of(w, run, 1), two = rate_of(w, run, 2);
    s->one = fmax(s->one, one);
    s->two = fmax(s->two, two);
    s->ratio[round] = two / one;
}

/* Sites and the bare table in turn, so that a busy machine disturbs both alike. */
static void measure_scaling(const warm *w, scaling *site, scaling *bare) {
    *site = *bare = (scaling){.one = 0};
    for (uint32_t i = 0; i < PAIRS; i++) {
        add_pair(w, run_site, site, i);
        add_pair(w, run_bare, bare, i);
    }
    site->best = site->two / site->one;
    bare->best = bare->two / bare->one;
    site->middle = bench_quantile(site->ratio, PAIRS, 0.5);
    bare->middle = bench_quantile(bare->ratio, PAIRS, 0.5);
}

/* ---- counting system calls: a traced child ---- */

/* Between two calls of getppid; -1: tracing is not allowed here. */
static long count_syscalls(const warm *w, bool look_up) {
    (void)fflush(NULL);
    pid_t pid = fork();
    BENCH_CHECK(pid >= 0);
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(1);
        (void)raise(SIGSTOP);
        (void)syscall(SYS_getppid);
        for (uint32_t i = 0; i < COUNTED / BATCH; i++) {
            if (look_up ? run_site(w, i * BATCH % w->order_count, 0) != 0 : run_sqlite(w, i * BATCH % w->order_count, 0) != 0)
                _exit(2);
        }
        (void)syscall(SYS_getppid);
        _exit(0);
    }
    long counted = 0;
    int status, marks = 0;
    bool entering = true;
    BENCH_CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFSTOPPED(status) || ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0)
        return -1;
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid || WIFEXITED(status) || WIFSIGNALED(status))
            break;
        if (WSTOPSIG(status) != (SIGTRAP | 0x80))
            continue;
        struct __ptrace_syscall_info info;
        BENCH_CHECK(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0);
        if (entering && info.entry.nr == SYS_getppid)
            marks++;
        else if (entering && marks == 1)
            counted++;
        entering = !entering;
    }
    BENCH_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0 && marks == 2);
    return counted;
}

static uint64_t count_allocations(const warm *w) {
    uint64_t before = atomic_load(&allocations);
    for (uint32_t i = 0; i < COUNTED / BATCH; i++)
        BENCH_CHECK(run_site(w, i * BATCH % w->order_count, 0) == 0);
    return atomic_load(&allocations) - before;
}

/* ---- */

typedef struct figures {
    double site, site_p99, chained, values, bare, bare_chained, mdb_fresh, mdb_held, sqlite, sqlite_rollback;
} figures;

/* Rounds of all contestants in turn: the best median of each, as noise only adds. */
static figures measure(const warm *w) {
    static double sample[SAMPLES];
    figures best = {1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9};
    const struct {
        double *to;
        uint32_t (*run)(const warm *, uint32_t, uint32_t);
        uint32_t samples;
    } all[] = {{&best.site, run_site, SAMPLES}, {&best.bare, run_bare, SAMPLES}, {&best.values, run_values, SAMPLES},
               {&best.chained, run_site_chained, SAMPLES}, {&best.bare_chained, run_bare_chained, SAMPLES},
               {&best.mdb_held, run_mdb_held, SLOW_SAMPLES}, {&best.sqlite, run_sqlite, SLOW_SAMPLES / 4}, {&best.sqlite_rollback, run_sqlite_rollback, SLOW_SAMPLES / 4}};
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            time_batches(w, all[i].run, sample, all[i].samples);
            double p50 = bench_quantile(sample, all[i].samples, 0.5);
            *all[i].to = p50 < *all[i].to ? p50 : *all[i].to;
            if (all[i].run == run_site)
                best.site_p99 = fmin(best.site_p99, bench_quantile(sample, all[i].samples, 0.99));
        }
        mdb_txn_reset(w->txn);
        time_batches(w, run_mdb_fresh, sample, SLOW_SAMPLES);
        BENCH_CHECK(mdb_txn_renew(w->txn) == 0);
        best.mdb_fresh = fmin(best.mdb_fresh, bench_quantile(sample, SLOW_SAMPLES, 0.5));
    }
    return best;
}

/* The same for a program that launches one thing again and again: everything is in the nearest cache. */
static figures measure_same(const warm *w) {
    warm same = *w;
    same.order = calloc(w->order_count + BATCH, sizeof *same.order);
    BENCH_CHECK(same.order != NULL);
    figures f = measure(&same);
    free(same.order);
    return f;
}

static void print_warm(const warm *w) {
    figures f = measure(w), same = measure_same(w);
    /* What two threads can do at all on this machine, and with what else runs on it, the bare table shows: it shares nothing but memory. */
    scaling two, bare_two;
    measure_scaling(w, &two, &bare_two);
    printf("\"problems\":%d,\"problem_bytes\":64,\"warm_hit_ns\":%.2f,\"warm_hit_p99_ns\":%.2f,\"warm_hit_with_six_values_ns\":%.2f,\"probe_ns\":%.2f", PROBLEMS,
           f.site, f.site_p99, f.values, f.bare);
    printf(",\"warm_hit_chained_ns\":%.2f,\"probe_chained_ns\":%.2f,\"chained_over_probe\":%.2f", f.chained, f.bare_chained, f.chained / f.bare_chained);
    printf(",\"same_hit_ns\":%.2f,\"same_probe_ns\":%.2f,\"same_mdb_get_ns\":%.1f,\"same_sqlite_ns\":%.1f", same.site, same.bare, same.mdb_fresh, same.sqlite);
    printf(",\"mdb_get_ns\":%.1f,\"mdb_get_held_txn_ns\":%.1f,\"sqlite_ns\":%.1f,\"sqlite_rollback_ns\":%.1f", f.mdb_fresh, f.mdb_held, f.sqlite, f.sqlite_rollback);
    printf(",\"hit_over_probe\":%.2f,\"mdb_over_hit\":%.1f,\"mdb_held_over_hit\":%.1f,\"sqlite_over_hit\":%.1f,\"sqlite_rollback_over_hit\":%.1f", f.site / f.bare,
           f.mdb_fresh / f.site, f.mdb_held / f.site, f.sqlite / f.site, f.sqlite_rollback / f.site);
    printf(",\"two_thread_ratio_middle\":%.3f,\"probe_two_thread_ratio_middle\":%.3f", two.middle, bare_two.middle);
    printf(",\"two_thread_ratio\":%.3f,\"probe_two_thread_ratio\":%.3f,\"counted_look_ups\":%d,\"allocations\":%llu", two.best, bare_two.best, COUNTED,
           (unsigned long long)count_allocations(w));
    printf(",\"syscalls\":%ld,\"sqlite_syscalls\":%ld", count_syscalls(w, true), count_syscalls(w, false));
}

int main(int argc, char **argv) {
    uint32_t entries = 1000000;
    bool first = true;
    const char *dir = getenv("TMPDIR");
    if (argc > 3 && strcmp(argv[1], "--child") == 0)
        return bench_first_child(argv[2], argv[3], argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--entries") == 0 && i + 1 < argc)
            entries = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            dir = argv[++i];
        else if (strcmp(argv[i], "--skip-first") == 0)
            first = false;
        else if (strcmp(argv[i], "--json") != 0) {
            (void)fprintf(stderr, "usage: bench_lookup [--json] [--entries N] [--skip-first] [--dir FOLDER]\n");
            return 2;
        }
    }
    char folder[256];
    (void)snprintf(folder, sizeof folder, "%s/hone-bench-XXXXXX", dir == NULL ? "/tmp" : dir);
    BENCH_CHECK(mkdtemp(folder) != NULL);
    warm w;
    memset(&w, 0, sizeof w);
    setup(&w, folder);
    printf("{\"bench\":\"lookup\",");
    print_warm(&w);
    teardown(&w);
    if (first) {
        bench_remove(folder);
        BENCH_CHECK(mkdir(folder, 0700) == 0);
        bench_first(argv[0], folder, entries);
    }
    printf("}\n");
    bench_remove(folder);
    return 0;
}
