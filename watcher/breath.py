"""Long work on the hub, piece by piece: a part of each turn of the hub is its, and the rest the checks'."""

from __future__ import annotations

import time

import gevent

SHARE = 3  # where the turns of a busy hub are long, so is what is done in one; the table would never be read else,
MOST_S = 0.02  # but not after a pause in which nobody ran, such as `docker pause`


def next_turn() -> None:
    """Come back when the hub has looked once more for what arrived.

    `gevent.sleep(0)` may come back before that: the hub calls fifty in a row of those who ask it so.
    """
    hub = gevent.get_hub()
    hub.wait(hub.loop.timer(0.0))


class Breath:
    """Called between the pieces of long work, gives the hub its turn when this one's part of the work is done.

    Args:
        least_s: what may be done in a turn, however short turns are.
    """

    __slots__ = ("_least_s", "_until_s")

    def __init__(self, least_s: float = 0.0) -> None:
        self._least_s = least_s
        self._until_s = time.monotonic() + least_s

    def __call__(self) -> None:
        paused_s = time.monotonic()
        if paused_s < self._until_s:
            return
        next_turn()
        back_s = time.monotonic()
        self._until_s = back_s + max(self._least_s, min(MOST_S, (back_s - paused_s) / SHARE))
