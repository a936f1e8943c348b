"""Statements of a test itself, to prepare a database and to see what came to be in it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from watcher.store.connection import Connection, connect, transaction


def execute(connection: Connection, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Execute a statement in a transaction of its own and give the rows, if it has any."""
    with transaction(connection) as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def ask(dsn: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Execute a statement on a connection of its own."""
    with closing(connect(dsn, name="test")) as connection:
        return execute(connection, statement, *values)


def waiting(dsn: str) -> set[str]:
    """Name the connections to a database that wait for a lock."""
    found = ask(
        dsn,
        "SELECT application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
    )
    return {name for (name,) in found}
