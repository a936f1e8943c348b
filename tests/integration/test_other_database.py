"""Another database under the old name: what was measured for the former one is never stored there, and is counted."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from outages import assert_counted_once
from scripted import answers, page, scripted
from statements import ask
from worker_process import Running, put, query, spec

from watcher.errors import OTHER_DATABASE
from watcher.screen import figures
from watcher.spool import rows_of
from watcher.store import migrations

# A worker that asks a database that is away again, and tells its state, sooner than others do.
HASTY = """
from watcher import green
green.patch()
from watcher import link, worker
link.RETRY_MAX_S, worker.TELL_S, worker.SEEN_S = 0.5, 0.25, 2.0
worker.main()
"""

IDLE = "SELECT bool_and(state = 'idle') FROM pg_stat_activity WHERE datname = '{}'"


class Name:
    """The name of a database, under which there may be one after the other.

    Args:
        dsn: of the first.
        superuser: the DSN of a database that stays.
        url: of the endpoints, which have other ids in each.
    """

    def __init__(self, dsn: str, superuser: str, url: str) -> None:
        self.dsn = dsn
        self._superuser = superuser
        self._name = re.search(r"/(\w+)\?", dsn)[1]
        self._url = url
        self._endpoints = [f"e{number}" for number in range(20)]
        self.fill()

    def fill(self) -> None:
        """Make the tables, and endpoints whose ids were others' before; agents get the same ids again."""
        migrations.migrate(self.dsn)
        put(self.dsn, *[spec(name, self._url) for name in self._endpoints])
        self._endpoints.reverse()

    def shut(self) -> None:
        """Let nobody in."""
        self._do(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false")
        self._do(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'")

    def drop(self) -> None:
        """Drop it and make another."""
        self._do(f"DROP DATABASE {self._name} WITH (FORCE)")
        self._do(f"CREATE DATABASE {self._name}")
        self.fill()

    def drop_tables(self) -> None:
        """Drop all that is in it and make that anew, under connections that stay."""
        ask(self.dsn, "DROP SCHEMA public CASCADE")
        ask(self.dsn, "CREATE SCHEMA public")
        self.fill()

    def idle(self) -> bool:
        """Tell whether nobody is amid a transaction in it."""
        return ask(self._superuser, IDLE.format(self._name)) == [(True,)]

    def _do(self, statement: str) -> None:
        with contextlib.closing(psycopg2.connect(self._superuser)) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)


@pytest.fixture(name="name")
def fixture_name(empty_database: str, server) -> Iterator[Name]:
    """Give a name with a first database, in which are endpoints."""
    with scripted(answers(page(b"hello"))) as port:
        yield Name(empty_database, server.dsn, f"http://127.0.0.1:{port}/")


@pytest.fixture(name="start")
def fixture_start(name: Name, tmp_path: Path) -> Iterator[Callable[[], Running]]:
    """Start workers on one data directory; those that still run at the end are ended."""
    with contextlib.ExitStack() as stack:

        def run() -> Running:
            worker = Running(name.dsn, tmp_path, ("-c", HASTY), batch_age_s=0.2)
            stack.callback(worker.end)
            return worker

        yield run


def settled(first: Running, second: Running, name: Name, tmp_path: Path, eventually: Callable[..., Any]) -> None:
    """See that a worker after the first stores its own results alone, and what it says of those of the first."""
    left = first.last()["spooled"]
    assert left > 0
    assert_counted_once(first)
    eventually(lambda: second.last().get("stored", 0) >= 20, 60)
    code, log = second.end()
    last = second.last()
    assert code == 0
    assert_counted_once(second)
    assert (last["recovered"], last["damaged"], last["dropped"]) == (left, left, 0)
    (said,) = [line for line in log.splitlines() if "set aside" in line]
    (aside,) = (tmp_path / "spool").glob("0-*.bad")
    assert said.startswith(f"{aside}: {figures.counted(left, 'result')} of another database than the database ")
    assert sum(rows_of(path.name) for path in aside.iterdir()) == left
    ended = f"to_timestamp({first.last()['at_us']} / 1e6)"
    assert query(name.dsn, f"SELECT min(time) > {ended} FROM metrics") == [(True,)]


def test_what_waits_while_no_worker_runs_is_not_for_another_database(
    name: Name, start: Callable[[], Running], tmp_path: Path, eventually
) -> None:
    first = start()
    eventually(lambda: first.last().get("stored", 0) >= 20, 60)
    name.shut()
    eventually(lambda: first.last()["spooled"] >= 5, 60)
    assert first.end()[0] == 0
    name.drop()
    settled(first, start(), name, tmp_path, eventually)


def hold(worker: Running, name: Name) -> bool:
    """Stop the process of a worker, unless it is amid a transaction."""
    worker.process.send_signal(signal.SIGSTOP)
    if not (held := name.idle()):
        worker.process.send_signal(signal.SIGCONT)
    return held


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("replaced", [Name.drop, Name.drop_tables])
def test_a_worker_that_meets_another_database_keeps_what_it_has_from_it_and_begins_anew(  # pylint: disable=too-many-arguments
    replaced: Callable[[Name], None], unseen: bool, name: Name, start: Callable[[], Running], tmp_path: Path, eventually
) -> None:
    first = start()
    eventually(lambda: first.last().get("stored", 0) >= 20, 60)
    if unseen:
        eventually(lambda: hold(first, name), 60)
    replaced(name)
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(60) == OTHER_DATABASE
    log = first.end()[1]
    assert "is another one than before" in log and "Traceback" not in log
    last = first.last()
    assert (last["buffered"], last["dropped"], last["damaged"]) == (0, 0, 0)
    assert query(name.dsn, "SELECT count(*) FROM metrics") == [(0,)]
    settled(first, start(), name, tmp_path, eventually)


def test_a_worker_that_began_with_the_copy_of_another_database_begins_anew(
    name: Name, start: Callable[[], Running], tmp_path: Path, eventually
) -> None:
    former = start()
    eventually(lambda: former.last().get("stored", 0) >= 20, 60)
    assert former.end()[0] == 0
    name.shut()
    first = start()
    eventually(lambda: first.last().get("spooled", 0) >= 20, 60)
    name.drop()
    assert first.process.wait(60) == OTHER_DATABASE
    assert "is another one than" in first.end()[1]
    assert query(name.dsn, "SELECT count(*) FROM metrics") == [(0,)]
    settled(first, start(), name, tmp_path, eventually)
