"""The watch, with probers that are plain functions: what is due is checked, what cannot be is missed and said."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event

from watcher import Endpoint, Status
from watcher.breath import next_turn
from watcher.errors import ProbeError
from watcher.hearing import Hearing
from watcher.ledger import Ledger
from watcher.models import Incident, Reason, Result
from watcher.plan import Plan
from watcher.schedule import phase_us
from watcher.shedding import Shedding
from watcher.watch import BURST_US, MISSED_ROWS, Watch
from watcher.witnesses import Witness

S = 1_000_000
NOW = 1_800_000_000 * S


class Bench:
    """A watch, what it kept, and the clock that it reads."""

    def __init__(self, concurrency: int = 10, **parts) -> None:
        self.kept: list[Result] = []
        self.incidents: list[Incident] = []
        self.time_us = NOW
        self.set_us = self.stepped_us = 0
        told = self.kept.append, self.incidents.append, lambda *_: None
        self.watch = Watch("here", concurrency, *told, self, **parts)

    def now_us(self) -> int:
        """Give the time that the test set."""
        return self.time_us

    def wall_us(self, at_us: int) -> int:
        """Give what the wall clock shows then."""
        return at_us + self.set_us

    def step_us(self) -> int:
        """Give by how much the test set the wall clock, once."""
        step_us, self.stepped_us = self.stepped_us, 0
        self.set_us += step_us
        return step_us

    def reach(self, time_us: int) -> None:
        """Let time pass until then, in steps that the watch follows."""
        while self.time_us < time_us:
            self.time_us = min(time_us, self.time_us + S // 10)
            self.watch.serve()
            next_turn()

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the watch run, its clock standing still, until a condition holds."""
        with gevent.Timeout(10):
            while not condition():
                self.watch.serve()
                next_turn()


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
    assert [result.time_us for result in gone][-4:] == [slot + at * S for at in (10, 15, 20, 25)]
    assert {result.reason for result in gone[-4:]} == {Reason.SUSPENDED}


def test_after_a_long_sleep_the_rows_are_bounded_and_say_how_many_they_stand_for(bench: Bench) -> None:
    bench.watch.put(plan(good, interval_s=5.0))
    bench.reach(NOW + 6 * S)
    before = len(bench.kept)
    bench.time_us += 86_400 * S
    bench.until(lambda: len(bench.kept) > before + MISSED_ROWS - 1)
    gone = [result for result in bench.kept[before:] if result.status is Status.MISSED]
    assert len(gone) == MISSED_ROWS + 1  # and the one that was due last
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


def test_after_a_sleep_there_is_no_burst(bench: Bench) -> None:
    for endpoint_id in range(1, 1001):
        bench.watch.put(plan(good, endpoint_id))
    bench.reach(NOW + 61 * S)
    before, checks = len(bench.kept), bench.watch.counts.checks
    bench.time_us += 1800 * S
    bench.watch.serve()
    next_turn()
    rows = bench.kept[before:]
    assert {row.reason for row in rows if row.status is Status.MISSED} == {Reason.SUSPENDED}
    assert bench.watch.counts.checks - checks <= 1.3 * 1000 / 60 * BURST_US / S + 1
    assert len({row.endpoint.id for row in rows}) == 1000
    assert all(NOW + 61 * S < row.time_us <= NOW + 1861 * S for row in rows if row.status is Status.MISSED)


def test_a_clock_set_forward_gives_rows_for_the_times_that_it_leapt_over_and_no_burst(bench: Bench) -> None:
    for endpoint_id in range(1, 101):
        bench.watch.put(plan(good, endpoint_id))
    bench.reach(NOW + 61 * S)
    before, checks = len(bench.kept), bench.watch.counts.checks
    bench.stepped_us = 3600 * S
    bench.watch.serve()
    next_turn()
    leapt = bench.kept[before:]
    assert {(row.status, row.reason) for row in leapt} == {(Status.MISSED, Reason.SUSPENDED)}
    assert {row.endpoint.id for row in leapt} == set(range(1, 101))
    assert all(bench.time_us < row.time_us <= bench.time_us + 3600 * S for row in leapt)
    first = next(row for row in leapt if row.endpoint.id == 1)
    assert first.detail == "the clock was set forward by 3600.0 s"
    assert bench.watch.counts.checks == checks
    assert sum(row.endpoint.id == 1 for row in leapt) == 60
    bench.reach(bench.time_us + 60 * S)
    assert bench.watch.counts.checks == checks + 100  # each once a minute, as before


@pytest.mark.parametrize("step_us", [3600 * S, -3600 * S])
def test_a_check_during_which_the_clock_was_set_has_no_times(bench: Bench, step_us: int) -> None:
    gate = Event()

    def prober(exchange) -> None:
        gate.wait()
        exchange.connect_us, exchange.ttfb_us = 1000, 3600 * S

    bench.watch.put(plan(prober))
    bench.reach(NOW + S)
    bench.until(lambda: bench.watch.in_flight == 1)
    bench.stepped_us = step_us
    gate.set()
    bench.until(lambda: any(row.detail == "the clock was set during the check" for row in bench.kept))
    (row,) = [row for row in bench.kept if "during" in str(row.detail)]
    assert (row.status, row.reason, row.latency_us, row.ttfb_us) == (Status.MISSED, Reason.SUSPENDED, None, None)
    assert NOW <= row.time_us - step_us <= NOW + S
    assert not bench.watch.counts.latency_us


def test_missed_slots_are_dated_by_the_clock_as_it_is_now(bench: Bench) -> None:
    gate = Event()
    bench.watch.put(plan(lambda exchange: gate.wait(), interval_s=5.0))
    bench.reach(NOW + S)
    bench.until(lambda: bench.watch.in_flight == 1)
    bench.stepped_us = -3600 * S
    bench.reach(NOW + 20 * S)
    rows = [row for row in bench.kept if row.reason is Reason.OVERLOAD]
    slot = first_slot(interval_s=5)
    assert rows
    assert [row.time_us + 3600 * S for row in rows] == [slot + 5 * S * number for number in range(1, len(rows) + 1)]
    gate.set()


def saturated(keep: int) -> Shedding:
    """Make a controller that keeps so much, and stays with it."""
    shedding = Shedding(100_000, 500_000)
    shedding.keep = keep
    shedding.words = "shed"
    shedding.second = lambda *_: False
    shedding.divide({0: 1})
    return shedding


def test_what_is_shed_is_a_row_and_the_lowest_priority_goes_first() -> None:
    bench = Bench(shedding=saturated(400))
    for endpoint_id in range(1, 61):
        bench.watch.put(plan(good, endpoint_id, priority=(endpoint_id - 1) // 20, interval_s=5.0))
    bench.reach(NOW + 10 * S)
    before = len(bench.kept)
    bench.reach(NOW + 110 * S)
    rows = bench.kept[before:]
    made = {priority: 0 for priority in range(3)}
    for row in rows:
        assert (row.status, row.reason, row.detail) in {
            (Status.UP, None, None),
            (Status.MISSED, Reason.OVERLOAD, "shed"),
        }
        made[row.endpoint.priority] += row.status is Status.UP
    assert len(rows) == pytest.approx(60 * 20, abs=3)
    assert made[0] == 0
    assert made[1] == pytest.approx(20 * 20 * 0.2, abs=8)
    assert made[2] == pytest.approx(20 * 20, abs=3)
    assert bench.watch.shedding.shed >= len(rows) - sum(made.values())


def test_while_it_sheds_what_waited_too_long_is_given_up() -> None:
    bench = Bench(concurrency=1, shedding=saturated(999))
    gate = Event()
    bench.watch.put(plan(lambda exchange: gate.wait(), 1))
    bench.reach(NOW + S)
    bench.until(lambda: bench.watch.in_flight == 1)
    bench.watch.put(plan(good, 2))
    bench.reach(NOW + 2 * S)
    bench.until(lambda: bench.watch.waiting == 1)
    gate.set()
    bench.until(lambda: len(bench.kept) == 2)
    (row,) = [row for row in bench.kept if row.endpoint.id == 2]
    assert (row.status, row.reason, row.detail) == (Status.MISSED, Reason.OVERLOAD, "shed")


def in_turn(probers: list) -> Callable[[object], None]:
    """Make a prober that does what each of these does, one after the other."""

    def prober(exchange) -> None:
        probers.pop(0)(exchange)

    return prober


def sick_or_well(sick: list) -> Callable[[object], None]:
    """Make a prober that fails as soon as the list holds something."""

    def prober(exchange) -> None:
        (bad if sick else good)(exchange)

    return prober


class Court:
    """A hearing with one witness that answers as the test says."""

    def __init__(self) -> None:
        self.answers = True
        self.hearing = Hearing([Witness("gateway", lambda: self.answers)], lambda: NOW)
        self.hearing.hear()


def test_a_failure_is_held_while_the_witnesses_are_heard_and_its_endpoint_is_busy_until_then() -> None:
    court, answers = Court(), [good, bad]
    bench = Bench(hearing=court.hearing)
    bench.watch.put(plan(in_turn(answers), interval_s=5.0))
    while answers:
        bench.reach(bench.time_us + S // 10)
    assert [row.status for row in bench.kept] == [Status.UP]
    assert not bench.incidents[1:]
    court.hearing.hear()
    assert [row.status for row in bench.kept] == [Status.UP, Status.DOWN]
    assert bench.incidents[-1].result.status is Status.DOWN


def test_when_the_agents_network_is_away_nothing_falls() -> None:
    court, sick = Court(), []
    bench = Bench(hearing=court.hearing, concurrency=200)
    for endpoint_id in range(1, 101):
        bench.watch.put(plan(sick_or_well(sick), endpoint_id, interval_s=5.0))
    bench.reach(NOW + 10 * S)
    assert bench.watch.standing[Status.UP] == 100
    sick.append(True)
    court.answers = False
    bench.reach(bench.time_us + S)
    court.hearing.hear()
    bench.reach(bench.time_us + 10 * S)
    fallen = [row for row in bench.kept if row.status is not Status.UP]
    assert {(row.status, row.reason) for row in fallen} == {(Status.MISSED, Reason.AGENT_NETWORK)}
    assert len(fallen) >= 200
    assert bench.watch.standing[Status.UP] == 100
    assert all(incident.result.status is Status.UP for incident in bench.incidents)


def test_what_is_held_at_the_end_is_a_row() -> None:
    court, answers = Court(), [good, bad]
    bench = Bench(hearing=court.hearing)
    bench.watch.put(plan(in_turn(answers), interval_s=5.0))
    bench.reach(NOW + 12 * S)
    assert not answers
    assert bench.watch.stop(10)
    assert [row.status for row in bench.kept if row.status is not Status.MISSED] == [Status.UP, Status.DOWN]


def test_what_accompanies_the_endpoints_is_checked_and_not_kept(bench: Bench) -> None:
    heard: list[Result] = []
    bench.watch.accompany(plan(good, -1, interval_s=1.0), heard.append)
    bench.reach(NOW + 10 * S)
    assert len(heard) == pytest.approx(10, abs=1)
    assert not bench.kept and not bench.watch.known() and not bench.watch.counts.checks
    bench.time_us += 60 * S
    bench.watch.serve()
    assert {row.reason for row in heard[11:]} <= {Reason.SUSPENDED}
    assert not bench.kept and not bench.watch.counts.missed


def test_what_cannot_be_checked_is_told_once_a_reason() -> None:
    told: list[Result] = []
    bench = Bench(unchecked=told.append)
    failing: list[ProbeError] = []

    def prober(exchange) -> None:
        good(exchange)
        for failure in failing:
            raise failure

    bench.watch.put(plan(prober))
    for reason, detail in ((Reason.CONFIG, "1"), (Reason.CREDENTIALS, "2"), (None, ""), (Reason.CONFIG, "3")):
        failing[:] = [ProbeError(reason, detail)] if reason else []
        made = bench.watch.counts.checks
        bench.reach(bench.time_us + 130 * S)
        bench.until(lambda made=made: bench.watch.counts.checks >= made + 2)
    assert [result.detail for result in told] == ["1", "2", "3"]
