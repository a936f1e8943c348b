"""The bound on heavy computing: a piece, or a part of the time, in a turn of the hub, whose rest is the others'.

A TLS handshake takes a millisecond of CPU: five hundred that are due at one moment would hold up every other check for
half a second. Who waits here waits in no phase of a check: it is lag or, before the check begins, lateness.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from time import monotonic_ns
from typing import Any

import gevent
from gevent.hub import Hub
from greenlet import getcurrent, greenlet

GO_ON_MOST = 8  # in a row, while others wait to begin
HEAVY_NS = 300_000  # of computing; what takes less needs no turn of its own
SHARE = 3  # in a long turn, as a busy worker has them, as many may pass as a part of its time is enough for,
MOST_NS = 20_000_000  # which is this at most: one alone would starve them

Line = deque[greenlet]


class Turnstile:
    """Lets greenlets of a hub pass in turn, oldest first, one or as many as a part of the time is enough for.

    Those who are amid a check go before those who have not begun one: what is begun late is late, what is left amid a
    check waits where it should be measured.
    """

    __slots__ = ("_beginning", "_going_on", "_in_a_row", "_loop", "_park", "_since_ns", "_timer", "_turn")

    def __init__(self, hub: Hub) -> None:
        self._loop = hub.loop
        self._park: Callable[[], Any] = hub.switch
        self._timer = hub.loop.timer(0.0)  # fires when the loop has looked once more for what arrived
        self._turn = -1
        self._going_on: Line = deque()
        self._beginning: Line = deque()
        self._in_a_row = 0
        self._since_ns = 0  # when the last who waited had passed

    def begin(self) -> None:
        """Wait for a turn to begin a check that is heavy."""
        self._pass(self._beginning)

    def go_on(self) -> None:
        """Wait for a turn to compute something heavy amid a check."""
        self._pass(self._going_on)

    def _pass(self, line: Line) -> None:
        turn = self._loop.iteration
        if turn != self._turn and not self._timer.active:
            self._turn = turn
            return
        me = getcurrent()
        line.append(me)
        if not self._timer.active:
            self._since_ns = monotonic_ns()
            self._timer.start(self._admit, update=False)
        try:
            self._park()
        except BaseException:
            if me in line:
                line.remove(me)
            raise

    def _admit(self) -> None:
        began_ns = monotonic_ns()
        until_ns = began_ns + min(MOST_NS, (began_ns - self._since_ns) // SHARE)
        self._turn = self._loop.iteration
        while line := self._line():  # empty where who waited was ended meanwhile
            self._in_a_row = self._in_a_row + 1 if line is self._going_on else 0
            line.popleft().switch()
            if monotonic_ns() >= until_ns:
                break
        self._since_ns = monotonic_ns()
        if self._going_on or self._beginning:
            self._timer.start(self._admit, update=False)

    def _line(self) -> Line:
        if self._beginning and (not self._going_on or self._in_a_row >= GO_ON_MOST):
            return self._beginning
        return self._going_on


def turnstile() -> Turnstile:
    """Give the one of this thread's hub."""
    return _of(gevent.get_hub())


@lru_cache(maxsize=8)
def _of(hub: Hub) -> Turnstile:
    return Turnstile(hub)
