"""Loopback model servers for test_llm_http.py: raw sockets, so that they can misbehave in every way; certificates by openssl."""
import json
import os
import socket
import ssl
import struct
import subprocess
import threading

CANARY = "sk-canary-0123456789abcdefghij"


class Request:
    def __init__(self, line, headers, body, peer_certificate=None):
        self.line, self.headers, self.raw, self.peer_certificate = line, headers, body, peer_certificate

    @property
    def json(self):
        return json.loads(self.raw)

    @property
    def path(self):
        return self.line.split()[1]


def read_request(conn):
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            return None
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, value = line.split(":", 1)
        headers[name.strip().lower()] = value.strip()
    want = int(headers.get("content-length", "0"))
    while len(body) < want:
        more = conn.recv(65536)
        if not more:
            return None
        body += more
    return Request(lines[0], headers, body)


class Server:
    """Calls handler(conn, request, number) for each request of each connection; number counts requests from 0."""

    def __init__(self, handler, context=None, accept=None):
        self.handler, self.context, self.accept = handler, context, accept
        self.requests, self.connections, self.closing = [], 0, False
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def url(self, path="", host="localhost", scheme=None):
        return "%s://%s:%d%s" % (scheme or ("https" if self.context else "http"), host, self.port, path)

    def loop(self):
        while not self.closing:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with self.lock:
            self.connections += 1
            number = self.connections - 1
        conn.settimeout(60)
        try:
            if self.accept is not None and not self.accept(conn, number):
                return
            if self.context is not None:
                conn = self.context.wrap_socket(conn, server_side=True)
            while True:
                request = read_request(conn)
                if request is None:
                    return
                if self.context is not None and self.context.verify_mode == ssl.CERT_REQUIRED:
                    request.peer_certificate = conn.getpeercert()
                with self.lock:
                    self.requests.append(request)
                    number = len(self.requests) - 1
                if self.handler(conn, request, number) is False:
                    return
        except (OSError, ssl.SSLError):
            pass
        finally:
            try:
                conn.close()
            except OSError:
                pass

    def close(self):
        self.closing = True
        # shutdown wakes accept(); close alone does not.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def reset(conn):
    """Close with RST."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def respond(conn, body=b"", status="200 OK", headers=(), length=None):
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    lines = ["HTTP/1.1 " + status, "Content-Type: application/json",
             "Content-Length: %d" % (len(body) if length is None else length)]
    conn.sendall(("\r\n".join(lines + list(headers)) + "\r\n\r\n").encode() + body)


def chat(text="fine", finish="stop", tokens=(11, 7), **more):
    return dict({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
                 "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}, **more)


def responses(text="fine", status="completed", tokens=(11, 7), **more):
    return dict({"status": status, "output": [{"type": "reasoning", "summary": []},
                                              {"type": "message", "role": "assistant",
                                               "content": [{"type": "output_text", "text": text, "annotations": []}]}],
                 "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]}}, **more)


def messages(text="fine", stop="end_turn", tokens=(11, 7), **more):
    return dict({"type": "message", "role": "assistant", "content": [{"type": "text", "text": text}], "stop_reason": stop,
                 "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]}}, **more)


class Certificates:
    """A CA, certificates that it signed, and a stranger's."""

    def __init__(self, folder):
        self.folder = folder
        self.authority("ca")
        self.authority("stranger")
        self.issue("good", "DNS:localhost,IP:127.0.0.1")
        self.issue("other_host", "DNS:other.example")
        self.issue("gateway", "DNS:gateway.example")
        self.issue("expired", "DNS:localhost,IP:127.0.0.1", days="-1")
        self.issue("unknown", "DNS:localhost,IP:127.0.0.1", ca="stranger")
        self.issue("client", "DNS:client.example")
        for name in ("client",):
            os.chmod(self.path(name, "key"), 0o600)

    def path(self, name, ending):
        return os.path.join(self.folder, name + "." + ending)

    def openssl(self, *arguments):
        subprocess.run(["openssl"] + list(arguments), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE)

    def authority(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                     "/CN=hone test " + name, "-keyout", self.path(name, "key"), "-out", self.path(name, "pem"))

    def issue(self, name, names, ca="ca", days="2"):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout",
                     self.path(name, "key"), "-out", self.path(name, "csr"))
        extensions = self.path(name, "ext")
        with open(extensions, "w") as file:
            file.write("subjectAltName=%s\n" % names)
        self.openssl("x509", "-req", "-in", self.path(name, "csr"), "-CA", self.path(ca, "pem"), "-CAkey", self.path(ca, "key"),
                     "-set_serial", str(abs(hash(name)) % 10**9 + 1), "-days", days, "-extfile", extensions, "-out",
                     self.path(name, "pem"))

    def context(self, name="good", client_ca=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path(name, "pem"), self.path(name, "key"))
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.path(client_ca, "pem"))
        return context
