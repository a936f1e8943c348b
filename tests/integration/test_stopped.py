"""A worker that does not run, or hardly: no row lies about the site for it.

The site is the test server, in a process of its own, which answers after a delay that counts from the arrival of the
request. What the worker's own pause adds is lag, lateness or a missed check.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_process import Running, put, query, spec

from watcher.testserver.process import ServerProcess

DELAY_S = 1.0
EARLY_S = 0.005  # two clocks, one of which may be slewed: 500 ppm at most (adjtimex(2)), and the timer of the site
STOP_S = 3.0  # longer than the timeout of a check
TIMEOUT_S = 2.0
ENDPOINTS = 150  # every 5 s: 30 of them wait for their answer at any time
ROWS = """
    SELECT status::text, reason::text, extract(epoch FROM time)::float8 AS began, latency_us, lag_us, late_us, detail
      FROM metrics ORDER BY time
"""


@pytest.fixture(name="site")
def fixture_site() -> Iterator[ServerProcess]:
    """Serve."""
    with ServerProcess() as server:
        yield server


@pytest.fixture(name="worker")
def fixture_worker(database: str, data_dir: Path) -> Iterator[Callable[[], Running]]:
    """Start a worker."""
    (data_dir / "spool").mkdir(parents=True)
    workers: list[Running] = []

    def begin() -> Running:
        workers.append(Running(database, data_dir))
        return workers[-1]

    yield begin
    for one in workers:
        with contextlib.suppress(ProcessLookupError):
            one.process.send_signal(signal.SIGCONT)
        one.end()


def rows(database: str) -> list[dict[str, Any]]:
    """Read what was stored."""
    names = ("status", "reason", "began", "latency_us", "lag_us", "late_us", "detail")
    return [dict(zip(names, row, strict=True)) for row in query(database, ROWS)]


def test_a_worker_that_was_stopped_lies_in_no_row(
    database: str, site: ServerProcess, worker: Callable[[], Running], eventually
) -> None:
    put(database, *[spec(f"e{n}", f"{site.url}/{n}?delay={DELAY_S}s", timeout_s=TIMEOUT_S) for n in range(ENDPOINTS)])
    running = worker()
    eventually(lambda: running.last().get("up") == ENDPOINTS, 40)
    eventually(lambda: running.last()["in_flight"] > 5, 20)
    stopped_at = time.time()
    running.process.send_signal(signal.SIGSTOP)
    time.sleep(STOP_S)  # what is tested
    running.process.send_signal(signal.SIGCONT)
    went_on_at = time.time()
    checks = running.last()["checks"]
    eventually(lambda: running.last()["checks"] > checks + ENDPOINTS, 30)
    assert running.end()[0] == 0
    found = rows(database)
    assert [row for row in found if row["status"] not in ("up", "missed")] == []
    assert {row["reason"] for row in found if row["status"] == "missed"} <= {"suspended", "overload"}
    up = [row for row in found if row["status"] == "up"]
    assert [row for row in up if not DELAY_S - EARLY_S <= row["latency_us"] / 1e6 < DELAY_S + STOP_S / 3] == []
    waited = [row for row in up if stopped_at - DELAY_S / 2 < row["began"] < stopped_at]
    assert waited, "no check was under way"
    assert min(row["lag_us"] for row in waited) / 1e6 > STOP_S / 2
    assert [row for row in found if stopped_at + 0.1 < row["began"] < went_on_at - 0.1 and row["status"] == "up"] == []


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_cpu_that_others_take_is_lag_not_latency(
    database: str, site: ServerProcess, worker: Callable[[], Running], eventually
) -> None:
    own, servers, *_ = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(site.pid, {servers})
    put(database, *[spec(f"e{n}", f"{site.url}/{n}?delay=50ms", timeout_s=TIMEOUT_S) for n in range(ENDPOINTS)])
    running = worker()
    eventually(lambda: running.last().get("up") == ENDPOINTS, 40)
    pinned(running.process.pid, own)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(thief(own))
        begun_at, checks = time.time(), running.last()["checks"]
        eventually(lambda: running.last()["checks"] > checks + 2 * ENDPOINTS, 60)
        ended_at = time.time()
    assert running.end()[0] == 0
    found = [row for row in rows(database) if begun_at < row["began"] < ended_at]
    assert [row for row in found if row["status"] not in ("up", "missed")] == []
    up = [row for row in found if row["status"] == "up"]
    excess_us = statistics.fmean(row["latency_us"] - 50_000 for row in up)
    own_us = statistics.fmean(row["lag_us"] + row["late_us"] for row in up)
    assert own_us > 4_000, "nobody stole anything"
    assert 0 <= excess_us < own_us / 2


def pinned(pid: int, core: int) -> None:
    """Keep all threads of a process on one core, behind everybody else on it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
        os.setpriority(os.PRIO_PROCESS, int(task.name), 10)


@contextlib.contextmanager
def thief(core: int) -> Iterator[None]:
    """Take all of a core that nobody else takes."""
    command = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile os.getppid() == {os.getpid()}: pass"
    with subprocess.Popen([sys.executable, "-c", command]) as process:
        try:
            yield
        finally:
            process.kill()
