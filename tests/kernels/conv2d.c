/* conv2d.c: out[y][x] = sum over fy, fx < 15 of filter[fy][fx] * in[y + fy][x + fx], single precision, on one core.  `in` has 14
 * rows and 14 columns more than `out`, so that no pixel is special.
 *
 * The image is cut into tiles of TY x TX; in a tile, register tiles of RY rows and RX vectors of pixels accumulate over the filter
 * in the order that LOOP says.  The macros (VW RX RY FU TX TY LOOP STAGE) come from conv2d.json; any h, w >= 1 works: the last tile
 * of a row or column moves back so far that it is whole (some pixels are then computed twice), and images smaller than a register
 * tile go pixel by pixel. */
#include <stdint.h>

#if !defined(VW) || !defined(RX) || !defined(STAGE)
#error "conv2d.c needs the parameters of conv2d.json as macros"
#endif
#pragma GCC diagnostic ignored "-Wpsabi"

#define filter_rows 1 /* for each filter row, each element of it */
#define filter_cols 2 /* for each filter column, each element of it */
#define input_rows 3  /* for each input row: one load serves all the output rows that it reaches */

#define F 15
#define WX (RX * VW)
#define DO_PRAGMA(x) _Pragma(#x)
#define UNROLL(n) DO_PRAGMA(GCC unroll n)
#define INLINE static inline __attribute__((always_inline, unused))

typedef float vec __attribute__((vector_size(VW * 4)));
typedef float loose __attribute__((vector_size(VW * 4), aligned(4), may_alias)); /* a vector anywhere in memory */

#if STAGE
#define STAGE_STRIDE ((TX + F - 1 + 15) / 16 * 16 + 16) /* one line more than needed: rows do not share cache sets */
static float staged[(TY + F - 1) * STAGE_STRIDE] __attribute__((aligned(64)));
#endif

/* One input row at fx: added to output rows first .. last of the register tile (constants where this is inlined). */
INLINE void reach(vec acc[RY][RX], const float *in, const float *filter, int row, int fx, int first, int last)
{
    vec v[RX];
    UNROLL(8) for (int c = 0; c < RX; c++) v[c] = *(const loose *)(in + fx + c * VW);
    UNROLL(8) for (int r = 0; r < RY; r++) {
        if (r < first || r > last) continue;
        float f = filter[(row - r) * F + fx];
        UNROLL(8) for (int c = 0; c < RX; c++) acc[r][c] += f * v[c];
    }
}

INLINE void reach_row(vec acc[RY][RX], const float *in, const float *filter, int row, int first, int last)
{
    for (int fx = 0; fx < F; fx += FU)
        UNROLL(15) for (int u = 0; u < FU; u++) reach(acc, in, filter, row, fx + u, first, last);
}

/* One filter element on the whole register tile. */
INLINE void element(vec acc[RY][RX], const float *in, int64_t in_stride, const float *filter, int fy, int fx)
{
    float f = filter[fy * F + fx];
    UNROLL(8) for (int r = 0; r < RY; r++)
        UNROLL(8) for (int c = 0; c < RX; c++) acc[r][c] += f * *(const loose *)(in + (r + fy) * in_stride + fx + c * VW);
}

static void register_tile(const float *in, int64_t in_stride, const float *filter, float *out, int64_t out_stride)
{
    vec acc[RY][RX];
    UNROLL(8) for (int r = 0; r < RY; r++)
        UNROLL(8) for (int c = 0; c < RX; c++) acc[r][c] = (vec){0};
#if LOOP == filter_rows
    for (int fy = 0; fy < F; fy++)
        for (int fx = 0; fx < F; fx += FU)
            UNROLL(15) for (int u = 0; u < FU; u++) element(acc, in, in_stride, filter, fy, fx + u);
#elif LOOP == filter_cols
    for (int fx = 0; fx < F; fx++)
        for (int fy = 0; fy < F; fy += FU)
            UNROLL(15) for (int u = 0; u < FU; u++) element(acc, in, in_stride, filter, fy + u, fx);
#elif LOOP == input_rows
    UNROLL(8) for (int row = 0; row < RY - 1; row++) reach_row(acc, in + row * in_stride, filter, row, 0, row);
    for (int row = RY - 1; row < F; row++) reach_row(acc, in + row * in_stride, filter, row, 0, RY - 1);
    UNROLL(8) for (int row = F; row < F + RY - 1; row++)
        reach_row(acc, in + row * in_stride, filter, row, row - F + 1, RY - 1);
#else
#error "LOOP is filter_rows, filter_cols or input_rows"
#endif
    UNROLL(8) for (int r = 0; r < RY; r++)
        UNROLL(8) for (int c = 0; c < RX; c++) *(loose *)(out + r * out_stride + c * VW) = acc[r][c];
}

/* A tile of h x w pixels, at least one register tile in both directions. */
static void image_tile(const float *in, int64_t in_stride, const float *filter, float *out, int64_t out_stride, int64_t h,
                       int64_t w)
{
#if STAGE
    for (int64_t y = 0; y < h + F - 1; y++)
        for (int64_t x = 0; x < w + F - 1; x++) staged[y * STAGE_STRIDE + x] = in[y * in_stride + x];
    in = staged;
    in_stride = STAGE_STRIDE;
#endif
    for (int64_t y = 0; y < h; y += RY) {
        int64_t top = y + RY <= h ? y : h - RY;
        for (int64_t x = 0; x < w; x += WX) {
            int64_t left = x + WX <= w ? x : w - WX;
            register_tile(in + top * in_stride + left, in_stride, filter, out + top * out_stride + left, out_stride);
        }
    }
}

static void pixel_by_pixel(const float *in, const float *filter, float *out, int64_t h, int64_t w)
{
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            float sum = 0.0f;
            for (int fy = 0; fy < F; fy++)
                for (int fx = 0; fx < F; fx++) sum += filter[fy * F + fx] * in[(y + fy) * (w + F - 1) + x + fx];
            out[y * w + x] = sum;
        }
}

void conv2d(const float *in, const float *filter, float *out, int64_t h, int64_t w)
{
    if (h < RY || w < WX) {
        pixel_by_pixel(in, filter, out, h, w);
        return;
    }
    for (int64_t y = 0; y < h; y += TY) {
        int64_t high = h - y < TY ? h - y : TY;
        if (high < RY) high = RY;
        int64_t top = y + high <= h ? y : h - high;
        for (int64_t x = 0; x < w; x += TX) {
            int64_t wide = w - x < TX ? w - x : TX;
            if (wide < WX) wide = WX;
            int64_t left = x + wide <= w ? x : w - wide;
            image_tile(in + top * (w + F - 1) + left, w + F - 1, filter, out + top * w + left, w, high, wide);
        }
    }
}
