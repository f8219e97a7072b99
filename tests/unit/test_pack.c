/* test_pack.c: packs: what goes in comes out, whatever happens to the file in between is noticed. */
#include "pack_fixture.h"

#include <sys/mman.h>

enum { MANY = 3000 };

static void check_same(const hone__entry *a, const hone__entry *b) {
    hone__buf x, y;
    uint8_t slot[HONE_SLOT_BYTES];
    fixture_slot(&a->key, slot);
    hone__buf_init(&x, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&y, HONE_LIMIT_RECORD_BYTES);
    assert_int_equal(hone__entry_encode(&x, a, (hone__slot_key){slot, HONE_SLOT_BYTES}), HONE_OK);
    assert_int_equal(hone__entry_encode(&y, b, (hone__slot_key){slot, HONE_SLOT_BYTES}), HONE_OK);
    assert_int_equal(x.length, y.length);
    assert_memory_equal(x.data, y.data, x.length);
    hone__buf_free(&x);
    hone__buf_free(&y);
}

static void check_all(const hone__pack *pack, const hone__entry *entries, unsigned count) {
    hone_error err = {0};
    for (unsigned i = 0; i < count; i++) {
        hone__entry found;
        hone_status status = hone__pack_get(pack, &entries[i].key, &found, &err);
        if (status != HONE_OK)
            print_error("entry %u: %s\n", i, err.message);
        assert_int_equal(status, HONE_OK);
        check_same(&entries[i], &found);
        hone__entry_clear(&found);
    }
    for (uint32_t i = 0; i < 200; i++) {
        hone__entry found;
        hone__key absent = make_key(i % 5, i % 3, 1000000 + i);
        assert_int_equal(hone__pack_get(pack, &absent, &found, NULL), HONE_E_NOTFOUND);
    }
}

static hone__entry *make_many(unsigned count, uint64_t seed) {
    hone__rng rng;
    hone__rng_seed(&rng, seed);
    hone__entry *entries = calloc(count, sizeof *entries);
    for (unsigned i = 0; i < count; i++)
        entries[i] = fixture_entry(&rng, i % 4, i % 5 == 0, i);
    return entries;
}

static void free_many(hone__entry *entries, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        hone__entry_clear(&entries[i]);
    free(entries);
}

static void test_round_trip(void **state) {
    fixture *f = *state;
    hone__entry *entries = make_many(MANY, seed_of("round trip"));
    size_t bytes;
    char *pack_bytes = fixture_pack(entries, MANY, &bytes);
    hone__pack *pack = fixture_open(pack_bytes, bytes);
    hone_error err = {0};
    hone_status status = hone__pack_verify(pack, NULL, NULL, &err);
    if (status != HONE_OK)
        print_error("verify: %s\n", err.message);
    assert_int_equal(status, HONE_OK);
    check_all(pack, entries, MANY);
    hone__pack_close(pack);

    write_bytes(f->path, pack_bytes, bytes);
    hone_pack_options small = HONE_PACK_OPTIONS_INIT; /* too little memory to keep everything: records and index come from the file */
    small.memory_bytes_max = 1;
    for (int kept = 0; kept < 2; kept++) {
        assert_int_equal(hone__pack_open(&pack, f->path, kept != 0 ? NULL : &small, &err), HONE_OK);
        check_all(pack, entries, MANY);
        assert_int_equal(hone__pack_verify(pack, NULL, NULL, &err), HONE_OK);
        assert_int_equal(hone__pack_about(pack)->entries, MANY);
        hone__pack_close(pack);
    }
    hone_free(pack_bytes);
    free_many(entries, MANY);
}

static void test_kernel_range(void **state) {
    (void)state;
    hone__entry *entries = make_many(MANY, 7);
    size_t bytes;
    char *pack_bytes = fixture_pack(entries, MANY, &bytes);
    hone__pack *pack = fixture_open(pack_bytes, bytes);
    for (uint32_t kernel = 0; kernel < 5; kernel++) {
        hone__key key = make_key(kernel, 0, 0);
        hone__entry *found;
        uint32_t count, damaged, expected = 0;
        for (unsigned i = 0; i < MANY; i++)
            expected += memcmp(entries[i].key.kernel, key.kernel, 16) == 0;
        assert_int_equal(hone__pack_of_kernel(pack, key.kernel, MANY, &found, &count, &damaged, NULL), HONE_OK);
        assert_int_equal(count, expected);
        assert_int_equal(damaged, 0);
        for (uint32_t i = 0; i < count; i++)
            hone__entry_clear(&found[i]);
        hone__free(found);
        assert_int_equal(hone__pack_of_kernel(pack, key.kernel, 3, &found, &count, &damaged, NULL), HONE_OK);
        assert_int_equal(count, expected < 3 ? expected : 3);
        for (uint32_t i = 0; i < count; i++)
            hone__entry_clear(&found[i]);
        hone__free(found);
    }
    hone__pack_close(pack);
    hone_free(pack_bytes);
    free_many(entries, MANY);
}

static void test_empty_and_kernels(void **state) {
    (void)state;
    size_t bytes;
    char *empty = fixture_pack(NULL, 0, &bytes);
    assert_int_equal(bytes, PACK_HEADER_BYTES);
    hone__pack *pack = fixture_open(empty, bytes);
    hone__key key = make_key(1, 1, 1);
    hone__entry entry;
    assert_int_equal(hone__pack_get(pack, &key, &entry, NULL), HONE_E_NOTFOUND);
    assert_int_equal(hone__pack_verify(pack, NULL, NULL, NULL), HONE_OK);
    hone__pack_close(pack);
    hone_free(empty);

    char *small = fixture_small_pack(1, 5, &bytes);
    pack = fixture_open(small, bytes);
    hone__kernel_info info;
    assert_int_equal(hone__pack_get_kernel(pack, (const uint8_t[16]){1}, &info, NULL), HONE_OK);
    assert_string_equal(info.name, "sgemm");
    assert_string_equal(info.source, "void f(void) {}\n");
    hone__kernel_info_clear(&info);
    assert_int_equal(hone__pack_get_kernel(pack, (const uint8_t[16]){2}, &info, NULL), HONE_OK);
    assert_string_equal(info.source, "");
    hone__kernel_info_clear(&info);
    assert_int_equal(hone__pack_get_kernel(pack, (const uint8_t[16]){3}, &info, NULL), HONE_E_NOTFOUND);
    hone__pack_close(pack);
    hone_free(small);
}

/* A damaged pack: refused, or every answer is an error, a miss, or the right one. */
static void check_damaged(const char *bytes, size_t count, const hone__pack *sound, const hone__entry *entries, unsigned entry_count, bool may_open) {
    hone__pack *pack = NULL;
    hone_error err = {0};
    hone_status status = hone__pack_open_memory(&pack, "damaged", bytes, count, NULL, &err);
    (void)sound;
    if (status != HONE_OK) {
        assert_true(status == HONE_E_CORRUPT);
        assert_true(err.message[0] != '\0');
        return;
    }
    assert_true(may_open);
    assert_int_equal(hone__pack_verify(pack, NULL, NULL, &err), HONE_E_CORRUPT);
    for (unsigned i = 0; i < entry_count; i++) {
        hone__entry found;
        status = hone__pack_get(pack, &entries[i].key, &found, NULL);
        if (status == HONE_OK) {
            check_same(&entries[i], &found);
            hone__entry_clear(&found);
        } else {
            assert_int_equal(status, HONE_E_CORRUPT); /* an entry that is there is never reported absent */
        }
    }
    hone__pack_close(pack);
}

static void test_every_truncation_and_bit(void **state) {
    (void)state;
    enum { FEW = 3 };
    hone__entry *entries = make_many(FEW, 3);
    size_t bytes;
    char *good = fixture_pack(entries, FEW, &bytes);
    print_message("a pack of %zu bytes, %zu flips\n", bytes, bytes * 8);
    for (size_t cut = 0; cut < bytes; cut++) {
        char *copy = malloc(cut + 1); /* its own block, so that a sanitizer sees a read beyond it */
        memcpy(copy, good, cut);
        check_damaged(copy, cut, NULL, entries, FEW, false);
        free(copy);
    }
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        good[bit / 8] = (char)(good[bit / 8] ^ 1 << bit % 8);
        check_damaged(good, bytes, NULL, entries, FEW, true);
        good[bit / 8] = (char)(good[bit / 8] ^ 1 << bit % 8);
    }
    hone_free(good);
    free_many(entries, FEW);
}

/* The file loses its end, or is overwritten, while it is open: no signal, no wrong answer. */
static void test_shrinks_and_changes_while_open(void **state) {
    fixture *f = *state;
    hone__entry *entries = make_many(MANY, 5), *others = make_many(MANY, 6);
    size_t bytes, other_bytes;
    char *good = fixture_pack(entries, MANY, &bytes), *other = fixture_pack(others, MANY, &other_bytes);
    for (int change = 0; change < 4; change++) {
        hone_pack_options small = HONE_PACK_OPTIONS_INIT;
        small.memory_bytes_max = 1;
        write_bytes(f->path, good, bytes);
        hone__pack *pack = NULL;
        assert_int_equal(hone__pack_open(&pack, f->path, change % 2 == 0 ? &small : NULL, NULL), HONE_OK);
        hone__entry found;
        assert_int_equal(hone__pack_get(pack, &entries[10].key, &found, NULL), HONE_OK);
        hone__entry_clear(&found);
        if (change < 2)
            assert_int_equal(truncate(f->path, (off_t)PACK_HEADER_BYTES + 100), 0);
        else
            write_bytes(f->path, other, other_bytes); /* in place: the same inode */
        unsigned errors = 0;
        for (unsigned i = 0; i < MANY; i++) {
            hone_error err = {0};
            hone_status status = hone__pack_get(pack, &entries[i].key, &found, &err);
            if (status == HONE_OK) {
                const hone__entry *is = found.created_unix_s == entries[i].created_unix_s ? &entries[i] : &others[i];
                check_same(is, &found);
                hone__entry_clear(&found);
            } else {
                assert_true(status == HONE_E_CORRUPT || status == HONE_E_NOTFOUND);
                errors++;
            }
        }
        assert_true(errors > 0);
        assert_int_equal(hone__pack_verify(pack, NULL, NULL, NULL), HONE_E_CORRUPT);
        hone__pack_close(pack);
    }
    hone_free(good);
    hone_free(other);
    free_many(entries, MANY);
    free_many(others, MANY);
}

/* A huge file without content is refused before anything is allocated by its counts. */
static void test_sparse_giant(void **state) {
    fixture *f = *state;
    size_t bytes;
    char *small = fixture_small_pack(2, 3, &bytes);
    write_bytes(f->path, small, bytes);
    assert_int_equal(truncate(f->path, 1ll << 42), 0);
    hone__pack *pack = NULL;
    assert_int_equal(hone__pack_open(&pack, f->path, NULL, NULL), HONE_E_CORRUPT);
    /* With a header that claims it all: opens, costs no memory, and every look-up says that it is damaged. */
    uint8_t header[PACK_HEADER_BYTES];
    memcpy(header, small, sizeof header);
    uint64_t entries = 1ull << 34, index = pack_table_bytes(entries), groups = pack_table_bytes(1), strings = pack_table_bytes(1);
    uint64_t sizes[PACK_SECTIONS] = {1ull << 40, index, groups, strings, 1, 0, 0}, total = PACK_HEADER_BYTES;
    for (int i = 0; i < PACK_SECTIONS; i++) {
        pack_put64(header + 64 + 16 * i, sizes[i]);
        total += sizes[i];
    }
    pack_put64(header + 16, total);
    pack_put64(header + 24, entries);
    pack_put64(header + 32, 1);
    pack_put64(header + 40, 1);
    pack_put64(header + 48, 0);
    pack_put64(header + PACK_CHECKSUM_AT, hone__pack_checksum(header, PACK_CHECKSUM_AT, 0));
    write_bytes(f->path, header, sizeof header);
    assert_int_equal(truncate(f->path, (off_t)total), 0);
    size_t live = hone__alloc_live();
    assert_int_equal(hone__pack_open(&pack, f->path, NULL, NULL), HONE_OK);
    hone__key key = make_key(1, 1, 1);
    hone__entry entry;
    assert_int_equal(hone__pack_get(pack, &key, &entry, NULL), HONE_E_CORRUPT);
    hone__pack_close(pack);
    assert_int_equal(hone__alloc_live(), live);
    hone_free(small);
}

static void test_writer_is_careful(void **state) {
    fixture *f = *state;
    hone__entry *entries = make_many(2, 9);
    qsort(entries, 2, sizeof *entries, fixture_by_slot);
    hone__pack_writer *writer = NULL;
    hone_error err = {0};
    write_bytes(f->path, "precious", 8);
    assert_int_equal(hone__pack_writer_open(&writer, f->path, NULL, &err), HONE_E_EXISTS);
    assert_null(writer);
    assert_int_equal(unlink(f->path), 0);

    assert_int_equal(hone__pack_writer_open(&writer, f->path, NULL, &err), HONE_OK);
    assert_int_equal(hone__pack_writer_add_entry(writer, &entries[1], &err), HONE_OK);
    assert_int_equal(hone__pack_writer_add_entry(writer, &entries[0], &err), HONE_E_ARG); /* out of order */
    assert_int_equal(hone__pack_writer_add_entry(writer, &entries[1], &err), HONE_E_ARG); /* twice */
    hone__pack_writer_abort(writer);
    assert_int_equal(count_files(f->dir, "cache"), 0); /* nothing is left */

    /* Somebody makes the file in the meantime: it is not overwritten. */
    assert_int_equal(hone__pack_writer_open(&writer, f->path, NULL, &err), HONE_OK);
    assert_int_equal(hone__pack_writer_add_entry(writer, &entries[1], &err), HONE_OK);
    write_bytes(f->path, "precious", 8);
    assert_int_equal(hone__pack_writer_finish(writer, NULL, &err), HONE_E_EXISTS);
    assert_int_equal(count_files(f->dir, "cache"), 1);
    hone__pack_writer_options force = {.force = true};
    hone__pack_info info;
    assert_int_equal(hone__pack_writer_open(&writer, f->path, &force, &err), HONE_OK);
    assert_int_equal(hone__pack_writer_add_entry(writer, &entries[1], &err), HONE_OK);
    assert_int_equal(hone__pack_writer_finish(writer, &info, &err), HONE_OK);
    assert_int_equal(info.entries, 1);
    int code = 0;
    assert_true(hone__pack_probe(f->path, &code));
    hone__pack *pack = NULL;
    assert_int_equal(hone__pack_open(&pack, f->path, NULL, &err), HONE_OK);
    assert_int_equal(hone__pack_about(pack)->checksum, info.checksum);
    hone__pack_close(pack);
    free_many(entries, 2);
}

/* More strings than are kept once: the rest stands in the records, and a merge of halves gives the same bytes as the whole. */
static void test_strings_beyond_their_room(void **state) {
    (void)state;
    enum { COUNT = 12000 };
    hone__rng rng;
    hone__rng_seed(&rng, 11);
    hone__entry *entries = calloc(COUNT, sizeof *entries);
    for (unsigned i = 0; i < COUNT; i++) {
        entries[i] = fixture_entry(&rng, 0, 0, i);
        char **own[] = {&entries[i].strategy, &entries[i].model, &entries[i].stop, &entries[i].tool_version, &entries[i].host, &entries[i].toolkit};
        for (size_t t = 0; t < 6; t++) {
            char text[400];
            (void)snprintf(text, sizeof text, "%0300u-%zu", i, t);
            hone__free(*own[t]);
            *own[t] = hone__strdup(text);
        }
    }
    size_t bytes;
    char *all = fixture_pack(entries, COUNT, &bytes);
    hone__pack *pack = fixture_open(all, bytes);
    assert_true(hone__pack_about(pack)->string_bytes > HONE_PACK_STRING_BYTES_MAX - 400);
    assert_int_equal(hone__pack_verify(pack, NULL, NULL, NULL), HONE_OK);
    check_all(pack, entries, COUNT);
    /* Odd and even entries apart have room for all their strings. */
    hone__entry *half = calloc(COUNT, sizeof *half);
    char *part_bytes[2];
    hone__pack *part[2];
    hone__source *source[2];
    for (unsigned h = 0; h < 2; h++) {
        for (unsigned i = 0; i < COUNT / 2; i++)
            half[i] = entries[2 * i + h];
        size_t count;
        part_bytes[h] = fixture_pack(half, COUNT / 2, &count);
        part[h] = fixture_open(part_bytes[h], count);
        assert_int_equal(hone__pack_source(&source[h], part[h], NULL), HONE_OK);
    }
    hone__pack_writer *writer = NULL;
    char *merged = NULL;
    size_t merged_bytes = 0;
    hone__merge_counts counts[2];
    assert_int_equal(hone__pack_writer_open(&writer, NULL, NULL, NULL), HONE_OK);
    hone__merge_sink sink = hone__merge_to_pack(writer);
    assert_int_equal(hone__merge_run(source, 2, &sink, NULL, counts, NULL), HONE_OK);
    assert_int_equal(hone__pack_writer_finish_memory(writer, &merged, &merged_bytes, NULL), HONE_OK);
    assert_int_equal(merged_bytes, bytes);
    assert_memory_equal(merged, all, bytes);
    for (unsigned h = 0; h < 2; h++) {
        hone__source_close(source[h]);
        hone__pack_close(part[h]);
        hone_free(part_bytes[h]);
    }
    hone__pack_close(pack);
    hone_free(merged);
    hone_free(all);
    free(half);
    free_many(entries, COUNT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, fixture_setup, fixture_teardown),
        cmocka_unit_test(test_kernel_range),
        cmocka_unit_test(test_empty_and_kernels),
        cmocka_unit_test(test_every_truncation_and_bit),
        cmocka_unit_test_setup_teardown(test_shrinks_and_changes_while_open, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_sparse_giant, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_writer_is_careful, fixture_setup, fixture_teardown),
        cmocka_unit_test(test_strings_beyond_their_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
