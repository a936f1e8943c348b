"""The command line as a user types it, and a site to watch."""

from __future__ import annotations

import http.server
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from agent_process import PATIENCE_S, WATCHER, own_data_dir
from environments import built


class Page(http.server.BaseHTTPRequestHandler):
    """Answers 200, or as the path says: /status/503, /redirect, /headers (gives them back), /never."""

    never = threading.Event()

    def do_GET(self) -> None:  # pylint: disable=invalid-name  # the name is http.server's
        """Answer."""
        parts = self.path.strip("/").split("/")
        if parts[0] == "never":
            self.never.wait(PATIENCE_S)
            return
        status = {"status": int(parts[1]) if len(parts) > 1 else 200, "redirect": 302}.get(parts[0], 200)
        body = str(self.headers).encode() if parts[0] == "headers" else b"welcome\n"
        self.send_response(status)
        if parts[0] == "redirect":
            self.send_header("Location", "/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:  # pylint: disable=arguments-differ
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server that does not complain of clients that go away."""

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


def serve(context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve pages until the test ends, and give the URL."""
    with Server(("127.0.0.1", 0), Page) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"{'https' if context else 'http'}://localhost:{server.server_address[1]}"
        Page.never.set()
        server.shutdown()
        thread.join()
    Page.never.clear()


@pytest.fixture
def site() -> Iterator[str]:
    """Give the URL of a site."""
    yield from serve()


@pytest.fixture(scope="session", name="authority")
def _authority() -> trustme.CA:
    """Give an authority that nobody trusts by default."""
    return trustme.CA(organization_name="Test Authority")


@pytest.fixture
def secure_site(authority: trustme.CA) -> Iterator[Callable[..., str]]:
    """Give a function that starts an https site with a certificate as `trustme` issues it, and gives its URL."""
    running = []

    def start(**options: Any) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", **options).configure_cert(context)
        running.append(serve(context))
        return next(running[-1])

    yield start
    for one in running:
        next(one, None)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give watcher as a wheel, one for all processes that test."""
    base = tmp_path_factory.getbasetemp()
    return built((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheel")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs watcher to its end and gives what it said."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*WATCHER, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            cwd=tmp_path,
            env={**os.environ, **own_data_dir(tmp_path), "COLUMNS": "120", **environment},
        )

    return call


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Give a function that writes the configuration file."""

    def call(text: str) -> Path:
        path = tmp_path / "endpoints.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return call
