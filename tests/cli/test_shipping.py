"""Shipping: tune on one machine, export, sign, put the pack into another folder tree, of another user, read-only; look up from C programs that
link libhone, by a signed pack beside the program and by a pack within it."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from cli.hone_command import BUILD_DIR, CommandTest, PATIENCE, SANITIZE, SOURCE_DIR
from cli.made_cache import entry, make
from cli.test_install import from_cmake_cache

EXAMPLES = os.path.join(SOURCE_DIR, "tests/examples/embedded")


class ShippingTest(CommandTest):
    def compile(self, output, *words):
        """By the libraries that the build found, as `pkg-config --libs hone` would say them."""
        libraries = subprocess.run(["pkg-config", "--libs", "lmdb", "libcjson", "libxxhash", "libcurl", "zlib", "libcrypto"], capture_output=True,
                                   text=True, check=True, timeout=30).stdout.split()
        sanitize = [f"-fsanitize={SANITIZE}"] if SANITIZE else []
        done = subprocess.run([from_cmake_cache("CMAKE_C_COMPILER"), "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *sanitize,
                               "-I", os.path.join(SOURCE_DIR, "include"), "-o", output, *words, os.path.join(BUILD_DIR, "libhone.a"), *libraries, "-lm",
                               "-lpthread", "-ldl"], capture_output=True, text=True, timeout=120 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return output

    def tune(self):
        spec = self.write_kernel()
        tuned = json.loads(self.expect(0, "tune", spec, "--cache", self.cache, "--search", "random", "--max-trials", "4", "--json", "-q", timeout=120).stdout)
        return spec, json.dumps(tuned["config"], separators=(",", ":"))

    def as_nobody(self, *words):
        """In a world where nothing of ours can be written, as another user if we may choose."""
        if os.geteuid() == 0 and shutil.which("setpriv"):
            words = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words)
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
        if SANITIZE:
            env["ASAN_OPTIONS"] = "detect_leaks=0" # another user may not trace
        return subprocess.run(words, capture_output=True, text=True, env=env, cwd="/", timeout=60 * PATIENCE)

    def test_a_signed_pack_in_another_tree(self):
        spec, config = self.tune()
        pack, key = os.path.join(self.folder, "app.hpk"), os.path.join(self.folder, "vendor")
        self.expect(0, "export", self.cache, "-o", pack)
        self.expect(0, "keygen", key)
        self.expect(0, "sign", pack, "--key", key + ".key")
        program = self.compile(os.path.join(self.folder, "shipped"), os.path.join(EXAMPLES, "shipped.c"))
        tree = tempfile.mkdtemp(prefix="hone-ship-")
        self.addCleanup(shutil.rmtree, tree, True)
        self.addCleanup(subprocess.run, ["chmod", "-R", "u+w", tree], timeout=30)
        place = os.path.join(tree, "opt/app/share")
        os.makedirs(place)
        for path in (pack, pack + ".sig", key + ".pub", program, spec, *(os.path.join(self.folder, name) for name in ("saxpy.c", "saxpy_ref.c"))):
            shutil.copy(path, place)
        subprocess.run(["chmod", "-R", "a+rX,a-w", tree], check=True, timeout=30)
        names = [os.path.join(place, name) for name in ("shipped", "saxpy.json", "app.hpk", "vendor.pub")]
        if os.geteuid() == 0:
            # A really read-only filesystem, where the machine lets us have one.
            bound = subprocess.run(["mount", "--bind", "-o", "ro", tree, tree], capture_output=True, timeout=30).returncode == 0
            if bound:
                self.addCleanup(subprocess.run, ["umount", "-l", tree], timeout=30)
                subprocess.run(["mount", "-o", "remount,bind,ro", tree], capture_output=True, timeout=30)
        done = self.as_nobody(*names)
        self.assertEqual((done.returncode, done.stdout), (0, f"exact {config}\n"), done.stderr)
        # Without its signature, and by a key that nobody trusts, it is refused.
        other = os.path.join(self.folder, "other")
        self.expect(0, "keygen", other)
        lonely = os.path.join(self.folder, "lonely.hpk")
        shutil.copy(pack, lonely)
        for changed in ([program, spec, lonely, key + ".pub"], [program, spec, pack, other + ".pub"]):
            done = subprocess.run(changed, capture_output=True, text=True, env=self.env, timeout=60 * PATIENCE)
            self.assertEqual(done.returncode, 1)
            self.assertIn("E_UNSAFE", done.stderr)

    def test_packs_within_programs(self):
        spec, config = self.tune()
        built, header = os.path.join(self.folder, "pack.o"), os.path.join(self.folder, "pack.h")
        self.expect(0, "export", self.cache, "-o", built, "--format", "object")
        self.expect(0, "export", self.cache, "-o", header, "--format", "c-header")
        source = os.path.join(EXAMPLES, "embedded.c")
        linked = self.compile(os.path.join(self.folder, "linked"), source, built)
        included = self.compile(os.path.join(self.folder, "included"), "-DPACK_HEADER=\"pack.h\"", "-I", self.folder, source)
        os.remove(self.cache)
        for program in (linked, included):
            done = subprocess.run([program, spec], capture_output=True, text=True, env=self.env, timeout=60 * PATIENCE)
            self.assertEqual((done.returncode, done.stdout), (0, f"exact {config}\n"), done.stderr)

    def test_objects(self):
        make(self, self.cache, [entry(i) for i in range(5)])
        pack = os.path.join(self.folder, "p.hpk")
        self.expect(0, "export", self.cache, "-o", pack)
        for machine, number in (("x86-64", 62), ("aarch64", 183)):
            with self.subTest(machine=machine):
                out = os.path.join(self.folder, machine + ".o")
                self.expect(0, "export", self.cache, "-o", out, "--format", "object", "--machine", machine, "--symbol", "my_pack")
                self.expect(0, "export", self.cache, "-o", out + "2", "--format", "object", "--machine", machine, "--symbol", "my_pack")
                with open(out, "rb") as file, open(out + "2", "rb") as again, open(pack, "rb") as plain:
                    content, bytes_ = file.read(), plain.read()
                    self.assertEqual(content, again.read())
                self.assertIn(bytes_, content)
                self.assertEqual(content.index(bytes_) % 64, 0)
                if shutil.which("readelf"):
                    shown = subprocess.run(["readelf", "-hSsnW", out], capture_output=True, text=True, timeout=30)
                    self.assertEqual((shown.returncode, shown.stderr), (0, ""))
                    self.assertRegex(shown.stdout, rf"{len(bytes_)} OBJECT +GLOBAL HIDDEN +1 my_pack\n")
                    self.assertRegex(shown.stdout, r" 8 OBJECT +GLOBAL HIDDEN +1 my_pack_size\n")
                    self.assertIn("REL (Relocatable file)", shown.stdout)
                    self.assertIn("IBT, SHSTK" if number == 62 else "BTI, PAC", shown.stdout)
                self.assertEqual(int.from_bytes(content[18:20], "little"), number)


if __name__ == "__main__":
    unittest.main(verbosity=2)
