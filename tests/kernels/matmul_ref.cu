/* matmul_ref.cu: the plain form of matmul.cu and matmul_wgmma.cu: one thread an element of C, tiles of 32 x 32 in shared memory. */
#include "half_ptx.cuh"

extern "C" __global__ void matmul_ref(const half_bits *a, const half_bits *b, half_bits *c)
{
    __shared__ float ta[32][33], tb[32][33];
    int x = threadIdx.x, y = threadIdx.y;
    long long row = blockIdx.y * 32LL + y, column = blockIdx.x * 32LL + x;
    float sum = 0.0f;
    for (int k = 0; k < K; k += 32) {
        ta[y][x] = row < M && k + x < K ? unpack(a[row * K + k + x]).x : 0.0f;
        tb[y][x] = column < N && k + y < K ? unpack(b[(long long)(k + y) * N + column]).x : 0.0f;
        __syncthreads();
        for (int i = 0; i < 32; i++) sum += ta[y][i] * tb[i][x];
        __syncthreads();
    }
    if (row < M && column < N) c[row * N + column] = (half_bits)pack(sum, 0.0f);
}
