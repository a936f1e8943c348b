"""The server of the canary: a thread of the supervisor that answers and says how long it took to.

What it takes until it is awake, or has the interpreter, is in what it says: the kernel stamps the request's arrival.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from watcher.transport.clock import ANCILLARY_BYTES, LINUX, SO_TIMESTAMPNS, arrival_ns

HOST = "127.0.0.1"
PATIENCE_S = 0.2  # with one client: they are served one after the other
BACKLOG = 64
REQUEST_BYTES = 65_536
MOST_US = 10_000_000  # more is a clock that was set meanwhile
ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n{field}: {took_us}\r\n\r\ncanary\n"


class Truth:
    """Serves from `start` until `close`.

    Args:
        field: the header field that says the time, in µs.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._listener: socket.socket | None = None

    def start(self) -> str:
        """Begin to serve, and give the URL.

        Raises:
            OSError: there is no loopback address.
        """
        listener = self._listener = socket.create_server((HOST, 0), backlog=BACKLOG)
        if LINUX:
            listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)  # the connections inherit it
        threading.Thread(target=self._serve, args=(listener,), name="truth", daemon=True).start()
        return f"http://{HOST}:{listener.getsockname()[1]}/"

    def close(self) -> None:
        """End it."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread; a close would not
            self._listener.close()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if listener.fileno() < 0 or not _listens(listener):
                    return
                time.sleep(PATIENCE_S)  # no descriptor is free
                continue
            with contextlib.suppress(OSError), connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        data, ancillary, _flags, _address = connection.recvmsg(REQUEST_BYTES, ANCILLARY_BYTES)
        arrived_ns = arrival_ns(ancillary)
        if not data:
            return
        took_us = (time.time_ns() - arrived_ns) // 1000
        took_us = took_us if 0 <= took_us <= MOST_US else 0
        connection.sendall(ANSWER.format(field=self._field, took_us=took_us).encode())


def _listens(listener: socket.socket) -> bool:
    try:
        return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
