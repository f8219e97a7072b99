/* bench_data.h: what bench_lookup.c measures on: a kernel with eight sizes (64 bytes), problems, and a cache that has an entry for each. */
#ifndef BENCH_DATA_H
#define BENCH_DATA_H

#include "alloc.h"
#include "clock.h"
#include "rng.h"
#include "site.h"
#include "slot.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BENCH_SPEC                                                                                                                             \
    "{\"hone\":1,\"name\":\"bench\",\"language\":\"external\",\"evaluator\":[\"none\"],\"sizes\":{\"A\":{\"default\":1},\"B\":{\"default\":1},"  \
    "\"C\":{\"default\":1},\"D\":{\"default\":1},\"E\":{\"default\":1},\"F\":{\"default\":1},\"G\":{\"default\":1},\"H\":{\"default\":1}},"        \
    "\"params\":{\"BM\":{\"kind\":\"pow2\",\"min\":16,\"max\":256},\"BN\":{\"kind\":\"pow2\",\"min\":16,\"max\":256},"                            \
    "\"BK\":{\"kind\":\"pow2\",\"min\":8,\"max\":128},\"WARPS\":{\"kind\":\"pow2\",\"min\":1,\"max\":16},"                                        \
    "\"STAGES\":{\"kind\":\"range\",\"min\":1,\"max\":8},\"SPLIT\":{\"kind\":\"bool\"}},\"constraints\":[\"BM * BN <= 32768\"]}"

#define BENCH_CHECK(condition)                                                                                                                 \
    do {                                                                                                                                       \
        if (!(condition)) {                                                                                                                    \
            (void)fprintf(stderr, "bench_lookup: line %d: %s does not hold\n", __LINE__, #condition);                                          \
            exit(1);                                                                                                                           \
        }                                                                                                                                      \
    } while (0)

typedef struct bench_place {
    char folder[256], cache[300], sqlite[300], sqlite_rollback[300], lmdb[300], json[300], text[300], files[300];
    hone_kernel *kernel;
    hone_device *device;
} bench_place;

static void bench_subject(bench_place *place) {
    hone_error err = {0};
    if (hone_kernel_parse(&place->kernel, BENCH_SPEC, strlen(BENCH_SPEC), NULL, "bench.json", &err) != HONE_OK ||
        hone_device_open(&place->device, "cpu", &err) != HONE_OK) {
        (void)fprintf(stderr, "bench_lookup: %s\n", err.message);
        exit(1);
    }
}

static void bench_paths(bench_place *place, const char *folder) {
    (void)snprintf(place->folder, sizeof place->folder, "%s", folder);
    (void)snprintf(place->cache, sizeof place->cache, "%s/cache.hone", folder);
    (void)snprintf(place->sqlite, sizeof place->sqlite, "%s/sqlite.db", folder);
    (void)snprintf(place->sqlite_rollback, sizeof place->sqlite_rollback, "%s/sqlite_rollback.db", folder);
    (void)snprintf(place->lmdb, sizeof place->lmdb, "%s/plain.lmdb", folder);
    (void)snprintf(place->json, sizeof place->json, "%s/all.json", folder);
    (void)snprintf(place->text, sizeof place->text, "%s/all.txt", folder);
    (void)snprintf(place->files, sizeof place->files, "%s/files", folder);
}

/* Problem `number`, the same in every process: eight sizes as of a batched matrix product. */
static hone_problem bench_problem(const hone_kernel *kernel, uint32_t number) {
    hone_problem problem;
    hone__rng rng;
    hone_problem_init(kernel, &problem);
    hone__rng_seed(&rng, 7u + number);
    for (uint32_t i = 0; i < problem.count; i++)
        problem.size[i] = 1 + (int64_t)hone__rng_below(&rng, 16384);
    problem.size[7] = number + 1;
    return problem;
}

static void bench_config(char *text, size_t bytes, uint32_t number) {
    (void)snprintf(text, bytes, "{\"BM\":%u,\"BN\":%u,\"BK\":%u,\"WARPS\":%u,\"STAGES\":%u,\"SPLIT\":%s}", 16u << number % 4, 16u << number / 4 % 4,
                   8u << number / 16 % 4, 1u << number / 64 % 4, 1 + number % 7, number % 2 == 0 ? "true" : "false");
}

/* An entry as a tuning makes it, encoded: about 700 bytes. */
static void bench_encode(const bench_place *place, uint32_t number, hone__key *key, hone__buf *out) {
    static char stop[] = "trials: the budget is used up", strategy[] = "hybrid", model[] = "gpt-5", version[] = "0.1.0", host[] = "node0042", none[] = "";
    static char name[] = "bench", device[] = "{\"kind\":\"cpu\",\"name\":\"bench\",\"identity\":{\"arch\":\"x86_64\",\"cores\":2}}";
    char config[160], sizes[256];
    hone_problem problem = bench_problem(place->kernel, number);
    bench_config(config, sizeof config, number);
    const int64_t *s = problem.size;
    (void)snprintf(sizes, sizeof sizes, "{\"A\":%lld,\"B\":%lld,\"C\":%lld,\"D\":%lld,\"E\":%lld,\"F\":%lld,\"G\":%lld,\"H\":%lld}", (long long)s[0],
                   (long long)s[1], (long long)s[2], (long long)s[3], (long long)s[4], (long long)s[5], (long long)s[6], (long long)s[7]);
    hone__entry entry = {.key = hone__key_make(place->kernel, place->device, problem.size), .kernel_name = name, .sizes = sizes, .device = device};
    entry.best = (hone__ranked){config, 1e6 + number, 0.99e6 + number, 1.01e6 + number, 1e3, 31};
    entry.default_ns = 3e6;
    entry.effort = HONE_EFFORT_THOROUGH;
    entry.accuracy = HONE_ACCURACY_PASSED;
    entry.strategy = strategy;
    entry.model = model;
    entry.stop = stop;
    entry.tool_version = version;
    entry.host = host;
    entry.driver = entry.toolkit = none;
    entry.trials = 200;
    entry.created_unix_s = 1790000000;
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    hone__buf_clear(out);
    BENCH_CHECK(hone__entry_encode(out, &entry, hone__entry_slot(&entry.key, bytes)) == HONE_OK);
    *key = entry.key;
}

typedef struct bench_fill {
    const bench_place *place;
    uint32_t from, to;
} bench_fill;

static hone_status bench_fill_fn(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    bench_fill *fill = user;
    hone__buf buf;
    hone__buf_init(&buf, 65536);
    hone_status status = HONE_OK;
    for (uint32_t i = fill->from; i < fill->to && status == HONE_OK; i++) {
        hone__key key;
        uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
        bench_encode(fill->place, i, &key, &buf);
        status = hone__txn_put(txn, HONE_TABLE_ENTRY, hone__entry_slot(&key, bytes), buf.data, buf.length);
    }
    hone__buf_free(&buf);
    return status;
}

static hone_cache *bench_open(const char *path) {
    hone_cache *cache = NULL;
    hone_error err = {0};
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.map_bytes_max = 8ull << 30;
    if (hone_cache_open(&cache, path, &options, &err) != HONE_OK) {
        (void)fprintf(stderr, "bench_lookup: %s\n", err.message);
        exit(1);
    }
    return cache;
}

static void bench_make_cache(const bench_place *place, uint32_t entries) {
    hone_cache *cache = bench_open(place->cache);
    hone_error err = {0};
    for (uint32_t i = 0; i < entries; i += 50000) {
        bench_fill fill = {place, i, entries - i < 50000 ? entries : i + 50000};
        if (hone__store_write(cache, bench_fill_fn, &fill, &err) != HONE_OK) {
            (void)fprintf(stderr, "bench_lookup: %s\n", err.message);
            exit(1);
        }
    }
    hone_cache_close(cache);
}

static int bench_by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double bench_quantile(double *sample, uint32_t count, double quantile) {
    qsort(sample, count, sizeof *sample, bench_by_value);
    return sample[(uint32_t)((count - 1) * quantile)];
}

#endif
