"""A thread for what may take its time, so that the supervisor's loop never waits."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any


class Chores:
    """Functions that run one after the other in a thread; the loop takes their outcomes.

    A daemon thread: at the end, a chore that hangs in a system call is left behind. One thread for the whole life,
    because on Linux a child may ask to die with the *thread* that started it.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: queue.SimpleQueue[tuple[str, Callable[[], Any]]] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[tuple[str, Any, Exception | None]] = queue.SimpleQueue()
        self.pending: set[str] = set()
        threading.Thread(target=self._run, name="chores", daemon=True).start()

    def add(self, name: str, function: Callable[[], Any]) -> bool:
        """Queue a chore, unless one of that name is not done yet; tell whether it was queued."""
        if name in self.pending:
            return False
        self.pending.add(name)
        self._waiting.put((name, function))
        return True

    def outcomes(self) -> list[tuple[str, Any, Exception | None]]:
        """Return what ended since the last call: name, value, error."""
        outcomes = []
        with contextlib.suppress(queue.Empty):
            while True:
                outcomes.append(self._outcomes.get_nowait())
                self.pending.discard(outcomes[-1][0])
        return outcomes

    def _run(self) -> None:
        while True:
            name, function = self._waiting.get()
            value, error = None, None
            try:
                value = function()
            except Exception as failure:  # pylint: disable=broad-exception-caught  # a thread's root is a boundary
                error = failure
            self._outcomes.put((name, value, error))
            self._wake()
