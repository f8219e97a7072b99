#!/usr/bin/env python3
"""A model of known quality for `hone simulate --search hybrid --llm-command "scripted_model.py QUALITY SPACE.json.gz [SEED]"`: reads the conversation on stdin
and answers with configs of the recorded space, knowing all its times.

    perfect      the best configs, best first
    useless      random valid configs, the same whatever was measured; others for another seed
    decent       configs that are better than nine tenths of all, in no order; others for another seed
    malicious    the configs that fail, then the slowest ones, among invalid ones, with praise"""
import gzip
import json
import random
import re
import sys

CONFIGS = 15


def main():
    quality, path = sys.argv[1:3]
    draw = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    conversation = sys.stdin.read()
    round_number = max([1] + [int(n) for n in re.findall(r"round (\d+) of \d+; measurements", conversation)])
    with open(path, "rb") as file:
        data = file.read()
    rows = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    names = list(rows["params"])
    good = sorted((row for row in rows["rows"] if "error" not in row), key=lambda row: row["time_ms"])
    bad = [row for row in rows["rows"] if "error" in row]
    if quality == "perfect":
        order = good
    elif quality == "useless":
        order = rows["rows"][:]
        draw.shuffle(order)
    elif quality == "decent":
        order = good[:max(CONFIGS, len(good) // 10)]
        draw.shuffle(order)
    elif quality == "malicious":
        order = bad[:3 * CONFIGS] + good[::-1]
    else:
        sys.exit(f"no such quality: {quality}")
    first = (round_number - 1) * CONFIGS
    configs = [{name: row["config"][name] for name in names} for row in order[first:first + CONFIGS]]
    if quality == "malicious":
        configs[1:1] = [{names[0]: -1}, {"NO_SUCH": 1}, "faster"]
    print(json.dumps({"thought": f"These are certainly the best ({quality}).", "configs": configs}))


if __name__ == "__main__":
    main()
