/* test_bench_element.c: element types, filling and comparing in the built-in worker, against slow counterparts; buffers between guards. */
#include "worker_internal.h"
#include "rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEED 7u

static void test_half__every_value_comes_back(void **state) {
    (void)state;
    static const hone__element kinds[] = {HONE_ELEMENT_F16, HONE_ELEMENT_BF16};
    for (int k = 0; k < 2; k++) {
        for (uint32_t bits = 0; bits < 65536; bits++) {
            uint16_t in = (uint16_t)bits;
            uint16_t back = 0;
            double value = (double)hone__element_load(kinds[k], &in, 0);
            hone__element_store(kinds[k], &back, 0, value);
            if (isnan(value))
                assert_true(isnan((double)hone__element_load(kinds[k], &back, 0)));
            else
                assert_int_equal(back, in);
        }
    }
}

static void test_half__known_values_and_rounding(void **state) {
    (void)state;
    static const struct {
        double value;
        uint16_t bits;
    } cases[] = {{1.0, 0x3c00}, {-2.0, 0xc000}, {65504.0, 0x7bff}, {65520.0, 0x7c00}, {65519.0, 0x7bff}, {5.9604644775390625e-08, 0x0001},
                 {2.98023223876953125e-08, 0x0000}, {3.0e-08, 0x0001}, {6.103515625e-05, 0x0400}, {1.00048828125, 0x3c00}, {1.00146484375, 0x3c02},
                 {0.333251953125, 0x3555}, {1e300, 0x7c00}, {0.0, 0x0000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t bits = 0;
        hone__element_store(HONE_ELEMENT_F16, &bits, 0, cases[i].value);
        assert_int_equal(bits, cases[i].bits);
    }
    /* bf16 is the upper half of an f32, rounded to even. */
    hone__rng rng;
    hone__rng_seed(&rng, SEED);
    printf("seed %u\n", SEED);
    for (int i = 0; i < 200000; i++) {
        uint32_t word = (uint32_t)hone__rng_next(&rng);
        float value;
        memcpy(&value, &word, sizeof value);
        if (isnan(value))
            continue;
        uint16_t bits = 0;
        hone__element_store(HONE_ELEMENT_BF16, &bits, 0, (double)value);
        uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1)) >> 16;
        assert_int_equal(bits, rounded);
    }
}

static void test_fill__stays_in_range_and_repeats(void **state) {
    (void)state;
    static double values[2][5000];
    const hone__fill_rule uniform = {'u', -3.0, 5.0};
    hone__element_fill(HONE_ELEMENT_F64, values[0], 5000, &uniform, 9);
    hone__element_fill(HONE_ELEMENT_F64, values[1], 5000, &uniform, 9);
    assert_memory_equal(values[0], values[1], sizeof values[0]);
    double sum = 0.0;
    for (int i = 0; i < 5000; i++) {
        assert_true(values[0][i] >= -3.0 && values[0][i] < 5.0);
        sum += values[0][i];
    }
    assert_true(fabs(sum / 5000 - 1.0) < 0.2);
    static int8_t whole[5000];
    int seen[3] = {0, 0, 0};
    const hone__fill_rule three = {'u', -1.0, 1.0};
    hone__element_fill(HONE_ELEMENT_I8, whole, 5000, &three, 1);
    for (int i = 0; i < 5000; i++) {
        assert_in_range(whole[i] + 1, 0, 2);
        seen[whole[i] + 1]++;
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(seen[i], 1400, 1950);
    const hone__fill_rule iota = {'i', 10.0, 2.0};
    int32_t steps[4];
    hone__element_fill(HONE_ELEMENT_I32, steps, 4, &iota, 0);
    assert_int_equal(steps[0], 10);
    assert_int_equal(steps[3], 16);
    const hone__fill_rule normal = {'n', 2.0, 0.5};
    hone__element_fill(HONE_ELEMENT_F64, values[0], 5000, &normal, 3);
    sum = 0.0;
    for (int i = 0; i < 5000; i++)
        sum += (values[0][i] - 2.0) * (values[0][i] - 2.0);
    assert_true(fabs(sqrt(sum / 5000) - 0.5) < 0.03);
    uint64_t big = 0;
    hone__element_store(HONE_ELEMENT_U64, &big, 0, 1.8e19);
    assert_true(big == 18000000000000000000u);
    int64_t least = 0;
    hone__element_store(HONE_ELEMENT_I64, &least, 0, -1e30);
    assert_true(least == INT64_MIN);
    uint8_t byte = 0;
    hone__element_store(HONE_ELEMENT_U8, &byte, 0, 200.0);
    assert_true(hone__element_load(HONE_ELEMENT_U8, &byte, 0) > 199.0L);
    int8_t minus = -7;
    assert_true(hone__element_load(HONE_ELEMENT_I8, &minus, 0) < -6.0L);
}

/* The definition in spec/kernel.md section 7, one element at a time. */
static bool agrees(double x, double r, double rtol, double atol) {
    if (isnan(x) && isnan(r))
        return true;
    if (!(x < r) && !(x > r) && !isnan(x) && !isnan(r))
        return true;
    return fabs(x - r) <= atol + rtol * fabs(r);
}

static void test_compare__counts_what_the_definition_counts(void **state) {
    (void)state;
    static float x[10000];
    static float r[10000];
    hone__rng rng;
    hone__rng_seed(&rng, SEED);
    for (int round = 0; round < 300; round++) {
        uint32_t count = 1 + (uint32_t)hone__rng_below(&rng, 10000);
        uint64_t wrong = 0;
        uint64_t nans = 0;
        double rtol = round % 3 == 0 ? 0.0 : 1e-3;
        double atol = round % 5 == 0 ? 0.0 : 1e-3;
        for (uint32_t i = 0; i < count; i++) {
            r[i] = (float)(hone__rng_unit(&rng) * 4.0 - 2.0);
            x[i] = r[i];
            uint64_t kind = hone__rng_below(&rng, round % 2 == 0 ? 4000 : 8);
            if (kind == 0)
                x[i] = (float)((double)r[i] + 3e-3 * (hone__rng_unit(&rng) - 0.5));
            else if (kind == 1)
                x[i] = (float)((double)r[i] * (1.0 + 1e-4));
            else if (kind == 2)
                x[i] = (float)NAN;
            else if (kind == 3)
                x[i] = r[i] = hone__rng_below(&rng, 2) == 0 ? (float)NAN : (float)INFINITY;
            else if (kind == 4)
                x[i] = (float)-INFINITY;
            else if (kind == 5 && hone__rng_below(&rng, 3) == 0)
                r[i] = (float)NAN;
            wrong += !agrees((double)x[i], (double)r[i], rtol, atol);
            nans += isnan(x[i]) && !isnan(r[i]);
        }
        hone__deviation off;
        hone__element_compare(HONE_ELEMENT_F32, x, r, count, rtol, atol, &off);
        assert_int_equal(off.nans, nans);
        assert_int_equal(off.wrong, wrong);
        assert_true((off.max_error > 1.0) == (wrong > 0));
    }
}

static void test_compare__infinite_reference_agrees_with_itself_only(void **state) {
    (void)state;
    hone__deviation off;
    float x[4] = {HUGE_VALF, 5.0f, -HUGE_VALF, -HUGE_VALF};
    float r[4] = {HUGE_VALF, HUGE_VALF, -HUGE_VALF, HUGE_VALF};
    hone__element_compare(HONE_ELEMENT_F32, x, r, 4, 1e-4, 1e-5, &off);
    assert_int_equal(off.wrong, 2);
    double xd[2] = {5.0, HUGE_VAL};
    double rd[2] = {-HUGE_VAL, HUGE_VAL};
    hone__element_compare(HONE_ELEMENT_F64, xd, rd, 2, 1e-4, 1e-5, &off);
    assert_int_equal(off.wrong, 1);
    assert_int_equal(off.index, 0);
    float one[1] = {5.0f};
    hone__element_compare(HONE_ELEMENT_F32, one, r, 1, 1e-4, 1e-5, &off); /* a block of nothing but such */
    assert_int_equal(off.wrong, 1);
}

static void test_compare__names_the_worst(void **state) {
    (void)state;
    int32_t x[] = {1, 2, 30, 4};
    int32_t r[] = {1, 3, 3, 4};
    hone__deviation off;
    hone__element_compare(HONE_ELEMENT_I32, x, r, 4, 0.0, 1.0, &off);
    assert_int_equal(off.wrong, 1);
    assert_int_equal(off.index, 2);
    assert_true(fabs(off.max_error - 27.0) < 1e-9);
    int64_t large[] = {9007199254740993};
    int64_t close[] = {9007199254740992}; /* equal as doubles */
    hone__element_compare(HONE_ELEMENT_I64, large, close, 1, 0.0, 0.0, &off);
    assert_int_equal(off.wrong, 1);
}

static void test_arena__ends_at_its_guard_and_sees_strays(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 4, 64, 100, 4095, 4096, 4097, 65536, (2u << 20) - 64, (2u << 20) + 12, 5u << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t align = 1; align <= 4096; align *= 4) {
            hone__arena arena;
            long long offset = 0;
            assert_true(hone__arena_map(&arena, sizes[i], align, false));
            assert_int_equal((uintptr_t)arena.data % align, 0);
            size_t gap = (size_t)(arena.span + arena.span_bytes - (arena.data + sizes[i]));
            assert_true(gap < align);
            memset(arena.data, 1, sizes[i]);
            hone__arena_canary_set(&arena);
            assert_false(hone__arena_canary_hit(&arena, &offset));
            if (gap > 0) {
                arena.data[sizes[i]] = 0;
                assert_true(hone__arena_canary_hit(&arena, &offset));
                assert_int_equal(offset, (long long)sizes[i]);
                hone__arena_canary_set(&arena);
            }
            if (arena.data > arena.span) {
                arena.data[-1] = 0;
                assert_true(hone__arena_canary_hit(&arena, &offset));
                assert_int_equal(offset, -1);
            }
            assert_true(hone__arena_owns(&arena, arena.data + sizes[i] + 4096));
            hone__arena_unmap(&arena);
        }
    }
    hone__arena none;
    assert_false(hone__arena_map(&none, SIZE_MAX / 2, 64, false));
    hone__arena_unmap(&none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half__every_value_comes_back),
        cmocka_unit_test(test_half__known_values_and_rounding),
        cmocka_unit_test(test_fill__stays_in_range_and_repeats),
        cmocka_unit_test(test_compare__counts_what_the_definition_counts),
        cmocka_unit_test(test_compare__infinite_reference_agrees_with_itself_only),
        cmocka_unit_test(test_compare__names_the_worst),
        cmocka_unit_test(test_arena__ends_at_its_guard_and_sees_strays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
