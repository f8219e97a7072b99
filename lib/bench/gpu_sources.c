/* gpu_sources.c: the CUDA C that the GPU back end itself needs: filling, comparing and summing buffers on the device, a probe of the
 * clock, and kernels that run into the device's limits.  No toolkit header is used, since there may be none. */
#include "gpu_internal.h"

/* In pieces: a compiler need not take longer strings. */
static const char filling[] =
    "typedef unsigned long long u64; typedef long long i64; typedef unsigned int u32; typedef unsigned short u16; typedef unsigned char u8;\n"
    /* The order of hone__element. */
    "enum { F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8 };\n"
    "__device__ u64 mix(u64 x) { x += 0x9E3779B97F4A7C15ull; x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;\n"
    "    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull; return x ^ (x >> 31); }\n"
    "__device__ double unit(u64 x) { return (double)(x >> 11) * (1.0 / 9007199254740992.0); }\n"
    "__device__ float widen(int type, u16 h) { float f; if (type == BF16) return __uint_as_float((u32)h << 16);\n"
    "    asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(f) : \"h\"(h)); return f; }\n"
    "__device__ u16 narrow(int type, double v) { u16 h; float f = (float)v;\n"
    "    if (type == F16) { asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(h) : \"f\"(f)); return h; }\n"
    "    u32 b = __float_as_uint(f); if (f != f) return 0x7fc0; return (u16)((b + 0x7fff + ((b >> 16) & 1)) >> 16); }\n"
    "__device__ double load(int type, const void *p, u64 i) { switch (type) {\n"
    "    case F64: return ((const double *)p)[i]; case F32: return ((const float *)p)[i];\n"
    "    case F16: case BF16: return widen(type, ((const u16 *)p)[i]);\n"
    "    case I64: return (double)((const i64 *)p)[i]; case I32: return ((const int *)p)[i]; case I16: return ((const short *)p)[i];\n"
    "    case I8: return ((const signed char *)p)[i]; case U64: return (double)((const u64 *)p)[i]; case U32: return ((const u32 *)p)[i];\n"
    "    case U16: return ((const u16 *)p)[i]; default: return ((const u8 *)p)[i]; } }\n"
    "__device__ void store_whole(int type, void *p, u64 i, u64 v) { switch (type) {\n"
    "    case I64: case U64: ((u64 *)p)[i] = v; break; case I32: case U32: ((u32 *)p)[i] = (u32)v; break;\n"
    "    case I16: case U16: ((u16 *)p)[i] = (u16)v; break; default: ((u8 *)p)[i] = (u8)v; } }\n"
    "__device__ void store(int type, void *p, u64 i, double v) { switch (type) {\n"
    "    case F64: ((double *)p)[i] = v; break; case F32: ((float *)p)[i] = (float)v; break;\n"
    "    default: ((u16 *)p)[i] = narrow(type, v); } }\n"
    "extern \"C\" __global__ void hone_fill(void *to, u64 count, int type, int kind, double a, double b, u64 seed) {\n"
    "    u64 step = (u64)gridDim.x * blockDim.x;\n"
    "    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {\n"
    "        u64 r = mix(seed ^ mix(i));\n"
    "        double v = kind == 'c' ? a : kind == 'i' ? a + b * (double)i : kind == 'u' ? a + (b - a) * unit(r) : 0.0;\n"
    "        if (kind == 'n') { float u = 1.0f - (float)((r >> 40) * (1.0 / 16777216.0));\n"
    "            float w = (float)(mix(r) >> 40) * (6.2831853f / 16777216.0f); v = a + b * (double)(sqrtf(-2.0f * logf(u)) * cosf(w)); }\n"
    "        if (type < I64) { store(type, to, i, v); continue; }\n"
    "        i64 low = (i64)a; u64 whole = kind == 'i' ? (u64)low + (u64)(i64)b * i : kind == 'c' ? (a >= 9.2e18 ? (u64)a : (u64)low)\n"
    "            : (u64)low + (b - a >= 0.0 ? (u64)(unit(r) * (b - a + 1.0)) : 0);\n"
    "        store_whole(type, to, i, whole); } }\n";

static const char checking[] =
    "struct deviation { double max_error; u64 index, wrong, nans; double value, expected; };\n"
    "extern \"C\" __global__ void hone_compare(const void *x, const void *r, u64 count, int type, double rtol, double atol, deviation *out) {\n"
    "    __shared__ deviation part[256];\n"
    "    deviation d = {0.0, 0, 0, 0, 0.0, 0.0};\n"
    "    u64 step = (u64)gridDim.x * blockDim.x;\n"
    "    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {\n"
    "        if ((type == I64 || type == U64) && ((const u64 *)x)[i] == ((const u64 *)r)[i]) continue;\n"
    "        double v = load(type, x, i), e = load(type, r, i);\n"
    "        if ((type < I64 && v == e) || (v != v && e != e)) continue;\n"
    "        double off = type == I64 || type == U64 ? fabs((double)(i64)(((const u64 *)x)[i] - ((const u64 *)r)[i])) : fabs(v - e), room = atol + rtol * fabs(e), error = 1e300; bool nan = v != v;\n"
    "        bool good = !nan && e == e && !isinf(e) && off <= room;\n"
    "        if (!nan && e == e && !isinf(e) && !isinf(v) && room > 0.0) error = fmin(off / room, 1e300);\n"
    "        else if (good) error = 0.0;\n"
    "        d.wrong += !good; d.nans += nan;\n"
    "        if (error > d.max_error) { d.max_error = error; d.index = i; d.value = v; d.expected = e; } }\n"
    "    part[threadIdx.x] = d; __syncthreads();\n"
    "    for (int half = 128; half > 0; half /= 2) {\n"
    "        if (threadIdx.x < half) { deviation &a = part[threadIdx.x]; const deviation &b = part[threadIdx.x + half];\n"
    "            a.wrong += b.wrong; a.nans += b.nans;\n"
    "            if (b.max_error > a.max_error) { a.max_error = b.max_error; a.index = b.index; a.value = b.value; a.expected = b.expected; } }\n"
    "        __syncthreads(); }\n"
    "    if (threadIdx.x == 0) out[blockIdx.x] = part[0]; }\n"
    "struct region { const u8 *at; u64 bytes; };\n"
    "extern \"C\" __global__ void hone_sums(const region *regions, u64 *sum) {\n"
    "    region g = regions[blockIdx.y]; u64 total = 0, step = (u64)gridDim.x * blockDim.x, first = (u64)blockIdx.x * blockDim.x + threadIdx.x;\n"
    /* The guard behind a buffer begins wherever that ends: whole words in the middle, single bytes around them. */
    "    u64 head = (8 - (u64)g.at % 8) % 8; head = head < g.bytes ? head : g.bytes; u64 words = (g.bytes - head) / 8; const u64 *word = (const u64 *)(g.at + head);\n"
    "    for (u64 i = first; i < words; i += step) { u64 w = word[i] ^ (i * 0x9E3779B97F4A7C15ull); total += (w ^ (w >> 29)) * 0xBF58476D1CE4E5B9ull; }\n"
    "    for (u64 i = first; i < g.bytes - words * 8; i += step) { u64 at = i < head ? i : i + words * 8; total += mix(g.at[at] ^ (at << 8)); }\n"
    "    for (int lane = 16; lane > 0; lane /= 2) total += __shfl_xor_sync(0xffffffffu, total, lane);\n"
    "    if (threadIdx.x % 32 == 0) atomicAdd(&sum[blockIdx.y], total); }\n"
    /* Cycles and nanoseconds of one and the same stretch: the multiprocessors' clock as it is just now. */
    "extern \"C\" __global__ void hone_probe(u64 *out, u32 steps) {\n"
    "    u64 t0, t1; float a = threadIdx.x, b = 0.5f; asm volatile(\"mov.u64 %0, %%globaltimer;\" : \"=l\"(t0));\n"
    "    i64 c0 = clock64(); for (u32 i = 0; i < steps; i++) { a = fmaf(a, b, 1.0f); a = fmaf(a, b, 1.0f); a = fmaf(a, b, 1.0f); a = fmaf(a, b, 1.0f); }\n"
    "    i64 c1 = clock64(); asm volatile(\"mov.u64 %0, %%globaltimer;\" : \"=l\"(t1));\n"
    "    if (threadIdx.x == 0 && blockIdx.x == 0) { out[0] = (u64)(c1 - c0); out[1] = t1 - t0; }\n"
    "    if (a == -1.0f) out[2] = 1; }\n";

static const char peaks_head[] =
    "typedef unsigned long long u64; typedef unsigned int u32;\n"
    "extern \"C\" __global__ void peak_copy(uint4 *to, const uint4 *from, u64 count) {\n"
    "    u64 step = (u64)gridDim.x * blockDim.x, i = (u64)blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    for (; i + 3 * step < count; i += 4 * step) { uint4 a = from[i], b = from[i + step], c = from[i + 2 * step], d = from[i + 3 * step];\n"
    "        to[i] = a; to[i + step] = b; to[i + 2 * step] = c; to[i + 3 * step] = d; }\n"
    "    for (; i < count; i += step) to[i] = from[i]; }\n"
    "extern \"C\" __global__ void __launch_bounds__(256) peak_fp32(float *out, u32 steps) {\n"
    "    float a[16], m = 0.999f, c = 0.001f;\n"
    "    for (int k = 0; k < 16; k++) a[k] = threadIdx.x + k;\n"
    "    for (u32 s = 0; s < steps; s++)\n"
    "#pragma unroll\n"
    "        for (int k = 0; k < 16; k++) a[k] = fmaf(a[k], m, c);\n"
    "    float sum = 0; for (int k = 0; k < 16; k++) sum += a[k];\n"
    "    if (sum == -1.0f) out[0] = sum; }\n"
    "#if __CUDA_ARCH__ >= 800\n"
    "#define MMA(name, shape, type, as, bs)\\\n"
    "extern \"C\" __global__ void __launch_bounds__(256) name(float *out, u32 steps) {\\\n"
    "    float d[8][4] = {}; u32 a[4], b[2];\\\n"
    "    for (int i = 0; i < 4; i++) a[i] = as ^ (threadIdx.x * 0x01010101u & 0x000f000fu);\\\n"
    "    for (int i = 0; i < 2; i++) b[i] = bs ^ (threadIdx.x * 0x00030003u & 0x000f000fu);\\\n"
    "    for (u32 s = 0; s < steps; s++)\\\n"
    "        _Pragma(\"unroll\") for (int k = 0; k < 8; k++)\\\n"
    "            asm volatile(\"mma.sync.aligned.\" shape \".row.col.f32.\" type \".\" type \".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};\"\\\n"
    "                : \"+f\"(d[k][0]), \"+f\"(d[k][1]), \"+f\"(d[k][2]), \"+f\"(d[k][3])\\\n"
    "                : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1]));\\\n"
    "    float sum = 0; for (int k = 0; k < 8; k++) sum += d[k][0] + d[k][1] + d[k][2] + d[k][3];\\\n"
    "    if (sum == -1.0f) out[0] = sum; }\n"
    "MMA(mma_tf32, \"m16n8k8\", \"tf32\", 0x3f000000u, 0xbe800000u)\n"
    "MMA(mma_fp16, \"m16n8k16\", \"f16\", 0x38003a00u, 0xb4003800u)\n"
    "MMA(mma_bf16, \"m16n8k16\", \"bf16\", 0x3f003e80u, 0xbe803f00u)\n";

static const char peaks_hopper[] =
    "typedef unsigned long long u64; typedef unsigned int u32;\n"
    "#ifdef __CUDA_ARCH_FEAT_SM90_ALL\n"
    /* Rows of 128 bytes, swizzled over 128 bytes, eight rows 1024 bytes apart. */
    "__device__ u64 describe(const void *p) { return ((u64)__cvta_generic_to_shared(p) & 0x3ffff) >> 4 | (u64)1 << 16 | (u64)64 << 32 | (u64)1 << 62; }\n";

/* One kernel of Hopper's warpgroup matrix instruction with 128 accumulators, which no loop of the preprocessor can write. */
static void put_wgmma(hone__buf *buf, const char *name, const char *shape, const char *type, const char *tail, const char *bits, const char *mask) {
    hone__buf_printf(buf, "extern \"C\" __global__ void __launch_bounds__(256) %s(float *out, u32 steps) {\n", name);
    hone__buf_text(buf, "    extern __shared__ __align__(1024) u32 room[]; float d[128];\n");
    hone__buf_printf(buf, "    for (u32 i = threadIdx.x; i < 12288; i += 256) { u32 r = i * 2654435761u; room[i] = %su | ((r ^ r >> 15) & %su); }\n", bits, mask);
    hone__buf_text(buf, "    for (int i = 0; i < 128; i++) d[i] = 0.0f;\n"
                        "    asm volatile(\"fence.proxy.async.shared::cta;\"); __syncthreads();\n"
                        "    u64 a = describe(room + threadIdx.x / 128 * 2048), b = describe(room + 4096);\n"
                        "    for (u32 s = 0; s < steps; s++) {\n"
                        "        asm volatile(\"wgmma.fence.sync.aligned;\");\n"
                        /* Not unrolled further: the compiler's time grows with each statement of 128 operands. */
                        "#pragma unroll\n"
                        "        for (int k = 0; k < 4; k++)\n");
    hone__buf_printf(buf, "            asm volatile(\"{.reg .pred p; setp.eq.u32 p, 0, 0; wgmma.mma_async.sync.aligned.%s.f32.%s.%s {", shape, type, type);
    for (int i = 0; i < 128; i++)
        hone__buf_printf(buf, "%s%%%d", i > 0 ? "," : "", i);
    hone__buf_printf(buf, "}, %%128, %%129, p, 1, 1%s;}\" : ", tail);
    for (int i = 0; i < 128; i++)
        hone__buf_printf(buf, "%s\"+f\"(d[%d])", i > 0 ? "," : "", i);
    hone__buf_text(buf, " : \"l\"(a + 2 * k), \"l\"(b + 2 * k));\n"
                        "        asm volatile(\"wgmma.commit_group.sync.aligned;\"); asm volatile(\"wgmma.wait_group.sync.aligned 0;\"); }\n"
                        "    float sum = 0; for (int i = 0; i < 128; i++) sum += d[i];\n"
                        "    if (sum == -1.0f) out[0] = sum; }\n");
}

char *hone__gpu_helper_source(void) {
    hone__buf buf;
    hone__buf_init(&buf, 65536);
    hone__buf_text(&buf, filling);
    hone__buf_text(&buf, checking);
    return hone__buf_take(&buf);
}

char *hone__gpu_peaks_source(uint32_t part) {
    hone__buf buf;
    hone__buf_init(&buf, 65536);
    hone__buf_text(&buf, part == 0 ? peaks_head : peaks_hopper);
    if (part == 1)
        put_wgmma(&buf, "wgmma_tf32", "m64n256k8", "tf32", "", "0x3f000000", "0x807fffff");
    if (part == 2)
        put_wgmma(&buf, "wgmma_fp16", "m64n256k16", "f16", ", 0, 0", "0x38003800", "0x83ff83ff");
    if (part == 3)
        put_wgmma(&buf, "wgmma_bf16", "m64n256k16", "bf16", ", 0, 0", "0x3f003f00", "0x807f807f");
    hone__buf_text(&buf, "#endif\n");
    return hone__buf_take(&buf);
}
