"""Caches of made-up entries for tests of the command: lines of a dump, loaded by `hone load`."""
import hashlib
import json

HEAD = '{"type":"hone dump","reader":1,"writer":1}'


def digest(*words):
    return hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()[:32]


def entry(number, time_ns=1000.0, kernel="matmul", device="Test CPU (8 cores)", **changes):
    made = {"type": "entry", "key": digest("key", kernel, device, number), "kernel_id": digest("kernel", kernel),
            "device_id": digest("device", device), "problem_id": digest("problem", number), "kernel": kernel, "sizes": {"M": number},
            "device": {"kind": "cpu", "name": device, "identity": {"arch": "x86_64"}},
            "best": {"config": {"BM": 64, "V": number}, "time_ns": time_ns, "low_ns": time_ns * 0.99, "high_ns": time_ns * 1.01, "mad_ns": 1.5,
                     "samples": 11},
            "alternatives": [], "default_ns": 3000.0, "flops": 0, "bytes": 0, "roofline": 0, "effort": "standard", "accuracy": "passed", "tie": False,
            "strategy": "random", "model": "", "stop": "trials", "tool_version": "0.1.0", "host": "host", "driver": "", "toolkit": "", "rounds": 0,
            "trials": 40, "failed": 2, "tokens": 0, "seconds": 1.25, "created_unix_s": 1790000000}
    made.update(changes)
    return made


def kernel(name="matmul", source="void f(void) {}\n"):
    return {"type": "kernel", "id": digest("kernel", name), "name": name, "language": "c", "space": {"params": {}}, "source": source}


def dump(lines):
    kernels = sum(line["type"] == "kernel" for line in lines)
    end = {"type": "end", "kernels": kernels, "entries": len(lines) - kernels}
    return "\n".join([HEAD, *(json.dumps(line, separators=(",", ":")) for line in lines), json.dumps(end)]) + "\n"


def make(test, path, lines):
    """A cache file at `path` with these entries and kernels."""
    test.expect(0, "load", "-", "--cache", path, "--quiet", input=dump(lines))
    return path
