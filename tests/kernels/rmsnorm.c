/* rmsnorm.c: y[i][j] = x[i][j] * w[j] / sqrt(mean over j of x[i][j]^2 + eps), row by row, on one core.
 *
 * RB rows go together: their squares are summed with ACC vectors of partial sums a row, then they are scaled, UNROLL vectors of the
 * weights at a time.  The macros (VW ACC UNROLL_J RB PF PF_NEXT NT REVERSE) come from rmsnorm.json; any rows, n >= 1 works. */
#include <stdint.h>

#if !defined(VW) || !defined(ACC) || !defined(REVERSE)
#error "rmsnorm.c needs the parameters of rmsnorm.json as macros"
#endif
#pragma GCC diagnostic ignored "-Wpsabi"

#ifdef __has_builtin
#define HAS(x) __has_builtin(x)
#else
#define HAS(x) 0
#endif
#define DO_PRAGMA(x) _Pragma(#x)
#define UNROLL(n) DO_PRAGMA(GCC unroll n)
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(VW * 4)));
typedef float loose __attribute__((vector_size(VW * 4), aligned(4), may_alias)); /* a vector anywhere in memory */

/* Store past the caches where the machine and the compiler can (`to` is then aligned); else an ordinary store. */
INLINE void store(float *to, vec value, int stream)
{
#if HAS(__builtin_nontemporal_store)
    if (stream) {
        __builtin_nontemporal_store(value, (vec *)to);
        return;
    }
#elif defined(__GNUC__) && defined(__AVX512F__) && VW == 16
    if (stream) {
        __builtin_ia32_movntps512(to, value);
        return;
    }
#elif defined(__GNUC__) && defined(__AVX__) && VW == 8
    if (stream) {
        __builtin_ia32_movntps256(to, value);
        return;
    }
#elif defined(__GNUC__) && defined(__SSE__) && VW == 4
    if (stream) {
        __builtin_ia32_movntps(to, value);
        return;
    }
#endif
    (void)stream;
    *(loose *)to = value;
}

/* 1/rms of `rows` rows (a constant where this is inlined: RB or 1). */
INLINE void reduce(const float *x, int64_t n, int rows, float eps, float *scale)
{
    vec sum[RB][ACC];
    UNROLL(8) for (int r = 0; r < rows; r++)
        UNROLL(8) for (int a = 0; a < ACC; a++) sum[r][a] = (vec){0};
    int64_t j = 0;
    for (; j + ACC * VW <= n; j += ACC * VW)
        UNROLL(8) for (int r = 0; r < rows; r++) {
#if PF > 0
            UNROLL(8) for (int line = 0; line < (ACC * VW + 15) / 16; line++)
                __builtin_prefetch(x + r * n + j + PF + line * 16);
#endif
            UNROLL(8) for (int a = 0; a < ACC; a++) {
                vec v = *(const loose *)(x + r * n + j + a * VW);
                sum[r][a] += v * v;
            }
        }
    UNROLL(8) for (int r = 0; r < rows; r++) {
        UNROLL(8) for (int a = 1; a < ACC; a++) sum[r][0] += sum[r][a];
        float total = 0.0f;
        UNROLL(16) for (int lane = 0; lane < VW; lane++) total += sum[r][0][lane];
        for (int64_t rest = j; rest < n; rest++) total += x[r * n + rest] * x[r * n + rest];
        scale[r] = 1.0f / __builtin_sqrtf(total / (float)n + eps);
    }
}

/* Scale `rows` rows; `next` is where the rows after them begin (for prefetching). */
INLINE void apply(const float *x, const float *w, float *y, const float *next, int64_t n, int rows, const float *scale, int stream)
{
    (void)next;
    int64_t whole = n - n % (UNROLL_J * VW);
    for (int64_t rest = whole; rest < n; rest++)
        for (int r = 0; r < rows; r++) y[r * n + rest] = x[r * n + rest] * scale[r] * w[rest];
    for (int64_t at = 0; at < whole; at += UNROLL_J * VW) {
        int64_t j = REVERSE ? whole - UNROLL_J * VW - at : at;
        vec weight[UNROLL_J];
        UNROLL(8) for (int u = 0; u < UNROLL_J; u++) weight[u] = *(const loose *)(w + j + u * VW);
        UNROLL(8) for (int r = 0; r < rows; r++) {
#if PF_NEXT > 0
            UNROLL(8) for (int line = 0; line < (UNROLL_J * VW + 15) / 16; line++)
                __builtin_prefetch(next + r * n + at + line * 16, 0, PF_NEXT == 1 ? 3 : 2);
#endif
            UNROLL(8) for (int u = 0; u < UNROLL_J; u++)
                store(y + r * n + j + u * VW, *(const loose *)(x + r * n + j + u * VW) * scale[r] * weight[u], stream);
        }
    }
}

INLINE void every_row(const float *x, const float *w, float *y, int64_t rows, int64_t n, float eps, int stream)
{
    float scale[RB];
    int64_t i = 0;
    for (; i + RB <= rows; i += RB) {
        reduce(x + i * n, n, RB, eps, scale);
        apply(x + i * n, w, y + i * n, x + (i + 2 * RB <= rows ? i + RB : i) * n, n, RB, scale, stream);
    }
#if RB > 1
    for (; i < rows; i++) {
        reduce(x + i * n, n, 1, eps, scale);
        apply(x + i * n, w, y + i * n, x + i * n, n, 1, scale, stream);
    }
#endif
}

void rmsnorm(const float *x, const float *w, float *y, int64_t rows, int64_t n, float eps)
{
    /* Streaming stores fault on unaligned addresses, so rows that do not keep the alignment get ordinary ones. */
    if (NT && n % VW == 0 && (uintptr_t)y % (VW * 4) == 0) {
        every_row(x, w, y, rows, n, eps, 1);
#if defined(__SSE__)
        __builtin_ia32_sfence();
#endif
    } else {
        every_row(x, w, y, rows, n, eps, 0);
    }
}
