"""Who measures, and how well: the tables `agents` and `agent_health`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def add_health(connection: extensions.connection, agent_id: int, worker: int, row: Mapping[str, Any]) -> None:
    """Store how well a worker measured in the last minute: what `watcher.health.Health.take` gives."""
    with transaction(connection) as cursor:
        cursor.execute(queries("agents")["add_health"], {**row, "agent_id": agent_id, "worker": worker})


def forget_health(connection: extensions.connection, keep_days: int) -> None:
    """Delete what `add_health` stored so many days ago."""
    with transaction(connection) as cursor:
        cursor.execute(queries("agents")["forget_health"], {"keep_days": keep_days})
