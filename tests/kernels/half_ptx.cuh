/* half_ptx.cuh: what the CUDA kernels of this folder share: half precision, cp.async, ldmatrix, mma and barriers as inline PTX, so that no
 * header of the toolkit is needed (NVRTC alone compiles them).
 *
 * Halves are unsigned short in memory and pairs of them unsigned words in registers, the lower element in the lower half.  All functions here
 * exist a second time in cuda_on_cpu.cpp, where the kernels run without a GPU. */
#ifndef HONE_HALF_PTX
#define HONE_HALF_PTX

typedef unsigned short half_bits;
typedef unsigned int word;
typedef unsigned long long address64;

/* Values of the parameters that are words in the specs; each parameter uses some of them. */
enum choice {
    plain, once, streaming, wide,        /* cache hints */
    registers, async, bulk, reread, tma, /* where data waits */
    xor_rows, padded,                    /* layouts of shared memory */
    direct, staged, shuffled,            /* ways of a tile to memory */
    two_pass, one_pass, online,          /* ways to reduce */
    cached,                              /* nowhere but in the caches */
    gather, matrix, engine,              /* ways to transpose */
    always, vote                         /* when to rescale */
};

#ifndef HONE_ON_CPU

#define DEVICE __device__ __forceinline__

extern __shared__ __align__(1024) unsigned char dynamic_shared[];

/* ---- numbers ---- */

DEVICE float2 unpack(word pair)
{
    float2 value;
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }" : "=f"(value.x), "=f"(value.y) : "r"(pair));
    return value;
}

DEVICE word pack(float low, float high)
{
    word pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

DEVICE float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float rsqrt_fast(float x)
{
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* ---- global memory: WORDS (1, 2 or 4) words at once, with a cache hint ---- */

template <int WORDS, int HINT> DEVICE void load_global(word *to, const void *from)
{
    static_assert(WORDS == 1 || WORDS == 2 || WORDS == 4, "vectors of 4, 8 or 16 bytes");
    if constexpr (WORDS == 1) {
        if constexpr (HINT == once)
            asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(to[0]) : "l"(from));
        else if constexpr (HINT == streaming)
            asm volatile("ld.global.cs.u32 %0, [%1];" : "=r"(to[0]) : "l"(from));
        else if constexpr (HINT == wide)
            asm volatile("ld.global.nc.L1::no_allocate.L2::256B.u32 %0, [%1];" : "=r"(to[0]) : "l"(from));
        else
            asm volatile("ld.global.u32 %0, [%1];" : "=r"(to[0]) : "l"(from));
    } else if constexpr (WORDS == 2) {
        if constexpr (HINT == once)
            asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "l"(from));
        else if constexpr (HINT == streaming)
            asm volatile("ld.global.cs.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "l"(from));
        else if constexpr (HINT == wide)
            asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "l"(from));
        else
            asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "l"(from));
    } else {
        if constexpr (HINT == once)
            asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "l"(from));
        else if constexpr (HINT == streaming)
            asm volatile("ld.global.cs.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "l"(from));
        else if constexpr (HINT == wide)
            asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "l"(from));
        else
            asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "l"(from));
    }
}

template <int WORDS, int HINT> DEVICE void store_global(void *to, const word *from)
{
    if constexpr (WORDS == 1) {
        if constexpr (HINT == streaming)
            asm volatile("st.global.cs.u32 [%0], %1;" ::"l"(to), "r"(from[0]) : "memory");
        else
            asm volatile("st.global.u32 [%0], %1;" ::"l"(to), "r"(from[0]) : "memory");
    } else if constexpr (WORDS == 2) {
        if constexpr (HINT == streaming)
            asm volatile("st.global.cs.v2.u32 [%0], {%1, %2};" ::"l"(to), "r"(from[0]), "r"(from[1]) : "memory");
        else
            asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(to), "r"(from[0]), "r"(from[1]) : "memory");
    } else {
        if constexpr (HINT == streaming)
            asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]) : "memory");
        else
            asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]) : "memory");
    }
}

/* COUNT halves at once.  A half alone fills both halves of its word; of such a word the lower half is stored. */
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

/* ---- shared memory ---- */

/* Addresses in shared memory are words: they cost one register, and what is aligned can be stepped through by exclusive or. */
DEVICE word shared_address(const void *at)
{
    word address;
    asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(address) : "l"(at));
    return address;
}

DEVICE word shared_base()
{
    return shared_address(dynamic_shared);
}

template <int WORDS> DEVICE void load_shared(word *to, word from)
{
    if constexpr (WORDS == 1)
        asm volatile("ld.shared.u32 %0, [%1];" : "=r"(to[0]) : "r"(from));
    else if constexpr (WORDS == 2)
        asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(from));
    else
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(from));
}

template <int WORDS> DEVICE void store_shared(word to, const word *from)
{
    if constexpr (WORDS == 1)
        asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(from[0]) : "memory");
    else if constexpr (WORDS == 2)
        asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(to), "r"(from[0]), "r"(from[1]) : "memory");
    else
        asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]) : "memory");
}

/* Copies BYTES (4, 8 or 16) to shared memory in the background; zeros where not `valid` (`from` must be an address all the same). */
template <int BYTES, int HINT = plain> DEVICE void copy_async(word to, const void *from, bool valid)
{
    word bytes = valid ? BYTES : 0;
    if constexpr (BYTES == 16 && HINT == wide)
        asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
    else if constexpr (BYTES == 16)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(BYTES), "r"(bytes) : "memory");
}

DEVICE void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits until at most PENDING of this thread's newest groups are under way. */
template <int PENDING> DEVICE void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/* ---- matrices ---- */

/* Four 8 x 8 matrices of halves; lane l gives the address of row l % 8 of matrix l / 8. */
DEVICE void load_matrices(word *to, word row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(row) : "memory");
}

DEVICE void load_matrices_transposed(word *to, word row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(row) : "memory");
}

DEVICE void store_matrices(word row, const word *from)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(from[0]), "r"(from[1]),
                 "r"(from[2]), "r"(from[3]) : "memory");
}

/* c += a b, 16 x 8 x 16, one warp. */
DEVICE void multiply_add(float *c, const word *a, const word *b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* ---- meeting points ---- */

/* Barrier `id` (1 to 15) among `threads` threads of the block. */
DEVICE void named_barrier(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

DEVICE void mbarrier_init(word barrier, word arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

DEVICE void mbarrier_init_done()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

DEVICE void mbarrier_arrive(word barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

DEVICE void mbarrier_arrive_expecting(word barrier, word bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

DEVICE void mbarrier_wait(word barrier, word parity)
{
    asm volatile("{ .reg .pred done; again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1; @done bra.uni out; bra.uni again; out: }"
                 ::"r"(barrier), "r"(parity) : "memory");
}

/* The copy engine fetches `bytes` (a multiple of 16) bytes; `barrier` hears of them. */
DEVICE void copy_bulk(word to, const void *from, word bytes, word barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from),
                 "r"(bytes), "r"(barrier) : "memory");
}

/* What ordinary instructions (cp.async too) of this thread wrote to shared memory is there for the copy engine and for wgmma. */
DEVICE void fence_shared_for_engines()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* The copy engine stores `bytes` (a multiple of 16) bytes of shared memory; groups of such stores are this thread's own. */
DEVICE void store_bulk(void *to, word from, word bytes)
{
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes) : "memory");
}

DEVICE void store_bulk_commit()
{
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/* Waits until all but this thread's PENDING newest groups have read shared memory. */
template <int PENDING> DEVICE void store_bulk_wait()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}

/* ---- clusters ---- */

DEVICE void cluster_barrier()
{
    asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* A float of block `rank` of the cluster, at the place that `at` has in this block's shared memory. */
DEVICE float load_peer(const float *at, int rank)
{
    float value;
    asm volatile("{ .reg .u32 there; mapa.shared::cluster.u32 there, %1, %2; ld.shared::cluster.f32 %0, [there]; }"
                 : "=f"(value) : "r"(shared_address(at)), "r"(rank) : "memory");
    return value;
}

#endif
#endif
