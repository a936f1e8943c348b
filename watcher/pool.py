"""A bounded pool of greenlets that are used again: a spawn for every check would cost a fifth of the check.

A turn of the hub begins jobs for a bounded time only. Else all of a pool that is busy would come to have something to
do in each turn, which then takes a fifth of a second for thousands: timers, batches for the database and the reading
of endpoints, which need several turns each, would come to a standstill, and no job would be done sooner for it. Who
waits before it begins is late; who waits amid a check makes the lag of all others longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import gevent
from gevent.event import Event
from greenlet import getcurrent


BEGIN_NS = 5_000_000  # in a turn; those that began before have the rest of it


class Pool:
    """Runs `work(*job)` in at most `size` greenlets; jobs wait in `ready` until they begin, oldest first.

    Args:
        work: must not raise: an exception ends its greenlet, and the hub prints it.
    """

    def __init__(self, size: int, work: Callable[..., None]) -> None:
        self.size = size
        self.ready: deque[tuple[Any, ...]] = deque()
        self._work = work
        self._hub = gevent.get_hub()
        self._timer = self._hub.loop.timer(0.0)  # fires when the loop has looked once more for what arrived
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
        self.ready.append(job)
        self._admit_soon()

    def _admit_soon(self) -> None:
        if not self._timer.active:
            self._timer.start(self._admit, update=False)

    def _admit(self) -> None:
        """Begin what waits; runs in the hub, to which who is begun comes back with its first wait."""
        until_ns = monotonic_ns() + BEGIN_NS
        while self.ready and (self._idle or self._count < self.size):
            if monotonic_ns() >= until_ns:
                self._timer.start(self._admit, update=False)
                return
            job = self.ready.popleft()
            if self._idle:
                self._idle.pop()(job)
            else:
                self._count += 1
                gevent.Greenlet(self._run, job).switch()

    def withdraw(self) -> list[tuple[Any, ...]]:
        """Give the jobs that have not begun, and will not."""
        jobs = [*self.ready]
        self.ready.clear()
        if not self.busy:
            self._quiet.set()
        return jobs

    def join(self, timeout_s: float) -> bool:
        """Wait until no job is left; False when the time is up before."""
        return self._quiet.wait(timeout_s)

    def _run(self, job: tuple[Any, ...]) -> None:
        work, idle, park = self._work, self._idle, self._hub.switch
        wake = getcurrent().switch
        try:
            while True:
                work(*job)
                idle.append(wake)
                self._go_on()
                job = park()
        finally:
            self._count -= 1
            if wake in idle:
                idle.remove(wake)
            self._go_on()

    def _go_on(self) -> None:
        if self.ready:
            self._admit_soon()
        elif not self.busy:
            self._quiet.set()
