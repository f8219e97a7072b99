/* row_pass.cuh: how rms_norm, layer_norm and softmax go through a matrix of halves, row by row.
 *
 * A block is GROUPS groups of TPR threads; each group takes a row at a time, VEC halves a load, rows BLOCKS * GROUPS apart (BLOCKS == 0: one
 * row only).  A row waits for its second pass in registers, in shared memory (filled by cp.async or by the copy engine, STAGES rows
 * deep), or is read again through the caches.  The parameters and N come as macros. */
#ifndef HONE_ROW_PASS
#define HONE_ROW_PASS
#include "half_ptx.cuh"

constexpr int WORDS = VEC / 2, WARPS = TPR / 32, THREADS = TPR * GROUPS;
constexpr int CHUNKS = (N + TPR * VEC - 1) / (TPR * VEC);
constexpr int STEPS = HOLD == registers ? CHUNKS : UNROLL;
constexpr bool IN_SHARED = HOLD == async || HOLD == bulk;
constexpr int ROW_BYTES = N * 2;
/* Dynamic shared memory: row buffers, then two sets of partial sums for each warp (8 bytes each), then barriers. */
constexpr int ROWS_AT = 0, SUMS_AT = IN_SHARED ? (GROUPS * STAGES * ROW_BYTES + 15) / 16 * 16 : 0;
constexpr int BARRIERS_AT = SUMS_AT + 2 * GROUPS * WARPS * 8;

DEVICE float shuffle_xor(float v, int lane) { return __shfl_xor_sync(0xffffffffu, v, lane); }
DEVICE float2 shuffle_xor(float2 v, int lane) { return make_float2(shuffle_xor(v.x, lane), shuffle_xor(v.y, lane)); }

struct add_op {
    DEVICE float operator()(float a, float b) const { return a + b; }
    DEVICE float2 operator()(float2 a, float2 b) const { return make_float2(a.x + b.x, a.y + b.y); }
};

struct max_op {
    DEVICE float operator()(float a, float b) const { return fmaxf(a, b); }
};

struct row_pass {
    const half_bits *from;
    half_bits *to;
    int rows, group, lane, row, turn, sums;
    word held[HOLD == registers ? CHUNKS : 1][WORDS];

    DEVICE row_pass(const half_bits *x, half_bits *y, int row_count) : from(x), to(y), rows(row_count), turn(0), sums(0)
    {
        group = threadIdx.x / TPR;
        lane = threadIdx.x % TPR;
        row = blockIdx.x * GROUPS + group;
        if constexpr (HOLD == bulk) {
            if (lane == 0) {
                for (int s = 0; s < STAGES; s++) mbarrier_init(barrier(s), 1);
                mbarrier_init_done();
            }
            meet();
        }
        if constexpr (IN_SHARED)
            for (int ahead = 0; ahead < STAGES - 1; ahead++) request(ahead);
    }

    DEVICE static int stride() { return gridDim.x * GROUPS; }
    DEVICE static bool inside(int column) { return N % (TPR * VEC) == 0 || column < N; }
    DEVICE int column(int chunk) const { return (chunk * TPR + lane) * VEC; }
    DEVICE bool more() const { return row < rows; }
    DEVICE word buffer(int t) const { return shared_base() + ROWS_AT + (group * STAGES + t % STAGES) * ROW_BYTES; }
    DEVICE word barrier(int t) const { return shared_base() + BARRIERS_AT + (group * STAGES + t % STAGES) * 8; }

    /* All threads of the group. */
    DEVICE void meet() const
    {
        if constexpr (GROUPS == 1 && WARPS > 1)
            __syncthreads();
        else if constexpr (WARPS == 1)
            __syncwarp();
        else
            named_barrier(group + 1, TPR);
    }

    /* Asks for the row of turn `t` from now on into its buffer. */
    DEVICE void request(int ahead)
    {
        long long wanted = row + (long long)ahead * stride();
        const half_bits *source = from + wanted * N;
        if constexpr (HOLD == bulk) {
            if (lane == 0 && wanted < rows) {
                mbarrier_arrive_expecting(barrier(turn + ahead), ROW_BYTES);
                copy_bulk(buffer(turn + ahead), source, ROW_BYTES, barrier(turn + ahead));
            }
        } else {
            if (wanted < rows)
#pragma unroll UNROLL
                for (int c = 0; c < CHUNKS; c++)
                    if (inside(column(c))) copy_async<VEC * 2>(buffer(turn + ahead) + column(c) * 2, source + column(c), true);
            copy_commit();
        }
    }

    /* Makes the row ready for each(). */
    DEVICE void begin()
    {
        if constexpr (HOLD == registers) {
#pragma unroll
            for (int c = 0; c < CHUNKS; c++)
                if (inside(column(c))) load_global<WORDS, LOAD>(held[c], from + (long long)row * N + column(c));
        } else if constexpr (HOLD == async) {
            request(STAGES - 1);
            copy_wait<STAGES - 1>(); /* each thread reads only what it asked for itself, so no barrier */
        } else if constexpr (HOLD == bulk) {
            meet(); /* the buffer about to be filled has been read by all */
            request(STAGES - 1);
            mbarrier_wait(barrier(turn), turn / STAGES & 1);
        }
    }

    DEVICE void next()
    {
        row += stride();
        turn++;
    }

    /* Calls f(chunk, column, words) for each of this thread's chunks. */
    template <class F> DEVICE void each(F f)
    {
#pragma unroll STEPS
        for (int c = 0; c < CHUNKS; c++) {
            if (!inside(column(c))) continue;
            if constexpr (HOLD == registers) {
                f(c, column(c), held[c]);
            } else {
                word words[WORDS];
                if constexpr (IN_SHARED)
                    load_shared<WORDS>(words, buffer(turn) + column(c) * 2);
                else
                    load_global<WORDS, LOAD>(words, from + (long long)row * N + column(c));
                f(c, column(c), words);
            }
        }
    }

    DEVICE void put(int at, const word *words) { store_global<WORDS, STORE>(to + (long long)row * N + at, words); }

    /* One value of the whole group from one of each thread.  Two sets of partial values take turns, so one barrier is enough. */
    template <class T, class Op> DEVICE T reduce(T value, Op op)
    {
#pragma unroll
        for (int distance = 16; distance > 0; distance /= 2) value = op(value, shuffle_xor(value, distance));
        if constexpr (WARPS > 1) {
            T *slot = (T *)(dynamic_shared + SUMS_AT + (sums * GROUPS + group) * WARPS * 8);
            sums ^= 1;
            if (lane % 32 == 0) slot[lane / 32] = value;
            meet();
            value = slot[lane % WARPS];
#pragma unroll
            for (int distance = WARPS / 2; distance > 0; distance /= 2) value = op(value, shuffle_xor(value, distance));
        }
        return value;
    }
};

/* A vector of N halves that every row needs: read for each row through the caches, or kept in registers. */
struct row_weights {
    const half_bits *from;
    word held[WEIGHTS == registers ? CHUNKS : 1][WORDS];

    DEVICE row_weights(const half_bits *w, const row_pass &pass) : from(w)
    {
        if constexpr (WEIGHTS == registers)
#pragma unroll
            for (int c = 0; c < CHUNKS; c++)
                if (pass.inside(pass.column(c))) load_global<WORDS, plain>(held[c], w + pass.column(c));
    }

    DEVICE void get(int chunk, int at, word *words) const
    {
        if constexpr (WEIGHTS == registers)
            for (int i = 0; i < WORDS; i++) words[i] = held[chunk][i];
        else
            load_global<WORDS, plain>(words, from + at);
    }
};

#endif
