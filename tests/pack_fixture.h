/* pack_fixture.h: made-up entries that look like those of the test kernels, and packs of them. */
#ifndef PACK_FIXTURE_H
#define PACK_FIXTURE_H

#include "cache_fixture.h"
#include "merge.h"
#include "pack_format.h"

/* An entry with all texts of its own; hone__entry_clear. */
__attribute__((unused)) static char *fixture_text(hone__rng *rng, const char *const *choice, size_t count) {
    return hone__strdup(choice[hone__rng_below(rng, count)]);
}

__attribute__((unused)) static char *fixture_config(hone__rng *rng, unsigned kernel) {
    static const char *const bools[] = {"false", "true"};
    char text[400];
    unsigned long v[6];
    for (int i = 0; i < 6; i++)
        v[i] = (unsigned long)hone__rng_below(rng, i < 3 ? 16 : 1000);
    if (kernel % 3 == 0)
        (void)snprintf(text, sizeof text,
                       "{\"VW\":%lu,\"NV\":%lu,\"MR\":%lu,\"MC\":%lu,\"KC\":%lu,\"NC\":%lu,\"ORDER\":[%lu,1,2],\"PACK_A\":%s,\"PACK_B\":%s}", v[0], v[1],
                       v[2], v[3], v[4], v[5], v[0] % 3, bools[v[0] & 1], bools[v[3] & 1]);
    else if (kernel % 3 == 1)
        (void)snprintf(text, sizeof text, "{\"BLOCK\":%lu,\"kind\":\"%s\",\"scale\":0.0%lu5e-05,\"big\":%lu%018lu}", v[3], v[0] & 1 ? "row" : "true13",
                       v[1], v[4] + 1, v[5]);
    else
        (void)snprintf(text, sizeof text, "{\"TILE\":[%lu,%lu,%lu],\"UNROLL\":%lu}", v[0], v[1], v[2], v[3]);
    return hone__strdup(text);
}

__attribute__((unused)) static void fixture_ranked(hone__rng *rng, unsigned kernel, hone__ranked *out) {
    out->config = fixture_config(rng, kernel);
    out->time_ns = hone__rng_below(rng, 20) == 0 ? 0 : 1000 + 1e6 * hone__rng_unit(rng);
    out->low_ns = out->time_ns * 0.98;
    out->high_ns = hone__rng_below(rng, 10) == 0 ? out->time_ns * 0.5 : out->time_ns * 1.03;
    out->mad_ns = out->time_ns * 0.01;
    out->samples = (uint32_t)hone__rng_below(rng, 40);
}

__attribute__((unused)) static hone__entry fixture_entry(hone__rng *rng, unsigned kernel, unsigned device, unsigned problem) {
    static const char *const names[] = {"sgemm", "rmsnorm", "conv2d", ""};
    static const char *const lines[] = {"", "lfbo", "hybrid", "trials", "0.1.0", "gpt-5", "12.4", "na\xc3\xafve"};
    hone__entry e;
    memset(&e, 0, sizeof e);
    e.key = make_key(kernel, device, problem);
    char text[600];
    e.kernel_name = hone__strdup(names[kernel % 4]);
    (void)snprintf(text, sizeof text, "{\"M\":%u,\"N\":%u,\"K\":%u}", problem * 16, problem % 7, problem);
    e.sizes = hone__strdup(text);
    (void)snprintf(text, sizeof text, "{\"kind\":\"cpu\",\"name\":\"Made CPU %u\",\"identity\":{\"arch\":\"x86_64\",\"cores\":%u,\"features\":\"avx avx2 fma\"}}",
                   device, device % 64);
    e.device = hone__strdup(text);
    fixture_ranked(rng, kernel, &e.best);
    e.alternative_count = (uint32_t)hone__rng_below(rng, HONE_ALTERNATIVES_MAX + 1);
    for (uint32_t i = 0; i < e.alternative_count; i++)
        fixture_ranked(rng, kernel, &e.alternative[i]);
    e.default_ns = 3e6 * hone__rng_unit(rng);
    e.flops = (double)hone__rng_below(rng, 1u << 30);
    e.bytes = (double)hone__rng_below(rng, 1u << 30);
    e.roofline = hone__rng_unit(rng);
    e.effort = (hone__effort)hone__rng_below(rng, 4);
    e.accuracy = (hone__accuracy)hone__rng_below(rng, 3);
    e.tie = hone__rng_below(rng, 2) != 0;
    char **text_of[] = {&e.strategy, &e.model, &e.stop, &e.tool_version, &e.host, &e.driver, &e.toolkit};
    for (size_t i = 0; i < 7; i++)
        *text_of[i] = fixture_text(rng, lines, sizeof lines / sizeof lines[0]);
    e.rounds = (uint32_t)hone__rng_below(rng, 5);
    e.trials = (uint32_t)hone__rng_below(rng, 300);
    e.failed = (uint32_t)hone__rng_below(rng, 20);
    e.tokens = hone__rng_below(rng, 100000);
    e.seconds = 100 * hone__rng_unit(rng);
    e.created_unix_s = 1790000000 + (int64_t)hone__rng_below(rng, 1000);
    return e;
}

__attribute__((unused)) static void fixture_slot(const hone__key *key, uint8_t slot[HONE_SLOT_BYTES]) {
    (void)hone__entry_slot(key, slot);
}

__attribute__((unused)) static int fixture_by_slot(const void *a, const void *b) {
    uint8_t x[HONE_SLOT_BYTES], y[HONE_SLOT_BYTES];
    fixture_slot(&((const hone__entry *)a)->key, x);
    fixture_slot(&((const hone__entry *)b)->key, y);
    return memcmp(x, y, HONE_SLOT_BYTES);
}

/* A pack in memory of entries in any order (which are sorted); free with hone_free. */
__attribute__((unused)) static char *fixture_pack(hone__entry *entries, size_t count, size_t *bytes) {
    if (count > 0)
        qsort(entries, count, sizeof *entries, fixture_by_slot);
    hone__pack_writer *writer = NULL;
    char *out = NULL;
    hone_error err = {0};
    assert_int_equal(hone__pack_writer_open(&writer, NULL, NULL, &err), HONE_OK);
    for (size_t i = 0; i < count; i++) {
        hone_status status = hone__pack_writer_add_entry(writer, &entries[i], &err);
        if (status != HONE_OK)
            print_error("add: %s\n", err.message);
        assert_int_equal(status, HONE_OK);
    }
    assert_int_equal(hone__pack_writer_finish_memory(writer, &out, bytes, &err), HONE_OK);
    return out;
}

__attribute__((unused)) static hone__pack *fixture_open(const void *bytes, size_t count) {
    hone__pack *pack = NULL;
    hone_error err = {0};
    hone_status status = hone__pack_open_memory(&pack, "memory", bytes, count, NULL, &err);
    if (status != HONE_OK)
        print_error("open: %s\n", err.message);
    assert_int_equal(status, HONE_OK);
    return pack;
}

/* A small pack of two kernels, three devices and `count` problems each way round, and two kernels' texts. */
__attribute__((unused)) static char *fixture_small_pack(uint64_t seed, unsigned count, size_t *bytes) {
    hone__rng rng;
    hone__rng_seed(&rng, seed);
    hone__entry *entries = calloc(count, sizeof *entries);
    for (unsigned i = 0; i < count; i++)
        entries[i] = fixture_entry(&rng, i % 3, i % 2, i);
    qsort(entries, count, sizeof *entries, fixture_by_slot);
    hone__pack_writer *writer = NULL;
    hone_error err = {0};
    char *out = NULL, name[] = "sgemm", language[] = "c", space[] = "{\"params\":{\"VW\":{\"kind\":\"pow2\"}}}", source[] = "void f(void) {}\n";
    assert_int_equal(hone__pack_writer_open(&writer, NULL, NULL, &err), HONE_OK);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(hone__pack_writer_add_entry(writer, &entries[i], &err), HONE_OK);
        hone__entry_clear(&entries[i]);
    }
    free(entries);
    for (uint8_t i = 1; i < 3; i++) {
        hone__kernel_info info = {{i}, name, language, space, source + (i - 1) * (sizeof source - 1)};
        assert_int_equal(hone__pack_writer_add_kernel(writer, &info, &err), HONE_OK);
    }
    assert_int_equal(hone__pack_writer_finish_memory(writer, &out, bytes, &err), HONE_OK);
    return out;
}

__attribute__((unused)) static void write_bytes(const char *path, const void *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, count), (ssize_t)count);
    assert_int_equal(close(fd), 0);
}

#endif
