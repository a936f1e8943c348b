"""How endpoints and agents are now, for `watcher status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from psycopg2 import extensions

from watcher.errors import DatabaseError
from watcher.store import migrations
from watcher.store.connection import place, transaction
from watcher.store.queries import queries

LEVEL = 7  # of the schema: the migration that brought rollups


class Endpoint(msgspec.Struct, frozen=True):
    """An enabled endpoint by its last check; `status` None: never checked. `since` is there of what is not up."""

    name: str
    status: str | None
    since: datetime | None
    reason: str | None
    detail: str | None
    checked_at: datetime | None
    location: str | None
    host: str | None
    labels: dict[str, Any]


class Agent(msgspec.Struct, frozen=True):
    """An agent; `away`: not seen for three minutes. What it says of itself is of the last three."""

    location: str
    host: str
    variant: str
    version: str
    seen_at: datetime
    away: bool
    saturated: bool
    suspect: bool


class Standing(msgspec.Struct, frozen=True):
    """All of them by the server's time, those that are down first."""

    at: datetime
    endpoints: list[Endpoint]
    agents: list[Agent]


def read(connection: extensions.connection, labels: Mapping[str, str]) -> Standing:
    """Read how endpoints with these labels are, and the agents.

    Raises:
        DatabaseError: the database refuses or breaks, or has no tables of watcher's yet.
    """
    if migrations.level(connection) < LEVEL:
        raise DatabaseError(f"{place(connection.dsn)} is not ready; run `watcher db migrate`, or an agent")
    with transaction(connection) as cursor:
        cursor.execute("SELECT now(), set_config('jit', 'off', true)")  # to compile it takes longer than to run it
        at, _ = cursor.fetchone()
        cursor.execute(queries("standing")["endpoints"], {"labels": msgspec.json.encode(labels).decode()})
        endpoints = [Endpoint(*row) for row in cursor]
        cursor.execute(queries("standing")["agents"])
        return Standing(at, endpoints, [Agent(*row) for row in cursor])


def counts(standing: Standing) -> dict[str, int]:
    """Count the endpoints by their status."""
    counted = Counter(one.status or "unchecked" for one in standing.endpoints)
    return {status: counted[status] for status in ("down", "degraded", "missed", "unchecked", "up")}
