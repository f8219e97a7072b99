/* test_cache_fault.c: no memory, no space, no permission, a full map: every one is a status, and the cache works on. */
#define _GNU_SOURCE
#include "cache_fixture.h"

#include <sys/mount.h>
#include <sys/resource.h>

/* A failed test must not leave its tmpfs mounted, nor allocations failing. */
static int teardown(void **state) {
    hone__alloc_fail_at(0, 0);
    (void)umount2(((fixture *)*state)->dir, MNT_DETACH);
    return fixture_teardown(state);
}

/* ---- memory ---- */

static hone_status store_and_load(const char *path) {
    hone_cache *cache;
    char text[64], *json = NULL;
    hone_status status = hone_cache_open(&cache, path, NULL, NULL);
    if (status != HONE_OK)
        return status;
    hone__entry entry = make_entry(make_key(1, 1, 1), 1000, text), out, *list = NULL;
    uint32_t count, number;
    char empty[] = "";
    hone__session session = {.strategy = empty, .model = empty, .options = empty};
    hone__trial *trial = NULL;
    hone__cache_count(cache, "trial", 1);
    status = hone__cache_put(cache, &entry, false, NULL);
    if (status == HONE_OK)
        status = hone__cache_get(cache, &entry.key, &out, NULL);
    if (status == HONE_OK) {
        assert_true(out.best.time_ns == 1000);
        hone__entry_clear(&out);
        status = hone__cache_of_kernel(cache, entry.key.kernel, 9, &list, &count, NULL);
    }
    if (status == HONE_OK) {
        hone__entry_clear(&list[0]);
        hone__free(list);
        status = hone__journal_begin(cache, &entry.key, &session, &number, NULL);
    }
    hone__trial one = {.config = empty, .proposer = empty};
    if (status == HONE_OK)
        status = hone__journal_trial(cache, &entry.key, number, 0, &one, NULL);
    if (status == HONE_OK)
        status = hone__journal_trials(cache, &entry.key, number, &trial, &count, NULL);
    if (status == HONE_OK) {
        hone__trial_clear(&trial[0]);
        hone__free(trial);
        status = hone__claim_take(cache, &entry.key, 60, NULL);
    }
    if (status == HONE_OK)
        status = hone_cache_stats(&json, cache, NULL);
    hone_free(json);
    json = NULL;
    char hex[33];
    hone__hash_hex(entry.key.key, hex);
    if (status == HONE_OK)
        status = hone_cache_show(&json, cache, hex, NULL);
    hone_free(json);
    hone_cache_close(cache);
    return status;
}

static void test_cache_fault__every_allocation_fails_once(void **state) {
    fixture *f = *state;
    size_t live = hone__alloc_live(), failures = 0;
    for (int forever = 0; forever < 2; forever++) {
        for (size_t nth = 1;; nth++) {
            hone__alloc_fail_at(nth, forever);
            hone_status status = store_and_load(f->path);
            hone__alloc_fail_at(0, 0);
            assert_int_equal(hone__alloc_live(), live); /* nothing leaked */
            if (status == HONE_OK)
                break;
            assert_int_equal(status, HONE_E_NOMEM);
            failures++;
            assert_true(nth < 2000);
        }
    }
    print_message("%zu failing allocations\n", failures);
    assert_true(failures > 100);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0); /* no memory is no reason to think a file damaged */
    assert_int_equal(store_and_load(f->path), HONE_OK);
}

/* ---- space ---- */

/* Write until it fails; the status of the failure.  Everything acknowledged must be there afterwards. */
static hone_status fill_up(hone_cache *cache, uint32_t limit, hone_error *err) {
    char text[64];
    static char padding[900];
    memset(padding, 'p', sizeof padding - 1);
    for (uint32_t i = 0; i < limit; i++) {
        hone__entry entry = make_entry(make_key(1, 1, i), 1000 + i, text);
        entry.stop = padding;
        hone_status status = hone__cache_put(cache, &entry, true, err);
        if (status == HONE_OK)
            continue;
        for (uint32_t back = 0; back < i; back++)
            assert_true(get_time(cache, back) == 1000 + back);
        return status;
    }
    return HONE_OK;
}

static int fill_under_file_limit(void *user) {
    fixture *f = user;
    (void)signal(SIGXFSZ, SIG_IGN);
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 0, 1000);
    struct rlimit limit = {512 << 10, 512 << 10};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 77;
    hone_error err = {0};
    hone_status status = fill_up(cache, 5000, &err);
    bool fine = status == HONE_E_NOSPACE && strstr(err.message, "space") != NULL;
    if (!fine)
        print_error("%s: %s\n", hone_status_name(status), err.message);
    double still = get_time(cache, 3);
    hone_cache_close(cache);
    return fine && still == 1003 ? 0 : 1;
}

static void test_cache_fault__file_size_limit(void **state) {
    int status = wait_child(start_child(fill_under_file_limit, *state));
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("SKIPPED: RLIMIT_FSIZE cannot be set\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    hone_cache *cache = open_cache(((fixture *)*state)->path); /* and it works on where there is room */
    assert_true(get_time(cache, 3) == 1003);
    put_time(cache, 9999, 5);
    hone_cache_close(cache);
    assert_int_equal(count_files(((fixture *)*state)->dir, ".corrupt-"), 0);
}

static void test_cache_fault__full_disk(void **state) {
    fixture *f = *state;
    if (mount("tmpfs", f->dir, "tmpfs", 0, "size=600k,mode=0700") != 0) {
        print_message("SKIPPED: no tmpfs can be mounted here (%s)\n", strerror(errno));
        skip();
    }
    hone_cache *cache = open_cache(f->path);
    hone_error err = {0};
    hone_status status = fill_up(cache, 5000, &err);
    assert_int_equal(status, HONE_E_NOSPACE);
    assert_non_null(strstr(err.message, "space"));
    assert_true(get_time(cache, 2) == 1002);
    hone_cache_close(cache);
    cache = open_cache(f->path); /* opening a full disk's cache works too */
    assert_true(get_time(cache, 2) == 1002);
    hone_cache_close(cache);
    remove_tree(f->dir);
    /* Not one byte: no new cache, and a status that says why. */
    char filler[300], block[4096] = {1};
    (void)snprintf(filler, sizeof filler, "%s/filler", f->dir);
    int fd = open(filler, O_WRONLY | O_CREAT, 0600);
    while (write(fd, block, sizeof block) > 0) {
    }
    status = hone_cache_open(&cache, f->path, NULL, &err);
    assert_int_equal(status, HONE_E_NOSPACE);
    assert_null(cache);
    /* Some bytes, and not enough for LMDB's lock file, which is written by mmap: the same, and no SIGBUS. */
    off_t filled = lseek(fd, 0, SEEK_END);
    for (off_t room = 4096; room <= 65536; room *= 2) {
        assert_int_equal(ftruncate(fd, filled - room), 0);
        status = hone_cache_open(&cache, f->path, NULL, &err);
        assert_int_equal(status, HONE_E_NOSPACE);
        assert_null(cache);
        assert_non_null(strstr(err.message, "space"));
    }
    (void)close(fd);
    remove_tree(f->dir);
    assert_int_equal(umount(f->dir), 0);
}

static void test_cache_fault__map_full(void **state) {
    fixture *f = *state;
    hone_cache *cache;
    hone_error err = {0};
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.map_bytes_max = 1;
    assert_int_equal(hone_cache_open(&cache, f->path, &options, &err), HONE_OK);
    assert_int_equal(fill_up(cache, 5000, &err), HONE_E_FULL);
    assert_non_null(strstr(err.message, "map_bytes_max"));
    struct stat info;
    assert_int_equal(stat(f->path, &info), 0);
    assert_true(info.st_size <= (1 << 20));
    hone_cache_close(cache);
    cache = open_cache(f->path); /* with the usual size there is room */
    put_time(cache, 9999, 5);
    hone_cache_close(cache);
}

__attribute__((unused)) static int limit_address_space(void *user) {
    fixture *f = user;
    struct rlimit limit = {600u << 20, 600u << 20};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 77;
    hone_cache *cache = NULL;
    if (hone_cache_open(&cache, f->path, NULL, NULL) != HONE_OK)
        return 1;
    put_time(cache, 1, 1);
    hone_cache_close(cache);
    return 0;
}

/* A map of 1 GiB is not to be had: a smaller one is taken. */
static void test_cache_fault__little_address_space(void **state) {
#ifdef HONE_SANITIZED
    (void)state;
    print_message("SKIPPED: sanitizers need address space themselves\n");
    skip();
#else
    int status = wait_child(start_child(limit_address_space, *state));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#endif
}

/* In a process of its own, for the limit.  The first write needs one descriptor more than reading. */
static int write_without_descriptors(void *user) {
    fixture *f = user;
    hone_cache *cache = open_cache(f->path);
    struct rlimit limit;
    int highest = 0, filler = 0;
    for (int fd = 0; fd < 256; fd++)
        highest = fcntl(fd, F_GETFD) >= 0 ? fd : highest;
    while (filler >= 0 && filler < highest)
        filler = dup(STDERR_FILENO); /* into the gaps */
    if (filler < 0 || close(filler) != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 77;
    struct rlimit none = {(rlim_t)filler, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0)
        return 77;
    char text[64];
    hone__entry entry = make_entry(make_key(1, 1, 2), 2222, text);
    hone_error err = {0};
    if (hone__cache_put(cache, &entry, true, &err) == HONE_OK)
        return 1;
    if (get_time(cache, 1) != 1111) /* reading goes on */
        return 2;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 77;
    put_time(cache, 2, 2222);
    int result = get_time(cache, 1) == 1111 && get_time(cache, 2) == 2222 ? 0 : 3;
    hone_cache_close(cache);
    return result;
}

static void test_cache_fault__no_descriptor_for_the_first_write(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 1111);
    hone_cache_close(cache);
    int status = wait_child(start_child(write_without_descriptors, f));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int grow_from_other_process(void *user) {
    fixture *f = user;
    hone_cache *cache;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.map_bytes_max = 64 << 20;
    if (hone_cache_open(&cache, f->path, &options, NULL) != HONE_OK)
        return 1;
    hone_error err;
    hone_status status = fill_up(cache, 700, &err);
    hone_cache_close(cache);
    return status == HONE_OK ? 0 : 2;
}

/* Another process grows the file beyond our map: reads and writes go on. */
static void test_cache_fault__map_resized_by_another(void **state) {
    fixture *f = *state;
    hone_cache *cache;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.map_bytes_max = 1 << 20;
    assert_int_equal(hone_cache_open(&cache, f->path, &options, NULL), HONE_OK);
    put_time(cache, 0, 7);
    /* The fork happens with the cache open, but the child must open its own: that works too. */
    assert_int_equal(WEXITSTATUS(wait_child(start_child(grow_from_other_process, f))), 0);
    assert_true(get_time(cache, 699) == 1699);
    assert_true(get_time(cache, 0) == 1000);
    hone_cache_close(cache);
}

/* ---- permission ---- */

static int open_readable_only(void *user) {
    fixture *f = user;
    hone_cache *cache = NULL;
    hone_error err = {0};
    if (geteuid() == 0 && (chown(f->path, 65534, 65534) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        return 77;
    if (hone_cache_open(&cache, f->path, NULL, &err) != HONE_E_PERM || cache != NULL || strstr(err.message, f->path) == NULL) {
        print_error("%s\n", err.message);
        return 1;
    }
    char other[400];
    (void)snprintf(other, sizeof other, "%s/new.hone", f->dir);
    if (hone_cache_open(&cache, other, NULL, &err) != HONE_E_PERM)
        return 2;
    (void)snprintf(other, sizeof other, "%s/sub/dir/new.hone", f->dir);
    if (hone_cache_open(&cache, other, NULL, &err) != HONE_E_PERM)
        return 3;
    return 0;
}

static void test_cache_fault__no_permission(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    assert_int_equal(chmod(f->path, 0400), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(f->dir, 65534, 65534), 0);
    assert_int_equal(chmod(f->dir, 0500), 0);
    int status = wait_child(start_child(open_readable_only, f));
    assert_int_equal(chmod(f->dir, 0700), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("SKIPPED: cannot become another user\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_cache_fault__read_only_filesystem(void **state) {
    fixture *f = *state;
    if (mount("tmpfs", f->dir, "tmpfs", 0, "size=4m,mode=0700") != 0) {
        print_message("SKIPPED: no tmpfs can be mounted here (%s)\n", strerror(errno));
        skip();
    }
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    assert_int_equal(mount("tmpfs", f->dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    hone_error err = {0};
    assert_int_equal(hone_cache_open(&cache, f->path, NULL, &err), HONE_E_PERM);
    assert_null(cache);
    assert_non_null(strstr(err.message, "HONE_CACHE"));
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    assert_int_equal(hone_cache_open(&cache, f->path, &options, &err), HONE_OK);
    assert_true(get_time(cache, 1) == 11);
    hone_cache_close(cache);
}

static int read_seed_cache(void *user) {
    fixture *f = user;
    hone_cache *cache = NULL;
    hone_error err = {0};
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 77;
    hone_status status = hone_cache_open(&cache, f->path, &options, &err);
    if (status != HONE_OK) {
        print_error("%s: %s\n", hone_status_name(status), err.message);
        return 1;
    }
    double time_ns = get_time(cache, 1);
    hone_cache_close(cache);
    return time_ns == 11 ? 0 : 2;
}

/* A cache that somebody else keeps for us (root's, mode 0644, in a folder that we cannot write) is read all the same. */
static void test_cache_fault__reads_a_cache_that_it_may_not_write(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    char side[400];
    (void)snprintf(side, sizeof side, "%s-lock", f->path);
    assert_int_equal(chmod(side, 0644), 0);
    assert_int_equal(chmod(f->path, 0644), 0);
    assert_int_equal(chmod(f->dir, 0755), 0);
    if (geteuid() != 0) { /* our own, sealed */
        assert_int_equal(chmod(side, 0444), 0);
        assert_int_equal(chmod(f->path, 0444), 0);
        assert_int_equal(chmod(f->dir, 0555), 0);
    }
    int status = wait_child(start_child(read_seed_cache, f));
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("SKIPPED: cannot become another user\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cache_fault__every_allocation_fails_once),
        TEST(test_cache_fault__file_size_limit),
        TEST(test_cache_fault__full_disk),
        TEST(test_cache_fault__map_full),
        TEST(test_cache_fault__little_address_space),
        TEST(test_cache_fault__no_descriptor_for_the_first_write),
        TEST(test_cache_fault__map_resized_by_another),
        TEST(test_cache_fault__no_permission),
        TEST(test_cache_fault__read_only_filesystem),
        TEST(test_cache_fault__reads_a_cache_that_it_may_not_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
