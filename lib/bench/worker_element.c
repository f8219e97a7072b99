/* worker_element.c: element types: storing, loading, filling from a seed, comparing with the reference. */
#include "rng.h"
#include "worker_internal.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    const char *c_type;
    size_t bytes;
    bool whole, is_signed;
} elements[HONE_ELEMENT_COUNT] = {
    [HONE_ELEMENT_F64] = {"f64", "double", 8, false, true},
    [HONE_ELEMENT_F32] = {"f32", "float", 4, false, true},
    [HONE_ELEMENT_F16] = {"f16", "_Float16", 2, false, true},
    [HONE_ELEMENT_BF16] = {"bf16", "__UINT16_TYPE__", 2, false, true},
    [HONE_ELEMENT_I64] = {"i64", "__INT64_TYPE__", 8, true, true},
    [HONE_ELEMENT_I32] = {"i32", "__INT32_TYPE__", 4, true, true},
    [HONE_ELEMENT_I16] = {"i16", "__INT16_TYPE__", 2, true, true},
    [HONE_ELEMENT_I8] = {"i8", "__INT8_TYPE__", 1, true, true},
    [HONE_ELEMENT_U64] = {"u64", "__UINT64_TYPE__", 8, true, false},
    [HONE_ELEMENT_U32] = {"u32", "__UINT32_TYPE__", 4, true, false},
    [HONE_ELEMENT_U16] = {"u16", "__UINT16_TYPE__", 2, true, false},
    [HONE_ELEMENT_U8] = {"u8", "__UINT8_TYPE__", 1, true, false},
};

hone__element hone__element_from_name(const char *name) {
    unsigned i = 0;
    while (i < HONE_ELEMENT_COUNT && strcmp(elements[i].name, name) != 0)
        i++;
    return (hone__element)i;
}

size_t hone__element_bytes(hone__element element) {
    return elements[element].bytes;
}

const char *hone__element_c_type(hone__element element) {
    return elements[element].c_type;
}

/* Round to nearest, ties to even, for a format with `exponent_bits` and `fraction_bits`; both 16 bits wide. */
static uint16_t narrow(double value, int exponent_bits, int fraction_bits) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    int bias = (1 << (exponent_bits - 1)) - 1;
    uint16_t infinity = (uint16_t)(((1 << exponent_bits) - 1) << fraction_bits);
    if (isnan(value))
        return (uint16_t)(sign | infinity | (1 << (fraction_bits - 1)));
    double magnitude = fabs(value);
    if (isinf(magnitude))
        return (uint16_t)(sign | infinity);
    if (!(magnitude > 0.0)) /* frexp gives zero an exponent that it does not have */
        return sign;
    int exponent = 0;
    (void)frexp(magnitude, &exponent); /* magnitude = m * 2^exponent, m in [0.5, 1) */
    int unit = (exponent - 1 < 1 - bias ? 1 - bias : exponent - 1) - fraction_bits;
    double scaled = ldexp(magnitude, -unit);
    double whole = floor(scaled);
    double rest = scaled - whole;
    uint32_t bits = (uint32_t)whole;
    if (rest > 0.5 || (!(rest < 0.5) && (bits & 1) != 0))
        bits++;
    /* A carry out of the fraction raises the exponent by itself in this encoding. */
    uint32_t step = exponent - 1 < 1 - bias ? 0 : (uint32_t)(exponent - 1 + bias - 1) << fraction_bits;
    uint32_t coded = bits + step;
    return (uint16_t)(sign | (coded > infinity ? infinity : coded));
}

static double widen(uint16_t bits, int exponent_bits, int fraction_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    int fraction = bits & ((1 << fraction_bits) - 1);
    double value;
    if (exponent == (1 << exponent_bits) - 1)
        value = fraction != 0 ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        value = ldexp(fraction, 1 - bias - fraction_bits);
    else
        value = ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
    return (bits & 0x8000) != 0 ? -value : value;
}

static int64_t to_int(double value) {
    if (!(value > -9.2e18))
        return isnan(value) ? 0 : INT64_MIN;
    return value < 9.2e18 ? (int64_t)value : INT64_MAX;
}

void hone__element_store(hone__element element, void *to, uint64_t index, double value) {
    unsigned char *at = (unsigned char *)to + index * elements[element].bytes;
    if (element == HONE_ELEMENT_F64) {
        memcpy(at, &value, sizeof value);
    } else if (element == HONE_ELEMENT_F32) {
        float single = (float)value;
        memcpy(at, &single, sizeof single);
    } else if (element == HONE_ELEMENT_F16 || element == HONE_ELEMENT_BF16) {
        uint16_t half = element == HONE_ELEMENT_F16 ? narrow(value, 5, 10) : narrow(value, 8, 7);
        memcpy(at, &half, sizeof half);
    } else if (element == HONE_ELEMENT_U64) {
        uint64_t whole = value >= 1.8446744073709552e19 ? UINT64_MAX : value > 0.0 ? (uint64_t)value : (uint64_t)to_int(value);
        memcpy(at, &whole, sizeof whole);
    } else {
        uint64_t whole = (uint64_t)to_int(value); /* the low bytes come first: x86-64 and AArch64 Linux are little-endian */
        memcpy(at, &whole, elements[element].bytes);
    }
}

long double hone__element_load(hone__element element, const void *from, uint64_t index) {
    const unsigned char *at = (const unsigned char *)from + index * elements[element].bytes;
    if (element == HONE_ELEMENT_F64) {
        double value;
        memcpy(&value, at, sizeof value);
        return (long double)value;
    }
    if (element == HONE_ELEMENT_F32) {
        float value;
        memcpy(&value, at, sizeof value);
        return (long double)value;
    }
    uint64_t bits = 0;
    memcpy(&bits, at, elements[element].bytes);
    if (element == HONE_ELEMENT_F16)
        return (long double)widen((uint16_t)bits, 5, 10);
    if (element == HONE_ELEMENT_BF16)
        return (long double)widen((uint16_t)bits, 8, 7);
    if (!elements[element].is_signed)
        return (long double)bits;
    unsigned unused = 64 - 8 * (unsigned)elements[element].bytes;
    return (long double)((int64_t)(bits << unused) >> unused);
}

static double gauss(hone__rng *rng) {
    double u = 1.0 - hone__rng_unit(rng); /* in (0, 1] */
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * hone__rng_unit(rng));
}

void hone__element_fill(hone__element element, void *to, uint64_t count, const hone__fill_rule *rule, uint64_t seed) {
    hone__rng rng;
    hone__rng_seed(&rng, seed);
    bool whole = elements[element].whole;
    double low = whole ? ceil(rule->a) : rule->a;
    double wide = whole ? floor(rule->b) - low + 1.0 : rule->b - rule->a;
    for (uint64_t i = 0; i < count; i++) {
        double value = rule->a;
        if (rule->kind == 'u')
            value = whole ? low + floor(hone__rng_unit(&rng) * (wide > 0.0 ? wide : 1.0)) : low + hone__rng_unit(&rng) * wide;
        else if (rule->kind == 'n')
            value = rule->a + rule->b * gauss(&rng);
        else if (rule->kind == 'i')
            value = rule->a + rule->b * (double)i;
        if (whole && rule->kind == 'n')
            value = nearbyint(value);
        hone__element_store(element, to, i, value);
    }
}

static void judge(hone__deviation *out, uint64_t index, long double x, long double r, double rtol, double atol) {
    double error;
    if (isnan(x)) {
        if (isnan(r))
            return;
        out->nans++;
        error = 1e300;
    } else if (!(x < r) && !(x > r) && !isnan(r)) {
        return; /* equal, infinities included */
    } else {
        long double allowed = (long double)atol + (long double)rtol * fabsl(r);
        long double ratio = fabsl(x - r) / allowed;
        error = ratio < 1e300L ? (double)ratio : 1e300; /* also division by zero, a NaN reference, an infinity */
    }
    if (error > 1.0)
        out->wrong++;
    if (error > out->max_error) {
        out->max_error = error;
        out->index = index;
        out->value = (double)x;
        out->expected = (double)r;
    }
}

#define BLOCK 4096u

/* The usual types by whole blocks, without a call or a division an element; false when an element is off or is no number: then the block is
 * gone through with care. */
static bool block_right_f32(const float *x, const float *r, uint64_t count, double rtol, double atol, double *worst) {
    bool right = true;
    for (uint64_t i = 0; i < count; i++) {
        double allowed = atol + rtol * fabs((double)r[i]);
        double off = fabs((double)x[i] - (double)r[i]);
        right = right && off <= allowed && allowed < HUGE_VAL; /* all finite numbers are within an infinite r's tolerance */
        if (off > *worst * allowed)
            *worst = off / allowed;
    }
    return right;
}

static bool block_right_f64(const double *x, const double *r, uint64_t count, double rtol, double atol, double *worst) {
    bool right = true;
    for (uint64_t i = 0; i < count; i++) {
        double allowed = atol + rtol * fabs(r[i]);
        double off = fabs(x[i] - r[i]);
        right = right && off <= allowed && allowed < HUGE_VAL; /* all finite numbers are within an infinite r's tolerance */
        if (off > *worst * allowed)
            *worst = off / allowed;
    }
    return right;
}

void hone__element_compare(hone__element element, const void *x, const void *reference, uint64_t count, double rtol, double atol,
                           hone__deviation *out) {
    *out = (hone__deviation){.max_error = 0.0};
    size_t bytes = elements[element].bytes;
    const unsigned char *a = x;
    const unsigned char *b = reference;
    for (uint64_t start = 0; start < count; start += BLOCK) {
        uint64_t length = count - start < BLOCK ? count - start : BLOCK;
        const void *ours = a + start * bytes;
        const void *theirs = b + start * bytes;
        double worst = out->max_error;
        if (memcmp(ours, theirs, length * bytes) == 0)
            continue;
        bool aligned = (uintptr_t)ours % bytes == 0 && (uintptr_t)theirs % bytes == 0;
        if ((aligned && element == HONE_ELEMENT_F32 && block_right_f32(ours, theirs, length, rtol, atol, &worst)) ||
            (aligned && element == HONE_ELEMENT_F64 && block_right_f64(ours, theirs, length, rtol, atol, &worst))) {
            out->max_error = worst;
            continue;
        }
        for (uint64_t i = start; i < start + length; i++) {
            if (memcmp(a + i * bytes, b + i * bytes, bytes) != 0)
                judge(out, i, hone__element_load(element, x, i), hone__element_load(element, reference, i), rtol, atol);
        }
    }
}
