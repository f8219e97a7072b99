/* row_pass.cuh: how rms_norm, layer_norm and softmax go through a matrix of halves, row by row.
 *
 * A block is GROUPS groups of TPR threads; each group takes a row at a time, VEC halves a load, rows BLOCKS * GROUPS apart (BLOCKS == 0: one
 * row only).  A row waits for its second pass in registers, in shared memory (filled by cp.async or by the copy engine), or is read again
 * through the caches; with STAGES above 1 the next rows are on their way meanwhile.  STORE bulk: results take their row's place in shared
 * memory, and the copy engine stores them.  VEC 1 (rows of an odd length): a half fills a whole word, so that sums over words count it
 * COPIES times.  The parameters and N come as macros. */
#ifndef HONE_ROW_PASS
#define HONE_ROW_PASS
#include "half_ptx.cuh"

constexpr int WORDS = VEC == 1 ? 1 : VEC / 2, COPIES = VEC == 1 ? 2 : 1, WARPS = TPR / 32, THREADS = TPR * GROUPS;
constexpr int CHUNKS = (N + TPR * VEC - 1) / (TPR * VEC);
constexpr int STEPS = HOLD == registers ? CHUNKS : UNROLL;
constexpr bool IN_SHARED = HOLD == async || HOLD == bulk;
constexpr bool AHEAD = HOLD == registers && STAGES > 1;
constexpr int ROW_BYTES = N * 2;
/* Rows asked for before the one in hand; of the stages, one is being stored if the copy engine does that. */
constexpr int STORING = STORE == bulk && STAGES > 1 ? 1 : 0, LEAD = STAGES - 1 - STORING;
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
    word held[HOLD == registers ? CHUNKS : 1][WORDS], following[AHEAD ? CHUNKS : 1][WORDS];

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
            for (int ahead = 0; ahead < LEAD; ahead++) request(ahead);
        if constexpr (AHEAD) load(following, row);
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
                if constexpr (STORE == bulk) store_bulk_wait<STORING>();
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

    DEVICE void load(word (*to)[WORDS], int wanted) const
    {
        if (wanted >= rows) return;
#pragma unroll
        for (int c = 0; c < CHUNKS; c++)
            if (inside(column(c))) load_halves<VEC, LOAD>(to[c], from + (long long)wanted * N + column(c));
    }

    /* Makes the row ready for each(). */
    DEVICE void begin()
    {
        if constexpr (AHEAD) {
#pragma unroll
            for (int i = 0; i < CHUNKS * WORDS; i++) held[i / WORDS][i % WORDS] = following[i / WORDS][i % WORDS];
            load(following, row + stride());
        } else if constexpr (HOLD == registers) {
            load(held, row);
        } else if constexpr (HOLD == async) {
            if constexpr (STORE == bulk) {
                if (lane == 0) store_bulk_wait<STORING>();
                meet(); /* the buffer about to be filled has been stored */
            }
            request(LEAD);
            copy_wait<LEAD>(); /* each thread reads only what it asked for itself, so no barrier */
        } else if constexpr (HOLD == bulk) {
            if constexpr (STORE != bulk) meet(); /* the buffer about to be filled has been read by all */
            request(LEAD);
            mbarrier_wait(barrier(turn), turn / STAGES & 1);
        }
    }

    /* Done with the row. */
    DEVICE void next()
    {
        if constexpr (STORE == bulk) {
            fence_shared_for_engines();
            meet();
            if (lane == 0) {
                store_bulk(to + (long long)row * N, buffer(turn), ROW_BYTES);
                store_bulk_commit();
            }
        }
        row += stride();
        turn++;
    }

    /* Done with all rows. */
    DEVICE void end() const
    {
        if constexpr (STORE == bulk)
            if (lane == 0) store_bulk_wait<0>();
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
                    load_halves<VEC, LOAD>(words, from + (long long)row * N + column(c));
                f(c, column(c), words);
            }
        }
    }

    DEVICE void put(int at, const word *words)
    {
        if constexpr (STORE == bulk)
            store_shared<WORDS>(buffer(turn) + at * 2, words);
        else
            store_halves<VEC, STORE>(to + (long long)row * N + at, words);
    }

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

/* A vector of N halves that every row needs: read for each row through the caches, or asked for before the first row and kept in registers. */
struct row_weights {
    const half_bits *from;
    word held[WEIGHTS == registers ? CHUNKS : 1][WORDS];

    DEVICE row_weights(const half_bits *w, const row_pass &pass) : from(w)
    {
        if constexpr (WEIGHTS == registers)
#pragma unroll
            for (int c = 0; c < CHUNKS; c++)
                if (pass.inside(pass.column(c))) load_halves<VEC, plain>(held[c], w + pass.column(c));
    }

    DEVICE void get(int chunk, int at, word *words) const
    {
        if constexpr (WEIGHTS == registers)
            for (int i = 0; i < WORDS; i++) words[i] = held[chunk][i];
        else
            load_halves<VEC, plain>(words, from + at);
    }
};

#endif
