/* rms_norm.cu: y[i][j] = x[i][j] * w[j] / sqrt(mean over j of x[i][j]^2 + eps), halves in memory, floats in between. */
#include "row_pass.cuh"

extern "C" __global__ __launch_bounds__(THREADS, MINB) void rms_norm(const half_bits *__restrict__ x, const half_bits *__restrict__ w,
                                                                      half_bits *__restrict__ y, int rows, float eps)
{
    row_pass pass(x, y, rows);
    const row_weights weights(w, pass);
    for (; pass.more(); pass.next()) {
        pass.begin();
        float sum = 0.0f;
        pass.each([&](int, int, const word *words) {
#pragma unroll
            for (int i = 0; i < WORDS; i++) {
                float2 v = unpack(words[i]);
                sum += v.x * v.x;
                sum += v.y * v.y;
            }
        });
        float scale = rsqrt_fast(pass.reduce(sum, add_op()) / (N * COPIES) + eps);
        pass.each([&](int chunk, int at, const word *words) {
            word weight[WORDS], out[WORDS];
            weights.get(chunk, at, weight);
#pragma unroll
            for (int i = 0; i < WORDS; i++) {
                float2 v = unpack(words[i]), m = unpack(weight[i]);
                out[i] = pack(v.x * scale * m.x, v.y * scale * m.y);
            }
            pass.put(at, out);
        });
    }
    pass.end();
}
