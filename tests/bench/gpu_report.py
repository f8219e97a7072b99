"""gpu_report.py: tunes CUDA kernels on a real GPU and prints a table: default and best time, the roofline's fraction, trials, failures, the
seconds until the first measured config and in all, trials a second.
usage: HONE_TOOL=hone gpu_report.py [--device cuda:0] [--max-trials N] [--max-time S] [--search NAME] [--whole-budget] [--out FILE] [--cache FILE] SPEC[:SIZE=N,...] ..."""
import argparse
import collections
import json
import os
import re
import subprocess
import tempfile
import threading
import time

TOOL = os.environ.get("HONE_TOOL", "hone")


def tune(words, spec, cache):
    path, _, sizes = spec.partition(":")
    command = [TOOL, "tune", path, "--cache", cache, "--json", "--force"] + words
    for pair in filter(None, sizes.split(",")):
        command += ["--set", pair]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = []

    def read():
        for line in process.stderr:
            seen.append((time.monotonic() - start, line.rstrip()))

    reader = threading.Thread(target=read)
    reader.start()
    out = process.stdout.read()
    code = process.wait()
    reader.join()
    first = next((when for when, line in seen if re.match(r"search: [1-9]", line)), None)
    if code != 0:
        return {"error": seen[-1][1] if seen else f"exit {code}"}
    return {"first": first, "wall": time.monotonic() - start, **json.loads(out)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--max-trials", default="150")
    parser.add_argument("--max-time", default="20")
    parser.add_argument("--search", default="auto")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--whole-budget", action="store_true", help="go on to the end of the budget, whatever there is still to gain")
    parser.add_argument("--out")
    parser.add_argument("--cache", help="keep entries and journals here; default: a cache that is removed")
    parser.add_argument("spec", nargs="+")
    args = parser.parse_args()
    words = ["--device", args.device, "--max-trials", args.max_trials, "--max-time", args.max_time, "--search", args.search, "--seed", args.seed] + ["--whole-budget"] * args.whole_budget
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = args.cache or os.path.join(folder, "cache.hone")
        print(f"{'kernel':28} {'default ms':>10} {'best ms':>9} {'x':>6} {'roof':>5} {'trials':>6} {'failed':>6} {'first s':>7} {'all s':>6} {'/s':>6}  stop; config")
        for spec in args.spec:
            r = results[spec] = tune(words, spec, cache)
            name = os.path.basename(spec).replace(".json", "")
            if "error" in r:
                print(f"{name:28} {r['error']}", flush=True)
                continue
            rate = r["trials"] / max(r["seconds"], 1e-3)
            print(f"{name:28} {r['default_ms']:10.4f} {r['time_ms']:9.4f} {r['speedup']:6.2f} {r['roofline']:5.2f} {r['trials']:6} {r['failed']:6} "
                  f"{r['first'] or 0:7.2f} {r['wall']:6.1f} {rate:6.1f}  {r['stop']}; {json.dumps(r['config'], separators=(',', ':'))}", flush=True)
            if r["warning"]:
                print("   ", r["warning"])
        notes = subprocess.run([TOOL, "device", "--device", "cuda:0" if args.device == "cuda:all" else args.device, "--json"], stdout=subprocess.PIPE, text=True)
        print(notes.stdout.strip())
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump(results, file)
    counts = collections.Counter("error" in r for r in results.values())
    return 1 if counts[True] else 0


if __name__ == "__main__":
    raise SystemExit(main())
