"""The examples under tests/examples/launch do what they say: a launch loop in C, the same in C++, and a program that tunes in the background."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from cli.hone_command import BUILD_DIR, PATIENCE, SOURCE_DIR, TOOL, clean_environment

SPEC = os.path.join(SOURCE_DIR, "tests/examples/launch/transpose.json")


class ExamplesTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="hone-examples-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.cache = os.path.join(self.folder, "cache.hone")
        self.env = clean_environment(self.folder)

    def run_example(self, name, *arguments, code=0):
        words = [os.path.join(BUILD_DIR, "tests", name), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60 * PATIENCE, env=self.env)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def tune(self, rows, cols):
        subprocess.run([TOOL, "tune", SPEC, "--cache", self.cache, "--set", f"ROWS={rows}", "--set", f"COLS={cols}", "--search", "exhaustive", "--max-time", "3"],
                       capture_output=True, timeout=60 * PATIENCE, env=self.env, check=True)

    def test_launch_loop(self):
        done = self.run_example("launch_loop", SPEC, self.cache)
        self.assertEqual(done.stdout, "2000 launches: 0 exact, 0 near, 2000 default, last 1999\n")
        self.tune(1, 1)  # the loop's first launch, and each 512th
        done = self.run_example("launch_loop", SPEC, self.cache, "1024")
        self.assertRegex(done.stdout, r"^1024 launches: 2 exact, \d+ near, \d+ default, last 1023\n$")

    def test_launch_loop_goes_on_without_a_cache(self):
        done = self.run_example("launch_loop", SPEC, os.path.join(self.folder, "x" * 300), "10")
        self.assertIn("launching with defaults", done.stderr)
        self.assertIn("10 launches: 0 exact, 0 near, 10 default", done.stdout)

    def test_launch_loop_says_what_is_wrong_with_a_spec(self):
        done = self.run_example("launch_loop", SPEC + ".not", self.cache, code=1)
        self.assertIn("transpose.json.not", done.stderr)

    def test_cxx(self):
        self.assertEqual(self.run_example("launch_cxx", SPEC, self.cache).stdout, "default, y[1][0] = 1\n")
        self.tune(512, 512)
        self.assertEqual(self.run_example("launch_cxx", SPEC, self.cache).stdout, "exact, y[1][0] = 1\n")
        self.assertIn("transpose.json.not", self.run_example("launch_cxx", SPEC + ".not", self.cache, code=1).stderr)

    def test_kernel_of_readme(self):
        with open(os.path.join(SOURCE_DIR, "README.md"), encoding="utf-8") as file:
            source, spec = re.search(r"^```c\n(void transpose.*?)^```\n```json\n(.*?)^```", file.read(), flags=re.M | re.S).groups()
        for name, text in (("transpose.c", source), ("transpose.json", spec)):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([TOOL, "tune", os.path.join(self.folder, "transpose.json"), "--cache", self.cache, "--set", "N=64", "--max-trials", "4"],
                              capture_output=True, text=True, timeout=60 * PATIENCE, env=self.env)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"trials +4, 0 failed")

    def test_background_tuner(self):
        done = self.run_example("background_tuner", SPEC, self.cache, str(50 * PATIENCE))
        self.assertEqual(done.stdout, "first default, then exact\n")
        done = self.run_example("background_tuner", SPEC, self.cache)
        self.assertEqual(done.stdout, "first exact, then exact\n")
        listed = subprocess.run([TOOL, "ls", "--json", "--cache", self.cache], capture_output=True, text=True, timeout=60, env=self.env, check=True)
        self.assertEqual(len(re.findall(r'"kernel":"transpose"', listed.stdout)), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
