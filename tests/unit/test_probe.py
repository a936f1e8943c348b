"""Verdicts: what a probe makes of what its prober and steps do."""

from __future__ import annotations

import time
from types import SimpleNamespace

import gevent
import pytest

from watcher import Endpoint, Failure
from watcher.errors import ProbeError
from watcher.ledger import Ledger
from watcher.models import NOT_THE_SITE, Reason, Status
from watcher.plan import Plan
from watcher.probe import missed, probe
from watcher.transport.exchange import Exchange

ENDPOINT = Endpoint(name="x", url="test://x", id=7, timeout_s=0.5)
LONG_NS = 60_000_000_000  # of a timeout of which a machine under load takes no twentieth


def fill(exchange) -> None:
    """Measure a perfect check of 3 ms."""
    exchange.connect_us, exchange.ttfb_us, exchange.transfer_us = 1000, 1500, 500
    exchange.http_status = 200
    exchange.response = SimpleNamespace(status_code=200)


def raiser(error: Exception):
    """Make a prober or step that raises."""

    def raising(_given) -> None:
        raise error

    return raising


def run(prober, *steps, complaints: list | None = None):
    """Probe once."""
    told = None if complaints is None else lambda name, _endpoint, error: complaints.append((name, error))
    account = Ledger().account("test")
    return probe(Plan(ENDPOINT, prober, account, examine=tuple((step, account) for step in steps)), 42, told)


def test_latency_is_the_sum_of_the_phases_and_the_rest_is_lag() -> None:
    def slow(exchange) -> None:
        fill(exchange)
        exchange.hops_us = 7000
        time.sleep(0.05)

    result = run(slow)
    assert (result.status, result.latency_us, result.late_us) == (Status.UP, 10_000, 42)
    assert result.lag_us >= 40_000


def test_every_step_runs_and_the_first_failure_is_the_verdict() -> None:
    ran: list[str] = []

    def step(name: str, failure: Failure | None):
        return lambda response: ran.append(name) or failure

    failures = {"a": None, "b": Failure("b failed", Reason.STATUS), "c": Failure("c failed"), "d": None}
    result = run(fill, *[step(name, failure) for name, failure in failures.items()])
    assert ran == ["a", "b", "c", "d"]
    assert (result.status, result.reason, result.detail) == (Status.DOWN, Reason.STATUS, "b failed")


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([Failure("slow", Reason.LATENCY, degraded=True)], (Status.DEGRADED, Reason.LATENCY, "slow")),
        ([Failure("slow", degraded=True), Failure("wrong")], (Status.DOWN, Reason.ASSERTION, "wrong")),
        ([Failure("a", degraded=True), Failure("b", degraded=True)], (Status.DEGRADED, Reason.ASSERTION, "a")),
        ([Failure("broke", Reason.PLUGIN), Failure("wrong")], (Status.DOWN, Reason.ASSERTION, "wrong")),
        ([Failure("slow", degraded=True), Failure("broke", Reason.PLUGIN)], (Status.MISSED, Reason.PLUGIN, "broke")),
    ],
)
def test_the_worst_that_steps_say_is_the_verdict(failures: list[Failure], expected: tuple) -> None:
    result = run(fill, *[lambda _response, failure=failure: failure for failure in failures])
    assert (result.status, result.reason, result.detail) == expected


@pytest.mark.parametrize(
    "wrong", [lambda _: Failure(5), lambda _: Failure("slow", "latency"), raiser(ProbeError("dns", "x"))]
)
def test_a_verdict_of_wrong_types_is_its_plugin_s_fault(wrong) -> None:
    for result in (run(fill, wrong), run(wrong)):
        assert (result.status, result.reason) == (Status.MISSED, Reason.PLUGIN)
        assert "not 5 and" in result.detail or "and 'latency'" in result.detail or "and 'dns'" in result.detail


def test_a_clock_that_is_set_while_a_request_is_made_moves_no_deadline() -> None:
    exchange = Exchange(5.0)
    until_ns = exchange.deadline_ns
    exchange.started_ns -= 3_600_000_000_000  # the clock is an hour ahead now
    exchange.begin_anew()
    assert until_ns <= exchange.deadline_ns < until_ns + 60_000_000_000


def test_phases_that_are_no_numbers_are_too() -> None:
    def wrong(exchange) -> None:
        exchange.connect_us = "fast"

    complaints: list = []
    result = run(wrong, complaints=complaints)
    assert (result.status, result.reason, result.connect_us, result.latency_us) == (
        Status.MISSED, Reason.PLUGIN, None, 0
    )  # fmt: skip
    assert [name for name, _error in complaints] == ["test"]


def test_what_a_plugin_lets_out_is_told_without_the_secrets_in_its_urls() -> None:
    breaks = raiser(OSError("no https://probe:hunter2@x/?token=hunter3"))
    for result in (run(fill, breaks), run(breaks)):
        assert result.detail.startswith("plugin test: OSError: ")
        assert "hunter" not in result.detail


def test_of_several_lines_that_a_plugin_lets_out_the_first_is_told() -> None:
    result = run(fill, raiser(RuntimeError("boom\x07\nTraceback (most recent call last):\n  File …")))
    assert result.detail.endswith("RuntimeError: boom\\x07")


def test_a_detail_is_bounded_and_can_be_written() -> None:
    assert run(fill, lambda _: Failure("half \ud800" + "x" * 5000)).detail == "half ?" + "x" * 994
    assert run(lambda exchange: exchange.note("\udc80")).detail == "?"
    assert run(fill, lambda _: Failure("Größe\n1")).detail == "Größe\n1"


def test_the_measurement_is_assessed_where_there_is_no_response_too() -> None:
    def connects(exchange) -> None:
        exchange.connect_us, exchange.hops_us = 2000, 500

    account = Ledger().account("test")
    assess = ((lambda exchange: Failure(f"{exchange.latency_us} us"), account),)
    assert probe(Plan(ENDPOINT, connects, account, assess=assess)).detail == "2500 us"


def test_what_a_prober_failed_with_is_not_assessed() -> None:
    account = Ledger().account("test")
    assess = ((lambda exchange: Failure("assessed"), account),)
    result = probe(Plan(ENDPOINT, raiser(ProbeError(Reason.CONNECT, "refused")), account, assess=assess))
    assert result.detail == "refused"


def test_time_and_errors_are_written_down_for_each_plugin() -> None:
    ledger = Ledger()
    quick, slow = ledger.account("quick"), ledger.account("slow")
    examine = ((lambda response: None, quick), (lambda response: time.sleep(0.02), slow), (raiser(ValueError()), slow))
    probe(Plan(ENDPOINT, fill, quick, examine=examine))
    told = ledger.told()
    assert (told["quick"]["calls"], told["slow"]["calls"]) == (1, 2)
    assert (told["quick"]["errors"], told["slow"]["errors"]) == (0, 1)
    assert told["slow"]["spent_us"] >= 20_000 > told["quick"]["spent_us"]


def test_a_step_that_holds_up_every_other_probe_is_told_of_and_one_that_waits_is_not() -> None:
    def computes(_response) -> None:
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            pass

    complaints: list = []
    gevent.spawn(run, fill, computes, complaints=complaints).join()
    assert "held up every other probe" in str(complaints.pop()[1])
    gevent.spawn(run, fill, lambda _response: gevent.sleep(0.1), complaints=complaints).join()
    assert not complaints


def test_what_a_step_found_is_stored() -> None:
    def found(response) -> None:
        response.regex_found = True

    assert run(fill, found).regex_found is True
    assert run(fill).regex_found is None


@pytest.mark.parametrize("reason", list(Reason))
def test_a_failure_is_down_unless_it_says_nothing_of_the_site(reason: Reason) -> None:
    def fails(exchange) -> None:
        exchange.timeout_ns = LONG_NS
        raise ProbeError(reason, "why")

    result = run(fails)
    assert (result.reason, result.detail) == (reason, "why")
    assert result.status is (Status.MISSED if reason in NOT_THE_SITE else Status.DOWN)


def test_a_timeout_spent_waiting_for_the_site_is_the_sites() -> None:
    def waits(exchange) -> None:
        exchange.ttfb_us = 490_000
        raise ProbeError(Reason.TIMEOUT, "timeout in ttfb")

    result = run(waits)
    assert (result.status, result.reason) == (Status.DOWN, Reason.TIMEOUT)


def test_a_timeout_of_which_we_spent_much_ourselves_is_not_the_sites() -> None:
    def computes(exchange) -> None:
        exchange.ttfb_us = 1000
        time.sleep(0.1)
        raise ProbeError(Reason.TIMEOUT, "timeout in ttfb")

    result = run(computes)
    assert (result.status, result.reason) == (Status.MISSED, Reason.OVERLOAD)
    assert result.detail.startswith("the agent itself took 0.1 of 0.5 s")


def test_a_timeout_before_the_deadline_is_no_time_of_ours() -> None:
    """The system says of a connection that its peer has stopped answering (ETIMEDOUT)."""

    def hears(exchange) -> None:
        exchange.timeout_ns = LONG_NS
        began_ns = time.time_ns()
        gevent.sleep(0.05)
        exchange.ttfb_us = (time.time_ns() - began_ns) // 1000
        raise ProbeError(Reason.TIMEOUT, "timeout in ttfb (the peer stopped answering)")

    result = run(hears)
    assert (result.status, result.reason) == (Status.DOWN, Reason.TIMEOUT)


def test_by_the_wall_clock_our_own_time_is_what_came_after_the_timeout() -> None:
    def looks_late(exchange) -> None:
        exchange.by_wall = True
        exchange.ttfb_us = 600_000
        raise ProbeError(Reason.TIMEOUT, "timeout in ttfb")

    result = run(looks_late)
    assert (result.status, result.reason) == (Status.MISSED, Reason.OVERLOAD)


@pytest.mark.parametrize(
    "steps",
    [(raiser(RuntimeError("boom")),), (lambda response: "not a failure",), (raiser(gevent.Timeout()),)],
    ids=["an exception", "a wrong value", "gevent's timeout, which is no Exception"],
)
def test_a_plugin_that_breaks_is_told_and_never_the_sites_fault(steps) -> None:
    complaints: list = []
    result = run(fill, *steps, complaints=complaints)
    assert (result.status, result.reason) == (Status.MISSED, Reason.PLUGIN)
    assert [name for name, _error in complaints] == ["test"]


def test_a_prober_that_breaks_is_reason_plugin() -> None:
    assert run(raiser(RuntimeError("boom"))).reason is Reason.PLUGIN


def test_a_body_that_cannot_be_decoded_is_the_sites_fault() -> None:
    result = run(fill, raiser(ProbeError(Reason.PROTOCOL, "the body is not gzip")))
    assert (result.status, result.reason) == (Status.DOWN, Reason.PROTOCOL)


def test_a_missed_check_has_its_due_time_and_no_figures() -> None:
    result = missed(ENDPOINT, 123, Reason.OVERLOAD, None, "no room")
    assert (result.time_us, result.status, result.reason) == (123, Status.MISSED, Reason.OVERLOAD)
    assert result.latency_us is None
