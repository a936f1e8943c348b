"""A bound on how long a thread waits for a database that hangs; for processes that are not green.

libpq itself waits for ever for an answer, as long as the machine at the other end is alive.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

import psycopg2
from psycopg2 import extensions


CHORE_S = 600.0  # for a database that hangs in the midst of a chore; a million endpoints take less


@contextlib.contextmanager
def patience(connection: extensions.connection, within_s: float = CHORE_S) -> Iterator[Callable[[], None]]:
    """Break a connection when the block takes longer: what waits for its answer fails as if the server had gone.

    Gives a function that breaks it at once, from any thread.
    """
    over = threading.Event()

    def cut() -> None:
        if not over.is_set():
            _shut(connection)

    timer = threading.Timer(within_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield cut
    finally:
        over.set()
        timer.cancel()


def _shut(connection: extensions.connection) -> None:
    """Close both directions, which wakes up who waits; the descriptor stays libpq's."""
    with contextlib.suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)
