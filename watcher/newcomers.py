"""Endpoints that join: when each has its first check, and how long the load that they bring is no measure."""

from __future__ import annotations

from watcher.shedding import EASES

FIRST_GAP_US = 10_000  # between first checks, which come on top of the others:
SOON_US = 10_000_000  # as long as this, so that the first results are there soon, and a large table is no load for long
CROWD = 100  # endpoints that join in one second: reading so many is no load of theirs, and nothing is judged by it,
GRACE_S = 5  # nor by so many seconds after their first checks,
DRAIN_S = 30  # nor, for so long at most, by what piled up while they were read, as long as that is worked off


class Newcomers:
    """Spreads the first checks of the endpoints of one worker."""

    def __init__(self) -> None:
        self._first_us = 0
        self._joined = 0  # in the current second
        self._grace_s = self._drain_s = 0
        self._waiting = 0

    def first_us(self, now_us: int, interval_us: int) -> int | None:
        """Give when an endpoint that joins has its first check; None: at its time, which comes soon enough."""
        self._joined += 1
        first_us = max(now_us, self._first_us + FIRST_GAP_US)
        if first_us - now_us >= min(SOON_US, interval_us // 2):
            return None  # and takes nobody's place
        self._first_us = first_us
        return first_us

    def settled(self, now_us: int, waiting: int = 0) -> bool:
        """Say, once a second, whether the second that is over tells what the load is.

        Args:
            waiting: how many checks are due and wait.
        """
        eases, self._waiting = waiting * EASES[1] < self._waiting * EASES[0], waiting
        if self._joined > CROWD:
            self._drain_s = DRAIN_S
            self._grace_s = GRACE_S + -(-max(0, self._first_us - now_us) // 1_000_000)
        self._joined = 0
        if self._grace_s:
            self._grace_s -= 1
            return False
        self._drain_s = self._drain_s - 1 if eases and self._drain_s else 0
        return not self._drain_s
