/* bench_aa.c: the A/A test of hone__bench_compare: how often are two equal configs called different?
 *
 *     build/release/tests/bench_aa [--synthetic N] [--real N] [--budget MS] [--seed S]
 *
 * prints one JSON line for each experiment:
 *     {"experiment","n","different","rate","stated","difference","configs","budget_ms"}
 * `different` counts comparisons in which at least one of the equal configs was called different from the best, `rate` is their
 * share, `stated` the error rate that was asked for.  Where `difference` is not 0, one config is truly slower by that fraction: then
 * `rate` is the power, and `wrong` counts comparisons in which a faster config was called slower.
 *
 * synthetic: an evaluator inside this program invents times with what real ones have: log-normal noise, rare long outliers, slow drift, and a
 *     placement effect that is drawn anew for each config in each block.  It needs no quiet machine.
 * real: a small matrix product on this machine, compiled anew for each comparison under two names that do not change its code, run by the
 *     built-in worker.  Run it on an otherwise idle machine and on a busy one: the rate must hold on both. */
#include "bench.h"
#include "rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char self_path[4096];

/* ---- the evaluator that invents times ---- */

static double gauss(hone__rng *rng) {
    return sqrt(-2.0 * log(1.0 - hone__rng_unit(rng))) * cos(6.283185307179586 * hone__rng_unit(rng));
}

typedef struct model {
    hone__rng rng;
    double difference; /* of handle 0 against the others */
    double drift;
} model;

static double invent(model *m, long handle, double placement) {
    double ns = 1e6 * (handle == 0 ? 1.0 + m->difference : 1.0) * exp(0.01 * gauss(&m->rng) + placement + m->drift);
    if (hone__rng_unit(&m->rng) < 0.02)
        ns *= 1.0 + 3.0 * hone__rng_unit(&m->rng);
    m->drift = 0.999 * m->drift + 0.001 * gauss(&m->rng);
    return ns;
}

static void invent_block(model *m, long id, const char *line) {
    const char *list = strstr(line, "\"handles\":[");
    const char *rounds_at = strstr(line, "\"rounds\":");
    long rounds = rounds_at != NULL ? strtol(rounds_at + 9, NULL, 10) : 1;
    printf("{\"id\":%ld,\"ok\":true,\"rounds\":%ld,\"samples_ns\":[", id, rounds);
    char *end = NULL;
    int count = 0;
    for (const char *c = list != NULL ? list + 11 : "]"; *c != ']'; c = *end == ',' ? end + 1 : end) {
        long handle = strtol(c, &end, 10);
        double placement = 0.004 * gauss(&m->rng);
        printf("%s[", count++ > 0 ? "," : "");
        for (long r = 0; r < rounds; r++)
            printf("%s%.1f", r > 0 ? "," : "", invent(m, handle, placement));
        printf("]");
    }
    printf("]}\n");
}

static int inventor(const char *seed, const char *difference) {
    static char line[65536];
    model m = {.difference = strtod(difference, NULL)};
    hone__rng_seed(&m.rng, strtoull(seed, NULL, 10));
    long handles = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        const char *found = strstr(line, "\"id\":");
        long id = found != NULL ? strtol(found + 5, NULL, 10) : 0;
        if (strstr(line, "\"op\":\"hello\"") != NULL)
            printf("{\"id\":%ld,\"ok\":true,\"protocol\":1,\"compare\":true,\"device\":{\"kind\":\"toy\",\"identity\":{\"a\":1}}}\n", id);
        else if (strstr(line, "\"op\":\"compile\"") != NULL)
            printf("{\"id\":%ld,\"ok\":true,\"handle\":%ld}\n", id, handles++);
        else if (strstr(line, "\"op\":\"measure\"") != NULL)
            printf("{\"id\":%ld,\"ok\":true,\"samples_ns\":[1000000,1000001]}\n", id);
        else if (strstr(line, "\"op\":\"compare\"") != NULL)
            invent_block(&m, id, line);
        else
            printf("{\"id\":%ld,\"ok\":true}\n", id);
        (void)fflush(stdout);
        if (strstr(line, "\"op\":\"bye\"") != NULL)
            break;
    }
    return 0;
}

/* ---- the experiments ---- */

static cJSON *parse(const char *text) {
    cJSON *json = NULL;
    hone_error err = {0};
    if (hone__json_parse(&json, text, strlen(text), "aa", &err) != HONE_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return json;
}

static void must(hone_status status, const hone_error *err) {
    if (status != HONE_OK) {
        (void)fprintf(stderr, "bench_aa: %s\n", err->message);
        exit(1);
    }
}

static void measure(hone__bench *bench, uint64_t ticket, const char *compile) {
    hone_error err = {0};
    cJSON *body = parse(compile);
    must(hone__bench_submit(bench, ticket, body, &err), &err);
    cJSON_Delete(body);
    uint64_t back = 0;
    hone__measurement result;
    must(hone__bench_next(bench, 120000, &back, &result, &err), &err);
    if (result.outcome != HONE_OUTCOME_OK) {
        (void)fprintf(stderr, "bench_aa: %s\n", result.reason);
        exit(1);
    }
}

typedef struct tally {
    uint32_t n, different, wrong;
} tally;

/* Compare tickets first .. first+configs-1; ticket `first` is the slower one where there is a difference. */
static void compare(hone__bench *bench, uint64_t first, uint32_t configs, const hone__compare_options *options, tally *count) {
    hone_error err = {0};
    hone__finalist finalist[16];
    memset(finalist, 0, sizeof finalist);
    for (uint32_t i = 0; i < configs; i++)
        finalist[i].ticket = first + i;
    must(hone__bench_compare(bench, finalist, configs, options, NULL, NULL, &err), &err);
    bool different = false;
    for (uint32_t i = 0; i < configs; i++) {
        bool told = finalist[i].rank != 0 && !finalist[i].tied_with_best;
        different = different || told;
        count->wrong += told && i != 0;
    }
    count->n++;
    count->different += different;
}

static void print(const char *experiment, const tally *count, double difference, uint32_t configs, const hone__compare_options *options) {
    printf("{\"experiment\":\"%s\",\"n\":%u,\"different\":%u,\"rate\":%.4f,\"stated\":%g,\"difference\":%g,\"wrong\":%u,\"configs\":%u,\"budget_ms\":%g}\n",
           experiment, count->n, count->different, count->n > 0 ? (double)count->different / count->n : 0.0, options->error_rate, difference,
           count->wrong, configs, options->budget_ms);
    (void)fflush(stdout);
}

static void synthetic(uint32_t n, unsigned long seed, double difference, uint32_t configs) {
    char seed_text[32];
    char difference_text[32];
    (void)snprintf(seed_text, sizeof seed_text, "%lu", seed);
    (void)snprintf(difference_text, sizeof difference_text, "%g", difference);
    const char *const command[] = {self_path, "inventor", seed_text, difference_text, NULL};
    const hone__bench_options options = {.command = command};
    const hone__compare_options how = {.error_rate = 0.05, .budget_ms = 60000, .worth = 0.002};
    hone__bench *bench = NULL;
    hone_error err = {0};
    must(hone__bench_open(&bench, &options, &err), &err);
    cJSON *body = parse("{}");
    must(hone__bench_prepare(bench, body, NULL, NULL, &err), &err);
    cJSON_Delete(body);
    for (uint32_t i = 0; i < configs; i++)
        measure(bench, i, "{}");
    tally count = {0, 0, 0};
    while (count.n < n)
        compare(bench, 0, configs, &how, &count);
    print("synthetic", &count, difference, configs, &how);
    hone__bench_close(bench);
}

static const char kernel_source[] =
    "#ifndef AA\n#define AA 0\n#endif\n"
    "void mm(const float *restrict a, const float *restrict b, float *restrict c, int n) {\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        for (int j = 0; j < n; j++) c[i * n + j] = 0;\n"
    "        for (int k = 0; k < n; k++) for (int j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];\n"
    "    }\n"
    "}\n";

static cJSON *real_problem(int n) {
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "{\"kernel\":{\"name\":\"mm\",\"language\":\"c\",\"source_path\":\"mm.c\",\"include_dir\":\"/\",\"entry\":\"mm\"},\"sizes\":{},\"args\":["
                   "{\"name\":\"a\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[%d,%d]},{\"name\":\"b\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[%d,%d]},"
                   "{\"name\":\"c\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[%d,%d],\"access\":\"out\"},{\"name\":\"n\",\"kind\":\"scalar\",\"dtype\":\"i32\",\"value\":%d}],"
                   "\"reference\":{\"entry\":\"mm\",\"options\":[]},\"tolerance\":{\"rtol\":1e-3,\"atol\":1e-3},\"limits\":{},\"seed\":1}",
                   n, n, n, n, n, n, n);
    cJSON *body = parse(text);
    cJSON_AddItemToObject(cJSON_GetObjectItemCaseSensitive(body, "kernel"), "source", cJSON_CreateString(kernel_source));
    return body;
}

static void real(uint32_t n, double budget_ms, int size, uint32_t configs) {
    const char *const command[] = {self_path, "worker", NULL};
    const hone__bench_options options = {.command = command, .budget_ms = 50};
    const hone__compare_options how = {.error_rate = 0.05, .budget_ms = budget_ms, .worth = 0.002};
    hone__bench *bench = NULL;
    hone_error err = {0};
    must(hone__bench_open(&bench, &options, &err), &err);
    tally count = {0, 0, 0};
    uint64_t ticket = 0;
    while (count.n < n) {
        cJSON *body = real_problem(size);
        must(hone__bench_prepare(bench, body, NULL, NULL, &err), &err); /* new memory each time */
        cJSON_Delete(body);
        uint64_t first = ticket;
        for (uint32_t i = 0; i < configs; i++) {
            char compile[128];
            (void)snprintf(compile, sizeof compile, "{\"defines\":[\"AA=%llu\"],\"options\":[\"-O3\"]}", (unsigned long long)ticket);
            measure(bench, ticket++, compile);
        }
        compare(bench, first, configs, &how, &count);
    }
    char name[32];
    (void)snprintf(name, sizeof name, "real-mm-%d", size);
    print(name, &count, 0.0, configs, &how);
    hone__bench_close(bench);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return hone_worker_main(argc, argv);
    if (argc > 3 && strcmp(argv[1], "inventor") == 0)
        return inventor(argv[2], argv[3]);
    unsigned long invented = 1000;
    unsigned long measured = 20;
    unsigned long seed = 1;
    double budget_ms = 1000;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--synthetic") == 0)
            invented = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--real") == 0)
            measured = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--budget") == 0)
            budget_ms = strtod(argv[i + 1], NULL);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoul(argv[i + 1], NULL, 10);
    }
    ssize_t length = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    if (length <= 0)
        return 1;
    self_path[length] = '\0';
    if (invented > 0) {
        synthetic((uint32_t)invented, seed, 0.0, 2);
        synthetic((uint32_t)invented, seed, 0.0, 5);
        synthetic((uint32_t)invented / 4, seed, 0.01, 2);
        synthetic((uint32_t)invented / 4, seed, 0.03, 5);
    }
    if (measured > 0) {
        real((uint32_t)measured, budget_ms, 64, 2);
        real((uint32_t)measured, budget_ms, 256, 2);
        real((uint32_t)measured, budget_ms, 128, 5);
    }
    return 0;
}
