"""The time the schedule runs on: it never steps, and does not stop while the machine sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

STEP_US = 10_000  # of the wall clock; what is less may be the time between two looks at two clocks
_LOOKS = 5
_SURE_NS = 100_000  # two looks that lie closer together are as good as one

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What tells the time to a schedule."""

    def now_us(self) -> int:
        """Give the schedule's time, in µs; never less than before."""

    def wall_us(self, at_us: int) -> int:
        """Give what the wall clock shows at a moment of the schedule, in µs since the epoch."""

    def step_us(self) -> int:
        """Give by how much the wall clock was set since the last call, in µs; 0 almost always."""


def _steady_ns() -> int:
    return time.clock_gettime_ns(_CLOCK)


class SteadyClock:
    """Wall time as it was at the start, carried on by a clock that nobody sets.

    Who sets the wall clock (NTP, an operator) changes no due time; rows are dated by `wall_us`, which follows.

    Args:
        steady_ns: a clock that is never set. The kernel's slewing moves it as it moves the wall clock.
        wall_ns: the wall clock.
    """

    def __init__(self, steady_ns: Callable[[], int] = _steady_ns, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._steady_ns = steady_ns
        self._wall_ns = wall_ns
        self._offset_ns = self._apart_ns = self._look()
        self._set_us = 0  # by how much in all, since the start

    def now_us(self) -> int:
        """Give the schedule's time: in µs since the epoch as the wall clock had it at the start."""
        return (self._steady_ns() + self._offset_ns) // 1000

    def wall_us(self, at_us: int) -> int:
        """Give what the wall clock shows at a moment of the schedule, in µs since the epoch."""
        return at_us + self._set_us

    def step_us(self) -> int:
        """Give by how much the wall clock was set since the last call, in µs; 0 almost always."""
        quick_ns = self._wall_ns() - self._steady_ns() - self._apart_ns
        if -STEP_US * 1000 < quick_ns < STEP_US * 1000:
            return 0
        apart_ns = self._look()
        step_us = (apart_ns - self._apart_ns) // 1000
        if -STEP_US < step_us < STEP_US:  # it was us who did not run between the two looks
            return 0
        self._apart_ns = apart_ns
        self._set_us += step_us
        return step_us

    def _look(self) -> int:
        """Give how far the two clocks are apart, by the looks of a few that lay closest together."""
        best_ns, apart_ns = 1 << 62, 0
        for _ in range(_LOOKS):
            before_ns = self._steady_ns()
            wall_ns = self._wall_ns()
            took_ns = self._steady_ns() - before_ns
            if took_ns < best_ns:
                best_ns, apart_ns = took_ns, wall_ns - before_ns - took_ns // 2
            if best_ns < _SURE_NS:
                break
        return apart_ns
