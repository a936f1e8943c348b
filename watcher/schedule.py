"""When each endpoint is due: fixed rate, at a phase that its id and the location fix for ever.

Pure: time comes as an argument. Times are integers in microseconds since the Unix epoch.
"""

from __future__ import annotations

import hashlib
import heapq
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

SHARDS = 4096
TICK_US = 5_000
NONE_MISSED = range(0)
GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio
MASK = (1 << 64) - 1


def shard(endpoint_id: int) -> int:
    """Give the shard of an endpoint, 0 to SHARDS - 1: the unit in which endpoints are divided among workers."""
    return _hash(b"shard", str(endpoint_id)) % SHARDS


def phase_us(endpoint_id: int, location: str, interval_us: int) -> int:
    """Give where in its interval an endpoint is due: spread evenly, for ever the same, apart between locations.

    Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): ids that follow each other, as those of a table
    do, lie as far apart as they can. A random hash has crowded seconds: with 10,000 endpoints every 300 s the fullest
    has 1.5 times the mean.
    """
    return ((endpoint_id * GOLDEN + _start(location)) & MASK) * interval_us >> 64


@lru_cache(maxsize=64)
def _start(location: str) -> int:
    return _hash(b"phase", location)


def _hash(purpose: bytes, text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=purpose).digest(), "big")


class Slot:
    """The next due time of an endpoint; who schedules derives from it what is to be given back at that time."""

    __slots__ = ("due_us", "endpoint_id", "interval_us", "off_grid")

    def __init__(self, endpoint_id: int, interval_us: int) -> None:
        self.endpoint_id = endpoint_id
        self.interval_us = interval_us  # 0 when it is cancelled
        self.due_us = 0
        self.off_grid = False  # it is a first check


Item = TypeVar("Item", bound=Slot)


class Due(NamedTuple, Generic[Item]):
    """A slot whose time has come; `missed` are the due times of the endpoint that went by before this one."""

    slot: Item
    at_us: int
    missed: range


class Schedule(Generic[Item]):
    """The due times of all endpoints of one worker.

    Due times within one tick are served together, at its end: waking up for each costs more than a check, and a list a
    tick is cheaper than a heap of endpoints.

    Args:
        location: fixes the phases, together with the ids.
        tick_us: how long a tick is; the most that this adds to the lateness of a check.
    """

    def __init__(self, location: str, tick_us: int = TICK_US) -> None:
        self._location = location
        self._tick_us = tick_us
        self._ticks: list[int] = []  # a heap
        self._due: dict[int, list[Item]] = {}  # tick: what is due in it

    def add(self, slot: Item, now_us: int, first_us: int | None = None) -> None:
        """Put a slot on its fixed grid, or put it anew when its interval has changed.

        Args:
            first_us: do its first check then, before its first time on the grid.
        """
        due_us = self._after(slot, now_us)
        slot.off_grid = first_us is not None and first_us < due_us
        self._put(slot, first_us if first_us is not None and slot.off_grid else due_us)

    def between(self, slot: Slot, after_us: int, until_us: int) -> range:
        """Give the times on the grid of a slot after the one, up to the other."""
        return range(self._after(slot, after_us), until_us + 1, slot.interval_us)

    @staticmethod
    def cancel(slot: Slot) -> None:
        """Forget a slot; where it is listed it is passed over."""
        slot.interval_us = 0

    def next_us(self) -> int | None:
        """Give when there is something to take next, at the earliest; None when there never is."""
        return (self._ticks[0] + 1) * self._tick_us if self._ticks else None

    def take(self, now_us: int) -> list[Due[Item]]:
        """Give all that were due in the ticks that are over, each once, and set their next due times after now.

        Of several slots of an endpoint that have gone by the last one is due, the others are missed.
        """
        taken: list[Due[Item]] = []
        while self._ticks and (self._ticks[0] + 1) * self._tick_us <= now_us:
            tick = heapq.heappop(self._ticks)
            for slot in self._due.pop(tick):
                if slot.interval_us and slot.due_us // self._tick_us == tick:  # neither cancelled nor put anew
                    taken.append(self._serve(slot, now_us))
        return taken

    def _serve(self, slot: Item, now_us: int) -> Due[Item]:
        at_us = slot.due_us
        next_us = at_us + slot.interval_us
        if next_us > now_us and not slot.off_grid:
            self._put(slot, next_us)
            return Due(slot, at_us, NONE_MISSED)
        first_us = self._after(slot, at_us) if slot.off_grid else at_us  # the first on the grid that may be missed
        next_us = self._after(slot, now_us)
        last_us = next_us - slot.interval_us
        slot.off_grid = False
        self._put(slot, next_us)
        return Due(slot, max(at_us, last_us), range(first_us, last_us, slot.interval_us))

    def _put(self, slot: Item, due_us: int) -> None:
        slot.due_us = due_us
        tick = due_us // self._tick_us
        listed = self._due.get(tick)
        if listed is None:
            self._due[tick] = [slot]
            heapq.heappush(self._ticks, tick)
        else:
            listed.append(slot)

    def _after(self, slot: Slot, time_us: int) -> int:
        phase = phase_us(slot.endpoint_id, self._location, slot.interval_us)
        return time_us - (time_us - phase) % slot.interval_us + slot.interval_us
