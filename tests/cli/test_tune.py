"""hone tune from end to end on a small kernel: miss, search, cache, hit; what people and programs see of it."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

from cli.hone_command import CommandTest, PATIENCE, TOOL

MEMBERS = {"match", "key", "config", "time_ms", "noise", "default_ms", "speedup", "trials", "failed", "resumed", "rounds", "seconds", "strategy",
           "model", "tokens", "stop", "roofline"}


class TuneTest(CommandTest):
    def tune(self, *words, code=0, **more):
        more.setdefault("timeout", 120)
        return self.expect(code, "tune", self.spec, "--cache", self.cache, "--search", "random", *words, **more)

    def setUp(self):
        super().setUp()
        self.spec = self.write_kernel()

    def test_miss_tune_hit(self):
        first = self.tune("--max-trials", "8", "--json")
        result = json.loads(first.stdout)
        self.assertEqual(MEMBERS - set(result), set())
        self.assertEqual(first.stdout.count("\n"), 1)
        self.assertEqual((result["match"], result["trials"], result["resumed"]), ("exact", 8, 0))
        self.assertGreater(result["time_ms"], 0)
        self.assertGreater(result["default_ms"], 0)
        self.assertEqual(set(result["config"]), {"BLOCK", "UNROLL", "OPT"})
        self.assertEqual(result["config"]["BLOCK"] % result["config"]["UNROLL"], 0)
        again = json.loads(self.tune("--max-trials", "8", "--json").stdout)
        self.assertEqual((again["match"], again["trials"], again["config"]), ("exact", 0, result["config"]))
        self.look_up_everything(result)

    def test_trials_of_a_neighbour_are_transferred(self):
        self.tune("--set", "N=30000", "--max-trials", "24")
        near = json.loads(self.expect(0, "tune", self.spec, "--cache", self.cache, "--search", "lfbo", "--set", "N=40000", "--max-trials", "12", "--json",
                                      timeout=120).stdout)
        shown = json.loads(self.expect(0, "show", near["key"], "--cache", self.cache, "--json").stdout)
        proposers = [trial["proposer"] for trial in shown["trials"]]
        self.assertEqual(proposers.count("neighbour"), 1)
        self.assertGreaterEqual(proposers.count("transfer"), 1)

    def look_up_everything(self, result):
        done = self.expect(0, "lookup", self.spec, "--cache", self.cache)
        self.assertEqual(json.loads(done.stdout), result["config"])
        self.assertIn("exact", done.stderr)
        answer = json.loads(self.expect(0, "lookup", self.spec, "--cache", self.cache, "--json").stdout)
        self.assertEqual((answer["match"], answer["key"]), ("exact", result["key"]))
        near = self.expect(1, "lookup", self.spec, "--set", "N=24000", "--cache", self.cache, "--json")
        self.assertEqual(json.loads(near.stdout)["match"], "near_shape")
        far = self.expect(1, "lookup", self.spec, "--set", "N=9000000", "--cache", self.cache, "--json")
        self.assertEqual(json.loads(far.stdout)["match"], "default")
        explained = self.expect(0, "explain", self.spec, "--set", "N=24000", "--cache", self.cache)
        self.assertIn("near_shape", explained.stdout)
        listed = self.expect(0, "ls", "--cache", self.cache)
        self.assertEqual(len(listed.stdout.splitlines()), 2)
        self.assertIn(result["key"][:12], listed.stdout)
        lines = self.expect(0, "ls", "--json", "--cache", self.cache).stdout.splitlines()
        self.assertEqual([json.loads(line)["key"] for line in lines], [result["key"]])
        shown = json.loads(self.expect(0, "show", result["key"][:6], "--json", "--cache", self.cache).stdout)
        self.assertEqual(json.dumps(shown).count(result["key"]) > 0, True)
        self.assertIn("saxpy", self.expect(0, "show", result["key"], "--cache", self.cache).stdout)
        self.expect(1, "show", "0000" if not result["key"].startswith("0000") else "ffff", "--cache", self.cache)
        self.expect(2, "show", "zz", "--cache", self.cache)
        json.loads(self.expect(0, "stats", "--json", "--cache", self.cache).stdout)
        self.assertNotEqual(self.expect(0, "stats", "--cache", self.cache).stdout, "")

    def test_table_for_people(self):
        done = self.tune("--max-trials", "6")
        for word in ("default", "best", "speed-up", "trials", "strategy", "config", "hone lookup", "saxpy", "N=20000"):
            self.assertIn(word, done.stdout)
        self.assertNotIn("\x1b", done.stdout + done.stderr)
        self.assertNotIn("\r", done.stderr)
        again = self.tune("--max-trials", "6", "--quiet")
        self.assertIn("nothing was measured", again.stdout)
        self.assertEqual(again.stderr, "")
        # The look-up command that the table names is one that works.
        command = re.search(r"^look up +hone (lookup .*)$", again.stdout, flags=re.M).group(1)
        self.expect(0, *command.split())

    def test_force_measures_again(self):
        self.tune("--max-trials", "4", "--json")
        forced = json.loads(self.tune("--max-trials", "4", "--force", "--json").stdout)
        self.assertEqual((forced["trials"], forced["resumed"]), (4, 0))

    def test_other_sizes_are_other_entries(self):
        self.tune("--max-trials", "3")
        other = json.loads(self.tune("--max-trials", "3", "--set", "N=30000", "--json").stdout)
        self.assertEqual(other["trials"], 3)
        self.assertEqual(len(self.expect(0, "ls", "--json", "--cache", self.cache).stdout.splitlines()), 2)

    def test_max_time_holds(self):
        started = time.monotonic()
        self.tune("--max-time", "4", "--set", "N=1000000")
        self.assertLess(time.monotonic() - started, 60 * PATIENCE)  # a busy machine is slow; one that forgets the limit is slower

    def test_what_is_worth_going_on_for(self):
        evaluator = self.write("flat.py", 'import json, sys\nn = 0\nfor line in sys.stdin:\n    request = json.loads(line)\n'
                               '    reply = {"id": request["id"], "ok": True, "handle": n, "samples_ns": [1000] * 8}\n    n += 1\n'
                               '    if request["op"] == "hello":\n        reply.update(protocol=1, device={"kind": "toy", "identity": {"a": 1}})\n'
                               '    print(json.dumps(reply), flush=True)\n')
        words = ["--evaluator", f"python3 {evaluator}", "--search", "lfbo", "--max-trials", "110", "--force"]
        self.assertRegex(json.loads(self.tune(*words, "--json").stdout)["stop"], "^stagnation: .*in [4-8][0-9]")
        whole = json.loads(self.tune(*words, "--whole-budget", "--json").stdout)
        self.assertEqual((whole["trials"], whole["stop"]), (110, "trials: the budget is used up"))

    def test_no_model(self):
        done = self.expect(5, "tune", self.spec, "--cache", self.cache, "--search", "llm", timeout=120)
        self.assertIn("E_NOMODEL", done.stderr)

    def test_kernel_that_never_compiles(self):
        self.write("saxpy.c", "#error never\n")
        done = self.tune("--max-trials", "4", code=3)
        self.assertIn("never", done.stderr)

    def test_a_machine_that_cannot_compile_is_no_fault_of_the_kernel(self):
        self.env["CC"] = "/no/such/cc"
        self.assertIn("C compiler does not start", self.tune(code=4).stderr)
        # The reference compiles, then the disk is full.
        compiler = self.write("full.sh", 'case "$*" in *kernel.c*) echo "ld: cannot write: No space left on device" >&2; exit 1;; esac\nexec cc "$@"\n')
        self.env["CC"] = f"sh {compiler}"
        for _ in range(2):  # not remembered
            self.assertIn("no space is left in", self.tune("--max-trials", "4", code=4).stderr)

    def test_evaluator_that_is_none(self):
        done = self.tune("--evaluator", "/no/such/program", code=4)
        self.assertIn("/no/such/program", done.stderr)

    def test_cache_text_never_reaches_the_terminal_raw(self):
        """A device name or reason with escape sequences is shown without them."""
        evil = self.write("evil.py", "import sys\nsys.stderr.write('\\x1b]0;owned\\x07\\x1b[2J')\nsys.exit(3)\n")
        done = self.tune("--evaluator", f"python3 {evil}", code=4)
        self.assertNotRegex(done.stderr, r"[\x00-\x09\x0b-\x1f\x7f]")

    def test_live_bar_on_a_terminal(self):
        """On a terminal: one line that is redrawn, and taken away at the end."""
        leader, follower = pty.openpty()
        env = {**self.env, "TERM": "xterm"}
        process = subprocess.Popen([TOOL, "tune", self.spec, "--cache", self.cache, "--search", "random", "--max-trials", "6"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=follower, env=env, cwd=self.folder)
        os.close(follower)
        seen, deadline = b"", time.monotonic() + 120 * PATIENCE
        while time.monotonic() < deadline:
            if not select.select([leader], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                chunk = os.read(leader, 65536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        out, _ = process.communicate(timeout=60)
        os.close(leader)
        self.assertEqual(process.returncode, 0, seen)
        self.assertRegex(seen.decode(), r"\[[#.]{20}\] \d+/6 ")
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen[-80:])
        self.assertIn(b"best", out)


class InterruptTest(CommandTest):
    def start(self, *words):
        return subprocess.Popen([TOOL, "tune", self.write_kernel(), "--cache", self.cache, "--search", "random", "--verbose", *words],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env, cwd=self.folder)

    def wait_for_trials(self, process, count):
        """Read stderr until that many trials were told of."""
        seen = 0
        lines = []
        for line in process.stderr:
            lines.append(line)
            seen += bool(re.match(r" *\d+\.\d+ ms  |^[a-z_]+: .*\{", line))
            if seen >= count:
                return
        self.fail("the tuning ended before it was interrupted:\n" + "".join(lines))

    def interrupt(self, number):
        process = self.start("--max-trials", "60")
        self.wait_for_trials(process, 6)
        process.send_signal(number)
        out, err = process.communicate(timeout=60 * PATIENCE)
        self.assertEqual(process.returncode, 4, err)
        self.assertEqual(out, "")
        self.assertIn("Interrupted.", err)
        self.assertIn("is kept", err)
        done = self.expect(0, "tune", os.path.join(self.folder, "saxpy.json"), "--cache", self.cache, "--search", "random", "--max-trials", "12",
                           "--json", timeout=120)
        result = json.loads(done.stdout)
        self.assertGreaterEqual(result["resumed"], 6)
        self.assertGreaterEqual(result["trials"], result["resumed"])

    def tune_what_never_gets_ready(self, *words):
        """An evaluator that greets and then never answers prepare, as a reference that hangs would make it."""
        evaluator = self.write("mute.py", 'import sys, time\nsys.stdin.readline()\n'
                               'print(\'{"id":1,"ok":true,"protocol":1,"device":{"kind":"mute","identity":{"a":1}}}\', flush=True)\n'
                               'sys.stdin.readline()\ntime.sleep(600)\n')
        return self.start("--evaluator", f"python3 {evaluator}", *words)

    def test_ctrl_c_while_the_reference_hangs(self):
        process = self.tune_what_never_gets_ready()
        for line in process.stderr:
            if "preparing" in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20 * PATIENCE)
        self.assertEqual(process.returncode, 4, err)
        self.assertIn("Interrupted", err)

    def test_a_reference_that_hangs_does_not_outlast_the_budget(self):
        process = self.tune_what_never_gets_ready("--max-time", "0.5")
        _, err = process.communicate(timeout=60 * PATIENCE)  # without a budget it would be minutes
        self.assertEqual(process.returncode, 4, err)
        self.assertIn("not ready within the 0.5 s", err)

    def test_ctrl_c_and_resume(self):
        self.interrupt(signal.SIGINT)

    def test_sigterm_and_resume(self):
        self.interrupt(signal.SIGTERM)


if __name__ == "__main__":
    unittest.main(verbosity=2)
