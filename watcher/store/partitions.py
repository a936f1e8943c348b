"""Keeping the time series to its length: daily partitions made ahead and dropped, or TimescaleDB drops chunks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import msgspec
from psycopg2 import extensions, sql

from watcher.errors import DatabaseError
from watcher.store.connection import place, raw_transaction, translated
from watcher.store.migrations import storage
from watcher.store.queries import composed, queries

KEEP_DAYS = 90
AHEAD_DAYS = 3  # a night without a database must not find the next day without its partition

CLOCK_OFF_MOST_S = 300.0  # between the agent and the server, for either to say what is old

_TURN_TIMEOUT = "5s"  # for each lock: a fold takes less as a rule, and a reload of the agent waits behind us
_LOCK_TIMEOUT = "15s"
_CONCURRENT_DETACH = 140000  # PostgreSQL 14
_NAME = re.compile(r"metrics_(\d{4})(\d{2})(\d{2})")


class Upkeep(msgspec.Struct, frozen=True):
    """What one upkeep did: names of partitions (or chunks)."""

    created: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


def upkeep(connection: extensions.connection, now: datetime, keep_days: int = KEEP_DAYS) -> Upkeep:
    """Make room for the next days and drop the days that lie more than `keep_days` back; every agent may, hourly.

    The connection must be in autocommit mode. A day is kept whole until its last row is too old, by the server's
    clock: one agent with a wrong one must not drop what all have measured. `now` is the agent's, which dates its rows.

    Raises:
        DatabaseError: the clocks differ: days were made and none was dropped. Or a day's name is in the way.
        DatabaseUnavailable: somebody holds a lock for long; the next upkeep goes on where this one stopped.
        ValueError: the connection is not in autocommit mode.
    """
    if not connection.autocommit:
        raise ValueError("upkeep needs a connection in autocommit mode: DETACH CONCURRENTLY runs in no transaction")
    with translated(connection):
        servers = _server_now(connection)
        off_s = (now - servers).total_seconds()
        today, is_hypertable = now.astimezone(UTC).date(), storage(connection) == "hypertable"
        created: tuple[str, ...] = ()
        if not is_hypertable:
            created = add_days(connection, (today + timedelta(days=ahead) for ahead in range(AHEAD_DAYS + 1)))
        if abs(off_s) > CLOCK_OFF_MOST_S:
            raise DatabaseError(
                f"the clock of this agent is {abs(off_s):,.0f} s {'ahead of' if off_s > 0 else 'behind'} that of"
                f" {place(connection.dsn)}; nothing old was dropped; set the clocks right (NTP)"
            )
        with _turn(connection) as cursor:
            if is_hypertable:
                return Upkeep(expired=_expire_chunks(connection, servers, keep_days))
            oldest = servers.astimezone(UTC).date() - timedelta(days=keep_days)
            return Upkeep(created, _expire_partitions(cursor, oldest))


def _server_now(connection: extensions.connection) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute(queries("metrics")["now"])
        return cursor.fetchone()[0]


def add_days(connection: extensions.connection, days: Iterable[date]) -> tuple[str, ...]:
    """Make the partitions of these days that are not there yet, and give their names; with psycopg2's own errors.

    Raises:
        DatabaseError: a table that is no partition, such as one that was detached by hand, has the name of one.
    """
    wanted = {_partition(day): day for day in days}
    if not wanted.keys() - _partitions(connection).keys():
        return ()
    with raw_transaction(connection) as cursor:
        cursor.execute(queries("metrics")["lock_partitions"])
        missing = sorted(wanted.keys() - _fetch_partitions(cursor).keys())
        for name in missing:
            cursor.execute(queries("metrics")["is_there"], {"name": name})
            if cursor.fetchone()[0]:
                raise DatabaseError(
                    f"{place(connection.dsn)}: table {name} is there and no part of metrics, which has no room for"
                    " that day; re-attach or rename it (docs/schema.md)"
                )
            values = {"table": "metrics", "moment": _midnight(wanted[name])}
            cursor.execute(queries("metrics")["add_partition"], values)
    return tuple(missing)


def _expire_partitions(cursor: extensions.cursor, oldest: date) -> tuple[str, ...]:
    is_ours = _is_ours(cursor)
    for name, interrupted in _fetch_partitions(cursor).items() if is_ours else ():
        if _day(name) < oldest:
            cursor.execute(composed("metrics", "mark_expired", partition=sql.Identifier(name)))
            detach = _detach(cursor.connection, interrupted)
            cursor.execute(composed("metrics", detach, partition=sql.Identifier(name)))
    cursor.execute(queries("metrics")["leftovers"])
    names = [name for (name,) in cursor.fetchall()]
    if not is_ours:
        names += [name for name in _fetch_partitions(cursor) if _day(name) < oldest]
    for name in names:
        cursor.execute(queries("metrics")["drop_partition"], {"name": name})
    return tuple(names)


def _is_ours(cursor: extensions.cursor) -> bool:
    """Tell whether we may do with the time series what its owner may; others have functions for what they must do."""
    cursor.execute(queries("metrics")["is_ours"])
    return cursor.fetchone()[0]


@contextmanager
def _turn(connection: extensions.connection) -> Iterator[extensions.cursor]:
    """Wait until nobody else makes days, drops them or sums them up, and then have a short patience for other locks."""
    cursor = connection.cursor()
    try:
        cursor.execute(queries("metrics")["lock_timeout"], {"timeout": _TURN_TIMEOUT})
        cursor.execute(queries("metrics")["lock_expiry"])
        cursor.execute(queries("metrics")["lock_timeout"], {"timeout": _LOCK_TIMEOUT})
        yield cursor
    finally:
        if not connection.closed:
            cursor.execute(queries("metrics")["lock_timeout"], {"timeout": "0"})
            cursor.execute(queries("metrics")["unlock_expiry"])


def _detach(connection: extensions.connection, interrupted: bool) -> str:
    if interrupted:
        return "detach_finalize"
    return "detach_concurrently" if connection.server_version >= _CONCURRENT_DETACH else "detach"


def _expire_chunks(connection: extensions.connection, now: datetime, keep_days: int) -> tuple[str, ...]:
    """Have TimescaleDB drop old chunks itself where its licence lets us ask for that, else drop them from here."""
    with raw_transaction(connection) as cursor:
        if not _is_ours(cursor):
            cursor.execute(queries("metrics")["drop_chunks_for_owner"], {"keep_days": keep_days})
            return tuple(name for (name,) in cursor.fetchall())
        cursor.execute(queries("metrics")["has_jobs"])
        is_licensed, may_log_in = cursor.fetchone()
        if is_licensed:
            _schedule(cursor, keep_days if may_log_in else None)
            if may_log_in:
                return ()
        cursor.execute(queries("metrics")["drop_chunks"], {"before": now - timedelta(days=keep_days)})
        return tuple(name for (name,) in cursor.fetchall())


def _schedule(cursor: extensions.cursor, keep_days: int | None) -> None:
    """Have old chunks dropped by a job of TimescaleDB's, after these days; None: by none."""
    cursor.execute(queries("metrics")["retention"])
    policy = cursor.fetchone()
    if (policy and policy[0]) != keep_days:
        cursor.execute(queries("metrics")["remove_retention"])
        if keep_days is not None:
            cursor.execute(queries("metrics")["add_retention"], {"keep_days": keep_days})


def _partitions(connection: extensions.connection) -> dict[str, bool]:
    with raw_transaction(connection) as cursor:
        return _fetch_partitions(cursor)


def _fetch_partitions(cursor: extensions.cursor) -> dict[str, bool]:
    cursor.execute(queries("metrics")["partitions"])
    return dict(cursor.fetchall())


def _partition(day: date) -> str:
    return f"metrics_{day:%Y%m%d}"


def _day(partition: str) -> date:
    year, month, day = map(int, _NAME.fullmatch(partition).groups())
    return date(year, month, day)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
