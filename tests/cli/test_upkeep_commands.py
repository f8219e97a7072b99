"""hone verify, prune, compact and gc: damaged files are reports, nothing is lost that should stay, and nothing is left behind."""
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import time
import unittest

from cli.hone_command import CommandTest, PATIENCE, TOOL
from cli.made_cache import entry, kernel, make


def read(path):
    with open(path, "rb") as file:
        return file.read()


class VerifyTest(CommandTest):
    def write_bytes(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_sound(self):
        make(self, self.cache, [kernel(), *(entry(i) for i in range(10))])
        self.assertIn("sound (10 entries)", self.expect(0, "verify", self.cache).stdout)
        report = json.loads(self.expect(0, "verify", self.cache, "--json").stdout)
        self.assertEqual((report["kind"], report["sound"], report["structure"], report["tables"]["entry"]["records"]), ("cache", True, "sound", 10))

    def test_damaged_records_are_named(self):
        make(self, self.cache, [entry(i) for i in range(10)])
        content = read(self.cache)
        self.assertIn(b'"V":7}', content)
        path = self.write_bytes("bad.hone", content.replace(b'"V":7}', b'"V":8}'))
        done = self.expect(3, "verify", path)
        self.assertIn("NOT sound: 1 damaged record", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^entry [0-9a-f]{64}: it does not decode$")
        *findings, report = map(json.loads, self.expect(3, "verify", path, "--json").stdout.splitlines())
        self.assertEqual((len(findings), findings[0]["status"], report["damaged"], report["sound"]), (1, "E_CORRUPT", 1, False))
        self.assertIn("1 damaged record", self.expect(3, "ls", path).stderr)
        self.assertIn("1 damaged record", self.expect(3, "dump", path).stderr)
        self.assertEqual(read(path), content.replace(b'"V":7}', b'"V":8}'), "looking changes nothing")

    def test_files_that_are_none(self):
        for name, content in (("text", b"x" * 5000), ("short", b"\x00"), ("zeros", b"\x00" * 8192)):
            with self.subTest(name=name):
                self.assertIn("NOT sound", self.expect(3, "verify", self.write_bytes(name, content)).stdout)
        self.expect(3, "verify", self.write_bytes("empty", b""))
        self.expect(4, "verify", os.path.join(self.folder, "absent"))
        self.expect(4, "verify", self.folder)

    def test_any_damage_is_a_report(self):
        """Truncations and bit flips of a small cache: sound or not, and never anything else."""
        seed = int(os.environ.get("HONE_TEST_SEED", "20261125"))
        print(f"seed {seed} (HONE_TEST_SEED)")
        rng = random.Random(seed)
        make(self, self.cache, [kernel(), *(entry(i, stop="x" * rng.choice([1, 900, 9000][:2])) for i in range(30))])
        content = read(self.cache)
        damaged = [content[:rng.randrange(len(content))] for _ in range(12)]
        for _ in range(36):
            flipped = bytearray(content)
            # Most of the first pages, where LMDB's own data are.
            for _ in range(rng.choice([1, 1, 8])):
                at = rng.choice([rng.randrange(200), 4096 + rng.randrange(200), rng.randrange(len(content)), 4096 * rng.randrange(len(content) // 4096) + rng.randrange(64)])
                flipped[at] ^= 1 << rng.randrange(8)
            damaged.append(bytes(flipped))
        seen = {0: 0, 3: 0}
        for number, bytes_ in enumerate(damaged):
            path = self.write_bytes("damaged.hone", bytes_)
            done = self.run_hone("verify", path, "--json")
            self.assertIn(done.returncode, (0, 3), f"number {number}: {done}")
            report = json.loads(done.stdout.splitlines()[-1])
            self.assertEqual(report["sound"], done.returncode == 0)
            self.assertEqual(read(path), bytes_)
            seen[done.returncode] += 1
        self.assertGreater(seen[3], 20)

    def test_a_checker_that_dies_is_a_report(self):
        make(self, self.cache, [entry(i) for i in range(700)])
        path = self.write_bytes("bad.hone", read(self.cache).replace(b'"BM":64', b'"BM":65'))
        # 700 findings do not fit a pipe, so the checking process waits for us; there it is killed, as a lost page would do by another signal.
        verify = subprocess.Popen([TOOL, "verify", path, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env)
        self.addCleanup(verify.kill)
        deadline = time.monotonic() + 30 * PATIENCE
        children, before = [], -1
        while time.monotonic() < deadline:
            with open(f"/proc/{verify.pid}/task/{verify.pid}/children", encoding="ascii") as file:
                children = file.read().split()
            if children:
                with open(f"/proc/{children[0]}/wchan", encoding="ascii") as file:
                    if "pipe" in file.read():
                        break
            time.sleep(0.02)
        self.assertTrue(children)
        os.kill(int(children[0]), signal.SIGKILL)
        out, err = verify.communicate(timeout=30 * PATIENCE)
        self.assertEqual(verify.returncode, 3, err)
        report = json.loads(out.splitlines()[-1])
        self.assertFalse(report["sound"])
        self.assertIn("signal 9", report["structure"])

    def test_modes_and_links(self):
        make(self, self.cache, [entry(1)])
        link = os.path.join(self.folder, "link.hone")
        os.symlink(self.cache, link)
        self.assertIn("symbolic link", self.expect(4, "verify", link).stderr)
        os.chmod(self.cache, 0o666)
        self.assertIn("chmod", self.expect(4, "verify", self.cache).stderr)


class PruneTest(CommandTest):
    def test_prune(self):
        make(self, self.cache, [entry(i, kernel="matmul" if i % 3 else "conv", effort="quick" if i < 10 else "standard") for i in range(30)])
        done = self.expect(2, "prune", self.cache)
        self.assertIn("say which entries", done.stderr)
        done = self.expect(0, "prune", self.cache, "--kernel", "conv", "--dry-run")
        self.assertIn("would remove 10 entries", done.stdout)
        self.assertEqual(done.stderr.count("conv"), 10)
        self.assertEqual(len(self.expect(0, "ls", self.cache, "--json").stdout.splitlines()), 30)
        report = json.loads(self.expect(0, "prune", self.cache, "--kernel", "conv", "--json").stdout)
        self.assertEqual((report["removed"], report["kept"], report["dry_run"]), (10, 20, False))
        self.assertIn("removed 6 entries", self.expect(0, "prune", self.cache, "--effort", "quick").stdout)
        self.assertEqual(len(self.expect(0, "ls", self.cache, "--json").stdout.splitlines()), 14)
        self.assertIn("removed 0 entries", self.expect(0, "prune", self.cache, "--effort", "quick").stdout)

    def test_compact(self):
        make(self, self.cache, [entry(i, stop="x" * 500) for i in range(600)])
        before = os.path.getsize(self.cache)
        self.expect(0, "prune", self.cache, "--max-speedup", "100", "-q")
        make(self, self.cache, [entry(1)])
        done = self.expect(0, "compact", self.cache, "--dry-run")
        self.assertIn("would be", done.stdout)
        self.assertEqual(os.path.getsize(self.cache), before)
        report = json.loads(self.expect(0, "compact", self.cache, "--json").stdout)
        self.assertEqual(report["after_bytes"], os.path.getsize(self.cache))
        self.assertLess(report["after_bytes"] * 4, before)
        self.expect(0, "verify", self.cache)
        self.assertEqual(len(self.expect(0, "ls", self.cache, "--json").stdout.splitlines()), 1)
        self.assertEqual(glob.glob(self.cache + ".tmp*") + glob.glob(self.cache + ".corrupt*"), [])
        report = json.loads(self.expect(0, "compact", self.cache, "--json").stdout)
        self.assertEqual(report["after_bytes"], report["before_bytes"])

    def test_gc(self):
        make(self, self.cache, [kernel("gone"), kernel("matmul"), entry(1)])
        old = self.cache + ".corrupt-1700000000"
        shutil.copy(self.cache, old)
        os.utime(old, (1700000000, 1700000000))
        report = json.loads(self.expect(0, "gc", self.cache, "--json", "-n").stdout)
        self.assertEqual((report["kernels"], report["files"]), (1, 1))
        self.assertTrue(os.path.exists(old))
        report = json.loads(self.expect(0, "gc", self.cache, "--json").stdout)
        self.assertEqual((report["kernels"], report["files"], report["journal_records"]), (1, 1, 0))
        self.assertFalse(os.path.exists(old))
        self.assertIn("removed 0 journal records", self.expect(0, "gc", self.cache, "--keep", "1s").stdout)
        self.expect(2, "gc", self.cache, "--keep", "0d")

    def test_gc_takes_the_journal_of_a_tuning_that_ended(self):
        path = self.write_kernel()
        self.expect(0, "tune", path, "--cache", self.cache, "--search", "random", "--max-trials", "4", "-q")
        records = json.loads(self.expect(0, "stats", self.cache, "--json").stdout)["journal_records"]
        self.assertGreaterEqual(records, 5)
        self.assertEqual(json.loads(self.expect(0, "gc", self.cache, "--json").stdout)["journal_records"], 0)
        time.sleep(2.1)
        self.assertEqual(json.loads(self.expect(0, "gc", self.cache, "--json", "--keep", "1s").stdout)["journal_records"], records)
        self.expect(0, "lookup", path, "--cache", self.cache)
        self.assertIsNone(json.loads(self.expect(0, "show", json.loads(self.expect(0, "ls", self.cache, "--json").stdout)["key"], self.cache, "--json").stdout)["session"])

    def test_foreign_files_are_left_alone(self):
        foreign = self.write("notes.txt", "my notes, which are no cache\n" * 100)
        for command in ("prune --kernel x", "compact", "gc"):
            with self.subTest(command=command):
                self.expect(3, *command.split(), foreign)
        with open(foreign, encoding="utf-8") as file:
            self.assertEqual(file.read(), "my notes, which are no cache\n" * 100)
        self.assertEqual(glob.glob(foreign + ".*") + glob.glob(foreign + "-*"), [])


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("mount"), "mounting a small filesystem needs root")
class FullDiskTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.disk = os.path.join(self.folder, "disk")
        os.mkdir(self.disk, 0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", self.disk], capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            self.skipTest("cannot mount: " + done.stderr)
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], timeout=30)

    def test_outputs_appear_whole_or_not_at_all(self):
        make(self, self.cache, [entry(i, stop="x" * 900) for i in range(1000)])
        out = os.path.join(self.disk, "out.jsonl")
        done = self.expect(4, "dump", self.cache, "-o", out)
        self.assertIn("E_NOSPACE", done.stderr)
        self.assertEqual(os.listdir(self.disk), [])
        small = os.path.join(self.disk, "small.hone")
        done = self.run_hone("load", "-", "--cache", small, input=self.expect(0, "dump", self.cache).stdout)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("E_NOSPACE", done.stderr)
        self.expect(0, "verify", small)

    def test_compact_without_room_leaves_the_cache(self):
        path = make(self, os.path.join(self.disk, "c.hone"), [entry(i, stop="x" * 900) for i in range(300)])
        before = self.expect(0, "dump", path).stdout
        done = self.run_hone("compact", path)
        self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
        self.assertIn("E_NOSPACE", done.stderr)
        self.assertEqual(self.expect(0, "dump", path).stdout, before)
        self.assertEqual([name for name in os.listdir(self.disk) if "tmp" in name], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
