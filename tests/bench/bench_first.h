/* bench_first.h: the first look-up of a fresh process: Hone, LMDB alone, and the ways in which people keep such data in files. */
#ifndef BENCH_FIRST_H
#define BENCH_FIRST_H

#include "bench/bench_data.h"

#include <cJSON.h>
#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_REPEATS = 151, SLOW_REPEATS = 3 };

static void bench_remove(const char *path) {
    DIR *open_dir = opendir(path);
    if (open_dir == NULL) {
        (void)unlink(path);
        return;
    }
    for (struct dirent *item = readdir(open_dir); item != NULL; item = readdir(open_dir)) {
        char inside[600];
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        (void)snprintf(inside, sizeof inside, "%s/%s", path, item->d_name);
        if (item->d_type == DT_DIR)
            bench_remove(inside);
        else
            (void)unlink(inside);
    }
    (void)closedir(open_dir);
    (void)rmdir(path);
}

/* Kilobytes that are this process' own: dirty ones, and file pages that nobody else maps. */
static void private_kib(long *dirty, long *clean) {
    char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    *dirty = *clean = 0;
    BENCH_CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "Private_Dirty:", 14) == 0)
            *dirty = strtol(line + 14, NULL, 10);
        if (strncmp(line, "Private_Clean:", 14) == 0)
            *clean = strtol(line + 14, NULL, 10);
    }
    (void)fclose(file);
}

/* ---- how others keep it: a line or file for each entry, with what a launch needs ---- */

static void name_of(const hone_problem *problem, char name[200]) {
    size_t at = 0;
    for (uint32_t i = 0; i < problem->count; i++)
        at += (size_t)snprintf(name + at, 200 - at, i == 0 ? "bench_%lld" : "_%lld", (long long)problem->size[i]);
}

static void file_of(const bench_place *place, const char *name, char path[600], bool make) {
    uint64_t hash = XXH3_64bits(name, strlen(name));
    (void)snprintf(path, 600, "%s/%02x", place->files, (unsigned)(hash & 255));
    if (make)
        (void)mkdir(path, 0700);
    (void)snprintf(path, 600, "%s/%02x/%s.json", place->files, (unsigned)(hash & 255), name);
}

static void make_files(const bench_place *place, uint32_t entries, uint32_t files) {
    FILE *json = fopen(place->json, "we"), *text = fopen(place->text, "we");
    BENCH_CHECK(json != NULL && text != NULL && mkdir(place->files, 0700) == 0);
    (void)fputc('{', json);
    for (uint32_t i = 0; i < entries; i++) {
        char name[200], config[160], path[600];
        hone_problem problem = bench_problem(place->kernel, i);
        name_of(&problem, name);
        bench_config(config, sizeof config, i);
        (void)fprintf(json, "%s\"%s\":{\"config\":%s,\"time_ms\":%.4f}\n", i == 0 ? "" : ",", name, config, 1.0 + i * 1e-6);
        (void)fprintf(text, "%s=%s;%.4f\n", name, config, 1.0 + i * 1e-6);
        if (i >= files)
            continue;
        file_of(place, name, path, true);
        FILE *one = fopen(path, "we");
        BENCH_CHECK(one != NULL);
        (void)fprintf(one, "{\"config\":%s,\"time_ms\":%.4f}\n", config, 1.0 + i * 1e-6);
        (void)fclose(one);
    }
    (void)fputs("}\n", json);
    BENCH_CHECK(fclose(json) == 0 && fclose(text) == 0);
}

static char *read_all(const char *path) {
    struct stat info;
    FILE *file = fopen(path, "re");
    BENCH_CHECK(file != NULL && fstat(fileno(file), &info) == 0);
    char *all = malloc((size_t)info.st_size + 1);
    BENCH_CHECK(all != NULL && fread(all, 1, (size_t)info.st_size, file) == (size_t)info.st_size);
    all[info.st_size] = '\0';
    (void)fclose(file);
    return all;
}

static bool is_config(const char *text) {
    cJSON *json = cJSON_Parse(text);
    bool good = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(json, "BM"));
    cJSON_Delete(json);
    return good;
}

static bool look_in_json(const bench_place *place, const hone_problem *problem) {
    char name[200];
    name_of(problem, name);
    char *all = read_all(place->json);
    cJSON *json = cJSON_Parse(all);
    bool found = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, name), "config"));
    /* Neither is freed: the process goes on with it, or ends. */
    return found;
}

static bool look_in_file(const bench_place *place, const hone_problem *problem) {
    char name[200], path[600];
    name_of(problem, name);
    file_of(place, name, path, false);
    char *all = read_all(path);
    cJSON *json = cJSON_Parse(all);
    bool found = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "config"), "BM"));
    cJSON_Delete(json);
    free(all);
    return found;
}

/* A text database as of MIOpen: every line goes into a hash table at start, configs stay text. */
static bool look_in_text(const bench_place *place, const hone_problem *problem, uint32_t entries) {
    char name[200];
    name_of(problem, name);
    uint64_t mask = 1;
    while (mask < 2ull * entries)
        mask *= 2;
    char **table = calloc(mask--, sizeof *table);
    BENCH_CHECK(table != NULL);
    for (char *line = read_all(place->text); *line != '\0';) {
        char *equals = strchr(line, '='), *end = strchr(line, '\n');
        BENCH_CHECK(equals != NULL && end != NULL);
        *equals = *end = '\0';
        uint64_t at = XXH3_64bits(line, (size_t)(equals - line));
        while (table[at & mask] != NULL)
            at++;
        table[at & mask] = line;
        line = end + 1;
    }
    uint64_t at = XXH3_64bits(name, strlen(name));
    while (table[at & mask] != NULL && strcmp(table[at & mask], name) != 0)
        at++;
    char *found = table[at & mask];
    if (found == NULL)
        return false;
    found += strlen(found) + 1;
    found[strcspn(found, ";")] = '\0';
    return is_config(found);
}

/* ---- LMDB alone, on the cache's own file ---- */

static bool look_in_lmdb(const bench_place *place, const hone__key *key, unsigned flags) {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    hone__slot_key slot = hone__entry_slot(key, bytes);
    MDB_val k = {slot.count, (void *)(uintptr_t)slot.bytes}, value;
    BENCH_CHECK(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, 8ull << 30) == 0 && mdb_env_set_maxdbs(env, 16) == 0);
    BENCH_CHECK(mdb_env_set_maxreaders(env, 1024) == 0 && mdb_env_open(env, place->cache, MDB_NOSUBDIR | MDB_NOTLS | flags, 0600) == 0);
    BENCH_CHECK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0 && mdb_dbi_open(txn, "entry", 0, &dbi) == 0);
    bool found = mdb_get(txn, dbi, &k, &value) == 0;
    mdb_txn_abort(txn);
    return found;
}

static bool look_in_hone(const bench_place *place, const hone_problem *problem, hone_site **out, bool *exact) {
    hone_cache *cache = NULL;
    hone_match match = HONE_MATCH_NONE;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.map_bytes_max = 8ull << 30;
    if (hone_cache_open(&cache, place->cache, &options, NULL) != HONE_OK ||
        hone_site_open(out, cache, place->kernel, place->device, NULL, NULL) != HONE_OK)
        return false;
    const hone_config *config = hone_site_lookup(*out, problem, &match);
    *exact = match == HONE_MATCH_EXACT;
    return config != NULL;
}

/* What the first look-up leaves to the next: another problem, right after it. */
static double second_us(const bench_place *place, const hone_site *site, uint32_t number) {
    hone_problem other = bench_problem(place->kernel, number);
    uint64_t start = hone__clock_ns();
    BENCH_CHECK(hone_site_lookup(site, &other, NULL) != NULL);
    return (double)(hone__clock_ns() - start) / 1e3;
}

/* A fresh process: opens, asks for one problem, prints microseconds, the private memory that it took, and microseconds of the next problem. */
static int bench_first_child(const char *what, const char *folder, uint32_t entries) {
    bench_place place;
    bench_paths(&place, folder);
    bench_subject(&place); /* the kernel and the device are needed whatever remembers the answers */
    long dirty, clean, dirty_after, clean_after;
    bool found = false, exact = true;
    hone_site *site = NULL;
    uint32_t number = (uint32_t)getpid() % (entries < 20000 ? entries : 20000);
    hone_problem problem = bench_problem(place.kernel, number);
    hone__key key = hone__key_make(place.kernel, place.device, problem.size);
    private_kib(&dirty, &clean);
    uint64_t start = hone__clock_ns();
    if (strcmp(what, "hone") == 0)
        found = look_in_hone(&place, &problem, &site, &exact);
    else if (strcmp(what, "lmdb") == 0)
        found = look_in_lmdb(&place, &key, 0);
    else if (strcmp(what, "lmdb_reader") == 0)
        found = look_in_lmdb(&place, &key, MDB_RDONLY);
    else if (strcmp(what, "json") == 0)
        found = look_in_json(&place, &problem);
    else if (strcmp(what, "files") == 0)
        found = look_in_file(&place, &problem);
    else if (strcmp(what, "text") == 0)
        found = look_in_text(&place, &problem, entries);
    double us = (double)(hone__clock_ns() - start) / 1e3;
    private_kib(&dirty_after, &clean_after);
    printf("%.3f %ld %ld %.3f\n", us, dirty_after - dirty, clean_after - clean, site == NULL ? 0 : second_us(&place, site, (number + 1) % entries));
    return found && exact ? 0 : 1;
}

typedef struct first_figures {
    double us, dirty_kib, clean_kib, second_us;
} first_figures;

/* `environment`: words such as NAME=value before the command. */
static void run_child(const char *environment, const char *self, const char *what, const char *folder, uint32_t entries, first_figures *out) {
    char command[900], line[200];
    (void)snprintf(command, sizeof command, "%s '%s' --child %s '%s' %u", environment, self, what, folder, entries);
    FILE *child = popen(command, "r");
    BENCH_CHECK(child != NULL && fgets(line, sizeof line, child) != NULL);
    char *at = line;
    out->us = strtod(at, &at);
    out->dirty_kib = strtod(at, &at);
    out->clean_kib = strtod(at, &at);
    out->second_us = strtod(at, &at);
    int status = pclose(child);
    BENCH_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static first_figures middle(const first_figures *all, uint32_t count) {
    double us[FIRST_REPEATS], dirty[FIRST_REPEATS], clean[FIRST_REPEATS], second[FIRST_REPEATS];
    for (uint32_t i = 0; i < count; i++) {
        us[i] = all[i].us;
        dirty[i] = all[i].dirty_kib;
        clean[i] = all[i].clean_kib;
        second[i] = all[i].second_us;
    }
    return (first_figures){bench_quantile(us, count, 0.5), bench_quantile(dirty, count, 0.5), bench_quantile(clean, count, 0.5),
                           bench_quantile(second, count, 0.5)};
}

/* The same thousand problems, as hot, in the large file: a program that asks LMDB at each launch. */
static double mdb_in_large_file(const bench_place *place) {
    enum { HOT = 1000, LOOKS = 100000 };
    static uint8_t slots[HOT][HONE_ENTRY_SLOT_BYTES];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    hone__rng rng;
    hone__rng_seed(&rng, 1);
    for (uint32_t i = 0; i < HOT; i++) {
        hone_problem problem = bench_problem(place->kernel, i);
        hone__key key = hone__key_make(place->kernel, place->device, problem.size);
        (void)hone__entry_slot(&key, slots[i]);
    }
    BENCH_CHECK(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, 8ull << 30) == 0 && mdb_env_set_maxdbs(env, 16) == 0);
    BENCH_CHECK(mdb_env_open(env, place->cache, MDB_NOSUBDIR | MDB_NOTLS | MDB_RDONLY, 0600) == 0);
    BENCH_CHECK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0 && mdb_dbi_open(txn, "entry", 0, &dbi) == 0);
    BENCH_CHECK(mdb_txn_commit(txn) == 0 && mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0); /* keeps the table's handle */
    double best = 1e12;
    for (int round = 0; round < 5; round++) {
        uint64_t start = hone__clock_ns();
        for (uint32_t i = 0; i < LOOKS; i++) {
            MDB_val key = {HONE_ENTRY_SLOT_BYTES, slots[hone__rng_below(&rng, HOT)]}, value;
            mdb_txn_reset(txn);
            BENCH_CHECK(mdb_txn_renew(txn) == 0 && mdb_get(txn, dbi, &key, &value) == 0);
        }
        best = fmin(best, (double)(hone__clock_ns() - start) / LOOKS);
    }
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return best;
}

static void bench_first(const char *self, const char *folder, uint32_t entries) {
    /* Bound: the dynamic linker resolves every function when the program starts, as in hardened builds, and not when it is first called. */
    static first_figures hone[FIRST_REPEATS], lmdb[FIRST_REPEATS], reader[FIRST_REPEATS], hone_bound[FIRST_REPEATS], lmdb_bound[FIRST_REPEATS],
        files[FIRST_REPEATS], json[SLOW_REPEATS], text[SLOW_REPEATS];
    static const char bind_now[] = "LD_BIND_NOW=1";
    bench_place place;
    struct stat info;
    bench_paths(&place, folder);
    bench_subject(&place);
    bench_make_cache(&place, entries);
    make_files(&place, entries, entries < 20000 ? entries : 20000); /* a file's own cost does not depend on how many there are */
    BENCH_CHECK(stat(place.cache, &info) == 0);
    for (uint32_t i = 0; i < FIRST_REPEATS; i++) {
        run_child("", self, "hone", folder, entries, &hone[i]);
        run_child("", self, "lmdb", folder, entries, &lmdb[i]);
        run_child("", self, "lmdb_reader", folder, entries, &reader[i]);
        run_child(bind_now, self, "hone", folder, entries, &hone_bound[i]);
        run_child(bind_now, self, "lmdb", folder, entries, &lmdb_bound[i]);
        run_child("", self, "files", folder, entries, &files[i]);
    }
    for (uint32_t i = 0; i < SLOW_REPEATS; i++) {
        run_child("", self, "json", folder, entries, &json[i]);
        run_child("", self, "text", folder, entries, &text[i]);
    }
    first_figures h = middle(hone, FIRST_REPEATS), l = middle(lmdb, FIRST_REPEATS), f = middle(files, FIRST_REPEATS);
    first_figures j = middle(json, SLOW_REPEATS), t = middle(text, SLOW_REPEATS);
    printf(",\"entries\":%u,\"cache_file_mib\":%.1f,\"first_lookup_us\":%.1f,\"lmdb_first_get_us\":%.1f,\"first_over_lmdb\":%.2f", entries,
           (double)info.st_size / 1048576, h.us, l.us, h.us / l.us);
    double bound = middle(hone_bound, FIRST_REPEATS).us, bound_lmdb = middle(lmdb_bound, FIRST_REPEATS).us;
    printf(",\"first_lookup_bound_us\":%.1f,\"lmdb_first_get_bound_us\":%.1f,\"first_over_lmdb_bound\":%.2f", bound, bound_lmdb, bound / bound_lmdb);
    printf(",\"lmdb_reader_first_get_us\":%.1f,\"second_lookup_us\":%.1f", middle(reader, FIRST_REPEATS).us, h.second_us);
    printf(",\"mdb_get_large_file_ns\":%.1f", mdb_in_large_file(&place));
    printf(",\"private_kib\":%.0f,\"private_dirty_kib\":%.0f,\"lmdb_private_kib\":%.0f", h.dirty_kib + h.clean_kib, h.dirty_kib, l.dirty_kib + l.clean_kib);
    printf(",\"json_file_first_us\":%.1f,\"json_file_private_kib\":%.0f,\"file_per_key_first_us\":%.1f,\"text_db_first_us\":%.1f,\"text_db_private_kib\":%.0f",
           j.us, j.dirty_kib, f.us, t.us, t.dirty_kib);
    hone_kernel_free(place.kernel);
    hone_device_free(place.device);
}

#endif
