"""When each endpoint is due: fixed rate, at a phase that its id and the location fix for ever.

Pure: time comes as an argument. Times are integers in microseconds since the Unix epoch.
"""

from __future__ import annotations

import hashlib
import heapq
from typing import NamedTuple

SHARDS = 4096
TICK_US = 5_000
NONE_MISSED = range(0)


def shard(endpoint_id: int) -> int:
    """Give the shard of an endpoint, 0 to SHARDS - 1: the unit in which endpoints are divided among workers."""
    return _hash(b"shard", str(endpoint_id)) % SHARDS


def phase_us(endpoint_id: int, location: str, interval_us: int) -> int:
    """Give where in its interval an endpoint is due: spread evenly, for ever the same, apart between locations."""
    return _hash(b"phase", f"{endpoint_id} {location}") % interval_us


def _hash(purpose: bytes, text: str) -> int:
    # not the shard's hash for the phase: the endpoints of one shard would crowd into a few phases
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=purpose).digest(), "big")


class Due(NamedTuple):
    """An endpoint whose time has come; `missed` are the due times of its slots that went by before this one."""

    endpoint_id: int
    at_us: int
    missed: range


class Schedule:
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
        self._due: dict[int, list[_Slot]] = {}  # tick: what is due in it
        self._slots: dict[int, _Slot] = {}  # endpoint id: its next slot

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, endpoint_id: int, interval_us: int, now_us: int, first_us: int | None = None) -> None:
        """Put an endpoint on its fixed grid; one that keeps its interval keeps its next due time.

        Args:
            first_us: do its first check then, before its first slot on the grid.
        """
        known = self._slots.get(endpoint_id)
        if known is not None and known.interval_us == interval_us:
            return
        self.remove(endpoint_id)
        slot = self._slots[endpoint_id] = _Slot(endpoint_id, interval_us)
        due_us = self._after(slot, now_us)
        slot.off_grid = first_us is not None and first_us < due_us
        self._put(slot, first_us if first_us is not None and slot.off_grid else due_us)

    def remove(self, endpoint_id: int) -> None:
        """Forget an endpoint."""
        slot = self._slots.pop(endpoint_id, None)
        if slot is not None:
            slot.interval_us = 0  # where it is listed it is passed over

    def next_us(self) -> int | None:
        """Give when there is something to take next, at the earliest; None when there never is."""
        return (self._ticks[0] + 1) * self._tick_us if self._ticks else None

    def take(self, now_us: int) -> list[Due]:
        """Give all that were due in the ticks that are over, each once, and set their next due times after now.

        Of several slots of an endpoint that have gone by the last one is due, the others are missed.
        """
        taken: list[Due] = []
        while self._ticks and (self._ticks[0] + 1) * self._tick_us <= now_us:
            for slot in self._due.pop(heapq.heappop(self._ticks)):
                if slot.interval_us:
                    taken.append(self._serve(slot, now_us))
        return taken

    def _serve(self, slot: _Slot, now_us: int) -> Due:
        at_us = slot.due_us
        next_us = at_us + slot.interval_us
        if next_us > now_us and not slot.off_grid:
            self._put(slot, next_us)
            return Due(slot.endpoint_id, at_us, NONE_MISSED)
        first_us = self._after(slot, at_us) if slot.off_grid else at_us  # the first on the grid that may be missed
        next_us = self._after(slot, now_us)
        last_us = next_us - slot.interval_us
        slot.off_grid = False
        self._put(slot, next_us)
        return Due(slot.endpoint_id, max(at_us, last_us), range(first_us, last_us, slot.interval_us))

    def _put(self, slot: _Slot, due_us: int) -> None:
        slot.due_us = due_us
        tick = due_us // self._tick_us
        listed = self._due.get(tick)
        if listed is None:
            self._due[tick] = [slot]
            heapq.heappush(self._ticks, tick)
        else:
            listed.append(slot)

    def _after(self, slot: _Slot, time_us: int) -> int:
        phase = phase_us(slot.endpoint_id, self._location, slot.interval_us)
        return time_us - (time_us - phase) % slot.interval_us + slot.interval_us


class _Slot:
    """The next due time of an endpoint; `off_grid` for a first check."""

    __slots__ = ("due_us", "endpoint_id", "interval_us", "off_grid")

    def __init__(self, endpoint_id: int, interval_us: int) -> None:
        self.endpoint_id = endpoint_id
        self.interval_us = interval_us
        self.due_us = 0
        self.off_grid = False
