/* stencil3d.c: a star of radius 4 (25 points, as in finite-difference wave solvers) over a 3-D grid, single precision, on one core:
 *   out = c0 * in + sum over d = 1..4 of c[d] * (the six neighbours at distance d along the axes).
 * `in` has a margin of 4 at both ends of z and y, and of 16 at both ends of x, so that its rows begin on a cache line when those
 * of `out` do.
 *
 * The grid is cut into tiles of TZ x TY x TX, walked in ORDER; in a tile, blocks of RZ x RY points x RX vectors are computed
 * together.  With ZSWEEP a block runs up the z axis and keeps the 8 + RZ values of its z column in registers; with XSHUFFLE the x
 * neighbours are shuffled out of the vectors to the left and right instead of being loaded again, most of them across a cache line.
 * The macros (VW RX RY RZ TX TY TZ ORDER_0..2 ZSWEEP XSHUFFLE NT PF) come from stencil3d.json; any nz, ny, nx >= 1 works: the last
 * block along an axis moves back so far that it is whole, and grids smaller than a block go point by point. */
#include <stdint.h>

#if !defined(VW) || !defined(RX) || !defined(ZSWEEP)
#error "stencil3d.c needs the parameters of stencil3d.json as macros"
#endif
#pragma GCC diagnostic ignored "-Wpsabi"

#ifdef __has_builtin
#define HAS(x) __has_builtin(x)
#else
#define HAS(x) 0
#endif
#define R 4
#define X_MARGIN 16
#define DO_PRAGMA(x) _Pragma(#x)
#define UNROLL(n) DO_PRAGMA(GCC unroll n)
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(VW * 4)));
typedef float loose __attribute__((vector_size(VW * 4), aligned(4), may_alias)); /* a vector anywhere in memory */

typedef struct grid {
    const float *in; /* the point that out[0] belongs to */
    float *out;
    int64_t extent[3];              /* z, y, x */
    int64_t in_plane, in_row, out_plane, out_row;
    float c[R + 1];
} grid;

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

INLINE vec at(const float *p)
{
    return *(const loose *)p;
}

/* `low` and `high` are neighbours in memory: the vector that begins k elements into `low`. */
#if XSHUFFLE && HAS(__builtin_shufflevector)
#define UP4(k) (k), (k) + 1, (k) + 2, (k) + 3
#if VW == 4
#define LANES(k) UP4(k)
#elif VW == 8
#define LANES(k) UP4(k), UP4((k) + 4)
#else
#define LANES(k) UP4(k), UP4((k) + 4), UP4((k) + 8), UP4((k) + 12)
#endif
#define ACROSS(low, high, k) __builtin_shufflevector(low, high, LANES(k))
/* Both x neighbours at distance d: from the vectors to the left and right, which the margins keep inside the buffer. */
#define X_PAIR(p, d) (ACROSS(at((p) - VW), at(p), VW - (d)) + ACROSS(at(p), at((p) + VW), d))
#else
#define X_PAIR(p, d) (at((p) - (d)) + at((p) + (d)))
#endif

/* The x and y parts and the centre of one vector of points. */
INLINE vec plane_part(const float *p, int64_t row, const float *c)
{
    vec sum = c[0] * at(p);
    sum += c[1] * (X_PAIR(p, 1) + (at(p - row) + at(p + row)));
    sum += c[2] * (X_PAIR(p, 2) + (at(p - 2 * row) + at(p + 2 * row)));
    sum += c[3] * (X_PAIR(p, 3) + (at(p - 3 * row) + at(p + 3 * row)));
    sum += c[4] * (X_PAIR(p, 4) + (at(p - 4 * row) + at(p + 4 * row)));
    return sum;
}

/* One block of RZ x RY x (RX * VW) points.  `column` holds, for each vector of the block, the values at z - 4 .. z + RZ + 3, or the
 * block loads them itself. */
INLINE void block(const grid *g, const float *c, const float *in, float *out, vec column[RY][RX][RZ + 2 * R], int stream)
{
    vec result[RZ][RY][RX];
#if PF > 0
    UNROLL(4) for (int y = 0; y < RY; y++)
        UNROLL(4) for (int line = 0; line < (RX * VW + 15) / 16; line++)
            __builtin_prefetch(in + (RZ - 1 + R + PF) * g->in_plane + y * g->in_row + line * 16);
#endif
    UNROLL(4) for (int z = 0; z < RZ; z++)
        UNROLL(4) for (int y = 0; y < RY; y++)
            UNROLL(4) for (int x = 0; x < RX; x++) {
                vec sum = plane_part(in + z * g->in_plane + y * g->in_row + x * VW, g->in_row, c);
                UNROLL(4) for (int d = 1; d <= R; d++) sum += c[d] * (column[y][x][R + z - d] + column[y][x][R + z + d]);
                result[z][y][x] = sum;
            }
    UNROLL(4) for (int z = 0; z < RZ; z++)
        UNROLL(4) for (int y = 0; y < RY; y++)
            UNROLL(4) for (int x = 0; x < RX; x++) store(out + z * g->out_plane + y * g->out_row + x * VW, result[z][y][x], stream);
}

INLINE void fill(vec column[RY][RX][RZ + 2 * R], const grid *g, const float *in, int from, int to)
{
    UNROLL(4) for (int y = 0; y < RY; y++)
        UNROLL(4) for (int x = 0; x < RX; x++)
            UNROLL(16) for (int z = from; z < to; z++)
                column[y][x][z] = at(in + (z - R) * g->in_plane + y * g->in_row + x * VW);
}

/* All the blocks from z0 to z1 at one y, x: with ZSWEEP as one run along z. */
INLINE void run_z(const grid *g, const float *c, int64_t z0, int64_t z1, int64_t y, int64_t x, int stream)
{
    vec column[RY][RX][RZ + 2 * R];
    const float *in = g->in + z0 * g->in_plane + y * g->in_row + x;
    float *out = g->out + z0 * g->out_plane + y * g->out_row + x;
    fill(column, g, in, 0, 2 * R);
    for (int64_t z = z0; z < z1; z += RZ) {
        fill(column, g, in, 2 * R, 2 * R + RZ);
        block(g, c, in, out, column, stream);
        UNROLL(4) for (int yy = 0; yy < RY; yy++)
            UNROLL(4) for (int xx = 0; xx < RX; xx++)
                UNROLL(16) for (int k = 0; k < 2 * R; k++) column[yy][xx][k] = column[yy][xx][k + RZ];
        in += RZ * g->in_plane;
        out += RZ * g->out_plane;
    }
}

/* The part of a tile that is whole along z (high is a multiple of RZ). */
INLINE void slab(const grid *g, const int64_t from[3], const int64_t size[3], int64_t z0, int64_t high, int stream)
{
    float c[R + 1];
    for (int d = 0; d <= R; d++) c[d] = g->c[d];
#if ZSWEEP
    const int64_t z_step = high;
#else
    const int64_t z_step = RZ;
#endif
    for (int64_t z = z0; z < z0 + high; z += z_step)
        for (int64_t y = 0; y < size[1]; y += RY) {
            int64_t yy = from[1] + (y + RY <= size[1] ? y : size[1] - RY);
            int64_t x = 0;
            for (; x + RX * VW <= size[2]; x += RX * VW) run_z(g, c, z, z + z_step, yy, from[2] + x, stream);
            if (x < size[2]) run_z(g, c, z, z + z_step, yy, from[2] + size[2] - RX * VW, 0);
        }
}

INLINE void whole_tile(const grid *g, const int64_t from[3], const int64_t size[3], int stream)
{
    int64_t high = size[0] - size[0] % RZ;
    slab(g, from, size, from[0], high, stream);
    if (high < size[0]) slab(g, from, size, from[0] + size[0] - RZ, RZ, stream);
}

static void point_by_point(const grid *g)
{
    for (int64_t z = 0; z < g->extent[0]; z++)
        for (int64_t y = 0; y < g->extent[1]; y++)
            for (int64_t x = 0; x < g->extent[2]; x++) {
                const float *p = g->in + z * g->in_plane + y * g->in_row + x;
                float sum = g->c[0] * p[0];
                for (int d = 1; d <= R; d++)
                    sum += g->c[d] * (p[-d] + p[d] + p[-d * g->in_row] + p[d * g->in_row] + p[-d * g->in_plane] +
                                      p[d * g->in_plane]);
                g->out[z * g->out_plane + y * g->out_row + x] = sum;
            }
}

void stencil3d(const float *in, const float *c, float *out, int64_t nz, int64_t ny, int64_t nx)
{
    const int64_t least[3] = {RZ, RY, RX * VW}, width[3] = {TZ, TY, TX};
    grid g = {.out = out, .extent = {nz, ny, nx}, .in_row = nx + 2 * X_MARGIN,
              .in_plane = (ny + 2 * R) * (nx + 2 * X_MARGIN),
              .out_row = nx, .out_plane = ny * nx};
    g.in = in + R * g.in_plane + R * g.in_row + X_MARGIN;
    for (int d = 0; d <= R; d++) g.c[d] = c[d];
    if (nz < least[0] || ny < least[1] || nx < least[2]) {
        point_by_point(&g);
        return;
    }
    /* Streaming stores fault on unaligned addresses: only where every row begins aligned, and not in blocks that moved back. */
    int stream_rows = NT && nx % VW == 0 && (uintptr_t)out % (VW * 4) == 0;
    int64_t tile[3];
    for (tile[ORDER_0] = 0; tile[ORDER_0] < g.extent[ORDER_0]; tile[ORDER_0] += width[ORDER_0])
        for (tile[ORDER_1] = 0; tile[ORDER_1] < g.extent[ORDER_1]; tile[ORDER_1] += width[ORDER_1])
            for (tile[ORDER_2] = 0; tile[ORDER_2] < g.extent[ORDER_2]; tile[ORDER_2] += width[ORDER_2]) {
                int64_t from[3], size[3];
                for (int d = 0; d < 3; d++) {
                    size[d] = g.extent[d] - tile[d] < width[d] ? g.extent[d] - tile[d] : width[d];
                    if (size[d] < least[d]) size[d] = least[d];
                    from[d] = tile[d] + size[d] <= g.extent[d] ? tile[d] : g.extent[d] - size[d];
                }
                if (stream_rows && from[2] % VW == 0) whole_tile(&g, from, size, NT);
                else whole_tile(&g, from, size, 0);
            }
#if NT && defined(__SSE__)
    __builtin_ia32_sfence();
#endif
}
