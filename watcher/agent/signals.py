"""A queue of signals behind one descriptor, so that handlers do nothing and a loop waits on one thing."""

from __future__ import annotations

import contextlib
import signal
import socket
from types import TracebackType
from typing import Any, Self

_WAKE = 0  # no signal has this number


class Signals:
    """A queue of signals behind one descriptor. Enter it in the main thread; inside, no signal interrupts."""

    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in self.NUMBERS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Make the descriptor readable, from any thread."""
        with contextlib.suppress(OSError):  # full: it is readable already; closed: nobody waits
            self._writer.send(bytes((_WAKE,)))

    def take(self) -> list[int]:
        """Return the signals that came, in their order."""
        with contextlib.suppress(BlockingIOError):
            return [number for number in self._reader.recv(4096) if number != _WAKE]
        return []
