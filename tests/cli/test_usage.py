"""The command line itself: help, usage errors and their suggestions, numbers, exit codes, completions, manual pages."""
import os
import pty
import re
import select
import shutil
import subprocess
import unittest

from cli.hone_command import CommandTest, PATIENCE, TOOL

COMMANDS = ["tune", "lookup", "explain", "prompt", "ls", "show", "stats", "diff", "verify", "export", "import", "merge", "keygen", "sign", "dump", "load",
            "prune", "compact", "gc", "simulate", "device", "completion", "help", "version"]


class HelpTest(CommandTest):
    def test_overview_lists_every_command(self):
        for words in (["--help"], ["-h"], ["help"]):
            done = self.expect(0, *words)
            self.assertEqual(done.stderr, "")
            for name in COMMANDS:
                self.assertRegex(done.stdout, rf"(?m)^  {name} ")
            self.assertNotRegex(done.stdout, r"(?m)^  worker ")

    def test_nothing_at_all_is_a_usage_error(self):
        done = self.expect(2)
        self.assertEqual(done.stdout, "")
        self.assertIn("usage: hone COMMAND", done.stderr)

    def test_help_of_each_command(self):
        for name in COMMANDS:
            with self.subTest(command=name):
                by_option = self.expect(0, name, "--help")
                by_help = self.expect(0, "help", name)
                self.assertEqual(by_option.stdout, by_help.stdout)
                self.assertTrue(by_option.stdout.startswith(f"usage: hone {name}"))
                self.assertIn("--help", by_option.stdout)
                self.assertLessEqual(max(map(len, by_option.stdout.splitlines())), 100)

    def test_help_wins_over_missing_operands(self):
        self.expect(0, "tune", "--help")
        self.expect(0, "show", "-h")

    def test_version(self):
        self.assertRegex(self.expect(0, "version").stdout, r"^hone \d+\.\d+\.\d+\n$")
        self.assertEqual(self.expect(0, "--version").stdout, self.expect(0, "version").stdout)
        self.assertRegex(self.expect(0, "version", "--json").stdout, r'^\{"hone":"\d+\.\d+\.\d+"\}\n$')

    def test_help_on_nothing_known(self):
        self.assertIn("hone help lookup", self.expect(2, "help", "lokup").stderr)
        self.expect(2, "help", "xyzzy")


class UsageErrorTest(CommandTest):
    def refused(self, *words):
        done = self.expect(2, *words)
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith("hone"), done.stderr)
        return done.stderr

    def test_unknown_command_is_suggested(self):
        self.assertIn("hone tune", self.refused("tnue", "x.json"))
        self.assertIn("hone lookup", self.refused("look"))
        self.assertNotIn("did you mean", self.refused("frobnicate"))

    def test_unknown_option_is_suggested(self):
        self.assertIn("--max-trials", self.refused("tune", "x.json", "--max-trails", "3"))
        self.assertIn("--cache", self.refused("ls", "--cahce=x"))
        self.assertNotIn("did you mean", self.refused("ls", "--frobnicate"))

    def test_option_of_another_command(self):
        self.assertIn("does not apply", self.refused("ls", "--force"))

    def test_missing_value(self):
        self.assertIn("needs a value", self.refused("tune", "x.json", "--seed"))
        self.assertIn("needs a value", self.refused("tune", "x.json", "-n"))
        self.assertIn("not empty", self.refused("tune", "x.json", "--cache="))

    def test_value_for_a_flag(self):
        self.assertIn("takes no value", self.refused("ls", "--json=1"))

    def test_numbers_are_strict(self):
        for value in ("0", "-1", "1.5", "1e3", "0x10", " 5", "5 ", "", "+5", "1000001", "99999999999999999999999", "\u0663"):
            with self.subTest(value=value):
                self.assertIn("--max-trials takes a whole number from 1 to 1000000", self.refused("tune", "x.json", "--max-trials", value))
        for value in ("0", "-1", "inf", "nan", "1e3", "0x1", ".", "", "10000001", "1.2.3", "0.0"):
            with self.subTest(value=value):
                self.assertIn("--max-time takes seconds", self.refused("tune", "x.json", "--max-time", value))
        for value in ("M", "=3", "M=", "M=1.5", "M=1e3", "M=9007199254740993", "M=--3", "M= 3", "M=3k", "N" * 80 + "=1"):
            with self.subTest(value=value):
                self.assertIn("--set", self.refused("lookup", "x.json", "--set", value))

    def test_choices(self):
        self.assertIn("auto|hybrid|llm|lfbo|random|exhaustive", self.refused("tune", "x.json", "--search", "magic"))
        self.refused("tune", "x.json", "--search", "auto|llm")
        self.refused("tune", "x.json", "--search", "")
        self.refused("completion", "tcsh")

    def test_operands(self):
        self.assertIn("SPEC.json is missing", self.refused("tune"))
        self.assertIn("KEY is missing", self.refused("show"))
        self.assertIn("SPEC.json must not be empty", self.refused("tune", ""))
        self.assertIn("one argument too many", self.refused("ls", "x", "y"))
        self.assertIn("one argument too many", self.refused("tune", "a.json", "b.json"))
        self.refused("ls", "--quiet", "--verbose")
        self.refused("device", "--evaluator", "x")

    def test_control_characters_are_not_echoed(self):
        for words in (["tune", "x.json", "--max-trials", "\x1b[31m"], ["ls", "x", "\x1b]0;x\x07"], ["ls", "--\x1bx"], ["\x1b[2J"], ["ls", "-\x1b"]):
            self.assertNotRegex(self.refused(*words), r"[\x00-\x09\x0b-\x1f\x7f]")


class ShellTest(CommandTest):
    def test_bash_completion(self):
        """Sourced by a strict bash; completes commands, options, choices and files."""
        if shutil.which("bash") is None:
            self.skipTest("bash is not installed")
        script = self.write("hone.bash", self.expect(0, "completion", "bash").stdout)
        self.write("kernel.json", "{}")
        cases = {"tu": "tune", "tune --max-tr": "--max-trials", "tune --search ex": "exhaustive", "tune ker": "kernel.json",
                 "completion f": "fish", "help vers": "version", "ls --ca": "--cache", "tune --search = ex": "exhaustive", "prune -n ker": "kernel.json"}
        for typed, wanted in cases.items():
            with self.subTest(typed=typed):
                words = ["hone", *typed.split(" ")]
                quoted = " ".join(f"'{word}'" for word in words)
                code = (f"set -eu; source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
                        "compopt() { :; }; _hone; printf '%s\\n' \"${COMPREPLY[@]}\"")
                done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, timeout=30, cwd=self.folder)
                self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", wanted + "\n"))

    def test_zsh_completion(self):
        """Typed into an interactive zsh; another key then shows the line as the completion left it."""
        if shutil.which("zsh") is None:
            self.skipTest("zsh is not installed")
        self.write("_hone", self.expect(0, "completion", "zsh").stdout)
        self.write("kernel.json", "{}")
        self.write(".zshrc", "stty -echo; PROMPT=; fpath=($HOME $fpath); autoload -U compinit && compinit -u -D\n"
                             "show() { print -r -- \"[$BUFFER]\" > /dev/tty; BUFFER=; }; zle -N show; bindkey '^X' show; print READY\n")
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(self.folder)
            os.execvpe("zsh", ["zsh", "-d", "-i"], {**self.env, "ZDOTDIR": self.folder})
        self.addCleanup(os.waitpid, process, 0)
        self.addCleanup(os.close, terminal)

        def read_until(mark):
            text = ""
            while not re.search(mark, text) and select.select([terminal], [], [], 30 * PATIENCE)[0]:
                text += os.read(terminal, 65536).decode(errors="replace")
            return text

        self.assertIn("READY", read_until("READY"))
        cases = {"tu": "tune ", "tune --max-tr": "tune --max-trials=", "tune --search ex": "tune --search exhaustive ", "tune ker": "tune kernel.json ",
                 "tune --search=ex": "tune --search=exhaustive ", "completion f": "completion fish ", "help vers": "help version ", "diff x ker": "diff x kernel.json "}
        for typed, wanted in cases.items():
            with self.subTest(typed=typed):
                os.write(terminal, f"hone {typed}\t\x18".encode())
                self.assertIn(f"[hone {wanted}]", read_until(r"\[hone.*\]"))

    def test_fish_completion(self):
        if shutil.which("fish") is None:
            self.skipTest("fish is not installed")
        script = self.write("hone.fish", self.expect(0, "completion", "fish").stdout)
        self.write("kernel.json", "{}")
        cases = {"tu": "tune", "tune --max-tr": "--max-trials", "tune --search ex": "exhaustive", "tune ker": "kernel.json",
                 "tune --search=ex": "--search=exhaustive", "completion f": "fish", "help vers": "version", "diff x ker": "kernel.json"}
        for typed, wanted in cases.items():
            with self.subTest(typed=typed):
                done = subprocess.run(["fish", "-N", "-c", f"source {script}; complete -C 'hone {typed}'"], capture_output=True, text=True, timeout=30,
                                      cwd=self.folder, env=self.env)
                self.assertEqual((done.returncode, done.stderr, done.stdout.partition("\t")[0].strip()), (0, "", wanted))

    def test_completions_name_every_command(self):
        for shell in ("bash", "zsh", "fish"):
            text = self.expect(0, "completion", shell).stdout
            for name in COMMANDS:
                self.assertRegex(text, rf"\b{name}\b")
            for hidden in ("worker)", "'worker:", "-a worker", " worker "):
                self.assertFalse(hidden in text.replace("built-in worker", ""), f"{shell}: {hidden}")

    def test_manual_pages_render_without_warnings(self):
        if shutil.which("groff") is None:
            self.skipTest("groff is not installed")
        for name in ["", *COMMANDS]:
            with self.subTest(page=name):
                page = self.expect(0, "help", "--man", *([name] if name else [])).stdout
                done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-rLL=78n"], input=page, capture_output=True, text=True, timeout=30)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                plain = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
                self.assertIn("NAME", plain)
                self.assertIn("hone" + ("-" + name if name else ""), plain)

    def test_full_output_device_is_noticed(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full")
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([TOOL, "help"], stdout=full, stderr=subprocess.PIPE, text=True, env=self.env, timeout=30)
        self.assertEqual(done.returncode, 4)
        self.assertIn("cannot write to stdout", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
