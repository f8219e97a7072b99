/* rmsnorm_ref.c: RMS norm as its definition, in double. */
#include <stdint.h>

void rmsnorm_ref(const float *x, const float *w, float *y, int64_t rows, int64_t n, float eps)
{
    for (int64_t i = 0; i < rows; i++) {
        double sum = 0.0;
        for (int64_t j = 0; j < n; j++) sum += (double)x[i * n + j] * (double)x[i * n + j];
        double mean = sum / (double)n + (double)eps;
        /* The square root by Newton's method: no libm needed, and every step squares the error. */
        double root = mean > 1.0 ? mean : 1.0;
        for (int step = 0; step < 200; step++) root = 0.5 * (root + mean / root);
        for (int64_t j = 0; j < n; j++) y[i * n + j] = (float)((double)x[i * n + j] / root * (double)w[j]);
    }
}
