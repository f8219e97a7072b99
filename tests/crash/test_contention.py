"""test_contention.py: a small run of bench_contention: a key is tuned once however many want it, nobody is left without an answer, and no insert
is lost.  Nothing here depends on how long anything takes."""
import json
import os
import subprocess
import unittest

PROGRAM = os.path.join(os.environ["HONE_BUILD_DIR"], "tests", "bench_contention")


def run(*options):
    done = subprocess.run([PROGRAM, "--json", *options], capture_output=True, text=True, timeout=250, check=False)
    if done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


class Contention(unittest.TestCase):
    def test_each_key_is_tuned_once(self):
        found = run("--only-tuning", "--processes=3", "--threads=3", "--keys=12", "--deadline-ms=200000")["tuning"]
        self.assertEqual((found["tunings_a_key_least"], found["tunings_a_key_most"]), (1, 1), found)
        self.assertEqual((found["answers"], found["late"], found["errors"]), (3 * 3 * 12, 0, 0), found)

    def test_no_insert_is_lost(self):
        stores = {store["name"]: store for store in run("--only-stores", "--writers=4", "--inserts=20")["stores"]}
        self.assertEqual((stores["hone"]["kept"], stores["hone"]["refused"], stores["hone"]["reads_missed"]), (80, 0, 0), stores["hone"])
        self.assertIn("json_read_merge_replace", stores)


if __name__ == "__main__":
    unittest.main()
