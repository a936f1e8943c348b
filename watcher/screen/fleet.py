"""What all workers together last said: totals, rates, the latest of each endpoint shown, the last failures.

Pure and bounded: it is told the time, keeps one line a worker and a few hundred rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from watcher.screen import figures

TOTALS = ("checks", "missed", "shed", "stored", "dropped")  # count since a worker's start
GAUGES = ("endpoints", "up", "degraded", "down", "unknown", "buffered", "in_flight", "spooled")
PEAKS = (  # the worst worker's
    "lag_p50_us", "lag_p99_us", "late_p99_us", "latency_p50_us", "latency_p99_us", "error_p50_us", "error_max_us",
    "shedding_permille",
)  # fmt: skip
CHANGES = 2000  # waiting to be taken; more are counted
FAILURES = 50
STALE_S = 5.0
RATE_S = 0.5


@dataclass(frozen=True)
class Totals:  # pylint: disable=too-many-instance-attributes  # one each sum
    """The sums over all workers at one moment; rates are of the last second."""

    workers: int = 0
    endpoints: int = 0
    up: int = 0
    degraded: int = 0
    down: int = 0
    unknown: int = 0
    buffered: int = 0
    in_flight: int = 0
    checks: int = 0
    missed: int = 0
    shed: int = 0
    stored: int = 0
    spooled: int = 0
    dropped: int = 0
    lag_p50_us: int = 0
    lag_p99_us: int = 0
    late_p99_us: int = 0
    latency_p50_us: int = 0
    latency_p99_us: int = 0
    error_p50_us: int = 0
    error_max_us: int = 0
    shedding_permille: int = 0
    suspect: int = 0
    """Workers whose canary is over its budget."""
    network_away: int = 0
    """Workers whose witnesses are all silent."""
    checks_per_s: float = 0.0
    cpu: float = 0.0
    """Cores in use by the workers."""
    database: str = ""
    """Empty until a worker spoke, "ok", or the first trouble."""

    def troubles(self) -> list[str]:
        """Say what keeps the agent from measuring as it should; empty as a rule."""
        shedding = f"saturated, shedding {self.shedding_permille / 10:g} %" if self.shedding_permille else ""
        suspect = f"numbers are suspect: read {figures.duration(self.error_max_us)} too long" if self.suspect else ""
        return [text for text in (shedding, suspect, "own network away" if self.network_away else "") if text]


@dataclass
class _Worker:
    """The last two lines of a worker that still matter."""

    line: Mapping[str, Any]
    heard_at: float
    checks_per_s: float = 0.0
    cpu: float = 0.0

    def take_rates(self, last: _Worker) -> None:
        """Compute the rates since the line before; the last line of a life comes too soon after it to tell."""
        elapsed_s = (self.line.get("at_us", 0) - last.line.get("at_us", 0)) / 1e6
        if elapsed_s < RATE_S:
            self.checks_per_s, self.cpu = last.checks_per_s, last.cpu
            return
        self.checks_per_s = (self.line.get("checks", 0) - last.line.get("checks", 0)) / elapsed_s
        self.cpu = (self.line.get("cpu_s", 0.0) - last.line.get("cpu_s", 0.0)) / elapsed_s


@dataclass
class Fleet:
    """Takes the workers' status lines. `failures` holds the last changes for the worse, the newest first."""

    failures: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=FAILURES))
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _absent: dict[int, int] = field(default_factory=dict)  # endpoints of workers that are gone
    _carried: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOTALS, 0))
    _carried_plugins: dict[str, dict[str, int]] = field(default_factory=dict)
    _changes: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=CHANGES))
    _changes_lost: int = 0

    def hear(self, line: Mapping[str, Any], now: float) -> None:
        """Take a status line."""
        index = line["worker"]
        last = self._workers.get(index)
        if last and last.line.get("pid") != line.get("pid"):
            self.forget(index)
            last = None
        self._absent.pop(index, None)
        worker = self._workers[index] = _Worker(line, now)
        if last:
            worker.take_rates(last)
        for change in line.get("changes", ()):
            self._changes_lost += len(self._changes) == CHANGES
            self._changes.append(change)
            if change.get("status") != "up":
                self.failures.appendleft(change)

    def last(self, index: int) -> Mapping[str, Any]:
        """Return the last line of a worker, empty when there is none."""
        worker = self._workers.get(index)
        return worker.line if worker else {}

    def forget(self, index: int) -> Mapping[str, Any]:
        """Drop a worker that ended, carry its totals, and return its last line; its endpoints are unknown now."""
        line = self.last(index)
        if self._workers.pop(index, None):
            self._absent[index] = line.get("endpoints") or 0
        for name in TOTALS:
            self._carried[name] += line.get(name) or 0
        _add_plugins(self._carried_plugins, line)
        return line

    def changes(self) -> tuple[list[Mapping[str, Any]], int]:
        """Take the changes of status since the last call, in their order, and how many more had no room."""
        taken, lost = list(self._changes), self._changes_lost
        self._changes.clear()
        self._changes_lost = 0
        return taken, lost

    def latest(self) -> list[Mapping[str, Any]]:
        """Return the last result of every endpoint that the workers tell of, those that are not up first."""
        rows = [row for worker in self._workers.values() for row in worker.line.get("latest", ())]
        return sorted(rows, key=lambda row: (_ORDER.get(row.get("status"), 3), row.get("name", "")))

    def plugins(self) -> dict[str, dict[str, int]]:
        """Sum up what each plugin did in all workers, those that ended too: `calls`, `spent_us`, `errors` and more.

        `dropped` counts the results that an output did not get.
        """
        sums = {name: dict(figures) for name, figures in self._carried_plugins.items()}
        for worker in self._workers.values():
            _add_plugins(sums, worker.line)
        return sums

    def totals(self, now: float) -> Totals:
        """Sum up all workers; one that is silent has no rate."""
        lines = [worker.line for worker in self._workers.values()]
        lively = [worker for worker in self._workers.values() if now - worker.heard_at < STALE_S]
        sums = {name: _sum(lines, name) for name in GAUGES}
        for name in ("endpoints", "unknown"):
            sums[name] += sum(self._absent.values())
        sums |= {name: _sum(lines, name) + self._carried[name] for name in TOTALS}
        peaks = {name: max((line.get(name) or 0 for line in lines), default=0) for name in PEAKS}
        troubles = [line["database"] for line in lines if line.get("database", "ok") != "ok"]
        return Totals(
            **sums,
            **peaks,
            suspect=sum(bool(line.get("suspect")) for line in lines),
            network_away=sum(bool(line.get("network_away")) for line in lines),
            workers=len(lively),
            checks_per_s=sum(worker.checks_per_s for worker in lively),
            cpu=sum(worker.cpu for worker in lively),
            database=troubles[0] if troubles else "ok" if lines else "",
        )


_ORDER = {"down": 0, "missed": 1, "degraded": 2, "up": 4}


def _sum(lines: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(line.get(name) or 0 for line in lines)


def _add_plugins(sums: dict[str, dict[str, int]], line: Mapping[str, Any]) -> None:
    lost = {name: {"dropped": count} for name, count in (line.get("outputs_dropped") or {}).items()}
    for name, figures in [*(line.get("plugins") or {}).items(), *lost.items()]:
        plugin = sums.setdefault(name, {})
        for figure, value in figures.items():
            plugin[figure] = plugin.get(figure, 0) + value
