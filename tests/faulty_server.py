"""A server that fails in every way in which a real one does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = int | str  # an HTTP status, or one of those that Handler knows


class Server(ThreadingHTTPServer):
    """Serves `content` at `url`; `faults` says what goes wrong with each request in turn.

    A number: that status. "hang up": no answer. "cut": half of what is left, then the end. "silent": the same, then
    nothing. "trickle": a byte now and then. "no length": half of it, as if that were all.
    """

    daemon_threads = True

    def __init__(self, content: bytes, faults: list[Fault] = (), name: str = "archive.tar.gz") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.faults, self.ranges, self.knows_ranges = content, list(faults), [], True
        self.url = f"http://127.0.0.1:{self.server_port}/files/{name}"
        self.is_closing = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Answers a request with the next fault, or as it should."""

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
        elif fault == "hang up":
            self.close_connection = True
        else:
            self.send_content(fault)

    def send_content(self, fault: str | None) -> None:
        total, start = len(self.server.content), 0
        wanted = self.headers.get("Range")
        if wanted and self.server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= total:
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if fault != "no length":
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        self.send_body(self.server.content[start:], fault)

    def send_body(self, body: bytes, fault: str | None) -> None:
        if fault == "trickle":
            while body and not self.server.is_closing.wait(0.02):
                self.wfile.write(body[:1])
                body = body[1:]
            return
        self.wfile.write(body[: len(body) // 2] if fault else body)
        if fault == "silent":
            self.server.is_closing.wait()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty_server(content: bytes, faults: list[Fault] = (), name: str = "archive.tar.gz") -> Iterator[Server]:
    """Such a server, answering while the block runs."""
    with Server(content, faults, name) as running:
        threading.Thread(target=running.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield running
        finally:
            running.is_closing.set()
            running.shutdown()
