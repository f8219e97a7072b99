#!/usr/bin/env python3
"""An evaluator for Hone that tunes Triton kernels (triton_kernels.py) on an NVIDIA GPU, beside PyTorch.  It speaks spec/evaluator.md.

Importing PyTorch takes longer than all else before the first result, so nothing waits for it that can do without: the device is described by its driver
(cuda_facts.py), configs are compiled by children of a server that has Triton alone (compile_server.py), and what they compile lies in a private cache
folder, where this process finds it.  Three threads: the main one reads requests; the GPU's own imports PyTorch, checks results against it with poisoned
outputs and takes times by CUDA events, the second-level cache flushed before each run; the third answers compiles.  After an error that leaves the GPU
unusable the evaluator ends; Hone starts it again.
"""
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import math
import os
import queue
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback
import types

from compile_server import CompileServer
from cuda_facts import Gpu, NoDevice

PARALLEL = max(1, min(16, (os.cpu_count() or 2) - 1))
FLUSH_BYTES = 256 << 20


class Refused(Exception):
    """A failure of one config, with the code that spec/evaluator.md section 8 has for it."""

    def __init__(self, stage, code, message, **more):
        super().__init__(message)
        self.error = {"stage": stage, "code": code, "message": " ".join(str(message).split())[:500], **more}


def first_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def import_triton():
    """All that Triton does once in a process: its import, and a hash over itself, which takes as long again."""
    import triton
    import triton_kernels  # noqa: F401
    for place in ("triton.runtime.cache", "triton.compiler.compiler"):  # where it is since 3.5, where it was
        key = getattr(importlib.import_module(place), "triton_key", None)
        if key:
            key()
    return triton


# ---- in the compile server, which never sees a GPU ----

class Tensor:
    """What Triton asks of a tensor when it compiles."""
    dtype = "float16"

    def data_ptr(self):
        return 0


class Target:
    """What Triton asks of its driver when it compiles: for which GPU, not which one is there."""
    arch = 0

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget
        return GPUTarget("cuda", Target.arch, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, _device=None):
        return 0


def begin_compiling():
    # Triton looks at torch.Tensor; the real one would be imported by every child anew.
    sys.modules["torch"] = types.ModuleType("torch")
    sys.modules["torch"].Tensor = Tensor
    if os.fork() == 0:
        build_launcher()
        os._exit(0)
    import_triton().runtime.driver.set_active(Target())


def build_launcher(compiled=None):
    """Triton has a C compiler make its access to the driver, and in some versions a launcher for each signature.  Done here, in the common cache
    folder, it need not be done between the first compile and its measurement; that is all it is for, so errors do not matter."""
    with contextlib.suppress(Exception):
        from triton.backends.nvidia import driver
        if compiled is None:
            driver.CudaUtils()
        else:
            driver.CudaLauncher(compiled.src, compiled.metadata)


def compile_config(job):
    """Leaves the machine code in the cache folder, and what launches it."""
    from triton_kernels import KERNELS
    Target.arch = job["arch"]
    try:
        kernel = KERNELS[job["kernel"]]
        function, grid, args, words = kernel.launch(job["sizes"], job["config"], kernel.tensors(job["sizes"], lambda shape, kind: Tensor()))
        compiled = function.warmup(*args, grid=grid, **words)
        build_launcher(compiled)
        return {"shared_bytes": compiled.metadata.shared}
    except Exception as error:
        return {"why": "resources" if type(error).__name__ == "OutOfResources" else "compile_error", "text": first_line(error)}


# ---- the evaluator ----

class Evaluator:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="hone-triton-")
        os.environ["TRITON_CACHE_DIR"] = self.folder
        self.replies, self.lock = os.fdopen(os.dup(1), "w"), threading.Lock()
        os.dup2(2, 1)  # whatever a library prints must not get between the replies
        self.compiler = CompileServer(begin_compiling, compile_config)
        self.compiler.listen(self.give_up)
        self.work, self.gpu_thread = queue.Queue(), None
        self.gpu = self.torch = self.number = self.problem = None
        self.configs = []

    def answer(self, request, reply):
        with self.lock:
            self.replies.write(json.dumps({"id": request["id"], **reply}, allow_nan=False) + "\n")
            self.replies.flush()

    def end(self, status=0):
        try:
            self.compiler.close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            os._exit(status)  # other threads may be waiting

    def give_up(self):
        print("the compile server has ended", file=sys.stderr)
        self.end(1)

    # ---- requests, in the main thread ----

    def serve(self):
        for line in sys.stdin:
            request = json.loads(line)
            if request["op"] in ("measure", "compare"):
                self.work.put(request)
                continue
            try:
                if request["op"] not in ("hello", "prepare", "compile", "cancel", "bye"):
                    raise Refused("request", "unsupported", f"unknown op {request['op']}")
                reply = getattr(self, request["op"])(request)
            except Refused as refused:
                reply = {"ok": False, "error": refused.error}
            if reply is not None:
                self.answer(request, reply)
            if request["op"] == "bye":
                return

    def hello(self, request):
        for name in ("torch", "triton"):
            if importlib.util.find_spec(name) is None:
                raise Refused("hello", "no_device", f"this evaluator needs PyTorch and Triton: there is no module {name}")
        wanted = request.get("device") or "cuda"
        kind, _, number = wanted.partition(":")
        if kind != "cuda" or not (number or "0").isdigit():
            raise Refused("hello", "no_device", f"this evaluator runs on one NVIDIA GPU, not on {wanted}")
        self.number = int(number or 0)
        try:
            self.gpu = Gpu(self.number)
            if request.get("peaks"):  # a tuning begins
                self.start_gpu_thread()
        except NoDevice as error:
            raise Refused("hello", "no_device", error) from error
        try:
            peaks = self.gpu.peaks() if request.get("peaks") else None
        except NoDevice as error:  # a GPU without free memory, say
            print(f"no peaks: {error}", file=sys.stderr)
            peaks = None
        versions = {name: importlib.metadata.version(name) for name in ("torch", "triton")}
        return {
            "ok": True,
            "protocol": 1,
            "evaluator": f"triton-example 2, Triton {versions['triton']}, PyTorch {versions['torch']}",
            "parallel": PARALLEL,
            "compare": True,
            "cancel": True,
            "device": {
                "kind": "cuda",
                "name": self.gpu.name,
                # Another compiler makes other code of the same config, so its version is part of what an answer is good for.
                "identity": {"arch": f"sm_{self.gpu.arch}", "sms": self.gpu.multiprocessors, "memory_gib": self.gpu.memory_bytes >> 30,
                             "triton": ".".join(versions["triton"].split(".")[:2])},
                "description": {"torch": versions["torch"]},
            },
            "peaks": peaks,
        }

    def prepare(self, request):
        """What needs PyTorch is done by the GPU's thread, before the first measurement: configs can be compiled meanwhile."""
        from triton_kernels import KERNELS
        name = request["kernel"]["name"]
        if name not in KERNELS:
            raise Refused("prepare", "unsupported", f"no kernel {name} here, only {', '.join(KERNELS)}")
        shapes = KERNELS[name].tensors(request["sizes"], lambda shape, kind: shape)
        needed = sum(2 * math.prod(shape) for shape in shapes) + 8 * math.prod(shapes[-1]) + FLUSH_BYTES
        if needed > self.gpu.memory_bytes:
            raise Refused("prepare", "reference_failed", f"the problem needs {needed >> 20} MiB, and the GPU has {self.gpu.memory_bytes >> 20} MiB")
        self.problem, self.configs = request, []
        self.start_gpu_thread()
        self.work.put(request)
        return {"ok": True}

    def compile(self, request):
        handle, config = len(self.configs), request["config"]
        self.configs.append(config)

        def done(found, seconds):
            if "why" not in found and found["shared_bytes"] > self.gpu.shared_bytes:
                found = {"why": "resources", "text": f"{found['shared_bytes']} bytes of shared memory, and a block has at most {self.gpu.shared_bytes}"}
            if "why" not in found:
                self.answer(request, {"ok": True, "handle": handle, "compile_ms": seconds * 1e3, "resources": found})
                return
            code = {"timeout": "compile_timeout", "crash": "compile_error"}.get(found["why"], found["why"])
            text = f"not compiled within {seconds:.1f} s" if found["why"] == "timeout" else found.get("text", found["why"])
            self.answer(request, {"ok": False, "error": Refused("compile", code, text).error})

        job = {"kernel": self.problem["kernel"]["name"], "sizes": self.problem["sizes"], "config": config, "arch": self.gpu.arch}
        self.compiler.submit(request["id"], job, float(self.problem.get("limits", {}).get("compile_s", 30)), done)

    def cancel(self, request):
        for number in request["ids"]:
            self.compiler.cancel(number)
        return {"ok": True}

    def bye(self, _request):
        return {"ok": True}

    # ---- the GPU, in a thread of its own ----

    def start_gpu_thread(self):
        if self.gpu_thread is None:
            threading.Thread(target=import_triton, daemon=True).start()  # mostly reads and hashes, beside the import of PyTorch
            self.gpu_thread = threading.Thread(target=self.use_gpu, daemon=True)
            self.gpu_thread.start()

    def use_gpu(self):
        try:
            self.bench = Bench(self.number)
            while True:
                request = self.work.get()
                try:
                    if request["op"] == "prepare":
                        self.bench.prepare(request)
                        continue
                    reply = {"ok": True, **getattr(self.bench, request["op"])(request, self.configs)}
                except Refused as refused:
                    reply = {"ok": False, "error": refused.error}
                except Exception as error:
                    traceback.print_exc()
                    reply = {"ok": False, "error": {"stage": request["op"], "code": "crash", "message": first_line(error)}}
                self.answer(request, reply)
                if self.bench.unusable(reply):
                    self.end()
        except BaseException:
            traceback.print_exc()  # Hone quotes its end
            self.end(1)


class Bench:
    """Checks and times configs."""

    def __init__(self, number):
        import torch
        import triton
        self.torch, self.kernel, self.broken = torch, None, None
        torch.cuda.set_device(number)
        triton.set_allocator(lambda size, _align, _stream: torch.empty(size, dtype=torch.int8, device="cuda"))
        torch.backends.cuda.matmul.allow_tf32 = False
        self.flush = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")

    def unusable(self, reply):
        text = reply.get("error", {}).get("message", "")
        return any(word in text for word in ("CUDA error", "CUDA]: an illegal", "illegal", "misaligned", "launch failure"))

    def prepare(self, request):
        """Whatever fails here is told to whoever wants to measure."""
        from triton_kernels import KERNELS
        torch = self.torch
        self.kernel, self.sizes, self.broken = KERNELS[request["kernel"]["name"]], request["sizes"], None
        self.tensors = self.truth = None
        generator = torch.Generator(device="cuda").manual_seed(request.get("seed", 1))

        def make(shape, kind):
            if kind == "out":
                return torch.empty(shape, dtype=torch.float16, device="cuda")
            return torch.randn(shape, dtype=torch.float16, device="cuda", generator=generator)

        try:
            self.tensors = self.kernel.tensors(self.sizes, make)
            self.truth = self.kernel.truth(self.tensors)
            torch.cuda.synchronize()
        except Exception as error:
            traceback.print_exc()
            self.broken = f"the problem could not be prepared: {first_line(error)}"

    def runner(self, handle, configs):
        """(a function that launches the config once, what the driver says of the compiled kernel)."""
        if self.broken:
            raise Refused("prepare", "evaluator_error", self.broken)
        if not 0 <= handle < len(configs):
            raise Refused("measure", "bad_request", f"unknown handle {handle}")
        function, grid, args, words = self.kernel.launch(self.sizes, configs[handle], self.tensors)
        try:
            compiled = function[grid](*args, **words)
            self.torch.cuda.synchronize()
        except Exception as error:
            if type(error).__name__ == "OutOfResources":
                raise Refused("run", "resources", first_line(error)) from error
            raise
        resources = {"registers": getattr(compiled, "n_regs", None), "spills": getattr(compiled, "n_spills", None),
                     "shared_bytes": getattr(getattr(compiled, "metadata", None), "shared", None)}
        return lambda: function[grid](*args, **words), {name: value for name, value in resources.items() if value is not None}

    def check(self, run):
        torch, out = self.torch, self.tensors[-1]
        out.fill_(float("nan"))
        run()
        torch.cuda.synchronize()
        worst = 0.0
        for got, right in zip(out.flatten().split(1 << 24), self.truth.flatten().split(1 << 24)):
            error = (got.float() - right).abs() / (self.kernel.atol + self.kernel.rtol * right.abs())
            if bool(torch.isnan(error).any()):
                raise Refused("check", "nan", "NaN, or elements that were never written")
            worst = max(worst, float(error.max()))
        if worst > 1.0:
            raise Refused("check", "wrong_result", f"the largest error is {worst:.3g} times the tolerance", max_error=worst)
        return worst

    def times(self, runs, rounds):
        """Nanoseconds of each of `runs`, interleaved, `rounds` times; the order rotates."""
        torch, found = self.torch, [[] for _ in runs]
        pairs = []
        for r in range(rounds):
            for i in range(len(runs)):
                at = (i + r) % len(runs)
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                self.flush.zero_()  # also keeps the GPU busy while the launch is prepared
                begin.record()
                runs[at]()
                end.record()
                pairs.append((at, begin, end))
        torch.cuda.synchronize()
        for at, begin, end in pairs:
            found[at].append(max(1.0, begin.elapsed_time(end) * 1e6))
        return found

    def measure(self, request, configs):
        run, resources = self.runner(request["handle"], configs)
        max_error = self.check(run)
        end = time.monotonic() + request["budget_ms"] / 1e3
        incumbent, precision = request.get("incumbent_ns", 0), request["precision"]
        samples, outcome = self.times([run], 4)[0][1:], "ok"
        while True:
            if incumbent and len(samples) >= 3 and min(samples) > 1.3 * incumbent:
                outcome = "abandoned"
                break
            ordered, count = sorted(samples), len(samples)
            half = 0.98 * count ** 0.5  # ranks either side of the median that hold it with 95 % probability
            low, high = ordered[max(0, int(count / 2 - half))], ordered[min(count - 1, int(count / 2 + half))]
            if count >= 9 and (high - low) / 2 <= precision * statistics.median(ordered):
                break
            if time.monotonic() > end or count > 4000:
                break
            samples += self.times([run], 8)[0]
        return {"outcome": outcome, "samples_ns": samples[:4096], "accuracy": "passed", "max_error": max_error, "resources": resources}

    def compare(self, request, configs):
        runs = []
        for handle in request["handles"]:
            try:
                runs.append(self.runner(handle, configs)[0])
            except Refused as refused:
                refused.error["handle"] = handle
                raise
        end, found = time.monotonic() + request["budget_ms"] / 1e3, [[] for _ in runs]
        for _ in range(min(64, request["rounds"])):
            for to, more in zip(found, self.times(runs, 1)):
                to += more
            if time.monotonic() > end:
                break
        return {"rounds": len(found[0]), "samples_ns": found}


def main():
    evaluator = Evaluator()
    signal.signal(signal.SIGTERM, lambda *_: evaluator.end())
    try:
        evaluator.serve()
    finally:
        evaluator.end()


if __name__ == "__main__":
    main()
