/* test_network_fs.c: a cache on a network filesystem is declined before anything is made there.  There is none to be had in a test, so this
 * program's own statfs and fstatfs say that everything is on NFS; everything else is real. */
#define _GNU_SOURCE
#include "cache_fixture.h"

#include <sys/vfs.h>

static long fs_type = 0x6969;

int statfs(const char *path, struct statfs *out) {
    struct stat info;
    if (stat(path, &info) != 0)
        return -1;
    memset(out, 0, sizeof *out);
    out->f_type = fs_type;
    return 0;
}

int fstatfs(int fd, struct statfs *out) {
    struct stat info;
    if (fstat(fd, &info) != 0)
        return -1;
    memset(out, 0, sizeof *out);
    out->f_type = fs_type;
    return 0;
}

static void test_network_fs__is_declined_with_the_way_out(void **state) {
    const fixture *f = *state;
    hone_cache *cache = NULL;
    hone_error err = {0};
    assert_int_equal(hone_cache_open(&cache, f->path, NULL, &err), HONE_E_NETFS);
    assert_null(cache);
    assert_non_null(strstr(err.message, "NFS"));
    assert_non_null(strstr(err.message, "HONE_CACHE"));
    assert_int_equal(access(f->path, F_OK), -1); /* nothing was made */

    fs_type = 0xef53;
    cache = open_cache(f->path);
    put_time(cache, 1, 1111);
    hone_cache_close(cache);
    fs_type = 0x6969;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    assert_int_equal(hone_cache_open(&cache, f->path, &options, &err), HONE_E_NETFS); /* readers lock there too */

    options = (hone_cache_options)HONE_CACHE_OPTIONS_INIT;
    options.allow_network_fs = 1; /* at the caller's own risk */
    if (hone_cache_open(&cache, f->path, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_true(get_time(cache, 1) == 1111);
    hone_cache_close(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_network_fs__is_declined_with_the_way_out, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
