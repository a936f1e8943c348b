"""What a period was like: availability, incidents and latencies of endpoints, out of rollups where there are any.

Available is what answered as was asked for, if perhaps slowly (`up`, `degraded`); `down` is not; `missed` says nothing
of the site and counts as neither.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import msgspec
from psycopg2 import extensions, sql

from watcher.errors import DatabaseError
from watcher.store import histogram, migrations, rollups
from watcher.store.connection import place, transaction
from watcher.store.queries import queries
from watcher.store.report_period import DAY, HOUR, MINUTE, RESULTS, Level, Span, cell, kept, spans

PERCENTS = (50, 95, 99)
SLOWEST = 5
LEVEL = 7  # of the schema: the migration that brought rollups

_STEPS: Mapping[str, timedelta] = MappingProxyType(
    {"metrics_days": DAY, "metrics_hours": HOUR, "metrics_minutes": MINUTE}
)


class Line(msgspec.Struct):
    """One endpoint in a period, or all of them. Phases are means over all answered checks, one without it as 0."""

    name: str
    availability: float | None = None
    up: int = 0
    degraded: int = 0
    down: int = 0
    missed: int = 0
    incidents: int = 0
    measured_minutes: int = 0
    outage_minutes: int = 0
    incident_free_minutes: int = 0
    latency_mean_us: float | None = None
    latency_p50_us: float | None = None
    latency_p95_us: float | None = None
    latency_p99_us: float | None = None
    latency_max_us: int | None = None
    dns_mean_us: float | None = None
    connect_mean_us: float | None = None
    tls_mean_us: float | None = None
    ttfb_mean_us: float | None = None
    transfer_mean_us: float | None = None
    labels: dict[str, Any] = {}
    removed: bool = False


class Report(msgspec.Struct):
    """A period as long as was asked for, but that of old times only whole hours or days are left.

    `endpoints` are in the order of their names. `sources` are the tables that it was put together of.
    """

    since: datetime
    until: datetime
    total: Line
    endpoints: list[Line]
    sources: list[Span]


class Wanted(msgspec.Struct, frozen=True):
    """Which endpoints, and when; no names: all, those that were removed if `removed`. `until` None: now."""

    since: datetime
    until: datetime | None = None
    names: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    removed: bool = False


def read(connection: extensions.connection, wanted: Wanted) -> Report:
    """Read a report.

    Raises:
        DatabaseError: the database refuses or breaks, or has no rollups yet.
    """
    _require_rollups(connection)
    with transaction(connection) as cursor:
        levels, now = _begin(cursor)
        since = kept(min(wanted.since, now), levels)
        until = now if wanted.until is None or wanted.until >= now else max(since, kept(wanted.until, levels))
        known = _known(cursor, wanted)
        parts = spans(since, until, levels)
        ids = list(known) if wanted.names or wanted.labels else None
        found = _totals(cursor, parts, ids, wanted.removed)
    lines = [_line(*known[one][:2], found.get(one), known[one][2]) for one in known if one in found or wanted.names]
    return Report(since, until, _line("all", {}, found.get(None), False), lines, parts)


def series(connection: extensions.connection, report: Report, names: Sequence[str]) -> dict[str, list[float | None]]:
    """Give the availability of endpoints in each of the period's cells (`report_period.cell`), None where none was."""
    step = cell(report.since, report.until)
    with transaction(connection) as cursor:
        levels, _ = _begin(cursor)
        parts = spans(report.since, report.until, [level for level in levels if level.step <= step])
        shown = Wanted(report.since, names=tuple(names))
        known = {number: name for number, (name, _, _) in _known(cursor, shown).items()} if names else {}
        rows = _rows(cursor, "series", parts, list(known)) if parts else []
    length = -(-(report.until - report.since) // step)
    cells = {name: [[0, 0] for _ in range(length)] for name in names}
    for number, at, available, down in rows:
        counted = cells[known[number]][max(0, int((at - report.since.timestamp()) // step.total_seconds()))]
        counted[0] += available
        counted[1] += down
    return {
        name: [available / (available + down) if available + down else None for available, down in found]
        for name, found in cells.items()
    }


class Picture(msgspec.Struct):
    """A report of which some endpoints are left, the least available first, with what is drawn of them.

    `count` is how many endpoints there were, `slowest` are the slowest of all, `series` has availability by name.
    """

    report: Report
    count: int
    slowest: list[Line]
    series: Mapping[str, Sequence[float | None]] = {}


def picture(report: Report, limit: int | None) -> Picture:
    """Put the least available endpoints of a report first and leave no more than `limit`, if that is given."""
    lines = report.endpoints
    slowest = heapq.nlargest(SLOWEST, (line for line in lines if line.latency_p95_us), key=attrgetter("latency_p95_us"))
    report.endpoints = sorted(lines, key=_worst_first)[:limit]
    return Picture(report, len(lines), slowest)


def _worst_first(line: Line) -> tuple[float, int, float, str]:
    share = 2.0 if line.availability is None else line.availability
    return share, -line.outage_minutes, -(line.latency_p95_us or 0.0), line.name


def _require_rollups(connection: extensions.connection) -> None:
    if migrations.level(connection) < LEVEL:
        raise DatabaseError(f"{place(connection.dsn)} has no rollups yet; run `watcher db migrate`, or an agent")


def _begin(cursor: extensions.cursor) -> tuple[list[Level], datetime]:
    """Give the levels, the coarsest first, each with the time that it covers, and the server's time."""
    cursor.execute(queries("report")["begin"])
    cursor.execute(queries("report")["prepare"])
    cursor.execute(queries("report")["progress"])
    minutes_to, hours_to, now = cursor.fetchone()
    levels = []
    for table, step in _STEPS.items():
        until = minutes_to if step == MINUTE else hours_to
        cursor.execute(queries("rollups")["partitions"], {"table": table})
        parts = [rollups.begin_of(name) for (name,) in cursor.fetchall()]
        if step == MINUTE:  # the first day of minutes may begin within it
            parts = parts[1:]
        if parts and until is not None:
            levels.append(Level(table, step, parts[0], until))
    return levels, now


def _known(cursor: extensions.cursor, wanted: Wanted) -> dict[int, tuple[str, Any, bool]]:
    labels = msgspec.json.encode(wanted.labels).decode()
    asked = {"names": list(wanted.names) or None, "labels": labels, "removed": wanted.removed}
    cursor.execute(queries("report")["endpoints"], asked)
    return {number: (name, labels, removed) for number, name, labels, removed in cursor}


def _asked(span: Span) -> sql.Composable:
    """Give the query for the rows of a span; it wants `ids` and `removed`."""
    query = queries("report")["results" if span.table == RESULTS else "rollups"]
    return sql.SQL(query).format(
        table=sql.Identifier(span.table), since=sql.Literal(span.since), until=sql.Literal(span.until)
    )


def _rows(
    cursor: extensions.cursor, query: str, parts: Sequence[Span], ids: list[int] | None, removed: bool = True
) -> list[tuple[Any, ...]]:
    """Ask something of the rows of all spans: of those endpoints, or of all, also such as were removed if `removed`."""
    source = sql.SQL(" UNION ALL ").join(map(_asked, parts))
    asked = sql.SQL(queries("report")[query]).format(source=source)
    cursor.execute(asked, {"ids": ids, "removed": removed or ids is not None})
    return cursor.fetchall()


def _totals(
    cursor: extensions.cursor, parts: Sequence[Span], ids: list[int] | None, removed: bool
) -> dict[int | None, list[Any]]:
    """Give the sums of each endpoint, and of all under None, with the percentiles in place of the histogram."""
    if not parts:
        return {}
    found = {
        number: [*sums, histogram.percentiles(digits, length, scale, PERCENTS)]
        for number, *sums, digits, length, scale in _rows(cursor, "totals", parts, ids, removed)
    }
    if going_on := [number for number, sums in found.items() if number is not None and sums[_BEGINS_DOWN]]:
        for number, count in _rows(cursor, "continued", parts, going_on):
            found[number][_INCIDENTS] -= count
            found[None][_INCIDENTS] -= count
    return found


_INCIDENTS, _BEGINS_DOWN = 6, 7  # the places of sums that `totals` gives after the id


# pylint: disable-next=too-many-locals  # a row's columns, each by its name
def _line(name: str, labels: Any, sums: Sequence[Any] | None, removed: bool) -> Line:
    if sums is None:
        return Line(name, labels=labels, removed=removed)
    up, degraded, down, missed, measured, outage, incidents, _, latencies, latency_us, most_us, *phases, found = sums
    judged = up + degraded + down
    line = Line(
        name, (up + degraded) / judged if judged else None, up, degraded, down, missed,
        incidents, measured, outage, measured - outage, latency_max_us=most_us, labels=labels, removed=removed,
    )  # fmt: skip
    if latencies:
        line.latency_mean_us = latency_us / latencies
        means_us = [(sum_us or 0) / latencies for sum_us in phases]
        line.dns_mean_us, line.connect_mean_us, line.tls_mean_us, line.ttfb_mean_us, line.transfer_mean_us = means_us
        line.latency_p50_us, line.latency_p95_us, line.latency_p99_us = found
    return line
