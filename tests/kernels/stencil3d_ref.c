/* stencil3d_ref.c: the 25-point star as its definition, in double. */
#include <stdint.h>

void stencil3d_ref(const float *in, const float *c, float *out, int64_t nz, int64_t ny, int64_t nx)
{
    const int64_t row = nx + 32, plane = (ny + 8) * row;
    for (int64_t z = 0; z < nz; z++)
        for (int64_t y = 0; y < ny; y++)
            for (int64_t x = 0; x < nx; x++) {
                const float *p = in + (z + 4) * plane + (y + 4) * row + x + 16;
                double sum = (double)c[0] * (double)p[0];
                for (int64_t d = 1; d <= 4; d++)
                    sum += (double)c[d] * ((double)p[-d] + (double)p[d] + (double)p[-d * row] + (double)p[d * row] +
                                           (double)p[-d * plane] + (double)p[d * plane]);
                out[(z * ny + y) * nx + x] = (float)sum;
            }
}
