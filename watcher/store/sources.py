"""Where endpoints come from: a file, a plugin, an import."""

from __future__ import annotations

from psycopg2 import extensions

from watcher.store.connection import transaction
from watcher.store.queries import queries


def counts(connection: extensions.connection) -> dict[str, int]:
    """Give each source with the number of its endpoints that are enabled."""
    with transaction(connection) as cursor:
        cursor.execute(queries("sources")["counts"])
        return dict(cursor.fetchall())
