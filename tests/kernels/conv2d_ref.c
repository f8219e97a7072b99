/* conv2d_ref.c: the convolution as its definition, summed in double, a strip of pixels at a time. */
#include <stdint.h>

enum { F = 15, STRIP = 256 };

void conv2d_ref(const float *in, const float *filter, float *out, int64_t h, int64_t w)
{
    for (int64_t y = 0; y < h; y++)
        for (int64_t strip = 0; strip < w; strip += STRIP) {
            int64_t width = w - strip < STRIP ? w - strip : STRIP;
            double sum[STRIP] = {0};
            for (int fy = 0; fy < F; fy++)
                for (int fx = 0; fx < F; fx++)
                    for (int64_t x = 0; x < width; x++)
                        sum[x] += (double)filter[fy * F + fx] * (double)in[(y + fy) * (w + F - 1) + strip + x + fx];
            for (int64_t x = 0; x < width; x++) out[y * w + strip + x] = (float)sum[x];
        }
}
