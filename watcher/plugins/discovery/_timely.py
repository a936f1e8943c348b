"""HTTP by `requests` that ends at its time: the timeout of `requests` begins anew with each byte that comes."""

from __future__ import annotations

import socket
import threading
import weakref
from contextlib import suppress
from functools import partial
from typing import Any, Self

from requests.adapters import HTTPAdapter


class Timely(HTTPAdapter):
    """Breaks off whatever it connected to once the time is over; a context.

    Args:
        timeout_s: from now on. Connecting, the TLS handshake included, is to be bounded by the timeout of the request.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._over = False
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._timer = threading.Timer(timeout_s, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """Give the pool of a host, whose connections are known here."""
        pool = super().get_connection_with_tls_context(*arguments, **options)
        if not isinstance(pool.ConnectionCls, partial):
            pool.ConnectionCls = partial(self._connection, pool.ConnectionCls)
        return pool

    def _connection(self, kind: type, *arguments: Any, **options: Any) -> Any:
        made = kind(*arguments, **options)
        connect = made.connect

        def connect_and_tell() -> None:
            connect()
            self._sockets.add(made.sock)
            if self._over:
                _shut(made.sock)

        made.connect = connect_and_tell
        return made

    def _end(self) -> None:
        self._over = True
        for each in list(self._sockets):
            _shut(each)


def _shut(connected: socket.socket) -> None:
    """Have who reads see the end; of TLS it is the socket beneath, for its own `shutdown` is not for two threads."""
    with suppress(OSError):  # it is closed already
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
