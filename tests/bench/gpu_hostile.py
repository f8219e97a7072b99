"""gpu_hostile.py: tests/kernels/hostile.json on a real GPU, config by config through the worker's own protocol, with the reason that each
was given and the one that it ought to be given.  usage: HONE_TOOL=hone gpu_hostile.py [DEVICE]; exit 1 when one is not as expected."""
import json
import os
import select
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = os.path.join(HERE, os.pardir, "kernels")
TOOL = os.environ.get("HONE_TOOL", "hone")

# FAULT, BLOCK, SHARED: codes that are right.
EXPECTED = {
    "hang": ["timeout"], "slow": ["timeout", "abandoned"], "illegal": ["crash"], "misaligned": ["crash"], "trap": ["crash"], "stack": ["crash", "resources"],
    "wrong": ["wrong_result"], "race": ["wrong_result"], "stale": ["wrong_result"], "unwritten": ["nan"], "behind": ["wrong_result"],
    "before": ["wrong_result"], "scribble": ["wrong_result"], "shared_overrun": ["crash"], "registers": ["resources"],
    "static_shared": ["resources"], "globals": ["resources", "launch_error", "compile_error"], "printing": ["ok", "abandoned", "timeout"], "compile_error": ["compile_error"],
    "compile_bomb": ["compile_timeout", "resources"], "parameters": ["launch_error"], "barrier": ["timeout", "crash"], "none": ["ok"],
}


class Worker:
    def __init__(self):
        self.process = subprocess.Popen([TOOL, "worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.buffer = b""
        self.number = 0

    def ask(self, op, **members):
        self.number += 1
        self.process.stdin.write(json.dumps({"id": self.number, "op": op, **members}).encode() + b"\n")
        self.process.stdin.flush()
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], 60)
            got = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not got:
                sys.exit("the worker does not answer")
            self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)


def problem(spec, n):
    with open(os.path.join(KERNELS, spec["source"]), encoding="utf-8") as file:
        source = file.read()
    kernel = {"name": spec["name"], "language": "cuda", "source": source, "source_path": os.path.join(KERNELS, spec["source"]), "include_dir": KERNELS,
              "entry": spec["entry"]}
    args = [{**arg, "shape": [n], "fill": {"kind": "uniform", "a": 1, "b": 2}} if arg["kind"] == "buffer" else {**arg, "value": n} for arg in spec["args"]]
    reference = {"source": source, "source_path": kernel["source_path"], "include_dir": KERNELS, "entry": "hostile_ref", "options": ["-DFAULT=0"],
                 "launch": {"grid": [n // 256], "block": [256], "cluster": [], "shared_bytes": 0}}
    return {"kernel": kernel, "sizes": {"N": n}, "args": args, "reference": reference, "tolerance": {"rtol": 1e-4, "atol": 1e-5},
            "limits": {"compile_s": 5, "run_s": 3, "memory_bytes": 1 << 32, "output_bytes": 1 << 20}, "seed": 1}


def main():
    with open(os.path.join(KERNELS, "hostile.json"), encoding="utf-8") as file:
        spec = json.load(file)
    start = time.monotonic()
    worker = Worker()
    hello = worker.ask("hello", protocol=[1], device=sys.argv[1] if len(sys.argv) > 1 else "cuda:0", peaks=True)
    if not hello["ok"]:
        sys.exit(hello["error"]["message"])
    print(f"hello after {time.monotonic() - start:.2f} s: {hello['device']['name']}, {hello['evaluator']}, {json.dumps(hello['peaks'])}")
    n = spec["sizes"]["N"]["default"]
    start = time.monotonic()
    reply = worker.ask("prepare", **problem(spec, n))
    if not reply["ok"]:
        sys.exit(reply["error"]["message"])
    print(f"prepare took {time.monotonic() - start:.2f} s")
    cases = [(fault, 256, 192000 if fault == "static_shared" else 0) for fault in spec["params"]["FAULT"]["values"]]
    cases += [("none", 2048, 0), ("none", 256, 300000), ("none", 128, 192000)]
    bad = 0
    incumbent = 0
    for fault, block, shared in cases:
        start = time.monotonic()
        launch = {"grid": [n // block], "block": [block], "cluster": [], "shared_bytes": shared}
        reply = worker.ask("compile", config={}, defines=[f"FAULT={fault}", f"BLOCK={block}", f"SHARED={shared}"], options=[], launch=launch)
        if reply["ok"]:
            reply = worker.ask("measure", handle=reply["handle"], precision=0.01, budget_ms=100, incumbent_ns=incumbent)
        code = reply["outcome"] if reply["ok"] else reply["error"]["code"]
        if code == "ok" and incumbent == 0:
            incumbent = reply["summary"]["median_ns"]
        words = reply["error"]["message"] if not reply["ok"] else f"{reply['summary']['median_ns'] / 1e3:.2f} us {reply.get('resources')}"
        right = EXPECTED[fault] if block == 256 and shared != 300000 else ["resources"] if block == 2048 or shared == 300000 else ["ok", "abandoned"]
        good = code in right
        bad += not good
        print(f"{'ok ' if good else 'BAD'} {fault:14} {block:4} {shared:6} {code:15} {time.monotonic() - start:5.2f} s  {words[:150]}", flush=True)
    worker.process.stdin.close()
    worker.process.wait(20)
    print(f"{len(cases)} configs, {bad} not as expected")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
