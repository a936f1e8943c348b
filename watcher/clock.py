"""The time the schedule runs on: it never steps, and does not stop while the machine sleeps."""

from __future__ import annotations

import time
from typing import Protocol

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What tells the time to a schedule."""

    def now_us(self) -> int:
        """Give the time in µs since the epoch; never less than before."""


class SteadyClock:
    """Wall time as it was at the start, carried on by a clock that nobody sets."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.clock_gettime_ns(_CLOCK)

    def now_us(self) -> int:
        """Give the time in µs since the epoch."""
        return (time.clock_gettime_ns(_CLOCK) + self._offset_ns) // 1000
