"""The command on GPUs, with the fake driver of tests/fake: identity, tuning from the first config to the entry, and what is said when something
is missing."""
import json
import os
import subprocess
import tempfile
import unittest

from cli.hone_command import clean_environment

TOOL = os.environ["HONE_TOOL"]
FAKE = os.path.join(os.environ["HONE_BUILD_DIR"], "tests", "fake")
SPEC = {
    "hone": 1, "name": "scale", "language": "cuda", "source": "scale.cu", "entry": "scale", "sizes": {"N": 4096}, "precision": "fp16",
    "args": [{"name": "in", "kind": "buffer", "dtype": "f32", "shape": ["N"]},
             {"name": "out", "kind": "buffer", "dtype": "f32", "shape": ["N"], "access": "out"},
             {"name": "n", "kind": "scalar", "dtype": "i32", "value": "N"}],
    "params": {"BEHAVE": {"kind": "enum", "values": ["ok", "illegal", "wrong", "oom", "launch"]}, "US": {"kind": "enum", "values": [50, 20, 100]}},
    "launch": {"grid": [1], "block": [128]},
    "reference": {"entry": "scale_ref", "launch": {"grid": [1], "block": [128]}},
    "limits": {"run_s": 10},
}


class GpuTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        with open(os.path.join(self.folder, "scale.cu"), "w", encoding="utf-8") as file:
            file.write("void scale() { BEHAVE US } void scale_ref() {}\n")
        self.spec = os.path.join(self.folder, "scale.json")
        with open(self.spec, "w", encoding="utf-8") as file:
            json.dump(SPEC, file)
        self.cache = os.path.join(self.folder, "cache.hone")

    def run_tool(self, code, *words, fake="", **more):
        env = dict(clean_environment(self.folder), HONE_CUDA_LIBRARY=os.path.join(FAKE, "fake_cuda.so"),
                   HONE_NVRTC_LIBRARY=os.path.join(FAKE, "fake_nvrtc.so"), HONE_FAKE_CUDA=fake, **more)
        done = subprocess.run([TOOL, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def device(self, fake="", name="cuda:0"):
        return json.loads(self.run_tool(0, "device", "--device", name, "--json", fake=fake).stdout)

    def test_identity(self):
        whole = self.device()
        self.assertEqual(whole["identity"], {"arch": "sm_90", "memory_gib": 80, "mig": "none", "multiprocessors": 132, "pci": "10de:2330", "vendor": "nvidia"})
        self.assertEqual(self.device("version=13000")["id"], whole["id"], "the driver is no part of the identity")
        slice_of = self.device("mig=1")
        self.assertEqual((slice_of["identity"]["mig"], slice_of["identity"]["memory_gib"]), ("1g.10gb", 10))
        self.assertNotEqual(slice_of["id"], whole["id"])
        self.assertEqual(self.device("devices=2", "cuda:all")["id"], whole["id"])
        self.assertIn("cuda:1", self.run_tool(2, "device", "--device", "cuda:all", fake="devices=2 unequal=1").stderr)
        self.assertEqual(json.loads(self.run_tool(0, "device", "--json").stdout)["kind"], "cuda", "the first GPU is the default")
        self.assertEqual(json.loads(self.run_tool(0, "device", "--json", fake="devices=0").stdout)["kind"], "cpu")

    def test_missing_driver(self):
        self.assertIn("E_NODEVICE", self.run_tool(4, "device", "--device", "cuda:0", fake="devices=0").stderr)
        self.assertIn("E_NODRIVER", self.run_tool(4, "device", "--device", "cuda:0", fake="version=11000").stderr)
        self.assertIn("E_NODRIVER", self.run_tool(4, "tune", self.spec, "--cache", self.cache, fake="init=803").stderr)

    def test_tune(self):
        for fake, device in (("", "cuda:0"), ("devices=2", "cuda:all")):
            result = json.loads(self.run_tool(0, "tune", self.spec, "--device", device, "--cache", self.cache, "--search", "exhaustive", "--json", "--force",
                                              fake=fake).stdout)
            self.assertEqual(result["config"], {"BEHAVE": "ok", "US": 20})
            self.assertAlmostEqual(result["time_ms"], 0.02, delta=0.0005)
            self.assertEqual((result["trials"], result["failed"], result["accuracy"], result["warning"]), (15, 12, "passed", ""))
            self.assertEqual(result["entry"]["toolkit"], "NVRTC 12.4")
            self.assertEqual(result["entry"]["driver"][:4], "CUDA")
        found = self.run_tool(0, "lookup", self.spec, "--device", "cuda:0", "--cache", self.cache)
        self.assertEqual(json.loads(found.stdout), {"BEHAVE": "ok", "US": 20})


if __name__ == "__main__":
    unittest.main()
