/* wgmma_ptx.cuh: Hopper's own instructions as inline PTX (sm_90a): warpgroup products, register shares, and the copy engine's tensor maps, which
 * are built on the device, because a kernel's arguments are plain buffers. */
#ifndef HONE_WGMMA_PTX
#define HONE_WGMMA_PTX
#include "half_ptx.cuh"
#ifndef HONE_ON_CPU

/* ---- products: d (64 x COLUMNS, this warpgroup's) = a b + (keep ? d : 0), 16 deep; a and b are descriptors, b with its columns contiguous ---- */

template <int COLUMNS> struct warpgroup_product;

#define HONE_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define HONE_D16(i) HONE_D4(i), HONE_D4(i + 4), HONE_D4(i + 8), HONE_D4(i + 12)
#define HONE_D32(i) HONE_D16(i), HONE_D16(i + 16)

template <> struct warpgroup_product<64> {
    DEVICE static void add(float *d, address64 a, address64 b, int keep)
    {
        asm volatile(
            "{ .reg .pred keep; setp.ne.b32 keep, %34, 0; "
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
            "%32, %33, keep, 1, 1, 0, 1; }"
            : HONE_D32(0)
            : "l"(a), "l"(b), "r"(keep));
    }
};

template <> struct warpgroup_product<128> {
    DEVICE static void add(float *d, address64 a, address64 b, int keep)
    {
        asm volatile(
            "{ .reg .pred keep; setp.ne.b32 keep, %66, 0; "
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
            "%64, %65, keep, 1, 1, 0, 1; }"
            : HONE_D32(0), HONE_D32(32)
            : "l"(a), "l"(b), "r"(keep));
    }
};

template <> struct warpgroup_product<192> {
    DEVICE static void add(float *d, address64 a, address64 b, int keep)
    {
        asm volatile(
            "{ .reg .pred keep; setp.ne.b32 keep, %98, 0; "
            "wgmma.mma_async.sync.aligned.m64n192k16.f32.f16.f16 {"
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, "
            "%96, %97, keep, 1, 1, 0, 1; }"
            : HONE_D32(0), HONE_D32(32), HONE_D32(64)
            : "l"(a), "l"(b), "r"(keep));
    }
};

template <> struct warpgroup_product<256> {
    DEVICE static void add(float *d, address64 a, address64 b, int keep)
    {
        asm volatile(
            "{ .reg .pred keep; setp.ne.b32 keep, %130, 0; "
            "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {"
            "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
            "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
            "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
            "%128, %129, keep, 1, 1, 0, 1; }"
            : HONE_D32(0), HONE_D32(32), HONE_D32(64), HONE_D32(96)
            : "l"(a), "l"(b), "r"(keep));
    }
};

/* Before the first product that uses registers or shared memory written by ordinary instructions. */
DEVICE void warpgroup_begin()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

DEVICE void warpgroup_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int PENDING> DEVICE void warpgroup_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/* A tile in shared memory for a product, in the layout of 128 bytes a row, swizzled; `chunks_apart` and `eights_apart` in bytes. */
DEVICE address64 tile_descriptor(word at, int chunks_apart, int eights_apart)
{
    return (at >> 4 & 0x3fff) | (address64)(chunks_apart >> 4) << 16 | (address64)(eights_apart >> 4) << 32 | 1ull << 62;
}

template <int COUNT> DEVICE void registers_up()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

template <int COUNT> DEVICE void registers_down()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

/* ---- the copy engine ---- */

/* Builds, by one whole warp, the map of a row-major matrix of halves, copied in boxes of `box_rows` x 64 halves (128 bytes, swizzled); parts
 * outside the matrix are zeros.  `draft` is 128 bytes of shared memory, `map` 128 of global memory, each at a multiple of 128. */
DEVICE void tensor_map_build(void *map, unsigned char *draft, const half_bits *matrix, int rows, int columns, int box_rows)
{
    word at = shared_address(draft), lane = threadIdx.x % 32;
    ((word *)draft)[lane] = 0;
    __syncwarp();
    if (lane == 0) {
        address64 draft64 = at, pitch = (address64)columns * 2;
        asm volatile("tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%0], %1;" ::"l"(draft64), "l"(matrix) : "memory");
        asm volatile("tensormap.replace.tile.rank.shared::cta.b1024.b32 [%0], 1;" ::"l"(draft64) : "memory");
        asm volatile("tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%0], 0, %1;" ::"l"(draft64), "r"(64) : "memory");
        asm volatile("tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%0], 1, %1;" ::"l"(draft64), "r"(box_rows) : "memory");
        asm volatile("tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%0], 0, %1;" ::"l"(draft64), "r"(columns) : "memory");
        asm volatile("tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%0], 1, %1;" ::"l"(draft64), "r"(rows) : "memory");
        asm volatile("tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%0], 0, %1;" ::"l"(draft64), "l"(pitch) : "memory");
        asm volatile("tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%0], 0, %1;" ::"l"(draft64), "r"(1) : "memory");
        asm volatile("tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%0], 1, %1;" ::"l"(draft64), "r"(1) : "memory");
        asm volatile("tensormap.replace.tile.elemtype.shared::cta.b1024.b32 [%0], 0x6;" ::"l"(draft64) : "memory");
        asm volatile("tensormap.replace.tile.interleave_layout.shared::cta.b1024.b32 [%0], 0x0;" ::"l"(draft64) : "memory");
        asm volatile("tensormap.replace.tile.swizzle_mode.shared::cta.b1024.b32 [%0], 0x3;" ::"l"(draft64) : "memory");
        asm volatile("tensormap.replace.tile.fill_mode.shared::cta.b1024.b32 [%0], 0x0;" ::"l"(draft64) : "memory");
    }
    __syncwarp();
    asm volatile("tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%0], [%1], 128;" ::"l"(map), "r"(at)
                 : "memory");
    asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}

/* Copies the box whose first element is (row, column); `barrier` hears of all its bytes, those outside the matrix too. */
DEVICE void copy_box(word to, const void *map, int row, int column, word barrier)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to),
                 "l"(map), "r"(column), "r"(row), "r"(barrier) : "memory");
}

#endif
#endif
