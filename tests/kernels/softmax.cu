/* softmax.cu: y[i][j] = exp(x[i][j] - max) / sum over j of exp(x[i][j] - max), halves in memory, floats in between.  SUM says whether the
 * maximum has a pass of its own (two_pass) or is followed while summing, each thread for itself (online). */
#define WEIGHTS cached
#include "row_pass.cuh"

constexpr float LOG2E = 1.4426950408889634f;
/* Below every half, so that exp2 of a difference is 0; minus infinity would make NaN of a row of them. */
constexpr float LOWEST = -1e30f;

/* x: the maximum so far, y: the sum relative to it. */
struct online_op {
    DEVICE float2 operator()(float2 a, float2 b) const
    {
        float top = fmaxf(a.x, b.x);
        return make_float2(top, a.y * exp2_fast((a.x - top) * LOG2E) + b.y * exp2_fast((b.x - top) * LOG2E));
    }
};

extern "C" __global__ __launch_bounds__(THREADS, MINB) void softmax(const half_bits *__restrict__ x, half_bits *__restrict__ y, int rows)
{
    row_pass pass(x, y, rows);
    for (; pass.more(); pass.next()) {
        pass.begin();
        float top = LOWEST, sum = 0.0f;
        if constexpr (SUM == online) {
            pass.each([&](int, int, const word *words) {
                float mine = top;
#pragma unroll
                for (int i = 0; i < WORDS; i++) {
                    float2 v = unpack(words[i]);
                    mine = fmaxf(mine, fmaxf(v.x, v.y));
                }
                sum *= exp2_fast((top - mine) * LOG2E);
                top = mine;
#pragma unroll
                for (int i = 0; i < WORDS; i++) {
                    float2 v = unpack(words[i]);
                    sum += exp2_fast((v.x - top) * LOG2E);
                    sum += exp2_fast((v.y - top) * LOG2E);
                }
            });
            float2 both = pass.reduce(make_float2(top, sum), online_op());
            top = both.x;
            sum = both.y;
        } else {
            pass.each([&](int, int, const word *words) {
#pragma unroll
                for (int i = 0; i < WORDS; i++) {
                    float2 v = unpack(words[i]);
                    top = fmaxf(top, fmaxf(v.x, v.y));
                }
            });
            top = pass.reduce(top, max_op());
            pass.each([&](int, int, const word *words) {
#pragma unroll
                for (int i = 0; i < WORDS; i++) {
                    float2 v = unpack(words[i]);
                    sum += exp2_fast((v.x - top) * LOG2E);
                    sum += exp2_fast((v.y - top) * LOG2E);
                }
            });
            sum = pass.reduce(sum, add_op());
        }
        float scale = COPIES / sum;
        pass.each([&](int, int at, const word *words) {
            word out[WORDS];
#pragma unroll
            for (int i = 0; i < WORDS; i++) {
                float2 v = unpack(words[i]);
                out[i] = pack(exp2_fast((v.x - top) * LOG2E) * scale, exp2_fast((v.y - top) * LOG2E) * scale);
            }
            pass.put(at, out);
        });
    }
    pass.end();
}
