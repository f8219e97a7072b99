"""An installed Hone works for others: CMake package and pkg-config file, from C and from C++; README's example compiles and runs."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from cli.hone_command import BUILD_DIR, SANITIZE, SOURCE_DIR, clean_environment

SPEC = os.path.join(SOURCE_DIR, "tests/kernels/rmsnorm.json")
CONSUMER = os.path.join(SOURCE_DIR, "tests/examples/consumer")
PAGES = ["hone", *("hone-" + name for name in ("tune lookup explain prompt ls show stats diff verify export import merge keygen sign dump load "
                                             "prune compact gc simulate device completion help version").split())]


def from_cmake_cache(name):
    with open(os.path.join(BUILD_DIR, "CMakeCache.txt"), encoding="utf-8") as file:
        return re.search(rf"^{name}:\w+=(.*)$", file.read(), flags=re.M).group(1)


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="hone-install-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.env = clean_environment(cls.folder)
        cls.env["ASAN_OPTIONS"] = "detect_leaks=1"
        first = os.path.join(cls.folder, "first prefix")
        cls.call(["cmake", "--install", BUILD_DIR, "--prefix", first])
        # Everything is used from another place than it was installed to.
        cls.prefix = os.path.join(cls.folder, "moved")
        os.rename(first, cls.prefix)
        libdir = from_cmake_cache("CMAKE_INSTALL_LIBDIR")
        cls.lib = os.path.join(cls.prefix, libdir)
        cls.env["PKG_CONFIG_PATH"] = os.path.join(cls.lib, "pkgconfig")
        cls.compilers = {"c": from_cmake_cache("CMAKE_C_COMPILER"), "c++": from_cmake_cache("CMAKE_CXX_COMPILER")}
        cls.sanitize = [f"-fsanitize={SANITIZE}"] if SANITIZE else []

    @classmethod
    def call(cls, words, code=0, **more):
        done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=cls.env, **more)
        if done.returncode != code:
            raise AssertionError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def check_program(self, path):
        done = self.call([path, SPEC, os.path.join(tempfile.mkdtemp(dir=self.folder), "cache.hone")])
        self.assertRegex(done.stdout, r'^\d+\.\d+\.\d+ default \{"VW":8,.*\}\n$')
        done = self.call([path, SPEC + ".not", os.path.join(self.folder, "c.hone")], code=1)
        self.assertIn("rmsnorm.json.not", done.stderr)

    def build_consumer(self, name, *options):
        build = os.path.join(self.folder, name)
        flags = " ".join(self.sanitize)
        self.call(["cmake", "-S", CONSUMER, "-B", build, "-G", "Ninja", f"-DCMAKE_C_COMPILER={self.compilers['c']}",
                   f"-DCMAKE_CXX_COMPILER={self.compilers['c++']}", f"-DCMAKE_C_FLAGS={flags}", f"-DCMAKE_CXX_FLAGS={flags}", *options])
        self.call(["cmake", "--build", build])
        return build

    def test_files_are_there(self):
        wanted = ["bin/hone", "include/hone.h", *(f"share/man/man1/{page}.1" for page in PAGES), "share/bash-completion/completions/hone",
                  "share/zsh/site-functions/_hone", "share/fish/vendor_completions.d/hone.fish"]
        self.assertEqual([name for name in wanted if not os.path.getsize(os.path.join(self.prefix, name))], [])
        self.assertEqual(os.listdir(os.path.join(self.prefix, "include")), ["hone.h"])
        self.assertTrue(os.path.exists(os.path.join(self.lib, "libhone.a")))

    def test_nothing_remembers_where_it_was_built(self):
        for folder, _, names in os.walk(self.lib):
            for name in names:
                if name.endswith((".cmake", ".pc")):
                    with open(os.path.join(folder, name), encoding="utf-8") as file:
                        text = file.read()
                    self.assertNotIn(SOURCE_DIR, text, name)
                    self.assertNotIn("first prefix", text, name)

    def test_installed_command_runs(self):
        self.assertRegex(self.call([os.path.join(self.prefix, "bin/hone"), "--version"]).stdout, r"^hone \d")

    def test_cmake_package(self):
        build = self.build_consumer("by-package", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        self.check_program(os.path.join(build, "consumer_c"))
        self.check_program(os.path.join(build, "consumer_cxx"))

    def test_cmake_by_pkg_config(self):
        build = self.build_consumer("by-pkg-config", "-DUSE_PKG_CONFIG=ON")
        self.check_program(os.path.join(build, "consumer_c"))
        self.check_program(os.path.join(build, "consumer_cxx"))

    def test_other_version_is_refused(self):
        folder = os.path.join(self.folder, "newer")
        os.makedirs(folder)
        with open(os.path.join(folder, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write("cmake_minimum_required(VERSION 3.25)\nproject(newer LANGUAGES C)\nfind_package(hone 0.2)\n"
                       "if(hone_FOUND)\n  message(FATAL_ERROR \"taken\")\nendif()\n")
        self.call(["cmake", "-S", folder, "-B", folder + "/build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.prefix}"])

    def link_by_hand(self, language, source, output):
        flags = self.call(["pkg-config", "--cflags", "--libs", "hone"]).stdout.split()
        standard = "-std=c11" if language == "c" else "-std=c++17"
        self.call([self.compilers[language], standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", *self.sanitize, "-o", output, source, *flags])

    def test_pkg_config_by_hand(self):
        for language, source in (("c", "consumer.c"), ("c++", "consumer_cxx.cpp")):
            with self.subTest(language=language):
                output = os.path.join(self.folder, "by-hand-" + language)
                self.link_by_hand(language, os.path.join(CONSUMER, source), output)
                self.check_program(output)

    def test_example_of_readme(self):
        with open(os.path.join(SOURCE_DIR, "README.md"), encoding="utf-8") as file:
            blocks = [block for block in re.findall(r"^```c\n(.*?)^```", file.read(), flags=re.M | re.S) if "hone.h" in block]
        self.assertEqual(len(blocks), 1)
        source = os.path.join(self.folder, "readme.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(blocks[0])
        output = os.path.join(self.folder, "readme")
        self.link_by_hand("c", source, output)
        done = self.call([output], cwd=SOURCE_DIR)
        self.assertRegex(done.stdout, r"^default: \w+ = \d+\n$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
