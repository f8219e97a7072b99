/* test_cache_damage.c: damaged, truncated, foreign and replaced files, links and modes.  Never a wrong value, never a crash of the
 * host: a miss, a fresh cache, or a status. */
#include "cache_fixture.h"
#include "store_file.h"

enum { ENTRIES = 60, FLIP_FILES = 300 };

typedef struct image {
    uint8_t *bytes;
    size_t count;
} image;

static image load(const char *path) {
    image file = {NULL, 0};
    struct stat info;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    file.count = (size_t)info.st_size;
    file.bytes = malloc(file.count);
    assert_true(read(fd, file.bytes, file.count) == (ssize_t)file.count);
    (void)close(fd);
    return file;
}

static void save(const char *path, const void *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_true(write(fd, bytes, count) == (ssize_t)count);
    (void)close(fd);
}

/* A small cache with entries, large values, a journal and freed pages. */
static image make_image(fixture *f) {
    hone_cache *cache = open_cache(f->path);
    char text[64], empty[] = "";
    static char padding[1000];
    memset(padding, 'p', sizeof padding - 1);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < ENTRIES; i++) {
            hone__entry entry = make_entry(make_key(1, 1, i), 1000 + i, text);
            entry.stop = i % 3 == 0 ? padding : empty;
            entry.model = i % 7 == 0 ? padding : empty;
            entry.host = i % 7 == 0 ? padding : empty;
            entry.driver = i % 7 == 0 ? padding : empty;
            assert_int_equal(hone__cache_put(cache, &entry, true, NULL), HONE_OK);
        }
    }
    hone_cache_close(cache);
    return load(f->path);
}

static void remove_caches(fixture *f) {
    remove_tree(f->dir);
    assert_int_equal(mkdir(f->dir, 0700), 0);
}

/* ---- reading a file that somebody has damaged ---- */

/* 0: every value right or a miss.  Runs in a child: a crash is its end. */
static int read_all(void *user) {
    fixture *f = user;
    hone_cache *cache = NULL;
    if (hone_cache_open(&cache, f->path, NULL, NULL) != HONE_OK)
        return 3; /* a status is fine too */
    int missing = 0;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        double time_ns = get_time(cache, i);
        if (time_ns > 0 && time_ns != 1000 + i)
            return 1; /* a wrong value: the one thing that must not be */
        missing += time_ns <= 0;
    }
    hone__entry *list;
    uint32_t count;
    hone__key key = make_key(1, 1, 0);
    if (hone__cache_of_kernel(cache, key.kernel, 1000, &list, &count, NULL) == HONE_OK) {
        for (uint32_t i = 0; i < count; i++) {
            if (list[i].best.time_ns < 1000 || list[i].best.time_ns >= 1000 + ENTRIES)
                return 1;
            hone__entry_clear(&list[i]);
        }
        hone__free(list);
    }
    put_time(cache, ENTRIES + 1, 5); /* and it can be written */
    if (get_time(cache, ENTRIES + 1) != 5)
        return 2;
    hone_cache_close(cache);
    return missing > 0 ? 4 : 0;
}

typedef struct tally {
    int fine, refused, missing, crashed;
} tally;

static void read_damaged(fixture *f, tally *sum) {
    int status = wait_child(start_child(read_all, f));
    if (!WIFEXITED(status)) {
        sum->crashed++;
        return;
    }
    int code = WEXITSTATUS(status);
    assert_int_not_equal(code, 1);
    assert_int_not_equal(code, 2);
    sum->fine += code == 0;
    sum->refused += code == 3;
    sum->missing += code == 4;
}

static void report(const char *name, tally sum) {
    print_message("%s: %d unharmed, %d with misses, %d refused, %d crashed\n", name, sum.fine, sum.missing, sum.refused, sum.crashed);
}

static void test_cache_damage__truncated_at_every_page(void **state) {
    fixture *f = *state;
    image file = make_image(f);
    tally sum = {0};
    for (size_t count = 0; count < file.count; count += 4096) {
        remove_caches(f);
        save(f->path, file.bytes, count);
        read_damaged(f, &sum);
        remove_caches(f);
        save(f->path, file.bytes, count + 1234 < file.count ? count + 1234 : file.count - 1);
        read_damaged(f, &sum);
    }
    report("truncated", sum);
    assert_int_equal(sum.crashed, 0);
    assert_int_equal(sum.refused, 0);
    assert_true(sum.missing > 0);
    free(file.bytes);
}

typedef void damage_fn(hone__rng *rng, image *file);

static void one_bit_anywhere(hone__rng *rng, image *file) {
    file->bytes[hone__rng_below(rng, file->count)] ^= (uint8_t)(1u << hone__rng_below(rng, 8));
}

static void one_byte_in_meta(hone__rng *rng, image *file) {
    file->bytes[hone__rng_below(rng, 2) * 4096 + hone__rng_below(rng, 160)] = (uint8_t)hone__rng_next(rng);
}

static void eight_bytes_in_a_page_header(hone__rng *rng, image *file) {
    size_t at = hone__rng_below(rng, file->count / 4096) * 4096 + hone__rng_below(rng, 56);
    for (size_t i = 0; i < 8; i++)
        file->bytes[at + i] = (uint8_t)hone__rng_next(rng);
}

static void a_block_of_noise(hone__rng *rng, image *file) {
    size_t bytes = 64 + (size_t)hone__rng_below(rng, 8192), at = (size_t)hone__rng_below(rng, file->count - bytes);
    for (size_t i = 0; i < bytes; i++)
        file->bytes[at + i] = (uint8_t)hone__rng_next(rng);
}

static void a_page_of_zeros(hone__rng *rng, image *file) {
    memset(file->bytes + hone__rng_below(rng, file->count / 4096) * 4096, 0, 4096);
}

static void two_pages_exchanged(hone__rng *rng, image *file) {
    uint8_t page[4096];
    size_t a = hone__rng_below(rng, file->count / 4096) * 4096, b = hone__rng_below(rng, file->count / 4096) * 4096;
    memcpy(page, file->bytes + a, 4096);
    memmove(file->bytes + a, file->bytes + b, 4096);
    memcpy(file->bytes + b, page, 4096);
}

static void test_cache_damage__random_damage(void **state) {
    fixture *f = *state;
    static const struct {
        const char *name;
        damage_fn *damage;
    } kinds[] = {{"one bit anywhere", one_bit_anywhere},
                 {"one byte of a meta page", one_byte_in_meta},
                 {"eight bytes of a page header", eight_bytes_in_a_page_header},
                 {"a block of noise", a_block_of_noise},
                 {"a page of zeros", a_page_of_zeros},
                 {"two pages exchanged", two_pages_exchanged}};
    image file = make_image(f);
    image work = {malloc(file.count), file.count};
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("random_damage"));
    int crashed = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        tally sum = {0};
        for (int i = 0; i < FLIP_FILES / 6; i++) {
            memcpy(work.bytes, file.bytes, file.count);
            kinds[k].damage(&rng, &work);
            remove_caches(f);
            save(f->path, work.bytes, work.count);
            read_damaged(f, &sum);
        }
        report(kinds[k].name, sum);
        crashed += sum.crashed;
    }
    assert_int_equal(crashed, 0);
    free(work.bytes);
    free(file.bytes);
}

/* The walk of store_walk.c must never find fault with a file that LMDB made. */
static void test_cache_damage__sound_files_are_sound(void **state) {
    fixture *f = *state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("sound_files"));
    char text[64];
    static char padding[1001], big[16000];
    memset(padding, 'p', sizeof padding - 1);
    memset(big, 'b', sizeof big - 1);
    hone_cache *cache = open_cache(f->path);
    for (int i = 0; i < 900; i++) {
        hone__entry entry = make_entry(make_key(1, (uint32_t)hone__rng_below(&rng, 3), (uint32_t)hone__rng_below(&rng, 150)), 1000, text);
        entry.device = big + hone__rng_below(&rng, sizeof big);
        entry.stop = padding + hone__rng_below(&rng, sizeof padding);
        assert_int_equal(hone__cache_put(cache, &entry, true, NULL), HONE_OK);
        if (hone__rng_below(&rng, 3) == 0)
            assert_int_equal(hone__claim_take(cache, &entry.key, 60, NULL), HONE_OK);
        if (hone__rng_below(&rng, 3) == 0)
            hone__claim_drop(cache, &entry.key);
        char reason[160];
        int fd = open(f->path, O_RDONLY);
        hone__file_state found = hone__file_check(fd, reason, sizeof reason);
        (void)close(fd);
        if (found != HONE_FILE_SOUND)
            fail_msg("after %d writes: %s", i, reason);
    }
    hone_cache_close(cache);
}

/* ---- files that are no caches ---- */

static void test_cache_damage__foreign_files_are_set_aside(void **state) {
    fixture *f = *state;
    char garbage[10000];
    memset(garbage, 'x', sizeof garbage);
    save(f->path, garbage, sizeof garbage);
    hone_cache *cache;
    hone_error err;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    assert_int_equal(hone_cache_open(&cache, f->path, &options, &err), HONE_E_CORRUPT);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
    /* Never a cache: it stays where it is. */
    assert_int_equal(hone_cache_open(&cache, f->path, NULL, &err), HONE_E_CORRUPT);
    assert_non_null(strstr(err.message, "no Hone cache"));
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
    /* A cache once, by its lock file: set aside. */
    char lock_path[512];
    (void)snprintf(lock_path, sizeof lock_path, "%s-lock", f->path);
    save(lock_path, "", 0);
    cache = open_cache(f->path);
    put_time(cache, 1, 1);
    hone_cache_close(cache);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 2); /* and its lock file with it */
    save(f->path, "", 0); /* an empty one is simply new */
    cache = open_cache(f->path);
    put_time(cache, 1, 1);
    hone_cache_close(cache);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 2);
    remove_caches(f);
}

/* Somebody else's LMDB file, with records of its own or with tables, some of which may be called as Hone's are. */
static void test_cache_damage__databases_of_others_stay(void **state) {
    fixture *f = *state;
    static const char *const names[] = {NULL, "users", "meta"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi dbi;
        MDB_val key = {3, (void *)(uintptr_t) "abc"};
        remove_caches(f);
        assert_int_equal(mdb_env_create(&env), 0);
        assert_int_equal(mdb_env_set_maxdbs(env, 2), 0);
        assert_int_equal(mdb_env_open(env, f->path, MDB_NOSUBDIR, 0600), 0);
        assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
        assert_int_equal(mdb_dbi_open(txn, names[i], MDB_CREATE, &dbi), 0);
        assert_int_equal(mdb_put(txn, dbi, &key, &key, 0), 0);
        assert_int_equal(mdb_txn_commit(txn), 0);
        mdb_env_close(env);
        hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
        for (options.read_only = 0; options.read_only < 2; options.read_only++) {
            hone_cache *cache;
            hone_error err = {0};
            assert_int_equal(hone_cache_open(&cache, f->path, &options, &err), HONE_E_CORRUPT);
            assert_non_null(strstr(err.message, "another program's"));
            assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
            assert_int_equal(access(f->path, F_OK), 0);
        }
    }
}

/* Entries are read as long as their table is there; what needs another says so, and the first write starts a new file. */
static void test_cache_damage__a_table_is_missing(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 1111);
    hone_cache_close(cache);
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, f->path, MDB_NOSUBDIR, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "stat", 0, &dbi), 0);
    assert_int_equal(mdb_drop(txn, dbi, 1), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    char *json = NULL;
    hone_error err = {0};
    cache = open_cache(f->path);
    assert_true(get_time(cache, 1) == 1111);
    assert_int_equal(hone_cache_stats(&json, cache, &err), HONE_E_CORRUPT);
    assert_non_null(strstr(err.message, "lacks some of its tables"));
    assert_null(json);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
    put_time(cache, 2, 2222);
    assert_true(get_time(cache, 2) == 2222);
    assert_true(count_files(f->dir, ".corrupt-") >= 1);
    assert_int_equal(hone_cache_stats(&json, cache, &err), HONE_OK);
    hone_free(json);
    hone_cache_close(cache);
}

/* Put a format record of another version into a good file. */
static void write_format(const char *path, uint32_t reader, uint32_t writer, const char *application) {
    typedef struct format_record {
        char *application, *tool_version;
        uint32_t reader, writer;
        int64_t created_unix_s;
    } format_record;
    static const hone__field fields[] = {
        HONE_FIELD(TEXT, format_record, application, 64), HONE_FIELD(U32, format_record, reader, 0), HONE_FIELD(U32, format_record, writer, 0),
        HONE_FIELD(TEXT, format_record, tool_version, 64), HONE_FIELD(I64, format_record, created_unix_s, 0)};
    static const hone__layout layout = {HONE_RECORD_META, sizeof(format_record), fields, 5};
    char name[64], version[] = "9.9.9";
    (void)snprintf(name, sizeof name, "%s", application);
    format_record format = {name, version, reader, writer, 1};
    hone__slot_key slot = {"format", 6};
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    assert_int_equal(hone__record_encode(&buf, &layout, &format, slot), HONE_OK);
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = {6, (void *)(uintptr_t) "format"}, value = {buf.length, buf.data};
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    hone__buf_free(&buf);
}

static void test_cache_damage__versions(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    hone_error err;
    write_format(f->path, 1, 7, "hone"); /* a newer writer that older readers may follow */
    cache = open_cache(f->path);
    assert_true(get_time(cache, 1) == 11);
    hone_cache_close(cache);
    write_format(f->path, 2, 2, "hone");
    assert_int_equal(hone_cache_open(&cache, f->path, NULL, &err), HONE_E_VERSION);
    assert_null(cache);
    assert_non_null(strstr(err.message, "newer"));
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0); /* it is somebody's good cache */
    write_format(f->path, 1, 1, "other");
    cache = open_cache(f->path);
    assert_true(get_time(cache, 1) == 0);
    hone_cache_close(cache);
    assert_true(count_files(f->dir, ".corrupt-") > 0);
}

/* ---- links, owners, modes ---- */

static void expect_unsafe(const char *path, const char *way_out) {
    hone_cache *cache;
    hone_error err = {0};
    hone_status status = hone_cache_open(&cache, path, NULL, &err);
    if (status != HONE_E_UNSAFE || strstr(err.message, way_out) == NULL)
        fail_msg("%s: %s: %s", path, hone_status_name(status), err.message);
    assert_null(cache);
}

static void test_cache_damage__links_and_modes(void **state) {
    fixture *f = *state;
    char other[400];
    hone_cache *cache = open_cache(f->path);
    hone_cache_close(cache);
    (void)snprintf(other, sizeof other, "%s/link.hone", f->dir);
    assert_int_equal(symlink(f->path, other), 0);
    expect_unsafe(other, "symbolic link");
    assert_int_equal(unlink(other), 0);
    (void)snprintf(other, sizeof other, "%s/dangling.hone", f->dir);
    assert_int_equal(symlink("/nowhere/at/all", other), 0);
    expect_unsafe(other, "symbolic link");
    (void)snprintf(other, sizeof other, "%s/hard.hone", f->dir);
    assert_int_equal(link(f->path, other), 0);
    expect_unsafe(f->path, "hard links");
    assert_int_equal(unlink(other), 0);
    assert_int_equal(chmod(f->path, 0666), 0);
    expect_unsafe(f->path, "chmod");
    assert_int_equal(chmod(f->path, 0600), 0);
    assert_int_equal(chmod(f->dir, 0777), 0);
    expect_unsafe(f->path, "chmod");
    assert_int_equal(chmod(f->dir, 01777), 0); /* as /tmp */
    cache = open_cache(f->path);
    hone_cache_close(cache);
    assert_int_equal(chmod(f->dir, 0700), 0);
    (void)snprintf(other, sizeof other, "%s.wlock", f->path);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(symlink("/tmp/somewhere", other), 0);
    expect_unsafe(f->path, "symbolic link");
    assert_int_equal(unlink(other), 0);
    (void)snprintf(other, sizeof other, "%s-lock", f->path);
    (void)unlink(other);
    assert_int_equal(symlink("/tmp/somewhere", other), 0);
    hone_error err;
    hone_status status = hone_cache_open(&cache, f->path, NULL, &err); /* removed with the stale lock file, or refused */
    assert_true(status == HONE_OK || status == HONE_E_UNSAFE);
    assert_int_not_equal(access("/tmp/somewhere", F_OK), 0);
    hone_cache_close(cache);
    expect_unsafe("/dev/null", "another");
    if (geteuid() == 0) {
        (void)unlink(other);
        assert_int_equal(chown(f->path, 12345, 12345), 0);
        expect_unsafe(f->path, "belongs to");
        assert_int_equal(chown(f->path, 0, 0), 0);
        assert_int_equal(chown(f->dir, 12345, 12345), 0);
        expect_unsafe(f->path, "belongs to");
    }
}

/* ---- a file that goes away or is replaced while it is open ---- */

static void test_cache_damage__deleted_under_us(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    assert_int_equal(unlink(f->path), 0);
    put_time(cache, 2, 22); /* goes into a new file, not into a nameless one */
    assert_true(get_time(cache, 2) == 22);
    assert_true(get_time(cache, 1) == 0);
    hone_cache_close(cache);
    cache = open_cache(f->path);
    assert_true(get_time(cache, 2) == 22);
    remove_tree(f->dir); /* `rm -rf`: side lock and folder too */
    char text[64];
    hone_error err = {0};
    hone__entry entry = make_entry(make_key(1, 1, 3), 33, text);
    assert_int_not_equal(hone__cache_put(cache, &entry, true, &err), HONE_OK);
    assert_int_equal(mkdir(f->dir, 0700), 0);
    put_time(cache, 4, 44); /* and again when there is a folder */
    hone_cache_close(cache);
    cache = open_cache(f->path);
    assert_true(get_time(cache, 4) == 44);
    hone_cache_close(cache);
}

static void test_cache_damage__replaced_under_us(void **state) {
    fixture *f = *state;
    char other[400];
    (void)snprintf(other, sizeof other, "%s/other.hone", f->dir);
    hone_cache *cache = open_cache(other);
    put_time(cache, 9, 99);
    hone_cache_close(cache);
    cache = open_cache(f->path);
    put_time(cache, 1, 11);
    assert_int_equal(rename(other, f->path), 0);
    put_time(cache, 2, 22);
    assert_true(get_time(cache, 9) == 99);
    assert_true(get_time(cache, 1) == 0);
    hone_cache_close(cache);
    cache = open_cache(f->path);
    assert_true(get_time(cache, 9) == 99 && get_time(cache, 2) == 22);
    hone_cache_close(cache);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cache_damage__truncated_at_every_page),
        TEST(test_cache_damage__random_damage),
        TEST(test_cache_damage__sound_files_are_sound),
        TEST(test_cache_damage__foreign_files_are_set_aside),
        TEST(test_cache_damage__databases_of_others_stay),
        TEST(test_cache_damage__a_table_is_missing),
        TEST(test_cache_damage__versions),
        TEST(test_cache_damage__links_and_modes),
        TEST(test_cache_damage__deleted_under_us),
        TEST(test_cache_damage__replaced_under_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
