/* test_file_races.c: the file under a cache changes hands while it is opened or read; claims when clocks jump and reads fail. */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include "cache_fixture.h"
#include "fault/failing_calls.h"

static hone_cache *open_reader(const char *path) {
    hone_cache *cache = NULL;
    hone_error err = {0};
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    if (hone_cache_open(&cache, path, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return cache;
}

/* As if the second since the last look had passed. */
static void let_a_second_pass(hone_cache *cache) {
    atomic_store(&cache->store->look_ns, 1);
}

static void other_name(const fixture *f, const char *suffix, char out[400]) {
    (void)snprintf(out, 400, "%s%s", f->path, suffix);
}

/* ---- another file between our look and LMDB's ---- */

static char swap_from[400];
static int swaps;

static void swap_once(const char *path) {
    if (swaps-- > 0)
        assert_int_equal(syscall(SYS_rename, swap_from, path), 0);
}

static void test_file_races__another_file_before_lmdb_opens_it(void **state) {
    fixture *f = *state;
    for (int read_only = 0; read_only < 2; read_only++) {
        other_name(f, ".other", swap_from);
        hone_cache *cache = open_cache(swap_from);
        put_time(cache, 1, 2222);
        hone_cache_close(cache);
        cache = open_cache(f->path);
        put_time(cache, 1, 1111);
        hone_cache_close(cache);
        swaps = 1;
        failing_before_env_open = swap_once;
        cache = read_only ? open_reader(f->path) : open_cache(f->path);
        failing_before_env_open = NULL;
        assert_true(swaps < 0); /* it was opened again */
        struct stat info;
        assert_int_equal(lstat(f->path, &info), 0);
        assert_true(cache->store->ino == (uint64_t)info.st_ino); /* it knows which file it has */
        assert_true(get_time(cache, 1) == 2222);
        hone_cache_close(cache);
    }
}

/* ---- a reader that lives long ---- */

static void test_file_races__a_reader_notices_a_new_file(void **state) {
    fixture *f = *state;
    char other[400];
    other_name(f, ".other", other);
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    cache = open_cache(other);
    put_time(cache, 1, 99);
    hone_cache_close(cache);
    hone_cache *reader = open_reader(f->path);
    assert_true(get_time(reader, 1) == 11);
    assert_int_equal(rename(other, f->path), 0);
    let_a_second_pass(reader);
    assert_true(get_time(reader, 1) == 99);
    assert_int_equal(unlink(f->path), 0); /* gone: what was known is still served */
    let_a_second_pass(reader);
    assert_true(get_time(reader, 1) == 99);
    hone_cache_close(reader);
}

/* LMDB's lock file belongs to a file that was moved away, and a process still has it open: a reader must not use it with the new file. */
static void test_file_races__a_reader_takes_no_foreign_lock_file(void **state) {
    fixture *f = *state;
    char other[400];
    other_name(f, ".other", other);
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    assert_int_equal(rename(f->path, other), 0);
    char copy[1000];
    (void)snprintf(copy, sizeof copy, "cp '%s' '%s'", other, f->path);
    assert_int_equal(system(copy), 0);
    hone_cache *reader = open_reader(f->path);
    assert_true(reader->store->is_copy);
    assert_true(get_time(reader, 1) == 11);
    /* A copy is renewed when the file moves on. */
    pid_t pid = fork();
    if (pid == 0) {
        hone_cache *writer = NULL;
        char text[64];
        hone__entry entry = make_entry(make_key(1, 1, 1), 33, text);
        _exit(hone_cache_open(&writer, f->path, NULL, NULL) == HONE_OK && hone__cache_put(writer, &entry, true, NULL) == HONE_OK ? 0 : 1);
    }
    assert_int_equal(wait_child(pid), 0);
    assert_true(get_time(reader, 1) == 11);
    let_a_second_pass(reader);
    assert_true(get_time(reader, 1) == 33);
    hone_cache_close(reader);
}

/* ---- commits between our reads of the two meta pages ---- */

static char later[1 << 20];
static ssize_t later_bytes;

static void three_commits_later(int fd, off_t at) {
    if (at != 0)
        return;
    char path[64], name[400];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(path, name, sizeof name - 1);
    assert_true(got > 0);
    name[got] = '\0';
    failing_after_read = NULL;
    int to = open(name, O_WRONLY);
    assert_true(to >= 0 && pwrite(to, later, (size_t)later_bytes, 0) == later_bytes);
    (void)close(to);
}

static void test_file_races__commits_while_the_meta_pages_are_read(void **state) {
    fixture *f = *state;
    char other[400], reason[160];
    other_name(f, ".later", other);
    hone_cache *cache = open_cache(f->path);
    for (uint32_t i = 0; i < 5; i++)
        put_time(cache, i, 11);
    hone_cache_close(cache);
    char copy[1000];
    (void)snprintf(copy, sizeof copy, "cp '%s' '%s'", f->path, other);
    assert_int_equal(system(copy), 0);
    cache = open_cache(other);
    for (uint32_t i = 0; i < 3; i++)
        put_time(cache, 1, 12 + i);
    hone_cache_close(cache);
    int fd = open(other, O_RDONLY);
    later_bytes = read(fd, later, sizeof later);
    assert_true(later_bytes > 0);
    (void)close(fd);
    fd = open(f->path, O_RDONLY);
    failing_after_read = three_commits_later;
    hone__file_state found = hone__file_check(fd, reason, sizeof reason);
    assert_null(failing_after_read);
    (void)close(fd);
    if (found != HONE_FILE_SOUND)
        fail_msg("%s", reason);
}

/* ---- a second handle that may write, in a process that only read until now ---- */

static void test_file_races__a_writer_after_a_reader(void **state) {
    fixture *f = *state;
    char side[400];
    other_name(f, ".wlock", side);
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    hone_cache *reader = open_reader(f->path);
    assert_int_equal(unlink(side), 0); /* so that opening to write needs the side lock */
    int fd = open(side, O_RDWR | O_CREAT, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    assert_int_equal(fcntl(fd, 37 /* F_OFD_SETLK */, &lock), 0);
    hone_cache *writer = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.writer_wait_ms = 20;
    assert_int_equal(hone_cache_open(&writer, f->path, &options, NULL), HONE_E_BUSY);
    assert_null(writer);
    assert_true(get_time(reader, 1) == 11); /* and the reader reads on */
    (void)close(fd);
    assert_int_equal(hone_cache_open(&writer, f->path, &options, NULL), HONE_OK);
    put_time(writer, 2, 22);
    assert_true(get_time(reader, 2) == 22);
    hone_cache_close(reader);
    put_time(writer, 3, 33);
    hone_cache_close(writer);
}

/* ---- a failed open of a foreign lock file, and claims ---- */

static void test_file_races__a_foreign_lock_file_is_no_damage(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path), *second = NULL;
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    failing_start(CALL_LMDB, 4, false, MDB_VERSION_MISMATCH); /* create, readers, size, open (maxdbs is not counted) */
    hone_error err = {0};
    hone_status status = hone_cache_open(&second, f->path, NULL, &err);
    assert_int_equal(failing_stop(), 1);
    assert_int_equal(status, HONE_E_STORE);
    assert_non_null(strstr(err.message, "-lock"));
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
    cache = open_cache(f->path);
    assert_true(get_time(cache, 1) == 11);
    hone_cache_close(cache);
}

static void test_file_races__an_unreadable_claim_is_not_free(void **state) {
    fixture *f = *state;
    hone_cache *a = open_cache(f->path), *b = open_cache(f->path);
    hone__key key = make_key(1, 1, 1), other = make_key(1, 1, 2);
    assert_int_equal(hone__claim_take(a, &key, 60, NULL), HONE_OK);
    int taken = 0;
    for (uint32_t nth = 1; nth < 20; nth++) {
        failing_start(CALL_LMDB, nth, false, EIO);
        taken += hone__claim_take(b, &key, 60, NULL) == HONE_OK;
        (void)failing_stop();
    }
    assert_int_equal(taken, 0);
    /* Dropping what one does not have drops nothing, nor forgets what one has. */
    hone__claim_drop(a, &other);
    hone_cache_close(a);
    assert_int_equal(hone__claim_take(b, &key, 60, NULL), HONE_OK);
    hone_cache_close(b);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_file_races__another_file_before_lmdb_opens_it),
        TEST(test_file_races__a_reader_notices_a_new_file),
        TEST(test_file_races__a_reader_takes_no_foreign_lock_file),
        TEST(test_file_races__commits_while_the_meta_pages_are_read),
        TEST(test_file_races__a_writer_after_a_reader),
        TEST(test_file_races__a_foreign_lock_file_is_no_damage),
        TEST(test_file_races__an_unreadable_claim_is_not_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
