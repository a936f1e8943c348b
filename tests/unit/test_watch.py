"""The watch, with probers that are plain functions: what is due is checked, what cannot be is missed and said."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event

from watcher import Endpoint, Status
from watcher.errors import ProbeError
from watcher.ledger import Ledger
from watcher.models import Incident, Reason, Result
from watcher.plan import Plan
from watcher.schedule import phase_us
from watcher.watch import MISSED_ROWS, Watch

S = 1_000_000
NOW = 1_800_000_000 * S


class Bench:
    """A watch, what it kept, and the clock that it reads."""

    def __init__(self, concurrency: int = 10) -> None:
        self.kept: list[Result] = []
        self.incidents: list[Incident] = []
        self.time_us = NOW
        self.watch = Watch("here", concurrency, self.kept.append, self.incidents.append, lambda *_: None, self)

    def now_us(self) -> int:
        """Give the time that the test set."""
        return self.time_us

    def reach(self, time_us: int) -> None:
        """Let time pass until then, in steps that the watch follows."""
        while self.time_us < time_us:
            self.time_us = min(time_us, self.time_us + S // 10)
            self.watch.serve()
            gevent.sleep(0)

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the watch run, its clock standing still, until a condition holds."""
        with gevent.Timeout(10):
            while not condition():
                self.watch.serve()
                gevent.sleep(0)


@pytest.fixture
def bench() -> Bench:
    """Give a watch."""
    return Bench()


def plan(prober: Callable[[object], None], endpoint_id: int = 7, **values) -> Plan:
    """Make a plan that is due every 60 s."""
    endpoint = Endpoint(id=endpoint_id, name=f"e{endpoint_id}", url="test://x", **values)
    return Plan(endpoint, prober, Ledger().account("test"))


def good(exchange) -> None:
    """Measure something."""
    exchange.connect_us = 1000


def bad(exchange) -> None:
    """Find the site down."""
    raise ProbeError(Reason.CONNECT, "refused")


def first_slot(endpoint_id: int = 7, interval_s: int = 60) -> int:
    """Give the first time after NOW on the grid."""
    interval_us = interval_s * S
    return NOW + (phase_us(endpoint_id, "here", interval_us) - NOW) % interval_us


def test_a_new_endpoint_is_checked_soon_and_then_on_its_grid(bench: Bench) -> None:
    bench.watch.put(plan(good))
    bench.reach(NOW + S)
    bench.until(lambda: len(bench.kept) == 1)
    bench.reach(first_slot() + 61 * S)
    bench.until(lambda: len(bench.kept) == 3)
    assert {result.status for result in bench.kept} == {Status.UP}
    assert bench.watch.standing == {Status.UP: 1, Status.DEGRADED: 0, Status.DOWN: 0}


def test_a_change_of_status_is_told_once_and_a_miss_is_no_change(bench: Bench) -> None:
    answers = iter([good, bad, bad, busy, good])

    def in_turn(exchange) -> None:
        next(answers)(exchange)

    bench.watch.put(plan(in_turn, interval_s=5.0))
    while len(bench.kept) < 5:
        bench.reach(bench.time_us + S)
    told = [(incident.before, incident.result.status) for incident in bench.incidents]
    assert told == [(None, Status.UP), (Status.UP, Status.DOWN), (Status.DOWN, Status.UP)]


def busy(exchange) -> None:
    """Have no room."""
    raise ProbeError(Reason.OVERLOAD, "no room")


def test_slots_that_went_by_while_nothing_ran_are_rows(bench: Bench) -> None:
    bench.watch.put(plan(good, interval_s=5.0))
    bench.reach(NOW + 6 * S)
    bench.until(lambda: len(bench.kept) >= 1)
    before = len(bench.kept)
    slot = first_slot(interval_s=5)
    bench.time_us = slot + 27 * S + S // 2  # the machine slept; slots at 10, 15, 20 went by, the one at 25 is late
    bench.until(lambda: len(bench.kept) >= before + 4)
    gone = [result for result in bench.kept[before:] if result.status is Status.MISSED]
    assert [result.time_us for result in gone][-3:] == [slot + 10 * S, slot + 15 * S, slot + 20 * S]
    assert {result.reason for result in gone[-3:]} <= {Reason.SUSPENDED, Reason.OVERLOAD}


def test_after_a_long_sleep_the_rows_are_bounded_and_say_how_many_they_stand_for(bench: Bench) -> None:
    bench.watch.put(plan(good, interval_s=5.0))
    bench.reach(NOW + 6 * S)
    before = len(bench.kept)
    bench.time_us += 86_400 * S
    bench.until(lambda: len(bench.kept) > before + MISSED_ROWS - 1)
    gone = [result for result in bench.kept[before:] if result.status is Status.MISSED]
    assert len(gone) == MISSED_ROWS
    assert str(86_400 // 5 - MISSED_ROWS)[:3] in gone[0].detail


def test_one_check_of_an_endpoint_at_a_time(bench: Bench) -> None:
    gate = Event()
    bench.watch.put(plan(lambda exchange: gate.wait(), interval_s=5.0))
    bench.reach(NOW + 16 * S)
    bench.until(lambda: any(result.reason is Reason.OVERLOAD for result in bench.kept))
    assert bench.watch.in_flight == 1
    assert {result.detail for result in bench.kept} == {"the check before it was still running"}
    gate.set()


def test_a_check_that_ends_just_after_the_next_slot_came_costs_no_slot(bench: Bench) -> None:
    gates = [Event(), Event()]
    waiting = iter(gates)
    bench.watch.put(plan(lambda exchange: next(waiting).wait(), interval_s=5.0))
    bench.reach(NOW + S // 10)
    bench.until(lambda: bench.watch.in_flight == 1)
    bench.reach(first_slot(interval_s=5) + S // 5)
    gates[0].set()
    bench.until(lambda: len(bench.kept) == 1)
    gates[1].set()
    bench.until(lambda: len(bench.kept) == 2)
    assert {result.status for result in bench.kept} == {Status.UP}


def test_what_finds_no_room_in_time_is_missed_as_overload() -> None:
    bench = Bench(concurrency=1)
    gate = Event()
    bench.watch.put(plan(lambda exchange: gate.wait(), 1))
    bench.reach(NOW + S)
    bench.until(lambda: bench.watch.in_flight == 1)
    bench.watch.put(plan(good, 2))
    bench.reach(NOW + 2 * S)
    bench.until(lambda: bench.watch.waiting == 1)
    bench.time_us += 6 * S
    gate.set()
    bench.until(lambda: len(bench.kept) == 2)
    (missed,) = [result for result in bench.kept if result.status is Status.MISSED]
    assert (missed.endpoint.id, missed.reason) == (2, Reason.OVERLOAD)
    assert missed.late_us >= 5 * S


def test_what_is_dropped_is_checked_no_more(bench: Bench) -> None:
    closed = []

    class Prober:
        """Holds something between checks."""

        def __call__(self, exchange) -> None:
            good(exchange)

        @staticmethod
        def close() -> None:
            """Note it."""
            closed.append(True)

    bench.watch.put(plan(Prober(), interval_s=5.0))
    bench.reach(NOW + 6 * S)
    bench.until(lambda: len(bench.kept) >= 1)
    bench.watch.drop(7)
    count = len(bench.kept)
    bench.reach(NOW + 30 * S)
    assert (len(bench.kept), closed, bench.watch.standing[Status.UP]) == (count, [True], 0)


def test_a_stop_waits_for_what_is_in_flight(bench: Bench) -> None:
    gate = Event()
    bench.watch.put(plan(lambda exchange: gate.wait()))
    bench.reach(NOW + S)
    bench.until(lambda: bench.watch.in_flight == 1)
    assert not bench.watch.stop(0.01)
    (row,) = bench.kept
    assert (row.status, row.reason) == (Status.MISSED, Reason.SUSPENDED)
    gate.set()
    assert bench.watch.stop(10)


def test_a_slot_that_waits_at_the_end_is_a_row_too(bench: Bench) -> None:
    gate = Event()
    bench.watch.put(plan(lambda exchange: gate.wait(), interval_s=5.0))
    bench.reach(NOW + S // 10)
    bench.until(lambda: bench.watch.in_flight == 1)
    slot = first_slot(interval_s=5)
    bench.reach(slot + S // 5)
    gate.set()
    assert bench.watch.stop(10)
    rows = {(result.status, result.reason) for result in bench.kept}
    assert rows == {(Status.UP, None), (Status.MISSED, Reason.SUSPENDED)}
    assert [result.time_us for result in bench.kept if result.status is Status.MISSED] == [slot]
