"""hone.h compiles alone as C11 and as C++17, by gcc and by clang, with all warnings as errors."""
import os
import shutil
import subprocess
import unittest

SOURCE_DIR = os.environ["HONE_SOURCE_DIR"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wundef", "-Werror"]


class HeaderTest(unittest.TestCase):
    def compile(self, compiler, language, standard):
        if shutil.which(compiler) is None:
            self.skipTest(f"{compiler} is not installed")
        command = [compiler, "-x", language, f"-std={standard}", *WARNINGS, "-fsyntax-only",
                   "-I", os.path.join(SOURCE_DIR, "include"), os.path.join(SOURCE_DIR, "tests/headertest/header_alone.c")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), " ".join(command))

    def test_c11_gcc(self):
        self.compile("gcc", "c", "c11")

    def test_c11_clang(self):
        self.compile("clang", "c", "c11")

    def test_cxx17_gcc(self):
        self.compile("g++", "c++", "c++17")

    def test_cxx17_clang(self):
        self.compile("clang++", "c++", "c++17")

    def test_a_warning_would_be_seen(self):
        """The check can fail: a header that is not C++ is refused by the same flags."""
        command = ["g++", "-x", "c++", "-std=c++17", *WARNINGS, "-fsyntax-only", "-"]
        done = subprocess.run(command, input="int f(x) int x; { return x; }", capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
