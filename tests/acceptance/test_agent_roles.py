"""An agent and a report whose users have no more rights than `watcher db roles` gives them."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg2
import pytest
from agent_process import AGENT, AgentProcess, Eventually, Run, Write
from psycopg2.extensions import make_dsn

NUMBERS = count()
ENDPOINTS = '[[endpoints]]\nname = "shop"\nurl = "{site}/"\ninterval = 5\n'


def rows(dsn: str, statement: str) -> list[tuple]:
    """Execute a statement and give the rows, if it has any."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(name="names")
def fixture_names() -> dict[str, str]:
    """Name roles as no other test does, and a user for each."""
    number = next(NUMBERS)
    return {kind: f"{kind}_{number}" for kind in ("migrate", "write", "read")}


def configuration(write: Write, dsn: str, site: str) -> Path:
    """Write a configuration."""
    return write(AGENT.format(dsn=dsn.replace("\\", "\\\\")) + ENDPOINTS.format(site=site))


def make(run: Run, path: Path, names: dict[str, str], *options: str):
    """Run `watcher db roles`."""
    roles = [part for kind, name in names.items() for part in (f"--{kind}-role", name)]
    return run("db", "roles", "--config", str(path), *roles, *options)


def user(dsn: str, role: str) -> str:
    """Make a user in a role."""
    rows(dsn, f"CREATE USER {role}_user IN ROLE {role}")
    return make_dsn(dsn, user=f"{role}_user")


def test_the_roles_are_made_once(database: str, write: Write, run: Run, names: dict[str, str]) -> None:
    path = configuration(write, database, "http://localhost")
    script = make(run, path, names, "--sql")
    assert script.returncode == 0 and f'CREATE ROLE "{names["write"]}" NOLOGIN;' in script.stdout
    assert rows(database, f"SELECT count(*) FROM pg_roles WHERE rolname = '{names['write']}'") == [(0,)]
    first, second = make(run, path, names), make(run, path, names)
    assert first.returncode == 0 and "made; let users join them" in first.stdout and not first.stderr
    assert second.returncode == 0 and "nothing to do" in second.stdout
    logins = f"SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname IN {tuple(names.values())}"
    assert set(rows(database, logins)) == {(False, False)}


def test_an_agent_that_only_writes_stores_folds_and_keeps_days(
    database: str, write: Write, run: Run, site: str, names: dict[str, str], eventually: Eventually
) -> None:
    assert make(run, configuration(write, database, site), names).returncode == 0
    rows(database, "SELECT watcher_add_partition('metrics', '2020-01-01 00:00+00')")
    agents = configuration(write, user(database, names["write"]), site)
    with AgentProcess(agents) as agent:
        eventually(lambda: rows(database, "SELECT count(*) >= 1 FROM metrics WHERE status = 'up'")[0][0], 60)
        agent.wait_for("dropped 1 day of results")
        days = "SELECT count(*) >= 4 FROM pg_inherits WHERE inhparent = 'metrics'::regclass"
        assert rows(database, days) == [(True,)]
        eventually(lambda: rows(database, "SELECT minutes_to IS NOT NULL FROM rollup_progress") == [(True,)], 120)
        assert agent.end() == 0
        usual = ("dropped 1 day", "SIGTERM")
        assert all(any(text in line for text in usual) for line in agent.trouble), agent.everything()
    reader = user(database, names["read"])
    readers = configuration(write, reader, site)
    report = run("report", "--config", str(readers), "--format", "json")
    assert report.returncode == 0, report.stderr
    assert json.loads(report.stdout)["total"]["up"] >= 1
    status = run("db", "status", "--config", str(readers))
    assert status.returncode == 0 and "level" in status.stdout, status.stderr
    now = run("status", "--config", str(readers))
    assert now.returncode == 0 and "\nagent " in now.stdout, now.stderr


def test_an_agent_that_may_not_migrate_says_what_to_run(
    database: str, write: Write, run: Run, site: str, names: dict[str, str]
) -> None:
    assert make(run, configuration(write, database, site), names).returncode == 0
    newest = "SELECT max(level) FROM watcher_migrations"
    level = rows(database, f"DELETE FROM watcher_migrations WHERE level = ({newest}) RETURNING level - 1")[0][0]
    path = configuration(write, user(database, names["write"]), site)
    with AgentProcess(path) as agent:
        assert agent.process.wait(60) == 2
    (line,) = [line for line in agent.trouble if line.startswith("watcher: ")]
    assert f"at level {level} of the schema" in line
    assert f'run `watcher db migrate` as a member of "{names["migrate"]}"' in line


def test_a_reader_cannot_watch(database: str, write: Write, run: Run, site: str, names: dict[str, str]) -> None:
    assert make(run, configuration(write, database, site), names).returncode == 0
    path = configuration(write, user(database, names["read"]), site)
    with AgentProcess(path) as agent:
        assert agent.process.wait(60) == 1
    assert "permission denied" in agent.everything()
    listed = run("endpoints", "list", "--config", str(path))
    assert listed.returncode == 1 and "permission denied for table endpoints" in listed.stderr


@pytest.mark.parametrize("name", ["", "x" * 64, "a\tb"])
def test_a_name_that_is_none_is_told(database: str, write: Write, run: Run, name: str) -> None:
    done = run("db", "roles", "--config", str(configuration(write, database, "http://x")), "--write-role", name)
    assert done.returncode == 2 and "a role's name has 1 to 63 bytes" in done.stderr
