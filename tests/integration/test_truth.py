"""The canary and its server: real checks of it, over the way of all checks."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import gevent
import pytest

from watcher import Status
from watcher.agent.truth import Truth
from watcher.canary import FIELD, Canary, endpoint
from watcher.models import Result
from watcher.plan import compile_plan
from watcher.probe import probe


@pytest.fixture(name="truth")
def _truth() -> Iterator[str]:
    truth = Truth(FIELD)
    yield truth.start()
    truth.close()


@pytest.fixture(name="checked")
def _checked(anchor, plugins, truth: str) -> Callable[[Canary], Result]:
    del anchor  # held for the session

    def run(canary: Canary) -> Result:
        result = probe(canary.watched_by(compile_plan(endpoint(truth), plugins)))
        canary.hear(result)
        return result

    return run


def test_a_check_of_it_is_one_like_any_other(checked: Callable[[Canary], Result]) -> None:
    canary = Canary(5_000)
    result = checked(canary)
    assert (result.status, result.http_status, result.dns_us, result.detail) == (Status.UP, 200, None, None)
    assert (canary.checks, canary.missed) == (1, 0)


def test_a_server_that_is_late_makes_no_error(checked: Callable[[Canary], Result]) -> None:
    """Who holds the interpreter, for the server is a thread of this process, is no part of the instrument."""
    canary = Canary(5_000)
    ended = threading.Event()

    def compute() -> None:
        while not ended.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        latencies = [checked(canary).latency_us for _ in range(40)]
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    median_us, _most = canary.errors_us()
    assert median_us < sorted(latencies)[len(latencies) // 2] / 2
    assert canary.checks == 40


def test_a_hub_that_is_held_up_makes_no_error_but_lag(checked: Callable[[Canary], Result]) -> None:
    canary = Canary(5_000)

    def hold_up() -> None:
        for _ in range(20):
            time.sleep(0.01)
            gevent.sleep(0)

    holding = gevent.spawn(hold_up)
    results = [gevent.spawn(checked, canary) for _ in range(10)]
    gevent.joinall([holding, *results])
    lags_us = [result.value.lag_us for result in results]
    median_us, _most = canary.errors_us()
    assert max(lags_us) > 10_000 > median_us


def test_a_client_that_says_nothing_holds_it_up_for_a_moment_only(
    truth: str, checked: Callable[[Canary], Result]
) -> None:
    with socket.create_connection(("127.0.0.1", int(truth.rstrip("/").rpartition(":")[2]))):
        assert checked(Canary(5_000)).status is Status.UP


def test_at_its_end_nobody_answers() -> None:
    truth = Truth(FIELD)
    url = truth.start()
    truth.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])))
    truth.close()
