"""The scripts of README.md on machines that are not this one: packages.sh with made-up package tools in PATH; .ci/run; shell syntax."""
import os
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

SOURCE_DIR = os.environ["HONE_SOURCE_DIR"]
BUILD_DIR = os.environ["HONE_BUILD_DIR"]
SCRIPTS = ["tests/packages.sh", "tests/quickstart.sh", "tests/run.sh"]


class PackagesTest(unittest.TestCase):
    def setUp(self):
        self.bin = tempfile.mkdtemp(prefix="hone-scripts-")
        self.addCleanup(shutil.rmtree, self.bin, True)
        self.log = os.path.join(self.bin, "log")
        for name in ("sed", "env", "sh", "echo", "head"):
            os.symlink(shutil.which(name), os.path.join(self.bin, name))
        self.tool("cmake", "echo cmake version 3.25.1")
        self.tool("clang", "echo Debian clang version 14.0.6")
        self.tool("id", "echo 0")
        self.tool("apt-get", f'echo "apt-get $DEBIAN_FRONTEND $*" >> {self.log}')
        self.installed("*")

    def tool(self, name, body):
        path = os.path.join(self.bin, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{body}\n")
        os.chmod(path, stat.S_IRWXU)

    def installed(self, pattern):
        """A dpkg-query that knows the packages that match a shell pattern."""
        self.tool("dpkg-query", f'for last; do :; done\ncase $last in {pattern}) printf "install ok installed" ;; *) exit 1 ;; esac')

    def run_script(self, code):
        done = subprocess.run(["/bin/sh", os.path.join(SOURCE_DIR, "tests/packages.sh")], env={"PATH": self.bin}, capture_output=True, text=True,
                              timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def logged(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as file:
            return file.read().splitlines()

    def test_nothing_missing(self):
        self.run_script(0)
        self.assertEqual(self.logged(), [])

    def test_missing_ones_are_installed_as_root(self):
        self.installed("[!lc]*")
        self.run_script(0)
        lines = self.logged()
        self.assertEqual(lines[0], "apt-get noninteractive update -qq")
        for name in ("liblmdb-dev", "libcjson-dev", "cmake", "clang", "ca-certificates"):
            self.assertIn(f" {name}", lines[1])
        self.assertNotIn("gcc", lines[1])
        self.assertIn("libclang-rt-14-dev", lines[2])

    def test_sudo_for_others(self):
        self.installed("[!p]*")
        self.tool("id", "echo 1000")
        self.tool("sudo", f'echo sudo >> {self.log}\nexec "$@"')
        self.run_script(0)
        self.assertEqual(self.logged()[:2], ["sudo", "apt-get noninteractive update -qq"])

    def test_neither_root_nor_sudo(self):
        self.installed("[!p]*")
        self.tool("id", "echo 1000")
        self.assertIn("missing: pkg-config python3", self.run_script(4).stderr)
        self.assertEqual(self.logged(), [])

    def test_installing_fails(self):
        self.installed("[!p]*")
        self.tool("apt-get", "exit 100")
        self.run_script(100)

    def test_cmake_too_old(self):
        for version, code in (("3.22.1", 4), ("3.24.9", 4), ("3.25.0", 0), ("4.0.2", 0), ("2.8", 4)):
            with self.subTest(version=version):
                self.tool("cmake", f"echo cmake version {version}")
                done = self.run_script(code)
                self.assertEqual("CMake 3.25" in done.stderr, code != 0)

    def test_another_distribution(self):
        os.unlink(os.path.join(self.bin, "dpkg-query"))
        self.assertIn("no Debian or Ubuntu", self.run_script(0).stderr)


class ScriptTest(unittest.TestCase):
    def test_syntax(self):
        for name in SCRIPTS:
            done = subprocess.run(["/bin/sh", "-n", os.path.join(SOURCE_DIR, name)], capture_output=True, text=True, timeout=30)
            self.assertEqual((done.returncode, done.stderr), (0, ""), name)

    def test_quickstart_builds_what_is_installed(self):
        """Its last line names `cmake --install`, which builds nothing."""
        with open(os.path.join(SOURCE_DIR, "tests/quickstart.sh"), encoding="utf-8") as file:
            targets = re.search(r"--target ([\w ]+);", file.read()).group(1).split()
        with open(os.path.join(BUILD_DIR, "cmake_install.cmake"), encoding="utf-8") as file:
            wanted = re.findall(re.escape(BUILD_DIR) + r"/((?:man|completion)/[\w.-]+|hone|libhone\.a)\"", file.read())
        self.assertGreater(len(wanted), 10)
        made = subprocess.run(["ninja", "-C", BUILD_DIR, "-t", "commands", *targets], capture_output=True, text=True, timeout=60)
        self.assertEqual(made.returncode, 0, made.stderr)
        words = set(made.stdout.split())
        self.assertEqual([name for name in wanted if name not in words], [])

    def test_ci_runs_the_command_of_the_readme(self):
        with open(os.path.join(SOURCE_DIR, "README.md"), encoding="utf-8") as file:
            readme = file.read()
        with open(os.path.join(SOURCE_DIR, ".ci/run"), encoding="utf-8") as file:
            ci = file.read()
        self.assertIn("    sh tests/run.sh\n", readme)
        self.assertIn("tests/run.sh", ci)
        self.assertTrue(os.access(os.path.join(SOURCE_DIR, ".ci/run"), os.X_OK))


if __name__ == "__main__":
    unittest.main(verbosity=2)
