#!/usr/bin/env python3
"""Strategies on recorded spaces: fraction of optimum after some numbers of trials, beside exact uniform random.

    tests/bench/simulate_report.py [--search lfbo,random] [--repeat 60] [--per-space] SPACE.json.gz...

--transfer gives each space the other GPUs of its kernel; --misleading a copy of its own rows with shuffled times; --noise X perturbs each
measurement and adds what the finally chosen config is worth; --model QUALITY answers llm and hybrid with scripted_model.py, --transcripts FOLDER
with the recorded conversation FOLDER/SPACE.jsonl.  What belongs together goes into one run, so that it stands in one table: a
strategy written as lfbo+transfer, lfbo+misleading, hybrid+perfect, hybrid+decent, hybrid+useless, hybrid+malicious, hybrid+transcript or lfbo+noise has that
option alone.

The `hone` command is $HONE_TOOL, else build/release/hone.  Words given after `--` go to `hone simulate` as they are."""
import argparse
import concurrent.futures
import gzip
import json
import math
import os
import random as random_numbers
import shlex
import subprocess
import sys
import tempfile

AT = [10, 25, 40, 50, 100, 200]
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load(path):
    with open(path, "rb") as file:
        data = file.read()
    space = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return [row.get("time_ms") if "error" not in row else None for row in space["rows"]]


def exact_random(times, trials):
    """Expected fraction of optimum, expected time over optimum and chance to be within 5 % after 1..trials draws without repetition.
    While nothing has run the fraction is 0 and the time is that of the slowest config."""
    good = sorted(t for t in times if t)
    count, optimum, slowest = len(times), good[0], good[-1]
    fractions, ratios, near = [], [], []
    for n in range(1, trials + 1):
        chance, fraction, ratio, within, left = min(1.0, n / count), 0.0, 0.0, 0.0, 1.0
        for rank, time in enumerate(good):
            if rank > 0:
                remaining = count - rank
                chance *= max(0, remaining + 1 - n) / remaining
            fraction += chance * optimum / time
            ratio += chance * time / optimum
            within += chance if time <= 1.05 * optimum else 0
            left -= chance
            if left < 1e-12:
                break
        fractions.append(fraction)
        ratios.append(ratio + max(0.0, left) * slowest / optimum)
        near.append(within)
    return fractions, ratios, near


def transfer(path, spaces):
    """The files of the same kernel on other GPUs (the name before "__" is the kernel)."""
    kernel = os.path.basename(path).split("__")[0]
    others = [p for p in spaces if p != path and os.path.basename(p).split("__")[0] == kernel]
    return [word for other in others for word in ("--transfer", other)]


def misleading(path, folder):
    """The space with its times shuffled among the configs that ran."""
    with open(path, "rb") as file:
        data = file.read()
    space = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    ran = [row for row in space["rows"] if "error" not in row]
    times = [row["time_ms"] for row in ran]
    random_numbers.Random(1).shuffle(times)
    for row, time in zip(ran, times):
        row["time_ms"] = time
    out = os.path.join(folder, os.path.basename(path))
    if not os.path.exists(out):
        with gzip.open(out + ".new", "wt") as file:
            json.dump(space, file)
        os.rename(out + ".new", out)
    return ["--transfer", out]


SCRIPTED = ("perfect", "decent", "useless", "malicious")
SCRIPTED_SHARE = 4  # repeats with the same answers of a scripted model: what one of its draws is worth must not decide


def options(given, variant, path, folder, first):
    """What a variant of a strategy means to hone simulate."""
    model = shlex.join([sys.executable, os.path.join(SOURCE, "tests/bench/scripted_model.py")])
    words = []
    if given.transfer or variant == "transfer":
        words += transfer(path, given.spaces)
    if given.misleading or variant == "misleading":
        words += misleading(path, folder)
    if given.noise or variant == "noise":
        words += ["--noise", str(given.noise or 0.03)]
    quality = variant if variant in SCRIPTED else given.model
    if quality:
        words += ["--llm-provider", "command", "--llm-command", f"{model} {quality} {shlex.quote(path)} {first}"]
    elif variant == "transcript":
        name = os.path.basename(path).split(".")[0] + ".jsonl"
        words += ["--llm-provider", "replay", "--llm-replay", os.path.join(given.transcripts, name)]
    return words


def simulate(tool, path, search, first, repeat, trials, more):
    command = [tool, "simulate", path, "--search", search, "--repeat", str(repeat), "--seed", str(first), "--max-trials", str(trials), "--json"]
    done = subprocess.run(command + more, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command + more)}: exit {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def summary(lines, times, trials):
    slowest = max(t for t in times if t)
    optimum = lines[0]["optimum"]
    fractions, ratios, near = [], [], []
    for n in range(trials):
        best = [line["best"][n] for line in lines]
        fractions.append(sum(optimum / b if b else 0 for b in best) / len(best))
        ratios.append(sum((b or slowest) / optimum for b in best) / len(best))
        near.append(sum(1 for b in best if b and b <= 1.05 * optimum) / len(best))
    return fractions, ratios, near


def gain(strategy, random):
    """(random - strategy) / (random - 1) on times over optimum, summed over all trial counts before dividing, so that the last, almost
    equal ones do not decide."""
    return sum(r - s for r, s in zip(random[1], strategy[1])) / sum(r - 1 for r in random[1])


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def main():
    words = sys.argv[1:]
    more = words[words.index("--") + 1:] if "--" in words else []
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--search", default="lfbo", help="strategies, separated by commas")
    parser.add_argument("--repeat", type=int, default=60)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--transfer", action="store_true", help="leave one GPU out: each space gets the others of its kernel")
    parser.add_argument("--misleading", action="store_true", help="transfer from the space's own rows with shuffled times")
    parser.add_argument("--noise", type=float, default=0)
    parser.add_argument("--model", choices=SCRIPTED, help="answers llm and hybrid")
    parser.add_argument("--transcripts", default=os.path.join(SOURCE, "tests/transcripts/spaces"))
    parser.add_argument("--per-space", action="store_true")
    parser.add_argument("spaces", nargs="+")
    given = parser.parse_args(words[:words.index("--")] if "--" in words else words)
    tool = os.environ.get("HONE_TOOL", os.path.join(SOURCE, "build/release/hone"))
    at = [n for n in AT if n <= given.trials]
    times = {path: load(path) for path in given.spaces}
    random = {path: exact_random(times[path], given.trials) for path in given.spaces}
    table = {"random (exact)": random}
    cpu = {}
    share = max(1, math.ceil(given.repeat / max(1, given.jobs // len(given.spaces) + 1)))
    final = {}
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool, tempfile.TemporaryDirectory() as folder:
        futures = {}
        for search in given.search.split(","):
            for path in sorted(given.spaces, key=lambda p: -len(times[p])):
                name, _, variant = search.partition("+")
                size = min(share, SCRIPTED_SHARE) if variant in SCRIPTED or given.model else share
                for first in range(0, given.repeat, size):
                    job = pool.submit(simulate, tool, path, name, given.seed + first, min(size, given.repeat - first), given.trials,
                                      more + options(given, variant, path, folder, given.seed + first))
                    futures.setdefault((search, path), []).append(job)
        for (search, path), jobs in futures.items():
            lines = [line for job in jobs for line in job.result()]
            table.setdefault(search, {})[path] = summary(lines, times[path], given.trials)
            if lines[0]["extra"] > 0:
                final.setdefault(search, []).append((mean(line["optimum"] / line["final"] for line in lines), lines[0]["extra"]))
            cpu.setdefault(search, []).append(mean(line["cpu_ms_per_trial"] for line in lines))
    head = "".join(f"{'n=' + str(n):>8}" for n in at)
    print(f"{len(given.spaces)} spaces, {given.repeat} seeds\n{'strategy':24}{head}{'within 5 %:':>13}"
          + "".join(f"{'n=' + str(n):>8}" for n in at if n >= 50) + f"{'gain':>7}{'cpu ms':>8}")
    for name, by_path in table.items():
        cells = "".join(f"{mean(s[0][n - 1] for s in by_path.values()):8.3f}" for n in at)
        near = "".join(f"{100 * mean(s[2][n - 1] for s in by_path.values()):6.0f} %" for n in at if n >= 50)
        gains = mean(gain(by_path[p], random[p]) for p in by_path)
        print(f"{name:24}{cells}{'':13}{near}{gains:7.2f}" + (f"{mean(cpu[name]):8.3f}" if name in cpu else ""), flush=True)
    for name, chosen in final.items():
        print(f"{name}: the finally chosen config has {mean(c for c, _ in chosen):.3f} of the optimum, after {mean(e for _, e in chosen):.0f} more measurements")
    if given.per_space:
        for path in given.spaces:
            print(os.path.basename(path))
            for name, by_path in table.items():
                print(f"  {name:22}" + "".join(f"{by_path[path][0][n - 1]:8.3f}" for n in at) + f"{gain(by_path[path], random[path]):35.2f}")


if __name__ == "__main__":
    main()
