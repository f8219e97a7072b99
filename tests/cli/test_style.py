"""Rules of the house that a compiler does not check: banned functions, layers, sizes, names, purpose comments, the top level."""
import os
import re
import subprocess
import unittest

ROOT = os.environ["HONE_SOURCE_DIR"]
TOP_LEVEL = {"lib", "cachetool", "include", "tests", "spec", "CMakeLists.txt", "README.md", "LICENSE", "CHANGELOG.md", "CMakePresets.json"}
LINES_MAX = {"tests": 1200}  # elsewhere 800
FUNCTION_LINES_MAX = 70

# Unbounded, locale-bound, or process-wide.
BANNED = ["sprintf", "vsprintf", "strcpy", "strcat", "stpcpy", "strncpy", "strncat", "strtok", "gets", "atoi", "atol", "atof", "sscanf",
          "scanf", "system", "popen", "rand", "srand", "tmpnam", "mktemp", "alloca", "gmtime", "localtime", "ctime", "asctime", "strerror_l"]
# A library does not print, end the process, catch signals, start threads, or take memory past its one door.
BANNED_IN_LIBRARY = ["abort", "exit", "printf", "vprintf", "fprintf", "vfprintf", "puts", "putchar", "perror", "setlocale", "umask", "signal",
                     "sigaction", "pthread_create", "malloc", "calloc", "realloc", "free", "strdup", "strndup", "assert", "getpwnam",
                     "setjmp", "longjmp", "cJSON_Parse"]
# Where a banned function is right: file name, function, why.
ALLOWED = {
    ("alloc.c", "malloc"): "the one door to the heap",
    ("alloc.c", "calloc"): "the one door to the heap",
    ("alloc.c", "realloc"): "the one door to the heap",
    ("alloc.c", "free"): "the one door to the heap",
    ("status.c", "fprintf"): "a failed HONE_ASSERT, in debug builds only",
    ("status.c", "abort"): "a failed HONE_ASSERT, in debug builds only",
    ("tuner.c", "pthread_create"): "the one thread that stays, and only for programs that ask: hone_tuner_start",
    ("import_batch.c", "pthread_create"): "unpacks the next batch while the caller writes one; gone before hone_import returns",
    ("out_file.c", "pthread_create"): "writes one buffer past the page cache while the caller fills the next; gone before the file is finished",
    ("kernel_read.c", "free"): "the path that realpath() allocated",
    ("store_path.c", "free"): "the path that realpath() allocated",
    ("device.c", "free"): "the path that realpath() allocated",
    ("worker.c", "fprintf"): "a process of its own: hone_worker_main",
    ("worker.c", "signal"): "a process of its own: hone_worker_main",
    ("worker_timing.c", "sigaction"): "in the child of the worker that runs the kernel, to tell how it crashed",
    ("worker_peaks.c", "cJSON_Parse"): "a text of our own",
    ("process.c", "signal"): "in the child, between fork and exec: default dispositions",
    ("process.c", "sigaction"): "in the child, between fork and exec: default dispositions",
}


def files(*ends):
    """Paths of the tree, relative to its root; what git ignores, and hidden folders, are no part of it."""
    found = []
    for top in ("lib", "cachetool", "include", "tests"):
        for folder, folders, names in os.walk(os.path.join(ROOT, top)):
            folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
            found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names if name.endswith(ends)]
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def code_only(text):
    """C text with comments, strings and characters blanked; line numbers stay."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda hit: re.sub(r"[^\n]", " ", hit.group()), text, flags=re.S)


def calls(text, name):
    return [text.count("\n", 0, hit.start()) + 1 for hit in re.finditer(rf"(?<![\w.>]){name}\s*\(", text)]


class StyleTest(unittest.TestCase):
    def test_banned_functions(self):
        seen = []
        for path in files(".c", ".h"):
            room = path.split(os.sep)[0]
            if room not in ("lib", "cachetool"):
                continue
            text = code_only(read(path))
            banned = BANNED + (BANNED_IN_LIBRARY if room == "lib" else [])
            for name in banned:
                if (os.path.basename(path), name) not in ALLOWED:
                    seen += [f"{path}:{line}: {name}()" for line in calls(text, name)]
        self.assertEqual(seen, [])

    def test_the_check_sees_a_banned_call(self):
        text = code_only('/* sprintf( */ x = "strcpy("; my_atoi(s); a.free(p); strcpy (a, b);\n atoi(s);')
        self.assertEqual([calls(text, name) for name in ("sprintf", "strcpy", "atoi", "free")], [[], [1], [2], []])

    def test_layers_of_the_library(self):
        """Rooms include the headers of the rooms that CMakeLists.txt names for them, and of no others."""
        rooms = {words.split()[0]: words.split() for words in re.findall(r"^hone_room\(([^)]*)\)", read("CMakeLists.txt"), flags=re.M)}
        self.assertGreaterEqual(len(rooms), 10)
        home = {os.path.basename(path): path.split(os.sep)[1] for path in files(".h") if path.startswith("lib" + os.sep)}
        for path in files(".c", ".h"):
            if not path.startswith("lib" + os.sep):
                continue
            room = path.split(os.sep)[1]
            for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', read(path), flags=re.M):
                with self.subTest(file=path, include=name):
                    self.assertTrue(name == "hone.h" or home.get(name) in rooms[room])
            outside = {"lmdb.h": {"cache"}, "curl/curl.h": {"llm"}, "xxhash.h": {"base", "record"}}
            for name in re.findall(r"^\s*#\s*include\s+<([^>]+)>", read(path), flags=re.M):
                with self.subTest(file=path, include=name):
                    self.assertTrue(name not in outside or room in outside[name])

    def test_the_command_uses_only_the_public_header(self):
        own = {os.path.basename(path) for path in files(".h") if path.startswith("cachetool" + os.sep)}
        for path in files(".c", ".h"):
            if path.startswith("cachetool" + os.sep):
                for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', read(path), flags=re.M):
                    with self.subTest(file=path, include=name):
                        self.assertIn(name, own | {"hone.h"})

    def test_file_sizes(self):
        long = [f"{path}: {read(path).count(chr(10))} lines" for path in files(".c", ".h", ".cpp", ".py", ".sh")
                if read(path).count("\n") > LINES_MAX.get(path.split("/")[0], 800)]
        self.assertEqual(long, [])

    def test_functions_fit_a_screen(self):
        long = []
        for path in files(".c"):
            start = None
            for number, line in enumerate(read(path).splitlines(), 1):
                if start is None and (line == "{" or re.match(r"(?!#|struct|enum|typedef)\S.*\(.*\{$", line)):
                    start = number
                elif start is not None and line.startswith("}"):
                    if number - start + 1 > FUNCTION_LINES_MAX:
                        long.append(f"{path}:{start}: {number - start + 1} lines")
                    start = None
        self.assertEqual(long, [])

    def test_file_names_are_unique_and_plain(self):
        where = {}
        for path in files(".c", ".h", ".cpp", ".py", ".sh"):
            where.setdefault(os.path.basename(path), []).append(path)
        self.assertEqual({name: paths for name, paths in where.items() if len(paths) > 1 and name != "__init__.py"}, {})
        self.assertEqual([name for name in where if not re.fullmatch(r"[a-z0-9_]+\.(c|h|cpp|py|sh)", name)], [])

    def test_every_file_says_what_it_is_for(self):
        silent = []
        for path in files(".c", ".h", ".cpp", ".py", ".sh"):
            head = "\n".join(read(path).splitlines()[:4])
            stem = os.path.splitext(path)[0]
            said_in_header = path.endswith(".c") and os.path.exists(os.path.join(ROOT, stem + ".h"))
            if not re.search(r'/\*|//|^# |"""', head, flags=re.M) and not said_in_header:
                silent.append(path)
        self.assertEqual(silent, [])

    def test_links_of_the_readme(self):
        for target in re.findall(r"\]\(([^)#:]+)\)", read("README.md")):
            with self.subTest(link=target):
                self.assertTrue(os.path.exists(os.path.join(ROOT, target)))

    def test_top_level(self):
        done = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            names = {line.strip('"').split("/")[0] for line in done.stdout.splitlines()}
        else:
            names = {name for name in os.listdir(ROOT) if not name.startswith("build")}
        self.assertEqual(sorted(name for name in names if name not in TOP_LEVEL and not name.startswith(".")), [])
        self.assertEqual(sorted(TOP_LEVEL - names), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
