/* test_bit_flips.c: one bit of a cache file is flipped, anywhere, and the cache is opened, read, listed and written: never a wrong value, never the
 * end of the process.  HONE_TEST_FLIPS sets how many; a recorded run has 100,000 and more (tests/bench/RESULTS.md). */
#include "cache_fixture.h"

#include <sys/mman.h>

#ifdef HONE_SANITIZED
enum { FLIPS = 400 };
#else
enum { FLIPS = 1500 };
#endif
enum { ENTRIES = 24, BATCH = 500 };

typedef struct tally {
    _Atomic uint32_t done;      /* flips that were gone through, or begun */
    uint32_t unharmed, aside, refused, checksum, scan, silent;
} tally;

typedef struct job {
    fixture *f;
    uint8_t *image;
    size_t bytes;
    uint64_t seed;
    uint32_t from, until;
    tally *sum;
} job;

/* ---- one file ---- */

static int count_entry(const char *json, void *user) {
    (void)json;
    ++*(uint32_t *)user;
    return 0;
}

/* Exit statuses of a child that found what must not be. */
enum { WRONG_VALUE = 10, NOT_WRITABLE = 11, WRONG_LISTED = 12 };

static int read_flipped(job *j) {
    tally *sum = j->sum;
    hone_cache *cache = NULL;
    if (hone_cache_open(&cache, j->f->path, NULL, NULL) != HONE_OK) {
        sum->refused++;
        return 0;
    }
    uint32_t corrupt = 0, missing = 0, listed = 0;
    uint64_t damaged = 0;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        hone__key key = make_key(1, 1, i);
        hone__entry entry;
        hone_status status = hone__cache_get(cache, &key, &entry, NULL);
        if (status == HONE_OK && entry.best.time_ns != 1000 + i)
            return WRONG_VALUE;
        if (status == HONE_OK)
            hone__entry_clear(&entry);
        corrupt += status != HONE_OK && status != HONE_E_NOTFOUND;
        missing += status == HONE_E_NOTFOUND;
    }
    if (hone_cache_each(cache, count_entry, &listed, &damaged, NULL) == HONE_OK && listed > ENTRIES)
        return WRONG_LISTED;
    put_time(cache, ENTRIES + 1, 5);
    if (get_time(cache, ENTRIES + 1) != 5)
        return NOT_WRITABLE;
    hone_cache_close(cache);
    bool aside = count_files(j->f->dir, ".corrupt-") > 0;
    sum->aside += aside;
    sum->checksum += !aside && corrupt > 0;
    sum->scan += !aside && corrupt == 0 && missing > 0 && damaged > 0;
    sum->silent += !aside && corrupt == 0 && missing > 0 && damaged == 0;
    sum->unharmed += !aside && corrupt == 0 && missing == 0;
    return 0;
}

static size_t flip(job *j, uint32_t index) {
    hone__rng rng;
    hone__rng_seed(&rng, j->seed + index);
    uint64_t bit = hone__rng_below(&rng, (uint64_t)j->bytes * 8);
    j->image[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    return (size_t)(bit / 8);
}

static int go_through(void *user) {
    job *j = user;
    for (uint32_t i = j->from; i < j->until; i++) {
        atomic_store(&j->sum->done, i + 1);
        remove_tree(j->f->dir);
        (void)flip(j, i);
        char lock[400];
        (void)snprintf(lock, sizeof lock, "%s-lock", j->f->path);
        int made = mkdir(j->f->dir, 0700), fd = open(j->f->path, O_WRONLY | O_CREAT, 0600), lock_fd = open(lock, O_WRONLY | O_CREAT, 0600);
        if (made != 0 || lock_fd < 0 || write(fd, j->image, j->bytes) != (ssize_t)j->bytes)
            return 1;
        (void)close(fd);
        (void)close(lock_fd);
        int wrong = read_flipped(j);
        (void)flip(j, i); /* back again */
        if (wrong != 0)
            return wrong;
    }
    return 0;
}

/* ---- all ---- */

/* Entries of several sizes, a journal, claims, counters and freed pages. */
static void make_image(job *j) {
    static char padding[1000], big[6000];
    char text[64], empty[] = "";
    memset(padding, 'p', sizeof padding - 1);
    memset(big, 'b', sizeof big - 1);
    hone_cache *cache = open_cache(j->f->path);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < ENTRIES; i++) {
            hone__entry entry = make_entry(make_key(1, 1, i), 1000 + i, text);
            entry.stop = i % 3 == 0 ? padding : empty;
            entry.device = i % 8 == 7 ? big : empty;
            assert_int_equal(hone__cache_put(cache, &entry, true, NULL), HONE_OK);
        }
    }
    hone__key key = make_key(1, 1, 0);
    hone__session session = {.strategy = empty, .model = empty, .options = empty};
    hone__trial trial = {.config = empty, .proposer = empty};
    uint32_t number;
    assert_int_equal(hone__journal_begin(cache, &key, &session, &number, NULL), HONE_OK);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(hone__journal_trial(cache, &key, number, i, &trial, NULL), HONE_OK);
    hone_cache_close(cache);
    struct stat info;
    int fd = open(j->f->path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &info) == 0);
    j->bytes = (size_t)info.st_size;
    j->image = malloc(j->bytes);
    assert_true(j->image != NULL && read(fd, j->image, j->bytes) == info.st_size);
    (void)close(fd);
}

static void test_bit_flips__anywhere_in_the_file(void **state) {
    const char *given = getenv("HONE_TEST_FLIPS");
    uint32_t flips = given == NULL ? FLIPS : (uint32_t)strtoul(given, NULL, 10), crashed = 0;
    job j = {.f = *state, .seed = seed_of("bit_flips")};
    make_image(&j);
    j.sum = mmap(NULL, sizeof *j.sum, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(j.sum != MAP_FAILED);
    for (uint32_t from = 0; from < flips; from = j.sum->done) {
        j.from = from;
        j.until = flips - from < BATCH ? flips : from + BATCH;
        int status = wait_child(start_child(go_through, &j));
        uint32_t at = j.sum->done - 1;
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
            fail_msg("flip %u, of byte %zu: %d", at, flip(&j, at), WEXITSTATUS(status));
        if (!WIFEXITED(status)) {
            print_error("flip %u, of byte %zu of %zu: the process ended by signal %d\n", at, flip(&j, at), j.bytes, WTERMSIG(status));
            (void)flip(&j, at);
            crashed++;
        }
    }
    print_message("%u flips in %zu bytes: %u unharmed, %u found before opening and set aside, %u by a checksum when read, %u when listed, %u a key "
                  "missing without a trace, %u refused, %u crashed, 0 wrong values\n",
                  flips, j.bytes, j.sum->unharmed, j.sum->aside, j.sum->checksum, j.sum->scan, j.sum->silent, j.sum->refused, crashed);
    assert_int_equal(crashed, 0);
    assert_true(j.sum->aside > 0 && j.sum->checksum > 0 && j.sum->unharmed > 0);
    (void)munmap(j.sum, sizeof *j.sum);
    free(j.image);
}

int main(void) {
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
        (void)setenv("TMPDIR", "/dev/shm", 1); /* a file for each flip: not on a disk if it can be helped */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bit_flips__anywhere_in_the_file, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
