"""What the database is and holds, for `watcher db status`: no query here reads a table whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg2 import extensions, sql

from watcher.store import migrations
from watcher.store.connection import transaction
from watcher.store.queries import queries

ROLLUPS_LEVEL = 7


class Table(msgspec.Struct, frozen=True):
    """A table, or all parts of one; `size_bytes` with its indexes. `rows` is an estimate."""

    rows: int
    size_bytes: int
    index_bytes: int


class Compressed(msgspec.Struct, frozen=True):
    """How many chunks TimescaleDB has compressed, and what they took with indexes before and after."""

    parts: int
    before_bytes: int
    after_bytes: int


class Status(msgspec.Struct, frozen=True):
    """The state of a database; what the schema must be there for is None before the first migration.

    `storage` is how `metrics` is kept, in `parts` daily partitions or chunks. `oldest_at` is the time of the first rows
    of the oldest part, in seconds since the epoch. `unmoved` counts partitions that `to_timescale` has still to move;
    results in them are no part of the other numbers.
    """

    engine: str
    version: str
    timescaledb: str | None
    licence: str | None
    size_bytes: int
    level: int
    newest_level: int
    storage: str | None = None
    parts: int | None = None
    metrics: Table | None = None
    compressed: Compressed | None = None
    unmoved: int = 0
    rollups: Table | None = None
    endpoints: Table | None = None
    oldest_at: float | None = None


def read(connection: extensions.connection) -> Status:
    """Look at a database.

    Raises:
        DatabaseError: it breaks or refuses meanwhile.
    """
    level = migrations.level(connection)
    kept_as = migrations.storage(connection) if level else None
    with transaction(connection) as cursor:
        asked = queries("status")
        version, size_bytes = _row(cursor, asked["server"])
        timescaledb = _row(cursor, queries("schema")["timescaledb"])[0]
        known = {
            "engine": "PostgreSQL",
            "version": version,
            "timescaledb": timescaledb,
            "licence": _row(cursor, asked["licence"])[0] if timescaledb else None,
            "size_bytes": size_bytes,
            "level": level,
            "newest_level": migrations.newest(),
        }
        if kept_as is None:
            return Status(**known)
        names, metrics = (_chunks if kept_as == "hypertable" else _partitions)(cursor)
        is_compressed = kept_as == "hypertable" and known["licence"] == "timescale"
        return Status(
            **known,
            storage=kept_as,
            parts=len(names),
            metrics=metrics,
            compressed=_compressed(cursor) if is_compressed else None,
            unmoved=_row(cursor, asked["unmoved"])[0],
            rollups=Table(*_row(cursor, asked["rollups"])) if level >= ROLLUPS_LEVEL else None,
            endpoints=Table(*_row(cursor, asked["table"], {"name": "endpoints"})),
            oldest_at=_oldest_at(cursor, names),
        )


def _partitions(cursor: extensions.cursor) -> tuple[list[str], Table]:
    cursor.execute(queries("status")["partitions"])
    parts = cursor.fetchall()
    rows, size_bytes, index_bytes = (sum(part[place] for part in parts) for place in (1, 2, 3))
    return [part[0] for part in parts], Table(rows, size_bytes, index_bytes)


def _chunks(cursor: extensions.cursor) -> tuple[list[str], Table]:
    cursor.execute(queries("status")["chunks"])
    names = [name for (name,) in cursor.fetchall()]
    return names, Table(*_row(cursor, queries("status")["hypertable"]))


def _compressed(cursor: extensions.cursor) -> Compressed | None:
    found = _row(cursor, queries("status")["compressed"])  # no row before there is a chunk
    return Compressed(*found) if found and found[0] else None


def _oldest_at(cursor: extensions.cursor, parts: Sequence[str]) -> float | None:
    for part in parts:  # some days are made ahead, and the first ones may be empty
        # the server itself wrote the name, quoted where it must be
        oldest = _row(cursor, sql.SQL(queries("status")["first_row"]).format(part=sql.SQL(part)))[0]
        if oldest is not None:
            return oldest
    return None


def _row(cursor: extensions.cursor, query: Any, values: Any = None) -> tuple[Any, ...]:
    cursor.execute(query, values)
    return cursor.fetchone()
