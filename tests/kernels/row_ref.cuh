/* row_ref.cuh: what the references of the row kernels share: conversions and a block's sum. */
#ifndef HONE_ROW_REF
#define HONE_ROW_REF
#include "half_ptx.cuh"

DEVICE float to_float(half_bits h) { return unpack(h).x; }
DEVICE half_bits to_half(double v) { return (half_bits)pack((float)v, 0.0f); }

/* The sum of f(j) over 0 <= j < N, the same in all 256 threads; dynamic shared memory holds 256 doubles. */
template <class F> DEVICE double row_sum(F f)
{
    double *part = (double *)dynamic_shared, sum = 0.0;
    for (int j = threadIdx.x; j < N; j += 256) sum += f(j);
    __syncthreads();
    part[threadIdx.x] = sum;
    __syncthreads();
    sum = 0.0;
    for (int t = 0; t < 256; t++) sum += part[t];
    return sum;
}

#endif
