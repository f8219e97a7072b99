/* transpose.cu: y[j][i] = x[i][j] for halves, tile by tile of TR x TC through shared memory.
 *
 * METHOD gather: LV halves a load go to shared memory in words, rows PAD halves longer than the tile; columns of SV halves are gathered from
 * there one by one.  METHOD matrix: 16 bytes a load by cp.async, STAGES tiles deep; 8 x 8 blocks are turned by ldmatrix, put into a second
 * tile by stmatrix and leave 16 bytes a store; both tiles are swizzled.  METHOD engine: the same turning, but the copy engine fetches and
 * stores the tiles' rows, which are 16 bytes longer in shared memory in place of a swizzle.  Any sizes that LV and SV (matrix, engine: 8)
 * divide; tiles are taken in bands of BAND rows (ACROSS) or columns of tiles. */
#include "half_ptx.cuh"

constexpr int TILES_DOWN = (ROWS + TR - 1) / TR, TILES_ACROSS = (COLS + TC - 1) / TC, TILES = TILES_DOWN * TILES_ACROSS;
constexpr int IN_BYTES = TR * TC * 2; /* one stage of METHOD matrix */
constexpr int LOAD_WORDS = LV == 1 ? 1 : LV / 2, STORE_WORDS = SV == 1 ? 1 : SV / 2;

/* Tile `tile` of LINES x LENGTH tiles, taken in bands of BAND lines. */
template <int LINES, int LENGTH> DEVICE void place_in_bands(int tile, int &line, int &at)
{
    int first = tile / (BAND * LENGTH) * BAND, inside = tile % (BAND * LENGTH);
    int height = LINES % BAND == 0 ? BAND : min(BAND, LINES - first);
    line = first + inside % height;
    at = inside / height;
}

struct tile_place {
    int row, column;
    DEVICE explicit tile_place(int tile)
    {
        if constexpr (ACROSS)
            place_in_bands<TILES_DOWN, TILES_ACROSS>(tile, row, column);
        else
            place_in_bands<TILES_ACROSS, TILES_DOWN>(tile, column, row);
        row *= TR;
        column *= TC;
    }
    DEVICE bool has(int r, int c) const { return (ROWS % TR == 0 || row + r < ROWS) && (COLS % TC == 0 || column + c < COLS); }
};

/* ---- METHOD gather ---- */

DEVICE void transpose_gather(const half_bits *x, half_bits *y, const tile_place &at)
{
    constexpr int PITCH = TC + PAD, LOADS = TR * TC / LV, STORES = TR * TC / SV;
    half_bits *tile = (half_bits *)dynamic_shared;
    word words[(LOADS + THREADS - 1) / THREADS][LOAD_WORDS];
#pragma unroll
    for (int i = 0; i < (LOADS + THREADS - 1) / THREADS; i++) {
        int index = i * THREADS + threadIdx.x, r = index / (TC / LV), c = index % (TC / LV) * LV;
        if ((LOADS % THREADS == 0 || index < LOADS) && at.has(r, c))
            load_halves<LV, LOAD>(words[i], x + (long long)(at.row + r) * COLS + at.column + c);
    }
#pragma unroll
    for (int i = 0; i < (LOADS + THREADS - 1) / THREADS; i++) {
        int index = i * THREADS + threadIdx.x, r = index / (TC / LV), c = index % (TC / LV) * LV;
        if (LOADS % THREADS != 0 && index >= LOADS) continue;
        if constexpr (LV == 1)
            tile[r * PITCH + c] = (half_bits)words[i][0];
        else
#pragma unroll
            for (int w = 0; w < LOAD_WORDS; w++) *(word *)(tile + r * PITCH + c + 2 * w) = words[i][w];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < (STORES + THREADS - 1) / THREADS; i++) {
        int index = i * THREADS + threadIdx.x, r = index % (TR / SV) * SV, c = index / (TR / SV);
        if ((STORES % THREADS != 0 && index >= STORES) || !at.has(r, c)) continue;
        word out[STORE_WORDS];
        out[0] = tile[r * PITCH + c];
        if constexpr (SV > 1)
#pragma unroll
            for (int w = 0; w < STORE_WORDS; w++) out[w] = tile[(r + 2 * w) * PITCH + c] | (word)tile[(r + 2 * w + 1) * PITCH + c] << 16;
        store_halves<SV, STORE>(y + (long long)(at.column + c) * ROWS + at.row + r, out);
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
            copy_async<16, LOAD>(swizzled<TC>(shared_base() + stage * IN_BYTES, r, chunk),
                           valid ? x + (long long)(at.row + r) * COLS + at.column + chunk * 8 : x, valid);
        }
    }
    copy_commit();
}

/* Turns a tile in shared memory: from(row, chunk) and to(row, chunk) say where 16 bytes of its rows and of the turned tile's rows are. */
template <class From, class To> DEVICE void turn_tile(From from, To to)
{
    constexpr int BLOCKS_OF_32 = TR / 32 * (TC / 8); /* units of 32 rows and 8 columns, one ldmatrix each */
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < (BLOCKS_OF_32 + THREADS / 32 - 1) / (THREADS / 32); i++) {
        int unit = i * (THREADS / 32) + threadIdx.x / 32;
        if (BLOCKS_OF_32 % (THREADS / 32) != 0 && unit >= BLOCKS_OF_32) break;
        int r = unit % (TR / 32) * 32, chunk = unit / (TR / 32);
        word block[4];
        load_matrices_transposed(block, from(r + lane, chunk));
        store_matrices(to(chunk * 8 + lane % 8, r / 8 + lane / 8), block);
    }
}

DEVICE void transpose_matrix(const half_bits *x, half_bits *y)
{
    word turned = shared_base() + STAGES * IN_BYTES;
    for (int ahead = 0; ahead < STAGES - 1; ahead++) request_tile(x, blockIdx.x + ahead * gridDim.x, ahead);
    int turn = 0;
    for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x, turn++) {
        request_tile(x, tile + (STAGES - 1) * gridDim.x, (turn + STAGES - 1) % STAGES);
        copy_wait<STAGES - 1>();
        __syncthreads();
        tile_place at(tile);
        word in = shared_base() + turn % STAGES * IN_BYTES;
        turn_tile([=](int r, int chunk) { return swizzled<TC>(in, r, chunk); }, [=](int r, int chunk) { return swizzled<TR>(turned, r, chunk); });
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

/* ---- METHOD engine ---- */

/* Shared memory: STAGES tiles as they come, then the turned tiles, two if the block stays, then a barrier for each stage. */
constexpr int IN_PITCH = TC * 2 + 16, OUT_PITCH = TR * 2 + 16, TURNED = BLOCKS > 0 ? 2 : 1;
constexpr int TURNED_AT = STAGES * TR * IN_PITCH, BARRIERS_AT = TURNED_AT + TURNED * TC * OUT_PITCH;

DEVICE word arrived(int turn) { return shared_base() + BARRIERS_AT + turn % STAGES * 8; }

/* Each thread asks for rows of its own; thread 0 says how many bytes all of them have. */
DEVICE void fetch_tile(const half_bits *x, int tile, int turn)
{
    if (tile >= TILES) return;
    tile_place at(tile);
    int rows = ROWS % TR == 0 ? TR : min(TR, ROWS - at.row), bytes = (COLS % TC == 0 ? TC : min(TC, COLS - at.column)) * 2;
    if (threadIdx.x == 0) mbarrier_arrive_expecting(arrived(turn), rows * bytes);
    for (int r = threadIdx.x; r < rows; r += THREADS)
        copy_bulk(shared_base() + (turn % STAGES * TR + r) * IN_PITCH, x + (long long)(at.row + r) * COLS + at.column, bytes, arrived(turn));
}

DEVICE void store_tile(half_bits *y, const tile_place &at, word turned)
{
    int columns = COLS % TC == 0 ? TC : min(TC, COLS - at.column), bytes = (ROWS % TR == 0 ? TR : min(TR, ROWS - at.row)) * 2;
    for (int c = threadIdx.x; c < columns; c += THREADS) store_bulk(y + (long long)(at.column + c) * ROWS + at.row, turned + c * OUT_PITCH, bytes);
    store_bulk_commit();
}

DEVICE void transpose_engine(const half_bits *x, half_bits *y)
{
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) mbarrier_init(arrived(s), 1);
        mbarrier_init_done();
    }
    __syncthreads();
    for (int ahead = 0; ahead < STAGES - 1; ahead++) fetch_tile(x, blockIdx.x + ahead * gridDim.x, ahead);
    int turn = 0;
    for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x, turn++) {
        store_bulk_wait<TURNED - 1>();
        __syncthreads(); /* all have read the stage before this one, and the turned tile that is written next has been stored */
        fetch_tile(x, tile + (STAGES - 1) * gridDim.x, turn + STAGES - 1);
        mbarrier_wait(arrived(turn), turn / STAGES & 1);
        word in = shared_base() + turn % STAGES * TR * IN_PITCH, turned = shared_base() + TURNED_AT + turn % TURNED * TC * OUT_PITCH;
        turn_tile([=](int r, int chunk) { return in + r * IN_PITCH + chunk * 16; },
                  [=](int r, int chunk) { return turned + r * OUT_PITCH + chunk * 16; });
        fence_shared_for_engines();
        __syncthreads();
        store_tile(y, tile_place(tile), turned);
    }
    store_bulk_wait<0>();
}

extern "C" __global__ __launch_bounds__(THREADS, MINB) void transpose(const half_bits *__restrict__ x, half_bits *__restrict__ y)
{
    if constexpr (METHOD == matrix)
        transpose_matrix(x, y);
    else if constexpr (METHOD == engine)
        transpose_engine(x, y);
    else
        for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x) transpose_gather(x, y, tile_place(tile));
}
