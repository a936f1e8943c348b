"""Datagrams to one receiver, by UDP or a Unix socket, and lines packed into them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator

SEND_S = 1.0  # the longest wait for a receiver that does not read its Unix socket
RENEW_S = 60.0  # after which the host is looked up again


class Datagrams:
    """Sends from a socket that is made when needed.

    Args:
        place: the path of a Unix socket, or host and port.
    """

    def __init__(self, place: str | tuple[str | None, int | None]) -> None:
        self._place = place
        self._socket: socket.socket | None = None
        self._renew_at_s = 0.0

    def send(self, datagram: bytes) -> None:
        """Send one; after a failure the next one gets a new socket.

        Raises:
            OSError: it, or one before it, was not sent.
        """
        try:
            self._connected().send(datagram)
        except OSError:
            self.close()
            raise

    def _connected(self) -> socket.socket:
        if self._socket is None or time.monotonic() >= self._renew_at_s:
            self.close()
            self._socket = self._connect()
            self._renew_at_s = time.monotonic() + RENEW_S
        return self._socket

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        if isinstance(self._place, str):
            family, address = socket.AF_UNIX, self._place
        else:
            family, _, _, _, address = socket.getaddrinfo(*self._place, type=socket.SOCK_DGRAM)[0]
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.settimeout(SEND_S)
        try:
            made.connect(address)
        except OSError:
            made.close()
            raise
        return made


def packed(lines: Iterable[str], limit: int) -> Iterator[bytes]:
    """Join lines into datagrams of at most `limit` bytes; a line that is longer by itself is one alone."""
    waiting, size = [], 0
    for line in map(str.encode, lines):
        if waiting and size + len(line) > limit:
            yield b"\n".join(waiting)
            waiting, size = [], 0
        waiting.append(line)
        size += len(line) + 1
    if waiting:
        yield b"\n".join(waiting)
