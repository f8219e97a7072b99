"""Commands on specs, caches and devices: what they print, where, and how they fail."""
import json
import os
import stat
import unittest

from cli.hone_command import CommandTest, SOURCE_DIR

KERNELS = ["sgemm", "conv2d", "rmsnorm", "stencil3d"]


class SpecErrorTest(CommandTest):
    def test_wrong_path(self):
        for command in ("tune", "lookup", "explain", "prompt", "device"):
            done = self.expect(4, command, "no/such/spec.json")
            self.assertEqual(done.stdout, "")
            self.assertIn("no/such/spec.json", done.stderr)

    def test_a_folder_is_no_spec(self):
        done = self.run_hone("lookup", self.folder)
        self.assertIn(done.returncode, (3, 4))
        self.assertIn(self.folder, done.stderr)

    def test_json_that_is_none(self):
        for content in ("", "{", "[1,2", '{"a":1} x', "\x00", "nul", '{"a":1,"a":2}', "[" * 5000):
            with self.subTest(content=content[:20]):
                done = self.expect(3, "lookup", self.write("bad.json", content))
                self.assertIn("bad.json", done.stderr)
                self.assertEqual(done.stdout, "")

    def test_mistakes_have_a_pointer(self):
        cases = {
            "/params/BLOCK": {"params": {"BLOCK": {"kind": "pow2", "min": 3, "max": 8}}},
            "/sizes/N": {"sizes": {"N": {"default": "x"}}},
            "/constraints/0": {"constraints": ["BLOCK % "]},
            "/args/0": {"args": [{"name": "x", "kind": "bufer", "dtype": "f32", "shape": ["N"]}]},
            "/parms": {"parms": {}},
            "/source": {"source": "not_there.c"},
        }
        for pointer, change in cases.items():
            with self.subTest(pointer=pointer):
                done = self.run_hone("lookup", self.write_kernel(**change))
                self.assertIn(done.returncode, (3, 4) if pointer == "/source" else (3,), done.stderr)
                self.assertIn("saxpy.json", done.stderr)
                self.assertIn(pointer, done.stderr)

    def test_spec_from_stdin(self):
        path = self.write_kernel()
        with open(path, encoding="utf-8") as file:
            done = self.expect(1, "lookup", "-", input=file.read())
        self.assertEqual(json.loads(done.stdout)["BLOCK"], 64)

    def test_unknown_size_and_range(self):
        path = self.write_kernel()
        self.assertIn("N", self.expect(2, "lookup", path, "--set", "M=3").stderr)
        self.expect(2, "lookup", path, "--set", "N=0")
        self.expect(2, "lookup", path, "--set", "N=10000001")

    def test_unknown_device(self):
        path = self.write_kernel()
        for device in ("toaster", "cuda:x", "cpu:9"):
            with self.subTest(device=device):
                done = self.run_hone("lookup", path, "--device", device)
                self.assertIn(done.returncode, (2, 4), done.stderr)
                self.assertNotEqual(done.stderr, "")


class LookupTest(CommandTest):
    def test_default_without_a_cache(self):
        done = self.expect(1, "lookup", self.write_kernel())
        self.assertEqual(json.loads(done.stdout), {"BLOCK": 64, "UNROLL": 1, "OPT": 1})
        self.assertIn("default", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, ".cache")), "a look-up makes no cache")

    def test_json(self):
        done = self.expect(1, "lookup", self.write_kernel(), "--json", "--cache", self.cache)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["match"], "default")
        self.assertEqual(answer["config"], {"BLOCK": 64, "UNROLL": 1, "OPT": 1})

    def test_explain(self):
        path = self.write_kernel()
        self.assertNotEqual(self.expect(0, "explain", path).stdout, "")
        json.loads(self.expect(0, "explain", path, "--json").stdout)

    def test_real_kernels_have_defaults(self):
        for name in KERNELS:
            with self.subTest(kernel=name):
                done = self.expect(1, "lookup", os.path.join(SOURCE_DIR, f"tests/kernels/{name}.json"))
                self.assertIsInstance(json.loads(done.stdout), dict)

    def test_foreign_file_as_cache_is_no_reason_to_fail(self):
        """A look-up answers whatever is wrong with the cache; commands about the cache say what is wrong."""
        foreign = self.write("foreign.hone", "this is no cache\n" * 500)
        done = self.expect(1, "lookup", self.write_kernel(), "--cache", foreign)
        self.assertEqual(json.loads(done.stdout)["BLOCK"], 64)
        self.assertIn("foreign.hone", done.stderr)
        self.expect(3, "ls", "--cache", foreign)
        self.expect(3, "stats", "--cache", foreign)
        with open(foreign, encoding="utf-8") as file:
            self.assertTrue(file.read().startswith("this is no cache"), "reading commands leave the file alone")


class CacheCommandTest(CommandTest):
    def test_no_cache_yet(self):
        self.assertEqual(self.expect(0, "ls").stdout, "")
        self.assertEqual(self.expect(0, "stats").stdout, "")
        self.expect(1, "show", "abcd")

    def test_named_cache_that_is_not_there(self):
        for words in (["ls"], ["stats"], ["show", "abcd"]):
            done = self.expect(4, *words, "--cache", os.path.join(self.folder, "none.hone"))
            self.assertIn("none.hone", done.stderr)
            self.assertFalse(os.path.exists(os.path.join(self.folder, "none.hone")))

    def test_no_permission(self):
        path = self.write_kernel()
        locked = os.path.join(self.folder, "locked")
        os.mkdir(locked)
        os.chmod(locked, stat.S_IRUSR | stat.S_IXUSR)
        self.addCleanup(os.chmod, locked, 0o700)
        if os.geteuid() == 0:
            self.skipTest("root may write anywhere")
        done = self.expect(4, "tune", path, "--max-trials", "2", "--cache", os.path.join(locked, "cache.hone"))
        self.assertIn("locked", done.stderr)

    def test_cache_in_a_folder_that_cannot_be(self):
        self.write("file", "x")
        done = self.run_hone("tune", self.write_kernel(), "--max-trials", "2", "--cache", os.path.join(self.folder, "file/cache.hone"))
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn(os.path.join(self.folder, "file"), done.stderr)


class DeviceTest(CommandTest):
    def test_cpu(self):
        done = self.expect(0, "device", "--device", "cpu")
        self.assertIn("cpu", done.stdout)
        device = json.loads(self.expect(0, "device", "--device", "cpu", "--json").stdout)
        self.assertEqual(device["kind"], "cpu")
        self.assertRegex(device["id"], r"^[0-9a-f]{32}$")
        self.assertTrue(device["identity"])
        again = json.loads(self.expect(0, "device", self.write_kernel(), "--json").stdout)
        self.assertEqual(again["id"], device["id"])

    def test_gpu(self):
        if not os.path.exists("/dev/nvidiactl"):
            self.expect(4, "device", "--device", "cuda:0")
            self.skipTest("no NVIDIA GPU here: only the refusal was tested")
        device = json.loads(self.expect(0, "device", "--device", "cuda:0", "--json").stdout)
        self.assertEqual(device["kind"], "cuda")
        self.assertIn("arch", " ".join(device["identity"]))


class PromptTest(CommandTest):
    def test_prompt_is_printed_and_nothing_is_sent(self):
        path = self.write_kernel()
        # A cache remembers the device's measured peaks; without one they are measured each time and differ a little.
        self.expect(0, "tune", path, "--cache", self.cache, "--search", "random", "--max-trials", "2", "--set", "N=50", timeout=120)
        done = self.expect(0, "prompt", path, "--cache", self.cache, timeout=120)
        for word in ("saxpy", "BLOCK", "UNROLL", "void saxpy(const float"):
            self.assertIn(word, done.stdout)
        self.assertIn("nothing was sent", done.stderr)
        whole = json.loads(self.expect(0, "prompt", path, "--json", "--cache", self.cache, timeout=120).stdout)
        self.assertEqual(done.stdout, whole["system"] + "\n\n" + whole["user"] + "\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
