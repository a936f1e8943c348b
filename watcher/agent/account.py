"""What plugins did in a running agent, left in its data directory every ten seconds for `watcher plugins`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from watcher import jsonfile
from watcher.screen.fleet import Fleet

FILE = "plugins.json"
EVERY_S = 10.0
AGAIN_S = 300.0  # after the disk refused it


class PluginFigures(msgspec.Struct, frozen=True):
    """What the file holds: the sums over all workers since the agent's start, by plugin and figure."""

    at: float
    """Seconds since the Unix epoch."""
    ended: bool
    """The agent was ended in order; these are its last figures."""
    plugins: dict[str, dict[str, int]]


class PluginAccount:
    """Writes the file of one agent.

    Args:
        data_dir: which the agent holds.
        fleet: knows the figures.
        say: told when they cannot be written.
    """

    def __init__(self, data_dir: Path, fleet: Fleet, say: Callable[[str], None]) -> None:
        self._path = data_dir / FILE
        self._fleet = fleet
        self._say = say
        self._due_at = 0.0

    def tick(self, now: float) -> None:
        """Write it when it is due; `now` is monotonic."""
        if now >= self._due_at:
            self._due_at = now + (EVERY_S if self._write(ended=False) else AGAIN_S)

    def close(self) -> None:
        """Write the last figures."""
        self._write(ended=True)

    def _write(self, ended: bool) -> bool:
        try:
            jsonfile.write(self._path, PluginFigures(time.time(), ended, self._fleet.plugins()))
        except OSError as error:
            self._say(f"{self._path}: {error.strerror or error}; watcher plugins shows no figures of this agent")
            return False
        return True


def read(data_dir: Path) -> PluginFigures | None:
    """Give what the last agent of a data directory left; None when there is nothing.

    Raises:
        OSError: what the system says of a file that is there.
    """
    return jsonfile.read(data_dir / FILE, PluginFigures)
