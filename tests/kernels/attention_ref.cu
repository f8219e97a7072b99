/* attention_ref.cu: the plain form of attention.cu: one thread a query, everything in single precision. */
#include "half_ptx.cuh"

extern "C" __global__ void attention_ref(const half_bits *q, const half_bits *k, const half_bits *v, half_bits *o)
{
    long long row = blockIdx.x * 128LL + threadIdx.x;
    if (row >= (long long)HEADS * SEQ) return;
    const word *query = (const word *)(q + row * D);
    long long head = row / SEQ * SEQ * D;
    float mine[D], out[D], top = -1e30f, sum = 0.0f;
    for (int i = 0; i < D / 2; i++) {
        float2 pair = unpack(query[i]);
        mine[2 * i] = pair.x;
        mine[2 * i + 1] = pair.y;
        out[2 * i] = out[2 * i + 1] = 0.0f;
    }
    for (int j = 0; j < SEQ; j++) {
        const word *key = (const word *)(k + head + (long long)j * D), *value = (const word *)(v + head + (long long)j * D);
        float score = 0.0f;
#pragma unroll
        for (int i = 0; i < D / 2; i++) {
            float2 pair = unpack(key[i]);
            score += mine[2 * i] * pair.x + mine[2 * i + 1] * pair.y;
        }
        score *= rsqrtf((float)D);
        float most = fmaxf(top, score), factor = expf(top - most), weight = expf(score - most);
        sum = sum * factor + weight;
        top = most;
#pragma unroll
        for (int i = 0; i < D / 2; i++) {
            float2 pair = unpack(value[i]);
            out[2 * i] = out[2 * i] * factor + weight * pair.x;
            out[2 * i + 1] = out[2 * i + 1] * factor + weight * pair.y;
        }
    }
    for (int i = 0; i < D / 2; i++) ((word *)(o + row * D))[i] = pack(out[2 * i] / sum, out[2 * i + 1] / sum);
}
