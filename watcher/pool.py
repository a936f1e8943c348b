"""A bounded pool of greenlets that are used again: a spawn for every check would cost a fifth of the check."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from greenlet import getcurrent


class Pool:
    """Runs `work(*job)` in at most `size` greenlets; jobs beyond that wait in `ready`, oldest first.

    Args:
        work: must not raise: an exception ends its greenlet, and the hub prints it.
    """

    def __init__(self, size: int, work: Callable[..., None]) -> None:
        self.size = size
        self.ready: deque[tuple[Any, ...]] = deque()
        self._work = work
        self._hub = gevent.get_hub()
        self._idle: list[Callable[..., Any]] = []
        self._count = 0
        self._quiet = Event()
        self._quiet.set()

    @property
    def busy(self) -> int:
        """How many jobs are being done now."""
        return self._count - len(self._idle)

    def submit(self, job: tuple[Any, ...]) -> None:
        """Have a job done as soon as a greenlet is free."""
        self._quiet.clear()
        if self._idle:
            self._hub.loop.run_callback(self._idle.pop(), job)
        elif self._count < self.size:
            self._count += 1
            gevent.spawn(self._run, job)
        else:
            self.ready.append(job)

    def join(self, timeout_s: float) -> bool:
        """Wait until no job is left; False when the time is up before."""
        return self._quiet.wait(timeout_s)

    def _run(self, job: tuple[Any, ...]) -> None:
        work, ready, idle, park = self._work, self.ready, self._idle, self._hub.switch
        wake = getcurrent().switch
        try:
            while True:
                work(*job)
                if ready:
                    job = ready.popleft()
                    continue
                idle.append(wake)
                if len(idle) == self._count:
                    self._quiet.set()
                job = park()
        finally:
            self._count -= 1
            if wake in idle:
                idle.remove(wake)
