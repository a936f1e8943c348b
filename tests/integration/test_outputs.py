"""Outputs of a real worker: receivers that are dead or silent slow down nothing, and what they miss is counted."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from scripted import page, request, scripted, silent
from worker_process import Running

from watcher.config import EndpointSpec
from watcher.store import connection as store_connection
from watcher.store import endpoints

COUNT = 40
# as `python -m watcher.worker`, with room for few results, since 50,000 would take a test too long
WORKER = "from watcher import green; green.patch(); from watcher import outlets, worker; {}; worker.main()"


@pytest.fixture(name="start")
def fixture_start(tmp_path: Path, database: str) -> Iterator[Callable[..., Running]]:
    """Start a worker with endpoints of a site of its own, checked every 5 s; ended when the test fails before."""
    running: list[Running] = []

    def serve(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(page(b"hello"))

    with scripted(serve) as port:

        def run(room: int = 50_000, **plugins: Any) -> Running:
            site = f"http://127.0.0.1:{port}/"
            specs = [
                EndpointSpec(name=f"e{number}", url=site, interval_s=5.0, timeout_s=2.0, source="test")
                for number in range(COUNT)
            ]
            with contextlib.closing(store_connection.connect(database, name="test")) as connection:
                endpoints.sync(connection, specs, "test")
                connection.commit()
            program = "-c", WORKER.format(f"outlets.RESULTS_MAX = {room}")
            running.append(Running(database, tmp_path, program, batch_age_s=0.1, plugins=plugins))
            return running[-1]

        yield run
        for one in running:
            if not one.process.stderr.closed:
                one.process.kill()
                one.end()


def rows(dsn: str) -> dict[str, int]:
    """Count the results by status."""
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status::text, count(*) FROM metrics GROUP BY 1")
        return dict(cursor.fetchall())


def test_results_reach_a_file_and_statsd(
    database: str, tmp_path: Path, start: Callable[..., Running], eventually: Callable[..., Any]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        place = f"127.0.0.1:{server.getsockname()[1]}"
        worker = start(ndjson={"path": str(tmp_path / "a.ndjson")}, statsd={"address": place})
        eventually(lambda: worker.last().get("checks", 0) >= COUNT, 20)
        assert worker.end()[0] == 0
        received = []
        with contextlib.suppress(BlockingIOError):
            while True:
                received += server.recv(65_536).decode().split("\n")
    lines = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    stored = rows(database)
    assert len(lines) == sum(stored.values()) and stored["up"] >= COUNT
    assert {line["name"] for line in lines} == {f"e{number}" for number in range(COUNT)}
    counted = [line for line in received if line.startswith("watcher.checks:1|c|")]
    assert len(counted) == len(lines)
    assert worker.last()["outputs_dropped"] == {}


def test_receivers_that_are_dead_or_silent_slow_down_nothing(
    database: str, tmp_path: Path, start: Callable[..., Running], eventually: Callable[..., Any]
) -> None:
    reached = threading.Event()

    def never(connection: socket.socket) -> None:
        reached.set()
        silent(connection)

    with scripted(never) as port:
        worker = start(
            room=10,
            otlp={"url": f"http://127.0.0.1:{port}/", "interval": 1, "timeout": 30},
            statsd={"address": f"unix:{tmp_path}/none.socket"},
            ndjson={"path": str(tmp_path / "a.ndjson")},
        )
        eventually(reached.is_set, 20)
        told = len(worker.lines)
        eventually(lambda: len(worker.lines) > told + 1, 20)
        before = worker.last()["checks"]
        eventually(lambda: worker.last()["checks"] >= before + COUNT // 2, 20)
        code, log = worker.end()
    assert code == 0
    stored = rows(database)
    assert set(stored) == {"up"} and stored["up"] >= COUNT  # none was missed
    written = (tmp_path / "a.ndjson").read_text().splitlines()
    dropped = worker.last()["outputs_dropped"]
    assert len(written) + dropped.get("ndjson", 0) == stored["up"] and dropped.get("ndjson", 0) < COUNT
    assert dropped["statsd"] == stored["up"]
    plugins = worker.last()["plugins"]
    assert plugins["statsd"]["errors"] > 0 and plugins["statsd"]["calls"] == 0
    assert plugins.get("ndjson", {"errors": 0})["errors"] == 0
    assert COUNT // 2 <= dropped["otlp"] <= stored["up"]  # all since it hangs
    assert "plugin statsd" in log and "No such file or directory" in log
    assert "output statsd does not keep up or fails: " in log and "output otlp does not keep up or fails: " in log
