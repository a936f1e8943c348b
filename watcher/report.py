"""What the line of state says that a worker writes each second, as JSON."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

from watcher.canary import Canary
from watcher.keeper import Buffer, Keepers
from watcher.ledger import Ledger
from watcher.models import Incident, Result, Status
from watcher.outlets import Outlets
from watcher.shedding import ALL
from watcher.tally import Tally
from watcher.watch import SHOWN_MAX, Watch, Watched

CHANGES_MAX = 50
TO_SHOW = (Status.DOWN, Status.DEGRADED)


class Changes:
    """Changes of status since the last line."""

    def __init__(self) -> None:
        self._waiting: list[Incident] = []

    def add(self, incident: Incident) -> None:
        """Take a change; beyond CHANGES_MAX a second it is not told."""
        if len(self._waiting) < CHANGES_MAX:
            self._waiting.append(incident)

    def take(self) -> list[dict[str, Any]]:
        """Give them, once."""
        told, self._waiting = self._waiting, []
        return [
            _row(change.result) | {"before": change.before.value if change.before else None} for change in told
        ]


def state(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # the parts of a worker
    index: int,
    watch: Watch,
    buffer: Buffer,
    keepers: Keepers | None,
    changes: Changes,
    ledger: Ledger,
    outlets: Outlets,
    canary: Canary,
) -> dict[str, Any]:
    """Give what the line says, and begin the next second's figures."""
    watched = watch.known()
    tally = keepers.tally if keepers else Tally()
    counts = watch.counts
    lag_us, latency_us = sorted(counts.lag_us), sorted(counts.latency_us)
    errors_us = canary.errors_us() or (None, None)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    line = {
        "worker": index,
        "pid": os.getpid(),
        "at_us": time.time_ns() // 1000,
        "endpoints": len(watched),
        "up": watch.standing[Status.UP],
        "degraded": watch.standing[Status.DEGRADED],
        "down": watch.standing[Status.DOWN],
        "unknown": len(watched) - sum(watch.standing.values()),
        "checks": counts.checks,
        "missed": counts.missed,
        "shed": watch.shedding.shed,
        "shedding_permille": ALL - watch.shedding.keep,
        "network_away": watch.hearing.away,
        "produced": buffer.produced,
        "recovered": tally.recovered,
        "stored": tally.stored,
        "spooled": tally.spooled,
        "damaged": tally.damaged,
        "dropped": tally.dropped + buffer.dropped,
        "buffered": len(buffer) + tally.in_hand,
        "outages": tally.outages,
        "in_flight": watch.in_flight,
        "waiting": watch.waiting,
        "lag_p50_us": _percentile(lag_us, 50),
        "lag_p99_us": _percentile(lag_us, 99),
        "late_p99_us": _percentile(sorted(counts.late_us), 99),
        "latency_p50_us": _percentile(latency_us, 50),
        "latency_p99_us": _percentile(latency_us, 99),
        "canary_checks": canary.checks,
        "error_p50_us": errors_us[0],
        "error_max_us": errors_us[1],
        "suspect": canary.suspect,
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
        "database": tally.database,
        "plugins": ledger.told(),
        "outputs_dropped": outlets.dropped(),
        "changes": changes.take(),
        "latest": _latest(watched),
    }
    counts.begin_second()
    return line


def _percentile(ordered: list[int], percent: int) -> int:
    return ordered[(len(ordered) - 1) * percent // 100] if ordered else 0


def _latest(watched: Mapping[int, Watched]) -> list[dict[str, Any]]:
    if len(watched) <= SHOWN_MAX:
        shown = [one for one in watched.values() if one.last is not None]
    else:
        shown = list(islice((one for one in watched.values() if one.status in TO_SHOW), SHOWN_MAX))
    return [_row(one.last) | {"changed_us": one.changed_us} for one in shown if one.last is not None]


def _row(result: Result) -> dict[str, Any]:
    return {
        "name": result.endpoint.name,
        "url": result.endpoint.url,
        "status": result.status.value,
        "reason": result.reason.value if result.reason else None,
        "detail": result.detail,
        "at_us": result.time_us,
        "http_status": result.http_status,
        "latency_us": result.latency_us,
    }
