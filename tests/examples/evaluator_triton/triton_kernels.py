"""The Triton kernels that triton_evaluator.py tunes: matrix product, attention forward, RMS norm and softmax, for halves.

Each class is one kernel: what it makes of a problem's sizes and of a config.  `launch` returns the kernel, its grid, its arguments and its
keywords, so that a compiler can compile exactly what the evaluator will run; `tensors` stand for device memory there.  Nothing here imports
PyTorch, which takes seconds: configs are compiled meanwhile.
"""
import triton
import triton.language as tl


def blocks(a, b):
    return -(-a // b)


# ---- matrix product ----

@triton.jit
def place_of(tile, tiles_m, tiles_n, BAND: tl.constexpr):
    """Row and column of a tile; tiles go in bands of BAND rows, so that programs that run together share A and B in the cache."""
    width = BAND * tiles_n
    band = tile // width
    first = band * BAND
    height = min(tiles_m - first, BAND)
    return first + (tile % width) % height, (tile % width) // height


@triton.jit
def matmul_kernel(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
                  BAND: tl.constexpr):
    tiles_m = tl.cdiv(M, BM)
    tiles_n = tl.cdiv(N, BN)
    tile_m, tile_n = place_of(tl.program_id(0), tiles_m, tiles_n, BAND)
    rows = tile_m * BM + tl.arange(0, BM)
    columns = tile_n * BN + tl.arange(0, BN)
    depth = tl.arange(0, BK)
    # Beyond the edge another row or column is read in place of a mask in the loop; the store leaves it out.
    a_at = a + (rows % M)[:, None] * K + depth[None, :]
    b_at = b + depth[:, None] * N + (columns % N)[None, :]
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BK)):
        if K % BK == 0:
            left = tl.load(a_at)
            right = tl.load(b_at)
        else:
            left = tl.load(a_at, mask=depth[None, :] < K - k * BK, other=0.0)
            right = tl.load(b_at, mask=depth[:, None] < K - k * BK, other=0.0)
        total = tl.dot(left, right, total)
        a_at += BK
        b_at += BK * N
    mask = (rows < M)[:, None] & (columns < N)[None, :]
    tl.store(c + rows[:, None] * N + columns[None, :], total.to(tl.float16), mask=mask)


@triton.jit
def matmul_descriptor_kernel(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
                             BK: tl.constexpr, BAND: tl.constexpr, PROGRAMS: tl.constexpr, FLATTEN: tl.constexpr):
    """Through the copy engine, by PROGRAMS programs that stay and take tiles in turn."""
    a_box = tl.make_tensor_descriptor(a, shape=[M, K], strides=[K, 1], block_shape=[BM, BK])
    b_box = tl.make_tensor_descriptor(b, shape=[K, N], strides=[N, 1], block_shape=[BK, BN])
    c_box = tl.make_tensor_descriptor(c, shape=[M, N], strides=[N, 1], block_shape=[BM, BN])
    tiles_m = tl.cdiv(M, BM)
    tiles_n = tl.cdiv(N, BN)
    for tile in tl.range(tl.program_id(0), tiles_m * tiles_n, PROGRAMS, flatten=FLATTEN):
        tile_m, tile_n = place_of(tile, tiles_m, tiles_n, BAND)
        total = tl.zeros((BM, BN), dtype=tl.float32)
        for k in range(tl.cdiv(K, BK)):
            total = tl.dot(a_box.load([tile_m * BM, k * BK]), b_box.load([k * BK, tile_n * BN]), total)
        c_box.store([tile_m * BM, tile_n * BN], total.to(tl.float16))


class Matmul:
    name, rtol, atol = "triton_matmul", 5e-3, 5e-2

    @staticmethod
    def tensors(s, make):
        return [make((s["M"], s["K"]), "normal"), make((s["K"], s["N"]), "normal"), make((s["M"], s["N"]), "out")]

    @staticmethod
    def truth(t):
        return (t[0].float() @ t[1].float())

    @staticmethod
    def launch(s, c, t):
        tiles = blocks(s["M"], c["BM"]) * blocks(s["N"], c["BN"])
        words = {"M": s["M"], "N": s["N"], "K": s["K"], "BM": c["BM"], "BN": c["BN"], "BK": c["BK"], "BAND": c["BAND"],
                 "num_warps": c["WARPS"], "num_stages": c["STAGES"]}
        if c["FETCH"] == "pointers":
            return matmul_kernel, (tiles,), t, words
        programs = min(132 * c["PER_SM"], tiles)
        return matmul_descriptor_kernel, (programs,), t, {**words, "PROGRAMS": programs, "FLATTEN": c["FLATTEN"]}


# ---- attention ----

@triton.jit
def attention_kernel(q, k, v, o, SEQ: tl.constexpr, D: tl.constexpr, BQ: tl.constexpr, BKV: tl.constexpr, FETCH: tl.constexpr):
    """Online softmax in base 2.  The last block of keys may be partial: its scores are masked only when SEQ has one."""
    base = tl.program_id(1).to(tl.int64) * SEQ * D
    rows = tl.program_id(0) * BQ + tl.arange(0, BQ)
    keys = tl.arange(0, BKV)
    columns = tl.arange(0, D)
    scale = 1.4426950408889634 / (D ** 0.5)
    if FETCH == "descriptors":
        k_box = tl.make_tensor_descriptor(k + base, shape=[SEQ, D], strides=[D, 1], block_shape=[BKV, D])
        v_box = tl.make_tensor_descriptor(v + base, shape=[SEQ, D], strides=[D, 1], block_shape=[BKV, D])
    query = tl.load(q + base + rows[:, None] * D + columns[None, :], mask=(rows < SEQ)[:, None], other=0.0)
    top = tl.full((BQ,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BQ,), dtype=tl.float32)
    out = tl.zeros((BQ, D), dtype=tl.float32)
    for first in range(0, SEQ, BKV):
        if FETCH == "descriptors":
            key = k_box.load([first, 0])
        elif SEQ % BKV == 0:
            key = tl.load(k + base + (first + keys)[:, None] * D + columns[None, :])
        else:
            key = tl.load(k + base + (first + keys)[:, None] * D + columns[None, :], mask=(first + keys < SEQ)[:, None], other=0.0)
        scores = tl.dot(query, key.T)
        if SEQ % BKV != 0:
            scores = tl.where((first + keys < SEQ)[None, :], scores, float("-inf"))
        most = tl.maximum(top, tl.max(scores, 1) * scale)
        weights = tl.math.exp2(scores * scale - most[:, None])
        factor = tl.math.exp2(top - most)
        total = total * factor + tl.sum(weights, 1)
        out = out * factor[:, None]
        if FETCH == "descriptors":
            value = v_box.load([first, 0])
        elif SEQ % BKV == 0:
            value = tl.load(v + base + (first + keys)[:, None] * D + columns[None, :])
        else:
            value = tl.load(v + base + (first + keys)[:, None] * D + columns[None, :], mask=(first + keys < SEQ)[:, None], other=0.0)
        out = tl.dot(weights.to(tl.float16), value, out)
        top = most
    out = out / total[:, None]
    tl.store(o + base + rows[:, None] * D + columns[None, :], out.to(tl.float16), mask=(rows < SEQ)[:, None])


class Attention:
    name, rtol, atol = "triton_attention", 1e-2, 2e-3

    @staticmethod
    def tensors(s, make):
        shape = (s["HEADS"], s["SEQ"], s["D"])
        return [make(shape, "normal"), make(shape, "normal"), make(shape, "normal"), make(shape, "out")]

    @staticmethod
    def truth(t):
        """In single precision, a few heads at a time: the scores of all together are many gigabytes."""
        q, k, v = t[0], t[1], t[2]
        out = v.float()
        for at in range(0, q.shape[0], 8):
            scores = q[at:at + 8].float() @ k[at:at + 8].float().transpose(1, 2) / q.shape[2] ** 0.5
            out[at:at + 8] = scores.softmax(-1) @ v[at:at + 8].float()
        return out

    @staticmethod
    def launch(s, c, t):
        words = {"SEQ": s["SEQ"], "D": s["D"], "BQ": c["BQ"], "BKV": c["BKV"], "FETCH": c["FETCH"], "num_warps": c["WARPS"],
                 "num_stages": c["STAGES"]}
        if c["MAXREGS"]:
            words["maxnreg"] = c["MAXREGS"]
        return attention_kernel, (blocks(s["SEQ"], c["BQ"]), s["HEADS"]), t, words


# ---- row by row ----

@triton.jit
def rms_norm_kernel(x, w, y, rows, N: tl.constexpr, WIDTH: tl.constexpr, ROWS_EACH: tl.constexpr, STEP: tl.constexpr, EVICT: tl.constexpr):
    columns = tl.arange(0, WIDTH)
    weight = tl.load(w + columns, mask=columns < N, other=0.0).to(tl.float32)
    for row in tl.range(tl.program_id(0) * ROWS_EACH, min(rows, (tl.program_id(0) + 1) * ROWS_EACH), num_stages=STEP):
        at = row.to(tl.int64) * N + columns
        value = tl.load(x + at, mask=columns < N, other=0.0, eviction_policy=EVICT).to(tl.float32)
        scale = tl.rsqrt(tl.sum(value * value, 0) / N + 1e-5)
        tl.store(y + at, (value * scale * weight).to(tl.float16), mask=columns < N)


@triton.jit
def softmax_kernel(x, w, y, rows, N: tl.constexpr, WIDTH: tl.constexpr, ROWS_EACH: tl.constexpr, STEP: tl.constexpr, EVICT: tl.constexpr):
    columns = tl.arange(0, WIDTH)
    for row in tl.range(tl.program_id(0) * ROWS_EACH, min(rows, (tl.program_id(0) + 1) * ROWS_EACH), num_stages=STEP):
        at = row.to(tl.int64) * N + columns
        value = tl.load(x + at, mask=columns < N, other=float("-inf"), eviction_policy=EVICT).to(tl.float32)
        value = tl.math.exp2((value - tl.max(value, 0)) * 1.4426950408889634)
        tl.store(y + at, (value / tl.sum(value, 0)).to(tl.float16), mask=columns < N)


class Rows:
    """What RMS norm and softmax have in common: x, weights (softmax ignores them), y."""

    @staticmethod
    def tensors(s, make):
        return [make((s["ROWS"], s["N"]), "normal"), make((s["N"],), "normal"), make((s["ROWS"], s["N"]), "out")]

    @classmethod
    def launch(cls, s, c, t):
        words = {"N": s["N"], "WIDTH": 1 << (s["N"] - 1).bit_length(), "ROWS_EACH": c["ROWS_EACH"], "STEP": c["STAGES"],
                 "EVICT": "" if c["EVICT"] == "none" else c["EVICT"], "num_warps": c["WARPS"]}
        return cls.kernel, (blocks(s["ROWS"], c["ROWS_EACH"]),), [*t, s["ROWS"]], words


class RmsNorm(Rows):
    name, rtol, atol, kernel = "triton_rms_norm", 2e-3, 1e-4, rms_norm_kernel

    @staticmethod
    def truth(t):
        x = t[0].float()
        return x * ((x * x).mean(-1, keepdim=True) + 1e-5).rsqrt() * t[1].float()


class Softmax(Rows):
    name, rtol, atol, kernel = "triton_softmax", 4e-3, 2e-7, softmax_kernel

    @staticmethod
    def truth(t):
        return t[0].float().softmax(-1)


KERNELS = {kernel.name: kernel for kernel in (Matmul, Attention, RmsNorm, Softmax)}
