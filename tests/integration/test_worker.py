"""One worker process and a real database: it follows the table, loses nothing, drains, ends with its supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from process_tree import processes_of, tell
from scripted import page, request, scripted
from worker_process import Running, put, query, spec

from watcher.store import embedded, migrations


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start workers; those that still run at the end are ended."""
    running: list[Running] = []

    def run(dsn: str, **job: Any) -> Running:
        running.append(Running(dsn, tmp_path, **job))
        return running[-1]

    yield run
    for one in running:
        one.end()


@pytest.fixture
def site() -> Iterator[str]:
    """Serve pages; /bad is a 500."""

    def serve(connection) -> None:
        bad = b" /bad" in request(connection)
        connection.sendall(page(b"hello", status="500 No" if bad else "200 OK"))

    with scripted(serve) as port:
        yield f"http://127.0.0.1:{port}"


def test_each_check_becomes_a_row(database: str, site: str, start, eventually) -> None:
    put(database, spec("good", f"{site}/"), spec("bad", f"{site}/bad"), spec("gone", "http://127.0.0.1:9/"))
    worker = start(database)
    eventually(lambda: len(query(database, "SELECT DISTINCT endpoint_id FROM metrics")) == 3, 20)
    assert worker.end()[0] == 0
    rows = query(
        database,
        "SELECT DISTINCT e.name, m.status::text, m.reason::text, m.http_status, host(m.address), a.location"
        " FROM metrics m JOIN endpoints e ON e.id = m.endpoint_id JOIN agents a ON a.id = m.agent_id ORDER BY 1",
    )
    assert rows == [
        ("bad", "down", "status", 500, "127.0.0.1", "here"),
        ("gone", "down", "connect", None, "127.0.0.1", "here"),
        ("good", "up", None, 200, "127.0.0.1", "here"),
    ]
    (sums,) = query(
        database,
        "SELECT bool_and(latency_us = connect_us + ttfb_us + transfer_us), bool_and(tls_us IS NULL AND dns_us IS NULL)"
        " FROM metrics WHERE status = 'up'",
    )
    assert sums == (True, True)


def test_a_worker_follows_the_table(database: str, site: str, start, eventually) -> None:
    put(database, spec("one", f"{site}/"))
    worker = start(database)
    eventually(lambda: worker.last().get("up") == 1, 20)
    far = spec("far", f"{site}/", locations=("elsewhere",))
    put(database, spec("one", f"{site}/bad"), spec("two", f"{site}/"), far)
    eventually(lambda: (worker.last()["endpoints"], worker.last()["up"], worker.last()["down"]) == (2, 1, 1), 20)
    put(database, spec("two", f"{site}/"))
    eventually(lambda: worker.last()["endpoints"] == 1, 20)
    query_delete(database, "two")
    eventually(lambda: worker.last()["endpoints"] == 0, 20)
    assert worker.end()[0] == 0


def query_delete(dsn: str, name: str) -> None:
    """Delete an endpoint for good, as a user may with psql."""
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM endpoints WHERE name = %s", (name,))
        connection.commit()


def test_an_endpoint_that_cannot_be_used_is_missed_and_said(database: str, site: str, start, eventually) -> None:
    put(database, spec("good", f"{site}/"), spec("odd", f"{site}/", options={"no_such_option": 1}))
    worker = start(database)
    eventually(lambda: query(database, "SELECT 1 FROM metrics WHERE reason = 'config'"), 20)
    eventually(lambda: worker.last()["up"] == 1, 20)
    code, log = worker.end()
    assert code == 0
    assert "no_such_option" in log and '"odd"' in log


def test_workers_divide_the_endpoints(database: str, site: str, start, eventually) -> None:
    put(database, *[spec(f"e{number}", f"{site}/") for number in range(40)])
    workers = [start(database, index=index, of=2) for index in range(2)]
    eventually(lambda: sum(worker.last().get("endpoints", 0) for worker in workers) == 40, 20)
    assert all(worker.last()["endpoints"] > 5 for worker in workers)


def start_on(dsn: str, site: str, start, eventually) -> Running:
    """Start a worker on a new database, with 50 endpoints that were all checked once."""
    migrations.migrate(dsn)
    put(dsn, *[spec(f"e{number}", f"{site}/") for number in range(50)])
    worker = start(dsn, batch_age_s=0.2)
    eventually(lambda: worker.last().get("stored", 0) >= 50, 20)
    return worker


def test_a_database_outage_loses_no_row(site: str, start, eventually, data_dir: Path) -> None:
    with embedded.serve(data_dir, lambda line: None) as server:
        worker = start_on(server.dsn, site, start, eventually)
        os.kill(server.pid, signal.SIGQUIT)
        eventually(lambda: worker.last()["spooled"] >= 20, 30)
        assert worker.last()["database"] != "ok"
        eventually(server.ensure, 20)
        eventually(lambda: worker.last()["spooled"] == 0 and worker.last()["database"] == "ok", 60)
        code, log = worker.end()
        final = worker.last()
        assert code == 0
        assert "away" in log and "back" in log
        assert (final["buffered"], final["spooled"], final["dropped"]) == (0, 0, 0)
        ((count, distinct),) = query(
            server.dsn, "SELECT count(*), count(DISTINCT (endpoint_id, time)) FROM metrics WHERE status <> 'missed'"
        )
        assert count == distinct == final["checks"]
        gaps = query(
            server.dsn,
            "SELECT 1 FROM (SELECT time - lag(time) OVER (PARTITION BY endpoint_id ORDER BY time) AS gap FROM metrics)"
            " AS gaps WHERE gap > interval '8 seconds'",
        )
        assert not gaps


def test_a_database_that_hangs_costs_no_row_at_the_end(site: str, start, eventually, data_dir: Path) -> None:
    with embedded.serve(data_dir, lambda line: None) as server:
        worker = start_on(server.dsn, site, start, eventually)
        frozen = processes_of(server.pid)
        tell(frozen, signal.SIGSTOP)
        try:
            checks = worker.last()["checks"]
            eventually(lambda: worker.last()["checks"] >= checks + 20, 20)
            code, _log = worker.end()
        finally:
            tell(frozen, signal.SIGCONT)
        final = worker.last()
        assert code == 0
        assert final["spooled"] > 0
        assert final["stored"] + final["spooled"] == final["checks"] + final["missed"]
        assert (final["buffered"], final["dropped"]) == (0, 0)


def test_what_could_not_be_stored_before_the_end_is_stored_by_the_next_run(
    site: str, start, eventually, data_dir: Path
) -> None:
    with embedded.serve(data_dir, lambda line: None) as server:
        migrations.migrate(server.dsn)
        put(server.dsn, *[spec(f"e{number}", f"{site}/") for number in range(20)])
        first = start(server.dsn)
        eventually(lambda: first.last().get("up") == 20, 20)
        os.kill(server.pid, signal.SIGQUIT)
        eventually(lambda: first.last()["spooled"] > 0, 30)
        assert first.end()[0] == 0
        checks = first.last()["checks"]
        eventually(server.ensure, 20)
        second = start(server.dsn)
        eventually(lambda: second.last().get("spooled", 1) == 0, 30)
        until = f"to_timestamp({first.last()['at_us']} / 1e6)"
        ((count,),) = query(server.dsn, f"SELECT count(*) FROM metrics WHERE time <= {until}")
        assert count >= checks


def test_a_worker_without_a_database_waits_for_it(data_dir: Path, site: str, start, eventually) -> None:
    with embedded.serve(data_dir, lambda line: None) as server:
        migrations.migrate(server.dsn)
        put(server.dsn, spec("one", f"{site}/"))
        dsn = server.dsn
    worker = start(dsn)
    assert b"waiting for the database" in worker.process.stderr.readline()
    with embedded.serve(data_dir, lambda line: None):
        eventually(lambda: worker.last().get("up") == 1, 30)
        assert worker.end()[0] == 0


def test_a_worker_ends_with_its_supervisor(database: str, site: str, start, eventually) -> None:
    put(database, spec("one", f"{site}/"))
    worker = start(database)
    eventually(lambda: worker.last().get("up") == 1, 20)
    worker.process.stdin.close()
    assert worker.process.wait(20) == 0
    assert worker.last()["stored"] == worker.last()["checks"]


def test_a_job_that_is_none_is_refused_for_good() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "watcher.worker"], input=b"{}\n", capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 3
    assert b"index" in done.stderr
