/* rms_norm_ref.cu: the plain form of rms_norm.cu: one block of 256 threads a row, sums in double precision. */
#include "row_ref.cuh"

extern "C" __global__ void rms_norm_ref(const half_bits *x, const half_bits *w, half_bits *y, int, float eps)
{
    const half_bits *row = x + (long long)blockIdx.x * N;
    double sum = row_sum([&](int j) { double v = to_float(row[j]); return v * v; });
    double scale = 1.0 / sqrt(sum / N + (double)eps);
    for (int j = threadIdx.x; j < N; j += 256) y[(long long)blockIdx.x * N + j] = to_half(to_float(row[j]) * scale * to_float(w[j]));
}
