"""From daily partitions to a hypertable, in place: at once for whoever writes, then a day at a time for what is there.

The first transaction gives the name `metrics` to a hypertable and puts the partitions aside as `metrics_plain`. Each
day is moved in one of its own, the newest first. So it may be cut short anywhere: the next call goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import psycopg2
from psycopg2 import errors, extensions, sql

from watcher.errors import DatabaseError
from watcher.store import migrations, roles
from watcher.store.connection import connect, place, raw_transaction, translated
from watcher.store.queries import composed, queries

COMPRESSED = "timescale"  # the licence under which TimescaleDB compresses

_DUPLICATE_OBJECT = errors.lookup("42710")


class Moved(msgspec.Struct, frozen=True):
    """What one call did: whether it made the hypertable or went on, how many days it moved, and their rows."""

    switched: bool = False
    is_continued: bool = False
    days: int = 0
    rows: int = 0


def to_timescale(dsn: str, say: Callable[[str], None] = lambda line: None) -> Moved:
    """Keep `metrics` as a hypertable from now on, with all rows that there are; nothing is done where it is one.

    The database must be at the newest level. Agents go on: they wait for a moment, at the switch.

    Raises:
        DatabaseError: the server has no TimescaleDB, or an old one, or something that reads `metrics` is in the way.
        DatabaseUnavailable: somebody holds a lock for long, or the connection breaks; the next call goes on.
    """
    require(dsn)
    with closing(connect(dsn, name="watcher to timescale", autocommit=True)) as connection, translated(connection):
        if not _row(connection, "try_lock")[0]:
            raise DatabaseError(f"{place(dsn)}: results are being moved by another `watcher db migrate --to-timescale`")
        is_plain, is_halfway = _row(connection, "state")
        if is_plain:
            _switch(connection)
            say("new results go into the hypertable; moving what there is, the newest day first")
        licence = _row(connection, "timescaledb")[3]
        days, rows = _move(connection, licence, say) if is_plain or is_halfway else (0, 0)
        return Moved(is_plain, is_halfway, days, rows)


def require(dsn: str) -> None:
    """Enable TimescaleDB in the database.

    Raises:
        DatabaseError: it is not there, not loaded, too old, or we may not.
    """
    where = place(dsn)
    # A connection of its own: the extension must come first in a session.
    with closing(connect(dsn, name="watcher to timescale", autocommit=True)) as connection, translated(connection):
        enabled, available, is_loaded, _ = _row(connection, "timescaledb")
        if not enabled and not available:
            raise DatabaseError(
                f"{where}: the server has no TimescaleDB; install it there (the embedded server cannot have it), or"
                " stay with daily partitions; nothing was changed"
            )
        if not enabled and not is_loaded:
            raise DatabaseError(
                f"{where}: the server does not load TimescaleDB {available}; set shared_preload_libraries ="
                " 'timescaledb' in its postgresql.conf and restart it; nothing was changed"
            )
        migrations.require_timescaledb(enabled or available, where)
        if not enabled:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(queries("schema")["enable_timescaledb"])
            except psycopg2.Error as error:
                raise DatabaseError(
                    f"{where} does not enable TimescaleDB ({str(error).splitlines()[0]}); run CREATE EXTENSION"
                    " timescaledb there as a superuser; nothing was changed"
                ) from error


def _switch(connection: extensions.connection) -> None:
    """Put a hypertable into the place of the partitioned table: the same columns, indexes, triggers, rights, views."""
    where = place(connection.dsn)
    with raw_transaction(connection) as cursor:
        cursor.execute(queries("schema")["lock_schema"])
        migrations.become_owner(cursor, f"{where} is to keep its results in a hypertable")
        cursor.execute(queries("timescale")["hold_rollups"])
        cursor.execute(queries("timescale")["lock"])
        cursor.execute(queries("timescale")["unmovable"])
        if names := ", ".join(name for (name,) in cursor.fetchall()):
            raise DatabaseError(
                f"{where}: {names} depends on metrics and cannot be led over to a hypertable; drop it, and make it"
                " again afterwards; nothing was changed"
            )
        found = {query: _rows(cursor, query) for query in ("indexes", "triggers", "grants", "views", "owner")}
        cursor.execute(queries("timescale")["rename"])
        for index, _ in found["indexes"]:
            renamed = sql.Identifier(index.replace("metrics", "metrics_plain", 1))
            cursor.execute(composed("timescale", "rename_index", index=sql.Identifier(index), renamed=renamed))
        cursor.execute(queries("timescale")["be_ourselves"])
        _make_hypertable(cursor, [index[1] for index in found["indexes"]] + [row[0] for row in found["triggers"]])
        cursor.execute(composed("timescale", "own", owner=sql.Identifier(found["owner"][0][0])))
        migrations.become_owner(cursor, "")
        for grantee, privilege, is_grantable in found["grants"]:
            option = "WITH GRANT OPTION" if is_grantable else ""
            _execute_as_said(cursor, "grant", privilege=privilege, grantee=grantee, option=option)
        for view, definition, options, _ in found["views"]:
            _execute_as_said(cursor, "replace_view", view=view, definition=definition, options=options)
        cursor.execute(queries("timescale")["note"])
        roles.grant(cursor)


def _execute_as_said(cursor: extensions.cursor, query: str, **parts: str) -> None:
    """Execute a query that is put together of the server's own words, of its catalog."""
    cursor.execute(composed("timescale", query, **{name: sql.SQL(text) for name, text in parts.items()}))


def _make_hypertable(cursor: extensions.cursor, definitions: Iterable[str]) -> None:
    """Make it with its indexes and triggers, as ourselves: TimescaleDB runs no job for a role that cannot log in."""
    cursor.execute(queries("timescale")["hypertable"])
    for definition in definitions:
        cursor.execute(definition)
    if _rows(cursor, "timescaledb")[0][3] == COMPRESSED:  # after the indexes, see sql/migrations/0002
        cursor.execute(queries("timescale")["compress"])


def _move(connection: extensions.connection, licence: str, say: Callable[[str], None]) -> tuple[int, int]:
    """Move the days that are left and give how many there were, and their rows."""
    with raw_transaction(connection) as cursor:
        days = _rows(cursor, "days")
        columns = sql.SQL(_rows(cursor, "columns")[0][0])
    moved = rows = 0
    for left, (partition, day) in zip(range(len(days) - 1, -1, -1), days, strict=True):
        count = _move_day(connection, partition, day, columns)
        if licence == COMPRESSED:
            _compress(connection)
        if count:
            moved, rows = moved + 1, rows + count
            say(f"{day}: {count:,} rows; {left} to go")
    with raw_transaction(connection) as cursor:
        migrations.become_owner(cursor, "")
        cursor.execute(composed("timescale", "drop", partition=sql.Identifier("metrics_plain")))
        cursor.execute(queries("metrics")["leftovers"])  # days that had expired, and whose removal was cut short
        for (name,) in cursor.fetchall():
            cursor.execute(composed("timescale", "drop", partition=sql.Identifier(name)))
        cursor.execute(queries("timescale")["analyze"])
    return moved, rows


def _move_day(connection: extensions.connection, partition: str, day: date, columns: sql.SQL) -> int:
    since = datetime.combine(day, time(), UTC)
    with raw_transaction(connection) as cursor:
        migrations.become_owner(cursor, "")
        cursor.execute(queries("timescale")["hold_rollups"])
        cursor.execute(queries("timescale")["has_late"], {"since": since, "until": since + timedelta(days=1)})
        has_late = cursor.fetchone()[0]
        cursor.execute(composed("timescale", "move", partition=sql.Identifier(partition), columns=columns))
        count = cursor.rowcount
        if not has_late:
            cursor.execute(queries("timescale")["unmark"])
        cursor.execute(composed("timescale", "drop", partition=sql.Identifier(partition)))
    return count


def _compress(connection: extensions.connection) -> None:
    """Compress what is old enough: a day at a time takes no more room than it must."""
    with raw_transaction(connection) as cursor:
        chunks = _rows(cursor, "uncompressed")
    for (chunk,) in chunks:
        # TimescaleDB's own job may be just at it: who comes second gets that error in spite of if_not_compressed.
        with suppress(_DUPLICATE_OBJECT), raw_transaction(connection) as cursor:
            migrations.become_owner(cursor, "")
            cursor.execute(queries("timescale")["compress_chunk"], {"chunk": chunk})


def _rows(cursor: extensions.cursor, query: str) -> list[tuple[Any, ...]]:
    cursor.execute(queries("timescale")[query])
    return cursor.fetchall()


def _row(connection: extensions.connection, query: str) -> tuple[Any, ...]:
    with raw_transaction(connection) as cursor:
        return _rows(cursor, query)[0]
