"""Runs a config of a CUDA kernel and its reference on the CPU (cuda_on_cpu.cpp) and compares; used by check_cuda.py and tests/cli/test_cuda_kernels.py."""
import os
import random
import shlex
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
CXX = shlex.split(os.environ.get("CXX", "c++"))


class Wrong(Exception):
    pass


def build(spec, source, entry, options, folder, name):
    path = os.path.join(folder, name)
    command = [*CXX, "-std=c++17", "-O1", "-w", f"-I{spec.folder}", *options, f'-DKERNEL_SOURCE="{os.path.join(spec.folder, source)}"',
               f"-DENTRY={entry}", os.path.join(HERE, "cuda_on_cpu.cpp"), "-o", path]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Wrong(f"{spec.name}: {done.stderr[:2000]}")
    return path


def fill(draw, arg, count):
    how = arg.get("fill", {"uniform": [-1, 1]})
    if "normal" in how:
        return [draw.gauss(*how["normal"]) for _ in range(count)]
    return [draw.uniform(*how["uniform"]) for _ in range(count)]


def arguments(spec, folder, seed):
    """Words for cuda_on_cpu; %OUT% stands for the output's file."""
    draw, words = random.Random(seed), []
    for arg in spec.json["args"]:
        if arg["kind"] == "scalar":
            value = arg["value"]
            words.append(f"{arg['dtype']}:{value if isinstance(value, float) else spec.evaluate(value, {})}")
            continue
        count = 1
        for extent in arg["shape"]:
            count *= spec.evaluate(extent, {})
        if arg.get("access", "in") == "out":
            words.append(f"out:%OUT%:{2 * count}")
        else:
            path = os.path.join(folder, arg["name"])
            with open(path, "wb") as file:
                file.write(struct.pack(f"<{count}e", *fill(draw, arg, count)))
            words.append(f"in:{path}")
    return words


def run(program, mode, launch, words, out):
    grid, block, cluster, shared = launch
    command = [program, mode, *map(str, grid), *map(str, block), str(cluster[2] if cluster else 1), str(shared)]
    done = subprocess.run(command + [word.replace("%OUT%", out) for word in words], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise Wrong(f"{mode}: exit {done.returncode}: {done.stderr.strip()}")
    with open(out, "rb") as file:
        data = file.read()
    return struct.unpack(f"<{len(data) // 2}e", data)


def truth(spec, folder, seed=1):
    """(words, reference output) of a problem."""
    words, part = arguments(spec, folder, seed), spec.json["reference"]
    program = build(spec, part["source"], part["entry"], spec.options({}, part.get("options", [])), folder, "reference")
    return words, run(program, "late", spec.launch({}, part["launch"]), words, os.path.join(folder, "truth"))


def check(spec, config, folder, words, expected):
    """The largest error in units of the tolerance, over both modes; raises Wrong."""
    program = build(spec, spec.json["source"], spec.json["entry"], spec.macros(config) + spec.options(config), folder, "kernel")
    rtol, atol, worst = spec.json["tolerance"]["rtol"], spec.json["tolerance"]["atol"], 0.0
    for mode in ("late", "early"):
        found = run(program, mode, spec.launch(config), words, os.path.join(folder, "out"))
        for at, (x, r) in enumerate(zip(found, expected)):
            error = 0.0 if x == r else abs(x - r) / (atol + rtol * abs(r) or 1e-30)
            if not error <= 1.0:
                raise Wrong(f"{mode}: element {at}: {x} instead of {r}")
            worst = max(worst, error)
    return worst
