"""gpu_torch.py: what PyTorch's own kernels take on this GPU, timed as Hone times: events around one call, the second-level cache flushed before each; medians in ms.
usage: gpu_torch.py"""
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def median_ms(call, flush, rounds=60):
    pairs = []
    for _ in range(rounds + 5):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        flush.zero_()
        begin.record()
        call()
        end.record()
        pairs.append((begin, end))
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in pairs[5:])


def main():
    flush = torch.empty(64 << 20, dtype=torch.int32, device="cuda")
    half = {"device": "cuda", "dtype": torch.float16}
    a, b, c = torch.randn(4096, 4096, **half), torch.randn(4096, 4096, **half), torch.empty(4096, 4096, **half)
    print(f"matmul 4096, cuBLAS: {median_ms(lambda: torch.matmul(a, b, out=c), flush):.4f} ms", flush=True)
    x, y = torch.randn(4096, 8192, **half), torch.empty(4096, 8192, **half)
    print(f"copy 4096x8192: {median_ms(lambda: y.copy_(x), flush):.4f} ms", flush=True)
    for d in (64, 128):
        q, k, v = (torch.randn(1, 64, 2048, d, **half) for _ in range(3))
        for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
            with sdpa_kernel(backend):
                print(f"attention 64x2048x{d}, {backend.name}: {median_ms(lambda: F.scaled_dot_product_attention(q, k, v), flush):.4f} ms", flush=True)


if __name__ == "__main__":
    main()
