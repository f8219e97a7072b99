#!/usr/bin/env python3
"""An evaluator for Hone that tunes Triton kernels (triton_kernels.py) on an NVIDIA GPU, beside PyTorch.  It speaks spec/evaluator.md.

Compiling runs ahead in worker processes of this same program (`--worker`), one request at a time each; what they compile lies in Triton's cache
folder, a private one, where this process finds it.  Measuring is this process's own: a check against PyTorch in single precision with
poisoned outputs, then times by CUDA events with the second-level cache flushed before each run.  After an error that leaves the GPU unusable the
evaluator ends; Hone starts it again.
"""
import json
import os
import queue
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback

WORKERS = max(1, min(16, (os.cpu_count() or 2) - 1))
FLUSH_BYTES = 256 << 20


class Refused(Exception):
    """A failure of one config, with the code that spec/evaluator.md section 8 has for it."""

    def __init__(self, stage, code, message, **more):
        super().__init__(message)
        self.error = {"stage": stage, "code": code, "message": " ".join(str(message).split())[:500], **more}


def first_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


# ---- a worker: compiles what it is told, never launches ----

def worker():
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch
    from triton_kernels import KERNELS
    for line in sys.stdin:
        job = json.loads(line)
        try:
            kernel = KERNELS[job["kernel"]]
            stand_ins = kernel.tensors(job["sizes"], lambda shape, kind: torch.float16)
            function, grid, args, words = kernel.launch(job["sizes"], job["config"], stand_ins)
            function.warmup(*args, grid=grid, **words)
            reply = {}
        except Exception as error:
            reply = {"error": first_line(error), "resources": type(error).__name__ == "OutOfResources"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


class Compiler(threading.Thread):
    """One worker and the thread that feeds it; a worker that takes too long is replaced."""

    def __init__(self, jobs, folder):
        super().__init__(daemon=True)
        self.jobs, self.folder, self.process = jobs, folder, None
        self.begin()

    def begin(self):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={**os.environ, "TRITON_CACHE_DIR": self.folder})

    def run(self):
        while True:
            job, limit, done = self.jobs.get()
            start = time.monotonic()
            timer = threading.Timer(limit, self.process.kill)
            timer.start()
            try:
                self.process.stdin.write(json.dumps(job) + "\n")
                self.process.stdin.flush()
                line = self.process.stdout.readline()
            except OSError:
                line = ""
            timer.cancel()
            seconds = time.monotonic() - start
            if line:
                done(json.loads(line), seconds)
            else:
                self.process.wait()
                self.begin()
                done({"error": "took too long" if seconds >= limit else "the compiler died", "timeout": seconds >= limit}, seconds)


# ---- the evaluator ----

class Evaluator:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="hone-triton-")
        os.environ["TRITON_CACHE_DIR"] = self.folder
        self.jobs, self.lock = queue.Queue(), threading.Lock()
        self.replies = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # whatever a library prints must not get between the replies
        self.compilers = [Compiler(self.jobs, self.folder) for _ in range(WORKERS)]
        for compiler in self.compilers:
            compiler.start()
        self.kernel = self.sizes = self.tensors = self.truth = self.limits = None
        self.configs, self.flush, self.torch = [], None, None
        self.unusable = False

    def answer(self, request, reply):
        with self.lock:
            self.replies.write(json.dumps({"id": request["id"], **reply}, allow_nan=False) + "\n")
            self.replies.flush()

    def hello(self, request):
        try:
            import torch
            import triton
        except ImportError as error:
            raise Refused("hello", "no_device", f"this evaluator needs PyTorch and Triton: {error}") from error
        self.torch = torch
        wanted = request.get("device") or "cuda"
        if wanted != "cuda" and not wanted.startswith("cuda:"):
            raise Refused("hello", "no_device", f"this evaluator runs on an NVIDIA GPU, not on {wanted}")
        if not torch.cuda.is_available():
            raise Refused("hello", "no_device", "PyTorch sees no CUDA device")
        number = int(wanted[5:] or 0) if wanted.startswith("cuda:") else 0
        if number >= torch.cuda.device_count():
            raise Refused("hello", "no_device", f"there are {torch.cuda.device_count()} CUDA devices, and {wanted} is none of them")
        torch.cuda.set_device(number)
        triton.set_allocator(lambda size, _align, _stream: torch.empty(size, dtype=torch.int8, device="cuda"))
        self.flush = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")
        about = torch.cuda.get_device_properties(number)
        return {
            "protocol": 1,
            "evaluator": f"triton-example 1, Triton {triton.__version__}, PyTorch {torch.__version__}",
            "parallel": WORKERS,
            "compare": True,
            "device": {
                "kind": "cuda",
                "name": about.name,
                # Another compiler makes other code of the same config, so its version is part of what an answer is good for.
                "identity": {"arch": f"sm_{about.major}{about.minor}", "sms": about.multi_processor_count, "memory_gib": about.total_memory >> 30,
                             "triton": ".".join(triton.__version__.split(".")[:2])},
                "description": {"torch": torch.__version__},
            },
            "peaks": {"gbps": self.copy_gbps() if request.get("peaks") else None, "gflops": None},
        }

    def copy_gbps(self):
        other = self.torch.empty_like(self.flush)
        times = self.times([lambda: other.copy_(self.flush)], 12)[0]
        return 2 * FLUSH_BYTES / statistics.median(times)

    def prepare(self, request):
        from triton_kernels import KERNELS
        name = request["kernel"]["name"]
        if name not in KERNELS:
            raise Refused("prepare", "unsupported", f"no kernel {name} here, only {', '.join(KERNELS)}")
        torch = self.torch
        self.kernel, self.sizes, self.limits = KERNELS[name], request["sizes"], request.get("limits", {})
        generator = torch.Generator(device="cuda").manual_seed(request.get("seed", 1))

        def make(shape, kind):
            if kind == "out":
                return torch.empty(shape, dtype=torch.float16, device="cuda")
            return torch.randn(shape, dtype=torch.float16, device="cuda", generator=generator)

        self.tensors, self.truth, self.configs = None, None, []
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            self.tensors = self.kernel.tensors(self.sizes, make)
            self.truth = self.kernel.truth(self.tensors)
            torch.cuda.synchronize()
        except torch.cuda.OutOfMemoryError as error:
            raise Refused("prepare", "reference_failed", f"not enough memory for the problem: {error}") from error
        return {}

    def compile(self, request):
        """Answered by a compiler's thread when it is done."""
        handle = len(self.configs)
        self.configs.append(request["config"])

        def done(reply, seconds):
            if "error" in reply:
                code = "compile_timeout" if reply.get("timeout") else "resources" if reply.get("resources") else "compile_error"
                self.answer(request, {"ok": False, "error": Refused("compile", code, reply["error"]).error})
            else:
                self.answer(request, {"ok": True, "handle": handle, "compile_ms": seconds * 1e3})

        job = {"kernel": self.kernel.name, "sizes": self.sizes, "config": request["config"]}
        self.jobs.put((job, float(self.limits.get("compile_s", 30)), done))

    def runner(self, handle):
        """(a function that launches the config once, what the driver says of the compiled kernel)."""
        if not 0 <= handle < len(self.configs):
            raise Refused("measure", "bad_request", f"unknown handle {handle}")
        function, grid, args, words = self.kernel.launch(self.sizes, self.configs[handle], self.tensors)
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

    def measure(self, request):
        run, resources = self.runner(request["handle"])
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

    def compare(self, request):
        runs = []
        for handle in request["handles"]:
            try:
                runs.append(self.runner(handle)[0])
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

    def refuse(self, request, error):
        traceback.print_exc()
        text = first_line(error)
        self.unusable = any(word in text for word in ("CUDA error", "illegal", "misaligned", "launch failure"))
        code = "crash" if request["op"] in ("measure", "compare") else "evaluator_error" if request["op"] == "compile" else "bad_request"
        return {"ok": False, "error": {"stage": request["op"], "code": code, "message": text}}

    def serve(self):
        for line in sys.stdin:
            request = json.loads(line)
            try:
                if request["op"] == "bye":
                    self.answer(request, {"ok": True})
                    return
                if request["op"] == "compile":
                    self.compile(request)
                    continue
                if request["op"] not in ("hello", "prepare", "measure", "compare"):
                    raise Refused("request", "unsupported", f"unknown op {request['op']}")
                reply = {"ok": True, **getattr(self, request["op"])(request)}
            except Refused as refused:
                reply = {"ok": False, "error": refused.error}
            except Exception as error:
                reply = self.refuse(request, error)
            self.answer(request, reply)
            if self.unusable:
                return

    def end(self):
        for compiler in self.compilers:
            compiler.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    if sys.argv[1:] == ["--worker"]:
        worker()
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    evaluator = Evaluator()
    try:
        evaluator.serve()
    finally:
        evaluator.end()
        os._exit(0)  # threads still wait for compilers that are gone


if __name__ == "__main__":
    main()
