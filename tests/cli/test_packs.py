"""hone export, import, merge, keygen, sign and verify --trust: packs from the command line."""
import json
import os
import random
import resource
import stat
import unittest

from cli.hone_command import CommandTest, SOURCE_DIR
from cli.made_cache import entry, kernel, make


def read(path):
    with open(path, "rb") as file:
        return file.read()


class PackTest(CommandTest):
    def path(self, name):
        return os.path.join(self.folder, name)

    def test_export_is_the_same_everywhere(self):
        lines = [kernel(), *(entry(i, 1000.0 + i) for i in range(40))]
        a = make(self, self.path("a.hone"), lines)
        shuffled = lines[:]
        random.Random(7).shuffle(shuffled)
        b = make(self, self.path("b.hone"), shuffled)
        reports = [json.loads(self.expect(0, "export", source, "-o", self.path(name), "--json").stdout) for source, name in ((a, "1.hpk"), (b, "2.hpk"), (a, "3.hpk"))]
        self.assertEqual(read(self.path("1.hpk")), read(self.path("2.hpk")))
        self.assertEqual(read(self.path("1.hpk")), read(self.path("3.hpk")))
        self.assertEqual(len({report["checksum"] for report in reports}), 1)
        self.assertEqual((reports[0]["entries"], reports[0]["kernels"], reports[0]["bytes"]), (40, 1, os.path.getsize(self.path("1.hpk"))))
        self.expect(0, "diff", a, self.path("2.hpk"))
        self.assertEqual(self.expect(0, "dump", a).stdout, self.expect(0, "dump", self.path("1.hpk")).stdout)
        self.assertIn("sound (40 entries)", self.expect(0, "verify", self.path("1.hpk")).stdout)

    def test_export_with_filters_and_of_packs(self):
        make(self, self.cache, [entry(1), entry(2, kernel="conv"), entry(3, effort="quick"), kernel(), kernel("conv")])
        self.expect(0, "export", self.cache, "-o", self.path("all.hpk"))
        self.expect(0, "export", self.cache, "-o", self.path("conv.hpk"), "--kernel", "conv", "--without-source")
        self.assertEqual(json.loads(self.expect(0, "ls", self.path("conv.hpk"), "--json").stdout)["kernel"], "conv")
        self.expect(0, "export", self.path("all.hpk"), "-o", self.path("again.hpk"), "--effort", "quick")
        self.assertEqual(json.loads(self.expect(0, "ls", self.path("again.hpk"), "--json").stdout)["effort"], "quick")
        self.assertNotIn("void f", self.expect(0, "dump", self.path("conv.hpk")).stdout)
        shown = json.loads(self.expect(0, "show", entry(2, kernel="conv")["key"][:8], self.path("all.hpk"), "--json").stdout)
        self.assertEqual((shown["entry"]["kernel"], shown["session"], shown["kernel"]["name"]), ("conv", None, "conv"))
        self.expect(1, "show", "00000000", self.path("all.hpk"))
        self.assertEqual(json.loads(self.expect(0, "stats", self.path("all.hpk"), "--json").stdout)["entries"], 3)

    def test_nothing_is_overwritten_and_dry_runs_write_nothing(self):
        make(self, self.cache, [entry(1)])
        out = self.write("out.hpk", "mine")
        for format_name in ("pack", "jsonl", "c-header", "object"):
            with self.subTest(format=format_name):
                self.assertIn("exists", self.expect(4, "export", self.cache, "-o", out, "--format", format_name).stderr)
                self.assertEqual(read(out), b"mine")
        self.assertIn("exists", self.expect(4, "merge", self.cache, "-o", out).stderr)
        before = sorted(os.listdir(self.folder))
        for format_name in ("pack", "c-header", "object"):
            self.expect(0, "export", self.cache, "-o", self.path("new"), "--format", format_name, "--dry-run")
        self.expect(0, "merge", self.cache, "-o", self.path("new"), "-n")
        self.expect(4, "export", self.cache, "-o", self.path("no/such/folder.hpk"))
        self.assertEqual(sorted(os.listdir(self.folder)), before)
        self.expect(0, "export", self.cache, "-o", out, "--force")
        self.expect(0, "verify", out)

    def test_mistakes(self):
        make(self, self.cache, [entry(1)])
        self.assertIn("--output", self.expect(2, "export", self.cache).stderr)
        self.assertIn("--output", self.expect(2, "merge", self.cache).stderr)
        self.assertIn("IN is missing", self.expect(2, "merge", "-o", "x").stderr)
        self.expect(2, "export", self.cache, "-o", self.path("x"), "--symbol", "a")
        self.assertIn("not a name for C", self.expect(2, "export", self.cache, "-o", self.path("x"), "--format", "object", "--symbol", "a-b").stderr)
        self.expect(2, "export", self.cache, "-o", self.path("x"), "--format", "zip")
        text = self.write("text", "not a pack, not a cache, just long enough to be read\n")
        for words in (["import", text, "--cache", self.path("n.hone")], ["merge", text, "-o", self.path("x")]):
            self.assertEqual(self.run_hone(*words).returncode, 3, words)
        for words in (["import", self.path("absent"), "--cache", self.path("n.hone")], ["merge", self.path("absent"), "-o", self.path("x")]):
            self.assertEqual(self.run_hone(*words).returncode, 4, words)
        self.assertFalse(os.path.exists(self.path("x")))

    def test_import(self):
        make(self, self.cache, [kernel(), *(entry(i, 1000.0) for i in range(10))])
        pack = self.path("p.hpk")
        self.expect(0, "export", self.cache, "-o", pack)
        target = self.path("target.hone")
        report = json.loads(self.expect(0, "import", pack, "--cache", target, "-n", "--json").stdout)
        self.assertEqual((report["imported"], report["dry_run"]), (10, True))
        self.assertFalse(os.path.exists(target))
        self.assertIn("would import 10 entries", self.expect(0, "import", pack, "--cache", target, "-n").stdout)
        make(self, target, [*(entry(i, 10.0) for i in range(3)), *(entry(i, 9000.0) for i in range(3, 5))])
        report = json.loads(self.expect(0, "import", pack, "--cache", target, "--dry-run", "--json").stdout)
        self.assertEqual((report["imported"], report["kept"], report["conflicting"], report["rejected"]), (7, 3, 5, 0))
        done = self.expect(0, "import", pack, "--cache", target, "--verbose")
        self.assertIn("imported 7 entries", done.stdout)
        self.assertIn("kept 3", done.stdout)
        self.assertIn("kept " + entry(0)["key"], done.stderr)
        report = json.loads(self.expect(0, "import", pack, "--cache", target, "--json").stdout)
        self.assertEqual((report["same"], report["kernels"]), (7, 0))
        if os.path.exists("/dev/full"):
            with open("/dev/full", "w", encoding="utf-8") as full:
                self.assertEqual(self.run_hone("diff", pack, target, capture_output=False, stdout=full).returncode, 4)
        self.assertEqual(json.loads(self.expect(0, "import", pack, "--cache", target, "--policy", "theirs", "--json").stdout)["imported"], 3)
        self.expect(0, "diff", target, pack)

    def test_merge_in_any_order(self):
        paths = []
        for n in range(3):
            paths.append(make(self, self.path(f"{n}.hone"), [kernel(), *(entry(i, 1000.0 + 400 * ((i + n) % 3)) for i in range(n, 20 + n))]))
        packs = []
        for n, order in enumerate(([0, 1, 2], [2, 1, 0], [1, 0, 2, 1])):
            packs.append(self.path(f"{n}.hpk"))
            done = self.expect(0, "merge", "-o", packs[-1], *(paths[i] for i in order))
        self.assertIn("22 entries", done.stdout)
        self.assertEqual(len({read(pack) for pack in packs}), 1)
        self.expect(0, "merge", "-o", self.path("twice.hpk"), packs[0], packs[1], paths[0])
        self.assertEqual(read(self.path("twice.hpk")), read(packs[0]))

    def test_merge_with_a_base(self):
        base = make(self, self.path("base.hone"), [entry(i) for i in range(6)])
        ours = make(self, self.path("ours.hone"), [entry(i) for i in range(1, 6)])       # 0 was removed
        theirs = make(self, self.path("theirs.hone"), [entry(i, 500.0 if i == 1 else 1000.0) for i in range(7)])
        report = json.loads(self.expect(0, "merge", "-o", self.path("m.hpk"), "--base", base, ours, theirs, "--json").stdout)
        self.assertEqual(report["entries"], 6)
        sizes = {line["sizes"]["M"]: line["time_ms"] for line in map(json.loads, self.expect(0, "ls", self.path("m.hpk"), "--json").stdout.splitlines())}
        self.assertEqual(sorted(sizes), [1, 2, 3, 4, 5, 6])
        self.assertEqual(sizes[1], 0.0005)

    def test_an_index_that_cannot_be_followed_ends_the_walk(self):
        """Its walk fails as a whole, not at one entry: asked on and on, it would say the same for ever."""
        pack = os.path.join(SOURCE_DIR, "tests", "fuzz", "corpus", "pack", "endless_index")
        for words in (["ls", pack], ["dump", pack], ["diff", pack, pack], ["export", pack, "-o", self.path("out.hpk")],
                      ["merge", pack, "-o", self.path("out.hpk")], ["import", pack, "--cache", self.cache]):
            with self.subTest(words[0]):
                self.assertIn("E_CORRUPT", self.expect(3, *words, timeout=30).stderr)
        self.assertFalse(os.path.exists(self.path("out.hpk")))

    def test_damaged_packs_are_reports(self):
        make(self, self.cache, [kernel(), *(entry(i) for i in range(12))])
        self.expect(0, "export", self.cache, "-o", self.path("p.hpk"))
        content = read(self.path("p.hpk"))
        rng = random.Random(20261125)
        damaged = self.path("damaged.hpk")
        for at in [0, 9, 40, len(content) - 1, *(rng.randrange(len(content)) for _ in range(25))]:
            flipped = bytearray(content)
            flipped[at] ^= 1 << rng.randrange(8)
            with open(damaged, "wb") as file:
                file.write(flipped)
            done = self.expect(3, "verify", damaged, "--json")
            self.assertFalse(json.loads(done.stdout)["sound"])
        for count in (0, 1, 255, 256, len(content) // 2, len(content) - 1):
            with open(damaged, "wb") as file:
                file.write(content[:count])
            self.expect(3, "verify", damaged)
            # Nothing at all could as well be a cache in which nothing was stored yet.
            self.assertEqual(self.run_hone("import", damaged, "--cache", self.path("n.hone")).returncode, 3 if count > 0 else 4)
            self.assertFalse(os.path.exists(self.path("n.hone")))

    def test_errors_name_the_file_that_was_asked_for(self):
        make(self, self.cache, [entry(1)])
        out = self.path("no/such/folder/pack.o")
        for format_name in ("object", "c-header"):
            self.assertIn(f"cannot create {out}: No such", self.expect(4, "export", self.cache, "-o", out, "--format", format_name).stderr)

    def test_damaged_kernels_are_told(self):
        make(self, self.cache, [entry(1), kernel()])
        self.expect(0, "export", self.cache, "-o", self.path("p.hpk"))
        content = bytearray(read(self.path("p.hpk")))
        content[content.index(b"void f(void)")] ^= 1
        with open(self.path("p.hpk"), "wb") as file:
            file.write(content)
        for words in (["merge", self.path("p.hpk"), "-o", self.path("m.hpk")], ["import", self.path("p.hpk"), "--cache", self.path("n.hone")],
                      ["export", self.path("p.hpk"), "-o", self.path("e.hpk")]):
            report = json.loads(self.expect(3, *words, "--json").stdout)
            self.assertEqual((report["imported"], report["kernels"], report["rejected_kernels"]), (1, 0, 1))
        self.assertIn("kernels rejected 1", self.expect(3, "merge", self.path("p.hpk"), "-o", self.path("m2.hpk")).stdout)

    def test_no_file_replaces_a_cache(self):
        make(self, self.cache, [entry(1)])
        before = read(self.cache)
        for words in (["merge", self.cache], ["export"], ["export", "--format", "object"], ["export", "--format", "jsonl"], ["dump"]):
            done = self.expect(4, *words, *([] if words[0] == "merge" else [self.cache]), "-o", self.cache, "--force")
            self.assertIn("is a cache, which no file replaces", done.stderr)
        self.assertEqual(read(self.cache), before)

    def test_nothing_changes_a_pack(self):
        make(self, self.cache, [entry(1)])
        self.expect(0, "export", self.cache, "-o", self.path("p.hpk"))
        for words in (["prune", self.path("p.hpk"), "--effort", "standard"], ["compact", self.path("p.hpk")], ["gc", self.path("p.hpk")]):
            self.assertIn("is a pack, which nothing changes", self.expect(2, *words).stderr)

    def test_too_few_file_descriptors(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
        make(self, self.cache, [entry(1)])
        self.expect(0, "export", self.cache, "-o", self.path("p.hpk"))
        done = self.run_hone("merge", self.path("p.hpk"), self.path("p.hpk"), self.path("p.hpk"), "-o", self.path("out.hpk"), preexec_fn=few)
        self.assertIn("see `ulimit -n`", done.stderr)
        self.assertEqual(done.returncode, 4)


class SignTest(CommandTest):
    def setUp(self):
        super().setUp()
        make(self, self.cache, [entry(1)])
        self.pack = os.path.join(self.folder, "p.hpk")
        self.expect(0, "export", self.cache, "-o", self.pack)
        self.name = os.path.join(self.folder, "vendor")
        self.expect(0, "keygen", self.name, "--comment", "Vendor")

    def test_keys(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.name + ".key").st_mode), 0o600)
        self.assertIn(b"Vendor", read(self.name + ".pub"))
        secret = read(self.name + ".key")
        self.assertIn("exists", self.expect(4, "keygen", self.name).stderr)
        self.assertEqual(read(self.name + ".key"), secret)
        self.expect(4, "keygen", os.path.join(self.folder, "absent", "vendor"))

    def test_sign_and_verify(self):
        trust = self.name + ".pub"
        done = self.expect(3, "verify", self.pack, "--trust", trust)
        self.assertIn("not signed", done.stdout + done.stderr)
        self.expect(2, "sign", self.pack)
        self.expect(0, "sign", self.pack, "--key", self.name + ".key")
        self.expect(4, "sign", self.pack, "--key", self.name + ".key")
        self.expect(0, "sign", self.pack, "--key", self.name + ".key", "--force")
        done = self.expect(0, "verify", self.pack, "--trust", trust)
        self.assertIn("signed by", done.stdout)
        self.assertEqual(len(json.loads(self.expect(0, "verify", self.pack, "--trust", trust, "--json").stdout)["signer"]), 32)
        self.expect(0, "import", self.pack, "--trust", trust, "--cache", os.path.join(self.folder, "n.hone"))
        other = os.path.join(self.folder, "other")
        self.expect(0, "keygen", other)
        self.expect(3, "verify", self.pack, "--trust", other + ".pub")
        self.assertNotEqual(self.run_hone("import", self.pack, "--trust", other + ".pub", "--cache", os.path.join(self.folder, "m.hone")).returncode, 0)
        with open(os.path.join(self.folder, "both"), "wb") as file:
            file.write(read(other + ".pub") + read(trust))
        self.expect(0, "verify", self.pack, "--trust", os.path.join(self.folder, "both"))
        # Two signers, as when keys are changed.
        self.expect(0, "sign", self.pack, "--key", other + ".key", "--signature", self.name + "2.sig")
        with open(self.pack + ".sig", "ab") as file:
            file.write(read(self.name + "2.sig"))
        for key in (trust, other + ".pub"):
            self.expect(0, "verify", self.pack, "--trust", key)
        # Another pack under the same signature.
        make(self, self.cache, [entry(2)])
        self.expect(0, "export", self.cache, "-o", self.pack, "--force")
        self.expect(3, "verify", self.pack, "--trust", trust)
        os.chmod(self.name + ".key", 0o644)
        self.expect(4, "sign", self.pack, "--key", self.name + ".key", "--force")

    def test_only_sound_packs_are_signed(self):
        content = read(self.pack)
        with open(self.pack, "wb") as file:
            file.write(content[:-1])
        self.assertIn("is damaged, and was not signed", self.expect(3, "sign", self.pack, "--key", self.name + ".key").stderr)
        for other in (self.write("empty", ""), self.cache):
            self.assertIn("is not a pack, and was not signed", self.expect(3, "sign", other, "--key", self.name + ".key").stderr)
            self.assertFalse(os.path.exists(other + ".sig"))

    def test_a_cache_has_no_signature(self):
        done = self.run_hone("verify", self.cache, "--trust", self.name + ".pub")
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn("signed", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
