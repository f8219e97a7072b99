"""hone tune with evaluators that hang and lie, seen from outside: Ctrl-C ends it at once, --max-time soon, what they say is not believed, and none
is started for nothing."""
import json
import os
import signal
import subprocess
import time
import unittest

from cli.hone_command import CommandTest, PATIENCE, TOOL

# Answers with made-up times, and never again once it meets the op that it was told to hang in; or it is told how to lie.  Each start leaves a line in `starts`.
EVALUATOR = """
import json, os, sys, time
hang, compiles, straggler = sys.argv[1], 0, None
with open("starts", "a") as file:
    file.write("start\\n")
for line in sys.stdin:
    request = json.loads(line)
    op, reply = request["op"], {"id": request["id"], "ok": True}
    if op == hang:
        open("hanging", "w").close()
        time.sleep(600)
    if op == "hello":
        reply.update(protocol=1, compare=True, parallel=2, cancel=True, device={"kind": "made-up", "name": "made up", "identity": {"a": 1}})
    elif op == "compile":
        reply["handle"] = request["config"]["T"]
        compiles += 1
        if hang == "straggle" and compiles == 25:
            straggler = request["id"]
            continue
    elif op == "cancel" and straggler in request["ids"]:
        print(json.dumps({"id": straggler, "ok": False, "error": {"stage": "compile", "code": "cancelled", "message": "not wanted"}}))
    elif op == "measure":
        reply["samples_ns"] = [1000.0 + request["handle"] + 0.1 * i for i in range(9)]
    elif op == "compare":
        reply["samples_ns"] = [[1000.0 + handle + 0.1 * i for i in range(request["rounds"])] for handle in request["handles"]]
        with open("compared", "a") as file:
            file.write(" ".join(map(str, sorted(request["handles"]))) + "\\n")
    if hang == "warm" and op == "compare":  # back to back all run slower
        reply["samples_ns"] = [[1.1 * one for one in row] for row in reply["samples_ns"]]
    if hang == "flatter" and op == "measure" and request["handle"] in (2, 4, 6, 8, 10):
        reply["samples_ns"] = [0.5 * one for one in reply["samples_ns"]]
    if hang == "lie" and op == "measure":
        reply["samples_ns"] = [-1.0]
    if hang == "nan" and op == "measure":
        reply["samples_ns"] = [float("nan")]
    if hang == "ragged" and op == "compare":
        reply["samples_ns"][0].pop()
    print(json.dumps(reply), flush=True)
    if op == "bye":
        break
"""
SPEC = {"hone": 1, "name": "made_up", "language": "external", "params": {"T": {"kind": "range", "min": 1, "max": 40, "default": 7}}}


class EvaluatorTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("evaluator.py", EVALUATOR)

    def command(self, hang, *words):
        spec = self.write(f"{hang}.json", {**SPEC, "evaluator": ["python3", os.path.join(self.folder, "evaluator.py"), hang]})
        return ["tune", spec, "--cache", self.cache, "--search", "random", "--max-trials", "8", *words]

    def starts(self):
        with open(os.path.join(self.folder, "starts"), encoding="utf-8") as file:
            return len(file.readlines())

    def interrupt(self, hang, *words):
        process = subprocess.Popen([TOOL, *self.command(hang, *words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=self.env, cwd=self.folder)
        deadline = time.monotonic() + 30 * PATIENCE
        while not os.path.exists(os.path.join(self.folder, "hanging")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20 * PATIENCE)  # the evaluator would hang for longer
        self.assertEqual((process.returncode, out), (4, ""), err)
        self.assertIn("Interrupted", err)

    def test_ctrl_c_wherever_it_hangs(self):
        for hang in ("hello", "prepare", "compile", "measure", "compare"):
            with self.subTest(hang=hang):
                self.interrupt(hang)
                os.remove(os.path.join(self.folder, "hanging"))

    def test_ctrl_c_is_no_timeout(self):
        """Also when the time is over, and the evaluator is being given up."""
        self.interrupt("hello", "--max-time", "0.01")

    def test_nothing_outlasts_the_time_by_much(self):
        """Side by side, since each waits out the grace of ten seconds."""
        ends = {"hello": "did not start within the 0.3 s", "prepare": "not ready within the 0.3 s", "measure": "no config was measured within the budget",
                "compare": '"warning":"finalists were not compared'}
        running = {}
        for hang in ends:
            self.cache = os.path.join(self.folder, f"{hang}.hone")
            time_s = "3" if hang == "compare" else "0.3"  # enough for two finalists, on a busy machine too
            running[hang] = subprocess.Popen([TOOL, *self.command(hang, "--max-time", time_s, "--json")], stdin=subprocess.DEVNULL,
                                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env, cwd=self.folder)
        for hang, process in running.items():
            with self.subTest(hang=hang):
                out, _ = process.communicate(timeout=40 * PATIENCE)  # the evaluator would hang for longer
                self.assertIn(ends[hang], out)
                self.assertEqual(process.returncode, 0 if hang == "compare" else 4, out)

    def test_an_evaluator_that_lies_is_no_fault_of_the_kernel(self):
        for _ in range(2):  # nor remembered as one
            done = self.expect(4, *self.command("lie"))
            self.assertIn("the evaluator has measured none of 8 configs", done.stderr)
            self.assertIn("no possible time", done.stderr)
        self.assertIn("not valid JSON at line 1", self.expect(4, *self.command("nan")).stderr)
        self.assertIn("unequal length", self.expect(0, *self.command("ragged"), "--force").stdout)

    def compared(self, hang):
        """The sets of finalists, and the winner, of a tuning of all forty configs."""
        answer = json.loads(self.expect(0, *self.command(hang, "--max-trials", "40", "--whole-budget", "--json")).stdout)
        with open(os.path.join(self.folder, "compared"), encoding="utf-8") as file:
            return set(file.read().splitlines()), answer["config"]["T"]

    def test_what_slows_all_finalists_hides_no_other(self):
        self.assertEqual(self.compared("warm"), ({"1 2 3 4 5 7"}, 1))

    def test_readings_too_good_to_be_true_hide_no_other(self):
        sets, winner = self.compared("flatter")
        self.assertGreater(len(sets), 1)
        self.assertEqual(winner, 1)

    def test_one_compile_without_end_does_not_hold_up_the_end(self):
        answer = json.loads(self.expect(0, *self.command("straggle", "--max-trials", "35", "--whole-budget", "--json")).stdout)
        self.assertEqual((answer["trials"], answer["failed"]), (34, 0))
        self.assertIn("used up but for 1 that took", answer["stop"])

    def test_an_evaluator_is_started_once(self):
        self.expect(0, *self.command("never"))
        first = self.starts()
        self.expect(0, *self.command("never", "--force"))
        self.assertEqual(self.starts() - first, 1)
        self.assertEqual(first, 1)  # also the first time on a device, when it is asked for peaks, too


if __name__ == "__main__":
    unittest.main(verbosity=2)
