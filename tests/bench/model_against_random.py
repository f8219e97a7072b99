#!/usr/bin/env python3
"""Best time so far by trial: a recorded conversation with a model, replayed and measured afresh, against random search with many seeds and against
the search `lfbo`, on the same kernel and machine.  Nothing else should run on the machine.

    python3 tests/bench/model_against_random.py --hone build/release/hone --transcript TRANSCRIPT.jsonl [--seeds 20] [--trials 60] KERNEL.json
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

POINTS = (1, 5, 10, 15, 20, 25, 30, 40, 50, 60)


def course(hone, spec, folder, name, *words):
    """The best time in ms after each trial of one tuning."""
    cache = os.path.join(folder, name + ".hone")
    done = subprocess.run([hone, "tune", spec, "--cache", cache, "--json", *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr}")
    result = json.loads(done.stdout)
    shown = json.loads(subprocess.run([hone, "show", result["key"], "--cache", cache, "--json"], capture_output=True, text=True, check=True).stdout)
    best, curve = float("inf"), []
    for trial in shown["trials"]:
        if trial["outcome"] == "ok":
            best = min(best, trial["time_ms"])
        curve.append(best)
    return curve, result


def at(curve, n):
    return curve[min(n, len(curve)) - 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hone", default="hone")
    parser.add_argument("--transcript", required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("spec")
    options = parser.parse_args()
    trials = ["--max-trials", str(options.trials)]
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        model, result = course(options.hone, options.spec, folder, "model", "--search", "llm", "--llm-provider", "replay", "--llm-replay",
                               options.transcript, *trials)
        lfbo = [course(options.hone, options.spec, folder, f"lfbo{s}", "--search", "lfbo", "--seed", str(s), *trials)[0] for s in (1, 2, 3)]
        random = [course(options.hone, options.spec, folder, f"random{s}", "--search", "random", "--seed", str(s), *trials)[0]
                  for s in range(1, options.seeds + 1)]
    points = [n for n in POINTS if n <= options.trials]
    print(f"{result['kernel']}: {len(model)} trials of the model's {result['rounds']} rounds, {options.seeds} seeds of random search; best ms so far")
    print("| trials | " + " | ".join(str(n) for n in points) + " |")
    print("|---|" + "--:|" * len(points))
    rows = [("model", lambda n: at(model, n)), ("lfbo, mean of 3 seeds", lambda n: statistics.mean(at(c, n) for c in lfbo)),
            ("random, mean", lambda n: statistics.mean(at(c, n) for c in random)), ("random, best seed", lambda n: min(at(c, n) for c in random)),
            ("random, worst seed", lambda n: max(at(c, n) for c in random))]
    for name, value in rows:
        print(f"| {name} | " + " | ".join(f"{value(n):.4g}" for n in points) + " |")
    print(json.dumps({"kernel": result["kernel"], "model": model, "lfbo": lfbo, "random": random, "final": result["time_ms"]}))


if __name__ == "__main__":
    main()
