/* matmul_wgmma.cu: C = A B, halves in memory, row-major, floats in between, on Hopper's tensor cores by wgmma (sm_90a).
 *
 * BLOCKS blocks stay and take tiles of BM x BN in turn.  One warpgroup of four warps fetches: the copy engine (FETCH tma) or cp.async (FETCH
 * async) fills STAGES stages of BK columns of A and rows of B; CONSUMERS warpgroups multiply, MT * 64 rows of the tile each.  mbarriers say
 * which stage is full and which is free.  Shared memory holds rows of 128 bytes, swizzled, in parts of 64 halves: A as BM rows of depth, B
 * as 64 rows of columns.  IN_FLIGHT groups of products are under way while the next stage is awaited.  Tiles are visited in bands of BAND rows
 * of tiles.  M, N and K come as macros; 8 divides N and K. */
#include "wgmma_ptx.cuh"

constexpr int BM = CONSUMERS * MT * 64, THREADS = (CONSUMERS + 1) * 128, PARTS = BK / 64;
constexpr int TILES_DOWN = (M + BM - 1) / BM, TILES_ACROSS = (N + BN - 1) / BN, TILES = TILES_DOWN * TILES_ACROSS, DEPTH = (K + BK - 1) / BK;
constexpr int A_PART = BM * 128, B_BOX = 64 * 128, B_PART = BN / 64 * B_BOX, STAGE_BYTES = PARTS * (A_PART + B_PART);
/* Shared memory: the stages, two drafts of tensor maps (1024 bytes), then the barriers. */
constexpr int DRAFTS_AT = STAGES * STAGE_BYTES, BARRIERS_AT = DRAFTS_AT + 1024;
/* 65536 registers: what the fetching warpgroup gives up, the others get. */
constexpr int FETCH_REGISTERS = CONSUMERS == 3 ? 32 : 40, MULTIPLY_REGISTERS = CONSUMERS == 3 ? 160 : CONSUMERS == 2 ? 232 : 240;

__device__ __align__(128) unsigned char maps[BLOCKS][2][128];

DEVICE word part_a(int stage, int part) { return shared_base() + stage * STAGE_BYTES + part * (A_PART + B_PART); }
DEVICE word part_b(int stage, int part) { return part_a(stage, part) + A_PART; }
DEVICE word full(int stage) { return shared_base() + BARRIERS_AT + stage * 8; }
DEVICE word empty(int stage) { return full(STAGES) + stage * 8; }

/* Where in the ring of stages a warp is. */
struct ring {
    int stage = 0;
    word parity = 0;
    DEVICE void next()
    {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};

DEVICE void tile_place(int tile, int &row, int &column)
{
    int band = tile / (BAND * TILES_ACROSS), height = min(BAND, TILES_DOWN - band * BAND);
    tile -= band * BAND * TILES_ACROSS;
    row = (band * BAND + tile % height) * BM;
    column = tile / height * BN;
}

/* ---- fetching ---- */

DEVICE void fetch_by_engine()
{
    if (threadIdx.x != 0) return;
    ring at;
    for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x) {
        int row, column;
        tile_place(tile, row, column);
        for (int step = 0; step < DEPTH; step++, at.next()) {
            mbarrier_wait(empty(at.stage), at.parity ^ 1);
            mbarrier_arrive_expecting(full(at.stage), STAGE_BYTES);
#pragma unroll
            for (int part = 0; part < PARTS; part++) {
                int depth = step * BK + part * 64;
                copy_box(part_a(at.stage, part), maps[blockIdx.x][0], row, depth, full(at.stage));
#pragma unroll
                for (int box = 0; box < BN / 64; box++)
                    copy_box(part_b(at.stage, part) + box * B_BOX, maps[blockIdx.x][1], depth, column + box * 64, full(at.stage));
            }
        }
    }
}

/* One part of 64 halves a row: ROWS rows from (row, column) of a matrix of HEIGHT x WIDTH, by all 128 threads, 16 rows at a time. */
template <int ROWS, int HEIGHT, int WIDTH> DEVICE void fetch_part(word to, const half_bits *matrix, int row, int column)
{
    int r = threadIdx.x / 8, chunk = threadIdx.x % 8;
    const half_bits *from = matrix + (long long)(row + r) * WIDTH + column + chunk * 8;
    to += r * 128 + (chunk ^ (r & 7)) * 16;
#pragma unroll
    for (int below = 0; below < ROWS; below += 16) {
        bool valid = (HEIGHT % ROWS == 0 || row + r + below < HEIGHT) && (WIDTH % 64 == 0 || column + chunk * 8 < WIDTH);
        copy_async<16>(to + below * 128, valid ? from + below * WIDTH : matrix, valid);
    }
}

DEVICE void fetch_by_threads(const half_bits *a, const half_bits *b)
{
    /* Stages under way before one is said to be full.  The multiplying warpgroups keep IN_FLIGHT stages until the next one is full, so one more under
     * way here and each would wait for the other. */
    constexpr int BEHIND = STAGES - 1 - IN_FLIGHT;
    ring at, ready;
    int asked = 0;
    for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x) {
        int row, column;
        tile_place(tile, row, column);
        for (int step = 0; step < DEPTH; step++, at.next()) {
            mbarrier_wait(empty(at.stage), at.parity ^ 1);
#pragma unroll
            for (int part = 0; part < PARTS; part++) {
                int depth = step * BK + part * 64;
                fetch_part<BM, M, K>(part_a(at.stage, part), a, row, depth);
#pragma unroll
                for (int box = 0; box < BN / 64; box++) fetch_part<64, K, N>(part_b(at.stage, part) + box * B_BOX, b, depth, column + box * 64);
            }
            copy_commit();
            if (++asked > BEHIND) {
                copy_wait<BEHIND>();
                fence_shared_for_engines();
                mbarrier_arrive(full(ready.stage));
                ready.next();
                asked--;
            }
        }
    }
    copy_wait<0>();
    fence_shared_for_engines();
    for (; asked > 0; asked--, ready.next()) mbarrier_arrive(full(ready.stage));
}

/* ---- multiplying ---- */

/* Rows of a warpgroup's 64 x BN sums: thread t has, in columns 8 j + t % 4 * 2 (and + 1), d[4 j] (and + 1) of row t / 4 % 8 + t / 32 * 16 and
 * d[4 j + 2] (and + 3) of the row eight below. */
DEVICE void write_direct(half_bits *c, const float *d, int row, int column, int half)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < BN / 8; j++) {
        int at = column + j * 8 + lane % 4 * 2;
        word pair = pack(d[4 * j + half * 2], d[4 * j + half * 2 + 1]);
        if ((M % BM == 0 || row < M) && (N % BN == 0 || at < N)) store_global<1, plain>(c + (long long)row * N + at, &pair);
    }
}

/* The four threads of a row exchange what they have, so that each gets 8 columns and stores 16 bytes. */
DEVICE void write_shuffled(half_bits *c, const float *d, int row, int column, int half)
{
    int lane = threadIdx.x % 32, mine = lane % 4;
#pragma unroll
    for (int j = 0; j < BN / 8; j += 4) {
        word have[4], out[4];
#pragma unroll
        for (int i = 0; i < 4; i++) have[i] = pack(d[4 * (j + i) + half * 2], d[4 * (j + i) + half * 2 + 1]);
        /* In round r each thread sends what the thread r away wants; the indexes are selected, since registers have no addresses. */
#pragma unroll
        for (int r = 0; r < 4; r++) {
            int partner = mine ^ r;
            word send = partner == 0 ? have[0] : partner == 1 ? have[1] : partner == 2 ? have[2] : have[3];
            word got = __shfl_xor_sync(0xffffffffu, send, r);
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (partner == i) out[i] = got;
        }
        int at = column + (j + mine) * 8;
        if ((M % BM == 0 || row < M) && (N % BN == 0 || at < N)) store_global<4, plain>(c + (long long)row * N + at, out);
    }
}

DEVICE void multiply_tiles(half_bits *c, int group)
{
    ring at, held; /* held: the oldest stage whose products may still be under way */
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x) {
        float d[MT][BN / 2];
        int row, column, pending = 0;
        tile_place(tile, row, column);
        for (int step = 0; step < DEPTH; step++, at.next()) {
            mbarrier_wait(full(at.stage), at.parity);
            warpgroup_begin();
#pragma unroll
            for (int part = 0; part < PARTS; part++)
#pragma unroll
                for (int k = 0; k < 4; k++)
#pragma unroll
                    for (int m = 0; m < MT; m++) {
                        address64 a = tile_descriptor(part_a(at.stage, part) + (group * MT + m) * 64 * 128 + k * 32, 16, 1024);
                        address64 b = tile_descriptor(part_b(at.stage, part) + k * 16 * 128, B_BOX, 1024);
                        warpgroup_product<BN>::add(d[m], a, b, step > 0 || part > 0 || k > 0);
                    }
            warpgroup_commit();
            warpgroup_wait<IN_FLIGHT>();
            if (pending == IN_FLIGHT) {
                if (lane == 0) mbarrier_arrive(empty(held.stage));
                held.next();
            } else {
                pending++;
            }
        }
        warpgroup_wait<0>();
        for (; pending > 0; pending--, held.next())
            if (lane == 0) mbarrier_arrive(empty(held.stage));
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int r = row + (group * MT + m) * 64 + warp * 16 + half * 8 + lane / 4;
                if constexpr (EPILOGUE == shuffled)
                    write_shuffled(c, d[m], r, column, half);
                else
                    write_direct(c, d[m], r, column, half);
            }
    }
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void matmul_wgmma(const half_bits *__restrict__ a, const half_bits *__restrict__ b,
                                                                       half_bits *__restrict__ c)
{
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            mbarrier_init(full(s), FETCH == tma ? 1 : 128);
            mbarrier_init(empty(s), CONSUMERS * 4); /* each warp says that its products have read the stage */
        }
        mbarrier_init_done();
    }
    if (FETCH == tma && threadIdx.x < 32) {
        tensor_map_build(maps[blockIdx.x][0], dynamic_shared + DRAFTS_AT, a, M, K, BM);
        tensor_map_build(maps[blockIdx.x][1], dynamic_shared + DRAFTS_AT + 128, b, K, N, 64);
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        registers_down<FETCH_REGISTERS>();
        if constexpr (FETCH == tma)
            fetch_by_engine();
        else
            fetch_by_threads(a, b);
    } else {
        registers_up<MULTIPLY_REGISTERS>();
        multiply_tiles(c, threadIdx.x / 128 - 1);
    }
}
