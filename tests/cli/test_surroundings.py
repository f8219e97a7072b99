"""Surroundings that are not as they should be: no HOME, no TMPDIR, closed standard files, a narrow terminal.  One message, a way out."""
import fcntl
import os
import pty
import struct
import subprocess
import termios
import unittest

from cli.hone_command import CommandTest, TOOL


class SurroundingsTest(CommandTest):
    def tune(self, code, *words, **more):
        return self.expect(code, "tune", self.write_kernel(), "--search", "random", "--max-trials", "2", *words, timeout=120, **more)

    def test_no_home(self):
        del self.env["HOME"]
        done = self.tune(4)
        self.assertIn("HONE_CACHE", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.expect(4, "ls")

    def test_home_that_cannot_be_written(self):
        self.env["HOME"] = self.write("a-file", "")
        self.assertIn("set HONE_CACHE", self.tune(4).stderr)

    def test_folder_as_cache(self):
        self.assertIn("name a file in it", self.tune(4, "--cache", self.folder).stderr)
        self.assertFalse(os.path.exists(self.folder + ".wlock"))

    def test_no_temporary_folder(self):
        """Said once, and not again as a warning."""
        self.env["TMPDIR"] = os.path.join(self.folder, "none")
        done = self.tune(4, "--cache", self.cache)
        self.assertEqual(done.stderr.count("cannot create a folder in " + self.env["TMPDIR"]), 1, done.stderr)
        self.assertIn("set TMPDIR", done.stderr)

    def test_empty_cache_file_is_no_damage(self):
        self.write("cache.hone", "")
        os.chmod(self.cache, 0o600)
        self.assertIn("nothing was stored", self.expect(4, "ls", "--cache", self.cache).stderr)
        self.tune(0, "--cache", self.cache)
        self.assertEqual([name for name in os.listdir(self.folder) if "corrupt" in name], [])

    def test_closed_standard_files(self):
        """No file of ours takes their numbers: talk would be written into the cache."""
        command = [TOOL, "tune", self.write_kernel(), "--search", "random", "--max-trials", "3", "--cache", self.cache, "--verbose"]
        done = subprocess.run(["/bin/sh", "-c", '"$@" 0<&- 1>&- 2>&-', "sh", *command], env=self.env, cwd=self.folder, timeout=300)
        self.assertEqual(done.returncode, 4)  # the result could not be printed; it is kept
        self.assertIn("saxpy", self.expect(0, "ls", "--cache", self.cache).stdout)
        self.expect(0, "lookup", os.path.join(self.folder, "saxpy.json"), "--cache", self.cache)

    def test_full_device(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = self.run_hone("help", capture_output=False, stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 4)
        self.assertIn("No space left", done.stderr)

    def progress(self, columns, term):
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen([TOOL, "tune", self.write_kernel(), "--search", "random", "--max-trials", "3", "--cache", self.cache, "--force"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=follower, env={**self.env, "TERM": term}, cwd=self.folder)
        os.close(follower)
        seen = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        os.close(leader)
        self.assertEqual(process.wait(timeout=60), 0, seen)
        return seen.decode()

    def test_narrow_terminal(self):
        """The words matter more than the bar, and nothing is wrapped."""
        lines = self.progress(48, "xterm").split("\r\x1b[K")
        self.assertTrue(any("best" in line and line.endswith("start") for line in lines), lines)
        self.assertEqual([line for line in lines if len(line) > 47], [])
        self.assertEqual([line for line in self.progress(12, "xterm").split("\r\x1b[K") if len(line) > 11], [])

    def test_dumb_terminal(self):
        self.assertNotIn("\x1b", self.progress(80, "dumb"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
