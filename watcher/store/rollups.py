"""Results summed up per minute, hour and day: folded in as they settle, those that come late too, and kept for a time.

`fold` is idempotent: it may be cut short, repeated, or run by every agent at once; the same with TimescaleDB or not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec
from psycopg2 import extensions, sql

from watcher.store import status
from watcher.store.connection import raw_transaction, translated
from watcher.store.queries import composed, queries

SETTLE_S = 120.0  # results that come later than that leave a mark: the trigger metrics_late of sql/migrations/0011
PATIENCE_S = 900.0  # with a transaction that somebody left open
HOURS_EVERY = timedelta(minutes=5)  # how often the current hour and day are summed up anew
SUMS = (
    "up", "degraded", "down", "missed", "measured_minutes", "outage_minutes", "incidents", "begins_down", "ends_down",
    "latencies", "latency_sum_us", "latency_max_us", "dns_sum_us", "connect_sum_us", "tls_sum_us", "ttfb_sum_us",
    "transfer_sum_us", "latency_histogram",
)  # fmt: skip

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# How the names of each table's partitions are made.
_LEVELS: Mapping[str, str] = MappingProxyType(
    {"metrics_minutes": "%Y%m%d", "metrics_hours": "%Y%m", "metrics_days": "%Y%m"}
)
# What is summed up.
_RESULTS = sql.SQL("watcher_minutes(%(since)s, %(until)s)")
_MINUTES, _HOURS = sql.SQL("metrics_minutes"), sql.SQL("metrics_hours")
_NAME = re.compile(r"metrics_(?:minutes|hours|days)_(\d{4})(\d{2})(\d{2})?")


class Keep(msgspec.Struct, frozen=True):
    """How many days each level is kept."""

    minutes: int = 7
    hours: int = 400
    days: int = 3650


class Folded(msgspec.Struct, frozen=True):
    """What one `fold` did: minutes summed up, hours gone over again for late results, whether there is more to do."""

    minutes: int = 0
    late_hours: int = 0
    is_behind: bool = False


def fold(
    connection: extensions.connection,
    keep: Keep = Keep(),
    budget_s: float = 20.0,
    stopped: Callable[[], bool] = lambda: False,
) -> Folded:
    """Sum up what has settled since the last time and what came late; every agent may, each minute.

    The connection must be in autocommit mode. An hour at most goes into one transaction. Beyond the budget, or when
    `stopped`, the next call goes on where this one ended. With nothing summed up yet it begins at the oldest results.

    Raises:
        DatabaseError: the database refuses or breaks.
    """
    ends_at = time.monotonic() + budget_s

    def goes_on() -> bool:
        return time.monotonic() < ends_at and not stopped()

    with translated(connection), _lock(connection) as held:
        if not held:
            return Folded()
        settled, minutes_to, hours_to, now = _progress(connection)
        done = late = 0
        for hour in _late_hours(connection):
            if not goes_on():
                return Folded(done, late, True)
            late += _fold_late(connection, hour, minutes_to, hours_to, now - timedelta(days=keep.minutes))
        while minutes_to < settled and goes_on():
            until = min(settled, _floor(minutes_to, _HOUR) + _HOUR)
            hours_to = _fold_next(connection, minutes_to, until, hours_to, now - timedelta(days=keep.minutes))
            done += round((until - minutes_to) / _MINUTE)
            minutes_to = until
        return Folded(done, late, minutes_to < settled)


def expire(connection: extensions.connection, keep: Keep = Keep()) -> tuple[str, ...]:
    """Drop the partitions whose last rows are too old, by the server's clock, and give their names.

    Raises:
        DatabaseUnavailable: somebody reads one for long; the next call tries again.
    """
    expired = []
    with translated(connection), _lock(connection) as held:
        if not held:
            return ()
        now = _row(connection, "progress", {"patience_s": PATIENCE_S})[-1]
        for table, days in zip(_LEVELS, (keep.minutes, keep.hours, keep.days), strict=True):
            for name in partitions(connection, table):
                if _bounds(name)[1] < now - timedelta(days=days):
                    with raw_transaction(connection) as cursor:
                        cursor.execute(queries("metrics")["drop_partition"], {"name": name})
                    expired.append(name)
    return tuple(expired)


def partitions(connection: extensions.connection, table: str) -> list[str]:
    """Name the partitions of a level, oldest first."""
    with raw_transaction(connection) as cursor:
        cursor.execute(queries("rollups")["partitions"], {"table": table})
        return [name for (name,) in cursor.fetchall()]


def begin_of(partition: str) -> datetime:
    """Give the moment at which a partition begins."""
    return _bounds(partition)[0]


def make_room(cursor: extensions.cursor, table: str, moment: datetime) -> None:
    """Make the partition for a moment, if it is not there. Attaching it lets readers go on."""
    name = f"{table}_{moment.astimezone(UTC).strftime(_LEVELS[table])}"
    cursor.execute(queries("metrics")["is_there"], {"name": name})
    if cursor.fetchone()[0]:
        return
    cursor.execute(queries("metrics")["add_partition"], {"table": table, "moment": moment})


@contextmanager
def _lock(connection: extensions.connection) -> Iterator[bool]:
    if not connection.autocommit:
        raise ValueError("rollups need a connection in autocommit mode: each step is a transaction of its own")
    held = _row(connection, "try_lock")[0]
    try:
        yield held
    finally:
        if held and not connection.closed:
            _row(connection, "unlock")


def _progress(connection: extensions.connection) -> tuple[datetime, datetime, datetime, datetime]:
    """Give up to where results have settled, to where minutes and hours are summed up, and the server's time."""
    minutes_to, hours_to, seen_at, is_over, now = _row(connection, "progress", {"patience_s": PATIENCE_S})
    if seen_at is None or is_over:
        with raw_transaction(connection) as cursor:
            cursor.execute(queries("rollups")["see"])
    settled = _floor((seen_at if is_over else now - _DAY) - timedelta(seconds=SETTLE_S), _MINUTE)
    if minutes_to is None:
        minutes_to = hours_to = _first(connection, now)
        with raw_transaction(connection) as cursor:
            cursor.execute(queries("rollups")["begin"], {"start": minutes_to})
    return settled, minutes_to, hours_to, now


def _first(connection: extensions.connection, now: datetime) -> datetime:
    """Give the midnight before the oldest result; where there is none yet, what comes of before will be late."""
    oldest_at = status.read(connection).oldest_at
    if oldest_at is None:
        return _floor(now - _HOUR, _HOUR)
    return _floor(datetime.fromtimestamp(oldest_at, UTC), _DAY)


def _late_hours(connection: extensions.connection) -> list[datetime]:
    with raw_transaction(connection) as cursor:
        cursor.execute(queries("rollups")["late_hours"])
        return [hour for (hour,) in cursor.fetchall()]


def _fold_late(
    connection: extensions.connection, hour: datetime, minutes_to: datetime, hours_to: datetime, oldest: datetime
) -> int:
    """Go over an hour again, as far as it was summed up, and forget its marks; what comes after is read anyway."""
    with raw_transaction(connection) as cursor:
        values = {"since": hour, "until": hour + _HOUR, "before": minutes_to}
        cursor.execute(queries("rollups")["take_late"], values)
        since, until = cursor.fetchone()
        if since is None:
            return 0
        _roll_minutes(cursor, since, until, oldest)
        if hour < hours_to:
            _roll_hours(cursor, _RESULTS, hour, min(hour + _HOUR, hours_to))
    return 1


def _fold_next(
    connection: extensions.connection, since: datetime, until: datetime, hours_to: datetime, oldest: datetime
) -> datetime:
    """Sum up minutes within one hour, and the hour and its day now and then; give up to where hours are summed up."""
    with raw_transaction(connection) as cursor:
        _roll_minutes(cursor, since, until, oldest)
        wanted = _floor(until, HOURS_EVERY)
        if wanted > hours_to:
            hour = _floor(wanted - _MINUTE, _HOUR)
            # a day of grace: where minutes begin, the first of them may lie within an hour
            _roll_hours(cursor, _MINUTES if hour > oldest + _DAY else _RESULTS, hour, wanted)
            hours_to = wanted
        cursor.execute(queries("rollups")["advance"], {"minutes_to": until, "hours_to": hours_to})
    return hours_to


def _roll_minutes(cursor: extensions.cursor, since: datetime, until: datetime, oldest: datetime) -> None:
    if until > oldest:
        make_room(cursor, "metrics_minutes", since)
        cursor.execute(_rolling("roll_minutes"), {"since": since, "until": until})


def _roll_hours(cursor: extensions.cursor, source: sql.SQL, hour: datetime, until: datetime) -> None:
    """Sum up an hour, and with it its day."""
    make_room(cursor, "metrics_hours", hour)
    cursor.execute(_rolling("roll_hours", source), {"since": hour, "until": until})
    day = _floor(hour, _DAY)
    make_room(cursor, "metrics_days", day)
    cursor.execute(_rolling("roll_days", _HOURS), {"since": day, "until": day + _DAY})


def _rolling(query: str, source: sql.Composable = sql.SQL("")) -> sql.Composed:
    merged = composed("rollups", "merged", source=source)
    columns = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in SUMS)
    return composed("rollups", query, merged=merged, columns=columns)


def _bounds(partition: str) -> tuple[datetime, datetime]:
    """Give first and last of the moments between which a partition lies, by its name."""
    year, month, day = _NAME.fullmatch(partition).groups()
    first = datetime(int(year), int(month), int(day or 1), tzinfo=UTC)
    return first, first + _DAY if day else (first + 31 * _DAY).replace(day=1)


def _floor(moment: datetime, step: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // step * step


def _row(connection: extensions.connection, query: str, values: Any = None) -> tuple[Any, ...]:
    with raw_transaction(connection) as cursor:
        cursor.execute(queries("rollups")[query], values)
        return cursor.fetchone()
