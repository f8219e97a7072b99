"""Canonical bytes of spec/vectors/key, made by a slow reader that was written from the text of spec/key.md alone."""
import json
import os
import pathlib
import struct
import unittest

ROOT = pathlib.Path(os.environ.get("HONE_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
FLOATS = ("f64", "f32", "f16", "bf16")
KINDS = ["range", "pow2", "enum", "bool", "permutation", "list"]
LANGUAGES = ("c", "cuda", "external")


def u8(value):
    return struct.pack("<B", value)


def u32(value):
    return struct.pack("<I", value)


def i64(value):
    return struct.pack("<q", value)


def f64(value):
    return struct.pack("<d", value + 0.0)


def text(value):
    data = value.encode()
    return u32(len(data)) + data


def lines(value):
    return text(value.replace("\r\n", "\n").replace("\r", "\n"))


def expr(value):
    if value is None:
        return text("")
    return text(value if isinstance(value, str) else str(int(value)))


def many(items):
    return u32(len(items)) + b"".join(items)


def whole(value):
    return not isinstance(value, bool) and value == int(value) and abs(value) <= 2**53


def named(members):
    """Members in the order of their names' bytes; x- members are not there at all."""
    names = [name for name in members if not name.startswith("x-")]
    return [(name, members[name]) for name in sorted(names, key=str.encode)]


def size_bytes(name, size):
    if not isinstance(size, dict):
        size = {"default": size}
    role = ["exact", "bucket", "ignore"].index(size.get("role", "exact"))
    buckets = size.get("buckets", "pow2")
    return text(name) + u8(role) + many([i64(b) for b in buckets] if isinstance(buckets, list) else [])


def arg_bytes(arg):
    out = text(arg["name"]) + text(arg["dtype"]) + u8(["buffer", "scalar"].index(arg["kind"]))
    if arg["kind"] == "scalar":
        if isinstance(arg["value"], str):
            return out + expr(arg["value"]) + f64(0.0)
        return out + text("") + f64(float(arg["value"]))
    access = arg.get("access", "in")
    out += many([expr(d) for d in arg["shape"]]) + u8(["in", "out", "inout"].index(access)) + u32(arg.get("align", 64))
    if access == "out":
        return out + u8(255) + f64(0.0) + f64(0.0)
    fill = arg.get("fill", {"uniform": [-1, 1] if arg["dtype"] in FLOATS else [0, 100]})
    kind = [name for name in fill if not name.startswith("x-")][0]
    a, b = (fill[kind], 0) if kind == "constant" else fill[kind]
    return out + u8(["uniform", "normal", "constant", "iota"].index(kind)) + f64(float(a)) + f64(float(b))


def domain_bytes(param):
    kind = param["kind"]
    head = u8(KINDS.index(kind))
    if kind == "range":
        step = param.get("step", 1)
        return head + u32((param["max"] - param["min"]) // step + 1) + i64(param["min"]) + i64(step)
    if kind == "pow2":
        return head + u32((param["max"] // param["min"]).bit_length()) + i64(param["min"])
    if kind == "bool":
        return head + u32(2)
    if kind == "permutation":
        return head + u32(param["length"])
    values = param["values"]
    if isinstance(values[0], str):
        return head + u32(len(values)) + u8(1) + b"".join(text(v) for v in values)
    if all(whole(v) for v in values):
        return head + u32(len(values)) + u8(0) + b"".join(i64(int(v)) for v in values)
    return head + u32(len(values)) + u8(2) + b"".join(f64(float(v)) for v in values)


def param_bytes(name, param):
    slots = param["length"] if param["kind"] in ("permutation", "list") else 1
    inner = param["of"] if param["kind"] == "list" else param
    return text(name) + u8(KINDS.index(param["kind"])) + u32(slots) + domain_bytes(inner)


def extents(items):
    items = items or []
    return u8(len(items)) + b"".join(expr(i) for i in items)


def kernel_bytes(spec, files):
    launch = spec.get("launch", {})
    constraints = [c if isinstance(c, str) else c["expr"] for c in spec.get("constraints", [])]
    return b"".join([
        text("hone.kernel.1"),
        text(spec["name"]),
        text(spec["language"]),
        lines(files[spec["source"]] if "source" in spec else ""),
        text(spec.get("entry", "")),
        many([text(o) for o in spec.get("options", [])]),
        many([lines(files[d]) for d in spec.get("dependencies", [])]),
        many([size_bytes(n, s) for n, s in named(spec.get("sizes", {}))]),
        many([arg_bytes(a) for a in spec.get("args", [])]),
        many([param_bytes(n, p) for n, p in named(spec["params"])]),
        many([expr(c) for c in constraints]),
        extents(launch.get("grid")),
        extents(launch.get("block")),
        extents(launch.get("cluster")),
        expr(launch.get("shared_bytes")),
        many([text(w) for w in spec["evaluator"]] if spec["language"] == "external" else []),
        text("cooperative") if launch.get("cooperative") else b"",
    ])


def key_value(size, value):
    if size["role"] == "exact":
        return value
    buckets = size.get("buckets", "pow2")
    if buckets == "pow2":
        buckets = [2**k for k in range(54)]
    return next((b for b in buckets if b >= value), value)


def problem_bytes(spec, sizes):
    parts = []
    for name, size in named(spec.get("sizes", {})):
        size = dict(size) if isinstance(size, dict) else {"default": size}
        size.setdefault("role", "exact")
        if size["role"] == "ignore":
            continue
        value = key_value(size, sizes.get(name, size["default"]))
        parts.append(text(name) + u8(["exact", "bucket"].index(size["role"])) + i64(value))
    return text("hone.problem.1") + many(parts)


def scalar(value):
    if isinstance(value, bool):
        return u8(0) + u8(int(value))
    if isinstance(value, str):
        return u8(3) + text(value)
    return u8(1) + i64(int(value)) if whole(value) else u8(2) + f64(value)


def device_bytes(device):
    members = sorted(device["identity"].items(), key=lambda item: item[0].encode())
    return text("hone.device.1") + text(device["kind"]) + many([text(n) + scalar(v) for n, v in members])


class KeyVectors(unittest.TestCase):
    def test_canonical_bytes(self):
        vectors = sorted((ROOT / "spec/vectors/key").glob("*.json"))
        self.assertGreaterEqual(len(vectors), 4)
        for path in vectors:
            with self.subTest(path.name):
                vector = json.loads(path.read_text(encoding="utf-8"))
                spec = vector["spec"]
                self.assertEqual(kernel_bytes(spec, vector["files"]).hex(), vector["kernel_bytes"])
                self.assertEqual(device_bytes(vector["device"]).hex(), vector["device_bytes"])
                self.assertTrue(vector["problems"])
                for problem in vector["problems"]:
                    self.assertEqual(problem_bytes(spec, problem["sizes"]).hex(), problem["problem_bytes"])

    def test_vectors_differ(self):
        """Each kernel and device of the vectors is another one: no accident makes two of them equal."""
        seen = {"kernel_id": set(), "device_id": set(), "key": set()}
        for path in sorted((ROOT / "spec/vectors/key").glob("*.json")):
            vector = json.loads(path.read_text(encoding="utf-8"))
            found = [("kernel_id", vector["kernel_id"]), ("device_id", vector["device_id"])]
            found += [("key", problem["key"]) for problem in vector["problems"]]
            for member, value in found:
                self.assertNotIn(value, seen[member])
                seen[member].add(value)


if __name__ == "__main__":
    unittest.main()
