/* sgemm.c: C = A B in single precision, row-major, on one core, built the way BLAS libraries are: cache blocks NC x KC x MC whose
 * parts of A and B are copied ("packed") into the order in which a small register tile of MR x (NV * VW) elements reads them.
 *
 * The macros (VW NV MR MC KC NC KU PF PACK_A PACK_B JR_OUTER ORDER_0..2) come from sgemm.json; any m, n, k >= 1 works: blocks at
 * the edges are shorter, and tiles at the edges are computed whole on zero padding and stored in part. */
#include <stdint.h>

#if !defined(VW) || !defined(MR) || !defined(ORDER_2)
#error "sgemm.c needs the parameters of sgemm.json as macros"
#endif
#pragma GCC diagnostic ignored "-Wpsabi"

#define NR (NV * VW)
#define DO_PRAGMA(x) _Pragma(#x)
#define UNROLL(n) DO_PRAGMA(GCC unroll n)
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(VW * 4)));
typedef float loose __attribute__((vector_size(VW * 4), aligned(4), may_alias)); /* a vector anywhere in memory */

static float packed_a[MC * KC] __attribute__((aligned(64)));
static float packed_b[KC * NC] __attribute__((aligned(64)));
#if !PACK_B
static float edge_b[KC * NR] __attribute__((aligned(64))); /* a tile of B that sticks out on the right, padded */
#endif

/* rows x depth of A to panels of MR rows, each depth x MR. */
__attribute__((unused)) static void pack_a(const float *a, int64_t lda, int64_t rows, int64_t depth)
{
    float *to = packed_a;
    for (int64_t i = 0; i < rows; i += MR) {
        int64_t live = rows - i < MR ? rows - i : MR;
        for (int64_t p = 0; p < depth; p++, to += MR) {
            if (live == MR) {
                UNROLL(16) for (int r = 0; r < MR; r++) to[r] = a[(i + r) * lda + p];
            } else {
                for (int r = 0; r < MR; r++) to[r] = r < live ? a[(i + r) * lda + p] : 0.0f;
            }
        }
    }
}

/* depth x columns of B to panels of NR columns, each depth x NR. */
static void pack_b(float *to, const float *b, int64_t ldb, int64_t depth, int64_t columns)
{
    for (int64_t j = 0; j < columns; j += NR) {
        int64_t live = columns - j < NR ? columns - j : NR;
        for (int64_t p = 0; p < depth; p++, to += NR) {
            const float *from = b + p * ldb + j;
            if (live == NR) {
                UNROLL(8) for (int v = 0; v < NV; v++) *(vec *)(to + v * VW) = *(const loose *)(from + v * VW);
            } else {
                for (int64_t c = 0; c < NR; c++) to[c] = c < live ? from[c] : 0.0f;
            }
        }
    }
}

/* One step of the depth loop: the outer product of MR elements of A and NR elements of B. */
#if PACK_A
#define A_AT(r, p) a[(p) * MR + (r)]
#define A_ROWS const float *a
#else
#define A_AT(r, p) a[r][p]
#define A_ROWS const float *const *a
#endif

INLINE void step(vec acc[MR][NV], A_ROWS, const float *b, int64_t ldb, int64_t p)
{
    vec bv[NV];
#if PF > 0
    UNROLL(4) for (int line = 0; line < (NR + 15) / 16; line++) __builtin_prefetch(b + (p + PF) * ldb + line * 16);
#if PACK_A
    __builtin_prefetch(a + (p + PF) * MR);
#endif
#endif
    UNROLL(8) for (int v = 0; v < NV; v++) bv[v] = *(const loose *)(b + p * ldb + v * VW);
    UNROLL(16) for (int r = 0; r < MR; r++) {
        float x = A_AT(r, p);
        UNROLL(8) for (int v = 0; v < NV; v++) acc[r][v] += x * bv[v];
    }
}

/* One register tile over `depth`; stored to (add = 0) or added to C, of which rows x columns elements exist. */
static void tile(A_ROWS, const float *b, int64_t ldb, int64_t depth, float *c, int64_t ldc, int64_t rows, int64_t columns, int add)
{
    vec acc[MR][NV];
    UNROLL(16) for (int r = 0; r < MR; r++)
        UNROLL(8) for (int v = 0; v < NV; v++) acc[r][v] = (vec){0};
    int64_t p = 0;
    for (; p + KU <= depth; p += KU)
        UNROLL(8) for (int u = 0; u < KU; u++) step(acc, a, b, ldb, p + u);
#if KU > 1
    for (; p < depth; p++) step(acc, a, b, ldb, p);
#endif
    if (rows >= MR && columns >= NR) {
        UNROLL(16) for (int r = 0; r < MR; r++)
            UNROLL(8) for (int v = 0; v < NV; v++) {
                loose *to = (loose *)(c + r * ldc + v * VW);
                if (add) acc[r][v] += *to;
                *to = acc[r][v];
            }
        return;
    }
    float whole[MR * NR] __attribute__((aligned(64)));
    UNROLL(16) for (int r = 0; r < MR; r++)
        UNROLL(8) for (int v = 0; v < NV; v++) *(loose *)(whole + r * NR + v * VW) = acc[r][v];
    for (int64_t r = 0; r < MR && r < rows; r++)
        for (int64_t j = 0; j < NR && j < columns; j++)
            c[r * ldc + j] = add ? c[r * ldc + j] + whole[r * NR + j] : whole[r * NR + j];
}

/* The tile at row ir, column jr of a block of C that is `rows` x `columns`; a and b are the block's corners in A and B. */
INLINE void tile_at(int64_t ir, int64_t jr, const float *a, int64_t lda, const float *b, int64_t ldb, int64_t depth, float *c,
                    int64_t rows, int64_t columns, int add)
{
    const float *tile_b;
    int64_t tile_ldb;
#if PACK_B
    tile_b = packed_b + jr * depth;
    tile_ldb = NR;
    (void)b;
#else
    if (columns - jr >= NR) {
        tile_b = b + jr;
        tile_ldb = ldb;
    } else {
        pack_b(edge_b, b + jr, ldb, depth, columns - jr);
        tile_b = edge_b;
        tile_ldb = NR;
    }
#endif
    float *tile_c = c + ir * ldb + jr;
#if PACK_A
    (void)a;
    (void)lda;
    tile(packed_a + ir * depth, tile_b, tile_ldb, depth, tile_c, ldb, rows - ir, columns - jr, add);
#else
    const float *row[MR]; /* rows that do not exist repeat the last one; their results are not stored */
    for (int64_t r = 0; r < MR; r++) row[r] = a + (ir + r < rows ? ir + r : rows - 1) * lda;
    tile(row, tile_b, tile_ldb, depth, tile_c, ldb, rows - ir, columns - jr, add);
#endif
}

static void block(const float *a, int64_t lda, const float *b, int64_t ldb, int64_t depth, float *c, int64_t rows,
                  int64_t columns, int add)
{
#if JR_OUTER
    for (int64_t jr = 0; jr < columns; jr += NR)
        for (int64_t ir = 0; ir < rows; ir += MR) tile_at(ir, jr, a, lda, b, ldb, depth, c, rows, columns, add);
#else
    for (int64_t ir = 0; ir < rows; ir += MR)
        for (int64_t jr = 0; jr < columns; jr += NR) tile_at(ir, jr, a, lda, b, ldb, depth, c, rows, columns, add);
#endif
}

void sgemm(const float *a, const float *b, float *c, int64_t m, int64_t n, int64_t k)
{
    const int64_t extent[3] = {n, k, m}, width[3] = {NC, KC, MC};
    int64_t at[3] = {0, 0, 0};            /* column, depth, row of the block */
    int64_t in_a[2] = {-1, -1}, in_b[2] = {-1, -1}; /* which blocks the packed copies hold */
    for (at[ORDER_0] = 0; at[ORDER_0] < extent[ORDER_0]; at[ORDER_0] += width[ORDER_0])
        for (at[ORDER_1] = 0; at[ORDER_1] < extent[ORDER_1]; at[ORDER_1] += width[ORDER_1])
            for (at[ORDER_2] = 0; at[ORDER_2] < extent[ORDER_2]; at[ORDER_2] += width[ORDER_2]) {
                int64_t live[3];
                for (int d = 0; d < 3; d++) live[d] = extent[d] - at[d] < width[d] ? extent[d] - at[d] : width[d];
                const float *block_a = a + at[2] * k + at[1], *block_b = b + at[1] * n + at[0];
                if (PACK_B && (in_b[0] != at[0] || in_b[1] != at[1])) {
                    pack_b(packed_b, block_b, n, live[1], live[0]);
                    in_b[0] = at[0];
                    in_b[1] = at[1];
                }
#if PACK_A
                if (in_a[0] != at[2] || in_a[1] != at[1]) {
                    pack_a(block_a, k, live[2], live[1]);
                    in_a[0] = at[2];
                    in_a[1] = at[1];
                }
#else
                (void)in_a;
#endif
                block(block_a, k, block_b, n, live[1], c + at[2] * n + at[0], live[2], live[0], at[1] > 0);
            }
}
