"""The recorded conversations under tests/transcripts, replayed on their kernels (at small sizes, so that it is quick): every round is read again, and what
the model proposed then is measured now."""
import glob
import json
import os
import unittest

from cli.hone_command import CommandTest, SOURCE_DIR

SMALL = {"sgemm": ["--set", "M=48", "--set", "N=64", "--set", "K=32"], "stencil3d": ["--set", "NX=32", "--set", "NY=16", "--set", "NZ=12"]}


class ReplayTest(CommandTest):
    def replay(self, path):
        kernel = os.path.basename(path).split(".")[0]
        with open(path, encoding="utf-8") as file:
            exchanges = [json.loads(line) for line in file][1:]
        done = self.expect(0, "tune", self.without_limit(kernel), *SMALL[kernel], "--cache", self.cache, "--search", "llm",
                           "--llm-provider", "replay", "--llm-replay", path, "--rounds", str(len(exchanges)), "--max-trials", "150", "--json", timeout=240)
        result = json.loads(done.stdout)
        shown = json.loads(self.expect(0, "show", result["key"], "--cache", self.cache, "--json").stdout)
        proposers = [trial["proposer"] for trial in shown["trials"]]
        self.assertGreaterEqual(result["rounds"], 3)
        for number in range(1, result["rounds"] + 1):
            self.assertGreater(proposers.count(f"model:{number}"), 0)
        self.assertEqual(result["trials"], len(proposers))
        self.assertEqual(len({json.dumps(trial["config"]) for trial in shown["trials"]}), len(proposers))

    def without_limit(self, kernel):
        """The kernel's spec without its work, so that no replay ends early at the roofline."""
        folder = os.path.join(SOURCE_DIR, "tests/kernels")
        with open(os.path.join(folder, kernel + ".json"), encoding="utf-8") as file:
            spec = json.load(file)
        del spec["flops"], spec["bytes"]
        spec["source"] = os.path.join(folder, spec["source"])
        spec["reference"]["source"] = os.path.join(folder, spec["reference"]["source"])
        return self.write(kernel + ".json", spec)

    def test_transcripts(self):
        paths = sorted(glob.glob(os.path.join(SOURCE_DIR, "tests/transcripts/*.jsonl")))
        self.assertGreaterEqual(len(paths), 2)
        for path in paths:
            with self.subTest(os.path.basename(path)):
                self.replay(path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
