"""The CUDA kernels of tests/kernels and the Triton specs, without a GPU: spaces, compiling by NVRTC, and results of the kernels run on the CPU."""
import glob
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

ROOT = os.environ["HONE_SOURCE_DIR"]
KERNELS = os.path.join(ROOT, "tests", "kernels")
sys.path.insert(0, KERNELS)
import check_cuda  # noqa: E402
import run_on_cpu  # noqa: E402
from kernel_space import Spec  # noqa: E402



def language(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)["language"]


# hostile.json breaks every rule on purpose; tests/bench/gpu_hostile.py runs it.
CUDA = [path for path in sorted(glob.glob(os.path.join(KERNELS, "*.json"))) if language(path) == "cuda" and os.path.basename(path) != "hostile.json"]
TRITON = sorted(glob.glob(os.path.join(ROOT, "tests", "examples", "evaluator_triton", "*.json")))
SEED = int(os.environ.get("HONE_TEST_SEED", "1"))
# Compilers and kernels do not depend on how Hone was built, so they are tried with one preset only.
ONCE = unittest.skipUnless(os.path.basename(os.environ["HONE_BUILD_DIR"]) == "debug", "does not depend on the build: runs with preset debug")

# One case of each, for time (tests/kernels/run_on_cpu.py tries more): small problems that still have several tiles or rows, and edges; the configs keep launches small on a CPU.
ON_CPU = {
    "rms_norm": [({"ROWS": 3, "N": 1000}, {"TPR": 64, "HOLD": "async", "BLOCKS": 132, "STAGES": 2}), ({"ROWS": 5, "N": 7}, {"TPR": 64, "VEC": 1})],
    "layer_norm": [({"ROWS": 3, "N": 520}, {"TPR": 32, "GROUPS": 2, "HOLD": "bulk", "VARIANCE": "one_pass"}),
                   ({"ROWS": 133, "N": 40}, {"TPR": 64, "STAGES": 2, "BLOCKS": 128, "WEIGHTS": "registers"})],
    "softmax": [({"ROWS": 2, "N": 520}, {"TPR": 64, "VEC": 4, "HOLD": "reread", "SUM": "online"}),
                ({"ROWS": 300, "N": 72}, {"TPR": 32, "GROUPS": 2, "HOLD": "bulk", "STAGES": 3, "BLOCKS": 128, "STORE": "bulk"})],
    "transpose": [({"ROWS": 72, "COLS": 136}, {"METHOD": "matrix", "PAD": 0, "THREADS": 128}),
                  ({"ROWS": 392, "COLS": 520}, {"METHOD": "engine", "TR": 32, "TC": 32, "PAD": 0, "THREADS": 64, "BLOCKS": 128, "STAGES": 2, "BAND": 4}),
                  ({"ROWS": 35, "COLS": 70}, {"LV": 2, "SV": 1, "PAD": 0})],
    "matmul": [({"M": 64, "N": 64, "K": 104}, {"BM": 64, "BN": 64, "WM": 32, "WN": 32, "SPLIT_K": 2, "EPILOGUE": "direct"})],
    "matmul_wgmma": [({"M": 64, "N": 72, "K": 136}, {"CONSUMERS": 1, "EPILOGUE": "shuffled"})],
    "attention": [({"HEADS": 1, "SEQ": 64, "D": 64}, {"WARPS": 2, "BKV": 32, "STAGES": 3, "RESCALE": "vote"})],
}


class Spaces(unittest.TestCase):
    def test_hone_reads_the_specs(self):
        for path in CUDA + TRITON:
            done = subprocess.run([os.environ["HONE_TOOL"], "prompt", path, "--cache", os.path.join(self.folder.name, "none.hone"), "--evaluator",
                                   f"{sys.executable} {os.path.join(ROOT, 'tests', 'examples', 'evaluator_python', 'evaluator.py')}"],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, f"{path}: {done.stderr}")

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def test_defaults_and_seeds_are_valid(self):
        for path in CUDA + TRITON:
            spec = Spec(path)
            self.assertIsNone(spec.broken(spec.default), spec.name)
            for seed in spec.json.get("seeds", []):
                self.assertIsNone(spec.broken(spec.config(seed)), f"{spec.name}: {seed}")

    def test_spaces_are_worth_a_search(self):
        """Random draws find at least 300 valid configs of each CUDA kernel, 100 of each Triton kernel."""
        for path in CUDA + TRITON:
            spec, draw, found = Spec(path), random.Random(SEED), set()
            least = 300 if path in CUDA else 100
            for _ in range(400000):
                config = {name: draw.choice(values) for name, values in spec.params.items()}
                if spec.valid(config):
                    found.add(json.dumps(config, sort_keys=True))
                    if len(found) >= least:
                        break
            self.assertGreaterEqual(len(found), least, f"{spec.name} (seed {SEED})")

    def test_launches_fit_the_device(self):
        """Random valid configs ask for no more threads and shared memory than an H100 has."""
        for path in CUDA:
            spec, draw = Spec(path), random.Random(SEED)
            for _ in range(50):
                config = spec.random(draw)
                grid, block, cluster, shared = spec.launch(config)
                where = f"{spec.name} (seed {SEED}): {config}"
                self.assertLessEqual(block[0] * block[1] * block[2], 1024, where)
                self.assertEqual(block[0] % 32, 0, where)
                self.assertLessEqual(shared, 232448, where)
                self.assertGreaterEqual(min(grid), 1, where)
                if cluster is not None:
                    self.assertTrue(all(g % c == 0 for g, c in zip(grid, cluster)), where)


@ONCE
class Sources(unittest.TestCase):
    def test_nvrtc_compiles_them(self):
        """Reference and a seed of each, for sm_90a, without spills."""
        nvrtc = check_cuda.find_nvrtc()
        if nvrtc is None:
            self.skipTest("no libnvrtc.so on this machine (HONE_NVRTC names one)")
        for path in CUDA:
            spec = Spec(path)
            for config in (None, spec.config(spec.json["seeds"][-1])):
                _, found = check_cuda.compile_config(nvrtc, spec, config, "sm_90a", reference=config is None)
                self.assertEqual(found["spills"], 0, f"{spec.name}: {config}")
                self.assertLessEqual(found["registers"], 255)


@ONCE
class Results(unittest.TestCase):
    def check(self, name, sizes, sparse):
        spec = Spec(os.path.join(KERNELS, name + ".json"), **sizes)
        config = spec.config({key: value for key, value in sparse.items() if key in spec.params})
        with tempfile.TemporaryDirectory() as folder:
            words, expected = run_on_cpu.truth(spec, folder)
            return run_on_cpu.check(spec, config, folder, words, expected)

    def test_kernels_agree_with_their_references(self):
        jobs = [(name, *case) for name, cases in ON_CPU.items() for case in cases]
        with ThreadPoolExecutor(2) as pool:
            for job, error in zip(jobs, pool.map(lambda job: self.check(*job), jobs)):
                self.assertLessEqual(error, 1.0, job)

    def test_a_wrong_kernel_is_noticed(self):
        """A wait for one copy too few shows, although the copies are right."""
        spec = Spec(os.path.join(KERNELS, "matmul.json"), M=64, N=64, K=128)
        config = spec.config({"BM": 64, "BN": 64, "WM": 32, "WN": 32})
        with tempfile.TemporaryDirectory() as folder:
            words, expected = run_on_cpu.truth(spec, folder)
            with open(os.path.join(KERNELS, "matmul.cu"), encoding="utf-8") as file:
                text = file.read()
            self.assertIn("copy_wait<STAGES - 2>", text)
            with open(os.path.join(folder, "matmul.cu"), "w", encoding="utf-8") as file:
                file.write(text.replace("copy_wait<STAGES - 2>", "copy_wait<STAGES - 1>").replace('"half_ptx.cuh"', f'"{KERNELS}/half_ptx.cuh"'))
            spec.json["source"] = os.path.join(folder, "matmul.cu")
            with self.assertRaises(run_on_cpu.Wrong):
                run_on_cpu.check(spec, config, folder, words, expected)


class Triton(unittest.TestCase):
    def test_python_compiles(self):
        for path in glob.glob(os.path.join(ROOT, "tests", "examples", "evaluator_triton", "*.py")):
            with open(path, encoding="utf-8") as file:
                compile(file.read(), path, "exec")

    def test_no_gpu_is_a_clear_answer(self):
        """Where PyTorch or the GPU is missing, hello says so, and nothing hangs."""
        done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "tests", "examples", "evaluator_triton", "triton_evaluator.py")],
                              input='{"id":1,"op":"hello","protocol":[1],"device":null,"peaks":false}\n{"id":2,"op":"bye"}\n',
                              capture_output=True, text=True, timeout=120)
        replies = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([reply["id"] for reply in replies], [1, 2], done.stderr)
        if not replies[0]["ok"]:
            self.assertEqual(replies[0]["error"]["code"], "no_device")


if __name__ == "__main__":
    unittest.main()
