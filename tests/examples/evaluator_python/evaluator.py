#!/usr/bin/env python3
"""An evaluator for Hone in Python, with the standard library only: it tunes a matrix product written in Python itself.

It speaks spec/evaluator.md: one JSON object a line, requests on stdin, replies on stdout.  It does one thing at a time, so it says nothing about
"parallel", and it leaves "compare" to Hone.  Take it as a beginning for an evaluator of your own: replace `generate`, `Problem` and the device.
"""
import gc
import json
import os
import platform
import random
import signal
import sys
import time
import traceback
from array import array


class Refused(Exception):
    """A failure of one config, with the code that spec/evaluator.md section 8 has for it."""

    def __init__(self, stage, code, message, **more):
        super().__init__(message)
        self.error = {"stage": stage, "code": code, "message": message, **more}


# ---- the kernel: Python source, made from a config ----

def generate(config):
    """The source of multiply(a, b, n): rows of a, rows of b, the product as a list of rows."""
    block, inner, unroll = config["BLOCK"], config["INNER"], config["UNROLL"]
    lines = ["def multiply(a, b, n):"]
    if inner == "dot":  # rows of a with columns of b
        columns = "list(zip(*b))" if config["COLUMNS"] == "tuple" else "[array('d', c) for c in zip(*b)]"
        lines += [f"    columns = {columns}", "    out = []", "    for row in a:"]
        if config["MAP"]:
            lines += ["        out.append([sum(map(mul, row, column)) for column in columns])"]
        else:
            lines += ["        out.append([sum([x * y for x, y in zip(row, column)]) for column in columns])"]
        lines += ["    return out"]
        return "\n".join(lines)
    # Rows of a scale rows of b, a block of b's rows at a time.
    terms = " + ".join(f"s{u} * y{u}" for u in range(unroll))
    names = ", ".join(f"y{u}" for u in range(unroll))
    rows = ", ".join(f"b[k + {u}]" for u in range(unroll))
    lines += [
        "    out = [[0.0] * n for _ in range(n)]",
        f"    for first in range(0, n, {block}):",
        f"        last = min(n, first + {block})",
        f"        whole = first + (last - first) // {unroll} * {unroll}",
        "        for i in range(n):",
        "            row, acc = a[i], out[i]",
        f"            for k in range(first, whole, {unroll}):",
        *[f"                s{u} = row[k + {u}]" for u in range(unroll)],
        f"                acc = [t + {terms} for t, {names} in zip(acc, {rows})]",
        "            for k in range(whole, last):",
        "                s0 = row[k]",
        "                acc = [t + s0 * y0 for t, y0 in zip(acc, b[k])]",
        "            out[i] = acc",
        "    return out",
    ]
    return "\n".join(lines)


# ---- what the requests are about ----

class Problem:
    def __init__(self, request):
        self.n = int(request["sizes"]["N"])
        self.limits = request.get("limits", {})
        self.rtol = request["tolerance"]["rtol"]
        self.atol = request["tolerance"]["atol"]
        draw = random.Random(request.get("seed", 1))
        self.a = [[draw.uniform(-1, 1) for _ in range(self.n)] for _ in range(self.n)]
        self.b = [[draw.uniform(-1, 1) for _ in range(self.n)] for _ in range(self.n)]
        self.truth = [[sum(self.a[i][k] * self.b[k][j] for k in range(self.n)) for j in range(self.n)] for i in range(self.n)]
        self.functions = []

    def check(self, result):
        worst = 0.0
        for i in range(self.n):
            for j in range(self.n):
                x, r = result[i][j], self.truth[i][j]
                if x != x:
                    raise Refused("check", "nan", f"out[{i}][{j}] is NaN")
                error = abs(x - r) / (self.atol + self.rtol * abs(r))
                if error > 1.0:
                    raise Refused("check", "wrong_result", f"out[{i}][{j}]: {x} instead of {r}", max_error=error)
                worst = max(worst, error)
        return worst


def on_alarm(_number, _frame):
    raise Refused("run", "timeout", "slower than run_s")


class Evaluator:
    def __init__(self):
        self.problem = None

    def hello(self, request):
        if request.get("device") not in (None, "cpu", "python"):
            raise Refused("hello", "no_device", f"this evaluator runs on the CPU, not on {request['device']}")
        return {
            "protocol": 1,
            "evaluator": "python-example 1",
            "device": {
                "kind": "python",
                "name": f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}",
                # What makes an answer useless elsewhere: another interpreter or another processor family.
                "identity": {
                    "arch": platform.machine(),
                    "implementation": platform.python_implementation(),
                    "version": ".".join(platform.python_version_tuple()[:2]),
                },
                "description": {"host": platform.node(), "system": platform.system()},
            },
            "peaks": {"gbps": None, "gflops": None},
        }

    def prepare(self, request):
        self.problem = Problem(request)
        return {}

    def compile(self, request):
        text = generate(request["config"])
        names = {"array": array, "mul": __import__("operator").mul}
        start = time.perf_counter()
        try:
            exec(compile(text, "kernel.py", "exec"), names)  # the text is our own, and config values come from the spec's lists
        except SyntaxError as error:
            raise Refused("compile", "compile_error", f"line {error.lineno}: {error.msg}") from error
        self.problem.functions.append(names["multiply"])
        return {
            "handle": len(self.problem.functions) - 1,
            "compile_ms": (time.perf_counter() - start) * 1e3,
            "resources": {"code_bytes": len(names["multiply"].__code__.co_code)},
        }

    def measure(self, request):
        problem = self.problem
        run = problem.functions[request["handle"]]
        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, problem.limits.get("run_s", 10.0))
        try:
            max_error = problem.check(run(problem.a, problem.b, problem.n))
            samples, outcome = self.sample(run, request)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return {
            "outcome": outcome,
            "samples_ns": samples,
            "accuracy": "passed",
            "max_error": max_error,
        }

    def sample(self, run, request):
        problem, samples = self.problem, []
        incumbent = request.get("incumbent_ns", 0)
        end = time.perf_counter_ns() + request["budget_ms"] * 1e6
        gc.disable()
        try:
            while len(samples) < 4096:
                start = time.perf_counter_ns()
                run(problem.a, problem.b, problem.n)
                samples.append(max(1, time.perf_counter_ns() - start))
                if incumbent and len(samples) >= 3 and min(samples) > 1.5 * incumbent:
                    return samples, "abandoned"
                if len(samples) >= 5 and time.perf_counter_ns() > end:
                    break
                ordered = sorted(samples)  # a rough stand-in for an interval: the middle half
                count = len(ordered)
                if count >= 12 and ordered[3 * count // 4] - ordered[count // 4] < request["precision"] * ordered[count // 2]:
                    break
        finally:
            gc.enable()
        return samples, "ok"


def main():
    # Whatever a library prints must not get between the replies: fd 1 becomes stderr, and the replies have a file of their own.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    evaluator = Evaluator()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "bye":
                reply = {"ok": True}
            elif request["op"] in ("hello", "prepare", "compile", "measure"):
                reply = {"ok": True, **getattr(evaluator, request["op"])(request)}
            else:
                raise Refused("request", "unsupported", f"unknown op {request['op']}")
        except Refused as refused:
            reply = {"ok": False, "error": refused.error}
        except Exception as error:  # a kernel's exception is that config's crash
            traceback.print_exc()
            code = "crash" if request["op"] == "measure" else "bad_request"
            reply = {"ok": False, "error": {"stage": request["op"], "code": code, "message": repr(error)}}
        replies.write(json.dumps({"id": request["id"], **reply}, allow_nan=False) + "\n")
        replies.flush()
        if request["op"] == "bye":
            break


if __name__ == "__main__":
    main()
