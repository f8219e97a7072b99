/* matmul.cu: C = A B, halves in memory, row-major, floats in between, on the tensor cores by mma.sync.
 *
 * A block computes a tile of BM x BN with warps of WM x WN.  cp.async fills STAGES stages of BK columns of A and rows of B; ldmatrix reads
 * fragments, FRAGS sets of them.  LAYOUT keeps ldmatrix free of bank conflicts by swizzling or by longer rows.  Tiles are visited in bands of
 * BAND rows of tiles, so that blocks that run together share A and B in the cache.  SPLIT_K blocks of a cluster share the depth and add up
 * through distributed shared memory.  M, N and K come as macros; 8 divides N and K. */
#include "half_ptx.cuh"

constexpr int WARPS_ACROSS = BN / WN, THREADS = BM / WM * WARPS_ACROSS * 32;
constexpr int TILES_DOWN = (M + BM - 1) / BM, TILES_ACROSS = (N + BN - 1) / BN;
constexpr int DEPTH = (K + BK * SPLIT_K - 1) / (BK * SPLIT_K); /* steps of BK for one block */
constexpr int EXTRA = LAYOUT == padded ? 16 : 0;
constexpr int A_PITCH = BK * 2 + EXTRA, B_PITCH = BN * 2 + EXTRA, A_BYTES = BM * A_PITCH, STAGE_BYTES = A_BYTES + BK * B_PITCH;
/* Loops of a tile are unrolled with their number of turns: a loop of one turn would pass a plain pragma on to the loop around it, whose
 * hundreds of steps take ten seconds to compile. */
constexpr int MT = WM / 16, NT = WN / 8, NT2 = NT / 2, KT = BK / 16;

/* Offset in a tile of chunk `chunk` (16 bytes) of a row of COLUMNS halves; eight rows one below the other are in different banks. */
template <int COLUMNS, int PITCH> DEVICE int place(int row, int chunk)
{
    constexpr int PER_ROW = COLUMNS / 8, MASK = (PER_ROW < 8 ? PER_ROW : 8) - 1;
    constexpr int SHIFT = PER_ROW >= 8 ? 0 : PER_ROW == 4 ? 1 : 2;
    return row * PITCH + (LAYOUT == xor_rows ? chunk ^ (row >> SHIFT & MASK) : chunk) * 16;
}

/* The address `chunks` chunks on from one whose chunk has none of the bits of `chunks`; swizzled tiles are aligned to their rows. */
DEVICE word chunks_on(word address, int chunks)
{
    return LAYOUT == xor_rows ? address ^ chunks * 16 : address + chunks * 16;
}

struct block_place {
    int row, column, step; /* of C, and the first depth step */
    DEVICE block_place()
    {
        int tile = blockIdx.x, band = tile / (BAND * TILES_ACROSS), height = min(BAND, TILES_DOWN - band * BAND);
        tile -= band * BAND * TILES_ACROSS;
        row = (band * BAND + tile % height) * BM;
        column = tile / height * BN;
        step = blockIdx.z * DEPTH;
    }
};

/* Copies ROWS x COLUMNS halves from (row, column) of a matrix of HEIGHT x WIDTH; what is outside is zero. */
template <int ROWS, int COLUMNS, int PITCH, int HEIGHT, int WIDTH, bool WHOLE_ROWS, bool WHOLE_COLUMNS>
DEVICE void request_part(word to, const half_bits *matrix, int row, int column)
{
    constexpr int PER_ROW = COLUMNS / 8, STEP = THREADS / PER_ROW;
    static_assert(THREADS % PER_ROW == 0 && ROWS % STEP == 0, "each thread copies the same number of chunks");
    int r = threadIdx.x / PER_ROW, chunk = threadIdx.x % PER_ROW;
    const half_bits *from = matrix + (long long)(row + r) * WIDTH + column + chunk * 8;
#pragma unroll
    for (int below = 0; below < ROWS; below += STEP) {
        bool valid = (WHOLE_ROWS || row + r + below < HEIGHT) && (WHOLE_COLUMNS || column + chunk * 8 < WIDTH);
        copy_async<16>(to + place<COLUMNS, PITCH>(r + below, chunk), valid ? from + (long long)below * WIDTH : matrix, valid);
    }
}

DEVICE void request_stage(const half_bits *a, const half_bits *b, const block_place &at, int step)
{
    constexpr bool WHOLE_K = K % (BK * SPLIT_K) == 0;
    word stage = shared_base() + step % STAGES * STAGE_BYTES;
    int depth = (at.step + step) * BK;
    if (step < DEPTH) {
        request_part<BM, BK, A_PITCH, M, K, M % BM == 0, WHOLE_K>(stage, a, at.row, depth);
        request_part<BK, BN, B_PITCH, K, N, WHOLE_K, N % BN == 0>(stage + A_BYTES, b, depth, at.column);
    }
    copy_commit();
}

/* Where a warp's lane reads its fragments in a stage. */
struct reading_place {
    int a, b;
    DEVICE reading_place(int row, int column)
    {
        int lane = threadIdx.x % 32;
        a = place<BK, A_PITCH>(row + lane % 16, lane / 16);
        b = A_BYTES + place<BN, B_PITCH>(lane % 16, column / 8 + lane / 16);
    }
};

struct fragments {
    word a[MT][4], b[NT / 2][4]; /* b: two blocks of 8 columns together */

    /* Depth k (of KT) of stage `step`. */
    DEVICE void load(int step, int k, const reading_place &at)
    {
        word stage = shared_base() + step % STAGES * STAGE_BYTES, from_a = chunks_on(stage + at.a, k * 2), from_b = stage + at.b;
#pragma unroll MT
        for (int m = 0; m < MT; m++) load_matrices(a[m], from_a + m * 16 * A_PITCH);
#pragma unroll NT2
        for (int n = 0; n < NT; n += 2) load_matrices_transposed(b[n / 2], chunks_on(from_b, n) + k * 16 * B_PITCH);
    }
};

DEVICE void multiply(float (&sum)[MT][NT][4], const fragments &f)
{
#pragma unroll MT
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int i = 0; i < NT; i++) {
            int n = m % 2 ? NT - 1 - i : i; /* back and forth, so that the fragment just used is used again */
            multiply_add(sum[m][n], f.a[m], f.b[n / 2] + n % 2 * 2);
        }
}

/* Fragments of one depth at a time: load, multiply, load, ... */
DEVICE void loop_single(float (&sum)[MT][NT][4], const half_bits *a, const half_bits *b, const block_place &at, const reading_place &from)
{
    for (int step = 0; step < DEPTH; step++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        request_stage(a, b, at, step + STAGES - 1);
#pragma unroll KT
        for (int k = 0; k < KT; k++) {
            fragments f;
            f.load(step, k, from);
            multiply(sum, f);
        }
    }
}

/* The next depth's fragments are loaded while this one's are multiplied, across stages too. */
DEVICE void loop_double(float (&sum)[MT][NT][4], const half_bits *a, const half_bits *b, const block_place &at, const reading_place &from)
{
    fragments f[2];
    copy_wait<STAGES - 2>();
    __syncthreads();
    f[0].load(0, 0, from);
    for (int step = 0; step < DEPTH; step++) {
#pragma unroll KT
        for (int k = 0; k < KT; k++) {
            if (k == KT - 1) {
                copy_wait<STAGES - 2>();
                __syncthreads();
            }
            f[(k + 1) % 2].load(k == KT - 1 ? step + 1 : step, (k + 1) % KT, from);
            if (k == 0) request_stage(a, b, at, step + STAGES - 1);
            multiply(sum, f[k % 2]);
        }
    }
}

/* ---- the tile to memory ---- */

DEVICE bool in_c(int row, int column)
{
    return (M % BM == 0 || row < M) && (N % BN == 0 || column < N);
}

DEVICE void write_direct(half_bits *c, const float (&sum)[MT][NT][4], const block_place &at, int row, int column)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int r = at.row + row + m * 16 + half * 8 + lane / 4, j = at.column + column + n * 8 + lane % 4 * 2;
                word pair = pack(sum[m][n][half * 2], sum[m][n][half * 2 + 1]);
                if (in_c(r, j)) store_global<1, plain>(c + (long long)r * N + j, &pair);
            }
}

/* Through shared memory, so that every store has 16 bytes and every line of memory is written once. */
DEVICE void write_staged(half_bits *c, const float (&sum)[MT][NT][4], const block_place &at, int row, int column)
{
    constexpr int PITCH = BN * 2 + 16;
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                *(word *)(dynamic_shared + (row + m * 16 + half * 8 + lane / 4) * PITCH + (column + n * 8 + lane % 4 * 2) * 2) =
                    pack(sum[m][n][half * 2], sum[m][n][half * 2 + 1]);
    __syncthreads();
#pragma unroll 4
    for (int index = threadIdx.x; index < BM * BN / 8; index += THREADS) {
        int r = index / (BN / 8), chunk = index % (BN / 8);
        word out[4];
        load_shared<4>(out, shared_base() + r * PITCH + chunk * 16);
        if (in_c(at.row + r, at.column + chunk * 8)) store_global<4, plain>(c + (long long)(at.row + r) * N + at.column + chunk * 8, out);
    }
}

/* Each block of the cluster leaves its sums in its shared memory and adds up its share of the rows. */
DEVICE void write_split(half_bits *c, const float (&sum)[MT][NT][4], const block_place &at, int row, int column)
{
    constexpr int PITCH = BN + 4;
    float *mine = (float *)dynamic_shared;
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                mine[(row + m * 16 + i / 2 * 8 + lane / 4) * PITCH + column + n * 8 + lane % 4 * 2 + i % 2] = sum[m][n][i];
    cluster_barrier();
    for (int index = threadIdx.x; index < BM / SPLIT_K * BN / 2; index += THREADS) {
        int r = blockIdx.z * (BM / SPLIT_K) + index / (BN / 2), j = index % (BN / 2) * 2;
        float low = 0.0f, high = 0.0f;
#pragma unroll
        for (int peer = 0; peer < SPLIT_K; peer++) {
            low += load_peer(mine + r * PITCH + j, peer);
            high += load_peer(mine + r * PITCH + j + 1, peer);
        }
        word pair = pack(low, high);
        if (in_c(at.row + r, at.column + j)) store_global<1, plain>(c + (long long)(at.row + r) * N + at.column + j, &pair);
    }
    cluster_barrier(); /* no block may end while another reads its sums */
}

extern "C" __global__ __launch_bounds__(THREADS, MINB) void matmul(const half_bits *__restrict__ a, const half_bits *__restrict__ b,
                                                                    half_bits *__restrict__ c)
{
    block_place at;
    int warp = threadIdx.x / 32, row = warp / WARPS_ACROSS * WM, column = warp % WARPS_ACROSS * WN;
    float sum[MT][NT][4];
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum[m][n][i] = 0.0f;
    for (int ahead = 0; ahead < STAGES - 1; ahead++) request_stage(a, b, at, ahead);
    if constexpr (FRAGS == 2)
        loop_double(sum, a, b, at, reading_place(row, column));
    else
        loop_single(sum, a, b, at, reading_place(row, column));
    copy_wait<0>();
    __syncthreads(); /* the stages are free for other use */
    if constexpr (SPLIT_K > 1)
        write_split(c, sum, at, row, column);
    else if constexpr (EPILOGUE == staged)
        write_staged(c, sum, at, row, column);
    else
        write_direct(c, sum, at, row, column);
}
