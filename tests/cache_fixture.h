/* cache_fixture.h: a folder of its own for each test, made-up records, and children whose end is checked.  Header only: each test
 * program is one source file. */
#ifndef CACHE_FIXTURE_H
#define CACHE_FIXTURE_H

#include "alloc.h"
#include "cache.h"
#include "json.h"
#include "rng.h"
#include "slot.h"
#include "store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct fixture {
    char dir[256];
    char path[320];
} fixture;

__attribute__((unused)) static void remove_tree(const char *dir) {
    DIR *open_dir = opendir(dir);
    if (open_dir == NULL)
        return;
    for (struct dirent *item = readdir(open_dir); item != NULL; item = readdir(open_dir)) {
        char path[600];
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, item->d_name);
        if (unlink(path) != 0)
            remove_tree(path);
    }
    (void)closedir(open_dir);
    (void)rmdir(dir);
}

/* For tests of many commits that are not about disks: folders in memory, where there is one, and where nothing waits for a device. */
__attribute__((unused)) static void use_memory_folder(void) {
    if (access("/dev/shm", R_OK | W_OK | X_OK) == 0)
        (void)setenv("TMPDIR", "/dev/shm", 0);
}

__attribute__((unused)) static int fixture_setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const char *base = getenv("TMPDIR");
    (void)snprintf(f->dir, sizeof f->dir, "%s/hone-test-XXXXXX", base == NULL ? "/tmp" : base);
    if (mkdtemp(f->dir) == NULL)
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/cache.hone", f->dir);
    *state = f;
    return 0;
}

__attribute__((unused)) static int fixture_teardown(void **state) {
    fixture *f = *state;
    (void)chmod(f->dir, 0700);
    remove_tree(f->dir);
    free(f);
    return 0;
}

/* A key made of small numbers. */
__attribute__((unused)) static hone__key make_key(uint32_t kernel, uint32_t device, uint32_t problem) {
    hone__key key;
    memset(&key, 0, sizeof key);
    hone__hash hash = hone__hash_bytes(&kernel, sizeof kernel);
    memcpy(key.kernel, hash.byte, 16);
    device += 1000000u;
    hash = hone__hash_bytes(&device, sizeof device);
    memcpy(key.device, hash.byte, 16);
    problem += 2000000u;
    hash = hone__hash_bytes(&problem, sizeof problem);
    memcpy(key.problem, hash.byte, 16);
    hash = hone__hash_bytes(&key, 48);
    memcpy(key.key, hash.byte, 16);
    return key;
}

/* Texts are borrowed from `text`; do not clear. */
__attribute__((unused)) static hone__entry make_entry(hone__key key, double time_ns, char text[64]) {
    hone__entry entry;
    memset(&entry, 0, sizeof entry);
    entry.key = key;
    (void)snprintf(text, 64, "{\"BM\":%u}", (unsigned)((uint64_t)time_ns % 1000u));
    static char name[] = "matmul", sizes[] = "{\"M\":1024}", device[] = "{\"name\":\"test cpu\"}";
    entry.kernel_name = name;
    entry.sizes = sizes;
    entry.device = device;
    entry.best.config = text;
    entry.best.time_ns = time_ns;
    entry.best.low_ns = time_ns * 0.99;
    entry.best.high_ns = time_ns * 1.01;
    entry.best.samples = 11;
    entry.default_ns = time_ns * 3;
    entry.effort = HONE_EFFORT_STANDARD;
    entry.accuracy = HONE_ACCURACY_PASSED;
    entry.trials = 40;
    entry.created_unix_s = 1790000000;
    return entry;
}

__attribute__((unused)) static hone_cache *open_cache(const char *path) {
    hone_cache *cache = NULL;
    hone_error err = {0};
    hone_status status = hone_cache_open(&cache, path, NULL, &err);
    if (status != HONE_OK)
        print_error("open %s: %s\n", path, err.message);
    assert_int_equal(status, HONE_OK);
    return cache;
}

/* For those who write beside others: the default wait for the lock is short for a loaded machine.  NULL when it does not open. */
__attribute__((unused)) static hone_cache *open_waiting(const char *path, uint32_t wait_ms) {
    hone_cache *cache = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.writer_wait_ms = wait_ms;
    return hone_cache_open(&cache, path, &options, NULL) == HONE_OK ? cache : NULL;
}

__attribute__((unused)) static void put_time(hone_cache *cache, uint32_t number, double time_ns) {
    char text[64];
    hone_error err = {0};
    hone__entry entry = make_entry(make_key(1, 1, number), time_ns, text);
    hone_status status = hone__cache_put(cache, &entry, true, &err);
    if (status != HONE_OK)
        print_error("put: %s\n", err.message);
    assert_int_equal(status, HONE_OK);
}

/* The stored time, 0 for a miss, -1 for another failure. */
__attribute__((unused)) static double get_time(const hone_cache *cache, uint32_t number) {
    hone__key key = make_key(1, 1, number);
    hone__entry entry;
    hone_status status = hone__cache_get(cache, &key, &entry, NULL);
    if (status != HONE_OK)
        return status == HONE_E_NOTFOUND || status == HONE_E_CORRUPT ? 0 : -1;
    double time_ns = entry.best.time_ns;
    hone__entry_clear(&entry);
    return time_ns;
}

/* A number or truth value of a report in JSON; -1: none of that name. */
__attribute__((unused)) static double report_number(const char *report, const char *name) {
    cJSON *json = cJSON_Parse(report);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    double value = cJSON_IsBool(item) ? (cJSON_IsTrue(item) ? 1 : 0) : cJSON_IsNumber(item) ? item->valuedouble : -1;
    cJSON_Delete(json);
    return value;
}

/* How many names in `dir` contain `part`. */
__attribute__((unused)) static int count_files(const char *dir, const char *part) {
    int count = 0;
    DIR *open_dir = opendir(dir);
    assert_non_null(open_dir);
    for (struct dirent *item = readdir(open_dir); item != NULL; item = readdir(open_dir))
        count += strstr(item->d_name, part) != NULL;
    (void)closedir(open_dir);
    return count;
}

/* Run `work` in a child; its return value is the exit status. */
__attribute__((unused)) static pid_t start_child(int (*work)(void *user), void *user) {
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(work(user));
    return pid;
}

__attribute__((unused)) static int wait_child(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

__attribute__((unused)) static uint64_t seed_of(const char *name) {
    const char *given = getenv("HONE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 20261123u;
    print_message("%s: seed %llu (HONE_TEST_SEED)\n", name, (unsigned long long)seed);
    return seed;
}

#endif
