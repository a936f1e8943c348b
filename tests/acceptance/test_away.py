"""An agent that starts while its database is away: real servers, real processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from agent_process import TWO_SITES, AgentProcess, Eventually, Write

from watcher.store import embedded, migrations

CHECKED = "SELECT DISTINCT name FROM metrics JOIN endpoints ON endpoints.id = endpoint_id ORDER BY name"
AWAY = "meanwhile endpoints are checked as the table had them at"


class Database:
    """A server that comes and goes."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._stack = ExitStack()
        self.dsn = self.start()

    def start(self) -> str:
        """Start it, and give its address, which is always the same."""
        return self._stack.enter_context(embedded.serve(self._data_dir, lambda line: None)).dsn

    def stop(self) -> None:
        """Stop it."""
        self._stack.close()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement and give its rows."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(name="away")
def fixture_away(prepared_dir: Path) -> Iterator[Database]:
    """Give a server of the test's own."""
    database = Database(prepared_dir)
    yield database
    database.stop()


@pytest.fixture(name="path")
def fixture_path(write: Write, away: Database, site: str) -> Path:
    """Write the configuration."""
    return write(TWO_SITES.format(dsn=away.dsn, site=site))


def copy_of(path: Path) -> list[dict[str, Any]]:
    """Read the copy of the first worker: its head, then its rows."""
    file = path.parent / "data/endpoints/0.ndjson"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def run_once(path: Path, away: Database, eventually: Eventually) -> None:
    """Run an agent until its endpoints are copied, then end it, then the database."""
    with AgentProcess(path) as agent:
        eventually(lambda: {row.get("name") for row in copy_of(path)} >= {"page", "broken"}, 60)
        assert agent.end() == 0, agent.everything()
    away.stop()


def last(agent: AgentProcess, what: str) -> int:
    """Give a number of the last summary."""
    found = re.findall(rf"{what} ([\d,]+)", "".join(agent.output))
    return int(found[-1].replace(",", "")) if found else 0


def test_it_checks_from_its_copy_and_takes_the_table_as_a_difference(
    path: Path, away: Database, eventually: Eventually
) -> None:
    run_once(path, away, eventually)
    away.start()
    before = away.ask("SELECT count(*) FROM metrics")[0][0]
    ids = dict(away.ask("SELECT name, id FROM endpoints"))
    assert {row["name"]: row["id"] for row in copy_of(path)[1:]} == ids
    away.stop()
    path.write_text(path.read_text("utf-8").replace("status/500", "status/503"), "utf-8")
    with AgentProcess(path, "--log-level", "debug") as agent:
        agent.wait_for("down   broken")
        eventually(lambda: last(agent, "spooled") >= 2, 60)
        assert len(agent.said(AWAY)) == 1, agent.everything()
        assert not agent.said("waiting for") and not agent.said("tried again"), agent.everything()
        away.start()
        agent.wait_for("the database is back")
        eventually(lambda: away.ask("SELECT 1 FROM metrics WHERE http_status = 503"), 60)
        eventually(lambda: last(agent, "spooled") == 0, 60)
        assert agent.end() == 0, agent.everything()
    assert not agent.said("Traceback")
    assert away.ask("SELECT DISTINCT http_status FROM metrics ORDER BY 1") == [(200,), (500,), (503,)]
    assert dict(away.ask("SELECT name, id FROM endpoints")) == ids
    ((after,),) = away.ask("SELECT count(*) FROM metrics")
    assert f"stored {after - before:,}, buffered 0, spooled 0" in agent.output[-1], "nothing is lost, nothing is twice"


def test_it_brings_its_endpoints_into_a_database_made_anew(
    write: Write, database: str, site: str, eventually: Eventually
) -> None:
    with AgentProcess(write(TWO_SITES.format(dsn=database, site=site))) as agent:
        agent.wait_for("down   broken")
        with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            connection.commit()
        migrations.migrate(database)
        with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            eventually(lambda: cursor.execute(CHECKED) or cursor.fetchall() == [("broken",), ("page",)], 60)
        assert agent.end() == 0, agent.everything()
    assert len(agent.said("ended with exit code 4")) == 1, agent.everything()
    (reloaded,) = agent.said("endpoints.toml: ")
    assert reloaded.endswith("2 added\n") and not agent.said("Traceback")


def test_an_older_agent_says_that_the_database_is_newer(write: Write, database: str, site: str) -> None:
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO watcher_migrations (level, name) VALUES (99, '0099_future.sql')")
        connection.commit()
    with AgentProcess(write(TWO_SITES.format(dsn=database, site=site))) as agent:
        assert agent.process.wait(60) == 1
    assert len(agent.said("is at level 99 of the schema")) == 1 and agent.said("install the newer watcher")
