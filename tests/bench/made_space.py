#!/usr/bin/env python3
"""Recorded spaces that no device has measured: a made-up model of a tiled kernel, for what the shared spaces have none of (15 parameters, many
failing configs) and as spaces that no number of a strategy was chosen on.

    tests/bench/made_space.py --params 15 --failing 0.5 --seed 3 -o made.json.gz

The model has what makes real spaces hard: occupancy in steps, tiles that must divide, registers that spill, a parameter that matters only with another
one, vector widths that want alignment, failures by a limit on a product, and a rough floor of small interactions.  Times are not of any hardware."""
import argparse
import gzip
import json
import math
import random

TILES = [8, 16, 32, 48, 64, 96, 128, 192, 256]


def domains(count, rng):
    params = {"TX": rng.sample(TILES, rng.randint(5, 9)), "TY": rng.sample(TILES, rng.randint(4, 8)), "WX": [1, 2, 3, 4, 6, 8], "WY": [1, 2, 4, 8],
              "VEC": [1, 2, 4, 8], "STAGE": [0, 1], "UNROLL": [0, 1, 2, 4, 8, 16], "PAD": [0, 1], "ORDER": ["row", "col", "tile"], "DEPTH": [1, 2, 3, 4]}
    for i in range(len(params), 64):
        params[f"P{i}"] = sorted(rng.sample(range(17), rng.randint(2, 5)))
    return {name: sorted(params[name]) if name != "ORDER" else params[name] for name in list(params)[:count]}


def value(config, name, fallback):
    return config.get(name, fallback)


def model(params, failing, rng):
    names = list(params)
    weights = {name: rng.uniform(0, 0.12) for name in names if name.startswith("P")}
    wanted = {name: rng.choice(params[name]) for name in weights}
    pairs = [(rng.choice(names), rng.choice(names), rng.uniform(0.02, 0.15), rng.randrange(1 << 30)) for _ in range(2 * len(names))]
    best_registers, cost_of_order = rng.choice([32, 64, 96]), {"row": 1.0, "col": rng.uniform(1, 1.6), "tile": rng.uniform(0.9, 1.2)}
    extent = rng.choice([1024, 1536, 4096])
    memory = rng.choice([24, 48, 96]) * 1024
    bandwidth = rng.uniform(0.5, 3)

    def shape(config):
        x, y = value(config, "TX", 32), value(config, "TY", 8)
        wx, wy, depth = value(config, "WX", 1), value(config, "WY", 1), value(config, "DEPTH", 1)
        return x, y, wx, wy, depth, (x + 14) * (y + 6) * 4 * depth * (1 + value(config, "PAD", 0) / 16), wx * wy * (2 + value(config, "VEC", 1)) + depth * 8

    def load(config):
        """What failures are decided by: the higher, the sooner it fails."""
        x, y, wx, wy, _, tile_bytes, registers = shape(config)
        return (tile_bytes / memory if value(config, "STAGE", 1) else 0.2) + registers / 160 + x * y / (wx * wy) / 1024

    def time(config):
        x, y, wx, wy, depth, tile_bytes, registers = shape(config)
        threads = max(1, x // wx) * max(1, y // wy)
        waste = (math.ceil(extent / x) * x / extent) * (math.ceil(extent / y) * y / extent) * (math.ceil(threads / 32) * 32 / threads)
        resident = max(1, min(16, 65536 // max(1, int(threads * (registers + 24))), int(2 * memory / tile_bytes) if value(config, "STAGE", 1) else 16))
        occupancy = min(1.0, resident * threads / 1536)
        spill = 1 + max(0, registers - best_registers) / best_registers
        reuse = math.sqrt(wx * wy)
        vector = value(config, "VEC", 1)
        traffic = bandwidth * (1 / reuse + (0.2 if value(config, "STAGE", 1) else 0.6 / math.sqrt(vector)))
        traffic *= 1.35 if vector > 1 and x % (8 * vector) else 1.0
        traffic *= 1.3 if value(config, "STAGE", 1) and not value(config, "PAD", 0) and x % 32 == 0 else 1.0
        compute = spill * (1.15 - 0.05 * min(3, math.log2(1 + value(config, "UNROLL", 1)))) + (0.3 if value(config, "UNROLL", 1) * wx * wy > 128 else 0)
        total = waste * (max(compute, traffic) + 0.3 * min(compute, traffic)) * (0.5 + 0.5 / max(0.15, occupancy) ** 0.8) * cost_of_order[value(config, "ORDER", "row")]
        total *= 1 + 0.1 * (depth - 1) * (1 if occupancy > 0.6 else -0.5)
        for name, weight in weights.items():
            total *= 1 + weight * abs(params[name].index(config[name]) - params[name].index(wanted[name]))
        for a, b, weight, salt in pairs:
            total *= 1 + weight * random.Random(hash((salt, params[a].index(config[a]), params[b].index(config[b])))).random()
        return total
    return load, time


def draw(params, rng):
    return {name: rng.choice(values) for name, values in params.items()}


def make(count, failing, seed, rows):
    rng = random.Random(seed)
    params = domains(count, rng)
    load, time = model(params, failing, rng)
    seen, configs = set(), []
    raw = math.prod(len(values) for values in params.values())
    for _ in range(20 * rows):
        config = draw(params, rng)
        key = tuple(config.values())
        if key in seen or value(config, "TX", 8) % value(config, "WX", 1) or value(config, "TY", 8) % value(config, "WY", 1):
            continue
        if count > 12 and rng.random() < 0.5:  # a large space is listed where it is dense, so that configs have neighbours
            base = rng.choice(configs) if configs else config
            config = dict(base)
            for name in rng.sample(list(params), 2):
                config[name] = rng.choice(params[name])
            key = tuple(config.values())
            if key in seen or config["TX"] % config["WX"] or config["TY"] % config["WY"]:
                continue
        seen.add(key)
        configs.append(config)
        if len(configs) == min(rows, raw):
            break
    loads = sorted(load(c) for c in configs)
    limit = loads[min(len(loads) - 1, int((1 - failing) * len(loads)))] if failing > 0 else math.inf
    out = [{"config": c, "error": "runtime"} if load(c) > limit else {"config": c, "time_ms": round(time(c), 6)} for c in configs]
    return {"kernel": f"made-{count}-{seed}", "gpu": "none", "problem": "a made-up model, see tests/bench/made_space.py", "params": params,
            "constants": {}, "restrictions": ["TX % WX == 0", "TY % WY == 0"], "default": None, "rows": out}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=int, default=15)
    parser.add_argument("--failing", type=float, default=0.5, help="share of configs that fail")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("-o", dest="out", required=True)
    given = parser.parse_args()
    with gzip.open(given.out, "wt") as file:
        json.dump(make(given.params, given.failing, given.seed, given.rows), file)


if __name__ == "__main__":
    main()
