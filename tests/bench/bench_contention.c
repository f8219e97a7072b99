/* bench_contention.c: many at once.  `bench_contention --json` prints one object:
 *   "tuning": processes and threads that all want the same keys, of which none is known: how often each was tuned, how long each caller
 *             waited, and how soon after its commit a result reached those who waited for it;
 *   "stores": writers that insert at the same time beside one reader, in Hone's cache and in what else people use: inserts kept, time, the reader's
 *             latency.
 * The tuning is the real one (hone_tune) with this program as its external evaluator. */
#define _GNU_SOURCE
#include "bench/contention_stores.h"
#include "clock.h"

#include <pthread.h>
#include <sys/mman.h>

enum { KEYS_MAX = 1000, PROCESSES_MAX = 64, WAITS_MAX = 1 << 16, READS_MAX = 1 << 20 };

typedef struct setting {
    uint32_t processes, threads, keys, writers, inserts, deadline_ms;
    bool tuning, stores;
} setting;

static double percentile(double *value, size_t count, double part);

/* ---- the evaluator: every config takes a microsecond a unit of T; each prepare is one tuning, and is written down ---- */

static void note_tuning(const char *path, const cJSON *request) {
    char line[32];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)snprintf(line, sizeof line, "%d\n", cJSON_GetObjectItem(cJSON_GetObjectItem(request, "sizes"), "M")->valueint);
    need(fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line), "a tuning cannot be written down");
    (void)close(fd);
}

static int evaluate(const char *tunings) {
    static char line[1 << 20];
    int times[1024], handles = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        cJSON *request = cJSON_Parse(line);
        const char *op = cJSON_GetStringValue(cJSON_GetObjectItem(request, "op"));
        int id = cJSON_GetObjectItem(request, "id")->valueint;
        if (strcmp(op, "hello") == 0) {
            (void)printf("{\"id\":%d,\"ok\":true,\"protocol\":1,\"device\":{\"kind\":\"contended\",\"identity\":{\"n\":1}}}\n", id);
        } else if (strcmp(op, "compile") == 0 && handles < 1024) {
            times[handles] = 1000 * cJSON_GetObjectItem(cJSON_GetObjectItem(request, "config"), "T")->valueint;
            (void)printf("{\"id\":%d,\"ok\":true,\"handle\":%d}\n", id, handles++);
        } else if (strcmp(op, "measure") == 0) {
            int t = times[cJSON_GetObjectItem(request, "handle")->valueint];
            (void)printf("{\"id\":%d,\"ok\":true,\"samples_ns\":[%d,%d,%d,%d,%d],\"accuracy\":\"passed\"}\n", id, t, t + 1, t, t + 1, t);
        } else {
            if (strcmp(op, "prepare") == 0)
                note_tuning(tunings, request);
            (void)printf("{\"id\":%d,\"ok\":true}\n", id);
        }
        (void)fflush(stdout);
        bool bye = strcmp(op, "bye") == 0;
        cJSON_Delete(request);
        if (bye)
            break;
    }
    return 0;
}

/* ---- everybody wants the same keys ---- */

typedef struct tuning_scene {
    _Atomic uint64_t committed_ns[KEYS_MAX];
    _Atomic uint32_t waits, ready, go, tuned, late, errors;
    double answer_ms[WAITS_MAX];  /* of every caller and key */
    _Atomic uint32_t pickups;
    double pickup_ms[WAITS_MAX];  /* of those who waited for another's tuning */
} tuning_scene;

static tuning_scene *scene;
static _Thread_local uint32_t tuning_now;

/* The linker sends calls of hone__cache_put here (--wrap), so that the moment of the commit is known. */
hone_status __real_hone__cache_put(hone_cache *cache, const hone__entry *entry, bool replace, hone_error *err);
hone_status __wrap_hone__cache_put(hone_cache *cache, const hone__entry *entry, bool replace, hone_error *err);
hone_status __wrap_hone__cache_put(hone_cache *cache, const hone__entry *entry, bool replace, hone_error *err) {
    hone_status status = __real_hone__cache_put(cache, entry, replace, err);
    if (status == HONE_OK && scene != NULL)
        atomic_store(&scene->committed_ns[tuning_now], hone__clock_ns());
    return status;
}

typedef struct caller {
    const setting *set;
    const char *path;
    const hone_kernel *kernel;
    const hone_device *device;
    uint32_t number;
    pthread_t thread;
} caller;

static void keep(double *list, _Atomic uint32_t *count, double value) {
    uint32_t at = atomic_fetch_add(count, 1);
    if (at < WAITS_MAX)
        list[at] = value;
}

static bool is_exact(const caller *c, const hone_cache *cache, const hone_problem *problem) {
    hone_answer *answer = NULL;
    bool exact = hone_lookup(&answer, cache, c->kernel, c->device, problem, NULL) == HONE_OK && hone_answer_match(answer) == HONE_MATCH_EXACT;
    hone_answer_free(answer);
    return exact;
}

static void try_to_tune(const caller *c, hone_cache *cache, const hone_problem *problem) {
    hone_tune_options options = HONE_TUNE_OPTIONS_INIT;
    hone_error err = {0};
    char *json = NULL;
    options.search = "random";
    options.trials_max = 2;
    hone_status status = hone_tune(&json, cache, c->kernel, c->device, problem, &options, &err);
    if (status == HONE_OK && strstr(json, "\"tuned\":true") != NULL)
        atomic_fetch_add(&scene->tuned, 1);
    if (status != HONE_OK && status != HONE_E_BUSY) {
        (void)fprintf(stderr, "bench_contention: %s\n", err.message);
        atomic_fetch_add(&scene->errors, 1);
    }
    hone_free(json);
}

/* What a server does: look up, and on a miss tune, or let another tune and look again. */
static void want(const caller *c, hone_cache *cache, uint32_t key) {
    hone_problem problem;
    hone_problem_init(c->kernel, &problem);
    need(hone_problem_set(c->kernel, &problem, "M", (int64_t)key + 1, NULL) == HONE_OK, "no such size");
    uint64_t start = hone__clock_ns(), deadline = start + (uint64_t)c->set->deadline_ms * 1000000u, next_try = start;
    tuning_now = key;
    bool exact, waited = false;
    while (!(exact = is_exact(c, cache, &problem)) && hone__clock_ns() < deadline) {
        if (hone__clock_ns() >= next_try) {
            try_to_tune(c, cache, &problem);
            next_try = hone__clock_ns() + 1000000000u; /* the one who has it may have died */
        } else {
            waited = true;
            hone__sleep_ms(5);
        }
    }
    uint64_t now = hone__clock_ns(), committed = atomic_load(&scene->committed_ns[key]);
    keep(scene->answer_ms, &scene->waits, (double)(now - start) / 1e6);
    if (!exact)
        atomic_fetch_add(&scene->late, 1);
    else if (waited && committed > start && committed <= now)
        keep(scene->pickup_ms, &scene->pickups, (double)(now - committed) / 1e6);
}

static void *call(void *user) {
    caller *c = user;
    hone_cache *cache = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.writer_wait_ms = 5000;
    need(hone_cache_open(&cache, c->path, &options, NULL) == HONE_OK, "the cache does not open");
    atomic_fetch_add(&scene->ready, 1);
    while (atomic_load(&scene->go) == 0)
        hone__sleep_ms(1);
    /* The threads of a process go through the keys from different ends; the processes do the same as one another. */
    uint32_t first = c->number % c->set->threads * c->set->keys / c->set->threads;
    for (uint32_t i = 0; i < c->set->keys; i++)
        want(c, cache, (i + first) % c->set->keys);
    hone_cache_close(cache);
    return NULL;
}

static hone_kernel *make_kernel(const char *dir) {
    char self[512] = "", spec[2000];
    need(readlink("/proc/self/exe", self, sizeof self - 1) > 0, "no /proc/self/exe");
    (void)snprintf(spec, sizeof spec,
                   "{\"hone\":1,\"name\":\"contended\",\"language\":\"external\",\"evaluator\":[\"%s\",\"--evaluator\",\"%s/tunings\"],"
                   "\"sizes\":{\"M\":{\"default\":1,\"max\":100000}},\"params\":{\"T\":{\"kind\":\"pow2\",\"min\":1,\"max\":4}},\"default\":{\"T\":1}}",
                   self, dir);
    hone_kernel *kernel = NULL;
    hone_error err = {0};
    if (hone_kernel_parse(&kernel, spec, strlen(spec), NULL, "contended.json", &err) != HONE_OK)
        need(false, err.message);
    return kernel;
}

static int be_process(const setting *set, const char *dir, const char *path, uint32_t number) {
    hone_kernel *kernel = make_kernel(dir);
    hone_device *device = NULL;
    caller callers[64];
    need(hone_device_for(&device, kernel, NULL, NULL, NULL) == HONE_OK, "no device");
    for (uint32_t t = 0; t < set->threads; t++) {
        callers[t] = (caller){set, path, kernel, device, number * set->threads + t, 0};
        need(pthread_create(&callers[t].thread, NULL, call, &callers[t]) == 0, "no thread");
    }
    for (uint32_t t = 0; t < set->threads; t++)
        (void)pthread_join(callers[t].thread, NULL);
    hone_device_free(device);
    hone_kernel_free(kernel);
    return 0;
}

/* How often each key was prepared for: at least and at most. */
static void count_tunings(const char *dir, uint32_t keys, uint32_t *total, uint32_t *least, uint32_t *most) {
    char path[600];
    uint32_t times[KEYS_MAX + 2] = {0}, key = 0;
    *total = 0;
    (void)snprintf(path, sizeof path, "%s/tunings", dir);
    FILE *file = fopen(path, "r");
    need(file != NULL, "nothing was tuned");
    while (fscanf(file, "%u", &key) == 1) {
        need(key >= 1 && key <= keys, "a key that nobody wanted was tuned");
        times[key]++;
        (*total)++;
    }
    (void)fclose(file);
    *least = UINT32_MAX;
    *most = 0;
    for (uint32_t k = 1; k <= keys; k++) {
        *least = times[k] < *least ? times[k] : *least;
        *most = times[k] > *most ? times[k] : *most;
    }
}

static void wait_for_all(const pid_t *pid, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        int status = wait_child(pid[i]);
        need(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a process failed");
    }
}

static void run_tuning(const setting *set, const char *dir) {
    char path[600];
    pid_t pid[PROCESSES_MAX];
    (void)snprintf(path, sizeof path, "%s/cache.hone", dir);
    scene = mmap(NULL, sizeof *scene, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(scene != MAP_FAILED, "no shared memory");
    (void)fflush(NULL);
    for (uint32_t p = 0; p < set->processes; p++) {
        pid[p] = fork();
        need(pid[p] >= 0, "no process");
        if (pid[p] == 0)
            _exit(be_process(set, dir, path, p));
    }
    while (atomic_load(&scene->ready) < set->processes * set->threads)
        hone__sleep_ms(1);
    uint64_t start = hone__clock_ns();
    atomic_store(&scene->go, 1);
    wait_for_all(pid, set->processes);
    double seconds = (double)(hone__clock_ns() - start) / 1e9;
    uint32_t total, least, most, waits = scene->waits < WAITS_MAX ? scene->waits : WAITS_MAX, pickups = scene->pickups < WAITS_MAX ? scene->pickups : WAITS_MAX;
    count_tunings(dir, set->keys, &total, &least, &most);
    (void)printf("\"tuning\":{\"processes\":%u,\"threads\":%u,\"keys\":%u,\"tunings\":%u,\"tunings_a_key_least\":%u,\"tunings_a_key_most\":%u,"
                 "\"answers\":%u,\"late\":%u,\"errors\":%u,\"deadline_ms\":%u,\"seconds\":%.2f,",
                 set->processes, set->threads, set->keys, total, least, most, waits, scene->late, scene->errors, set->deadline_ms, seconds);
    (void)printf("\"answer_ms_p50\":%.2f,\"answer_ms_p99\":%.1f,\"answer_ms_max\":%.1f,", percentile(scene->answer_ms, waits, 0.5),
                 percentile(scene->answer_ms, waits, 0.99), percentile(scene->answer_ms, waits, 1));
    (void)printf("\"pickups\":%u,\"pickup_ms_p50\":%.2f,\"pickup_ms_p99\":%.2f,\"pickup_ms_max\":%.2f}", pickups, percentile(scene->pickup_ms, pickups, 0.5),
                 percentile(scene->pickup_ms, pickups, 0.99), percentile(scene->pickup_ms, pickups, 1));
    (void)munmap(scene, sizeof *scene);
    scene = NULL;
}

/* ---- stores side by side ---- */

typedef struct store_scene {
    _Atomic uint32_t inserted[PROCESSES_MAX]; /* acknowledged */
    _Atomic uint32_t refused, go, done, reads, wrong;
    double read_us[READS_MAX];
} store_scene;

static int be_writer(const setting *set, const store_kind *kind, const char *path, store_scene *s, uint32_t number) {
    store mine = {.cache = NULL};
    (void)snprintf(mine.path, sizeof mine.path, "%s", path);
    kind->open(&mine);
    while (atomic_load(&s->go) == 0)
        hone__sleep_ms(1);
    for (uint32_t i = 0; i < set->inserts; i++) {
        if (kind->insert(&mine, number * set->inserts + i))
            atomic_store(&s->inserted[number], i + 1);
        else
            atomic_fetch_add(&s->refused, 1);
    }
    kind->close(&mine);
    return 0;
}

/* Looks up what has been acknowledged, at random, with a short rest between. */
static int be_reader(const setting *set, const store_kind *kind, const char *path, store_scene *s) {
    store mine = {.cache = NULL};
    hone__rng rng;
    hone__rng_seed(&rng, 7);
    (void)snprintf(mine.path, sizeof mine.path, "%s", path);
    kind->open(&mine);
    while (atomic_load(&s->done) == 0) {
        uint32_t writer = (uint32_t)hone__rng_below(&rng, set->writers), there = atomic_load(&s->inserted[writer]);
        if (there == 0) {
            hone__sleep_ms(1);
            continue;
        }
        uint32_t key = writer * set->inserts + (uint32_t)hone__rng_below(&rng, there);
        uint64_t start = hone__clock_ns();
        bool found = kind->get(&mine, key);
        uint64_t end = hone__clock_ns();
        uint32_t at = atomic_fetch_add(&s->reads, 1);
        if (at < READS_MAX)
            s->read_us[at] = (double)(end - start) / 1e3;
        if (!found)
            atomic_fetch_add(&s->wrong, 1);
        struct timespec rest = {0, 200000};
        (void)nanosleep(&rest, NULL);
    }
    kind->close(&mine);
    return 0;
}

static void run_store(const setting *set, const store_kind *kind, const char *dir) {
    char path[600];
    pid_t pid[PROCESSES_MAX + 1];
    (void)snprintf(path, sizeof path, "%s/%s", dir, kind->name);
    store_scene *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(s != MAP_FAILED, "no shared memory");
    store mine = {.cache = NULL};
    (void)snprintf(mine.path, sizeof mine.path, "%s", path);
    (void)fflush(NULL);
    for (uint32_t w = 0; w <= set->writers; w++) {
        pid[w] = fork();
        need(pid[w] >= 0, "no process");
        if (pid[w] == 0)
            _exit(w < set->writers ? be_writer(set, kind, path, s, w) : be_reader(set, kind, path, s));
        if (w == 0) /* the first one makes the file: SQLite and LMDB would not have eight do it at once */
            hone__sleep_ms(100);
    }
    hone__sleep_ms(200);
    uint64_t start = hone__clock_ns();
    atomic_store(&s->go, 1);
    wait_for_all(pid, set->writers);
    double seconds = (double)(hone__clock_ns() - start) / 1e9;
    atomic_store(&s->done, 1);
    wait_for_all(pid + set->writers, 1);
    uint32_t kept = 0, reads = s->reads < READS_MAX ? s->reads : READS_MAX, all = set->writers * set->inserts;
    kind->open(&mine);
    for (uint32_t key = 0; key < all; key++)
        kept += kind->get(&mine, key);
    kind->close(&mine);
    (void)printf("{\"name\":\"%s\",\"inserts\":%u,\"kept\":%u,\"lost\":%u,\"refused\":%u,\"seconds\":%.2f,\"inserts_a_second\":%.0f,\"reads\":%u,\"reads_missed\":%u,"
                 "\"reader_us_p50\":%.1f,\"reader_us_p99\":%.1f,\"reader_us_max\":%.0f,\"survives_power_loss\":\"%s\"}",
                 kind->name, all, kept, all - kept, s->refused, seconds, all / seconds, reads, s->wrong, percentile(s->read_us, reads, 0.5),
                 percentile(s->read_us, reads, 0.99), percentile(s->read_us, reads, 1), kind->survives_power_loss);
    (void)munmap(s, sizeof *s);
}

/* ---- figures ---- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double *value, size_t count, double part) {
    if (count == 0)
        return 0;
    qsort(value, count, sizeof *value, ascending);
    return value[(size_t)(part * (double)(count - 1))];
}

static bool take_number(const char *argument, const char *name, uint32_t least, uint32_t most, uint32_t *out) {
    size_t length = strlen(name);
    if (strncmp(argument, name, length) != 0 || argument[length] != '=')
        return false;
    unsigned long value = strtoul(argument + length + 1, NULL, 10);
    if (value < least || value > most) {
        (void)fprintf(stderr, "bench_contention: %s is from %u to %u\n", name, least, most);
        exit(2);
    }
    *out = (uint32_t)value;
    return true;
}

int main(int argc, char **argv) {
    setting set = {8, 4, 100, 8, 1000, 60000, true, true};
    if (argc == 3 && strcmp(argv[1], "--evaluator") == 0)
        return evaluate(argv[2]);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            continue; /* there is no other form */
        if (strcmp(argv[i], "--only-tuning") == 0)
            set.stores = false;
        else if (strcmp(argv[i], "--only-stores") == 0)
            set.tuning = false;
        else if (!take_number(argv[i], "--processes", 1, PROCESSES_MAX, &set.processes) && !take_number(argv[i], "--threads", 1, 64, &set.threads) &&
                 !take_number(argv[i], "--keys", 1, KEYS_MAX, &set.keys) && !take_number(argv[i], "--writers", 1, PROCESSES_MAX, &set.writers) &&
                 !take_number(argv[i], "--inserts", 1, 100000, &set.inserts) && !take_number(argv[i], "--deadline-ms", 1, 600000, &set.deadline_ms)) {
            (void)fprintf(stderr, "usage: bench_contention --json [--only-tuning | --only-stores] [--processes=8] [--threads=4] [--keys=100] [--writers=8]\n"
                                  "                        [--inserts=1000] [--deadline-ms=60000]\n");
            return 2;
        }
    }
    fixture *f = NULL;
    need(fixture_setup((void **)&f) == 0, "no folder");
    (void)printf("{\"cores\":%ld", sysconf(_SC_NPROCESSORS_ONLN));
    if (set.tuning) {
        (void)printf(",");
        run_tuning(&set, f->dir);
    }
    if (set.stores) {
        (void)printf(",\"writers\":%u,\"stores\":[", set.writers);
        for (size_t i = 0; i < sizeof store_kinds / sizeof store_kinds[0]; i++) {
            (void)printf("%s", i == 0 ? "" : ",");
            run_store(&set, &store_kinds[i], f->dir);
        }
        (void)printf("]");
    }
    (void)printf("}\n");
    void *state = f;
    return fixture_teardown(&state);
}
