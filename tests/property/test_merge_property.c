/* test_merge_property.c: merge is a join.  Random sets of entries, over few keys so that they meet often, as packs and as records of caches in turn. */
#include "pack_fixture.h"

#ifdef HONE_SANITIZED
enum { BLOCKS = 20 }; /* the other presets run all 10,000 cases */
#else
enum { BLOCKS = 100 };
#endif
enum { KEYS = 4, VERSIONS = 4, CASES = 100 };

/* Records of KEYS keys in slot order, each in VERSIONS versions, of which the second only differs from the first where just bytes decide. */
typedef struct pool {
    uint8_t slot[KEYS][HONE_SLOT_BYTES];
    hone__buf record[KEYS][VERSIONS];
    int order[KEYS][VERSIONS][VERSIONS]; /* hone__entry_compare of the decoded records */
} pool;

/* Which version of each key a set has; -1: none. */
typedef struct set {
    int8_t version[KEYS];
} set;

static void make_orders(pool *p, unsigned k) {
    hone__entry entry[VERSIONS];
    for (unsigned v = 0; v < VERSIONS; v++)
        assert_int_equal(hone__entry_decode(&entry[v], p->record[k][v].data, p->record[k][v].length, (hone__slot_key){p->slot[k], HONE_SLOT_BYTES}), HONE_OK);
    for (unsigned a = 0; a < VERSIONS; a++) {
        for (unsigned b = 0; b < VERSIONS; b++)
            p->order[k][a][b] = hone__entry_compare(&entry[a], &entry[b]);
    }
    for (unsigned v = 0; v < VERSIONS; v++)
        hone__entry_clear(&entry[v]);
}

static void make_pool(pool *p, hone__rng *rng) {
    hone__key key[KEYS];
    hone__entry by_key[KEYS];
    for (unsigned k = 0; k < KEYS; k++) {
        memset(&by_key[k], 0, sizeof by_key[k]);
        by_key[k].key = make_key(k % 2, k % 3 == 0, k + (unsigned)hone__rng_below(rng, 1000) * 10);
    }
    qsort(by_key, KEYS, sizeof by_key[0], fixture_by_slot);
    for (unsigned k = 0; k < KEYS; k++)
        key[k] = by_key[k].key;
    for (unsigned k = 0; k < KEYS; k++) {
        fixture_slot(&key[k], p->slot[k]);
        hone__entry first = fixture_entry(rng, k, 0, k);
        for (unsigned v = 0; v < VERSIONS; v++) {
            hone__entry e = v < 2 ? first : fixture_entry(rng, k, 0, k);
            char other[] = "zzz";
            e.key = key[k];
            if (v == 1)
                e.stop = other;
            if (v == 2)
                e.best.time_ns = first.best.time_ns * 1.001; /* often the same bucket */
            hone__buf_init(&p->record[k][v], HONE_LIMIT_RECORD_BYTES);
            assert_int_equal(hone__entry_encode(&p->record[k][v], &e, (hone__slot_key){p->slot[k], HONE_SLOT_BYTES}), HONE_OK);
            if (v >= 2)
                hone__entry_clear(&e);
        }
        hone__entry_clear(&first);
        make_orders(p, k);
    }
}

static void free_pool(pool *p) {
    for (unsigned k = 0; k < KEYS; k++) {
        for (unsigned v = 0; v < VERSIONS; v++)
            hone__buf_free(&p->record[k][v]);
    }
}

/* ---- a set as a source of records ---- */

typedef struct set_source {
    hone__source source;
    const pool *pool;
    set set;
    unsigned next;
} set_source;

static hone_status set_next(hone__source *source, hone__item *item, const char **reason, hone_error *err) {
    set_source *from = (set_source *)(void *)source;
    (void)err;
    *reason = NULL;
    while (from->next < KEYS && from->set.version[from->next] < 0)
        from->next++;
    if (from->next == KEYS)
        return HONE_E_NOTFOUND;
    const hone__buf *record = &from->pool->record[from->next][from->set.version[from->next]];
    memcpy(item->slot, from->pool->slot[from->next++], HONE_SLOT_BYTES);
    item->kind = HONE_ITEM_RECORD;
    item->bytes = (const uint8_t *)record->data;
    item->count = record->length;
    item->strings = NULL;
    return HONE_OK;
}

static hone_status no_kernel(hone__source *source, hone__kernel_info *info, const char **reason, hone_error *err) {
    (void)source;
    (void)info;
    (void)err;
    *reason = NULL;
    return HONE_E_NOTFOUND;
}

static void set_close(hone__source *source) {
    (void)source;
}

static set_source source_of(const pool *p, set s) {
    return (set_source){{"set", set_next, no_kernel, set_close, 0}, p, s, 0};
}

typedef struct made {
    char *bytes;
    size_t count;
} made;

static made run(hone__source *const *source, uint32_t count, hone__source *base, hone_merge_policy policy, hone__merge_counts *counts) {
    hone__pack_writer *writer = NULL;
    made out = {NULL, 0};
    hone__merge_options options = {.policy = policy, .base = base};
    assert_int_equal(hone__pack_writer_open(&writer, NULL, NULL, NULL), HONE_OK);
    hone__merge_sink sink = hone__merge_to_pack(writer);
    assert_int_equal(hone__merge_run(source, count, &sink, &options, counts, NULL), HONE_OK);
    assert_int_equal(hone__pack_writer_finish_memory(writer, &out.bytes, &out.count, NULL), HONE_OK);
    return out;
}

/* Sets merged in the order given. */
static made merge_sets(const pool *p, const set *sets, uint32_t count, const set *base, hone_merge_policy policy) {
    set_source from[4], base_from;
    hone__source *source[4];
    hone__merge_counts counts[4];
    for (uint32_t i = 0; i < count; i++) {
        from[i] = source_of(p, sets[i]);
        source[i] = &from[i].source;
    }
    if (base != NULL)
        base_from = source_of(p, *base);
    made out = run(source, count, base != NULL ? &base_from.source : NULL, policy, counts);
    for (uint32_t i = 0; i < count; i++)
        assert_true(counts[i].seen == counts[i].imported + counts[i].same + counts[i].kept_other + counts[i].removed);
    return out;
}

/* A pack and a set, either way round. */
static made merge_with(const pool *p, const made *pack_bytes, set s, bool set_first) {
    hone__pack *pack = fixture_open(pack_bytes->bytes, pack_bytes->count);
    hone__source *walk;
    hone__merge_counts counts[2];
    assert_int_equal(hone__pack_source(&walk, pack, NULL), HONE_OK);
    set_source from = source_of(p, s);
    hone__source *source[2] = {walk, &from.source}, *other[2] = {&from.source, walk};
    made out = run(set_first ? other : source, 2, NULL, HONE_MERGE_BEST, counts);
    hone__source_close(walk);
    hone__pack_close(pack);
    return out;
}

static void same(made a, made b) {
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.bytes, b.bytes, a.count);
    hone_free(a.bytes);
    hone_free(b.bytes);
}

/* The pack holds, of each key, exactly the record that the page says, byte for byte. */
static void check_result(const pool *p, const made *m, const set *expected) {
    hone__pack *pack = fixture_open(m->bytes, m->count);
    hone__buf scratch, record;
    hone__buf_init(&scratch, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&record, HONE_LIMIT_RECORD_BYTES);
    for (unsigned k = 0; k < KEYS; k++) {
        hone__item item;
        hone__buf_clear(&scratch);
        hone__buf_clear(&record);
        hone_status status = hone__pack_find(pack, p->slot[k], &item, &scratch);
        assert_int_equal(status, expected->version[k] < 0 ? HONE_E_NOTFOUND : HONE_OK);
        if (status != HONE_OK)
            continue;
        const hone__buf *wanted = &p->record[k][expected->version[k]];
        assert_int_equal(hone__item_record(&record, &item), HONE_OK);
        assert_int_equal(record.length, wanted->length);
        assert_memory_equal(record.data, wanted->data, record.length);
    }
    hone__buf_free(&scratch);
    hone__buf_free(&record);
    hone__pack_close(pack);
}

static bool same_record(const pool *p, unsigned k, int a, int b) {
    return a < 0 || b < 0 ? a == b : p->order[k][a][b] == 0;
}

/* spec/pack.md section 9, said again in the plainest way. */
static set expect(const pool *p, const set *sets, unsigned count, const set *base) {
    set out;
    for (unsigned k = 0; k < KEYS; k++) {
        int best = -1;
        bool changed = false, removed = false;
        for (unsigned s = 0; s < count && base != NULL; s++) {
            int v = sets[s].version[k];
            changed = changed || (v >= 0 && !same_record(p, k, v, base->version[k]));
            removed = removed || (v < 0 && base->version[k] >= 0);
        }
        for (unsigned s = 0; s < count; s++) {
            int v = sets[s].version[k];
            if (v < 0 || (changed && same_record(p, k, v, base->version[k])))
                continue;
            if (best < 0 || p->order[k][v][best] < 0)
                best = v;
        }
        out.version[k] = (int8_t)(!changed && removed ? -1 : best);
    }
    return out;
}

static set random_set(hone__rng *rng) {
    set s;
    for (unsigned k = 0; k < KEYS; k++)
        s.version[k] = (int8_t)((int)hone__rng_below(rng, VERSIONS + 2) - 2);
    for (unsigned k = 0; k < KEYS; k++)
        s.version[k] = s.version[k] < 0 ? -1 : s.version[k];
    return s;
}

static void check_case(const pool *p, hone__rng *rng) {
    set s[3] = {random_set(rng), random_set(rng), random_set(rng)};
    set swapped[3] = {s[1], s[0], s[2]}, turned[3] = {s[2], s[0], s[1]}, twice[2] = {s[0], s[0]};
    made ab = merge_sets(p, s, 2, NULL, HONE_MERGE_BEST), bc = merge_sets(p, s + 1, 2, NULL, HONE_MERGE_BEST);
    set expected = expect(p, s, 3, NULL);
    made ab_c = merge_with(p, &ab, s[2], false), a_bc = merge_with(p, &bc, s[0], true);
    check_result(p, &ab_c, &expected);
    hone_free(bc.bytes);
    same(ab, merge_sets(p, swapped, 2, NULL, HONE_MERGE_BEST));                                    /* commutative */
    same(ab_c, a_bc);                                                                             /* associative */
    same(merge_sets(p, turned, 3, NULL, HONE_MERGE_BEST), merge_sets(p, s, 3, NULL, HONE_MERGE_BEST)); /* in any order */
    same(merge_sets(p, twice, 2, NULL, HONE_MERGE_BEST), merge_sets(p, s, 1, NULL, HONE_MERGE_BEST));  /* idempotent */
    /* Three-way: either way round, and as the page says. */
    expected = expect(p, s, 2, &s[2]);
    made three = merge_sets(p, s, 2, &s[2], HONE_MERGE_BEST);
    check_result(p, &three, &expected);
    same(three, merge_sets(p, swapped, 2, &s[2], HONE_MERGE_BEST));
}

static void test_join(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("merge"));
    for (unsigned b = 0; b < BLOCKS; b++) {
        pool p;
        make_pool(&p, &rng);
        for (unsigned c = 0; c < CASES; c++)
            check_case(&p, &rng);
        free_pool(&p);
    }
    print_message("%d cases\n", BLOCKS * CASES);
}

static void test_policies(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("policies"));
    for (unsigned i = 0; i < 200; i++) {
        pool p;
        make_pool(&p, &rng);
        set s[2] = {random_set(&rng), random_set(&rng)}, ours, theirs;
        for (unsigned k = 0; k < KEYS; k++) {
            ours.version[k] = s[0].version[k] >= 0 ? s[0].version[k] : s[1].version[k];
            theirs.version[k] = s[1].version[k] >= 0 ? s[1].version[k] : s[0].version[k];
        }
        made a = merge_sets(&p, s, 2, NULL, HONE_MERGE_OURS), b = merge_sets(&p, s, 2, NULL, HONE_MERGE_THEIRS);
        check_result(&p, &a, &ours);
        check_result(&p, &b, &theirs);
        hone_free(a.bytes);
        hone_free(b.bytes);
        free_pool(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_join), cmocka_unit_test(test_policies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
