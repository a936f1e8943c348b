"""A worker that makes a few hundred checks a second, good and bad ones: what it holds stays the same.

WATCHER_TEST_SOAK_SECONDS says for how long; CI looks for five minutes. An hour at 2,000 a second is `bench/soak.py`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from worker_process import Running, put, spec

from watcher.config import EndpointSpec
from watcher.testserver.bad import KINDS
from watcher.testserver.process import ServerProcess

ENDPOINTS = 1500  # every INTERVAL_S
INTERVAL_S = 5
BAD_EVERY = 20
SECONDS = float(os.environ.get("WATCHER_TEST_SOAK_SECONDS", "5"))
WARM = 3  # times that each was checked before it is looked at
ROUND = 300  # checks
WITHIN_S = 60
WIDE = ("br-bomb", "zstd-bomb")  # their decoders' windows stay with each thread that once met one: a step, some time
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


class Held(NamedTuple):
    """What a process holds."""

    descriptors: int
    threads: int
    resident_bytes: int


SLACK = Held(40, 2, 4 << 20)


def held(pid: int) -> Held:
    """Look at a process from outside."""
    process = Path("/proc", str(pid))
    pages = int((process / "statm").read_text(encoding="ascii").split()[1])
    return Held(len(list((process / "fd").iterdir())), len(list((process / "task").iterdir())), pages * PAGE_BYTES)


def least(worker: Running, eventually: Callable[..., object]) -> Held:
    """Give the least that a worker held in a round of checks: what is in flight comes and goes."""
    until, seen = worker.last()["checks"] + ROUND, []

    def is_over() -> bool:
        seen.append(held(worker.process.pid))
        return worker.last()["checks"] >= until

    eventually(is_over, WITHIN_S)
    return Held(*map(min, zip(*seen, strict=True)))


def specs(site: ServerProcess) -> list[EndpointSpec]:
    """Make endpoints, one in twenty of which is bad, each in its way."""
    bad = itertools.cycle(f"{site.url}/bad/{name}" for name in KINDS if name not in WIDE)
    urls = [next(bad) if number % BAD_EVERY == 0 else f"{site.url}/?{number}" for number in range(ENDPOINTS)]
    return [spec(str(number), url, timeout_s=1.0, options={"regex": "[a-z]"}) for number, url in enumerate(urls)]


def test_what_a_worker_holds_stays_the_same(database: str, tmp_path: Path, eventually: Callable[..., object]) -> None:
    with ServerProcess() as site:
        put(database, *specs(site))
        worker = Running(database, tmp_path)
        try:
            eventually(lambda: worker.last().get("checks", 0) > WARM * ENDPOINTS, WITHIN_S)
            before = least(worker, eventually)
            until = worker.last()["checks"] + SECONDS * ENDPOINTS / INTERVAL_S
            eventually(lambda: worker.last()["checks"] >= until, WITHIN_S + 2 * SECONDS)
            after = least(worker, eventually)
        finally:
            code, _log = worker.end()
    assert code == 0
    grown = Held(*(now - then for now, then in zip(after, before, strict=True)))
    assert all(more <= most for more, most in zip(grown, SLACK, strict=True)), (before, after)
