"""The symbols of libhone.a: what hone.h promises, as listed in tests/symbols.txt, and nothing that could clash with a host program."""
import os
import re
import shutil
import subprocess
import unittest

SOURCE_DIR = os.environ["HONE_SOURCE_DIR"]
LIBRARY = os.path.join(os.environ["HONE_BUILD_DIR"], "libhone.a")


def listed():
    with open(os.path.join(SOURCE_DIR, "tests/symbols.txt"), encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def declared():
    with open(os.path.join(SOURCE_DIR, "include/hone.h"), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    return sorted(re.findall(r"^HONE_API[^;(]*?\b(hone_\w+)\(", text, flags=re.M))


@unittest.skipIf(shutil.which("readelf") is None, "readelf (binutils) is not installed")
class SymbolsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run(["readelf", "-sW", LIBRARY], capture_output=True, text=True, timeout=120, check=True)
        cls.defined = {}
        for line in done.stdout.splitlines():
            words = line.split()
            if len(words) == 8 and words[4] in ("GLOBAL", "WEAK") and words[6] != "UND":
                cls.defined[words[7]] = words[5]
        # What sanitizers and compilers add of their own.
        cls.defined = {name: seen for name, seen in cls.defined.items()
                       if not name.startswith(("__odr_asan", "__asan", "__tsan", "__ubsan", "DW.ref.", "__x86.", "__sancov", "__start___sancov",
                                               "__stop___sancov"))}

    def test_list_is_sorted_and_says_what_the_header_says(self):
        self.assertEqual(listed(), sorted(listed()))
        self.assertEqual(listed(), declared())

    def test_public_symbols_are_the_listed_ones(self):
        public = sorted(name for name in self.defined if re.match(r"hone_[^_]", name))
        self.assertEqual(public, listed())

    def test_public_symbols_are_visible_and_internal_ones_hidden(self):
        for name, visibility in self.defined.items():
            with self.subTest(name=name):
                self.assertEqual(visibility, "DEFAULT" if re.match(r"hone_[^_]", name) else "HIDDEN")

    def test_nothing_outside_our_names(self):
        strangers = sorted(name for name in self.defined if not name.startswith("hone_"))
        self.assertEqual(strangers, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
