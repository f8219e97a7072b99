"""test_pack_reader.py: two readers of packs, ours in C and the slow one that was written from spec/pack.md alone, must say the same of every file:
the vectors, and packs that were damaged and had their checksums put right again."""
import json
import os
import random
import subprocess
import tempfile
import unittest

import pack_reseal
from ref_pack_reader import read

ROOT = os.environ.get("HONE_SOURCE_DIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PROBE = os.path.join(os.environ.get("HONE_BUILD_DIR", "build/debug"), "tests", "pack_probe")
VECTORS = os.path.join(ROOT, "spec", "vectors", "pack")


def c_read(paths):
    done = subprocess.run([PROBE, "read"] + paths, capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError("pack_probe died: %s" % done.stderr.decode(errors="replace")[-2000:])
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


class PackReaders(unittest.TestCase):
    def same(self, name, c_says, python_says):
        self.assertEqual(c_says["status"], python_says["status"], "%s: C: %s; Python: %s" % (name, c_says.get("why"), python_says.get("why")))
        if c_says["status"] == "OK":
            self.assertEqual(c_says, python_says, name)

    def test_vectors(self):
        with open(os.path.join(VECTORS, "index.json")) as file:
            index = json.load(file)
        self.assertGreater(len(index), 20)
        paths = [os.path.join(VECTORS, item["file"]) for item in index]
        self.assertEqual(sorted(os.listdir(VECTORS)), sorted(["index.json"] + [item["file"] for item in index]))
        for item, path, c_says in zip(index, paths, c_read(paths)):
            with open(path, "rb") as file:
                python_says = read(file.read())
            self.same(item["file"], c_says, python_says)
            self.assertEqual(c_says["status"], item["status"], "%s: %s" % (item["file"], c_says.get("why")))
            if item["status"] == "OK":
                self.assertEqual(len(c_says["entries"]), item["entries"])

    def test_writer_gives_the_vectors_bytes(self):
        """Golden files: what the writer makes today of the same entries is what it made when they were written."""
        with open(os.path.join(VECTORS, "index.json")) as file:
            made = [item for item in json.load(file) if "seed" in item]
        self.assertGreaterEqual(len(made), 2)
        with tempfile.TemporaryDirectory() as folder:
            for item in made:
                path = os.path.join(folder, "again.hpk")
                subprocess.run([PROBE, "make", path, str(item["seed"]), str(item["entries"])], check=True)
                with open(path, "rb") as now, open(os.path.join(VECTORS, item["file"]), "rb") as then:
                    self.assertEqual(now.read(), then.read(), item["file"])

    def test_damaged(self):
        seed = int(os.environ.get("HONE_TEST_SEED", "20261125"))
        print("seed %d (HONE_TEST_SEED)" % seed)
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            good = os.path.join(folder, "good.hpk")
            subprocess.run([PROBE, "make", good, str(seed), "4"], check=True)
            with open(good, "rb") as file:
                base = file.read()
            paths, answers = [], []
            for number in range(300):
                data = bytearray(base)
                for _ in range(rng.choice((1, 1, 1, 2, 3))):
                    self.damage(rng, data)
                if rng.random() < 0.9:
                    pack_reseal.reseal(data)
                path = os.path.join(folder, "%d.hpk" % number)
                with open(path, "wb") as file:
                    file.write(data)
                paths.append(path)
                answers.append(read(data))
            for path, c_says, python_says in zip(paths, c_read(paths), answers):
                self.same("%s of seed %d" % (os.path.basename(path), seed), c_says, python_says)
            self.assertGreater(sum(a["status"] == "OK" for a in answers), 5)

    @staticmethod
    def damage(rng, data):
        at = rng.randrange(len(data))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 1, 2, 127, 128, 255, 48, 116))
        elif kind == 2:
            data[at:at + 4] = rng.choice((0, 1, 2, 0xFFFFFFFF, 0x7FFFFFFF, 65536)).to_bytes(4, "little")[:len(data) - at]
        elif kind == 3:  # of the tables and the header, where structure is
            at = rng.choice((rng.randrange(8, 176), rng.randrange(256, 256 + 400) % len(data)))
            data[at] = rng.randrange(256)
        elif kind == 4:
            section = pack_reseal.sections(data)
            start, size = section[rng.randrange(7)]
            if size and start + size <= len(data):
                data[start + rng.randrange(size)] ^= rng.randrange(1, 256)
        elif len(data) > 300:
            swap = rng.randrange(256, len(data) - 24), rng.randrange(256, len(data) - 24)
            first, second = (data[s:s + 24] for s in swap)
            data[swap[0]:swap[0] + 24], data[swap[1]:swap[1] + 24] = second, first


if __name__ == "__main__":
    unittest.main(verbosity=2)
