/* transpose_ref.cu: the plain form of transpose.cu: one thread an element. */
extern "C" __global__ void transpose_ref(const unsigned short *x, unsigned short *y)
{
    for (long long at = blockIdx.x * 256LL + threadIdx.x; at < (long long)ROWS * COLS; at += gridDim.x * 256LL)
        y[at % COLS * ROWS + at / COLS] = x[at];
}
