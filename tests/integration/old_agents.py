"""Agents of versions that were, for tests of migrations: what they said to the database, word for word.

`history/NAME-COMMIT.sql` is `watcher/sql/NAME.sql` as of that commit: all that there were at a level of the schema.
"""

from __future__ import annotations

import json
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import extensions

from watcher.store.queries import parse

HISTORY = Path(__file__).with_name("history")
VERSIONS = {  # the first level that a version worked with: its files
    1: {"agents": "de7e96a", "endpoints": "de7e96a", "metrics": "de7e96a"},
    5: {"agents": "f60bf42", "endpoints": "f60bf42", "metrics": "de7e96a"},
}
DAY = "2026-03-01"
DAY_US = 1772323200 * 1_000_000  # date -u -d 2026-03-01 +%s


def bring_to(dsn: str, level: int) -> None:
    """Bring an empty database to a level, as the agents of that time did."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE watcher_migrations (level int PRIMARY KEY, name text, applied_at timestamptz)")
        connection.commit()
        for reached in range(1, level + 1):
            (file,) = resources.files("watcher").joinpath("sql/migrations").glob(f"{reached:04d}_*.sql")
            cursor.execute(file.read_text("utf-8"))
            cursor.execute("INSERT INTO watcher_migrations VALUES (%s, %s, now())", (reached, file.name))
            if reached == 2:
                cursor.execute(f"CREATE TABLE metrics_{DAY.replace('-', '')} (LIKE metrics INCLUDING ALL)")
                cursor.execute(
                    f"ALTER TABLE metrics ATTACH PARTITION metrics_{DAY.replace('-', '')}"
                    f" FOR VALUES FROM ('{DAY} 00:00+00') TO ('{DAY} 00:00+00'::timestamptz + interval '1 day')"
                )
            connection.commit()


class OldAgent:
    """An agent of the version that came with a level. Each `round` is all that one does."""

    def __init__(self, dsn: str, level: int) -> None:
        version = VERSIONS[max(first for first in VERSIONS if first <= level)]
        self._queries = {
            name: parse((HISTORY / f"{name}-{commit}.sql").read_text("utf-8")) for name, commit in version.items()
        }
        self._connection = psycopg2.connect(dsn)
        self._level = level
        self._cursor = ""
        self.stored = 0

    def close(self) -> None:
        """Go away."""
        self._connection.close()

    def round(self, number: int) -> None:
        """Register, sync, load, look for changes, store a row with every column and one with hardly any, be seen."""
        who = {"location": "here", "host": "old", "variant": "a", "version": "0.1", "clock": "kernel"}
        ((agent_id,),) = self._do("agents", "register", who)
        self._sync([self._spec("kept", number), self._spec(f"endpoint {number}", number)])
        rows = self._do("endpoints", "load", {})
        self._do("endpoints", "changes", {"since": self._cursor or rows[0][0]})
        self._cursor = rows[0][0]
        if self._level >= 2:
            self.store(agent_id, rows[0][1], number)
        if self._level >= 5:
            numbers = ("checks", "missed", "shed", "lag_p99_us", "late_p99_us", "canary_checks", "error_p50_us")
            health = {name: number for name in numbers} | {"error_max_us": None, "suspect": False}
            self._do("agents", "add_health", {**health, "agent_id": agent_id, "worker": number})
        self._do("agents", "seen", {"id": agent_id})

    def _spec(self, name: str, number: int) -> dict[str, Any]:
        spec = {
            "name": name, "url": "https://example.com/ü?a='b", "interval_s": 5.5, "timeout_s": 0.25, "enabled": True,
            "labels": {"team": "\"x\""}, "locations": ["here", "there"],
            "options": {"n": number, "deep": [{"a": None}]},
        }  # fmt: skip
        return spec | {"priority": 3} if self._level >= 5 else spec

    def _sync(self, specs: list[dict[str, Any]]) -> None:
        with self._connection, self._connection.cursor() as cursor:
            for name in (
                "lock_sync", "create_wanted", "add_wanted", "analyze_wanted", "taken", "count_revived",
                "update_wanted", "insert_wanted", "remove_unwanted",
            ):  # fmt: skip
                cursor.execute(self._queries["endpoints"][name], {"source": "file:old", "specs": json.dumps(specs)})

    def store(self, agent_id: int, endpoint_id: int, number: int) -> None:
        """Store a slice of two rows."""
        begin(self._connection)
        with self._connection, self._connection.cursor() as cursor:
            full, few = DAY_US + number * 1000 + 7, DAY_US + number * 1000 + 507
            late = "degraded" if self._level >= 4 else "down"
            literals = [
                f"{{{endpoint_id},{endpoint_id}}}", f"{{{full},{few}}}", f"{{up,{late}}}", '{NULL,"status"}',
                "{200,503}", "{1500,NULL}", "{1,NULL}", "{200,NULL}", "{300,NULL}", "{400,NULL}", "{599,NULL}",
                "{1234,NULL}", "{true,NULL}", "{17,NULL}", "{33,NULL}", '{"192.0.2.1",NULL}', '{"a \\"word\\"",NULL}',
            ]  # fmt: skip
            cursor.execute(self._queries["metrics"]["insert"], (agent_id, *literals))
            self.stored += cursor.rowcount

    def _do(self, file: str, name: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(self._queries[file][name], values)
            return cursor.fetchall() if cursor.description else []


def begin(connection: extensions.connection) -> None:
    """Be sure that nothing is open: each batch is one transaction."""
    connection.rollback()


def everything(dsn: str) -> dict[str, list[dict[str, Any]]]:
    """Read every row of every table, as PostgreSQL writes it, in an order of its own."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname <> 'watcher_migrations'"
        )
        found = {}
        for (name,) in cursor.fetchall():
            cursor.execute(f"SELECT row_to_json({name})::text FROM {name} ORDER BY 1")
            found[name] = [json.loads(row) for (row,) in cursor]
        return found
