"""An HTTP receiver in a thread, for what outputs export, and results to export."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from watcher import Endpoint, Reason, Result, Status

SITE = Endpoint(name="front page", url="https://shop.test/", labels={"team": "web"})
OTHER = Endpoint(name="other", url="https://other.test/")
RESULTS = [
    Result(SITE, 0, Status.UP, None, 200, 12_000, None, 2_000, None, 10_000, 0),
    Result(SITE, 1, Status.UP, None, 200, 10_000, None, 1_000, None, 9_000, 0),
    Result(SITE, 2, Status.DOWN, Reason.TIMEOUT, latency_us=10_000_001),
    Result(SITE, 3, Status.MISSED, Reason.OVERLOAD),
    Result(OTHER, 4, Status.DEGRADED, Reason.LATENCY, 200, 3_000_000),
]


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted; answers with `answer`, a status and a body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.answer = (200, b"")
        self.silent = False
        self.let_go = threading.Event()

    def url(self, path: str) -> str:
        """Give the URL of a path."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that did not wait for the answer."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # pylint: disable=invalid-name  # the name that http.server asks for
        """Take a post."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers) | {"path": self.path}, body))
        if self.server.silent:
            self.server.let_go.wait()
        status, text = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # pylint: disable=redefined-builtin  # as above
        """Log nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.let_go.set()
            receiver.shutdown()
            thread.join()
