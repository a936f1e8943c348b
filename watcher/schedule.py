"""When each endpoint is due: fixed rate, at a phase that its id and the location fix for ever. Pure: time comes as an argument.

Times are integers in microseconds since the Unix epoch.
"""

from __future__ import annotations

import hashlib
import heapq
from typing import NamedTuple

SHARDS = 4096


def shard(endpoint_id: int) -> int:
    """Give the shard of an endpoint, 0 to SHARDS - 1: the unit in which endpoints are divided among workers and nodes."""
    return _hash(b"shard", str(endpoint_id)) % SHARDS


def phase_us(endpoint_id: int, location: str, interval_us: int) -> int:
    """Give where in its interval an endpoint is due: spread evenly, the same after a restart, apart between locations."""
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
    """The due times of all endpoints of one worker."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._heap: list[tuple[int, int]] = []
        self._slots: dict[int, tuple[int, int]] = {}  # id: (next due time, interval)

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, endpoint_id: int, interval_us: int, now_us: int, first_us: int | None = None) -> None:
        """Put an endpoint on its fixed grid; one that keeps its interval keeps its next due time.

        Args:
            first_us: do its first check then, before its first slot on the grid.
        """
        known = self._slots.get(endpoint_id)
        if known is not None and known[1] == interval_us:
            return
        due_us = self._after(endpoint_id, interval_us, now_us)
        if first_us is not None and first_us < due_us:
            due_us = first_us
        self._slots[endpoint_id] = due_us, interval_us
        heapq.heappush(self._heap, (due_us, endpoint_id))

    def remove(self, endpoint_id: int) -> None:
        """Forget an endpoint; its entry in the heap is passed over when its time comes."""
        self._slots.pop(endpoint_id, None)

    def next_us(self) -> int | None:
        """Give when something is due next, at the earliest; None when nothing ever is."""
        return self._heap[0][0] if self._heap else None

    def take(self, now_us: int) -> list[Due]:
        """Give all that are due by now, each once, and set their next due times after now.

        Of several slots of an endpoint that have gone by the last one is due, the others are missed.
        """
        taken = []
        heap, slots = self._heap, self._slots
        while heap and heap[0][0] <= now_us:
            at_us, endpoint_id = heap[0]
            slot = slots.get(endpoint_id)
            if slot is None or slot[0] != at_us:
                heapq.heappop(heap)
                continue
            interval_us = slot[1]
            next_us = self._after(endpoint_id, interval_us, now_us)
            last_us = next_us - interval_us
            gone_by = range(at_us, last_us, interval_us) if last_us > at_us else range(0)
            taken.append(Due(endpoint_id, max(at_us, last_us), gone_by))
            slots[endpoint_id] = next_us, interval_us
            heapq.heapreplace(heap, (next_us, endpoint_id))
        return taken

    def _after(self, endpoint_id: int, interval_us: int, now_us: int) -> int:
        phase = phase_us(endpoint_id, self._location, interval_us)
        return now_us - (now_us - phase) % interval_us + interval_us
