"""Whose a failure is: witnesses that answer as the test says, results that are held until they did."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from watcher import Endpoint, Status
from watcher.hearing import BY_LAG, BY_NETWORK, HELD_MOST, Hearing, of_lag
from watcher.models import NOT_THE_SITE, Reason, Result
from watcher.witnesses import DOUBTS_MOST, Witness

S = 1_000_000
NOW = 1_800_000_000 * S


class Court:
    """A hearing with two witnesses, what it said, and who took which result."""

    def __init__(self, *names: str) -> None:
        self.answers = dict.fromkeys(names or ("resolver", "gateway"), True)
        self.gate = Event()
        self.gate.set()
        self.time_us = NOW
        self.said: list[str] = []
        self.kept: list[Result] = []
        self.witnesses = [Witness(name, self._asks(name)) for name in self.answers]
        self.hearing = Hearing(self.witnesses, lambda: self.time_us, self.said.append)

    def _asks(self, name: str) -> Callable[[], bool]:
        def asked() -> bool:
            self.gate.wait()
            return self.answers[name]

        return asked

    def silence(self, *names: str) -> None:
        """Let witnesses answer no more: these, or all."""
        for name in names or tuple(self.answers):
            self.answers[name] = False

    def fails(self, reason: Reason = Reason.TIMEOUT, was_up: bool = True, **values) -> bool:
        """Bring a failure; False when nobody took it."""
        return self.hearing.holds(down(reason, self.time_us, **values), was_up, self.kept.append)

    def verdicts(self) -> list[tuple[Status, Reason | None]]:
        """Give what became of the results that were taken."""
        return [(result.status, result.reason) for result in self.kept]


def down(reason: Reason = Reason.TIMEOUT, time_us: int = NOW, **values) -> Result:
    """Make the result of a check that failed."""
    options = values.pop("options", {})
    endpoint = Endpoint(name="x", url="https://x/", options=options)
    return Result(endpoint, time_us, Status.DOWN, reason, detail="said", late_us=0, **({"lag_us": 0} | values))


OURS = (Status.MISSED, Reason.AGENT_NETWORK)


@pytest.fixture(name="court")
def _court() -> Iterator[Court]:
    court = Court()
    court.hearing.hear()  # in peace: everybody is there
    yield court
    court.hearing.end()


def test_a_failure_is_held_until_a_witness_answers_and_is_the_sites_then(court: Court) -> None:
    court.gate.clear()
    hearing = gevent.spawn(court.hearing.hear)
    gevent.sleep(0)
    assert court.fails(Reason.CONNECT)
    assert not court.kept
    court.gate.set()
    hearing.join()
    assert court.verdicts() == [(Status.DOWN, Reason.CONNECT)]


def test_it_is_the_agents_when_all_are_silent(court: Court) -> None:
    court.silence()
    for reason in BY_NETWORK:
        assert court.fails(reason)
    court.hearing.hear()
    assert court.verdicts() == [OURS] * len(BY_NETWORK)
    assert court.kept[0].detail == "the agent's own network is away; said"
    assert court.hearing.away
    assert "no answer from resolver, gateway" in court.said[0]


def test_one_that_answers_is_enough(court: Court) -> None:
    court.silence("gateway")
    assert court.fails()
    court.hearing.hear()
    assert court.verdicts() == [(Status.DOWN, Reason.TIMEOUT)]


def test_what_was_down_before_raises_no_question_but_is_not_judged_while_the_network_is_away(court: Court) -> None:
    assert not court.fails(was_up=False)
    court.silence()
    court.fails()
    court.hearing.hear()
    assert court.fails(was_up=False)
    assert court.verdicts() == [OURS, OURS]


def test_checks_that_began_before_the_network_came_back_are_the_agents_too(court: Court) -> None:
    court.silence()
    court.fails()
    court.hearing.hear()
    court.time_us += 30 * S
    court.answers["gateway"] = True
    court.hearing.hear()
    assert court.said[-1] == "the agent's own network is back"
    assert court.hearing.holds(down(time_us=court.time_us - S), True, court.kept.append)
    assert court.verdicts() == [OURS, OURS]
    assert court.hearing.holds(down(time_us=court.time_us + S), True, court.kept.append)
    court.hearing.hear()
    assert court.verdicts()[2:] == [(Status.DOWN, Reason.TIMEOUT)]


def test_a_clock_that_was_set_back_does_not_keep_it_away(court: Court) -> None:
    court.silence()
    court.fails()
    court.hearing.hear()
    court.answers["gateway"] = True
    court.hearing.hear()
    court.time_us -= 3600 * S
    court.hearing.clock_set()
    assert not court.fails(was_up=False)


def test_silent_witnesses_are_wrong_while_checks_go_well(court: Court) -> None:
    court.silence()
    court.gate.clear()
    hearing = gevent.spawn(court.hearing.hear)
    gevent.sleep(0)
    court.fails()
    court.hearing.well += 2
    court.gate.set()
    hearing.join()
    assert court.verdicts() == [(Status.DOWN, Reason.TIMEOUT)]


def test_who_never_answered_cannot_testify_by_silence() -> None:
    court = Court()
    court.silence()
    court.hearing.hear()
    assert not court.fails()


def test_who_was_silent_for_long_while_checks_went_well_is_no_witness_any_more(court: Court) -> None:
    court.silence()
    for _ in range(DOUBTS_MOST):
        court.gate.clear()
        hearing = gevent.spawn(court.hearing.hear)
        gevent.sleep(0)
        court.hearing.well += 1
        court.gate.set()
        hearing.join()
    assert not any(witness.credible for witness in court.witnesses)
    assert not court.fails()


def test_one_silence_in_peace_is_a_lost_packet_and_two_are_an_outage(court: Court) -> None:
    court.silence()
    court.hearing.hear()
    assert not court.hearing.away
    court.hearing.hear()
    assert court.hearing.away


@pytest.mark.parametrize(
    ("reason", "values", "ours"),
    [
        (Reason.DNS, {"dns_us": 6_000_000}, True),
        (Reason.TIMEOUT, {"dns_us": 5_000_000}, True),
        (Reason.TIMEOUT, {"dns_us": 1_000, "connect_us": 5_000_000}, False),
        (Reason.TIMEOUT, {"connect_us": 5_000_000}, False),
        (Reason.DNS, {"dns_us": 6_000_000, "options": {"resolver": ["192.0.2.1"]}}, False),
        (Reason.CONNECT, {"dns_us": 0}, False),
    ],
)
def test_without_a_resolver_only_what_needed_it_is_the_agents(
    court: Court, reason: Reason, values: dict, ours: bool
) -> None:
    court.silence("resolver")
    assert court.fails(reason, **values)
    court.hearing.hear()
    assert court.verdicts() == [OURS if ours else (Status.DOWN, reason)]


def test_an_answer_from_this_very_machine_proves_nothing() -> None:
    answers = {"resolver": True, "gateway": True}
    near = Witness("resolver", lambda: answers["resolver"], near=lambda: True)
    hearing = Hearing([near, Witness("gateway", lambda: answers["gateway"])], lambda: NOW)
    hearing.hear()
    answers["gateway"] = False
    kept: list[Result] = []
    assert hearing.holds(down(), True, kept.append)
    hearing.hear()
    assert kept[0].reason is Reason.AGENT_NETWORK


def test_what_is_held_is_bounded_and_given_up_at_the_end(court: Court) -> None:
    assert sum(court.fails() for _ in range(HELD_MOST + 5)) == HELD_MOST
    court.hearing.end()
    assert court.verdicts() == [(Status.DOWN, Reason.TIMEOUT)] * HELD_MOST
    assert not court.fails()


def test_without_witnesses_nothing_is_held() -> None:
    hearing = Hearing((), lambda: NOW)
    hearing.run()
    assert not hearing.holds(down(), True, lambda result: None)


def test_it_hears_at_once_when_something_fails(court: Court) -> None:
    running = gevent.spawn(court.hearing.run)
    gevent.sleep(0)
    court.fails()
    with gevent.Timeout(3):
        while not court.kept:
            gevent.sleep(0.01)
    court.hearing.end()
    running.join()


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CLOSED, Reason.TLS, Reason.DNS])
def test_a_failure_is_the_agents_when_its_own_lag_was_over_the_budget(reason: Reason) -> None:
    late = of_lag(down(reason, lag_us=150_000), 100_000)
    assert (late.status, late.reason) == (Status.MISSED, Reason.OVERLOAD)
    assert late.detail == "the agent itself took 0.15 s of the check, more than accuracy.max_lag; said"
    assert of_lag(down(reason, lag_us=100_000), 100_000).status is Status.DOWN


def test_how_late_a_deadline_was_seen_to_pass_is_no_excuse() -> None:
    late = down(Reason.TIMEOUT, lag_us=900_000, latency_us=9_950_000)  # the timeout is 10 s
    assert of_lag(late, 100_000).status is Status.DOWN
    early = down(Reason.TIMEOUT, lag_us=900_000, latency_us=9_850_000)
    assert of_lag(early, 100_000).status is Status.MISSED


@pytest.mark.parametrize("reason", sorted(set(Reason) - BY_LAG - NOT_THE_SITE, key=lambda one: one.value))
def test_what_the_site_said_is_the_sites_however_late_we_looked(reason: Reason) -> None:
    assert of_lag(down(reason, lag_us=9_000_000), 100_000).status is Status.DOWN
