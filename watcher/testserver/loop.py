"""The epoll loop: timers, and who is woken by which descriptor; knows nothing of HTTP."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Protocol

from watcher.testserver.alarm import Alarm

_EVENTS = 64


class Source(Protocol):
    """Whoever is woken when something happens on its descriptor."""

    def ready(self, events: int) -> None:
        """Go on; `events` are those of epoll."""


class Loop:
    """One thread's loop; it ends by an exception or by `stop`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sources: dict[int, Source] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._alarm = Alarm()
        self._rings_at = 0.0
        self._running = True
        self._epoll.register(self._alarm.fd, select.EPOLLIN | select.EPOLLET)
        self.change = self._epoll.modify

    def watch(self, fd: int, source: Source, events: int = select.EPOLLIN) -> None:
        """Wake `source` when one of `events` happens on `fd`."""
        self._sources[fd] = source
        self._epoll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Wake nobody for `fd` any more; closing the descriptor takes it out of the epoll set."""
        self._sources.pop(fd, None)

    def call_at(self, due_s: float, call: Callable[[], None]) -> None:
        """Call at a moment of `time.monotonic`; whoever no longer wants it ignores the call."""
        heapq.heappush(self._timers, (due_s, next(self._order), call))
        if not self._rings_at or due_s < self._rings_at:
            self._rings_at = due_s
            self._alarm.ring_at(due_s)

    def stop(self) -> None:
        """End `run` after the event under way."""
        self._running = False

    def run(self) -> None:
        """Serve until stopped."""
        poll, sources, timers, now = self._epoll.poll, self._sources, self._timers, time.monotonic
        while self._running:
            for fd, events in poll(-1, _EVENTS):
                source = sources.get(fd)  # None: the alarm, or closed by an earlier event of this round
                if source is not None:
                    source.ready(events)
                if timers and timers[0][0] <= now():  # between any two events, so that a full round delays no timer
                    self._fire()

    def _fire(self) -> None:
        """Call what is due, and set the alarm for what is not."""
        timers, now = self._timers, time.monotonic()
        while timers and timers[0][0] <= now:
            heapq.heappop(timers)[2]()
        self._rings_at = timers[0][0] if timers else 0.0
        if timers:
            self._alarm.ring_at(self._rings_at)

    def close(self) -> None:
        """Give the loop's own descriptors back."""
        self._alarm.close()
        self._epoll.close()
