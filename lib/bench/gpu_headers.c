/* gpu_headers.c: the standard C headers that CUDA sources commonly name and NVRTC does not have, as far as device code can use them: integer
 * types, limits and a few constants.  Functions (math, printf, assert, memcpy) are built into NVRTC, so their headers are empty.  Types and
 * macros are spelt as libcu++ (<cuda/std/cstdint>) spells them for NVRTC, so that both may be included, in either order. */
#include "gpu_internal.h"

static const char integers[] =
    "#ifndef HONE_STDINT\n#define HONE_STDINT\n#include <limits.h>\n"
    "typedef signed char int8_t; typedef signed short int16_t; typedef signed int int32_t; typedef signed long long int64_t;\n"
    "typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t; typedef unsigned long long uint64_t;\n"
    "typedef int8_t int_fast8_t, int_least8_t; typedef int16_t int_fast16_t, int_least16_t; typedef int32_t int_fast32_t, int_least32_t;\n"
    "typedef uint8_t uint_fast8_t, uint_least8_t; typedef uint16_t uint_fast16_t, uint_least16_t;\n"
    "typedef uint32_t uint_fast32_t, uint_least32_t; typedef int64_t int_fast64_t, int_least64_t, intptr_t, intmax_t;\n"
    "typedef uint64_t uint_fast64_t, uint_least64_t, uintptr_t, uintmax_t;\n"
    "#ifndef INT32_MAX\n"
    "#define INT8_MIN SCHAR_MIN\n#define INT16_MIN SHRT_MIN\n#define INT32_MIN INT_MIN\n#define INT64_MIN LLONG_MIN\n"
    "#define INT8_MAX SCHAR_MAX\n#define INT16_MAX SHRT_MAX\n#define INT32_MAX INT_MAX\n#define INT64_MAX LLONG_MAX\n"
    "#define UINT8_MAX UCHAR_MAX\n#define UINT16_MAX USHRT_MAX\n#define UINT32_MAX UINT_MAX\n#define UINT64_MAX ULLONG_MAX\n"
    "#define SIZE_MAX UINT64_MAX\n"
    "#endif\n"
    "namespace std { using ::int8_t; using ::int16_t; using ::int32_t; using ::int64_t; using ::uint8_t; using ::uint16_t; using ::uint32_t;\n"
    "using ::uint64_t; using ::intptr_t; using ::uintptr_t; }\n#endif\n";

static const char limits[] =
    "#ifndef INT_MAX\n"
    "#define CHAR_BIT 8\n#define SCHAR_MIN (-128)\n#define SCHAR_MAX 127\n#define UCHAR_MAX 255\n"
    "#define SHRT_MIN (-SHRT_MAX - 1)\n#define SHRT_MAX 0x7fff\n#define USHRT_MAX 0xffff\n"
    "#define INT_MIN (-INT_MAX - 1)\n#define INT_MAX 0x7fffffff\n#define UINT_MAX 0xffffffff\n"
    "#define LONG_MIN (-LONG_MAX - 1)\n#define LONG_MAX LLONG_MAX\n#define ULONG_MAX ULLONG_MAX\n"
    "#define LLONG_MIN (-LLONG_MAX - 1)\n#define LLONG_MAX 0x7fffffffffffffffLL\n#define ULLONG_MAX 0xffffffffffffffffUL\n"
    "#endif\n";

static const char floats[] =
    "#ifndef FLT_MAX\n"
    "#define FLT_RADIX 2\n#define FLT_MANT_DIG 24\n#define FLT_DIG 6\n#define DBL_MANT_DIG 53\n#define DBL_DIG 15\n"
    "#define FLT_MIN 1.17549435082228750796873653722224568e-38F\n#define FLT_MAX 3.40282346638528859811704183484516925e+38F\n"
    "#define FLT_EPSILON 1.19209289550781250000000000000000000e-7F\n"
    "#define DBL_MIN 2.22507385850720138309023271733240406e-308\n#define DBL_MAX 1.79769313486231570814527423731704357e+308\n"
    "#define DBL_EPSILON 2.22044604925031308084726333618164062e-16\n"
    "#endif\n";

static const char mathematics[] =
    "#ifndef INFINITY\n#define INFINITY __int_as_float(0x7f800000)\n#endif\n#ifndef NAN\n#define NAN __int_as_float(0x7fc00000)\n#endif\n"
    "#ifndef M_PI\n#define M_PI 3.14159265358979323846\n#define M_E 2.7182818284590452354\n#define M_LOG2E 1.4426950408889634074\n"
    "#define M_LN2 0.69314718055994530942\n#define M_SQRT2 1.41421356237309504880\n#define M_SQRT1_2 0.70710678118654752440\n#endif\n";

static const char definitions[] = "#ifndef offsetof\n#define offsetof(type, member) __builtin_offsetof(type, member)\n#endif\n"
                                  "namespace std { using ::size_t; using ::ptrdiff_t; }\n";

static const char nothing[] = "\n";

static const char *const names[] = {"stdint.h", "cstdint", "limits.h", "climits", "float.h",  "cfloat",  "math.h",   "cmath",   "stddef.h",
                                    "cstddef",  "stdio.h", "cstdio",   "stdlib.h", "cstdlib", "string.h", "cstring", "assert.h", "cassert"};
static const char *const texts[] = {integers,    integers, limits,  limits,  floats,  floats,  mathematics, mathematics, definitions,
                                    definitions, nothing,  nothing, nothing, nothing, nothing, nothing,     nothing,     nothing};
_Static_assert(sizeof names == sizeof texts, "a text for each name");

int hone__gpu_headers(const char *const **text, const char *const **name) {
    *text = texts;
    *name = names;
    return (int)(sizeof names / sizeof names[0]);
}
