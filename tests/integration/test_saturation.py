"""A real worker with more to do than it can: it sheds, the lowest priority first, and says so."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import page, request, scripted
from worker_process import Running, put, query, spec

from watcher.agent.truth import Truth
from watcher.canary import FIELD

ENDPOINTS = 600  # every 5 s: 120 checks a second, besides the first ones
CONCURRENCY = 3
AFTER = 250  # 50 checks a second, of which 30 can be made when each takes twice as long
ANSWER_S = 0.05  # so 60 checks a second can be made


@pytest.fixture(name="site")
def _site() -> Iterator[str]:
    def serve(connection) -> None:
        request(connection)
        time.sleep(ANSWER_S)
        connection.sendall(page(b"hello"))

    with scripted(serve) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(name="canary")
def _canary() -> Iterator[str]:
    with contextlib.closing(Truth(FIELD)) as truth:
        yield truth.start()


def test_an_overloaded_worker_sheds_the_lowest_priority_and_says_so(
    database: str, site: str, canary: str, tmp_path: Path, eventually
) -> None:
    put(database, *[spec(f"e{number}", site, priority=5 * (number % 2)) for number in range(ENDPOINTS)])
    worker = Running(database, tmp_path, concurrency=CONCURRENCY, max_late_s=0.2, batch_age_s=0.2, canary=canary)
    try:
        eventually(lambda: worker.last().get("shedding_permille", 0) > 0, 40)
        eventually(lambda: worker.last()["shed"] > 100, 20)
        final = worker.last()
    finally:
        code, log = worker.end()
    assert code == 0
    assert "saturated: more than 100 ms of lag or 200 ms late (accuracy.max_lag, max_late)" in log
    assert final["missed"] >= final["shed"]
    shed = dict(
        query(
            database,
            "SELECT e.priority, count(*) FROM metrics m JOIN endpoints e ON e.id = m.endpoint_id"
            " WHERE m.status = 'missed' AND m.reason = 'overload' AND m.detail LIKE 'shed: %' GROUP BY 1",
        )
    )
    assert shed[0] > 2 * shed.get(5, 0)
    assert final["canary_checks"] > 0
    assert final["error_p50_us"] < 20_000


QUICKLY = """
from watcher import green
green.patch()
from watcher import shedding, worker
shedding.CALM_S = shedding.PATIENCE_S = shedding.SETTLE_S = shedding.PROOF_S = 1
worker.main()
"""  # the worker, but for the patience that it has with itself


def test_a_worker_that_was_overloaded_makes_all_checks_again(database: str, tmp_path: Path, eventually) -> None:
    slow = threading.Event()

    def serve(connection) -> None:
        request(connection)
        if slow.is_set():
            time.sleep(ANSWER_S * 2)
        connection.sendall(page(b"hello"))

    with scripted(serve) as port:
        put(database, *[spec(f"e{number}", f"http://127.0.0.1:{port}/") for number in range(AFTER)])
        program = ("-c", QUICKLY)
        worker = Running(database, tmp_path, program, concurrency=CONCURRENCY, max_late_s=0.4, batch_age_s=0.2)
        try:
            eventually(lambda: worker.last().get("up") == AFTER, 60)
            slow.set()
            eventually(lambda: worker.last()["shed"] > 0, 60)
            slow.clear()
            eventually(lambda: worker.last()["shedding_permille"] == 0, 90)
            shed = worker.last()["shed"]
            eventually(lambda: worker.last()["checks"] > 2 * AFTER + shed, 60)
        finally:
            code, log = worker.end()
    assert code == 0
    assert "saturated: more than" in log and "no longer saturated: all checks are made again" in log
    assert {row[0] for row in query(database, "SELECT DISTINCT status::text FROM metrics")} == {"up", "missed"}


def test_a_worker_that_keeps_up_sheds_nothing_and_knows_its_own_error(
    database: str, canary: str, tmp_path: Path, eventually
) -> None:
    with scripted(lambda connection: request(connection) and connection.sendall(page(b"hello"))) as port:
        put(database, *[spec(f"e{number}", f"http://127.0.0.1:{port}/") for number in range(20)])
        worker = Running(database, tmp_path, canary=canary)
        try:
            eventually(lambda: worker.last().get("canary_checks", 0) >= 3, 30)
            eventually(lambda: worker.last()["up"] == 20, 30)
        finally:
            code, _log = worker.end()
    final = worker.last()
    assert code == 0
    assert (final["shed"], final["shedding_permille"], final["network_away"]) == (0, 0, False)
    assert final["checks"] == final["stored"]  # of the canary nothing is kept
    assert 0 <= final["error_p50_us"] <= final["error_max_us"]
    assert query(database, "SELECT count(*) FROM metrics WHERE endpoint_id < 0") == [(0,)]


def test_a_worker_that_was_stopped_for_three_seconds_tells_no_lie(database: str, tmp_path: Path, eventually) -> None:
    with scripted(lambda connection: request(connection) and connection.sendall(page(b"hello"))) as port:
        put(database, *[spec(f"e{number}", f"http://127.0.0.1:{port}/") for number in range(100)])
        worker = Running(database, tmp_path)
        try:
            eventually(lambda: worker.last().get("up") == 100, 30)
            worker.process.send_signal(signal.SIGSTOP)
            time.sleep(3)  # what is tested is a time in which it does not run
            worker.process.send_signal(signal.SIGCONT)
            checks = worker.last()["checks"]
            eventually(lambda: worker.last()["checks"] >= checks + 20, 30)
        finally:
            code, _log = worker.end()
    assert code == 0
    rows = query(database, "SELECT status::text, reason::text, count(*), max(latency_us) FROM metrics GROUP BY 1, 2")
    counts = {row[:2]: row[2] for row in rows}
    assert set(counts) <= {("up", None), ("missed", "suspended"), ("missed", "overload")}
    assert 25 <= counts["missed", "suspended"] <= 75  # 20 a second were due, the last half second is made up for
    assert max(row[3] or 0 for row in rows) < 2_500_000
