/* buf_double.c: hone__buf_json_double: the shortest decimal that reads back as the same double, laid out as "%.*g" of at least six digits does. */
#include "buf.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- any double, by trying ---- */

static bool reads_back(double value, int digits, char text[40]) {
    (void)snprintf(text, 40, "%.*e", digits - 1, value);
    double back = strtod(text, NULL);
    return memcmp(&back, &value, sizeof value) == 0;
}

/* The fewest digits from 6 on that read back the same.  A decimal of up to 15 digits survives the way through a double, so that 15 digits show all
 * shorter ones too, with zeros after them; doubles below DBL_MIN have fewer bits, and are tried one by one. */
static int digits_of(double value) {
    char text[40];
    int digits = fabs(value) < DBL_MIN ? 6 : DBL_DIG;
    while (digits < 17 && !reads_back(value, digits, text))
        digits++;
    if (digits != DBL_DIG || fabs(value) < DBL_MIN)
        return digits;
    for (const char *c = strchr(text, 'e') - 1; digits > 6 && *c == '0'; c--)
        digits--;
    return digits;
}

static void print_any(hone__buf *buf, double value) {
    char text[40];
    (void)snprintf(text, sizeof text, "%.*g", digits_of(value), value);
    /* The program that we live in may have set a locale with another decimal point, of one byte or more. */
    bool point = false;
    for (const char *c = text; *c != '\0'; c++) {
        bool plain = (*c >= '0' && *c <= '9') || *c == '-' || *c == '+' || *c == 'e';
        if (plain || !point)
            hone__buf_char(buf, plain ? *c : '.');
        point = point || !plain;
    }
}

/* ---- times, rates and fractions, by exact arithmetic ---- */

#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 wide;

/* value = digits / 10^scale */
typedef struct decimal {
    uint64_t digits;
    int scale;
} decimal;

/* The nearest multiple of `step` to whole + part / 2^shift, ties to the even one, as printf has them. */
static uint64_t nearest(uint64_t whole, wide part, unsigned shift, uint64_t step) {
    uint64_t low = whole / step * step;
    wide beyond = ((wide)(whole - low) << shift) + part, half = ((wide)step << shift) / 2;
    bool up = beyond > half || (beyond == half && low / step % 2 == 1);
    return up ? low + step : low;
}

/* A double m * 2^e with 17 digits before the point is m * 5^scale shifted right: between 1e-10 and 1e15 that fits 128 bits, nothing is lost, and
 * whether fewer digits read back the same is a comparison with half the distance to the next double.  2.5 us become 0.1 us; a listing of a
 * million entries has thirty million of them. */
static decimal shortest(double value) {
    int exponent;
    uint64_t mantissa = (uint64_t)ldexp(frexp(value, &exponent), 53), whole;
    int scale = 16 - (int)floor((exponent - 1) * 0.30102999566398120); /* log10 2; one too large where the mantissa reaches the next power */
    wide all, part;
    unsigned shift;
    uint64_t five;
    for (;; scale--) {
        five = 1;
        for (int i = 0; i < scale; i++)
            five *= 5;
        all = (wide)mantissa * five;
        shift = (unsigned)(53 - exponent - scale);
        whole = (uint64_t)(all >> shift);
        if (whole < UINT64_C(100000000000000000))
            break;
    }
    part = all - ((wide)whole << shift);
    for (uint64_t step = 100; step > 1; step /= 10) {
        uint64_t rounded = nearest(whole, part, shift, step);
        wide there = (wide)rounded << shift;
        bool below = there < all;
        wide off = below ? all - there : there - all;
        unsigned halves = below && mantissa == UINT64_C(1) << 52 ? 4 : 2; /* below a power of two doubles are twice as dense */
        if (off * halves < five || (off * halves == five && mantissa % 2 == 0))
            return (decimal){rounded, scale};
    }
    return (decimal){nearest(whole, part, shift, 1), scale};
}

static void print_decimal(hone__buf *buf, decimal d) {
    char digit[20];
    size_t count = 0;
    for (; d.digits % 10 == 0; d.digits /= 10)
        d.scale--;
    for (uint64_t rest = d.digits; rest > 0; rest /= 10)
        count++;
    for (size_t i = count; i-- > 0; d.digits /= 10)
        digit[i] = (char)('0' + d.digits % 10);
    int exponent = (int)count - 1 - d.scale;
    size_t before = exponent < 0 ? 0 : (size_t)exponent + 1; /* the point */
    if (exponent < -4 || before > (count < 6 ? 6 : count)) {
        hone__buf_bytes(buf, digit, 1);
        hone__buf_bytes(buf, ".", count > 1);
        hone__buf_bytes(buf, digit + 1, count - 1);
        hone__buf_printf(buf, "e%+03d", exponent);
    } else if (before == 0) {
        hone__buf_bytes(buf, "0.000", (size_t)(1 - exponent));
        hone__buf_bytes(buf, digit, count);
    } else if (before >= count) {
        hone__buf_bytes(buf, digit, count);
        hone__buf_bytes(buf, "00000", before - count);
    } else {
        hone__buf_bytes(buf, digit, before);
        hone__buf_char(buf, '.');
        hone__buf_bytes(buf, digit + before, count - before);
    }
}

#endif

void hone__buf_json_double(hone__buf *buf, double value) {
    if (!isfinite(value)) {
        hone__buf_text(buf, "null");
        return;
    }
#ifdef __SIZEOF_INT128__
    if (fabs(value) >= 1e-10 && fabs(value) < 1e15) {
        hone__buf_bytes(buf, "-", value < 0);
        print_decimal(buf, shortest(fabs(value)));
        return;
    }
#endif
    print_any(buf, value);
}
