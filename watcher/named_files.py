"""The files that options name, such as certificates: of which endpoints, and what they were like when last noted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable

LOOK_S = 60.0

Stamp = tuple[int, int, int, int, int] | None  # None: it could not be looked at

Look = Callable[[Iterable[str]], dict[str, Stamp]]


class NamedFiles:
    """Tells which endpoints name a file that is another one than when it was read. Opens none of them."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, ...]] = {}  # by the id of the endpoint; hardly any name one
        self._stamps: dict[str, Stamp] = {}
        self._due_at = time.monotonic() + LOOK_S

    def note(self, endpoint_id: int, paths: tuple[str, ...]) -> None:
        """Take note of the files of an endpoint; to be called before they are read."""
        if not paths:
            self._of.pop(endpoint_id, None)
            return
        self._of[endpoint_id] = paths
        for path in paths:
            if path not in self._stamps:
                self._stamps[path] = stamp(path)

    def is_due(self) -> bool:
        """Tell whether the last look was a while ago."""
        return time.monotonic() >= self._due_at

    def changed(self, known: Collection[int], look: Look) -> list[int]:
        """Look at the files, and give the endpoints that name one which changed since it was noted or last found so.

        Args:
            known: the endpoints that are there still; others are forgotten.
            look: `stamps`, or what calls it where it holds up nobody.
        """
        self._due_at = time.monotonic() + LOOK_S
        now = look(self._stamps)
        others = {path for path, found in now.items() if found != self._stamps[path]}
        if not others and len(self._of) <= 2 * len(known):
            return []  # as a rule: 100,000 endpoints are not gone through for it
        self._of = {endpoint_id: paths for endpoint_id, paths in self._of.items() if endpoint_id in known}
        named = {path for paths in set(self._of.values()) for path in paths}
        self._stamps = {path: found for path, found in now.items() if path in named}
        return [endpoint_id for endpoint_id, paths in self._of.items() if others and not others.isdisjoint(paths)]


def stamps(paths: Iterable[str]) -> dict[str, Stamp]:
    """Look at files; one on a disk that is far away takes its time."""
    return {path: stamp(path) for path in paths}


def stamp(path: str) -> Stamp:
    """Give what is another for a file that was replaced, written to or made readable; links are followed."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_dev, found.st_ino, found.st_size
