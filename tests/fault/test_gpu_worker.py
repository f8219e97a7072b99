"""The built-in worker on a GPU that is a fake (tests/fake): every way in which a kernel, the compiler or the driver goes wrong costs one
config and says why; the next one is measured as if nothing had been."""
import json
import os
import unittest

from fault.test_worker_protocol import Session

TOOL = os.environ["HONE_TOOL"]
FAKE = os.path.join(os.environ["HONE_BUILD_DIR"], "tests", "fake")
PATIENCE = 4 if os.environ.get("HONE_SANITIZE") else 1
SOURCE = 'extern "C" __global__ void scale(const float *in, float *out, int n) { /* BEHAVE US */ }\n'
N = 4096


def environment(cuda="", nvrtc="fake_nvrtc.so", **more):
    env = dict(os.environ, HONE_CUDA_LIBRARY=os.path.join(FAKE, "fake_cuda.so"), HONE_NVRTC_LIBRARY=os.path.join(FAKE, nvrtc),
               HONE_FAKE_CUDA=cuda, **more)
    env.pop("CUDA_VISIBLE_DEVICES", None)
    return env


def problem(**more):
    launch = {"grid": [1], "block": [128], "cluster": [], "shared_bytes": 0}
    body = {
        "kernel": {"name": "scale", "language": "cuda", "source": SOURCE, "source_path": "/x/scale.cu", "include_dir": "/x", "entry": "scale"},
        "sizes": {"n": N},
        "args": [
            {"name": "in", "kind": "buffer", "dtype": "f32", "shape": [N], "access": "in", "fill": {"kind": "uniform", "a": 1, "b": 2}, "align": 64},
            {"name": "out", "kind": "buffer", "dtype": "f32", "shape": [64, 64], "access": "out", "align": 64},
            {"name": "n", "kind": "scalar", "dtype": "i32", "value": N},
        ],
        "reference": {"source": SOURCE.replace("scale(", "scale_ref("), "source_path": "/x/ref.cu", "include_dir": "/x", "entry": "scale_ref",
                      "options": [], "launch": launch},
        "tolerance": {"rtol": 1e-4, "atol": 1e-5},
        "limits": {"compile_s": 2 * PATIENCE, "run_s": 2 * PATIENCE, "memory_bytes": 1 << 30, "output_bytes": 1 << 20},
        "seed": 1,
    }
    body.update(more)
    return body


class Gpu(unittest.TestCase):
    def start(self, cuda="", device="cuda:0", prepare=True, **more):
        self.session = Session([TOOL, "worker"], environment(cuda, **more))
        self.addCleanup(self.session.close)
        hello = self.session.ask("hello", protocol=[1], device=device, peaks=False)
        if prepare:
            self.assertTrue(hello["ok"], hello)
            reply = self.session.ask("prepare", **problem())
            self.assertTrue(reply["ok"], reply)
        return hello

    def compile(self, *defines, launch=None, options=()):
        launch = {"grid": [1], "block": [128], "cluster": [], "shared_bytes": 0, **(launch or {})}
        return self.session.ask("compile", config={}, defines=list(defines), options=list(options), launch=launch)

    def measure(self, handle, **more):
        return self.session.ask("measure", **{"handle": handle, "precision": 0.01, "budget_ms": 50, "incumbent_ns": 0, **more})

    def run_one(self, *defines, **more):
        reply = self.compile(*defines, **more)
        return self.measure(reply["handle"]) if reply["ok"] else reply

    def assert_good(self, reply, us=50):
        self.assertTrue(reply["ok"], reply)
        self.assertEqual((reply["outcome"], reply["accuracy"]), ("ok", "passed"))
        self.assertAlmostEqual(reply["summary"]["median_ns"], us * 1e3, delta=us * 20)

    def assert_failed(self, reply, code, *words):
        self.assertFalse(reply["ok"], reply)
        self.assertEqual(reply["error"]["code"], code, reply)
        for word in words:
            self.assertIn(word, reply["error"]["message"])


class FaultTest(Gpu):
    def test_every_fault_costs_one_config(self):
        self.start()
        cases = [
            ("illegal", "crash", ["CUDA_ERROR_ILLEGAL_ADDRESS", "the first run"]),
            ("misaligned", "crash", ["CUDA_ERROR_MISALIGNED_ADDRESS"]),
            ("trap", "crash", ["CUDA_ERROR_LAUNCH_FAILED"]),
            ("assert", "crash", ["CUDA_ERROR_ASSERT"]),
            ("segv", "crash", ["killed by signal 9", "the first run"]),
            ("wrong", "wrong_result", ["1 of 4096 elements of out are wrong", "out[32][0]"]),
            ("flaky", "wrong_result", ["after the timed runs"]),
            ("nan", "nan", ["4096 of 4096 elements of out", "never written"]),
            ("behind", "wrong_result", ["out of bounds, behind buffer out"]),
            ("before", "wrong_result", ["out of bounds, before buffer out"]),
            ("scribble", "wrong_result", ["it wrote to the input buffer in"]),
            ("oom", "resources", ["no memory for the kernel's code"]),
            ("registers", "resources", ["128 threads", "255 registers", "can have 64"]),
            ("launch", "resources", ["refuses the launch"]),
            ("badparam", "launch_error", ["parameter 3", "8 bytes", "argument n of the spec 4"]),
            ("die", "compile_error", ["status 139"]),
        ]
        for behave, code, words in cases:
            with self.subTest(behave=behave):
                self.assert_failed(self.run_one(f"BEHAVE={behave}", "US=50"), code, *words)
            # The successor has the same problem, inputs and reference: nothing of the fault is left.
            self.assert_good(self.run_one("BEHAVE=ok", f"US={30 + cases.index((behave, code, words))}"), 30 + cases.index((behave, code, words)))

    def test_hangs_and_bombs_end_at_their_limits(self):
        self.start()
        self.assert_failed(self.run_one("BEHAVE=hang", "US=50"), "timeout", "hung or too slow", "the first run")
        self.assert_failed(self.run_one("BEHAVE=bomb", "US=50"), "compile_timeout", "limit")
        self.assert_good(self.run_one("BEHAVE=ok", "US=50"))

    @unittest.skipIf(os.environ.get("HONE_SANITIZE"), "a sanitizer's address space has no limit")
    def test_a_compiler_that_eats_memory(self):
        self.start()
        self.assert_failed(self.run_one("BEHAVE=eat", "US=50"), "resources", "memory")

    def test_equal_code_is_not_run_again(self):
        self.start()
        first = self.run_one("BEHAVE=ok", "US=50", "GRID=1")
        self.assert_good(first)
        # Another name for the same code and launch; and the same code with another launch, which is compiled once but measured.
        compiled = self.compile("BEHAVE=ok", "US=50", "GRID=2")
        self.assertEqual(compiled["compile_ms"], 0)
        again = self.measure(compiled["handle"])
        self.assertEqual(again["same_as"], 0)
        self.assertEqual(again["summary"], first["summary"])
        other = self.compile("BEHAVE=ok", "US=50", "GRID=3", launch={"grid": [3]})
        self.assertEqual(other["compile_ms"], 0)
        measured = self.measure(other["handle"])
        self.assertNotIn("same_as", measured)
        self.assert_good(measured)
        # A failure is the code's, too.
        self.assert_failed(self.run_one("BEHAVE=wrong", "US=50", "GRID=1"), "wrong_result")
        self.assert_failed(self.run_one("BEHAVE=wrong", "US=50", "GRID=2"), "wrong_result")

    def test_launches_are_refused_before_anything_is_compiled(self):
        self.start()
        self.assert_failed(self.compile("BEHAVE=bomb", "US=1", launch={"block": [2048]}), "resources", "2048 threads of at most 1024")
        self.assert_failed(self.compile("BEHAVE=bomb", "US=1", launch={"shared_bytes": 300000}), "resources", "300000 bytes", "232448")
        self.assert_failed(self.compile("BEHAVE=bomb", "US=1", launch={"grid": [3], "cluster": [2]}), "resources", "no multiple")
        self.assert_failed(self.compile("BEHAVE=bomb", "US=1", launch={"grid": []}), "bad_request", "launch")
        self.assert_failed(self.compile("BEHAVE=ok", "US=1", options=["-arch=sm_50"]), "compile_error", "sm_90a")
        # What only the compiled code tells: static and dynamic shared memory together, and clusters.
        self.assert_failed(self.run_one("BEHAVE=static", "US=1", launch={"shared_bytes": 4096}), "resources", "232000 bytes of static and 4096")
        self.assert_failed(self.run_one("BEHAVE=ok", "US=1", launch={"grid": [5], "cluster": [5]}), "resources", "no cluster of 5")
        self.assert_failed(self.run_one("BEHAVE=ok", "US=1", launch={"grid": [133, 16], "cooperative": True}), "resources", "2128 blocks", "16 on each of 132")
        # The fake takes the grid's barrier only from a cooperative launch.
        self.assert_failed(self.run_one("BEHAVE=gridsync", "US=1", launch={"grid": [2]}), "crash", "LAUNCH_FAILED")
        self.assert_good(self.run_one("BEHAVE=gridsync", "US=40", launch={"grid": [132, 16], "cooperative": True}), 40)
        self.assert_good(self.run_one("BEHAVE=gridsync", "US=41", launch={"grid": [8], "cluster": [4], "cooperative": True}), 41)
        self.assert_good(self.run_one("BEHAVE=ok", "US=40", launch={"grid": [8], "cluster": [4], "shared_bytes": 100000}), 40)
        self.assert_good(self.run_one("BEHAVE=ok", "US=40", launch={"shared_bytes": 60000}), 40)

    def test_slow_configs_are_abandoned(self):
        self.start()
        handle = self.compile("BEHAVE=ok", "US=500")["handle"]
        reply = self.measure(handle, incumbent_ns=20000)
        self.assertEqual(reply["outcome"], "abandoned", reply)
        self.assertLessEqual(reply["summary"]["samples"], 8)

    def test_resources_are_reported(self):
        self.start()
        resources = self.run_one("BEHAVE=ok", "US=50", launch={"shared_bytes": 100})["resources"]
        self.assertEqual({name: resources[name] for name in ("registers", "local_bytes", "shared_bytes", "blocks_per_sm", "occupancy")},
                         {"registers": 40, "local_bytes": 0, "shared_bytes": 100, "blocks_per_sm": 16, "occupancy": 1.0})
        self.assertAlmostEqual(resources["sm_mhz"], 1500, delta=2)

    def test_finalists_are_compared_and_a_faulty_one_is_named(self):
        self.start()
        handles = [self.compile("BEHAVE=ok", f"US={us}")["handle"] for us in (50, 40, 60)]
        reply = self.session.ask("compare", handles=handles, rounds=7, budget_ms=500)
        self.assertEqual([len(row) for row in reply["samples_ns"]], [7, 7, 7], reply)
        medians = [sorted(row)[3] for row in reply["samples_ns"]]
        self.assertTrue(medians[1] < medians[0] < medians[2])
        handles.append(self.compile("BEHAVE=illegal", "US=10")["handle"])
        reply = self.session.ask("compare", handles=handles, rounds=7, budget_ms=500)
        self.assert_failed(reply, "crash", "ILLEGAL_ADDRESS")
        self.assertEqual(reply["error"]["handle"], handles[3])
        self.assertTrue(self.session.ask("compare", handles=handles[:3], rounds=2, budget_ms=500)["ok"])

    def test_a_reference_that_fails_is_the_problems_fault(self):
        self.start(prepare=False)
        bad = problem()
        bad["reference"]["source"] = "#error no such thing"
        self.assert_failed(self.session.ask("prepare", **bad), "reference_failed", "does not compile", "no such thing")
        bad = problem()
        bad["reference"]["launch"] = None
        self.assert_failed(self.session.ask("prepare", **bad), "reference_failed", "launch geometry")
        bad = problem()
        bad["kernel"]["language"] = "c"
        self.assert_failed(self.session.ask("prepare", **bad), "unsupported", '"cuda"')
        self.assertTrue(self.session.ask("prepare", **problem())["ok"])
        self.assert_good(self.run_one("BEHAVE=ok", "US=50"))


class DriverTest(Gpu):
    def refused(self, code, *words, cuda="", device="cuda:0", **more):
        reply = self.start(cuda, device, prepare=False, **more)
        self.assert_failed(reply, code, *words)

    def test_what_is_missing_is_said(self):
        self.refused("no_device", "sees no GPU", cuda="devices=0")
        self.refused("no_device", "sees no GPU", cuda="init=100")
        self.refused("no_device", "there is no cuda:3", device="cuda:3")
        self.refused("no_device", "CUDA 11.2", "11.8 or later", cuda="version=11020")
        self.refused("no_device", "reboot", cuda="init=803")
        self.refused("no_device", "creating a context", cuda="context=2")
        self.refused("unsupported", "NVRTC 13", "12.4", HONE_FAKE_NVRTC_VERSION="130")

    def test_libraries_that_are_none(self):
        session = Session([TOOL, "worker"], dict(environment(), HONE_CUDA_LIBRARY="/nowhere/libcuda.so.1"))
        self.addCleanup(session.close)
        self.assert_failed(session.ask("hello", protocol=[1], device="cuda:0", peaks=False), "no_device", "no CUDA driver", "/nowhere")
        session = Session([TOOL, "worker"], dict(environment(), HONE_CUDA_LIBRARY=os.path.join(FAKE, "fake_nvrtc.so")))
        self.addCleanup(session.close)
        self.assert_failed(session.ask("hello", protocol=[1], device="cuda:0", peaks=False), "no_device", "no CUDA driver")
        session = Session([TOOL, "worker"], dict(environment(), HONE_NVRTC_LIBRARY=os.path.join(FAKE, "fake_cuda.so")))
        self.addCleanup(session.close)
        self.assert_failed(session.ask("hello", protocol=[1], device="cuda:0", peaks=False), "unsupported", "HONE_NVRTC_LIBRARY")

    def test_no_memory_for_the_buffers(self):
        self.start("memory=2", prepare=False)
        big = problem()
        big["args"][0]["shape"] = [1 << 22]
        self.assert_failed(self.session.ask("prepare", **big), "reference_failed", "no memory for in", "of 2 MiB")

    def test_equal_gpus_measure_side_by_side(self):
        hello = self.start("devices=2", "cuda:all")
        self.assertEqual(hello["measures"], 2)
        handles = [self.compile("BEHAVE=ok", f"US={us}")["handle"] for us in (51, 52)]
        hang = self.compile("BEHAVE=hang", "US=1")["handle"]
        # A hang on one GPU keeps only that one: the other answers meanwhile, and both work afterwards.
        self.session.send(json.dumps({"id": 900, "op": "measure", "handle": hang, "precision": 0.01, "budget_ms": 50, "incumbent_ns": 0}))
        self.assert_good(self.measure(handles[0]), 51)
        self.assert_good(self.measure(handles[1]), 52)
        late = self.session.read()
        self.assertEqual(late["id"], 900)
        self.assert_failed(late, "timeout")
        reply = self.session.ask("compare", handles=handles, rounds=3, budget_ms=100)
        self.assertTrue(reply["ok"], reply)

    def test_peaks(self):
        session = Session([TOOL, "worker"], environment())
        self.addCleanup(session.close)
        peaks = session.ask("hello", protocol=[1], device="cuda", peaks=True)["peaks"]
        self.assertEqual(set(peaks), {"gbps", "gflops", "tf32_gflops", "fp16_gflops", "bf16_gflops"})
        for name, value in peaks.items():
            self.assertGreater(value, 0, name)

    def test_real_nvrtc_compiles(self):
        env = environment("version=13000")
        del env["HONE_NVRTC_LIBRARY"]
        self.session = session = Session([TOOL, "worker"], env)
        self.addCleanup(session.close)
        hello = session.ask("hello", protocol=[1], device="cuda:0", peaks=False)
        if not hello["ok"]:
            self.assert_failed(hello, "unsupported", "no NVRTC")
            self.skipTest(hello["error"]["message"])
        source = """#include <cuda_fp16.h>
            namespace { __device__ float twice(float x) { return K * x; } }
            __global__ void scale(const float *in, float *out, int n) {
                for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) out[i] = __half2float(__float2half(twice(in[i]))); }"""
        body = problem(reference=None)
        body["kernel"]["source"] = source
        self.assertTrue(session.ask("prepare", **body)["ok"])
        good = self.compile("K=2", "GRID=1")
        self.assertTrue(good["ok"], good)
        self.assertGreater(good["resources"]["object_bytes"], 1000)
        self.assertTrue(self.measure(good["handle"])["ok"])
        bad = self.compile("K=undeclared", "GRID=1")
        self.assert_failed(bad, "compile_error", "scale.cu(2)", "undeclared")
        self.assertEqual(self.compile("K=2", "GRID=9")["compile_ms"], 0)
        body["kernel"]["entry"] = "twice"
        self.assertTrue(session.ask("prepare", **body)["ok"])
        self.assert_failed(self.compile("K=2", "GRID=1"), "compile_error", "no __global__ function twice at global scope")


if __name__ == "__main__":
    unittest.main()
