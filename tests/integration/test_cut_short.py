"""A worker that is killed: what it had measured is stored but for the last second, and the gap says what it is."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from process_tree import processes_of, tell
from scripted import answers, page, scripted
from worker_process import Running, put, query, spec

from watcher.gaps import CUT_SHORT
from watcher.schedule import phase_us
from watcher.store import embedded, migrations

TALKATIVE = """
from watcher import green
green.patch()
from watcher import worker
worker.TELL_S = 0.25
worker.main()
"""
INTERVAL_US = 5_000_000
SOON_US = 1_250_000  # `agent.batch_age`, and the time between two lines of state
ENDPOINTS = 60


@pytest.fixture(scope="module", name="url")
def fixture_url() -> Iterator[str]:
    """Serve a page."""
    with scripted(answers(page(b"hello"))) as port:
        yield f"http://127.0.0.1:{port}/"


def fill(dsn: str, url: str) -> None:
    """Put the endpoints."""
    put(dsn, *[spec(f"e{number}", url) for number in range(ENDPOINTS)])


def life(dsn: str, data_dir: Path, eventually, checks: int, **job: object) -> Running:
    """Start a worker that sheds nothing, as a busy machine would have it, and let it make so many checks."""
    worker = Running(dsn, data_dir, ("-c", TALKATIVE), max_lag_s=10.0, max_late_s=10.0, **job)
    eventually(lambda: worker.last().get("checks", 0) >= checks and len(worker.lines) >= 12, 60)
    return worker


def assert_soon_safe(lines: Sequence[dict[str, Any]]) -> None:
    """See that what the worker had produced was safe as soon as a batch is old, by its own account of both.

    A machine that is busy holds up the one or the other line, so it is most of them that count.
    """
    late = 0
    for number, line in enumerate(lines):
        safe = line["produced"] - line["buffered"]
        before = [other["produced"] for other in lines[:number] if other["at_us"] <= line["at_us"] - SOON_US]
        late += safe < max(before, default=0)
    assert late <= len(lines) // 4


def slots(dsn: str, condition: str) -> dict[int, list[int]]:
    """Give the slots of the grid that rows stand for, by endpoint, in order."""
    rows = query(
        dsn,
        "SELECT endpoint_id, (extract(epoch FROM time) * 1e6)::bigint FROM metrics"
        f" WHERE {condition} ORDER BY endpoint_id, time",
    )
    found: dict[int, list[int]] = {}
    for endpoint_id, time_us in rows:
        since = time_us - phase_us(endpoint_id, "here", INTERVAL_US)
        found.setdefault(endpoint_id, []).append((since + 5_000) // INTERVAL_US)
    return found


def assert_without_a_hole(dsn: str, killed_us: int) -> None:
    """See that each slot of the time is a row, and that none which was measured before the kill is told as missed."""
    told = slots(dsn, f"detail LIKE '{CUT_SHORT}%'")
    assert told
    measured = slots(dsn, f"status <> 'missed' AND time < to_timestamp({killed_us} / 1e6)")
    for endpoint_id, numbers in slots(dsn, "true").items():
        assert set(numbers) == set(range(numbers[0], numbers[-1] + 1)), endpoint_id
        numbers = told.get(endpoint_id, [])
        assert not set(numbers) & set(measured[endpoint_id])
        assert len(set(numbers)) == len(numbers)
    assert query(dsn, f"SELECT DISTINCT status::text, reason::text FROM metrics WHERE detail LIKE '{CUT_SHORT}%'") == [
        ("missed", "suspended")
    ]


def test_a_killed_worker_loses_no_more_than_a_second_and_the_next_one_tells_the_gap(
    database: str, url: str, tmp_path: Path, eventually
) -> None:
    fill(database, url)
    first = life(database, tmp_path, eventually, checks=ENDPOINTS + 30)
    first.process.kill()
    killed_us = time.time_ns() // 1000
    first.end()
    last = first.last()
    ((stored,),) = query(database, "SELECT count(*) FROM metrics")
    assert stored >= last["stored"] == last["produced"] - last["buffered"]
    before = [line["produced"] for line in first.lines if line["at_us"] < killed_us - 2_500_000]
    assert stored >= max(before)
    assert_soon_safe(first.lines)
    second = life(database, tmp_path, eventually, checks=ENDPOINTS)
    eventually(lambda: query(database, f"SELECT 1 FROM metrics WHERE detail LIKE '{CUT_SHORT}%'"), 60)
    code, log = second.end()
    assert code == 0
    assert_without_a_hole(database, killed_us)
    assert f"{CUT_SHORT}; " in log
    assert not (tmp_path / "running/0.json").exists()


def test_a_worker_whose_supervisor_was_killed_leaves_a_gap_that_is_told(
    database: str, url: str, tmp_path: Path, eventually
) -> None:
    fill(database, url)
    first = life(database, tmp_path, eventually, checks=ENDPOINTS)
    first.process.stdin.close()  # as the kernel does it for one that is no more
    assert first.process.wait(30) == 0
    orphaned_us = time.time_ns() // 1000
    first.end()
    assert first.last()["buffered"] == 0
    second = life(database, tmp_path, eventually, checks=ENDPOINTS)
    eventually(lambda: query(database, f"SELECT 1 FROM metrics WHERE detail LIKE '{CUT_SHORT}%'"), 60)
    assert second.end()[0] == 0
    assert_without_a_hole(database, orphaned_us)


def test_a_worker_that_is_killed_while_the_database_hangs_had_all_but_the_last_seconds_on_disk(
    data_dir: Path, url: str, tmp_path: Path, eventually
) -> None:
    with embedded.serve(data_dir, lambda line: None) as server:
        migrations.migrate(server.dsn)
        fill(server.dsn, url)
        first = life(server.dsn, tmp_path, eventually, checks=ENDPOINTS)
        frozen = processes_of(server.pid)
        tell(frozen, signal.SIGSTOP)
        began = len(first.lines)
        eventually(lambda: len(first.lines) >= began + 14, 60)
        first.process.kill()
        killed_us = time.time_ns() // 1000
        tell(frozen, signal.SIGCONT)
        first.end()
        assert first.last()["database"] == "ok"  # it was not given up yet
        second = life(server.dsn, tmp_path, eventually, checks=1)
        eventually(lambda: second.last()["spooled"] == 0, 60)
        until = f"to_timestamp({killed_us} / 1e6)"
        ((stored,),) = query(server.dsn, f"SELECT count(*) FROM metrics WHERE status <> 'missed' AND time < {until}")
        before = [line["produced"] for line in first.lines if line["at_us"] < killed_us - 2_500_000]
        assert stored >= max(before)
        assert second.end()[0] == 0
