"""hone dump, load, diff, ls, show and stats on caches of made-up entries: what they print, what they refuse, and how they fail."""
import json
import os
import pty
import shutil
import signal
import subprocess
import time
import unittest

from cli.hone_command import CommandTest, PATIENCE, SANITIZE, TOOL
from cli.made_cache import HEAD, digest, dump, entry, kernel, make


class DumpLoadTest(CommandTest):
    def test_there_and_back(self):
        lines = [kernel(), *(entry(i, 1000 + i / 3) for i in range(20))]
        make(self, self.cache, lines)
        first = self.expect(0, "dump", self.cache).stdout
        self.assertEqual({line["key"]: line for line in map(json.loads, first.splitlines()) if line["type"] == "entry"},
                         {line["key"]: line for line in lines if line["type"] == "entry"})
        path = os.path.join(self.folder, "dump.jsonl")
        self.expect(0, "dump", "--cache", self.cache, "-o", path)
        other = os.path.join(self.folder, "other.hone")
        report = json.loads(self.expect(0, "load", path, "--cache", other, "--json").stdout)
        self.assertEqual((report["imported"], report["added"], report["rejected"], report["kernels"], report["complete"]), (20, 20, 0, 1, True))
        self.assertEqual(self.expect(0, "dump", other).stdout, first)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), first)

    def test_a_first_line_without_end_is_refused_at_once(self):
        self.assertIn("is not a dump", self.expect(3, "load", "/dev/zero", "--cache", self.cache).stderr)

    def test_what_is_no_dump_leaves_no_cache(self):
        path = self.write("bad.jsonl", "hello\n")
        self.assertIn("bad.jsonl is not a dump", self.expect(3, "load", path, "--cache", self.cache).stderr)
        self.assertFalse(os.path.exists(self.cache))

    def test_a_later_line_without_end_is_given_up(self):
        endless = HEAD + "\n" + "0" * (66 << 20)
        self.assertIn("line 2 goes on beyond 64 MiB", self.expect(3, "load", "-", "--cache", self.cache, input=endless).stderr)

    def test_nothing_is_overwritten_without_force(self):
        make(self, self.cache, [entry(1)])
        path = self.write("mine.txt", "mine")
        done = self.expect(4, "dump", self.cache, "-o", path)
        self.assertIn("mine.txt exists already", done.stderr)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine")
        self.expect(0, "dump", self.cache, "-o", path, "--force")
        self.expect(4, "dump", self.cache, "-o", self.folder, "--force")
        self.expect(4, "dump", self.cache, "-o", os.path.join(self.folder, "no/such/place.jsonl"))

    def test_bad_lines_are_told_and_the_rest_is_taken(self):
        text = dump([entry(1), entry(2), entry(3)]).splitlines()
        text[2] = text[2].replace('"samples":11', '"samples":-1')
        path = self.write("bad.jsonl", "\n".join(text) + "\n")
        done = self.expect(3, "load", path, "--cache", self.cache)
        self.assertIn("line 3: rejected: best.samples is not a whole number", done.stderr)
        self.assertIn("imported 2 entries", done.stdout)
        self.assertIn("rejected 1", done.stdout)
        self.assertEqual(len(self.expect(0, "ls", self.cache, "--json").stdout.splitlines()), 2)
        other = os.path.join(self.folder, "strict.hone")
        done = self.expect(3, "load", path, "--cache", other, "--strict")
        self.assertIn("bad.jsonl, line 3:", done.stderr)

    def test_a_dump_that_was_cut_is_told(self):
        text = dump([entry(i) for i in range(5)])
        done = self.expect(3, "load", "-", "--cache", self.cache, input=text[:text.rindex("{")])
        self.assertIn("not complete", done.stderr)
        self.assertIn("imported 5", done.stdout)
        done = self.expect(3, "load", "-", "--cache", self.cache, input=text[:-200])
        self.assertIn("rejected 1", done.stdout)

    def test_inputs_that_are_none(self):
        for name, text in (("empty", ""), ("text", "hello\n"), ("array", "[]\n"), ("other", '{"a":1}\n')):
            with self.subTest(name=name):
                done = self.expect(3, "load", self.write(name, text), "--cache", self.cache)
                self.assertIn("is not a dump", done.stderr)
                self.assertEqual(done.stdout, "")
        self.expect(4, "load", os.path.join(self.folder, "absent"), "--cache", self.cache)
        self.assertIn("is a folder", self.expect(4, "load", self.folder, "--cache", self.cache).stderr)
        self.assertIn("newer Hone", self.expect(3, "load", "-", "--cache", self.cache, input=HEAD.replace("1", "2")).stderr)

    def test_dry_run_changes_nothing(self):
        text = dump([entry(1), entry(2)])
        done = self.expect(0, "load", "-", "--cache", self.cache, "--dry-run", input=text)
        self.assertIn("would import 2 entries", done.stdout)
        self.assertFalse(os.path.exists(self.cache))
        make(self, self.cache, [entry(1, 10.0)])
        report = json.loads(self.expect(0, "load", "-", "--cache", self.cache, "-n", "--json", input=text).stdout)
        self.assertEqual((report["added"], report["kept"], report["conflicting"], report["dry_run"]), (1, 1, 1, True))
        self.assertEqual(len(self.expect(0, "ls", self.cache, "--json").stdout.splitlines()), 1)

    def test_verbose_says_what_became_of_each(self):
        make(self, self.cache, [entry(1, 10.0), entry(2, 9000.0)])
        done = self.expect(0, "load", "-", "--cache", self.cache, "--verbose", input=dump([entry(1), entry(2)]))
        self.assertIn("kept", done.stderr)
        self.assertIn("replaced", done.stderr)

    def test_full_disk_and_closed_reader(self):
        make(self, self.cache, [entry(i) for i in range(50)])
        if os.path.exists("/dev/full"):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([TOOL, "dump", self.cache], stdout=full, stderr=subprocess.PIPE, text=True, env=self.env, timeout=60)
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn("cannot write to stdout", done.stderr)
        done = subprocess.run(f"'{TOOL}' dump '{self.cache}' | head -n 1", shell=True, capture_output=True, text=True, env=self.env, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, HEAD + "\n")

    @unittest.skipIf(SANITIZE, "sanitizers take memory of their own")
    def test_memory_does_not_grow(self):
        """Peak memory of dump, load and diff with 300 and with 6000 entries."""
        def sized(count):
            code = ("import os, resource, subprocess, sys\n"
                    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, timeout=120)\n"
                    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
            path = os.path.join(self.folder, f"c{count}.hone")
            text = self.write(f"{count}.jsonl", dump([entry(i, 1000 + i) for i in range(count)]))
            kib = []
            for words in (["load", text, "--cache", path], ["dump", path], ["diff", path, path], ["verify", path],
                          ["prune", path, "--kernel", "none"]):
                done = subprocess.run(["python3", "-c", code, TOOL, *words], capture_output=True, text=True, env=self.env, timeout=240, check=True)
                kib.append(int(done.stdout))
            return kib

        small, large = sized(300), sized(6000)
        for name, a, b in zip(("load", "dump", "diff", "verify", "prune"), small, large):
            # LMDB's pages count as resident memory: the file has some 8 MB.
            self.assertLess(b - a, 14000, f"{name}: {a} KiB for 300 entries, {b} KiB for 6000")


class SurroundingsTest(CommandTest):
    def start_load(self):
        """`hone load -` that waits for more lines, its talk on a terminal of 80 columns."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        env = {**self.env, "TERM": "xterm", "NO_COLOR": "1"}
        load = subprocess.Popen([TOOL, "load", "-", "--cache", self.cache], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave, env=env)
        os.close(slave)
        self.addCleanup(load.stdout.close)
        self.addCleanup(load.kill)
        text = dump([entry(i) for i in range(400)]).encode()
        load.stdin.write(text[:200000])
        load.stdin.flush()
        return load, master, text[200000:]

    def test_progress_on_a_terminal(self):
        load, master, rest = self.start_load()
        time.sleep(0.8)
        load.stdin.write(rest)
        load.stdin.close()
        out = load.stdout.read()
        self.assertEqual(load.wait(60 * PATIENCE), 0)
        self.assertIn(b"imported 400 entries", out)
        self.assertRegex(os.read(master, 65536).decode(), "\\r\x1b\\[K.*loading: [0-9,]+")

    def test_an_interrupted_load_ends_in_order(self):
        load, master, _ = self.start_load()
        deadline = time.monotonic() + 30 * PATIENCE
        while time.monotonic() < deadline:
            with open(f"/proc/{load.pid}/status", encoding="ascii") as file:
                if int(next(line for line in file if line.startswith("SigCgt")).split()[1], 16) & 2:
                    break # it heeds the signal
            time.sleep(0.02)
        load.send_signal(signal.SIGINT)
        self.assertEqual(load.wait(60 * PATIENCE), 4)
        load.stdin.close()
        self.assertIn("E_CANCELLED", os.read(master, 65536).decode())
        self.expect(0, "verify", self.cache)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "another user can be had by root only")
    def test_another_user(self):
        """Reads a cache of root's that is not writable for it, and is told when it wants to change it or to write where it may not."""
        os.chmod(self.folder, 0o755)
        make(self, self.cache, [entry(i) for i in range(5)])
        for name in os.listdir(self.folder):
            os.chmod(os.path.join(self.folder, name), 0o644)

        def nobody(*words):
            return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", TOOL, *words], capture_output=True, text=True,
                                  env={**self.env, "HOME": "/nonexistent", "ASAN_OPTIONS": "detect_leaks=0"}, cwd="/", timeout=60 * PATIENCE)

        if not os.access(TOOL, os.X_OK) or subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x", TOOL],
                                                          timeout=30).returncode != 0:
            self.skipTest("another user may not run the command where it was built")
        self.assertEqual(nobody("dump", self.cache).stdout, self.expect(0, "dump", self.cache).stdout)
        self.assertEqual(nobody("verify", self.cache).returncode, 0)
        self.assertEqual(nobody("diff", self.cache, self.cache).returncode, 0)
        for words in (["dump", self.cache, "-o", os.path.join(self.folder, "x")], ["export", self.cache, "-o", os.path.join(self.folder, "x")],
                      ["prune", self.cache, "--kernel", "matmul"], ["compact", self.cache], ["gc", self.cache]):
            done = nobody(*words)
            self.assertEqual(done.returncode, 4, words)
            self.assertNotEqual(done.stderr, "")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "x")))


class DiffTest(CommandTest):
    def caches(self):
        a = make(self, os.path.join(self.folder, "a.hone"), [entry(1, 1000.0), entry(2, 1000.0), entry(3), entry(4, kernel="conv")])
        b = make(self, os.path.join(self.folder, "b.hone"), [entry(1, 500.0), entry(2, 2000.0), entry(3), entry(5)])
        return a, b

    def test_differences(self):
        a, b = self.caches()
        done = self.expect(1, "diff", a, b)
        self.assertIn("1 gained, 1 lost, 2 changed (1 faster, 1 slower), 1 the same", done.stdout)
        self.assertIn("2x faster", done.stdout)
        self.assertIn("2x slower", done.stdout)
        *lines, totals = map(json.loads, self.expect(1, "diff", a, b, "--json").stdout.splitlines())
        self.assertEqual(sorted(line["change"] for line in lines), ["changed", "changed", "gained", "lost"])
        self.assertEqual((totals["gained"], totals["lost"], totals["changed"], totals["same"]), (1, 1, 2, 1))
        faster = next(line for line in lines if line["speedup"] == 2)
        self.assertEqual((faster["key"], faster["delta_ms"], faster["same_config"]), (entry(1)["key"], -0.0005, True))

    def test_the_same(self):
        a, b = self.caches()
        done = self.expect(0, "diff", a, a)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.expect(0, "diff", a, b, "--kernel", "nothing")
        self.expect(1, "diff", a, b, "--kernel", "conv")

    def test_errors(self):
        a, _ = self.caches()
        self.assertIn("no such file", self.expect(4, "diff", a, os.path.join(self.folder, "absent")).stderr)
        self.assertIn("neither a Hone cache nor a pack", self.expect(3, "diff", a, self.write("text", "something else, long enough")).stderr)
        self.assertIn("A is missing", self.expect(2, "diff").stderr)
        self.expect(2, "diff", a, a, a)


class LookTest(CommandTest):
    def test_filters(self):
        make(self, self.cache, [entry(1, 1000.0), entry(2, 2500.0, effort="quick", strategy="lfbo"), entry(3, 1000.0, kernel="conv", tool_version="0.2.7"),
                                entry(4, 1000.0, device="Other CPU", created_unix_s=1000000000)])

        def keys(*words):
            return sorted(json.loads(line)["sizes"]["M"] for line in self.expect(0, "ls", self.cache, "--json", *words).stdout.splitlines())

        self.assertEqual(keys(), [1, 2, 3, 4])
        self.assertEqual(keys("--kernel", "conv"), [3])
        self.assertEqual(keys("-k", "mat*"), [1, 2, 4])
        self.assertEqual(keys("--kernel", digest("kernel", "conv")[:10]), [3])
        self.assertEqual(keys("--device", "other"), [4])
        self.assertEqual(keys("--device", "cpu"), [1, 2, 3, 4])
        self.assertEqual(keys("--strategy", "lfbo"), [2])
        self.assertEqual(keys("--effort", "quick"), [2])
        self.assertEqual(keys("--effort", "thorough"), [])
        self.assertEqual(keys("--tool-version", "0.2.*"), [3])
        self.assertEqual(keys("--min-speedup", "2"), [1, 3, 4])
        self.assertEqual(keys("--max-speedup", "2"), [2])
        self.assertEqual(keys("--older-than", "2010-01-01"), [4])
        self.assertEqual(keys("--newer-than", "2010-01-01"), [1, 2, 3])
        self.assertEqual(keys("--newer-than", "1s"), [])
        self.assertEqual(keys("--kernel", "matmul", "--effort", "standard", "--newer-than", "2001-09-10"), [1])
        self.assertIn("None of the 4 entries", self.expect(0, "ls", self.cache, "--kernel", "x").stderr)

    def test_times_are_strict(self):
        for value in ("", "90", "d", "-1d", "1.5d", "2026-13-01", "2026-02-29", "2026-1-1", "1969-12-31", "yesterday", "99999999999y"):
            with self.subTest(value=value):
                self.assertIn("--older-than takes a time", self.expect(2, "ls", "--older-than", value).stderr)
        self.expect(0, "ls", "--older-than", "2024-02-29")
        for value in ("0", "-1", "x", "1e3", "inf"):
            self.assertIn("--min-speedup takes a number above 0", self.expect(2, "ls", "--min-speedup", value).stderr)

    def test_file_by_operand_and_by_option(self):
        make(self, self.cache, [entry(1)])
        self.assertEqual(self.expect(0, "ls", self.cache).stdout, self.expect(0, "ls", "--cache", self.cache).stdout)
        self.assertIn("exclude each other", self.expect(2, "ls", self.cache, "--cache", self.cache).stderr)
        key = entry(1)["key"]
        self.assertEqual(self.expect(0, "show", key, self.cache).stdout, self.expect(0, "show", key, "--cache", self.cache).stdout)
        self.expect(1, "show", "0000ffff", self.cache)
        self.assertEqual(json.loads(self.expect(0, "stats", self.cache, "--json").stdout)["entries"], 1)
        for command in ("ls", "stats", "dump", "verify", "prune --kernel x", "compact", "gc"):
            with self.subTest(command=command):
                self.expect(4, *command.split(), os.path.join(self.folder, "absent.hone"))

    def test_without_a_default_cache(self):
        for command in ("ls", "stats", "dump", "verify", "prune --kernel x", "compact", "gc"):
            with self.subTest(command=command):
                self.assertIn("There is no cache yet", self.expect(0, *command.split()).stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, ".cache")))

    def test_a_long_list_is_printed_in_pages(self):
        make(self, self.cache, [entry(i) for i in range(1005)])
        lines = self.expect(0, "ls", self.cache).stdout.splitlines()
        self.assertEqual(len(lines), 1007)
        self.assertEqual(sum(line.startswith("key ") for line in lines), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
