/* hostile.cu: a kernel that doubles its input, or goes wrong in one of the ways that a real kernel does, as FAULT says: for
 * tests/bench/gpu_hostile.py, which tunes it and looks at the reason that each trial was given. */
#define none 0
#define hang 1
#define slow 2
#define illegal 3
#define misaligned 4
#define trap 5
#define stack 6
#define wrong 7
#define race 8
#define stale 9
#define unwritten 10
#define behind 11
#define before 12
#define scribble 13
#define shared_overrun 14
#define registers 15
#define static_shared 16
#define globals 17
#define printing 18
#define compile_error 19
#define compile_bomb 20
#define parameters 21
#define barrier 22

#if FAULT == compile_error
#error this config does not compile
#endif
#if FAULT == globals
__device__ float huge[(1ull << 37) / 4]; /* 128 GiB */
#endif
#if FAULT == stale
__device__ int runs;
#endif
#if FAULT == registers
#define BOUNDS __launch_bounds__(64, 1)
#else
#define BOUNDS
#endif
#if FAULT == printing
extern "C" int printf(const char *format, ...);
#endif

#if FAULT == stack
__device__ __noinline__ float deep(float x, int depth) {
    volatile float local[256];
    for (int i = 0; i < 256; i++)
        local[i] = x + i;
    return depth <= 0 ? local[depth & 255] : deep(local[depth & 255], depth - 1) + local[(depth * 7) & 255];
}
#endif

extern "C" __global__ void BOUNDS hostile(const float *in, float *out, int n
#if FAULT == parameters
                                          , int more
#endif
) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float x = i < n ? in[i] : 0.0f;
    float y = 2.0f * x;
#if FAULT == hang
    while (*(const volatile float *)in > 0.0f) /* as it always is */
        ;
#elif FAULT == slow
    for (int k = 0; k < 2000000; k++)
        y = fmaf(y, 1.0f, 0.0f) + (k == 1999999 && y == -1.0f ? 1.0f : 0.0f);
#elif FAULT == illegal
    out[(size_t)i + (1ull << 40)] = y;
#elif FAULT == misaligned
    *(volatile float *)((volatile char *)out + 1) = y;
#elif FAULT == trap
    if (i == n / 2)
        __trap();
#elif FAULT == stack
    y += 0.0f * deep(x, 1 << 20);
#elif FAULT == wrong
    y *= i == n / 3 ? 1.5f : 1.0f;
#elif FAULT == race
    /* All write the same place without order, and read back what came last. */
    volatile float *place = out + (i & ~1023);
    *place = y;
    if (*place != y)
        y = *place;
#elif FAULT == stale
    if (i == 0)
        atomicAdd(&runs, 1);
    y *= runs > 3 ? 1.25f : 1.0f;
#elif FAULT == unwritten
    if (i % 1024 == 0)
        return;
#elif FAULT == behind
    if (i == 0)
        out[n + 5] = 1.0f;
#elif FAULT == before
    if (i == 0)
        out[-3] = 1.0f;
#elif FAULT == scribble
    if (i == n - 1)
        const_cast<float *>(in)[17] += 1.0f;
#elif FAULT == shared_overrun
    extern __shared__ float room[];
    ((volatile float *)room)[threadIdx.x + (1 << 20)] = y;
#elif FAULT == static_shared
    __shared__ float fixed[12000];
    fixed[threadIdx.x] = y;
    __syncthreads();
    y = fixed[threadIdx.x ^ 1] * 0.0f + y;
#elif FAULT == globals
    huge[(size_t)i * 1000] = y;
    y = huge[(size_t)i * 1000];
#elif FAULT == printing
    printf("thread %d has %f and would like everybody to know\n", i, (double)y);
#elif FAULT == compile_bomb
#pragma unroll
    for (int k = 0; k < 128; k++)
#pragma unroll
        for (int l = 0; l < 128; l++)
#pragma unroll
            for (int m = 0; m < 128; m++)
                y = fmaf(y, in[(k * 128 + l) * 128 + m & 1023], x * (float)(k ^ l ^ m));
#elif FAULT == parameters
    y += more * 0;
#elif FAULT == barrier
    if (threadIdx.x < 32)
        asm volatile("bar.sync 1, 256;"); /* waits for threads that never come */
#endif
    if (i < n)
        out[i] = y;
}

extern "C" __global__ void hostile_ref(const float *in, float *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = 2.0f * in[i];
}
