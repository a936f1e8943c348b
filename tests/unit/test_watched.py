"""What the watch knows of an endpoint from check to check: its handshakes, who it is, what waits at the end."""

from __future__ import annotations

import gevent
import msgspec
import pytest
from test_turnstile import compute
from test_watch import NOW, Bench, S, bad, good, plan

from watcher import Status
from watcher.models import Reason
from watcher.schedule import phase_us


@pytest.fixture(name="bench")
def fixture_bench() -> Bench:
    """Give a watch."""
    return Bench()


@pytest.mark.parametrize("tls_us", [500, None])
def test_checks_that_had_a_handshake_begin_one_after_the_other(bench: Bench, tls_us: int | None) -> None:
    """Of any protocol, in turns of the hub; others begin together."""
    turns: list[int] = []

    def measure(exchange) -> None:
        exchange.tls_us = tls_us
        turns.append(gevent.get_hub().loop.iteration)
        compute()

    together = [number for number in range(2000) if phase_us(number, "here", 5 * S) < S // 10][:20]
    for endpoint_id in together:
        bench.watch.put(plan(measure, endpoint_id, interval_s=5.0))
    bench.reach(NOW + S)
    bench.until(lambda: len(turns) == 20)
    bench.reach(NOW + 5 * S - 1)
    bench.time_us += S // 5
    bench.until(lambda: len(turns) == 40)
    assert (len(set(turns[20:])) > 5) is (tls_us is not None)


def test_an_id_that_is_another_endpoint_now_takes_over_nothing_of_the_former(bench: Bench) -> None:
    """As it is where the database was made anew; a new URL is no other endpoint."""
    former = plan(bad, interval_s=5.0)
    bench.watch.put(former)
    bench.reach(NOW + S)
    bench.watch.put(former._replace(endpoint=msgspec.structs.replace(former.endpoint, url="test://y")))
    bench.reach(NOW + 20 * S)
    assert [incident.before for incident in bench.incidents] == [None]
    bench.watch.put(plan(good)._replace(endpoint=msgspec.structs.replace(former.endpoint, name="another")))
    bench.reach(NOW + 40 * S)
    told = [(incident.endpoint.name, incident.before, incident.result.status) for incident in bench.incidents]
    assert told == [("e7", None, Status.DOWN), ("another", None, Status.UP)]
    assert bench.watch.standing == {Status.UP: 1, Status.DEGRADED: 0, Status.DOWN: 0}


def test_checks_that_have_not_begun_at_the_end_are_one_row_each_and_nobody_waits_for_them(bench: Bench) -> None:
    for endpoint_id in range(1, 21):
        bench.watch.put(plan(good, endpoint_id, interval_s=5.0))
    bench.time_us += S // 4
    bench.watch.serve()
    waiting = bench.watch.waiting
    assert waiting == 20
    assert bench.watch.stop(10.0)
    assert [row.reason for row in bench.kept] == [Reason.SUSPENDED] * waiting
    assert len({row.endpoint.id for row in bench.kept}) == waiting
