"""The instrument's own error: a loopback endpoint whose true time is known, checked each second as any other is.

Its server (`watcher.agent.truth`) says in each answer how long it had the request, by the kernel's stamp of the arrival
and the clock just before it answered. What a check reads beyond that is neither the server's nor a network's.
"""

from __future__ import annotations

from collections import deque

from watcher.models import Endpoint, Failure, Result, Status
from watcher.plan import Plan
from watcher.transport.exchange import Exchange

ID = -1  # no row of the table `endpoints`
INTERVAL_S = 1.0
TIMEOUT_S = 1.0
FIELD = "X-Took-Us"
KEPT = 60  # checks
JUDGED_LEAST = 10
SUSPECT_SHARE = 10  # suspect once more than one in so many was over the budget,
TRUSTED_SHARE = 30  # until no more than one in so many are


def endpoint(url: str) -> Endpoint:
    """Give the endpoint of a server of the truth."""
    return Endpoint(id=ID, name="canary", url=url, interval_s=INTERVAL_S, timeout_s=TIMEOUT_S)


class Canary:
    """The errors of the last minute.

    Args:
        budget_us: what is more than this is too much.
    """

    def __init__(self, budget_us: int) -> None:
        self.suspect = False
        self.checks = 0  # since the start; and those that told nothing
        self.missed = 0
        self._budget_us = budget_us
        self._errors: deque[int] = deque(maxlen=KEPT)
        self._over = 0

    def watched_by(self, plan: Plan) -> Plan:
        """Give the plan of the endpoint with a step that compares it with the truth."""
        return plan._replace(assess=(*plan.assess, (self._assess, plan.account)))

    def hear(self, result: Result) -> None:
        """Take the result of a check: what counts was taken in its step, if it came so far."""
        self.missed += result.status is not Status.UP

    def take(self, error_us: int) -> None:
        """Take the error of one check."""
        self.checks += 1
        if len(self._errors) == KEPT:
            self._over -= self._errors[0] > self._budget_us
        self._errors.append(error_us)
        self._over += error_us > self._budget_us
        if len(self._errors) >= JUDGED_LEAST:
            self.suspect = self._over * (TRUSTED_SHARE if self.suspect else SUSPECT_SHARE) > len(self._errors)

    def errors_us(self) -> tuple[int, int] | None:
        """Give the median and the largest error of the last minute; None before the first."""
        ordered = sorted(self._errors)
        return (ordered[len(ordered) // 2], ordered[-1]) if ordered else None

    def _assess(self, exchange: Exchange) -> Failure | None:
        response = exchange.response
        took = response.headers.get(FIELD, "") if response is not None else ""
        if not took.isdecimal():
            return Failure(f"no field {FIELD}: that is not the canary's server")
        self.take(exchange.latency_us - int(took))
        return None
