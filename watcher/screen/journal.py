"""Log lines for where there is no terminal: each change of status, and a summary now and then."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TextIO

from watcher.screen import figures
from watcher.screen.fleet import Fleet, Totals

CHANGES_A_SECOND = 20
FIRST_SUMMARY_S = 10.0
SUMMARY_S = 60.0


class Journal:
    """Writes what happens, one line each: what concerns endpoints to `output`, what concerns the agent to `trouble`.

    Args:
        fleet: what the workers say.
        output: changes and summaries; flushed with each line.
        trouble: all that is said otherwise.
        summary_s: seconds between summaries.
        clock: the time of day.
    """

    def __init__(
        self,
        fleet: Fleet,
        output: TextIO,
        trouble: TextIO,
        summary_s: float = SUMMARY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._output = output
        self._trouble = trouble
        self._summary_s = summary_s
        self._clock = clock
        self._budget = CHANGES_A_SECOND
        self._unsaid: Counter[str] = Counter()
        self._second_at: float | None = None
        self._summary_at = 0.0
        self._since = _Since()
        self._database = ""

    def say(self, text: str) -> None:
        """Tell of the agent itself, at once."""
        self._write(self._trouble, f"{self._now()} {figures.plain(text)}")

    def tick(self, now: float) -> None:
        """Write what is due at `now`, on any steady clock."""
        if self._second_at is None:
            self._second_at = now
            self._summary_at = now + min(FIRST_SUMMARY_S, self._summary_s)
        self._changes()
        if now >= self._second_at + 1.0:
            self._second_at = now
            self._count_unsaid()
            self._budget = CHANGES_A_SECOND
        totals = self._fleet.totals(now)
        if totals.database not in ("", self._database):
            if self._database or totals.database != "ok":  # that all is well at first is not worth a line
                self.say(f"database: {totals.database}")
            self._database = totals.database
        self._since.note(totals, now)
        if now >= self._summary_at and totals.workers:
            self._summary_at = now + self._summary_s
            self._write(self._output, f"{self._now()} {summary(self._since.over(totals, now))}")

    def close(self, now: float) -> None:
        """Write what is left and a last summary."""
        self._changes()
        self._count_unsaid()
        totals = self._fleet.totals(now)
        if totals.database:  # else no worker ever spoke, and there is nothing to sum up
            self._write(self._output, f"{self._now()} {summary(self._since.over(totals, now))}")

    def _changes(self) -> None:
        changes, lost = self._fleet.changes()
        for change in changes:
            if change.get("before") is None and change.get("status") == "up":
                continue  # an endpoint that is up when it is first checked: as it should be
            if self._budget > 0:
                self._budget -= 1
                self._write(self._output, describe(change))
            else:
                self._unsaid[change.get("status") or "unknown"] += 1
        if lost:
            self._unsaid["of any kind"] += lost

    def _count_unsaid(self) -> None:
        if self._unsaid:
            kinds = ", ".join(f"{count:,} {status}" for status, count in sorted(self._unsaid.items()))
            self._write(self._output, f"{self._now()} and {self._unsaid.total():,} more changes: {kinds}")
            self._unsaid.clear()

    def _now(self) -> str:
        return figures.moment(self._clock() * 1e6)

    @staticmethod
    def _write(stream: TextIO, line: str) -> None:
        try:
            stream.write(line + "\n")
            stream.flush()
        except BrokenPipeError:  # who read it has ended; that is no reason to watch no more
            silence(stream)
        except OSError:  # a full disk: the line is lost, the next may not be
            pass


@dataclass
class _Since:
    """What was since the last summary: a second alone says little of a few endpoints that are checked now and then."""

    began: float | None = None
    checks: int = 0
    lag_p99_us: int = 0
    late_p99_us: int = 0

    def note(self, totals: Totals, now: float) -> None:
        """Take the worst seconds."""
        if self.began is None:
            self.began, self.checks = now, totals.checks
        self.lag_p99_us = max(self.lag_p99_us, totals.lag_p99_us)
        self.late_p99_us = max(self.late_p99_us, totals.late_p99_us)

    def over(self, totals: Totals, now: float) -> Totals:
        """Give the totals with the rate and the worst seconds since the last summary, and begin anew."""
        elapsed_s = 0.0 if self.began is None else now - self.began
        rate = (totals.checks - self.checks) / elapsed_s if elapsed_s > 0 else totals.checks_per_s
        given = replace(totals, checks_per_s=rate, lag_p99_us=self.lag_p99_us, late_p99_us=self.late_p99_us)
        self.began, self.checks, self.lag_p99_us, self.late_p99_us = now, totals.checks, 0, 0
        return given


def silence(stream: TextIO) -> None:
    """Let all that is written to a stream from now on, or waits in it, vanish."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def describe(change: Mapping[str, Any]) -> str:
    """Write a change of status as a line: the name only, for a URL may hold what the file left to a variable."""
    what = figures.cause(change.get("reason"), change.get("detail"))
    took = figures.duration(change.get("latency_us")) if change.get("status") in ("up", "degraded") else ""
    answered = f"HTTP {change['http_status']}" if change.get("http_status") else ""
    was = f"was {change['before']}" if change.get("before") else ""
    rest = ", ".join(part for part in (what, answered, took, was) if part)
    name, status = figures.name(change.get("name", "")), change.get("status", "")
    return f"{figures.moment(change.get('at_us', 0))} {status:<6} {name}: {rest}"


def summary(totals: Totals) -> str:
    """Write the totals as a line."""
    parts = [
        f"{figures.counted(totals.endpoints, 'endpoint')}: "
        f"{totals.up:,} up, "
        + (f"{totals.degraded:,} degraded, " if totals.degraded else "")
        + f"{totals.down:,} down, {totals.unknown:,} unknown",
        f"{figures.count(totals.checks_per_s)} checks/s",
        f"lag p99 {figures.duration(totals.lag_p99_us)}, late p99 {figures.duration(totals.late_p99_us)}",
        f"stored {totals.stored:,}, buffered {totals.buffered:,}, spooled {totals.spooled:,}, missed {totals.missed:,}"
        + (f", dropped {totals.dropped:,}" if totals.dropped else ""),
        f"database {totals.database if totals.database in ('ok', '') else 'away'}",
        *totals.troubles(),
    ]
    return "; ".join(parts)
