/* test_power_loss.c: every write and sync that a cache makes is recorded, and the power fails at random moments: what was synced is there, of
 * what was not any sectors are.  Promised: the cache opens; with `durable` nothing acknowledged is lost, else at most the last store; and what is
 * found is the whole state after some store, never a mixture.  HONE_TEST_STATES sets how many states are tried.
 * Assumed: a sync does what it says, and a sector of 512 bytes is written whole or not at all. */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include "cache_fixture.h"
#include "fault/failing_calls.h"

enum { PUTS = 120, RING = 30, SECTOR = 512, STATES = 250, IMAGE_BYTES = 4 << 20 };

typedef enum op_kind { OP_WRITE, OP_SYNC, OP_ACKNOWLEDGED } op_kind;

typedef struct op {
    op_kind kind;
    bool durable; /* a write through a descriptor with O_DSYNC */
    size_t at, count;
    uint8_t *bytes;
} op;

typedef struct log {
    op *op;
    size_t count, capacity;
    ino_t ino;
} log;

static log recorded;

static op *add(op_kind kind) {
    if (recorded.count == recorded.capacity) {
        recorded.capacity = recorded.capacity == 0 ? 1024 : 2 * recorded.capacity;
        recorded.op = realloc(recorded.op, recorded.capacity * sizeof(op));
        assert_non_null(recorded.op);
    }
    op *made = &recorded.op[recorded.count++];
    *made = (op){.kind = kind};
    return made;
}

static bool is_data_file(int fd) {
    char path[64], name[400];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(path, name, sizeof name - 1);
    name[got < 0 ? 0 : got] = '\0';
    return got > 11 && strcmp(name + got - 11, "/cache.hone") == 0;
}

static void on_write(int fd, const void *bytes, size_t count, off_t at) {
    if (!is_data_file(fd))
        return;
    op *made = add(OP_WRITE);
    made->durable = (fcntl(fd, F_GETFL, 0) & O_DSYNC) != 0;
    made->at = (size_t)at;
    made->count = count;
    made->bytes = malloc(count);
    assert_non_null(made->bytes);
    memcpy(made->bytes, bytes, count);
}

static void on_sync(int fd) {
    if (is_data_file(fd))
        (void)add(OP_SYNC);
}

static void record_stores(const char *path, bool durable) {
    hone_cache *cache = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.durable = durable;
    recorded = (log){NULL, 0, 0, 0};
    failing_on_write = on_write;
    failing_on_sync = on_sync;
    assert_int_equal(hone_cache_open(&cache, path, &options, NULL), HONE_OK);
    for (uint32_t i = 0; i < PUTS; i++) {
        put_time(cache, i % RING, 1000 + i);
        (void)add(OP_ACKNOWLEDGED);
    }
    hone_cache_close(cache);
    failing_on_write = NULL;
    failing_on_sync = NULL;
}

static void forget(void) {
    for (size_t i = 0; i < recorded.count; i++)
        free(recorded.op[i].bytes);
    free(recorded.op);
}

/* ---- the file after a power failure ---- */

typedef struct disk {
    uint8_t *bytes;
    size_t count;
} disk;

static void apply(disk *d, const op *w, hone__rng *rng, bool torn) {
    assert_true(w->at + w->count <= IMAGE_BYTES);
    for (size_t done = 0; done < w->count;) {
        size_t at = w->at + done, room = SECTOR - at % SECTOR, count = room < w->count - done ? room : w->count - done;
        if (!torn || hone__rng_below(rng, 2) == 0) {
            memcpy(d->bytes + at, w->bytes + done, count);
            if (at + count > d->count)
                d->count = at + count;
        }
        done += count;
    }
}

/* `stop`: how many operations came before the power failed.  Returns how many stores had been acknowledged. */
static uint32_t lose_power(disk *d, size_t stop, hone__rng *rng) {
    size_t synced = 0;
    uint32_t acknowledged = 0;
    memset(d->bytes, 0, IMAGE_BYTES);
    d->count = 0;
    for (size_t i = 0; i < stop; i++) {
        synced = recorded.op[i].kind == OP_SYNC ? i : synced;
        acknowledged += recorded.op[i].kind == OP_ACKNOWLEDGED;
    }
    uint64_t mood = hone__rng_below(rng, 4); /* all, nothing, some or pieces of what was not synced */
    for (size_t i = 0; i < stop; i++) {
        const op *w = &recorded.op[i];
        if (w->kind != OP_WRITE)
            continue;
        if (i < synced || w->durable || mood == 0 || (mood == 2 && hone__rng_below(rng, 2) == 0))
            apply(d, w, rng, false);
        else if (mood == 3)
            apply(d, w, rng, true);
    }
    return acknowledged;
}

/* ---- and what a cache makes of it ---- */

static bool is_state(const hone_cache *cache, uint32_t stores) {
    for (uint32_t n = 0; n < RING; n++) {
        uint32_t last = n < stores ? n + (stores - 1 - n) / RING * RING : 0;
        if (get_time(cache, n) != (n < stores ? 1000 + last : 0))
            return false;
    }
    return true;
}

/* How many stores the file holds. */
static uint32_t read_state(const char *path, uint32_t acknowledged) {
    hone_cache *cache = open_cache(path);
    uint32_t found = UINT32_MAX;
    uint32_t from = acknowledged < 4 ? 0 : acknowledged - 4;
    for (uint32_t stores = from; stores <= acknowledged + 1 && found == UINT32_MAX; stores++) {
        if (is_state(cache, stores))
            found = stores;
    }
    put_time(cache, RING + 1, 5); /* and it works on */
    assert_true(get_time(cache, RING + 1) == 5);
    hone_cache_close(cache);
    return found;
}

static void fail_power(fixture *f, bool durable) {
    const char *given = getenv("HONE_TEST_STATES");
    uint32_t states = given == NULL ? STATES : (uint32_t)strtoul(given, NULL, 10), lost = 0, unborn = 0;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of(durable ? "power_loss, durable" : "power_loss"));
    record_stores(f->path, durable);
    disk d = {malloc(IMAGE_BYTES), 0};
    assert_non_null(d.bytes);
    for (uint32_t i = 0; i < states; i++) {
        /* One in eight while the cache is being made. */
        size_t stop = (size_t)hone__rng_below(&rng, i % 8 == 0 ? 12 : recorded.count + 1);
        uint32_t acknowledged = lose_power(&d, stop, &rng);
        remove_tree(f->dir);
        assert_int_equal(mkdir(f->dir, 0700), 0);
        int fd = open(f->path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0 && write(fd, d.bytes, d.count) == (ssize_t)d.count);
        (void)close(fd);
        uint32_t found = read_state(f->path, acknowledged);
        if (found == UINT32_MAX || found + (durable ? 0 : 1) < acknowledged)
            fail_msg("power failed after %zu of %zu operations, %u stores acknowledged: %d found", stop, recorded.count, acknowledged, (int)found);
        if (acknowledged > 0)
            assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
        lost += found < acknowledged;
        unborn += acknowledged == 0;
    }
    print_message("%s: %u power failures over %zu writes and syncs (%u while the cache was made): %u times the last store was lost, never more\n",
                  durable ? "durable" : "default", states, recorded.count - PUTS, unborn, lost);
    free(d.bytes);
    forget();
}

static void test_power_loss__durable(void **state) {
    fail_power(*state, true);
}

static void test_power_loss__default(void **state) {
    fail_power(*state, false);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_power_loss__durable),
        TEST(test_power_loss__default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
