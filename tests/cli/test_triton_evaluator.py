"""The Triton evaluator of tests/examples without a GPU: its compile server with compilers that crash, hang and are cancelled, and its protocol with
stand-ins for PyTorch, Triton and the driver."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

ROOT = os.environ["HONE_SOURCE_DIR"]
EXAMPLE = os.path.join(ROOT, "tests", "examples", "evaluator_triton")
PATIENCE = 60

# Prints one JSON line for each result of the server, of jobs that lines on stdin name; `imported` is the state that children must find.
DRIVER = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
from compile_server import CompileServer
imported = []
def begin():
    imported.append(os.getpid())
def compile(what):
    if what == "crash":
        os.kill(os.getpid(), 11)
    if what == "exit":
        os._exit(3)
    if what == "raise":
        raise ValueError("not caught")
    if what == "hang":
        import subprocess
        sleeper = subprocess.Popen(["sleep", "600"])
        os.write(2, b"sleeper %d\\n" % sleeper.pid)  # at once: others write there
        sleeper.wait()
    return {"what": what, "server": imported, "mine": os.getpid()}
server = CompileServer(begin, compile)
def done(number):
    def tell(found, seconds):
        print(json.dumps([number, found, seconds]), flush=True)
    return tell
server.listen(lambda: (print(json.dumps("gone"), flush=True), os._exit(7)))
print(json.dumps(server.pid), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    if "cancel" in job:
        server.cancel(job["cancel"])
    else:
        server.submit(job["number"], job["what"], job.get("limit_s", 600), done(job["number"]))
server.close()
"""


def running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.process = subprocess.Popen([sys.executable, "-B", "-c", DRIVER, EXAMPLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.server = json.loads(self.process.stdout.readline())

    def tearDown(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    def send(self, *jobs):
        for job in jobs:
            self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def results(self, count):
        return {number: (found, seconds) for number, found, seconds in (json.loads(self.process.stdout.readline()) for _ in range(count))}

    def ended(self, pid):
        deadline = time.monotonic() + PATIENCE
        while running(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        return not running(pid)

    def test_each_in_a_process_of_its_own_that_has_the_imports(self):
        self.send(*({"number": n, "what": f"job {n}"} for n in range(40)))
        found = self.results(40)
        self.assertEqual({n: found[n][0]["what"] for n in found}, {n: f"job {n}" for n in range(40)})
        self.assertEqual({tuple(found[n][0]["server"]) for n in found}, {(self.server,)})
        self.assertEqual(len({found[n][0]["mine"] for n in found}), 40)

    def test_a_failure_costs_one_config(self):
        self.send({"number": 1, "what": "crash"}, {"number": 2, "what": "exit"}, {"number": 3, "what": "raise"}, {"number": 4, "what": "fine"})
        found = {n: one[0] for n, one in self.results(4).items()}
        self.assertEqual([(found[n]["why"], found[n]["text"]) for n in (1, 2, 3)], [
            ("crash", "the compiler died of signal 11"), ("crash", "the compiler ended without a word"), ("crash", "the compiler ended without a word")])
        self.assertEqual(found[4]["what"], "fine")

    def test_a_hang_ends_in_time_with_what_it_started(self):
        self.send({"number": 1, "what": "hang", "limit_s": 0.5}, {"number": 2, "what": "fine"})
        sleeper = int(self.process.stderr.readline().split()[1])
        found = self.results(2)
        self.assertEqual((found[1][0]["why"], found[2][0]["what"]), ("timeout", "fine"))
        self.assertGreaterEqual(found[1][1], 0.5)
        self.assertTrue(self.ended(sleeper))

    def test_cancel(self):
        self.send({"number": 1, "what": "hang"}, {"number": 2, "what": "hang"})
        sleepers = [int(self.process.stderr.readline().split()[1]) for _ in range(2)]
        self.send({"cancel": 2}, {"cancel": 77}, {"cancel": 1}, {"number": 3, "what": "fine"})
        found = self.results(3)
        self.assertEqual((found[1][0]["why"], found[2][0]["why"], found[3][0]["what"]), ("cancelled", "cancelled", "fine"))
        self.assertTrue(all(self.ended(pid) for pid in sleepers))

    def test_all_of_it_ends_with_the_evaluator(self):
        self.send({"number": 1, "what": "hang"})
        sleeper = int(self.process.stderr.readline().split()[1])
        self.process.stdin.close()
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertTrue(self.ended(self.server) and self.ended(sleeper))

    def test_also_when_that_is_killed(self):
        self.send({"number": 1, "what": "hang"})
        sleeper = int(self.process.stderr.readline().split()[1])
        self.process.kill()
        self.assertTrue(self.ended(self.server) and self.ended(sleeper))

    def test_a_server_that_dies_is_noticed(self):
        os.kill(self.server, signal.SIGSTOP)
        self.send({"number": 1, "what": "fine"})  # unread when it dies
        time.sleep(0.2)
        os.kill(self.server, signal.SIGKILL)
        self.assertEqual(json.loads(self.process.stdout.readline()), "gone")
        self.assertEqual(self.process.wait(PATIENCE), 7)


# Stand-ins: a Triton that "compiles" what a config's X says, a PyTorch whose every number is 0.05, a driver of one GPU.
STAND_INS = {
    "triton/__init__.py": """
        import os, sys, time, types
        class Compiled:
            n_regs, n_spills = 32, 0
            def __init__(self, shared): self.metadata = types.SimpleNamespace(shared=shared)
        class Function:
            def warmup(self, *args, grid, X):
                assert not hasattr(sys.modules["torch"], "cuda") and args[0].data_ptr() == 0
                if X == 2: raise ValueError("two lines\\nof trouble")
                if X == 3: time.sleep(600)
                if X == 4: os.abort()
                return Compiled(1 << 20 if X == 5 else 1024)
            def __getitem__(self, grid):
                def launch(*args, X):
                    if X == 6: raise RuntimeError("CUDA error: an illegal memory access was encountered")
                    return Compiled(1024)
                return launch
        def set_allocator(_): pass
        sys.modules["triton.runtime.cache"] = sys.modules["triton.compiler.compiler"] = types.SimpleNamespace()
        runtime = types.SimpleNamespace(driver=types.SimpleNamespace(set_active=lambda target: None))
        """,
    "triton_kernels.py": """
        import triton
        class Made:
            rtol, atol, name = 1e-2, 1e-2, "made_up"
            tensors = staticmethod(lambda sizes, make: [make((sizes["N"],), "normal"), make((sizes["N"],), "out")])
            truth = staticmethod(lambda tensors: tensors[1])
            launch = staticmethod(lambda sizes, config, tensors: (triton.Function(), (1,), tensors, {"X": config["X"]}))
        KERNELS = {"made_up": Made}
        """,
    "torch.py": """
        import time
        from unittest.mock import MagicMock
        time.sleep(0.3)
        class Number:
            __float__ = lambda self: 0.05
            __bool__ = lambda self: False
            __truediv__ = __sub__ = __add__ = __radd__ = __rmul__ = lambda self, other: self
            __getattr__ = lambda self, name: lambda *_, **__: self
            def split(self, n): return [self]
            def elapsed_time(self, other): return 0.05
        class cuda:
            set_device = synchronize = staticmethod(lambda *_: None)
            Event = staticmethod(lambda enable_timing: Number())
        backends, Generator = MagicMock(), MagicMock()
        int32 = int8 = float16 = None
        empty = randn = isnan = lambda *_, **__: Number()
        """,
    "cuda_facts.py": """
        class NoDevice(Exception): pass
        class Gpu:
            name, arch, multiprocessors, memory_bytes, shared_bytes = "Made Up", 90, 132, 1 << 30, 232448
            def __init__(self, number):
                if number: raise NoDevice(f"there is no cuda:{number}")
            def peaks(self): return {"gbps": 3000.0}
        """,
}


class ProtocolTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("triton_evaluator.py", "compile_server.py"):
            shutil.copy(os.path.join(EXAMPLE, name), self.folder)
        for name, text in STAND_INS.items():
            os.makedirs(os.path.dirname(os.path.join(self.folder, name)), exist_ok=True)
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(text))
        for name in ("torch", "triton"):
            info = os.path.join(self.folder, f"{name}-3.6.1.dist-info")
            os.mkdir(info)
            with open(os.path.join(info, "METADATA"), "w", encoding="utf-8") as file:
                file.write(f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.6.1\n")
        os.mkdir(os.path.join(self.folder, "tmp"))
        self.number, self.seen = 0, {}
        self.process = subprocess.Popen([sys.executable, "-B", os.path.join(self.folder, "triton_evaluator.py")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": os.path.join(self.folder, "tmp")})
        self.addCleanup(self.finish)

    def finish(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def send(self, op, **members):
        self.number += 1
        self.process.stdin.write(json.dumps({"id": self.number, "op": op, **members}) + "\n")
        self.process.stdin.flush()
        return self.number

    def reply(self, number):
        while number not in self.seen:
            line = self.process.stdout.readline()
            self.assertTrue(line, "the evaluator has ended")
            reply = json.loads(line)
            self.assertNotIn(reply["id"], self.seen)
            self.seen[reply["id"]] = reply
        return self.seen[number]

    def ask(self, op, **members):
        return self.reply(self.send(op, **members))

    def begin(self, compile_s=600):
        hello = self.ask("hello", protocol=[1], device=None, peaks=True)
        self.assertTrue(hello["ok"], hello)
        self.assertTrue(self.ask("prepare", kernel={"name": "made_up"}, sizes={"N": 64}, seed=1, limits={"compile_s": compile_s})["ok"])
        return hello

    def measure(self, handle):
        return self.ask("measure", handle=handle, precision=0.01, budget_ms=100, incumbent_ns=0)

    def test_a_tuning(self):
        hello = self.begin()
        self.assertEqual((hello["device"]["identity"], hello["peaks"]), ({"arch": "sm_90", "sms": 132, "memory_gib": 1, "triton": "3.6"}, {"gbps": 3000.0}))
        sent = [self.send("compile", config={"X": x}) for x in (0, 2, 4, 5, 1)]
        replies = [self.reply(number) for number in sent]
        self.assertEqual([reply["ok"] for reply in replies], [True, False, False, False, True])
        self.assertEqual([(reply["error"]["code"], reply["error"]["message"]) for reply in replies[1:4]], [
            ("compile_error", "ValueError: two lines of trouble"), ("compile_error", "the compiler died of signal 6"),
            ("resources", "1048576 bytes of shared memory, and a block has at most 232448")])
        measured = self.measure(replies[0]["handle"])
        self.assertTrue(measured["ok"], measured)
        self.assertEqual(set(measured["samples_ns"]), {50000.0})
        compared = self.ask("compare", handles=[replies[0]["handle"], replies[4]["handle"]], rounds=3, budget_ms=1000)
        self.assertEqual([len(row) for row in compared["samples_ns"]], [3, 3])
        self.assertEqual(self.measure(99)["error"]["code"], "bad_request")
        self.assertEqual(self.ask("wish")["error"]["code"], "unsupported")
        self.assertTrue(self.ask("bye")["ok"])
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertEqual(os.listdir(os.path.join(self.folder, "tmp")), [])

    def test_limits_and_cancel(self):
        self.begin(compile_s=0.4)
        late = self.ask("compile", config={"X": 3})
        self.assertEqual(late["error"]["code"], "compile_timeout")
        self.assertTrue(self.ask("prepare", kernel={"name": "made_up"}, sizes={"N": 64}, seed=1, limits={"compile_s": 600})["ok"])
        hanging = self.send("compile", config={"X": 3})
        self.assertTrue(self.ask("cancel", ids=[hanging, late["id"]])["ok"])
        self.assertEqual(self.reply(hanging)["error"]["code"], "cancelled")

    def test_after_a_sticky_error_it_ends(self):
        self.begin()
        handle = self.ask("compile", config={"X": 6})["handle"]
        self.assertEqual(self.measure(handle)["error"]["code"], "crash")
        self.assertEqual(self.process.stdout.readline(), "")
        self.assertEqual(self.process.wait(PATIENCE), 0)

    def test_refusals_say_what_is_missing(self):
        self.assertIn("not on cpu", self.ask("hello", protocol=[1], device="cpu", peaks=False)["error"]["message"])
        self.assertIn("cuda:all", self.ask("hello", protocol=[1], device="cuda:all", peaks=False)["error"]["message"])
        self.assertEqual(self.ask("hello", protocol=[1], device="cuda:3", peaks=False)["error"], {"stage": "hello", "code": "no_device", "message": "there is no cuda:3"})
        self.assertTrue(self.ask("hello", protocol=[1], device="cuda:0", peaks=False)["ok"])
        self.assertIn("only made_up", self.ask("prepare", kernel={"name": "other"}, sizes={})["error"]["message"])
        self.assertIn("and the GPU has 1024 MiB", self.ask("prepare", kernel={"name": "made_up"}, sizes={"N": 1 << 30})["error"]["message"])
        self.assertTrue(self.ask("bye")["ok"])  # without ever having imported PyTorch
        self.assertEqual(self.process.wait(PATIENCE), 0)


@unittest.skipIf(os.environ.get("HONE_SANITIZE"), "the fake driver has a sanitizer that Python has not")
class FactsTest(unittest.TestCase):
    def facts(self, fake, text):
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(os.path.join(os.environ["HONE_BUILD_DIR"], "tests", "fake", "fake_cuda.so"), os.path.join(folder, "libcuda.so.1"))
            done = subprocess.run([sys.executable, "-B", "-c", f"from cuda_facts import *\n{text}"], cwd=EXAMPLE, capture_output=True, text=True,
                                  env={**os.environ, "LD_LIBRARY_PATH": folder, "HONE_FAKE_CUDA": fake})
        return done.stdout.strip() or done.stderr

    def test_of_a_driver(self):
        said = self.facts("memory=65536 devices=2", "g = Gpu(1); print(g.name, g.arch, g.multiprocessors, g.memory_bytes >> 30, g.shared_bytes); print(g.peaks())")
        self.assertRegex(said, r"^NVIDIA Fake H100 90 132 64 232448\n\{'gbps': 1000\.\d+")

    def test_what_is_wrong(self):
        self.assertIn("NoDevice: there are 1 CUDA devices, and cuda:1 is none of them", self.facts("", "Gpu(1)"))
        self.assertIn("NoDevice: cuInit: as the fake was told (803)", self.facts("init=803", "Gpu(0)"))


if __name__ == "__main__":
    unittest.main()
