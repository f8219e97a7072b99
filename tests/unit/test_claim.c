/* test_claim.c: who may tune a key. */
#include "cache_fixture.h"

#include <time.h>

static void test_claim__one_at_a_time(void **state) {
    fixture *f = *state;
    hone_cache *a = open_cache(f->path), *b = open_cache(f->path);
    hone__key key = make_key(1, 1, 1), other = make_key(1, 1, 2);
    hone_error err = {0};
    assert_int_equal(hone__claim_renew(a, &key, 60, &err), HONE_E_NOTFOUND);
    assert_int_equal(hone__claim_take(a, &key, 60, &err), HONE_OK);
    assert_int_equal(hone__claim_take(a, &key, 60, &err), HONE_OK); /* ours already */
    assert_int_equal(hone__claim_renew(a, &key, 60, &err), HONE_OK);
    assert_int_equal(hone__claim_take(b, &key, 60, &err), HONE_E_BUSY);
    assert_non_null(strstr(err.message, "tuning this key"));
    assert_int_equal(hone__claim_renew(b, &key, 60, &err), HONE_E_BUSY);
    assert_int_equal(hone__claim_take(b, &other, 60, &err), HONE_OK);
    hone__claim_drop(b, &key); /* not ours to drop */
    assert_int_equal(hone__claim_take(b, &key, 60, &err), HONE_E_BUSY);
    hone__claim_drop(a, &key);
    assert_int_equal(hone__claim_take(b, &key, 60, &err), HONE_OK);
    hone_cache_close(b); /* drops both */
    assert_int_equal(hone__claim_take(a, &key, 60, &err), HONE_OK);
    assert_int_equal(hone__claim_take(a, &other, 60, &err), HONE_OK);
    hone_cache_close(a);
}

static void test_claim__expires(void **state) {
    fixture *f = *state;
    hone_cache *a = open_cache(f->path), *b = open_cache(f->path);
    hone__key key = make_key(1, 1, 1);
    assert_int_equal(hone__claim_take(a, &key, 0, NULL), HONE_OK); /* a lease of nothing has run out at once */
    assert_int_equal(hone__claim_take(b, &key, 60, NULL), HONE_OK);
    assert_int_equal(hone__claim_renew(a, &key, 60, NULL), HONE_E_BUSY);
    hone_cache_close(b);
    hone_cache_close(a);
}

/* An owner that was stopped beyond its lease goes on with its claim if nobody has taken it meanwhile. */
static void test_claim__renewed_late(void **state) {
    fixture *f = *state;
    hone_cache *a = open_cache(f->path), *b = open_cache(f->path);
    hone__key key = make_key(1, 1, 1);
    assert_int_equal(hone__claim_take(a, &key, 0, NULL), HONE_OK);
    assert_int_equal(hone__claim_renew(a, &key, 60, NULL), HONE_OK);
    assert_int_equal(hone__claim_take(b, &key, 60, NULL), HONE_E_BUSY);
    hone_cache_close(b);
    hone_cache_close(a);
}

/* Claims as others would write them, straight into the table. */
typedef struct foreign {
    hone__key key;
    uint64_t pid, start, namespace_inode;
    const char *boot_id, *host;
    int64_t expires, created, boot_left; /* the last: seconds from now by the clock that nobody sets; 0: unknown */
} foreign;

typedef struct foreign_record {
    uint64_t token, pid, start, namespace_inode;
    char boot_id[64], host[65];
    int64_t created_unix_s, expires_unix_s;
    uint64_t clock_inode;
    int64_t expires_boot_s;
} foreign_record;

static hone_status write_foreign(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    static const hone__field fields[] = {
        HONE_FIELD(U64, foreign_record, token, 0),         HONE_FIELD(U64, foreign_record, pid, 0),
        HONE_FIELD(U64, foreign_record, start, 0),         HONE_FIELD(U64, foreign_record, namespace_inode, 0),
        HONE_FIELD(ARRAY, foreign_record, boot_id, 63),    HONE_FIELD(ARRAY, foreign_record, host, 64),
        HONE_FIELD(I64, foreign_record, created_unix_s, 0), HONE_FIELD(I64, foreign_record, expires_unix_s, 0),
        HONE_FIELD(U64, foreign_record, clock_inode, 0),   HONE_FIELD(I64, foreign_record, expires_boot_s, 0)};
    static const hone__layout layout = {HONE_RECORD_CLAIM, sizeof(foreign_record), fields, 10};
    const foreign *in = user;
    foreign_record record = {.token = 42, .pid = in->pid, .start = in->start, .namespace_inode = in->namespace_inode};
    record.expires_unix_s = in->expires;
    record.created_unix_s = in->created;
    struct stat clock;
    struct timespec boot;
    record.clock_inode = stat("/proc/self/ns/time", &clock) == 0 ? (uint64_t)clock.st_ino : 0;
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &boot), 0);
    record.expires_boot_s = in->boot_left == 0 ? 0 : boot.tv_sec + in->boot_left;
    (void)snprintf(record.boot_id, sizeof record.boot_id, "%s", in->boot_id);
    (void)snprintf(record.host, sizeof record.host, "%s", in->host);
    hone__slot_key slot = {in->key.key, 16};
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone_status status = hone__record_encode(&buf, &layout, &record, slot);
    if (status == HONE_OK)
        status = hone__txn_put(txn, HONE_TABLE_CLAIM, slot, buf.data, buf.length);
    hone__buf_free(&buf);
    return status;
}

static int end_at_once(void *user) {
    (void)user;
    return 0;
}

static void test_claim__dead_and_living_owners(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    char boot[64] = "", host[65] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%63s", boot), 1);
    (void)fclose(file);
    assert_int_equal(gethostname(host, sizeof host), 0);
    struct stat info;
    assert_int_equal(stat("/proc/self/ns/pid", &info), 0);
    uint64_t ns = (uint64_t)info.st_ino;
    int64_t now = (int64_t)time(NULL), later = now + 3600;
    hone__key key = make_key(1, 1, 1);
    uint64_t gone = (uint64_t)start_child(end_at_once, NULL);
    (void)wait_child((pid_t)gone);
    const struct {
        const char *what;
        foreign claim;
        hone_status want;
    } cases[] = {
        {"living", {key, (uint64_t)getpid(), 0, ns, boot, host, later, 1, 0}, HONE_E_BUSY},
        {"expired", {key, (uint64_t)getpid(), 0, ns, boot, host, now - 1, 1, 0}, HONE_OK},
        {"gone", {key, gone, 0, ns, boot, host, later, 1, 0}, HONE_OK},
        {"number given to another", {key, (uint64_t)getpid(), 1, ns, boot, host, later, 1, 0}, HONE_OK},
        {"before a restart", {key, (uint64_t)getpid(), 0, ns, "another-boot", host, later, 1, 0}, HONE_OK},
        {"another machine", {key, gone, 0, ns, "another-boot", "elsewhere", later, 1, 0}, HONE_E_BUSY},
        {"another container", {key, gone, 0, ns + 1, boot, host, later, 1, 0}, HONE_E_BUSY},
        {"another container, expired", {key, gone, 0, ns + 1, boot, host, now - 1, 1, 0}, HONE_OK},
        {"from a clock far ahead", {key, gone, 0, ns + 1, boot, host, now + 86400 * 365, 1, 0}, HONE_OK},
        {"taken before the clock was set back", {key, gone, 0, ns + 1, boot, host, now + 7200, now + 3600, 0}, HONE_OK},
        {"the clock was set forth", {key, (uint64_t)getpid(), 0, ns, boot, host, now - 3600, now - 7200, 60}, HONE_E_BUSY},
        {"the clock was set back", {key, (uint64_t)getpid(), 0, ns, boot, host, now + 7200, now + 7100, 60}, HONE_E_BUSY},
        {"set back, another container", {key, gone, 0, ns + 1, boot, host, now + 7200, now + 7100, 60}, HONE_E_BUSY},
        {"set forth, and expired", {key, (uint64_t)getpid(), 0, ns, boot, host, later, 1, -1}, HONE_OK},
        {"no lease is so long", {key, (uint64_t)getpid(), 0, ns, boot, host, later, 1, 864000}, HONE_OK},
        {"another machine's clock", {key, gone, 0, ns, "another-boot", "elsewhere", later, 1, -5}, HONE_E_BUSY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        foreign claim = cases[i].claim;
        assert_int_equal(hone__store_write(cache, write_foreign, &claim, NULL), HONE_OK);
        hone_status got = hone__claim_take(cache, &key, 60, NULL);
        if (got != cases[i].want)
            fail_msg("%s: %s", cases[i].what, hone_status_name(got));
    }
    hone_cache_close(cache);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_claim__one_at_a_time),
        TEST(test_claim__expires),
        TEST(test_claim__renewed_late),
        TEST(test_claim__dead_and_living_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
