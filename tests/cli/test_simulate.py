"""hone simulate and the report: lines, tables, transfer, noise, bad files; on a small space made here."""
import gzip
import json
import os
import subprocess
import sys
import tempfile
import unittest

from hone_command import SOURCE_DIR, TOOL


def space(shift=0):
    """Two parameters and a fault; the optimum (time 10) is at X=40+shift, MODE=b."""
    rows = []
    for x in range(0, 64, 4):
        for mode in "abc":
            row = {"config": {"X": x, "MODE": mode, "FIXED": 1}}
            row.update({"error": "runtime"} if mode == "c" else {"time_ms": 10 + abs(x - 40 - shift) + (mode == "a") * 5})
            rows.append(row)
    return {"kernel": "k", "gpu": "g", "params": {"X": list(range(0, 64, 4)), "MODE": ["a", "b", "c"]}, "constants": {"FIXED": 1},
            "default": {"X": 0, "MODE": "a"}, "rows": rows}


class Simulate(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = self.write("k__one.json.gz", space())

    def write(self, name, value):
        path = os.path.join(self.folder.name, name)
        with gzip.open(path, "wt") as file:
            json.dump(value, file)
        return path

    def run_tool(self, code, *words):
        done = subprocess.run([TOOL, "simulate", *words], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def lines(self, *words):
        return [json.loads(line) for line in self.run_tool(0, self.path, "--json", *words).stdout.splitlines()]

    def test_lines_have_the_best_after_each_trial(self):
        for search in ("lfbo", "random", "exhaustive", "auto"):
            lines = self.lines("--search", search, "--max-trials", "60", "--repeat", "3", "--seed", "7")
            self.assertEqual([line["repeat"] for line in lines], [0, 1, 2])
            for line in lines:
                self.assertEqual((line["space"], line["search"], line["optimum"]), (self.path, search, 10))
                self.assertEqual(len(line["best"]), 60)
                self.assertEqual(line["best"][0], 55)  # the default
                self.assertEqual(line["best"], sorted(line["best"], reverse=True))
                self.assertEqual((line["best"][-1], line["trials"], line["failed"]), (10, 48, 16))  # all of a small space
                self.assertTrue(line["stop"].startswith("space exhausted"), line["stop"])

    def test_same_seed_same_lines(self):
        def without_time(lines):
            return [{k: v for k, v in line.items() if k != "cpu_ms_per_trial"} for line in lines]
        first = self.lines("--search", "lfbo", "--max-trials", "30", "--noise", "0.05", "--seed", "3")
        again = self.lines("--search", "lfbo", "--max-trials", "30", "--noise", "0.05", "--seed", "3")
        self.assertEqual(without_time(first), without_time(again))
        self.assertEqual(first[0]["extra"], 40)
        self.assertLess(first[0]["final"], 15)

    def test_transfer_leads_there_and_a_false_one_does_not_lead_astray(self):
        def mean_at(n, *words):
            lines = self.lines("--search", "lfbo", "--max-trials", "20", "--repeat", "20", *words)
            return sum(line["best"][n - 1] for line in lines) / 20
        near = self.write("k__two.json.gz", space(shift=4))
        false = space()
        for row in false["rows"]:
            if "time_ms" in row:
                row["time_ms"] = 100 - row["time_ms"]
        astray = self.write("k__three.json.gz", false)
        self.assertLess(mean_at(6, "--transfer", near), 18)
        self.assertLess(mean_at(6, "--transfer", near), mean_at(6))
        self.assertLess(mean_at(20, "--transfer", astray), mean_at(20) + 1.5)
        other = self.write("k__four.json.gz", {"params": {"Y": [1]}, "rows": [{"config": {"Y": 1}, "time_ms": 1}]})
        self.assertEqual(mean_at(20, "--transfer", other), mean_at(20))  # nothing in common: no effect

    def scripted(self, quality):
        script = os.path.join(SOURCE_DIR, "tests/bench/scripted_model.py")
        return ("--llm-provider", "command", "--llm-command", f"{sys.executable} {script} {quality} {self.path}")

    def test_hybrid_with_a_perfect_a_useless_and_a_malicious_model(self):
        def trials_to(time, *words):
            lines = self.lines("--max-trials", "48", "--repeat", "4", *words)
            for line in lines:
                self.assertEqual(line["best"][-1], 10)
            return sum(next(n for n, best in enumerate(line["best"], 1) if best is not None and best <= time) for line in lines) / 4
        alone = trials_to(12, "--search", "lfbo")
        self.assertLessEqual(trials_to(10, "--search", "hybrid", *self.scripted("perfect")), 7)  # the default, five draws, its first config
        self.assertLessEqual(trials_to(12, "--search", "hybrid", *self.scripted("useless")), alone + 8)
        self.assertLessEqual(trials_to(12, "--search", "hybrid", *self.scripted("malicious")), alone + 14)  # the credits of its four rounds, and noise

    def test_llm_asks_with_what_the_file_says(self):
        about = os.path.join(self.folder.name, "about.txt")
        with open(about, "w") as file:
            file.write("X is the width of a tile of cheese.\n")
        transcript = os.path.join(self.folder.name, "t.jsonl")
        line, = self.lines("--search", "llm", *self.scripted("useless"), "--rounds", "2", "--about", about, "--transcript", transcript, "--max-trials", "40")
        self.assertEqual(line["rounds"], 2)
        with open(transcript) as file:
            exchanges = [json.loads(text) for text in file][1:]
        first = exchanges[0]["request"]["messages"][0]["text"]
        for words in ("Name: k.", "FIXED = 1", "device: g", "width of a tile of cheese", "MODE"):
            self.assertIn(words, first)
        replayed, = self.lines("--search", "llm", "--llm-provider", "replay", "--llm-replay", transcript, "--rounds", "2", "--max-trials", "40")
        self.assertEqual(replayed["best"], line["best"])
        self.run_tool(5, self.path, "--search", "hybrid", "--llm-provider", "none")
        self.run_tool(4, self.path, "--search", "llm", *self.scripted("useless"), "--about", os.path.join(self.folder.name, "none"))

    @unittest.skipUnless(os.path.exists(os.path.join(SOURCE_DIR, "../shared/spaces")), "needs the shared recorded spaces")
    def test_recorded_conversations_replay(self):
        folder = os.path.join(SOURCE_DIR, "tests/transcripts/spaces")
        for name in sorted(os.listdir(folder)):
            if not name.endswith(".jsonl"):
                continue
            self.path = os.path.join(SOURCE_DIR, "../shared/spaces", name.replace(".jsonl", ".json.gz"))
            with open(os.path.join(folder, name)) as file:
                rounds = sum("reply" in json.loads(text) for text in file)
            self.assertGreaterEqual(rounds, 2)
            line, = self.lines("--search", "hybrid", "--llm-provider", "replay", "--llm-replay", os.path.join(folder, name), "--max-trials", "40",
                               "--rounds", str(rounds))
            self.assertEqual(line["trials"], 40)
            self.assertGreaterEqual(line["rounds"], 2)
            self.assertEqual(line["rejected"], 0)

    def test_table_for_people(self):
        done = self.run_tool(0, self.path, "--search", "random", "--max-trials", "50")
        self.assertIn("fraction of optimum", done.stdout)
        self.assertIn("1.000", done.stdout)

    def test_bad_files_and_options(self):
        self.run_tool(2, self.path, "--noise", "2")
        self.run_tool(2, self.path, "--repeat", "0")
        self.run_tool(2)
        self.assertIn("cannot open", self.run_tool(4, os.path.join(self.folder.name, "none")).stderr)
        broken = os.path.join(self.folder.name, "broken.json.gz")
        with open(self.path, "rb") as good, open(broken, "wb") as file:
            file.write(good.read()[:60])
        self.run_tool(3, broken)

    def test_report_prints_a_table(self):
        report = os.path.join(SOURCE_DIR, "tests/bench/simulate_report.py")
        other = self.write("k__two.json.gz", space(shift=4))
        done = subprocess.run([sys.executable, report, "--search", "random,lfbo", "--repeat", "4", "--trials", "25", "--transfer", "--per-space",
                               self.path, other], env=dict(os.environ, HONE_TOOL=TOOL), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 spaces, 4 seeds", done.stdout)
        self.assertEqual(done.stdout.count("random (exact)"), 3)

    def test_exact_random_agrees_with_counting(self):
        sys.path.insert(0, os.path.join(SOURCE_DIR, "tests/bench"))
        import itertools
        import simulate_report
        times = [1.0, 2.0, 4.0, None, 5.0]
        for n in range(1, 6):
            draws = [[t for t in draw if t] for draw in itertools.combinations(times, n)]
            fraction = sum(1.0 / min(draw) if draw else 0 for draw in draws) / len(draws)
            self.assertAlmostEqual(simulate_report.exact_random(times, 5)[0][n - 1], fraction)


if __name__ == "__main__":
    unittest.main()
