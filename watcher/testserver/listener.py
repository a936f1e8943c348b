"""Listening sockets: for the site in plain and TLS, and for the traps that spring before a request."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable

from watcher.errors import EnvironmentProblem
from watcher.testserver.answer import Answer
from watcher.testserver.connection import SO_TIMESTAMPNS, Connection, SecureConnection
from watcher.testserver.loop import Loop
from watcher.testserver.site import Site
from watcher.testserver.trap import Moment, Trap

_BACKLOG = 4096
_ACCEPTED_A_TURN = 32
_DEFER_S = 3  # a connection is given to us with its request: a third less CPU for a fresh one


class Listener:
    """Accepts connections and gives each to whoever serves it."""

    def __init__(self, sock: socket.socket, serve: Callable[[socket.socket], object]) -> None:
        self._sock = sock
        self._serve = serve

    def ready(self, events: int) -> None:
        """Accept what waits, as much as is fair to those already connected."""
        del events
        for _ in range(_ACCEPTED_A_TURN):
            try:
                sock, _ = self._sock.accept()
            except OSError:  # none left; or the peer left already; or no descriptor is free, and the backlog keeps it
                return
            sock.setblocking(False)
            self._serve(sock)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Take a port.

    Args:
        host: an address or a name of this machine.
        port: 0 for any that is free.
        shared: other sockets of ours will share the port (SO_REUSEPORT).

    Raises:
        EnvironmentProblem: the port is taken, or may not be taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind)
    except OSError as error:
        raise EnvironmentProblem(f"{host!r} is no address of this machine: {error.strerror}") from None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        remedy = "choose another with --port, or 0 for any" if taken else "choose another with --host"
        raise EnvironmentProblem(f"cannot listen on {host} port {port}: {os.strerror(error.errno)}; {remedy}") from None
    sock.setblocking(False)
    return sock


def listen(loop: Loop, sock: socket.socket, site: Site, context: ssl.SSLContext | None = None) -> None:
    """Serve the site on a socket, over TLS when there is a context."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)  # accepted sockets inherit it
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_S)

    def serve(accepted: socket.socket) -> None:
        if context is None:
            Connection(loop, site, accepted).start()
        else:
            wrapped = context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
            SecureConnection(loop, site, wrapped).start()

    sock.listen(_BACKLOG)
    loop.watch(sock.fileno(), Listener(sock, serve))


def spring(loop: Loop, sock: socket.socket, trap: Trap) -> None:
    """Set a trap that needs no TLS of its own on a socket."""
    if trap.moment is Moment.REFUSE:
        return
    if trap.moment is Moment.IGNORE:
        _fill(loop, sock)
        return
    answer = Answer(close=True, steps=lambda: iter(trap.steps))
    site = _Trapped(answer)

    def serve(accepted: socket.socket) -> None:
        connection = Connection(loop, site, accepted)
        if trap.moment is Moment.ACCEPT:
            connection.begin(answer, [])
        connection.start()

    sock.listen(_BACKLOG)
    loop.watch(sock.fileno(), Listener(sock, serve))


class _Trapped(Site):
    """Gives the same answer to whatever comes."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    def answer(self, data: bytes) -> tuple[Answer, bytes]:
        """Answer anything."""
        del data
        return self._answer, b""


class _Waiting:
    """Keeps a connection that is never accepted open, whatever happens on it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def ready(self, events: int) -> None:
        """Leave it."""


def _fill(loop: Loop, sock: socket.socket) -> None:
    """Fill the queue of a listening socket that never accepts: Linux then drops every further SYN."""
    sock.listen(0)
    for _ in range(4):
        client = socket.socket(sock.family)
        client.setblocking(False)
        client.connect_ex(sock.getsockname())
        loop.watch(client.fileno(), _Waiting(client), select.EPOLLET)
