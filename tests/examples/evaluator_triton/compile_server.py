"""compile_server.py: compiles configs ahead of the GPU, each in a process of its own.

A server is forked from the evaluator once, before CUDA is touched, and imports the compiler.  It forks a child for each config, which has the imports at
no cost; a child that crashes, hangs or is no longer wanted costs that config alone.  Nothing here knows what is compiled.
"""
import contextlib
import json
import os
import selectors
import signal
import socket
import threading
import time
import traceback


def end(pid):
    """Kills a child and what it has started (ptxas)."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            below = [int(word) for word in file.read().split()]
    except OSError:
        below = []
    for one in [pid, *below]:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Child:
    """One config that is being compiled."""

    def __init__(self, job, compile, selector, link):
        self.number, self.start = job["number"], time.monotonic()
        self.deadline, self.text, self.why = self.start + job["limit_s"], b"", None
        self.pipe, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                link.close()
                selector.close()
                with os.fdopen(write, "wb") as file:
                    file.write(json.dumps(compile(job["what"])).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(write)
        selector.register(self.pipe, selectors.EVENT_READ, self)

    def stop(self, why):
        self.why = self.why or why
        end(self.pid)

    def reply(self):
        """Called at the end of its pipe, when it has ended or is about to."""
        os.close(self.pipe)
        status = os.waitpid(self.pid, 0)[1]
        try:
            found = {"found": json.loads(self.text)}
        except ValueError:
            code = os.waitstatus_to_exitcode(status)
            found = {"why": self.why or "crash", "text": f"the compiler died of signal {-code}" if code < 0 else "the compiler ended without a word"}
        return {"number": self.number, "seconds": time.monotonic() - self.start, **found}


def serve(link, begin, compile):
    """The server's life: jobs and cancellations come in as lines, results go out as lines, until the evaluator is gone."""
    begin()
    selector = selectors.DefaultSelector()
    selector.register(link, selectors.EVENT_READ)
    children, rest = {}, b""
    while True:
        now = time.monotonic()
        for child in children.values():
            if now >= child.deadline:
                child.stop("timeout")
        wait = min((child.deadline for child in children.values() if not child.why), default=now + 3600) - now
        for key, _ in selector.select(max(0.0, wait)):
            if key.data:
                more = os.read(key.fd, 1 << 16)
                key.data.text += more
                if not more:
                    selector.unregister(key.fd)
                    del children[key.data.number]
                    link.sendall(json.dumps(key.data.reply()).encode() + b"\n")
                continue
            more = link.recv(1 << 16)
            if not more:
                for child in children.values():
                    end(child.pid)
                return
            *lines, rest = (rest + more).split(b"\n")
            for line in lines:
                job = json.loads(line)
                if "cancel" not in job:
                    children[job["number"]] = Child(job, compile, selector, link)
                elif job["cancel"] in children:
                    children[job["cancel"]].stop("cancelled")


class CompileServer:
    """The evaluator's side.  `begin` is called once in the server, `compile(what)` in each child; its result must be JSON."""

    def __init__(self, begin, compile):
        self.waiting, self.lock, self.closed = {}, threading.Lock(), False
        self.link, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.link.close()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                serve(theirs, begin, compile)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the evaluator was killed
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        theirs.close()

    def listen(self, gone):
        """Starts the thread that calls back; `gone()` when the server has died.  Call it after all forks."""
        threading.Thread(target=self.read, args=(gone,), daemon=True).start()

    def submit(self, number, what, limit_s, done):
        """done(result, seconds) or done({"why": "timeout" | "crash" | "cancelled", "text": ...}, seconds), in another thread.  Numbers are never used twice."""
        with self.lock:
            self.waiting[number] = done
            self.link.sendall(json.dumps({"number": number, "what": what, "limit_s": limit_s}).encode() + b"\n")

    def cancel(self, number):
        with self.lock:
            self.link.sendall(json.dumps({"cancel": number}).encode() + b"\n")

    def read(self, gone):
        with contextlib.suppress(OSError), self.link.makefile("r") as lines:
            for line in lines:
                reply = json.loads(line)
                with self.lock:
                    done = self.waiting.pop(reply["number"])
                done(reply.get("found", reply), reply["seconds"])
        if not self.closed:
            gone()

    def close(self):
        """Kills what is being compiled and ends the server; afterwards nobody writes any more."""
        self.closed = True
        with contextlib.suppress(OSError):  # it has died already
            self.link.shutdown(socket.SHUT_RDWR)
        os.waitpid(self.pid, 0)
