"""How well a worker measured in a minute: gathered from its lines of state, for a row of the table `agent_health`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTS = ("checks", "missed", "shed", "canary_checks", "produced", "stored", "damaged", "dropped")  # since its start
WORST = ("lag_p99_us", "late_p99_us")  # of a second
LAST = ("error_p50_us", "error_max_us", "suspect", "spooled")  # which are of now, or of the last minute by themselves


class Health:
    """The figures since they were last taken."""

    def __init__(self) -> None:
        self._line: Mapping[str, Any] = {}
        self._before: dict[str, int] = {}
        self._worst = dict.fromkeys(WORST, 0)

    def note(self, line: Mapping[str, Any]) -> None:
        """Take the state of a second."""
        self._line = line
        for name in WORST:
            self._worst[name] = max(self._worst[name], line[name])

    def take(self) -> dict[str, Any]:
        """Give the row, but for who measured, and begin anew; empty when nothing was noted yet."""
        if not self._line:
            return {}
        sums = {name: self._line[name] for name in COUNTS}
        row = {name: count - self._before.get(name, 0) for name, count in sums.items()}
        row |= self._worst | {name: self._line[name] for name in LAST}
        self._before, self._worst = sums, dict.fromkeys(WORST, 0)
        return row
