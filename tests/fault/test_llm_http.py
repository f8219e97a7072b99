"""The HTTP client against hostile loopback servers: TLS, deadlines, sizes, redirects, retries, proxies, secrets.

Every case runs llm_probe with a canary key and a clean environment; the canary must not be in anything that the probe prints.
Cases run side by side: most of them wait.
"""
import concurrent.futures
import email.utils
import gzip
import json
import os
import shutil
import socket
import ssl
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from llm_probing import CERTS, FOLDER, probe  # noqa: E402
from llm_servers import CANARY, Server, chat, messages, reset, respond, responses  # noqa: E402


def ask(server, *arguments, provider="chat", base=None, **environment):
    settings = {"HONE_LLM_PROVIDER": provider, "HONE_LLM_MODEL": "test-model", "HONE_LLM_API_BASE": base or server.url()}
    settings.update(environment)
    return probe(settings, *arguments)[-1]


def tls(handler, name="good", **more):
    return Server(handler, CERTS.context(name, **more))


def fine(conn, _request, _number):
    respond(conn, chat())


class Cases:
    """Each case_* runs on its own thread; `t` is a TestCase to assert with."""

    # ---- TLS

    def case_tls_with_ca_bundle(self, t):
        with tls(fine) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["text"], line["finish"], line["tries"]), ("OK", "fine", "stop", 1))
            t.assertEqual((line["tokens_in"], line["tokens_out"], line["truncated"]), (11, 7, False))
            t.assertEqual(server.requests[0].path, "/v1/chat/completions")
            t.assertEqual(server.requests[0].headers["authorization"], "Bearer " + CANARY)

    def refused_certificate(self, t, name, **environment):
        with tls(fine, name) as server:
            line = ask(server, **environment)
            t.assertEqual(line["status"], "E_NETWORK", line)
            t.assertEqual(line["tries"], 1, "a bad certificate is not tried again")
            t.assertEqual(server.requests, [], "the request left before the certificate was checked")
            return line

    def case_unknown_ca_refused(self, t):
        t.assertIn("HONE_LLM_CA_BUNDLE", self.refused_certificate(t, "unknown")["message"])

    def case_system_store_does_not_know_our_ca(self, t):
        self.refused_certificate(t, "good", HONE_LLM_CA_BUNDLE=None)

    def case_self_signed_certificate_as_bundle(self, t):
        CERTS.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=self",
                      "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", CERTS.path("self", "key"), "-out",
                      CERTS.path("self", "pem"))
        with tls(fine, "self") as server:
            t.assertEqual(ask(server, HONE_LLM_CA_BUNDLE=CERTS.path("self", "pem"))["status"], "OK")
            t.assertEqual(ask(server, base=server.url(host="127.0.0.1"), HONE_LLM_CA_BUNDLE=CERTS.path("self", "pem"))["status"], "OK")
            t.assertEqual(ask(server)["status"], "E_NETWORK")

    def case_bundle_that_is_no_certificate(self, t):
        bundle = os.path.join(FOLDER, "noise.pem")
        with open(bundle, "w") as file:
            file.write("no certificate in here\n")
        with tls(fine) as server:
            line = ask(server, HONE_LLM_CA_BUNDLE=bundle)
            t.assertEqual((line["status"], line["tries"]), ("E_NETWORK", 1), line)

    def case_wrong_host_name_refused(self, t):
        self.refused_certificate(t, "other_host")

    def case_expired_certificate_refused(self, t):
        self.refused_certificate(t, "expired")

    def case_tls_1_1_refused(self, t):
        context = CERTS.context()
        try:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        except (ssl.SSLError, ValueError) as error:
            t.skipTest("this OpenSSL cannot serve TLS 1.1: %s" % error)
        with Server(fine, context) as server:
            line = ask(server)
            t.assertEqual(line["status"], "E_NETWORK", line)
            t.assertEqual(server.requests, [])

    def case_tls_1_2_accepted(self, t):
        context = CERTS.context()
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        with Server(fine, context) as server:
            t.assertEqual(ask(server)["status"], "OK")

    def case_plain_server_behind_https(self, t):
        with Server(fine) as server:
            t.assertEqual(ask(server, "--timeout", "2", base=server.url(scheme="https"))["status"], "E_NETWORK")

    def case_mutual_tls(self, t):
        with tls(fine, client_ca="ca") as server:
            line = ask(server, HONE_LLM_CLIENT_CERT=CERTS.path("client", "pem"), HONE_LLM_CLIENT_KEY=CERTS.path("client", "key"))
            t.assertEqual(line["status"], "OK", line)
            t.assertIn((("commonName", "client"),), server.requests[0].peer_certificate["subject"])
            without = ask(server)
            t.assertEqual(without["status"], "E_NETWORK", without)
            t.assertEqual(len(server.requests), 1)

    def case_mutual_tls_one_file(self, t):
        both = os.path.join(FOLDER, "both.pem")
        with open(both, "w") as out, open(CERTS.path("client", "pem")) as cert, open(CERTS.path("client", "key")) as key:
            out.write(cert.read() + key.read())
        os.chmod(both, 0o600)
        with tls(fine, client_ca="ca") as server:
            t.assertEqual(ask(server, HONE_LLM_CLIENT_CERT=both)["status"], "OK")
            os.chmod(both, 0o644)
            line = ask(server, HONE_LLM_CLIENT_CERT=both)
            t.assertEqual(line["status"], "E_ARG")
            t.assertIn("chmod 600", line["message"])

    def case_missing_files_are_errors(self, t):
        with tls(fine) as server:
            nowhere = os.path.join(FOLDER, "nowhere.pem")
            for name in ("HONE_LLM_CA_BUNDLE", "HONE_LLM_CLIENT_CERT", "HONE_LLM_API_KEY_FILE"):
                more = {name: nowhere}
                if name == "HONE_LLM_API_KEY_FILE":
                    more["HONE_LLM_API_KEY"] = None
                line = ask(server, **more)
                t.assertEqual(line["status"], "E_ARG", line)
                t.assertIn(name, line["message"])
            t.assertEqual(server.connections, 0)

    # ---- deadlines

    def case_one_byte_a_second(self, t):
        def drip(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(30):
                conn.sendall(b" ")
                time.sleep(0.5)

        with tls(drip) as server:
            line = ask(server, "--timeout", "3")
            t.assertEqual(line["status"], "E_NETWORK")
            t.assertIn("within 3 s", line["message"])
            t.assertEqual(line["tries"], 1)

    def case_slow_headers(self, t):
        def drip(conn, _request, _number):
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: yes yes yes yes\r\n\r\n":
                conn.sendall(bytes([byte]))
                time.sleep(0.5)

        with Server(drip) as server:
            t.assertIn("within 2 s", ask(server, "--timeout", "2")["message"])

    def case_stall_after_headers(self, t):
        stop = threading.Event()

        def stall(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            stop.wait(30)

        with tls(stall) as server:
            line = ask(server, "--timeout", "30", "--idle", "1000")
            stop.set()
            t.assertEqual(line["status"], "E_NETWORK")
            t.assertIn("sent nothing for 1000 ms", line["message"])
            t.assertEqual(line["tries"], 1)

    def case_silence_before_headers_is_thinking(self, t):
        def think(conn, _request, _number):
            time.sleep(2.5)
            respond(conn, chat())

        with tls(think) as server:
            t.assertEqual(ask(server, "--idle", "500")["status"], "OK")

    def case_seldom_polled(self, t):
        with tls(fine) as server:
            line = ask(server, "--poll-gap", "100")
            t.assertEqual(line["status"], "OK")

    def case_answer_that_waits_past_the_deadline_is_taken(self, t):
        def later(conn, _request, _number):
            time.sleep(0.1)
            respond(conn, chat())

        with Server(later) as server:
            line = ask(server, "--timeout", "1", "--poll-gap", "700")
            t.assertEqual(line["status"], "OK", line)
            t.assertGreater(line["seconds"], 1)

    def case_never_answers(self, t):
        stop = threading.Event()
        with tls(lambda *_: stop.wait(30)) as server:
            line = ask(server, "--timeout", "2")
            stop.set()
            t.assertEqual(line["status"], "E_NETWORK")
            t.assertIn("no answer within 2 s", line["message"])

    def case_tls_handshake_never_ends(self, t):
        stop = threading.Event()
        with Server(fine, CERTS.context(), accept=lambda *_: stop.wait(30) and False) as server:
            line = ask(server, "--timeout", "2")
            stop.set()
            t.assertEqual(line["status"], "E_NETWORK")

    def case_cancel(self, t):
        stop = threading.Event()
        with tls(lambda *_: stop.wait(30)) as server:
            line = ask(server, "--timeout", "30", "--cancel-after", "300")
            stop.set()
            t.assertEqual(line["status"], "E_CANCELLED")

    # ---- sizes and shapes

    def case_content_length_too_long(self, t):
        def lie(conn, _request, _number):
            respond(conn, chat(), length=100000)
            return False

        with tls(lie) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["tries"]), ("E_NETWORK", 2), line)  # once more, for it may have been paid for

    def case_broken_off_then_ok(self, t):
        def first_breaks(conn, _request, number):
            respond(conn, chat(), length=100000 if number == 0 else None)
            return False

        with tls(first_breaks) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["tries"]), ("OK", 2), line)

    def case_content_length_too_short(self, t):
        with tls(lambda conn, *_: respond(conn, chat(), length=20)) as server:
            line = ask(server)
            t.assertEqual(line["status"], "E_REPLY", line)

    def case_content_length_nonsense(self, t):
        def lie(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + json.dumps(chat()).encode())
            return False

        with tls(lie) as server:
            t.assertIn(ask(server)["status"], ("OK", "E_NETWORK", "E_REPLY"))

    def case_content_length_huge(self, t):
        def lie(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n{")
            time.sleep(1)
            return False

        with tls(lie) as server:
            line = ask(server)
            t.assertEqual(line["status"], "E_REPLY", line)
            t.assertIn("more than", line["message"])

    def case_endless_body(self, t):
        sent = [0]

        def flood(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while sent[0] < 1 << 28:
                conn.sendall(b"x" * 65536)
                sent[0] += 65536

        with Server(flood) as server:
            line = ask(server)
            t.assertEqual(line["status"], "E_REPLY", line)
            t.assertIn("8388608 bytes", line["message"])
            t.assertLess(sent[0], 64 << 20)

    def case_endless_chunks(self, t):
        def flood(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(1 << 12):
                conn.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

        with Server(flood) as server:
            t.assertEqual(ask(server)["status"], "E_REPLY")

    def case_endless_error_body(self, t):
        def flood(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            for _ in range(1 << 12):
                conn.sendall(b"too much " * 8192)

        with Server(flood) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["os_code"]), ("E_PROVIDER", 400), line)

    def case_connection_lost_while_sending(self, t):
        """A peer that goes away in the middle of the request must not kill us by SIGPIPE."""
        def accept(conn, _number):
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            conn.recv(100)
            time.sleep(0.2)
            reset(conn)
            return False

        with Server(fine, accept=accept) as server:
            settings = {"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": server.url()}
            line = probe(settings, "--pad", "4000000")[-1]
            t.assertEqual((line["status"], line["tries"]), ("E_NETWORK", 4), line)

    def case_hundred_thousand_headers(self, t):
        def flood(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(100000)) + b"\r\n")

        with tls(flood) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["tries"]), ("E_REPLY", 1), line)
            t.assertIn("headers", line["message"])

    def case_endless_100_continue(self, t):
        def flood(conn, _request, _number):
            for _ in range(100000):
                conn.sendall(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n")

        with Server(flood) as server:
            t.assertIn(ask(server)["status"], ("E_REPLY", "E_NETWORK"))

    def case_one_endless_header(self, t):
        def flood(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            for _ in range(256):
                conn.sendall(b"x" * 65536)

        with Server(flood) as server:
            line = ask(server)
            t.assertEqual(line["status"], "E_REPLY", line)
            t.assertIn("header", line["message"])

    def case_gzip_unasked(self, t):
        body = gzip.compress(json.dumps(chat()).encode())
        with tls(lambda conn, *_: respond(conn, body, headers=["Content-Encoding: gzip"])) as server:
            line = ask(server)
            t.assertEqual(line["status"], "E_REPLY")
            t.assertIn("gzip", line["message"])
            t.assertNotIn("accept-encoding", server.requests[0].headers)

    def case_gzip_unlabelled(self, t):
        body = gzip.compress(json.dumps(chat()).encode())
        with tls(lambda conn, *_: respond(conn, body)) as server:
            t.assertEqual(ask(server)["status"], "E_REPLY")

    def case_bad_bodies(self, t):
        bodies = {
            "not UTF-8": b'{"choices":[{"message":{"content":"\xff\xfe"}}]}',
            "no JSON": b"<html>welcome</html>",
            "empty": b"",
            "null": b"null",
            "list": b"[1]",
            "deep": b'{"choices":' + b"[" * 100000 + b"]" * 100000 + b"}",
            "wide": b'{"choices":[' + b"0," * 100000 + b"0]}",
            "no choices": b'{"choices":[]}',
            "null choice": b'{"choices":[null]}',
            "choices is text": b'{"choices":"fine"}',
            "no message": b'{"choices":[{"text":"fine"}]}',
            "number": b'{"choices":[{"message":{"content":42}}]}',
            "empty text": json.dumps(chat("")).encode(),
            "blank text": json.dumps(chat(" \n")).encode(),
            "null text": json.dumps(chat(None, "tool_calls")).encode(),
            "refusal": b'{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}',
            "filter": json.dumps(chat("some", "content_filter")).encode(),
            "twice": b'{"choices":[{"message":{"content":"a"}}],"choices":[{"message":{"content":"b"}}]}',
            "trailing": json.dumps(chat()).encode() + b"{}",
            "lone surrogate": b'{"choices":[{"message":{"content":"\\ud800"}}]}',
        }
        names = list(bodies)
        with Server(lambda conn, _request, number: respond(conn, bodies[names[number]])) as server:
            for name in names:
                line = ask(server)
                t.assertEqual((line["status"], line["tries"]), ("E_REPLY", 1), (name, line))

    def case_finish_reasons(self, t):
        with Server(lambda conn, *_: respond(conn, chat('{"configs":[{"a":1},', "length"))) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["truncated"], line["finish"]), ("OK", True, "length"))
        with Server(lambda conn, *_: respond(conn, chat("", "length", (5, 4096)))) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["tokens_out"]), ("E_REPLY", 4096), "tokens of a failed request count")
            t.assertIn("finish reason length", line["message"])

    def case_error_in_a_200(self, t):
        with Server(lambda conn, *_: respond(conn, {"error": {"message": "upstream died", "code": 502}})) as server:
            line = ask(server)
            t.assertEqual(line["status"], "E_PROVIDER")
            t.assertIn("upstream died", line["message"])

    def case_token_budget(self, t):
        with Server(lambda conn, *_: respond(conn, chat(tokens=(60, 41)))) as server:
            settings = {"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": server.url()}
            lines = probe(settings, "--tokens", "200", "--repeat", "3")
            t.assertEqual([line["status"] for line in lines], ["OK", "OK", "E_LIMIT"])
            t.assertEqual(len(server.requests), 2)

    def case_tokens_that_no_server_counts(self, t):
        body = chat("x" * 400)
        del body["usage"]
        with Server(lambda conn, *_: respond(conn, body)) as server:
            settings = {"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": server.url()}
            lines = probe(settings, "--tokens", "200", "--repeat", "3")
            t.assertEqual([line["status"] for line in lines], ["OK", "OK", "E_LIMIT"])
            t.assertEqual(lines[0]["tokens_out"], 100)
            t.assertGreater(lines[0]["tokens_in"], 0)

    def case_tokens_of_refused_requests_count(self, t):
        body = {"error": {"message": "ran out"}, "usage": {"prompt_tokens": 60, "completion_tokens": 41}, "choices": []}
        with Server(lambda conn, *_: respond(conn, body, "422 Cut")) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["tokens_in"], line["tokens_out"]), ("E_PROVIDER", 60, 41), line)

    # ---- redirects

    def case_redirect_refused(self, t):
        with tls(fine) as other:
            for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
                def send_away(conn, _request, _number):
                    respond(conn, b"", status, ["Location: " + other.url("/v1/elsewhere?secret=%s" % CANARY)])

                with tls(send_away) as server:
                    line = ask(server, provider="anthropic")
                    t.assertEqual((line["status"], line["os_code"], line["tries"]), ("E_PROVIDER", int(status[:3]), 1), line)
                    t.assertIn("redirect", line["message"])
                    t.assertIn("localhost", line["message"])
                    t.assertNotIn("elsewhere", line["message"])
            t.assertEqual(other.connections, 0, "the redirect was followed")

    def case_redirect_to_other_things(self, t):
        for target in ("file:///etc/passwd", "http://169.254.169.254/latest", "", "\x01\x02", "//evil.example/x", "gopher://x/"):
            with Server(lambda conn, *_: respond(conn, b"", "302 Found", ["Location: " + target])) as server:
                line = ask(server)
                t.assertEqual((line["status"], line["os_code"]), ("E_PROVIDER", 302), line)

    # ---- retries

    def retried(self, t, first_headers, first_status="429 Too Many Requests", least=0.0):
        def handler(conn, _request, number):
            if number == 0:
                respond(conn, {"error": {"message": "slow down"}}, first_status, first_headers)
            else:
                respond(conn, chat())

        with tls(handler) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["tries"]), ("OK", 2), line)
            t.assertGreaterEqual(line["seconds"], least)
            t.assertGreater(line["polls"], least * 5, "poll blocked instead of returning after 20 ms")
            t.assertEqual(server.requests[0].raw, server.requests[1].raw)

    def case_retry_after_seconds(self, t):
        self.retried(t, ["Retry-After: 1"], least=1.0)

    def case_retry_after_milliseconds(self, t):
        self.retried(t, ["retry-after-ms: 700", "Retry-After: 50"], least=0.7)

    def case_retry_after_date(self, t):
        when = email.utils.formatdate(time.time() + 2.5, usegmt=True)
        self.retried(t, ["Retry-After: " + when], least=0.5)

    def case_retry_after_past(self, t):
        self.retried(t, ["Retry-After: Thu, 01 Jan 2015 00:00:00 GMT"])

    def case_retry_after_negative(self, t):
        self.retried(t, ["Retry-After: -100"])

    def case_retry_after_garbage(self, t):
        self.retried(t, ["Retry-After: soon(ish) \x7f"])

    def case_retry_after_huge_ends_at_once(self, t):
        for value in ("3600", "99999999999999999999999", "Fri, 31 Dec 2099 23:59:59 GMT"):
            with tls(lambda conn, *_: respond(conn, {"error": {"message": "come back later"}}, "429 Too Many", ["Retry-After: " + value])) as server:
                line = ask(server, "--timeout", "10")
                t.assertEqual((line["status"], line["os_code"], line["tries"]), ("E_PROVIDER", 429, 1), line)
                t.assertIn("come back later", line["message"])

    def case_500_then_ok(self, t):
        for status in ("500 Oops", "503 Busy", "529 Overloaded", "408 Timeout"):
            self.retried(t, [], status)

    def case_retries_of_all_requests_are_bounded(self, t):
        """A gateway in trouble is asked four times for the first answer, and soon only once for each."""
        with tls(lambda conn, *_: respond(conn, b"", "503 Busy", ["retry-after-ms: 5"])) as server:
            lines = probe({"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": server.url()}, "--repeat", "3",
                          "--retries", "4")
            t.assertEqual([line["tries"] for line in lines if "tries" in line], [4, 2, 1], lines)

    def case_four_tries_and_no_more(self, t):
        with tls(lambda conn, *_: respond(conn, b"<html>bad</html>", "502 Bad Gateway", ["retry-after-ms: 5"])) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["os_code"], line["tries"]), ("E_PROVIDER", 502, 4), line)
            t.assertEqual(len(server.requests), 4)
            t.assertNotIn("<html>", line["message"])

    def case_not_retried(self, t):
        for status in (400, 401, 403, 404, 413, 422):
            with tls(lambda conn, *_: respond(conn, {"error": {"message": "no: " + CANARY}}, "%d No" % status)) as server:
                line = ask(server)
                t.assertEqual((line["status"], line["os_code"], line["tries"]), ("E_PROVIDER", status, 1), line)
                t.assertIn("no: ***", line["message"])
                t.assertEqual(len(server.requests), 1)

    def case_connection_refused(self, t):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        line = probe({"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": "http://127.0.0.1:%d" % port})[-1]
        t.assertEqual((line["status"], line["tries"]), ("E_NETWORK", 4), line)

    def case_reset_during_handshake_then_ok(self, t):
        def accept(conn, number):
            if number == 0:
                conn.recv(10)
                reset(conn)
                return False
            return True

        with Server(fine, CERTS.context(), accept=accept) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["tries"]), ("OK", 2), line)

    def case_closed_before_headers_then_ok(self, t):
        def handler(conn, _request, number):
            if number == 0:
                return False
            respond(conn, chat())

        with tls(handler) as server:
            t.assertEqual(ask(server)["status"], "OK")

    def case_reset_in_the_body_is_repeated_once(self, t):
        def handler(conn, _request, _number):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"choices\":")
            time.sleep(0.3)
            reset(conn)
            return False

        with Server(handler) as server:
            line = ask(server)
            t.assertEqual((line["status"], line["tries"]), ("E_NETWORK", 2), line)
            t.assertEqual(len(server.requests), 2, "a repeated request costs twice")

    # ---- what is sent

    def two_rounds(self, server, provider, path=""):
        settings = {"HONE_LLM_PROVIDER": provider, "HONE_LLM_MODEL": "test-model", "HONE_LLM_API_BASE": server.url(path)}
        return probe(settings, "--repeat", "2", "--schema")

    def case_chat_body(self, t):
        with tls(fine) as server:
            t.assertEqual([line["status"] for line in self.two_rounds(server, "chat", "/v1")], ["OK", "OK"])
            t.assertEqual(server.connections, 1, "the connection is kept")
            first, second = server.requests[0].json, server.requests[1].json
            t.assertEqual([m["role"] for m in first["messages"]], ["system", "user"])
            t.assertEqual(first["messages"][1]["content"], "the question")
            t.assertEqual([m["role"] for m in second["messages"]], ["system", "user", "assistant", "user"])
            t.assertEqual((first["model"], first["stream"]), ("test-model", False))
            t.assertGreaterEqual(first["max_tokens"], 4096)
            t.assertEqual(first["response_format"]["type"], "json_schema")
            t.assertEqual(first["response_format"]["json_schema"]["schema"]["type"], "object")

    def case_responses_body(self, t):
        with tls(lambda conn, *_: respond(conn, responses())) as server:
            lines = self.two_rounds(server, "openai")
            t.assertEqual([line["text"] for line in lines], ["fine", "fine"])
            t.assertEqual(server.requests[0].path, "/v1/responses")
            body = server.requests[1].json
            t.assertEqual(body["instructions"], "You are a probe.")
            t.assertEqual([item["content"][0]["type"] for item in body["input"]], ["input_text", "output_text", "input_text"])
            t.assertGreater(body["max_output_tokens"], 4096, "reasoning needs room of its own")
            t.assertEqual(body["text"]["format"]["type"], "json_schema")

    def case_responses_endings(self, t):
        cut = responses("part", "incomplete", incomplete_details={"reason": "max_output_tokens"})
        none = responses("x", "incomplete", incomplete_details={"reason": "max_output_tokens"})
        none["output"] = none["output"][:1]
        refusal = responses()
        refusal["output"][1]["content"] = [{"type": "refusal", "refusal": "I cannot"}]
        failed = {"status": "failed", "output": [], "error": {"message": "model fell over"}}
        answers = [cut, none, refusal, failed, {"choices": []}]
        with tls(lambda conn, _request, number: respond(conn, answers[number])) as server:
            lines = [ask(server, provider="openai") for _ in answers]
            t.assertEqual([line["status"] for line in lines], ["OK", "E_REPLY", "E_REPLY", "E_PROVIDER", "E_REPLY"], lines)
            t.assertTrue(lines[0]["truncated"])

    def case_messages_body(self, t):
        with tls(lambda conn, *_: respond(conn, messages())) as server:
            lines = self.two_rounds(server, "anthropic")
            t.assertEqual([line["text"] for line in lines], ["fine", "fine"])
            request = server.requests[1]
            t.assertEqual(request.path, "/v1/messages")
            t.assertEqual(request.headers["x-api-key"], CANARY)
            t.assertEqual(request.headers["anthropic-version"], "2023-06-01")
            t.assertNotIn("authorization", request.headers)
            body = request.json
            t.assertEqual(body["system"][0]["cache_control"], {"type": "ephemeral"})
            t.assertEqual(body["messages"][0]["content"][0]["cache_control"], {"type": "ephemeral"})
            t.assertEqual([m["role"] for m in body["messages"]], ["user", "assistant", "user"])
            t.assertGreaterEqual(body["max_tokens"], 4096)

    def case_messages_endings(self, t):
        cached = messages("ok")
        cached["usage"].update(cache_creation_input_tokens=100, cache_read_input_tokens=1000)
        answers = [messages("part", "max_tokens"), messages("x", "refusal"), messages("", "max_tokens"), cached]
        with tls(lambda conn, _request, number: respond(conn, answers[number])) as server:
            lines = [ask(server, provider="anthropic") for _ in answers]
            t.assertEqual([line["status"] for line in lines], ["OK", "E_REPLY", "E_REPLY", "OK"], lines)
            t.assertEqual(lines[3]["tokens_in"], 1111)

    def case_parameters_renamed_and_dropped(self, t):
        def picky(conn, request, _number):
            body = request.json
            if "max_tokens" in body:
                respond(conn, {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}, "400 Bad")
            elif "response_format" in body:
                respond(conn, {"error": {"message": "response_format of type json_schema is not supported"}}, "400 Bad")
            else:
                respond(conn, chat())

        with tls(picky) as server:
            lines = self.two_rounds(server, "chat")
            t.assertEqual([line["status"] for line in lines], ["OK", "OK"], lines)
            t.assertEqual(len(server.requests), 4, "what was learnt is kept")

    def case_context_too_small_for_reasoning_room(self, t):
        def small(conn, request, _number):
            if request.json["max_tokens"] > 8192:
                respond(conn, {"object": "error", "message": "This model's maximum context length is 8192 tokens. However, you requested more"},
                        "400 Bad Request")
            else:
                respond(conn, chat())

        with tls(small) as server:
            t.assertEqual(ask(server)["status"], "OK")

    def case_400_for_ever_ends(self, t):
        text = "max_tokens max_completion_tokens response_format json_schema context too large"
        with tls(lambda conn, *_: respond(conn, {"error": {"message": text}}, "400 Bad")) as server:
            line = ask(server, "--schema")
            t.assertEqual((line["status"], line["os_code"]), ("E_PROVIDER", 400))
            t.assertLessEqual(len(server.requests), 4)

    # ---- keys

    def case_key_sources(self, t):
        path = os.path.join(FOLDER, "key.txt")
        with open(path, "w") as file:
            file.write(CANARY + "\n")
        os.chmod(path, 0o600)
        with tls(fine) as server:
            none = {"HONE_LLM_API_KEY": None}
            t.assertEqual(ask(server, HONE_LLM_API_KEY_FILE=path, **none)["status"], "OK")
            t.assertEqual(server.requests[-1].headers["authorization"], "Bearer " + CANARY)
            os.chmod(path, 0o640)
            line = ask(server, HONE_LLM_API_KEY_FILE=path, **none)
            t.assertEqual(line["status"], "E_ARG", line)
            t.assertEqual(ask(server, OPENAI_API_KEY=CANARY, **none)["status"], "OK")
            t.assertEqual(server.requests[-1].headers["authorization"], "Bearer " + CANARY)
            t.assertEqual(ask(server, **none)["status"], "OK", "local servers need no key")
            t.assertNotIn("authorization", server.requests[-1].headers)

    def case_key_with_line_break_refused(self, t):
        with tls(fine) as server:
            for bad in ("abc\r\nX-Evil: yes", "abc def", "k\u00e9y", "x" * 5000):
                line = probe({"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": server.url(),
                              "HONE_LLM_API_KEY": bad})[-1]
                t.assertEqual(line["status"], "E_ARG", line)
            t.assertEqual(server.connections, 0)

    def case_key_echoed_everywhere(self, t):
        def echo(conn, request, number):
            key = request.headers["authorization"]
            if number == 0:
                respond(conn, {"error": {"message": key}}, "500 " + key, ["X-Echo: " + key, "Retry-After: " + key])
            elif number == 1:
                respond(conn, key.encode(), "503 x")
            elif number == 2:
                respond(conn, chat("I saw " + key, key))
            elif number == 3:
                respond(conn, chat("x"), headers=["Content-Encoding: " + key])
            else:
                respond(conn, b"", "302 Found", ["Location: https://" + key.split()[1] + ".example/"])

        with tls(echo) as server:
            lines = [ask(server), ask(server), ask(server)]  # probe() looks for the key
            t.assertEqual([line["status"] for line in lines], ["OK", "E_REPLY", "E_PROVIDER"], lines)

    def case_long_key_echoed(self, t):
        key = "tok." + "Ab9" * 500
        with tls(lambda conn, request, _number: respond(conn, {"error": {"message": request.headers["authorization"]}}, "401 No")) as server:
            settings = {"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": server.url(), "HONE_LLM_API_KEY": key}
            line = probe(settings)[-1]
            t.assertEqual(line["os_code"], 401)
            t.assertNotIn("Ab9Ab9", json.dumps(line))

    def case_terminal_escapes_are_not_passed_on(self, t):
        with tls(lambda conn, *_: respond(conn, {"error": {"message": "\x1b]0;owned\x07\x1b[2J\nsecond \u009b31m line"}}, "400 Bad")) as server:
            message = ask(server)["message"]
            t.assertFalse(any(ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0 for c in message), message)

    # ---- addresses and proxies

    def case_addresses(self, t):
        for base in ("http://example.com/v1", "ftp://localhost/", "https://user:%s@localhost/v1" % CANARY, "https://169.254.169.254/",
                     "localhost:8000", "https://", "https://local host/", "https://localhost/\r\nX: y", "file:///etc/passwd",
                     "https://[fe80::1]/", "https://localhost/#x", "http://127.0.0.1.evil.example/", "http://localhost.evil.example/"):
            line = probe({"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": base})[-1]
            t.assertEqual(line["status"], "E_ARG", (base, line))

    def connect_proxy(self, target_port, seen):
        """A CONNECT proxy that leads every name to target_port."""
        def handler(conn, request, _number):
            seen.append(request)
            conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            upstream = socket.create_connection(("127.0.0.1", target_port))

            def copy(source, sink):
                try:
                    while True:
                        data = source.recv(65536)
                        if not data:
                            break
                        sink.sendall(data)
                except OSError:
                    pass
                for end in (source, sink):
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

            back = threading.Thread(target=copy, args=(upstream, conn), daemon=True)
            back.start()
            copy(conn, upstream)
            back.join(5)
            return False

        return Server(handler)

    def case_proxy_from_environment(self, t):
        seen = []
        with tls(fine, "gateway") as server, self.connect_proxy(server.port, seen) as proxy:
            settings = {"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": "https://gateway.example/v1",
                        "https_proxy": "http://proxyuser:proxypass@127.0.0.1:%d" % proxy.port}
            line = probe(settings)[-1]
            t.assertEqual(line["status"], "OK", line)
            t.assertTrue(seen[0].line.startswith("CONNECT gateway.example:443"))
            t.assertNotIn("authorization", seen[0].headers, "the key is for the origin")
            t.assertNotIn(CANARY, str(seen[0].headers))
            t.assertIn("authorization", server.requests[0].headers)

    def case_proxy_not_used_for_loopback(self, t):
        seen = []
        with tls(fine) as server, self.connect_proxy(server.port, seen) as proxy:
            address = "http://127.0.0.1:%d" % proxy.port
            t.assertEqual(ask(server, https_proxy=address, http_proxy=address, all_proxy=address)["status"], "OK")
            t.assertEqual(seen, [])

    def case_bad_proxy_does_not_leak_its_password(self, t):
        settings = {"HONE_LLM_PROVIDER": "chat", "HONE_LLM_MODEL": "m", "HONE_LLM_API_BASE": "https://gateway.example/v1"}
        for value in ("weird://proxyuser:proxypass@127.0.0.1:1", "http://proxyuser:proxypass@127.0.0.1:1"):
            line = probe(dict(settings, https_proxy=value))[-1]
            t.assertEqual(line["status"], "E_NETWORK")
            t.assertNotIn("proxypass", json.dumps(line))


def make_test(name):
    def test(self):
        error = FUTURES[name].result()
        if isinstance(error, unittest.SkipTest):
            self.skipTest(str(error))
        if error is not None:
            raise error
    return test


def run_case(name):
    try:
        getattr(Cases(), name)(unittest.TestCase())
    except BaseException as error:  # handed over to the test's own thread
        return error
    return None


class TestLlmHttp(unittest.TestCase):
    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(FOLDER, ignore_errors=True)


CASE_NAMES = sorted(name for name in dir(Cases) if name.startswith("case_"))
for case_name in CASE_NAMES:
    setattr(TestLlmHttp, "test_" + case_name[5:], make_test(case_name))

if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        FUTURES = {name: pool.submit(run_case, name) for name in CASE_NAMES}
        unittest.main(warnings="ignore")  # TLS 1.1 is deprecated, and that is the point
