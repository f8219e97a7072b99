/* layer_norm.cu: y[i][j] = (x[i][j] - mean) / sqrt(variance + eps) * w[j] + b[j], mean and variance over j; halves in memory, floats in
 * between.  VARIANCE says whether the variance has a pass of its own (two_pass) or comes from the sums of x and x^2 (one_pass), both taken
 * about the row's first element, so that a large mean costs no digits. */
#include "row_pass.cuh"

extern "C" __global__ __launch_bounds__(THREADS, MINB) void layer_norm(const half_bits *__restrict__ x, const half_bits *__restrict__ w,
                                                                        const half_bits *__restrict__ b, half_bits *__restrict__ y, int rows,
                                                                        float eps)
{
    row_pass pass(x, y, rows);
    const row_weights weights(w, pass), biases(b, pass);
    for (; pass.more(); pass.next()) {
        pass.begin();
        float mean, variance;
        if constexpr (VARIANCE == one_pass) {
            word first;
            load_halves<VEC == 1 ? 1 : 2, plain>(&first, x + (long long)pass.row * N);
            float origin = unpack(first).x;
            float2 sum = make_float2(0.0f, 0.0f);
            pass.each([&](int, int, const word *words) {
#pragma unroll
                for (int i = 0; i < WORDS; i++) {
                    float2 v = unpack(words[i]);
                    float p = v.x - origin, q = v.y - origin;
                    sum.x += p + q;
                    sum.y += p * p;
                    sum.y += q * q;
                }
            });
            sum = pass.reduce(sum, add_op());
            float shift = sum.x / (N * COPIES);
            mean = origin + shift;
            variance = fmaxf(sum.y / (N * COPIES) - shift * shift, 0.0f);
        } else {
            float sum = 0.0f, square = 0.0f;
            pass.each([&](int, int, const word *words) {
#pragma unroll
                for (int i = 0; i < WORDS; i++) {
                    float2 v = unpack(words[i]);
                    sum += v.x + v.y;
                }
            });
            mean = pass.reduce(sum, add_op()) / (N * COPIES);
            pass.each([&](int, int, const word *words) {
#pragma unroll
                for (int i = 0; i < WORDS; i++) {
                    float2 v = unpack(words[i]);
                    square += (v.x - mean) * (v.x - mean);
                    square += (v.y - mean) * (v.y - mean);
                }
            });
            variance = pass.reduce(square, add_op()) / (N * COPIES);
        }
        float scale = rsqrt_fast(variance + eps);
        pass.each([&](int chunk, int at, const word *words) {
            word weight[WORDS], bias[WORDS], out[WORDS];
            weights.get(chunk, at, weight);
            biases.get(chunk, at, bias);
#pragma unroll
            for (int i = 0; i < WORDS; i++) {
                float2 v = unpack(words[i]), m = unpack(weight[i]), c = unpack(bias[i]);
                out[i] = pack((v.x - mean) * scale * m.x + c.x, (v.y - mean) * scale * m.y + c.y);
            }
            pass.put(at, out);
        });
    }
    pass.end();
}
