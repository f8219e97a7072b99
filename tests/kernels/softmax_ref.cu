/* softmax_ref.cu: the plain form of softmax.cu: one block of 256 threads a row, sums in double precision. */
#include "row_ref.cuh"

extern "C" __global__ void softmax_ref(const half_bits *x, half_bits *y, int)
{
    const half_bits *row = x + (long long)blockIdx.x * N;
    float top = to_float(row[0]);
    for (int j = 1; j < N; j++) top = fmaxf(top, to_float(row[j]));
    double sum = row_sum([&](int j) { return (double)expf(to_float(row[j]) - top); });
    for (int j = threadIdx.x; j < N; j += 256) y[(long long)blockIdx.x * N + j] = to_half(expf(to_float(row[j]) - top) / sum);
}
