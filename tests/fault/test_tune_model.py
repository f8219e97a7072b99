"""hone tune against model servers on loopback: good ones over TLS and mutual TLS, and ones that truncate, redirect, rate-limit or talk nonsense.
The search goes on, falls back or ends with a clear error, and keeps what it measured."""
import json
import os
import sys
import tempfile
import time
import unittest

from cli.hone_command import CommandTest, PATIENCE

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from llm_servers import CANARY, Certificates, Server, chat, messages, respond, responses  # noqa: E402

FIRST = '{"thought": "larger blocks", "configs": [{"BLOCK": 512, "UNROLL": 8, "OPT": 3}, {"BLOCK": 1024, "UNROLL": 16, "OPT": 2}, {"OPT": 3}]}'
SECOND = '{"thought": "unrolling is refuted", "configs": [{"BLOCK": 2048, "OPT": 3}, {"BLOCK": 4096, "OPT": 3}]}'


class TuneModelTest(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="hone-tls-")
        cls.certificates = Certificates(cls.scratch.name)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def setUp(self):
        super().setUp()
        self.spec = self.write_kernel()

    def model(self, server, provider="chat", path="/v1", host="localhost", **more):
        self.env.update(HONE_LLM_PROVIDER=provider, HONE_LLM_MODEL="probe-1", HONE_LLM_API_BASE=server.url(path, host=host),
                        HONE_LLM_CA_BUNDLE=self.certificates.path("ca", "pem"), OPENAI_API_KEY=CANARY, ANTHROPIC_API_KEY=CANARY, **more)

    def tune(self, code, *words):
        done = self.expect(code, "tune", self.spec, "--cache", self.cache, "--json", "--search", "llm", "--rounds", "2", *words, timeout=120)
        self.assertNotIn(CANARY, done.stdout + done.stderr)
        with open(self.cache, "rb") as file:
            self.assertNotIn(CANARY.encode(), file.read())
        return json.loads(done.stdout) if code == 0 else done.stderr


    def check_two_rounds(self, result, server):
        self.assertEqual((result["rounds"], result["strategy"], result["model"]), (2, "llm", "probe-1"))
        self.assertEqual(result["tokens"], 36)
        self.assertGreaterEqual(result["trials"], 6)
        self.assertEqual(len(server.requests), 2)
        self.assertIn("never", server.requests[1].raw.decode().lower())
        self.assertIn("larger blocks", server.requests[1].raw.decode())

    def test_chat_over_tls(self):
        def handler(conn, request, number):
            respond(conn, chat([FIRST, SECOND][number]))
        with Server(handler, self.certificates.context()) as server:
            self.model(server)
            self.check_two_rounds(self.tune(0), server)

    def test_responses_over_mutual_tls(self):
        def handler(conn, request, number):
            respond(conn, responses([FIRST, SECOND][number]))
        with Server(handler, self.certificates.context(client_ca="ca")) as server:
            self.model(server, "openai", HONE_LLM_CLIENT_CERT=self.certificates.path("client", "pem"),
                       HONE_LLM_CLIENT_KEY=self.certificates.path("client", "key"))
            self.check_two_rounds(self.tune(0), server)

    def test_messages_with_rate_limit_and_transcript_that_replays(self):
        def handler(conn, request, number):
            if number == 0:
                return respond(conn, {"type": "error", "error": {"message": "slow down"}}, "429 Too Many Requests", ["Retry-After: 1"])
            respond(conn, messages([FIRST, SECOND][number - 1]))
        transcript = os.path.join(self.folder, "transcript.jsonl")
        with Server(handler, self.certificates.context()) as server:
            self.model(server, "anthropic", path="")
            result = self.tune(0, "--transcript", transcript)
            self.assertEqual((result["rounds"], len(server.requests)), (2, 3))
        with open(transcript, encoding="utf-8") as file:
            text = file.read()
        self.assertNotIn(CANARY, text)
        self.assertIn("larger blocks", text)
        self.cache = os.path.join(self.folder, "other.hone")
        again = self.tune(0, "--llm-provider", "replay", "--llm-replay", transcript)
        self.assertEqual((again["rounds"], again["trials"]), (2, result["trials"]))

    def test_truncated_and_chatty_replies_are_salvaged(self):
        def handler(conn, request, number):
            text = "Sure! Here you go:\n```json\n" + FIRST[:-20] if number == 0 else "thinking {braces} ... " + SECOND + " Good luck!"
            respond(conn, chat(text, "length" if number == 0 else "stop"))
        with Server(handler, self.certificates.context()) as server:
            self.model(server)
            result = self.tune(0)
            self.assertEqual(result["rounds"], 2)
            self.assertIn("incomplete", server.requests[1].raw.decode().lower().replace("truncat", "incomplete"))

    def test_nonsense_gets_one_repair_request(self):
        def handler(conn, request, number):
            respond(conn, chat(["I cannot do that.", FIRST, SECOND][number]))
        with Server(handler, self.certificates.context()) as server:
            self.model(server)
            self.assertEqual((self.tune(0)["rounds"], len(server.requests)), (2, 3))

    def test_failing_model_ends_llm_and_keeps_what_was_measured(self):
        def handler(conn, request, number):
            if number == 0:
                return respond(conn, chat(FIRST))
            respond(conn, {"error": {"message": "no such model " + CANARY}}, "404 Not Found")
        with Server(handler, self.certificates.context()) as server:
            self.model(server)
            self.assertIn("404", self.tune(5))
            result = json.loads(self.expect(0, "tune", self.spec, "--cache", self.cache, "--json", "--search", "lfbo", "--max-trials", "10",
                                            timeout=120).stdout)
            self.assertGreater(result["resumed"], 0)

    def test_gateway_comes_back_and_the_tuning_goes_on(self):
        state = {"up": False}

        def handler(conn, request, number):
            if number == 0:
                return respond(conn, chat(FIRST))
            if not state["up"]:
                return respond(conn, {"error": {"message": "bad key"}}, "401 Unauthorized")
            respond(conn, chat(SECOND))
        with Server(handler, self.certificates.context()) as server:
            self.model(server)
            self.tune(5)
            refused = server.requests[-1].raw
            state["up"] = True
            result = self.tune(0)
            self.assertGreater(result["resumed"], 3)
            self.assertEqual(result["rounds"], 2)
            self.assertEqual(json.loads(server.requests[-1].raw), json.loads(refused))

    def test_auto_falls_back_with_a_warning(self):
        def handler(conn, request, number):
            respond(conn, b"", "302 Found", ["Location: https://elsewhere.example/"])
        with Server(handler, self.certificates.context()) as server:
            self.model(server)
            done = self.expect(0, "tune", self.spec, "--cache", self.cache, "--json", "--max-trials", "15", timeout=120)
            result = json.loads(done.stdout)
            self.assertEqual((result["rounds"], result["trials"]), (0, 15))
            self.assertIn("lfbo goes on", done.stderr)
            self.assertEqual(len(server.requests), 1)

    def test_slow_server_meets_the_time_budget(self):
        def handler(conn, request, number):
            time.sleep(40 * PATIENCE)
        with Server(handler, self.certificates.context()) as server:
            self.model(server)
            started = time.monotonic()
            result = self.tune(0, "--max-time", "6")
            self.assertEqual(result["rounds"], 0)
            self.assertIn("time", result["stop"])
            print(f"a budget of 6 s took {time.monotonic() - started:.1f} s")

    def test_token_budget_stops_asking(self):
        def handler(conn, request, number):
            respond(conn, chat(FIRST, tokens=(5000, 100)))
        with Server(handler, self.certificates.context()) as server:
            self.model(server)
            result = self.tune(0, "--max-tokens-total", "5000")
            self.assertEqual((result["rounds"], len(server.requests)), (1, 1))
            self.assertIn("token", result["stop"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
