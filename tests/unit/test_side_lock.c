/* test_side_lock.c: the side file: whose lock file is it, which C library, and what when it goes away. */
#include "cache_fixture.h"

static void side_name(const fixture *f, const char *suffix, char out[400]) {
    (void)snprintf(out, 400, "%s%s", f->path, suffix);
}

static void read_side(const fixture *f, char text[128]) {
    char path[400];
    side_name(f, ".wlock", path);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t got = read(fd, text, 127);
    (void)close(fd);
    assert_true(got >= 0);
    text[got] = '\0';
}

static void write_side(const fixture *f, const char *text) {
    char path[400], padded[96] = {0};
    side_name(f, ".wlock", path);
    (void)snprintf(padded, sizeof padded, "%s", text);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_true(write(fd, padded, sizeof padded) == (ssize_t)sizeof padded);
    (void)close(fd);
}

static uint64_t inode_of(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (uint64_t)info.st_ino;
}

static void test_side_lock__says_whose_lock_file_it_is(void **state) {
    fixture *f = *state;
    char text[128], want[64];
    hone_cache_close(open_cache(f->path));
    read_side(f, text);
    (void)snprintf(want, sizeof want, " inode=%llu\n", (unsigned long long)inode_of(f->path));
    assert_int_equal(strncmp(text, "hone-side 1 libc=", 17), 0);
    assert_non_null(strstr(text, want));
}

/* A lock file that belongs to a data file that is gone must not serve another one: its transaction numbers are wrong here. */
static void test_side_lock__drops_a_foreign_lock_file(void **state) {
    fixture *f = *state;
    char lock[400];
    side_name(f, "-lock", lock);
    hone_cache *cache = open_cache(f->path);
    for (uint32_t i = 0; i < 5; i++)
        put_time(cache, i, 10 + i);
    char held[400];
    side_name(f, ".held", held);
    assert_int_equal(link(lock, held), 0); /* its inode must not be given to the next one */
    uint64_t lock_before = inode_of(lock);
    char kept[400];
    side_name(f, ".kept", kept);
    assert_int_equal(rename(f->path, kept), 0); /* as `mv` or `rm` of the data file alone does */
    put_time(cache, 9, 99);
    assert_int_not_equal(inode_of(lock), lock_before);
    assert_true(get_time(cache, 9) == 99 && get_time(cache, 1) == 0);
    hone_cache_close(cache);
}

static void test_side_lock__refuses_another_c_library(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    char text[128];
    (void)snprintf(text, sizeof text, "hone-side 1 libc=musl mutex=40 inode=%llu\n", (unsigned long long)inode_of(f->path));
    write_side(f, text);
    hone_error err = {0};
    assert_int_equal(hone_cache_open(&cache, f->path, NULL, &err), HONE_E_UNSUPPORTED);
    assert_null(cache);
    assert_non_null(strstr(err.message, "C library"));
    write_side(f, "nonsense"); /* damage is no other library */
    cache = open_cache(f->path);
    assert_true(get_time(cache, 1) == 11);
    hone_cache_close(cache);
}

/* Who holds the lock on a side file that was removed excludes nobody: the next writer must notice and take the new one. */
static void test_side_lock__notices_that_it_was_removed(void **state) {
    fixture *f = *state;
    char side[400];
    side_name(f, ".wlock", side);
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    assert_int_equal(unlink(side), 0);
    put_time(cache, 2, 22);
    assert_int_equal(access(side, F_OK), 0);
    int fd = open(side, O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    assert_int_equal(fcntl(fd, 37 /* F_OFD_SETLK */, &lock), 0); /* free, and it is the one that counts: */
    char time_text[64];
    hone__entry entry = make_entry(make_key(1, 1, 3), 33, time_text);
    assert_int_equal(hone__cache_put(cache, &entry, true, NULL), HONE_E_BUSY);
    (void)close(fd);
    assert_int_equal(hone__cache_put(cache, &entry, true, NULL), HONE_OK);
    hone_cache_close(cache);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_side_lock__says_whose_lock_file_it_is),
        TEST(test_side_lock__drops_a_foreign_lock_file),
        TEST(test_side_lock__refuses_another_c_library),
        TEST(test_side_lock__notices_that_it_was_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
