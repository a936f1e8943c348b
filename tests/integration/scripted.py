"""A TCP server in a thread whose every connection runs a function: for what no real server would do."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

import trustme

from watcher.config import endpoint
from watcher.models import Reason, Result, Status
from watcher.registry import option_types, plugin_manager

Script = Callable[[socket.socket], None]


@contextlib.contextmanager
def scripted(
    script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[int]:
    """Serve on a port, else a free one, which is given; the script gets each connection, after any TLS handshake."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    thread = threading.Thread(target=_serve, args=(listener, script, tls), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _serve(listener: socket.socket, script: Script, tls: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError):  # of accept, when the listener is shut
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_run, args=(connection, script, tls), daemon=True).start()


def _run(connection: socket.socket, script: Script, tls: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError), connection:
        if tls is not None:
            connection = tls.wrap_socket(connection, server_side=True)
        with connection:
            script(connection)


def request(connection: socket.socket) -> bytes:
    """Read a request's headers."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data


def answers(*responses: bytes) -> Script:
    """Make a script that answers one request after the other, then closes."""

    def script(connection: socket.socket) -> None:
        for response in responses:
            request(connection)
            connection.sendall(response)

    return script


def page(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """Write a response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def reset(connection: socket.socket) -> None:
    """Close so that the peer gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silent(connection: socket.socket) -> None:
    """Answer nothing until the peer goes."""
    while connection.recv(65536):
        pass


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Make a server's context."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    return made


def verdict(result: Result) -> tuple[Status, Reason | None, int | None]:
    """Give what a user looks at first."""
    return result.status, result.reason, result.http_status


def regex_option(pattern: str) -> object:
    """Give a regex option as the configuration would."""
    row = {"name": "x", "url": "http://x/", "interval_s": 60.0, "timeout_s": 5.0, "options": {"regex": pattern}}
    return endpoint(row, option_types(plugin_manager())).options["regex"]
