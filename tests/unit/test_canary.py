"""The instrument's own error: what the canary makes of its checks."""

from __future__ import annotations

import pytest

from watcher import Status
from watcher.canary import FIELD, ID, JUDGED_LEAST, KEPT, Canary, endpoint
from watcher.ledger import Ledger
from watcher.models import Reason
from watcher.plan import Plan
from watcher.probe import probe


class Answer:
    """A response, as far as the canary looks at it."""

    def __init__(self, **fields: str) -> None:
        self.headers = {FIELD: fields["took"]} if "took" in fields else {}


def run(canary: Canary, latency_us: int, answer: Answer | None) -> None:
    """Make one check whose prober measures so much."""

    def prober(exchange) -> None:
        exchange.ttfb_us, exchange.response = latency_us, answer

    plan = canary.watched_by(Plan(endpoint("http://127.0.0.1:1/"), prober, Ledger().account("test")))
    canary.hear(probe(plan))


def test_the_error_is_what_was_read_beyond_what_the_server_took() -> None:
    canary = Canary(5_000)
    for latency_us, took_us in ((12_300, 12_000), (900, 100), (50, 0)):
        run(canary, latency_us, Answer(took=str(took_us)))
    assert canary.errors_us() == (300, 800)
    assert (canary.checks, canary.missed) == (3, 0)


@pytest.mark.parametrize("answer", [Answer(), Answer(took="soon"), Answer(took="-1"), None])
def test_what_is_not_its_server_tells_nothing(answer: Answer | None) -> None:
    canary = Canary(5_000)
    run(canary, 10, answer)
    assert (canary.errors_us(), canary.checks, canary.missed) == (None, 0, 1)


def test_a_check_that_did_not_take_place_tells_nothing() -> None:
    from watcher.probe import missed

    canary = Canary(5_000)
    canary.hear(missed(endpoint("http://127.0.0.1:1/"), 0, Reason.OVERLOAD, 0))
    assert (canary.checks, canary.missed) == (0, 1)
    assert missed(endpoint("http://x/"), 0, Reason.OVERLOAD, 0).status is Status.MISSED


def test_numbers_are_suspect_while_too_many_errors_of_the_last_minute_are_over_the_budget() -> None:
    canary = Canary(5_000)
    for _ in range(KEPT):
        canary.take(300)
    for _ in range(KEPT // 10):
        canary.take(5_001)
    assert not canary.suspect
    canary.take(5_001)
    assert canary.suspect
    for _ in range(KEPT - 3):
        canary.take(300)
        assert canary.suspect
    canary.take(300)
    assert not canary.suspect


def test_a_few_checks_are_no_ground_for_suspicion() -> None:
    canary = Canary(5_000)
    for _ in range(JUDGED_LEAST - 1):
        canary.take(60_000)
        assert not canary.suspect
    canary.take(60_000)
    assert canary.suspect


def test_it_is_none_of_the_endpoints_of_the_table() -> None:
    assert ID < 0
    assert (endpoint("http://x/").interval_s, endpoint("http://x/").id) == (1.0, ID)
