#!/usr/bin/env python3
"""Compiles configs of the CUDA kernels with NVRTC, no GPU needed, and prints registers, spills and what failed.

usage: check_cuda.py [-n CONFIGS] [-j JOBS] [--seed N] [--arch sm_90a] [--set SIZE=VALUE] [SPEC.json ...]

The default config, the seeds and N random valid configs of each spec (default: all of language cuda here).  Exit code 1 when one does not compile,
77 when there is no NVRTC.  Registers and spills are those that ptxas tells in NVRTC's log.
"""
import argparse
import ctypes
import ctypes.util
import glob
import json
import multiprocessing
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kernel_space import Spec  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def find_nvrtc():
    places = [os.environ.get("HONE_NVRTC"), "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]
    places += sorted(glob.glob("/usr/local/cuda*/lib*/libnvrtc.so.1[0-9]"), reverse=True)
    for place in filter(None, places):
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    return None


class Failed(Exception):
    pass


def compile_text(nvrtc, text, name, options):
    """(cubin, log) of a source text."""
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
    words = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    code = nvrtc.nvrtcCompileProgram(program, len(options), words)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    cubin = b""
    if code == 0:
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetCUBIN(program, buffer)
        cubin = buffer.raw
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if code != 0:
        raise Failed(log.value.decode(errors="replace").strip())
    return cubin, log.value.decode(errors="replace").strip()


def compile_config(nvrtc, spec, config, arch, reference=False):
    if reference:
        part = spec.json["reference"]
        source, options = part.get("source", spec.json["source"]), spec.options({}, part.get("options", []))
    else:
        source, options = spec.json["source"], spec.macros(config) + spec.options(config)
    path = os.path.join(spec.folder, source)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    words = [f"--gpu-architecture={arch}", "-std=c++17", "-default-device", f"-I{spec.folder}", "--ptxas-options=-v", *options]
    cubin, log = compile_text(nvrtc, text, path, words)
    registers = re.search(r"Used (\d+) registers", log)
    spills = re.search(r"(\d+) bytes spill stores", log)
    warnings = [line for line in log.splitlines() if "warning" in line.lower() or "C75" in line]
    return cubin, {"registers": int(registers.group(1)) if registers else None, "spills": int(spills.group(1)) if spills else None,
                   "warnings": warnings}


def work(job):
    path, sizes, config, arch = job
    spec = Spec(path, **sizes)
    start = time.time()
    try:
        _, found = compile_config(find_nvrtc(), spec, config or {}, arch, reference=config is None)
        return {"config": config, "seconds": time.time() - start, **found}
    except Failed as error:
        return {"config": config, "seconds": time.time() - start, "error": str(error)}


def differs(spec, config):
    return "reference" if config is None else " ".join(f"{k}={Spec.text(v)}" for k, v in config.items() if v != spec.default[k]) or "(default)"


def cuda_specs():
    """The specs of language cuda here, but for hostile.json, which breaks every rule on purpose (tests/bench/gpu_hostile.py runs it)."""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "*.json"))):
        with open(path, encoding="utf-8") as file:
            if json.load(file)["language"] == "cuda" and os.path.basename(path) != "hostile.json":
                found.append(path)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=8)
    parser.add_argument("-j", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("specs", nargs="*")
    options = parser.parse_args()
    if find_nvrtc() is None:
        print("check_cuda.py: no libnvrtc.so here (HONE_NVRTC names one); nothing was compiled", file=sys.stderr)
        return 77
    sizes = {name: int(value) for name, value in (word.split("=") for word in options.set)}
    paths = options.specs or cuda_specs()
    failed = 0
    with multiprocessing.Pool(options.j) as pool:
        for path in paths:
            spec = Spec(path, **{k: v for k, v in sizes.items()})
            draw = random.Random(options.seed)
            configs = [None, spec.default] + [spec.config(seed) for seed in spec.json.get("seeds", []) if spec.valid(spec.config(seed))]
            configs += [spec.random(draw) for _ in range(options.n)]
            for found in pool.imap(work, [(path, sizes, config, options.arch) for config in configs]):
                if "error" in found:
                    failed += 1
                    print(f"{spec.name:13} FAILED  {differs(spec, found['config'])}\n{found['error']}")
                else:
                    print(f"{spec.name:13} {found['registers']!s:>4} regs {found['spills']!s:>5} spilled {found['seconds']:5.1f} s  "
                          f"{differs(spec, found['config'])}{''.join(chr(10) + w for w in found['warnings'][:3])}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
