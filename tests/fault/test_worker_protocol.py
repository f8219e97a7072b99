"""The built-in worker and the Python example as a stranger meets them: raw lines of spec/evaluator.md, right and wrong ones."""
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOOL = os.environ["HONE_TOOL"]
ROOT = os.environ["HONE_SOURCE_DIR"]
EXAMPLE = os.path.join(ROOT, "tests", "examples", "evaluator_python")

SOURCE = """
#ifndef STEP
#define STEP 1
#endif
void twice(const float *x, float *y, int n) { for (int i = 0; i < n; i += STEP) for (int k = i; k < i + STEP; k++) y[k] = 2 * x[k]; }
void hang(const float *x, float *y, int n) { for (;;) ; }
"""


def problem(entry="twice", **more):
    body = {
        "kernel": {"name": "twice", "language": "c", "source": SOURCE, "source_path": "twice.c", "include_dir": "/", "entry": entry},
        "sizes": {"n": 4096},
        "args": [
            {"name": "x", "kind": "buffer", "dtype": "f32", "shape": [4096], "access": "in", "fill": {"kind": "uniform", "a": -1, "b": 1}, "align": 64},
            {"name": "y", "kind": "buffer", "dtype": "f32", "shape": [64, 64], "access": "out", "align": 64},
            {"name": "n", "kind": "scalar", "dtype": "i32", "value": 4096},
        ],
        "reference": None,
        "tolerance": {"rtol": 1e-4, "atol": 1e-5},
        "limits": {"compile_s": 20, "run_s": 5, "memory_bytes": 1 << 30, "output_bytes": 1 << 20},
        "seed": 1,
    }
    body.update(more)
    return body


class Session:
    def __init__(self, command, env=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
        self.buffer = b""
        self.number = 0

    def send(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def read(self, seconds=60):
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError("no reply")
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                raise EOFError
            self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def ask(self, op, **members):
        self.number += 1
        self.send(json.dumps({"id": self.number, "op": op, **members}))
        reply = self.read()
        assert reply["id"] == self.number, reply
        return reply

    def close(self):
        self.process.stdin.close()
        code = self.process.wait(30)
        self.process.stdout.close()
        return code


class Worker(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.env = dict(os.environ, TMPDIR=self.folder.name)
        self.session = Session([TOOL, "worker"], self.env)

    def tearDown(self):
        if self.session.process.poll() is None:
            self.session.process.kill()
        self.session.process.wait()
        for stream in (self.session.process.stdin, self.session.process.stdout):
            try:
                stream.close()
            except OSError:
                pass
        end = time.monotonic() + 20
        while os.listdir(self.folder.name) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(os.listdir(self.folder.name), [], "the worker's files must go with it")
        self.folder.cleanup()

    def test_session__hello_to_bye(self):
        ask = self.session.ask
        hello = ask("hello", protocol=[1], device="cpu", peaks=False)
        self.assertTrue(hello["ok"])
        self.assertEqual(hello["protocol"], 1)
        self.assertGreaterEqual(hello["parallel"], 1)
        self.assertEqual(hello["device"]["kind"], "cpu")
        self.assertTrue(all(isinstance(v, (str, int, float, bool)) for v in hello["device"]["identity"].values()))
        self.assertTrue(ask("prepare", **problem(reference={"entry": "twice", "options": []}))["ok"])
        one = ask("compile", config={"STEP": 1}, defines=["STEP=1"], options=[], launch=None)
        two = ask("compile", config={"STEP": 8}, defines=["STEP=8"], options=["-O3"], launch=None)
        self.assertNotEqual(one["handle"], two["handle"])
        timed = ask("measure", handle=one["handle"], precision=0.05, budget_ms=20, incumbent_ns=0)
        self.assertTrue(timed["ok"], timed)
        self.assertEqual(timed["accuracy"], "passed")
        summary = timed["summary"]
        self.assertTrue(0 < summary["low_ns"] <= summary["median_ns"] <= summary["high_ns"])
        both = ask("compare", handles=[two["handle"], one["handle"]], rounds=4, budget_ms=50)
        self.assertEqual([len(row) for row in both["samples_ns"]], [both["rounds"]] * 2)
        self.assertTrue(ask("bye")["ok"])
        self.assertEqual(self.session.close(), 0)

    def test_cancel__ends_compiles_begun_or_not(self):
        slow = os.path.join(self.folder.name, "slow_cc")
        with open(slow, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\ncase \"$*\" in *SLOW*) exec sleep 600;; esac\nexec cc \"$@\"\n")
        os.chmod(slow, 0o755)
        self.session.process.kill()
        self.session.process.wait()
        self.session.process.stdin.close()
        self.session.process.stdout.close()
        self.session = Session([TOOL, "worker"], dict(self.env, CC=slow))
        ask = self.session.ask
        hello = ask("hello", protocol=[1], device="cpu", peaks=False)
        self.assertTrue(hello["cancel"])
        self.assertTrue(ask("prepare", **problem(limits={"compile_s": 900, "run_s": 5, "memory_bytes": 1 << 30, "output_bytes": 1 << 20}))["ok"])
        ids = range(3, 4 + hello["parallel"])  # one more than are compiled at a time
        for number in ids:
            self.session.send(json.dumps({"id": number, "op": "compile", "config": {}, "defines": [f"SLOW={number}"], "options": [], "launch": None}))
        last = ids[-1] + 1
        self.session.send(json.dumps({"id": last, "op": "cancel", "ids": [*ids, 1, 77, -5, "x"]}))
        replies = [self.session.read() for _ in range(len(ids) + 1)]
        self.assertEqual(sorted(r["id"] for r in replies), [*ids, last])
        self.assertEqual({r["error"]["code"] for r in replies if r["id"] != last}, {"cancelled"})
        self.session.number = last
        one = ask("compile", config={"STEP": 1}, defines=["STEP=1"], options=[], launch=None)
        self.assertTrue(one["ok"], one)
        self.assertTrue(ask("bye")["ok"])
        os.unlink(slow)

    def test_requests__wrong_ones_are_answered(self):
        ask = self.session.ask
        for op, members, code in (
            ("dance", {}, "unsupported"),
            ("measure", {"handle": 0}, "bad_request"),
            ("compile", {"defines": []}, "bad_request"),
            ("compare", {"handles": []}, "bad_request"),
            ("hello", {"device": "cuda:7"}, "no_device"),
            ("prepare", {}, "unsupported"),
            ("prepare", problem(args=[]), "bad_request"),
            ("prepare", problem(args=[{"name": "x", "kind": "buffer", "dtype": "f33", "shape": [1]}]), "bad_request"),
            ("prepare", problem(args=[{"name": "x", "kind": "buffer", "dtype": "f32", "shape": [1 << 40]}]), "bad_request"),
            ("prepare", problem(args=[{"name": "x", "kind": "buffer", "dtype": "f32", "shape": [4], "align": 3}]), "bad_request"),
            ("prepare", problem(entry="a; system(\"x\")"), "bad_request"),
            ("prepare", problem(reference={"source": "int x = ;", "entry": "f"}), "reference_failed"),
        ):
            reply = ask(op, **members)
            self.assertFalse(reply["ok"], op)
            self.assertEqual(reply["error"]["code"], code, (op, reply))
            self.assertTrue(reply["error"]["message"])
        for line in ("", "nonsense", "[]", "{}", '{"id":-4,"op":"hello"}', '{"op":"hello"}', '{"id":1,"id":2,"op":"x"}', "[" * 1000):
            self.session.send(line)
            if line:
                self.assertFalse(self.session.read()["ok"], line)
        self.assertTrue(ask("prepare", **problem())["ok"])

    def test_requests__an_endless_line_ends_it(self):
        block = b"x" * 65536
        with self.assertRaises((BrokenPipeError, EOFError)):
            for _ in range(200):
                self.session.process.stdin.write(block)
            while True:
                self.session.read(10)

    def test_handles__of_an_old_problem_are_void(self):
        ask = self.session.ask
        ask("prepare", **problem())
        old = ask("compile", defines=[], options=[])["handle"]
        ask("prepare", **problem())
        new = ask("compile", defines=[], options=[])["handle"]
        self.assertNotEqual(old, new)
        self.assertEqual(ask("measure", handle=old, budget_ms=5)["error"]["code"], "bad_request")
        self.assertTrue(ask("measure", handle=new, budget_ms=5)["ok"])

    def hanging(self):
        """A worker in the middle of a run that hangs; the processes below it."""
        ask = self.session.ask
        ask("prepare", **problem(entry="hang"))
        handle = ask("compile", defines=[], options=[])["handle"]
        self.session.send(json.dumps({"id": 99, "op": "measure", "handle": handle}))
        end = time.monotonic() + 10
        while time.monotonic() < end:
            below = descendants(self.session.process.pid)
            if len(below) >= 2:
                return below
            time.sleep(0.02)
        self.fail("the run did not begin")

    def expect_gone(self, pids):
        end = time.monotonic() + 10
        while time.monotonic() < end and any(alive(pid) for pid in pids):
            time.sleep(0.02)
        self.assertEqual([pid for pid in pids if alive(pid)], [])

    def test_worker__killed_leaves_neither_processes_nor_files(self):
        below = self.hanging()
        self.session.process.send_signal(signal.SIGKILL)
        self.session.process.wait()
        self.expect_gone(below)

    def test_worker__end_of_input_ends_a_run(self):
        below = self.hanging()
        self.session.process.stdin.close()
        self.assertEqual(self.session.process.wait(10), 0)
        self.expect_gone(below)


def descendants(pid):
    found = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = [int(word) for word in file.read().split()]
    except OSError:
        return found
    for child in children:
        found += [child] + descendants(child)
    return found


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Example(unittest.TestCase):
    def test_python_example__speaks_the_protocol(self):
        session = Session([sys.executable, "-B", os.path.join(EXAMPLE, "evaluator.py")])
        hello = session.ask("hello", protocol=[1], device=None, peaks=True)
        self.assertEqual(hello["device"]["kind"], "python")
        self.assertTrue(session.ask("prepare", sizes={"N": 12}, tolerance={"rtol": 1e-9, "atol": 1e-9}, limits={"run_s": 5}, seed=1)["ok"])
        for inner, unroll, flag, columns in (("rows", 1, False, "tuple"), ("rows", 5, False, "tuple"), ("dot", 1, True, "array"), ("dot", 1, False, "tuple")):
            config = {"INNER": inner, "BLOCK": 8, "UNROLL": unroll, "MAP": flag, "COLUMNS": columns}
            built = session.ask("compile", config=config)
            self.assertTrue(built["ok"], built)
            timed = session.ask("measure", handle=built["handle"], precision=0.1, budget_ms=20, incumbent_ns=0)
            self.assertEqual(timed.get("accuracy"), "passed", timed)
        self.assertFalse(session.ask("measure", handle=77, precision=0.1, budget_ms=20, incumbent_ns=0)["ok"])
        self.assertTrue(session.ask("bye")["ok"])
        self.assertEqual(session.close(), 0)

    def test_python_example__is_tuned(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [TOOL, "tune", os.path.join(EXAMPLE, "matmul.json"), "--set", "N=24", "--max-trials", "6", "--search", "random", "--json", "--cache", os.path.join(folder, "c.hone")],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=200)
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads(done.stdout)
            self.assertEqual(result["trials"], 6)
            self.assertEqual(result["failed"], 0)
            self.assertGreater(result["time_ms"], 0)


if __name__ == "__main__":
    unittest.main()
