/* cuda_on_cpu.cpp: runs one CUDA kernel of this folder on the CPU, without a GPU, to check what it computes and how it synchronises.
 *
 * Each CUDA thread is a coroutine that runs until it has to wait for others; the functions of half_ptx.cuh and wgmma_ptx.cuh are done here in
 * plain C++, in the layouts that NVIDIA's PTX manual gives for them.  Copies and products that run in the background are done as late as the
 * program allows (LATE, when they are waited for) or at once (EARLY): a missing wait shows in the one, a buffer filled too early in the
 * other.  Shared memory begins as NaN.  Threads that all wait for each other end the run with an error.
 *
 * Built for one config: c++ -DKERNEL_SOURCE='"matmul.cu"' -DENTRY=matmul -DBM=64 ... cuda_on_cpu.cpp
 * usage: PROGRAM late|early GX GY GZ BLOCK_X BLOCK_Y BLOCK_Z CLUSTER_Z SHARED ARG...   ARG: in:FILE out:FILE:BYTES i32:N f32:X */
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define HONE_ON_CPU
#define DEVICE inline
#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 {
    int x, y, z;
};
struct float2 {
    float x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
using std::max;
using std::min;

/* ---- coroutines ---- */

struct meeting {
    int arrived = 0;
    unsigned turn = 0;
};

struct block_state;

struct cuda_thread {
    ucontext_t context;
    dim3 index;
    int lane, warp, number;
    bool done = false;
    block_state *block;
    /* Background work, in groups; the last one is still open. */
    std::deque<std::vector<std::function<void()>>> copies{1}, products{1}, stores{1};
};

struct warp_state {
    meeting all;
    const void *slot[32];
};

struct transfer_barrier {
    int expected = 0, pending = 0;
    long long bytes = 0;
    unsigned phase = 0;
    std::vector<std::function<void()>> late;
};

struct block_state {
    dim3 index;
    unsigned char *shared;
    std::vector<cuda_thread> threads;
    std::vector<warp_state> warps;
    std::map<int, meeting> barriers;
    std::map<unsigned, transfer_barrier> transfers;
};

static cuda_thread *current;
static ucontext_t scheduler;
static std::vector<block_state> cluster; /* the blocks that run together */
static meeting cluster_meeting;
static dim3 gridDim, blockDim;
static bool early;
static long long progress;

[[noreturn]] static void fail(const char *why)
{
    std::fprintf(stderr, "cuda_on_cpu: %s\n", why);
    std::exit(3);
}

static void yield() { swapcontext(&current->context, &scheduler); }

static void meet(meeting &m, int count)
{
    unsigned turn = m.turn;
    progress++;
    if (++m.arrived == count) {
        m.arrived = 0;
        m.turn++;
    } else {
        while (m.turn == turn) yield();
    }
}

#define threadIdx (current->index)
#define blockIdx (current->block->index)
#define dynamic_shared (current->block->shared)

inline void __syncthreads() { meet(current->block->barriers[0], (int)current->block->threads.size()); }
inline void __syncwarp() { meet(current->block->warps[current->warp].all, 32); }
inline void named_barrier(int id, int threads) { meet(current->block->barriers[id], threads); }
inline void cluster_barrier() { meet(cluster_meeting, (int)(cluster.size() * cluster[0].threads.size())); }

/* Every lane of the warp shows `mine`; f sees what all 32 show. */
template <class T, class F> static auto with_warp(const T &mine, F f)
{
    warp_state &warp = current->block->warps[current->warp];
    warp.slot[current->lane] = &mine;
    __syncwarp();
    auto result = f([&](int lane) -> const T & { return *(const T *)warp.slot[lane]; });
    __syncwarp();
    return result;
}

inline float __shfl_xor_sync(unsigned, float v, int distance)
{
    return with_warp(v, [&](auto of) { return of(current->lane ^ distance); });
}
inline unsigned __shfl_xor_sync(unsigned, unsigned v, int distance)
{
    return with_warp(v, [&](auto of) { return of(current->lane ^ distance); });
}
inline bool __any_sync(unsigned, bool v)
{
    return with_warp(v, [&](auto of) {
        bool any = false;
        for (int lane = 0; lane < 32; lane++) any |= of(lane);
        return any;
    });
}

#include "half_ptx.cuh"

/* ---- half_ptx.cuh ---- */

static float half_to_float(unsigned h)
{
    int sign = h >> 15, exponent = h >> 10 & 31, fraction = h & 1023;
    double v = exponent == 31 ? (fraction ? NAN : INFINITY)
                              : exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
    return (float)(sign ? -v : v);
}

static unsigned float_to_half(float f)
{
    unsigned sign = std::signbit(f) ? 0x8000 : 0;
    double v = std::fabs(f);
    if (std::isnan(f)) return sign | 0x7e00;
    if (v >= 65520.0) return sign | 0x7c00;
    int exponent;
    std::frexp(v, &exponent);
    double unit = std::ldexp(1.0, std::max(exponent - 11, -24));
    double rounded = std::nearbyint(v / unit) * unit; /* to even, the default rounding */
    if (rounded < std::ldexp(1.0, -14)) return sign | (unsigned)(rounded / std::ldexp(1.0, -24));
    std::frexp(rounded, &exponent);
    return sign | (unsigned)(exponent + 14) << 10 | ((unsigned)(rounded / std::ldexp(1.0, exponent - 11)) & 1023);
}

static float half_at(word pair, int which) { return half_to_float(pair >> 16 * which & 0xffff); }
DEVICE float2 unpack(word pair) { return {half_at(pair, 0), half_at(pair, 1)}; }
DEVICE word pack(float low, float high) { return float_to_half(low) | float_to_half(high) << 16; }
DEVICE float exp2_fast(float x) { return std::exp2(x); }
DEVICE float rsqrt_fast(float x) { return 1.0f / std::sqrt(x); }
DEVICE float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

static void aligned(const void *at, size_t bytes)
{
    if ((uintptr_t)at % bytes != 0) fail("misaligned access to global memory");
}

template <int WORDS, int HINT> DEVICE void load_global(word *to, const void *from)
{
    aligned(from, WORDS * 4);
    std::memcpy(to, from, WORDS * 4);
}
template <int WORDS, int HINT> DEVICE void store_global(void *to, const word *from)
{
    aligned(to, WORDS * 4);
    std::memcpy(to, from, WORDS * 4);
}

template <int COUNT, int HINT> DEVICE void load_halves(word *to, const half_bits *from)
{
    if constexpr (COUNT == 1)
        to[0] = *from * 0x10001u;
    else
        load_global<COUNT / 2, HINT>(to, from);
}
template <int COUNT, int HINT> DEVICE void store_halves(half_bits *to, const word *from)
{
    if constexpr (COUNT == 1)
        *to = (half_bits)from[0];
    else
        store_global<COUNT / 2, HINT>(to, from);
}

static long long shared_bytes;
static unsigned char *in_block(const block_state &block, word address, size_t bytes)
{
    if (address % bytes != 0) fail("misaligned access to shared memory");
    if (address + bytes > (unsigned long long)shared_bytes) fail("access beyond the dynamic shared memory");
    return block.shared + address;
}
static unsigned char *in_shared(word address, size_t bytes) { return in_block(*current->block, address, bytes); }

DEVICE word shared_address(const void *at) { return (word)((const unsigned char *)at - current->block->shared); }
DEVICE word shared_base() { return 0; }
template <int WORDS> DEVICE void load_shared(word *to, word from) { std::memcpy(to, in_shared(from, WORDS * 4), WORDS * 4); }

template <int WORDS> DEVICE void store_shared(word to, const word *from) { std::memcpy(in_shared(to, WORDS * 4), from, WORDS * 4); }

template <int BYTES, int HINT = plain> DEVICE void copy_async(word to, const void *from, bool valid)
{
    unsigned char *there = in_shared(to, BYTES);
    aligned(from, BYTES);
    auto copy = [=] {
        if (valid)
            std::memcpy(there, from, BYTES);
        else
            std::memset(there, 0, BYTES);
    };
    if (early) copy();
    else current->copies.back().push_back(copy);
}
static void run_to(std::deque<std::vector<std::function<void()>>> &groups, size_t pending)
{
    for (; groups.size() > pending + 1; groups.pop_front())
        for (auto &work : groups.front()) work();
}
DEVICE void copy_commit() { current->copies.emplace_back(); }
template <int PENDING> DEVICE void copy_wait() { run_to(current->copies, PENDING); }

static void load_matrices_at(word *to, word row, bool transposed)
{
    with_warp(row, [&](auto of) {
        int lane = current->lane;
        for (int m = 0; m < 4; m++) {
            half_bits pair[2];
            for (int i = 0; i < 2; i++) {
                int r = transposed ? lane % 4 * 2 + i : lane / 4, c = transposed ? lane / 4 : lane % 4 * 2 + i;
                std::memcpy(&pair[i], in_shared(of(m * 8 + r), 16) + c * 2, 2);
            }
            to[m] = pair[0] | (word)pair[1] << 16;
        }
        return 0;
    });
}
DEVICE void load_matrices(word *to, word row) { load_matrices_at(to, row, false); }
DEVICE void load_matrices_transposed(word *to, word row) { load_matrices_at(to, row, true); }
DEVICE void store_matrices(word row, const word *from)
{
    with_warp(row, [&](auto of) {
        for (int m = 0; m < 4; m++) std::memcpy(in_shared(of(m * 8 + current->lane / 4), 16) + current->lane % 4 * 4, &from[m], 4);
        return 0;
    });
}

struct mma_operands {
    float a[8], b[4];
};
DEVICE void multiply_add(float *c, const word *a, const word *b)
{
    mma_operands mine;
    for (int i = 0; i < 8; i++) mine.a[i] = half_at(a[i / 2], i % 2);
    for (int i = 0; i < 4; i++) mine.b[i] = half_at(b[i / 2], i % 2);
    with_warp(mine, [&](auto of) {
        for (int i = 0; i < 4; i++) {
            int row = current->lane / 4 + i / 2 * 8, column = current->lane % 4 * 2 + i % 2;
            for (int k = 0; k < 16; k++)
                c[i] += of(row % 8 * 4 + k % 8 / 2).a[(row / 8 + k / 8 * 2) * 2 + k % 2] * of(column * 4 + k % 8 / 2).b[k / 8 * 2 + k % 2];
        }
        return 0;
    });
}

/* ---- mbarriers and the copy engine ---- */

static void transfer_step(transfer_barrier &barrier)
{
    progress++;
    if (barrier.pending < 0) fail("too many arrivals at an mbarrier");
    if (barrier.pending == 0 && barrier.bytes == 0) {
        barrier.pending = barrier.expected;
        barrier.phase++;
    }
}
static transfer_barrier &transfer(word at)
{
    auto found = current->block->transfers.find(at);
    if (found == current->block->transfers.end()) fail("an mbarrier that was never initialised");
    return found->second;
}
DEVICE void mbarrier_init(word at, word arrivals)
{
    in_shared(at, 8);
    transfer_barrier fresh;
    fresh.expected = fresh.pending = (int)arrivals;
    current->block->transfers[at] = fresh;
}
DEVICE void mbarrier_init_done() {}
DEVICE void mbarrier_arrive(word at)
{
    transfer(at).pending--;
    transfer_step(transfer(at));
}
DEVICE void mbarrier_arrive_expecting(word at, word bytes)
{
    transfer(at).bytes += bytes;
    mbarrier_arrive(at);
}
DEVICE void mbarrier_wait(word at, word parity)
{
    while ((transfer(at).phase & 1) == parity) {
        std::vector<std::function<void()>> work;
        work.swap(transfer(at).late);
        for (auto &f : work) f();
        if ((transfer(at).phase & 1) == parity) yield();
    }
}
static void transfer_bytes(word barrier, long long bytes, std::function<void()> copy)
{
    block_state *block = current->block;
    auto work = [=] {
        copy();
        transfer_barrier &to = block->transfers.at(barrier);
        to.bytes -= bytes;
        transfer_step(to);
    };
    if (early) work();
    else transfer(barrier).late.push_back(work);
}
DEVICE void copy_bulk(word to, const void *from, word bytes, word barrier)
{
    aligned(from, 16);
    if (bytes % 16 != 0) fail("a bulk copy of no multiple of 16 bytes");
    unsigned char *there = in_shared(to, 16);
    in_shared(to + bytes - 16, 16);
    transfer_bytes(barrier, bytes, [=] { std::memcpy(there, from, bytes); });
}
DEVICE void fence_shared_for_engines() {}
DEVICE void store_bulk(void *to, word from, word bytes)
{
    aligned(to, 16);
    if (bytes % 16 != 0) fail("a bulk copy of no multiple of 16 bytes");
    unsigned char *there = in_shared(from, 16);
    in_shared(from + bytes - 16, 16);
    auto copy = [=] { std::memcpy(to, there, bytes); };
    if (early) copy();
    else current->stores.back().push_back(copy);
}
DEVICE void store_bulk_commit() { current->stores.emplace_back(); }
template <int PENDING> DEVICE void store_bulk_wait() { run_to(current->stores, PENDING); }
DEVICE float load_peer(const float *at, int rank)
{
    float value;
    std::memcpy(&value, in_block(cluster.at(rank), shared_address(at), 4), 4);
    return value;
}

/* ---- wgmma_ptx.cuh ---- */

DEVICE void warpgroup_begin() {}
DEVICE void warpgroup_commit() { current->products.emplace_back(); }
template <int PENDING> DEVICE void warpgroup_wait() { run_to(current->products, PENDING); }
template <int COUNT> DEVICE void registers_up() {}
template <int COUNT> DEVICE void registers_down() {}
DEVICE address64 tile_descriptor(word at, int chunks_apart, int eights_apart)
{
    if (at % 16 != 0 || chunks_apart % 16 != 0 || eights_apart % 16 != 0) fail("a descriptor of addresses that 16 does not divide");
    return (address64)at | (address64)chunks_apart << 20 | (address64)eights_apart << 42;
}
static float swizzled_half(const block_state &block, word at)
{
    half_bits h;
    std::memcpy(&h, in_block(block, at ^ (at >> 7 & 7) << 4, 2), 2);
    return half_to_float(h);
}
template <int COLUMNS> struct warpgroup_product {
    DEVICE static void add(float *d, address64 a, address64 b, int keep)
    {
        block_state *block = current->block;
        int thread = current->number % 128;
        auto work = [=] {
            word start_a = a & 0xfffff, eights_a = a >> 42, start_b = b & 0xfffff, chunks_b = b >> 20 & 0x3fffff, eights_b = b >> 42;
            float left[2][16];
            for (int i = 0; i < 32; i++) {
                int row = thread / 32 * 16 + thread % 32 / 4 + i / 16 * 8, k = i % 16;
                left[i / 16][k] = swizzled_half(*block, start_a + row / 8 * eights_a + row % 8 * 128 + k * 2);
            }
            for (int i = 0; i < COLUMNS / 2; i++) {
                int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
                float sum = keep ? d[i] : 0.0f;
                for (int k = 0; k < 16; k++)
                    sum += left[i / 2 % 2][k] *
                           swizzled_half(*block, start_b + column / 64 * chunks_b + column % 64 * 2 + k / 8 * eights_b + k % 8 * 128);
                d[i] = sum;
            }
        };
        if (early) work();
        else current->products.back().push_back(work);
    }
};

struct tensor_map {
    const half_bits *matrix;
    int rows, columns, box_rows;
};
DEVICE void tensor_map_build(void *map, unsigned char *draft, const half_bits *matrix, int rows, int columns, int box_rows)
{
    tensor_map built = {matrix, rows, columns, box_rows};
    if (columns % 8 != 0 || box_rows > 256 || shared_address(draft) % 128 != 0) fail("a tensor map that the copy engine does not take");
    std::memcpy(map, &built, sizeof built);
    __syncwarp();
}
DEVICE void copy_box(word to, const void *at, int row, int column, word barrier)
{
    tensor_map map;
    std::memcpy(&map, at, sizeof map);
    if (to % 1024 != 0) fail("a swizzled box at no multiple of 1024 bytes");
    in_shared(to + map.box_rows * 128 - 16, 16);
    unsigned char *there = in_shared(to, 16);
    transfer_bytes(barrier, map.box_rows * 128, [=] {
        for (int r = 0; r < map.box_rows; r++)
            for (int c = 0; c < 64; c++) {
                bool inside = row + r < map.rows && column + c < map.columns;
                half_bits h = inside ? map.matrix[(long long)(row + r) * map.columns + column + c] : 0;
                std::memcpy(there + r * 128 + ((c / 8 ^ (r & 7)) * 16 + c % 8 * 2), &h, 2);
            }
    });
}

#include KERNEL_SOURCE

/* ---- the launch ---- */

static std::vector<void *> arguments;

template <class... A, size_t... I> static void call_with(void (*f)(A...), std::index_sequence<I...>)
{
    if (sizeof...(A) != arguments.size()) fail("wrong number of arguments");
    f(*(std::remove_const_t<A> *)arguments[I]...);
}
template <class... A> static void call(void (*f)(A...)) { call_with(f, std::index_sequence_for<A...>()); }

static void body()
{
    call(ENTRY);
    if (current->stores.size() > 1 || !current->stores.back().empty()) fail("a thread ended while the copy engine still read its shared memory");
    current->done = true;
    progress++;
    yield();
}

constexpr size_t STACK_BYTES = 128 << 10;

/* Stacks are kept for the next block. */
static void *stack(size_t number)
{
    static std::vector<void *> stacks;
    while (stacks.size() <= number) stacks.push_back(std::malloc(STACK_BYTES));
    return stacks[number];
}

static void run_cluster(dim3 first, int blocks)
{
    cluster.clear();
    cluster.resize(blocks);
    cluster_meeting = meeting();
    int threads = blockDim.x * blockDim.y * blockDim.z;
    std::vector<std::vector<unsigned char>> memory(blocks);
    for (int b = 0; b < blocks; b++) {
        block_state &block = cluster[b];
        memory[b].assign(shared_bytes + 1024, 0xff);
        block.shared = (unsigned char *)(((uintptr_t)memory[b].data() + 1023) / 1024 * 1024);
        block.index = {first.x, first.y, first.z + b};
        block.threads.resize(threads);
        block.warps.resize((threads + 31) / 32);
        for (int t = 0; t < threads; t++) {
            cuda_thread &thread = block.threads[t];
            thread.index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
            thread.number = t;
            thread.lane = t % 32;
            thread.warp = t / 32;
            thread.block = &block;
            getcontext(&thread.context);
            thread.context.uc_stack.ss_sp = stack(b * threads + t);
            thread.context.uc_stack.ss_size = STACK_BYTES;
            thread.context.uc_link = &scheduler;
            makecontext(&thread.context, body, 0);
        }
    }
    for (int live = 1; live > 0;) {
        long long before = progress;
        live = 0;
        for (block_state &block : cluster)
            for (cuda_thread &thread : block.threads)
                if (!thread.done) {
                    live++;
                    current = &thread;
                    swapcontext(&scheduler, &thread.context);
                }
        if (live > 0 && progress == before) fail("all threads wait for each other");
    }
}

int main(int argc, char **argv)
{
    if (argc < 10) return 2;
    early = std::string(argv[1]) == "early";
    int n[8];
    for (int i = 0; i < 8; i++) n[i] = std::atoi(argv[i + 2]);
    gridDim = {n[0], n[1], n[2]};
    blockDim = {n[3], n[4], n[5]};
    shared_bytes = n[7];
    std::vector<std::pair<std::string, std::vector<unsigned char> *>> outputs;
    for (int i = 10; i < argc; i++) {
        std::string word = argv[i], kind = word.substr(0, word.find(':')), rest = word.substr(word.find(':') + 1);
        void *value = std::malloc(8);
        if (kind == "i32") *(int *)value = std::atoi(rest.c_str());
        if (kind == "f32") *(float *)value = (float)std::atof(rest.c_str());
        if (kind == "in" || kind == "out") {
            std::string path = rest.substr(0, rest.find(':'));
            auto *bytes = new std::vector<unsigned char>;
            if (kind == "out") {
                bytes->assign(std::atol(rest.substr(rest.find(':') + 1).c_str()), 0xff);
                outputs.push_back({path, bytes});
            } else {
                FILE *file = std::fopen(path.c_str(), "rb");
                if (file == nullptr) fail("an input cannot be read");
                for (int c; (c = std::getc(file)) != EOF;) bytes->push_back((unsigned char)c);
                std::fclose(file);
            }
            *(void **)value = bytes->data();
        }
        arguments.push_back(value);
    }
    for (int z = 0; z < gridDim.z; z += n[6])
        for (int y = 0; y < gridDim.y; y++)
            for (int x = 0; x < gridDim.x; x++) run_cluster({x, y, z}, n[6]);
    for (auto &output : outputs) {
        FILE *file = std::fopen(output.first.c_str(), "wb");
        if (file == nullptr || std::fwrite(output.second->data(), 1, output.second->size(), file) != output.second->size()) fail("no output");
        std::fclose(file);
    }
    return 0;
}
