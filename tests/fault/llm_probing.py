"""Running llm_probe for the tests of the HTTP client: a clean environment, a canary key that must not leak, its lines as JSON."""
import json
import os
import subprocess
import tempfile

from llm_servers import CANARY, Certificates

PROBE = os.path.join(os.environ.get("HONE_BUILD_DIR", "build/debug"), "tests", "llm_probe")
FOLDER = tempfile.mkdtemp(prefix="hone-llm-")
CERTS = Certificates(FOLDER)
KEEP = {name: value for name, value in os.environ.items() if name in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")}


def probe(environment, *arguments, key="HONE_LLM_API_KEY", process_timeout=60):
    """Run llm_probe; the list of its JSON lines."""
    env = dict(KEEP, HONE_LLM_CA_BUNDLE=CERTS.path("ca", "pem"))
    if key:
        env[key] = CANARY
    env.update(environment)
    env = {name: value for name, value in env.items() if value is not None}
    words = list(arguments) + ["the question"]
    if "--timeout" not in words:
        words = ["--timeout", "20"] + words
    run = subprocess.run([PROBE] + words, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=process_timeout)
    assert run.returncode == 0, (run.returncode, run.stdout, run.stderr)
    secret = env.get(key, CANARY).encode() if key else CANARY.encode()
    assert secret not in run.stdout and secret not in run.stderr, "the key leaked: %r %r" % (run.stdout, run.stderr)
    lines = [json.loads(line) for line in run.stdout.decode().splitlines()]
    for line in lines:
        assert len(line["message"]) < 512 and "\n" not in line["message"], line
    for line, words in zip(lines, (text.split() for text in run.stderr.decode().splitlines() if text.startswith("polls"))):
        line["polls"] = int(words[1])
    return lines
