/* transpose.cu: y[j][i] = x[i][j] for halves, tile by tile of TR x TC through shared memory.
 *
 * METHOD gather: LV halves a load go to shared memory in words, rows PAD halves longer than the tile; columns of SV halves are gathered from
 * there one by one.  METHOD matrix: 16 bytes a load by cp.async, STAGES tiles deep; 8 x 8 blocks are turned by ldmatrix, put into a second
 * tile by stmatrix and leave 16 bytes a store; both tiles are swizzled.  Any sizes that LV and SV (matrix: 8) divide. */
#include "half_ptx.cuh"

constexpr int TILES_DOWN = (ROWS + TR - 1) / TR, TILES_ACROSS = (COLS + TC - 1) / TC, TILES = TILES_DOWN * TILES_ACROSS;
constexpr int IN_BYTES = TR * TC * 2; /* one stage of METHOD matrix */

struct tile_place {
    int row, column;
    DEVICE explicit tile_place(int tile)
    {
        if constexpr (ACROSS) {
            row = tile / TILES_ACROSS * TR;
            column = tile % TILES_ACROSS * TC;
        } else {
            row = tile % TILES_DOWN * TR;
            column = tile / TILES_DOWN * TC;
        }
    }
    DEVICE bool has(int r, int c) const { return (ROWS % TR == 0 || row + r < ROWS) && (COLS % TC == 0 || column + c < COLS); }
};

/* ---- METHOD gather ---- */

DEVICE void transpose_gather(const half_bits *x, half_bits *y, const tile_place &at)
{
    constexpr int PITCH = TC + PAD, LOADS = TR * TC / LV, STORES = TR * TC / SV;
    half_bits *tile = (half_bits *)dynamic_shared;
    word words[(LOADS + THREADS - 1) / THREADS][LV / 2];
#pragma unroll
    for (int i = 0; i < (LOADS + THREADS - 1) / THREADS; i++) {
        int index = i * THREADS + threadIdx.x, r = index / (TC / LV), c = index % (TC / LV) * LV;
        if ((LOADS % THREADS == 0 || index < LOADS) && at.has(r, c))
            load_global<LV / 2, LOAD>(words[i], x + (long long)(at.row + r) * COLS + at.column + c);
    }
#pragma unroll
    for (int i = 0; i < (LOADS + THREADS - 1) / THREADS; i++) {
        int index = i * THREADS + threadIdx.x, r = index / (TC / LV), c = index % (TC / LV) * LV;
        if (LOADS % THREADS == 0 || index < LOADS)
#pragma unroll
            for (int w = 0; w < LV / 2; w++) *(word *)(tile + r * PITCH + c + 2 * w) = words[i][w];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < (STORES + THREADS - 1) / THREADS; i++) {
        int index = i * THREADS + threadIdx.x, r = index % (TR / SV) * SV, c = index / (TR / SV);
        if ((STORES % THREADS != 0 && index >= STORES) || !at.has(r, c)) continue;
        word out[SV / 2];
#pragma unroll
        for (int w = 0; w < SV / 2; w++) out[w] = tile[(r + 2 * w) * PITCH + c] | (word)tile[(r + 2 * w + 1) * PITCH + c] << 16;
        store_global<SV / 2, STORE>(y + (long long)(at.column + c) * ROWS + at.row + r, out);
    }
    if (BLOCKS > 0) __syncthreads();
}

/* ---- METHOD matrix ---- */

/* Chunk of 16 bytes number `chunk` of row `row`, rows of `columns` halves; eight rows one below the other lie in different banks. */
template <int COLUMNS> DEVICE word swizzled(word tile, int row, int chunk)
{
    constexpr int PER_ROW = COLUMNS / 8, MASK = (PER_ROW < 8 ? PER_ROW : 8) - 1, SHIFT = PER_ROW < 8 ? (PER_ROW == 4 ? 1 : 2) : 0;
    return tile + (row * PER_ROW + (chunk ^ (row >> SHIFT & MASK))) * 16;
}

DEVICE void request_tile(const half_bits *x, int tile, int stage)
{
    if (tile < TILES) {
        tile_place at(tile);
#pragma unroll
        for (int i = 0; i < (TR * TC / 8 + THREADS - 1) / THREADS; i++) {
            int index = i * THREADS + threadIdx.x, r = index / (TC / 8), chunk = index % (TC / 8);
            if (TR * TC / 8 % THREADS != 0 && index >= TR * TC / 8) break;
            bool valid = at.has(r, chunk * 8);
            copy_async<16>(swizzled<TC>(shared_base() + stage * IN_BYTES, r, chunk),
                           valid ? x + (long long)(at.row + r) * COLS + at.column + chunk * 8 : x, valid);
        }
    }
    copy_commit();
}

DEVICE void transpose_matrix(const half_bits *x, half_bits *y)
{
    word turned = shared_base() + STAGES * IN_BYTES;
    constexpr int BLOCKS_OF_32 = TR / 32 * (TC / 8); /* units of 32 rows and 8 columns, one ldmatrix each */
    for (int ahead = 0; ahead < STAGES - 1; ahead++) request_tile(x, blockIdx.x + ahead * gridDim.x, ahead);
    int turn = 0;
    for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x, turn++) {
        request_tile(x, tile + (STAGES - 1) * gridDim.x, (turn + STAGES - 1) % STAGES);
        copy_wait<STAGES - 1>();
        __syncthreads();
        tile_place at(tile);
        word in = shared_base() + turn % STAGES * IN_BYTES;
        int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < (BLOCKS_OF_32 + THREADS / 32 - 1) / (THREADS / 32); i++) {
            int unit = i * (THREADS / 32) + threadIdx.x / 32;
            if (BLOCKS_OF_32 % (THREADS / 32) != 0 && unit >= BLOCKS_OF_32) break;
            int r = unit % (TR / 32) * 32, chunk = unit / (TR / 32);
            word block[4];
            load_matrices_transposed(block, swizzled<TC>(in, r + lane, chunk));
            store_matrices(swizzled<TR>(turned, chunk * 8 + lane % 8, r / 8 + lane / 8), block);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < (TR * TC / 8 + THREADS - 1) / THREADS; i++) {
            int index = i * THREADS + threadIdx.x, chunk = index % (TR / 8), c = index / (TR / 8);
            if (TR * TC / 8 % THREADS != 0 && index >= TR * TC / 8) break;
            if (!at.has(chunk * 8, c)) continue;
            word out[4];
            load_shared<4>(out, swizzled<TR>(turned, c, chunk));
            store_global<4, STORE>(y + (long long)(at.column + c) * ROWS + at.row + chunk * 8, out);
        }
    }
}

extern "C" __global__ __launch_bounds__(THREADS, MINB) void transpose(const half_bits *__restrict__ x, half_bits *__restrict__ y)
{
    if constexpr (METHOD == matrix)
        transpose_matrix(x, y);
    else
        for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x) transpose_gather(x, y, tile_place(tile));
}
