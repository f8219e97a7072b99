/* attention.cu: o = softmax(q k^T / sqrt(D)) v for each head, halves in memory, floats in between, on the tensor cores by mma.sync.
 *
 * q, k, v and o are [HEADS, SEQ, D], where 16 divides D.  A block has BQ = WARPS * MT * 16 queries of one head and goes through the keys BKV at a time; cp.async
 * fetches keys and values STAGES steps deep.  The maximum and the sum of a row are followed online, in base 2.  RESCALE says whether the
 * output so far is scaled at each step or only when a maximum of the warp has moved. */
#include "half_ptx.cuh"

/* Rows in shared memory are as long as the next of 64, 128 and 256 halves. */
constexpr int PITCH = (D <= 64 ? 64 : D <= 128 ? 128 : 256) * 2, CHUNKS = D / 8;
constexpr int BQ = WARPS * MT * 16, THREADS = WARPS * 32, QT = D / 16, NT = BKV / 8, OT = D / 8;
constexpr int STEPS = (SEQ + BKV - 1) / BKV, QUERY_BLOCKS = (SEQ + BQ - 1) / BQ;
constexpr int Q_BYTES = BQ * PITCH, TILE_BYTES = BKV * PITCH; /* shared memory: queries (later the output), then STAGES of keys and values */
constexpr float LOWEST = -1e30f;
static_assert(D % 16 == 0 && D <= 256, "head dimensions of multiples of 16 up to 256");

/* 1 / sqrt(n) by Newton's method, while compiling. */
DEVICE constexpr double inverse_root(int n)
{
    double root = 1.0 / n;
    for (int i = 0; i < 30; i++) root *= 1.5 - 0.5 * n * root * root;
    return root;
}
constexpr float SCALE = (float)(inverse_root(D) * 1.4426950408889634); /* for powers of two */

/* Offset in a tile of a chunk of 16 bytes of a row of at least eight chunks, swizzled.  Tiles are aligned to a row, so the
 * address of chunk c + n, where the bits of n are not in c, is that of c with n * 16 exclusively ored. */
DEVICE int place(int row, int chunk)
{
    return row * PITCH + (chunk ^ (row & 7)) * 16;
}

template <int COUNT> DEVICE void request_rows(word to, const half_bits *head, int first)
{
    /* Where whole rows of chunks make up the block's threads, each thread keeps its chunk. */
    constexpr bool KEEPS = THREADS % CHUNKS == 0;
#pragma unroll
    for (int i = 0; i < (COUNT * CHUNKS + THREADS - 1) / THREADS; i++) {
        int index = i * THREADS + threadIdx.x;
        int row = KEEPS ? i * (THREADS / CHUNKS) + threadIdx.x / CHUNKS : index / CHUNKS, chunk = KEEPS ? threadIdx.x % CHUNKS : index % CHUNKS;
        if (COUNT * CHUNKS % THREADS != 0 && row >= COUNT) break;
        bool valid = SEQ % COUNT == 0 || first + row < SEQ;
        copy_async<16>(to + place(row, chunk), valid ? head + (long long)(first + row) * D + chunk * 8 : head, valid);
    }
}

DEVICE word keys(int step) { return shared_base() + Q_BYTES + step % STAGES * 2 * TILE_BYTES; }

DEVICE void request_step(const half_bits *k, const half_bits *v, int step)
{
    if (step < STEPS) {
        request_rows<BKV>(keys(step), k, step * BKV);
        request_rows<BKV>(keys(step) + TILE_BYTES, v, step * BKV);
    }
    copy_commit();
}

DEVICE void load_query(word (&q)[4], int m, int t)
{
    int lane = threadIdx.x % 32, row = threadIdx.x / 32 * MT * 16 + lane % 16;
    load_matrices(q, (shared_base() + place(row, lane / 16) ^ t * 32) + m * 16 * PITCH);
}

/* The state of MT * 16 queries; each thread has two rows of each 16 and of a row every fourth pair of columns. */
struct queries {
    float out[MT][OT][4], top[MT][2], sum[MT][2];
    word q[QUERIES == registers ? MT : 1][QUERIES == registers ? QT : 1][4];

    DEVICE void scores(float (&s)[MT][NT][4], word key)
    {
        int lane = threadIdx.x % 32;
        key += place(lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) s[m][n][i] = 0.0f;
#pragma unroll
        for (int t = 0; t < QT; t++) {
            word a[MT][4];
#pragma unroll
            for (int m = 0; m < MT; m++) {
                if constexpr (QUERIES == registers)
                    for (int i = 0; i < 4; i++) a[m][i] = q[m][t][i];
                else
                    load_query(a[m], m, t);
            }
#pragma unroll
            for (int n = 0; n < NT; n += 2) {
                word b[4]; /* two blocks of 8 keys, 16 deep */
                load_matrices(b, (key ^ t * 32) + n * 8 * PITCH);
#pragma unroll
                for (int m = 0; m < MT; m++) {
                    multiply_add(s[m][n], a[m], b);
                    multiply_add(s[m][n + 1], a[m], b + 2);
                }
            }
        }
    }

    /* Turns scores into weights relative to the new maximum and scales what was summed before. */
    DEVICE void follow(float (&s)[MT][NT][4], int step)
    {
        int lane = threadIdx.x % 32;
#pragma unroll
        for (int m = 0; m < MT; m++) {
            float factor[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float most = top[m][half];
#pragma unroll
                for (int n = 0; n < NT; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        if (SEQ % BKV != 0 && step * BKV + n * 8 + lane % 4 * 2 + i >= SEQ) s[m][n][half * 2 + i] = -3e38f;
                        most = fmaxf(most, s[m][n][half * 2 + i]);
                    }
                most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
                most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
                factor[half] = exp2_fast((top[m][half] - most) * SCALE);
                top[m][half] = most;
                float offset = most * SCALE, added = 0.0f;
#pragma unroll
                for (int n = 0; n < NT; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float weight = exp2_fast(s[m][n][half * 2 + i] * SCALE - offset);
                        s[m][n][half * 2 + i] = weight;
                        added += weight;
                    }
                sum[m][half] = sum[m][half] * factor[half] + added;
            }
            if (RESCALE == always || __any_sync(0xffffffffu, factor[0] != 1.0f || factor[1] != 1.0f))
#pragma unroll
                for (int n = 0; n < OT; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) out[m][n][i] *= factor[i / 2];
        }
    }

    DEVICE void values(const float (&s)[MT][NT][4], word value)
    {
        int lane = threadIdx.x % 32;
        value += place(lane % 16, lane / 16);
#pragma unroll
        for (int t = 0; t < BKV / 16; t++) {
            word a[MT][4];
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int i = 0; i < 4; i++) a[m][i] = pack(s[m][t * 2 + i / 2][i % 2 * 2], s[m][t * 2 + i / 2][i % 2 * 2 + 1]);
#pragma unroll
            for (int n = 0; n < OT; n += 2) {
                word b[4];
                load_matrices_transposed(b, (value ^ n * 16) + t * 16 * PITCH);
#pragma unroll
                for (int m = 0; m < MT; m++) {
                    multiply_add(out[m][n], a[m], b);
                    multiply_add(out[m][n + 1], a[m], b + 2);
                }
            }
        }
    }
};

/* The output goes through the queries' shared memory, each warp's rows through its own, so that every store has 16 bytes. */
DEVICE void write_output(queries &state, half_bits *o, int first)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = state.sum[m][half];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            float factor = 1.0f / sum;
            int row = (warp * MT + m) * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int n = 0; n < OT; n++) {
                word pair = pack(state.out[m][n][half * 2] * factor, state.out[m][n][half * 2 + 1] * factor);
                if constexpr (EPILOGUE == staged)
                    *(word *)(dynamic_shared + place(row, n) + lane % 4 * 4) = pair;
                else if (SEQ % BQ == 0 || first + row < SEQ)
                    store_global<1, plain>(o + (long long)(first + row) * D + n * 8 + lane % 4 * 2, &pair);
            }
        }
    if constexpr (EPILOGUE == staged) {
        __syncwarp();
#pragma unroll 4
        for (int index = lane; index < MT * 16 * CHUNKS; index += 32) {
            int row = warp * MT * 16 + index / CHUNKS, chunk = index % CHUNKS;
            word out[4];
            load_shared<4>(out, shared_base() + place(row, chunk));
            if (SEQ % BQ == 0 || first + row < SEQ) store_global<4, plain>(o + (long long)(first + row) * D + chunk * 8, out);
        }
    }
}

extern "C" __global__ __launch_bounds__(THREADS, MINB) void attention(const half_bits *__restrict__ q, const half_bits *__restrict__ k,
                                                                       const half_bits *__restrict__ v, half_bits *__restrict__ o)
{
    int block = HEADS_FIRST ? blockIdx.x / HEADS : blockIdx.x % QUERY_BLOCKS, head = HEADS_FIRST ? blockIdx.x % HEADS : blockIdx.x / QUERY_BLOCKS;
    int first = block * BQ;
    long long base = (long long)head * SEQ * D;
    queries state;
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int n = 0; n < OT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) state.out[m][n][i] = 0.0f;
        for (int half = 0; half < 2; half++) {
            state.top[m][half] = LOWEST;
            state.sum[m][half] = 0.0f;
        }
    }
    request_rows<BQ>(shared_base(), q + base, first);
    copy_commit();
    for (int ahead = 0; ahead < STAGES - 1; ahead++) request_step(k + base, v + base, ahead);
    if constexpr (QUERIES == registers) {
        copy_wait<STAGES - 1>();
        __syncthreads();
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int t = 0; t < QT; t++) load_query(state.q[m][t], m, t);
    }
    for (int step = 0; step < STEPS; step++) {
        if constexpr (STAGES == 1) {
            __syncthreads();
            request_step(k + base, v + base, step);
            copy_wait<0>();
            __syncthreads();
        } else {
            copy_wait<STAGES - 2>();
            __syncthreads();
            request_step(k + base, v + base, step + STAGES - 1);
        }
        float s[MT][NT][4];
        state.scores(s, keys(step));
        state.follow(s, step);
        state.values(s, keys(step) + TILE_BYTES);
    }
    write_output(state, o + base, first);
}
