/* test_mdb_errors.c: every code that LMDB knows has a meaning of ours. */
#include "cache_fixture.h"

static void test_mdb_errors__every_code_is_mapped(void **state) {
    (void)state;
    for (int code = MDB_KEYEXIST; code <= MDB_LAST_ERRCODE; code++) {
        hone_status status = hone__mdb_status(code);
        if (status == HONE_OK || strcmp(hone_status_name(status), "E_UNKNOWN") == 0)
            fail_msg("LMDB code %d (%s) is not mapped", code, mdb_strerror(code));
    }
    assert_int_equal(hone__mdb_status(MDB_SUCCESS), HONE_OK);
    assert_int_equal(hone__mdb_status(MDB_NOTFOUND), HONE_E_NOTFOUND);
    assert_int_equal(hone__mdb_status(MDB_CORRUPTED), HONE_E_CORRUPT);
    assert_int_equal(hone__mdb_status(MDB_PAGE_NOTFOUND), HONE_E_CORRUPT);
    assert_int_equal(hone__mdb_status(MDB_INVALID), HONE_E_CORRUPT);
    assert_int_equal(hone__mdb_status(MDB_VERSION_MISMATCH), HONE_E_VERSION);
    assert_int_equal(hone__mdb_status(MDB_MAP_FULL), HONE_E_FULL);
    assert_int_equal(hone__mdb_status(MDB_READERS_FULL), HONE_E_BUSY);
    assert_int_equal(hone__mdb_status(MDB_PANIC), HONE_E_STORE);
    assert_int_equal(hone__mdb_status(MDB_BAD_TXN), HONE_E_BUG);
    assert_int_equal(hone__mdb_status(MDB_LAST_ERRCODE + 1), HONE_E_STORE);
}

/* The table must not fall behind the library that is linked: the last code of its header is the last that we know. */
static void test_mdb_errors__no_newer_codes(void **state) {
    (void)state;
    assert_int_equal(MDB_LAST_ERRCODE, MDB_BAD_DBI);
}

static void test_mdb_errors__errno(void **state) {
    (void)state;
    assert_int_equal(hone__mdb_status(ENOSPC), HONE_E_NOSPACE);
    assert_int_equal(hone__mdb_status(EDQUOT), HONE_E_NOSPACE);
    assert_int_equal(hone__mdb_status(EFBIG), HONE_E_NOSPACE);
    assert_int_equal(hone__mdb_status(EACCES), HONE_E_PERM);
    assert_int_equal(hone__mdb_status(EROFS), HONE_E_PERM);
    assert_int_equal(hone__mdb_status(ENOMEM), HONE_E_NOMEM);
    assert_int_equal(hone__mdb_status(EAGAIN), HONE_E_BUSY);
    assert_int_equal(hone__mdb_status(EIO), HONE_E_IO);
}

static void test_mdb_errors__network_filesystems(void **state) {
    (void)state;
    assert_string_equal(hone__netfs_name(0x6969), "NFS");
    assert_string_equal(hone__netfs_name(0x65735546), "FUSE");
    assert_string_equal(hone__netfs_name(0xff534d42), "CIFS");
    assert_string_equal(hone__netfs_name(0x0bd00bd0), "Lustre");
    assert_string_equal(hone__netfs_name(0x01021997), "9p");
    /* f_type is signed on some machines: sign extension must not hide one. */
    assert_string_equal(hone__netfs_name((uint64_t)(int64_t)(int32_t)0xff534d42), "CIFS");
    assert_null(hone__netfs_name(0xef53));     /* ext */
    assert_null(hone__netfs_name(0x01021994)); /* tmpfs */
    assert_null(hone__netfs_name(0x794c7630)); /* overlayfs */
    assert_null(hone__netfs_name(0x58465342)); /* XFS */
    assert_null(hone__netfs_name(0x9123683e)); /* Btrfs */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mdb_errors__every_code_is_mapped),
        cmocka_unit_test(test_mdb_errors__no_newer_codes),
        cmocka_unit_test(test_mdb_errors__errno),
        cmocka_unit_test(test_mdb_errors__network_filesystems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
