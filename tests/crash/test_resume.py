"""kill -9 during hone tune, then the same command again: nothing measured is measured again, and the model is asked the same."""
import collections
import json
import os
import random
import re
import signal
import subprocess
import time
import unittest

from cli.hone_command import CommandTest, PATIENCE, SOURCE_DIR, TOOL

ANSWERS = ['{"configs": [{"BLOCK": 512, "UNROLL": 8, "OPT": 3}, {"BLOCK": 1024, "UNROLL": 16, "OPT": 2}, {"BLOCK": 256, "UNROLL": 32, "OPT": 3}]}',
           '{"configs": [{"BLOCK": 4096, "UNROLL": 64, "OPT": 3}, {"BLOCK": 2048, "UNROLL": 2, "OPT": 3}, {"BLOCK": 128, "UNROLL": 4, "OPT": 2}]}']


STRAGGLING = '''
"""Compiles side by side; the fourth compile lasts until this process ends, or, after a kill, no longer than the others."""
import json, sys
log = open(sys.argv[1], "a+")
log.seek(0)
slow = None if "killed" in log.read() else 3
handles, first = [], slow is not None
for line in sys.stdin:
    request = json.loads(line)
    op, reply = request["op"], {"id": request["id"], "ok": True}
    if op == "hello":
        reply.update(protocol=1, parallel=4, compare=False, device={"kind": "toy", "identity": {"a": 1}})
    if op == "compile":
        handles.append(request["config"])
        reply["handle"] = len(handles) - 1
        if reply["handle"] == slow:
            continue
    if op == "measure":
        config = json.dumps(handles[request["handle"]], sort_keys=True)
        if request["incumbent_ns"] or first:  # finalists have none
            print("measure " + config, file=log, flush=True)
        first = False
        reply["samples_ns"] = [1000.0 + sum(map(ord, config)) % 97] * 8
    print(json.dumps(reply), flush=True)
'''


class ResumeTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.spec = self.write_kernel()
        self.err_path = os.path.join(self.folder, "stderr")

    def start(self, *words):
        self.err = open(self.err_path, "w+", encoding="utf-8")
        self.addCleanup(self.err.close)
        process = subprocess.Popen([TOOL, "tune", self.spec, "--cache", self.cache, "--json", *words], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=self.err, text=True, env=self.env, cwd=self.folder)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def stderr(self):
        with open(self.err_path, encoding="utf-8") as file:
            return file.read()

    def wait(self, process, done, what, seconds=90):
        deadline = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < deadline:
            if done():
                return
            if process.poll() is not None:
                self.fail(f"ended with {process.returncode} before {what}:\n{self.stderr()}")
            time.sleep(0.02)
        self.fail(f"no {what} within {seconds} s:\n{self.stderr()}")

    def finish(self, process):
        out, _ = process.communicate(timeout=180 * PATIENCE)
        self.assertEqual(process.returncode, 0, self.stderr())
        return json.loads(out)

    def kill(self, process):
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)

    def test_killed_at_random_moments(self):
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        rng = random.Random(seed)
        log = self.write("measured.log", "")
        watcher = os.path.join(SOURCE_DIR, "tests/crash/watching_evaluator.py")
        trials = 60
        words = ["--search", "random", "--max-trials", str(trials), "--evaluator", f"python3 -B {watcher} {log} {TOOL} worker"]
        kills = 0

        def ends():
            with open(log, encoding="utf-8") as file:
                return [line[4:].strip() for line in file if line.startswith("end ")]

        for _ in range(4):
            wanted = len(ends()) + rng.randint(2, 5)
            process = self.start(*words)
            self.wait(process, lambda: len(ends()) >= wanted, f"{wanted} trials")
            time.sleep(rng.random() * 0.3)
            self.assertIsNone(process.poll(), "the tuning ended before it was killed: raise --max-trials")
            self.kill(process)
            kills += 1
        before = len(set(ends()))
        self.assertLess(before, trials, "the search ended before its last kill: raise trials")
        result = self.finish(self.start(*words))
        measured = ends()
        self.assertNotIn("?", measured)
        self.assertEqual(result["trials"], trials)
        self.assertEqual(len(set(measured)), trials)
        # The search is over with the last config that is new; what is run after it are finalists, once more each in the last process.
        over = max(measured.index(config) for config in set(measured)) + 1
        again = over - trials
        # A kill may fall between the end of a measurement and its being written down: that one is lost, and no other.
        self.assertLessEqual(again, kills, collections.Counter(measured[:over]))
        self.assertGreaterEqual(result["resumed"], before - kills)

    def test_killed_after_a_straggler_was_overtaken(self):
        log = self.write("compiled.log", "")
        evaluator = self.write("straggling.py", STRAGGLING)
        words = ["--search", "random", "--max-trials", "24", "--evaluator", f"python3 -B {evaluator} {log}"]
        process = self.start(*words)

        def order():
            with open(log, encoding="utf-8") as file:
                return [line.strip() for line in file if line.startswith("measure ")]

        self.wait(process, lambda: len(order()) >= 12, "12 measurements", 60)  # more than are in flight: some have overtaken
        time.sleep(0.3)
        self.kill(process)
        with open(log, "a", encoding="utf-8") as file:
            file.write("killed\n")
        result = self.finish(self.start(*words))
        self.assertEqual(result["trials"], 24)
        measured = order()
        self.assertEqual(len(set(measured)), 24)
        twice = [line for line, times in collections.Counter(measured).items() if times > 1]
        self.assertLessEqual(len(twice), 1, twice)  # the kill may fall between a measurement and its being written down
        self.assertGreaterEqual(result["resumed"], 11)

    def prompts(self, box):
        names = sorted(name for name in os.listdir(box) if name.endswith(".prompt.md"))
        texts = {}
        for name in names:
            with open(os.path.join(box, name), encoding="utf-8") as file:
                texts[name] = file.read()
        return texts

    def answer(self, box, prompt, text):
        path = os.path.join(box, prompt.replace(".prompt.md", ".answer.json"))
        with open(path + ".tmp", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".tmp", path)

    def test_prompts_come_out_the_same(self):
        box = os.path.join(self.folder, "box")
        os.mkdir(box)
        words = ["--search", "llm", "--llm-mailbox", box, "--rounds", "2", "--configs-per-round", "3", "--max-trials", "40", "--llm-timeout", "300"]
        known = {}
        for number, text in enumerate(ANSWERS):
            process = self.start(*words)
            self.wait(process, lambda: len(self.prompts(box)) == number + 1, f"prompt {number}")
            self.wait(process, lambda: "waiting for the model" in self.stderr(), "wait for the model")
            known = self.prompts(box)
            self.kill(process)
            process = self.start(*words)
            self.wait(process, lambda: "waiting for the model" in self.stderr(), "wait for the model after the kill")
            time.sleep(0.5)
            self.assertEqual(self.prompts(box), known, "the same prompts, and no others")
            self.answer(box, sorted(known)[number], text)
            if number + 1 < len(ANSWERS):
                self.wait(process, lambda: len(self.prompts(box)) == number + 2, f"prompt {number + 1}")
                self.kill(process)
        result = self.finish(process)
        self.assertEqual(result["rounds"], 2)
        self.assertGreater(result["resumed"], 0)
        self.assertEqual(sorted(self.prompts(box)), sorted(known), "no prompt beyond the rounds")
        for value in ("512", "4096"):
            self.assertTrue(any(value in text for text in ANSWERS))
        shown = json.loads(self.expect(0, "show", result["key"], "--json", "--cache", self.cache).stdout)
        self.assertRegex(json.dumps(shown), r"model:\d", "configs of the model were measured")

    def test_kill_during_the_first_second(self):
        """Before anything is measured, at any moment: the next run works."""
        for delay in (0.0, 0.02, 0.1, 0.3):
            process = self.start("--search", "random", "--max-trials", "4")
            time.sleep(delay)
            self.kill(process)
        result = self.finish(self.start("--search", "random", "--max-trials", "4"))
        if process.returncode != 0:  # a machine so fast that the last one was through has nothing left to measure
            self.assertEqual(result["trials"], 4)
        self.assertTrue(re.fullmatch(r"[0-9a-f]{32}", result["key"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
