/* sgemm_ref.c: the matrix product as its definition, summed in double. */
#include <stdint.h>

enum { STRIP = 256 };

void sgemm_ref(const float *a, const float *b, float *c, int64_t m, int64_t n, int64_t k)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t strip = 0; strip < n; strip += STRIP) {
            int64_t width = n - strip < STRIP ? n - strip : STRIP;
            double sum[STRIP] = {0};
            for (int64_t p = 0; p < k; p++)
                for (int64_t j = 0; j < width; j++) sum[j] += (double)a[i * k + p] * (double)b[p * n + strip + j];
            for (int64_t j = 0; j < width; j++) c[i * n + strip + j] = (float)sum[j];
        }
}
