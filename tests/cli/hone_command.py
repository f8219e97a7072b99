"""What tests of the command share: run it with a clean environment and a private cache, and a small kernel that tunes in seconds."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

TOOL = os.environ["HONE_TOOL"]
SOURCE_DIR = os.environ["HONE_SOURCE_DIR"]
BUILD_DIR = os.environ["HONE_BUILD_DIR"]
SANITIZE = os.environ.get("HONE_SANITIZE", "")
# A sanitized command is several times slower, and slower still when tests run beside it.
PATIENCE = 4 if SANITIZE else 1

KERNEL_SOURCE = """/* saxpy.c: y = a * x + y in blocks; for tests of the command. */
#include <stdint.h>
void saxpy(const float *x, float *y, float a, int64_t n) {
    for (int64_t i = 0; i < n; i += BLOCK)
        for (int64_t j = i; j < (i + BLOCK < n ? i + BLOCK : n); j += UNROLL)
            for (int64_t k = j; k < (j + UNROLL < n ? j + UNROLL : n); k++)
                y[k] = a * x[k] + y[k];
}
"""
REFERENCE_SOURCE = """/* saxpy_ref.c: the reference of saxpy.c. */
#include <stdint.h>
void saxpy_ref(const float *x, float *y, float a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = a * x[i] + y[i];
}
"""
# Without flops and bytes, so that no search ends early at the roofline.
SPEC = {
    "hone": 1,
    "name": "saxpy",
    "language": "c",
    "source": "saxpy.c",
    "entry": "saxpy",
    "options": ["-O${OPT}"],
    "sizes": {"N": {"default": 20000, "min": 1, "max": 10000000, "role": "exact", "near": "snap"}},
    "args": [
        {"name": "x", "kind": "buffer", "dtype": "f32", "shape": ["N"]},
        {"name": "y", "kind": "buffer", "dtype": "f32", "shape": ["N"], "access": "inout"},
        {"name": "a", "kind": "scalar", "dtype": "f32", "value": 1.5},
        {"name": "n", "kind": "scalar", "dtype": "i64", "value": "N"},
    ],
    "params": {
        "BLOCK": {"kind": "pow2", "min": 8, "max": 4096, "default": 64},
        "UNROLL": {"kind": "pow2", "min": 1, "max": 64, "default": 1},
        "OPT": {"kind": "enum", "values": [1, 2, 3], "default": 1},
    },
    "constraints": ["BLOCK % UNROLL == 0"],
    "reference": {"source": "saxpy_ref.c", "entry": "saxpy_ref"},
    "tolerance": {"rtol": 1e-5, "atol": 1e-6},
}


def clean_environment(folder):
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("HONE_LLM", "HONE_CACHE", "HONE_AUTOTUNER", "HONE_WORKER", "XDG_", "OPENAI", "ANTHROPIC"))}
    env.update(HOME=folder, LC_ALL="C.UTF-8", TERM="dumb")
    return env


class CommandTest(unittest.TestCase):
    """Each test has a folder of its own: cache, kernel, home."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="hone-cli-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.cache = os.path.join(self.folder, "cache.hone")
        self.env = clean_environment(self.folder)

    def run_hone(self, *words, timeout=60, **more):
        options = {"capture_output": True, "text": True, "env": self.env, "cwd": self.folder, "stdin": subprocess.DEVNULL}
        if "input" in more:
            del options["stdin"]
        options.update(more)
        return subprocess.run([TOOL, *words], timeout=timeout * PATIENCE, **options)

    def expect(self, code, *words, **more):
        done = self.run_hone(*words, **more)
        self.assertEqual(done.returncode, code, f"hone {' '.join(words)}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    def write_kernel(self, **changes):
        self.write("saxpy.c", KERNEL_SOURCE)
        self.write("saxpy_ref.c", REFERENCE_SOURCE)
        return self.write("saxpy.json", {**SPEC, **changes})
