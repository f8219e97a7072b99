#!/usr/bin/env python3
"""What tuning the real kernels is worth on this machine: for each kernel the default, the tuned config within a budget, and the best known one (a
long run of its own, which also sees the tuned config), as a Markdown table and JSON lines.  Nothing else should run on the machine.

    python3 tests/bench/kernels_report.py --hone build/release/hone [--max-time 60] [--long 150] [KERNEL.json ...]
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def tune(hone, spec, cache, *words):
    done = subprocess.run([hone, "tune", spec, "--cache", cache, "--json", *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{spec}: {done.stderr}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hone", default="hone")
    parser.add_argument("--max-time", default="60")
    parser.add_argument("--long", default="150", help="seconds of the long runs (random, then local) that look for the best known")
    parser.add_argument("kernel", nargs="*", default=sorted(glob.glob(os.path.join(HERE, "../kernels/*.json"))))
    options = parser.parse_args()
    print("| kernel | default ms | tuned ms | speed-up | noise | trials | failed | seconds | roofline | best known ms | tuned / best known | trials of the long runs |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    lines = []
    for spec in options.kernel:
        with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
            cache = os.path.join(folder, "cache.hone")
            tuned = tune(options.hone, spec, cache, "--max-time", options.max_time)
            half = str(float(options.long) / 2)
            long_runs = [tune(options.hone, spec, os.path.join(folder, "random.hone"), "--search", "random", "--max-trials", "100000", "--max-time", half),
                         tune(options.hone, spec, cache, "--force", "--seed", "2", "--max-trials", "2000", "--max-time", half)]
            best = min([tuned] + long_runs, key=lambda r: r["time_ms"])
            trials = sum(r["trials"] for r in long_runs)
        lines.append({"kernel": tuned["kernel"], "tuned": tuned, "best_known": best, "long_trials": trials})
        print(f"| {tuned['kernel']} {' '.join(f'{k}={v}' for k, v in tuned['sizes'].items())} | {tuned['default_ms']:.3f} | {tuned['time_ms']:.3f} | "
              f"{tuned['speedup']:.2f} | ±{100 * tuned['noise']:.1f} % | {tuned['trials']} | {tuned['failed']} | {tuned['seconds']:.0f} | "
              f"{100 * tuned['roofline']:.0f} % | {best['time_ms']:.3f} | {tuned['time_ms'] / best['time_ms']:.3f} | {trials} |", flush=True)
    for line in lines:
        print(json.dumps({"kernel": line["kernel"], "config": line["tuned"]["config"], "best_config": line["best_known"]["config"],
                          "stop": line["tuned"]["stop"], "tie": line["tuned"]["tie"]}))


if __name__ == "__main__":
    main()
