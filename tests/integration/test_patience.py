"""Threads that wait for a database which accepts and never answers: they wait no longer than they should."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from green_process import run_green
from process_tree import processes_of, tell
from worker_process import query

from watcher.agent.folding import Folding
from watcher.config.settings import Database
from watcher.errors import DatabaseUnavailable
from watcher.store import embedded, migrations
from watcher.store.connection import connect, transaction
from watcher.store.patience import patience


@pytest.fixture(name="server")
def fixture_server(prepared_dir: Path) -> Iterator[embedded.Server]:
    """Run a server of the test's own."""
    with embedded.serve(prepared_dir, lambda line: None) as server:
        yield server


@contextmanager
def frozen(server: embedded.Server) -> Iterator[None]:
    """Have a server and all its processes stopped."""
    processes = processes_of(server.pid)
    tell(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        tell(processes, signal.SIGCONT)


def test_a_statement_ends_when_the_patience_does(server: embedded.Server) -> None:
    with closing(connect(server.dsn, name="test", autocommit=True)) as connection:
        with patience(connection, 60.0), transaction(connection) as cursor:
            cursor.execute("SELECT 1")
        with frozen(server), pytest.raises(DatabaseUnavailable), patience(connection, 0.3):
            with transaction(connection) as cursor:
                cursor.execute("SELECT 1")
        assert connection.closed


def test_a_wait_can_be_ended_by_another_thread(server: embedded.Server) -> None:
    with closing(connect(server.dsn, name="test", autocommit=True)) as connection, patience(connection, 60.0) as cut:
        threading.Timer(0.2, cut).start()
        with pytest.raises(DatabaseUnavailable), transaction(connection) as cursor:
            cursor.execute("SELECT pg_sleep(60)")


GREEN = """
import os, signal, sys
import gevent
from watcher.errors import DatabaseUnavailable
from watcher.store import connection
connection.ANSWER_S = 0.3
held = connection.connect(sys.argv[1], name="green", autocommit=True)
backend = held.get_backend_pid()
os.kill(backend, signal.SIGSTOP)
try:
    with gevent.Timeout(30), connection.transaction(held) as cursor:
        cursor.execute("SELECT 1")
except DatabaseUnavailable as error:
    print(error)
finally:
    os.kill(backend, signal.SIGCONT)
"""


def test_a_green_process_does_not_wait_for_ever_either(server: embedded.Server) -> None:
    assert "no answer within 0.3 s" in run_green(GREEN, server.dsn)


def test_folding_ends_while_the_database_hangs(server: embedded.Server, eventually: Callable[..., Any]) -> None:
    migrations.migrate(server.dsn)
    folding = Folding(Database(), lambda text: None)
    with closing(connect(server.dsn, name="test")) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE rollup_progress IN ACCESS EXCLUSIVE MODE")
        folding.tend(server.dsn, 0.0)
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'watcher rollups' AND wait_event_type = 'Lock'"
        eventually(lambda: query(server.dsn, waits), 30)
        with frozen(server):
            closing_thread = threading.Thread(target=folding.close, daemon=True)
            closing_thread.start()
            closing_thread.join(30)
            assert not closing_thread.is_alive()
