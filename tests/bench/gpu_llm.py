"""gpu_llm.py: guided tunings on a real GPU, with answers that were written beforehand, and what each round of them came to.
usage: HONE_TOOL=hone gpu_llm.py --answers FOLDER --box FOLDER --cache FILE --transcripts FOLDER [--device cuda:0] [--out FILE] SPEC.json ...

For request N of kernel NAME the answer is FOLDER/NAME.N.md; a request without one is left in the mailbox and the tuning ends there, to be gone on with
when cache, box and answers are given again.  What a round came to is told by the progress when the next request is written or the tuning ends."""
import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import threading
import time

TOOL = os.environ.get("HONE_TOOL", "hone")
WAIT_S = 2


def feed(box, answers, name, seen, clock, stop):
    """Put answers into the mailbox as requests turn up; note when each did."""
    while not stop.is_set():
        for path in sorted(glob.glob(os.path.join(box, "*.prompt.md"))):
            stem = path[:-len(".prompt.md")]
            number = 1 + int(os.path.basename(stem).split("-")[0])  # the first request is number 0
            if stem in seen:
                continue
            seen[stem] = {"request": number, "at": clock()}
            answer = os.path.join(answers, f"{name}.{number}.md")
            if os.path.exists(answer) and not os.path.exists(stem + ".answer.md"):
                shutil.copy(answer, stem + ".draft")
                os.rename(stem + ".draft", stem + ".answer.md")
        time.sleep(0.01)


def tune(path, args):
    name = os.path.basename(path).replace(".json", "")
    box = os.path.join(args.box, name)
    os.makedirs(box, exist_ok=True)
    start = time.monotonic()
    seen, lines, stop = {}, [], threading.Event()
    feeder = threading.Thread(target=feed, args=(box, args.answers, name, seen, lambda: time.monotonic() - start, stop), daemon=True)
    feeder.start()
    process = subprocess.Popen([TOOL, "tune", path, "--cache", args.cache, "--json", "--search", "llm", "--llm-mailbox", box, "--llm-timeout", str(WAIT_S), "--whole-budget",
                                "--device", args.device, "--transcript", os.path.join(args.transcripts, name + ".jsonl")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        lines.append((time.monotonic() - start, line.rstrip()))
    out = process.stdout.read()
    code = process.wait()
    wall = time.monotonic() - start
    stop.set()
    feeder.join()
    result = json.loads(out) if code == 0 else None
    return {"kernel": name, "code": code, "wall": wall, "requests": sorted(seen.values(), key=lambda one: one["at"]), "lines": lines, "result": result}


def main():
    parser = argparse.ArgumentParser()
    for word in ("answers", "box", "cache", "transcripts"):
        parser.add_argument("--" + word, required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out")
    parser.add_argument("spec", nargs="+")
    args = parser.parse_args()
    os.makedirs(args.transcripts, exist_ok=True)
    found = [tune(path, args) for path in args.spec]
    for one in found:
        asked = " ".join(f"{r['request']}@{r['at']:.2f}s" for r in one["requests"])
        last = [line for _, line in one["lines"] if re.match(r"(search|finalists|start): ", line)][-1:]
        final = f"{one['result']['time_ms']:.4f} ms, {one['result']['trials']} trials" if one["result"] else f"code {one['code']}: {one['lines'][-1][1] if one['lines'] else ''}"
        print(f"{one['kernel']:14} wall {one['wall']:.2f}s requests {asked}; {last}; {final}", flush=True)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
