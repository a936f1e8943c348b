"""Who measures: the table `agents`."""

from __future__ import annotations

from psycopg2 import extensions

from watcher.store.connection import transaction
from watcher.store.queries import queries


def register(
    connection: extensions.connection, location: str, host: str, variant: str, version: str, clock: str
) -> int:
    """Give the id of this host, location and variant, which stays the same over restarts; note version and clock."""
    values = {"location": location, "host": host, "variant": variant, "version": version, "clock": clock}
    with transaction(connection) as cursor:
        cursor.execute(queries("agents")["register"], values)
        return cursor.fetchone()[0]


def seen(connection: extensions.connection, agent_id: int) -> None:
    """Note that the agent is alive now."""
    with transaction(connection) as cursor:
        cursor.execute(queries("agents")["seen"], {"id": agent_id})
