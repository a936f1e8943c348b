"""What process 1 owes: waiting for orphans that are not its own, so that no zombie stays."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


class Reaper:
    """Reaps zombies that nobody here waits for; it costs a look into /proc.

    A zombie must be seen twice before it counts as a stranger: whoever started it here (`subprocess`, in another
    thread) waits for it sooner, and would otherwise lose its exit code.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def reap(self, own: Iterable[int | None]) -> list[int]:
        """Reap the strangers among the zombies and return their ids; call it at most once a second."""
        zombies = set(_zombies()) - set(own)
        strangers = zombies & self._seen
        self._seen = zombies - strangers
        return [pid for pid in strangers if _wait(pid)]


def _zombies() -> list[int]:
    """Return the ids of our children that have ended and were not waited for."""
    parent = os.getpid()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it ended meanwhile
                continue
            state, ppid = stat.rpartition(")")[2].split()[:2]  # proc(5): the name before it may hold anything
            if state == "Z" and int(ppid) == parent:
                found.append(int(name))
    return found


def _wait(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
