"""One check of every address of a name: which are checked, what each of them says, and what that says of the endpoint.

The first address is checked by an exchange like any other. When it has resolved the name, exchanges for the other
addresses begin beside it: they share its start, its deadline and its wait for the resolver. Each has a plan of its own,
as steps remember things (a challenge, a page), and gives a row of its own. The rows of one check have the same time but
for some microseconds; the last of them stands for the endpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import gevent
import msgspec

from watcher.models import Endpoint, Reason, Result, Status
from watcher.screen import figures
from watcher.transport.exchange import Exchange

if TYPE_CHECKING:
    from watcher.plan import Plan
    from watcher.transport.dns import Address
    from watcher.transport.options import Addresses

Found = tuple["Address", ...]
Seen = tuple[Result, Exchange]
Keep = Callable[[Result], None]

JOINED, LEFT = "joined the name", "left the name"

log = logging.getLogger("watcher")


class Change(NamedTuple):
    """Which addresses came and which went since the check before."""

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Each:
    """The addresses of one endpoint's name, from check to check.

    Args:
        wanted: how many are checked at most, and how many must be up.
        compiled: gives another plan of the endpoint.
    """

    __slots__ = ("_compiled", "_endpoint", "_found", "_known", "_plans", "_wanted")

    def __init__(self, endpoint: Endpoint, wanted: Addresses, compiled: Callable[[], Plan]) -> None:
        self._endpoint = endpoint
        self._wanted = wanted
        self._compiled = compiled
        self._plans: dict[Address, Plan] = {}  # of all but the first
        self._found = 0  # how many the name has
        self._known: Found = ()  # those that are checked, in a steady order

    def check(self, plan: Plan, inspect: Callable[[Plan, Exchange], Seen], keep: Keep | None) -> Seen:
        """Check every address at once, and give what stands for the endpoint.

        Args:
            plan: of the first address.
            inspect: checks by a plan what an exchange is for.
            keep: takes the rows of the other addresses.
        """
        leader, change = Exchange(self._endpoint.timeout_s, plan.before), None
        others: list[gevent.Greenlet] = []

        def lead(host: str, found: Found) -> Address:
            nonlocal change
            change = self._update(found)
            for address, own in self._plans.items():
                exchange = Exchange(self._endpoint.timeout_s, own.before)
                others.append(gevent.spawn(inspect, own, _beside(leader, exchange, host, address)))
            return self._known[0]

        leader.pick = _Pick(lead)
        try:
            seen = [inspect(plan, leader), *(other.get() for other in others)]
        finally:
            leader.pick = None  # the two refer to each other
            gevent.killall(others, block=False)
        if change is None:  # the name was not found, or nobody asked for it
            return seen[0]
        return self._rows(seen, change, keep)

    def close(self) -> None:
        """Let the probers give up what they hold between checks."""
        for plan in self._plans.values():
            plan.close()

    def _update(self, found: Found) -> Change:
        """Bring those that are checked up to date: who is there stays, others join while there is room."""
        before, counted = self._known, self._found
        stay = tuple(address for address in before if address in found)
        new = tuple(address for address in found if address not in stay)
        self._known, self._found = (*stay, *new)[: self._wanted.most], len(found)
        self._plan()
        change = Change(_without(self._known, stay), _without(before, stay)) if before else Change()
        name = figures.name(self._endpoint.name)
        for what, texts in ((JOINED, change.joined), (LEFT, change.left)):
            if texts:
                log.info("endpoint %r: %s: %s", name, what, ", ".join(texts))
        if counted != self._found > self._wanted.most:
            log.warning("endpoint %r: its name has %d addresses, %d are checked", name, self._found, self._wanted.most)
        return change

    def _plan(self) -> None:
        """Have a plan for each address but the first."""
        for address in self._plans.keys() - self._known[1:]:
            self._plans.pop(address).close()
        self._plans = {address: self._plans.get(address) or self._compiled() for address in self._known[1:]}

    def _rows(self, seen: list[Seen], change: Change, keep: Keep | None) -> Seen:
        results = [result for result, _ in seen]
        position = judge(results, self._wanted.up)
        results = [_noted(result, [JOINED] if result.address in change.joined else []) for result in results]
        news = _count(results, self._wanted.up) + ([f"{LEFT}: {', '.join(change.left)}"] if change.left else [])
        if position is None:
            exchange, last = seen[0][1], _noted(_of_the_name(results[0]), news)
        else:
            exchange, last = seen[position][1], _noted(results.pop(position), news)
        *others, last = _in_a_row(seen[0][0].time_us, [*results, last])
        for other in others if keep is not None else ():
            keep(other)
        return last, exchange


def judge(results: Sequence[Result], up: int | str) -> int | None:
    """Give the position of the result that stands for all; None when none does: the name has too few addresses.

    An address that this agent has no way to does not count, unless it has none to all of them.

    Args:
        up: how many must be up: a number, `any` or `all`. A degraded one is up, but for the status of the whole.
    """
    counted = [result for result in results if result.reason is not Reason.AGENT_NETWORK] or results
    needed = {"any": 1, "all": len(counted)}.get(up, up)
    if len(counted) < len(results):
        needed = min(needed, len(counted))
    so_far = 0
    for status in (Status.UP, Status.DEGRADED, Status.MISSED):
        so_far += sum(result.status is status for result in counted)
        if so_far >= needed:
            return _first(results, status, counted)
    return _first(results, Status.DOWN, counted)


def _first(results: Sequence[Result], status: Status, counted: Sequence[Result]) -> int | None:
    chosen = next((result for result in counted if result.status is status), None)
    return next((position for position, result in enumerate(results) if result is chosen), None)


def _count(results: Sequence[Result], up: int | str) -> list[str]:
    """Say how many are up, where that is not what it should be."""
    good = sum(result.status in (Status.UP, Status.DEGRADED) for result in results)
    if good == len(results) and (isinstance(up, str) or good >= up):
        return []
    wanted = f", {up} must be" if isinstance(up, int) and good < up else ""
    return [f"{good} of {len(results)} addresses up{wanted}"]


def _noted(result: Result, news: list[str]) -> Result:
    if not news:
        return result
    return msgspec.structs.replace(result, detail="; ".join([*([result.detail] if result.detail else []), *news]))


def _of_the_name(result: Result) -> Result:
    """Give a row that is of no address: the name has not as many as must be up."""
    return Result(
        result.endpoint,
        result.time_us,
        Status.DOWN,
        Reason.ASSERTION,
        latency_us=result.dns_us or 0,
        dns_us=result.dns_us,
        lag_us=result.lag_us,
        late_us=result.late_us,
    )


def _in_a_row(time_us: int, results: list[Result]) -> Iterator[Result]:
    """Give them times of their own: the database stores one row of an endpoint and agent at a time."""
    for number, result in enumerate(results):
        yield msgspec.structs.replace(result, time_us=time_us + number)


def _without(addresses: Found, these: Found) -> tuple[str, ...]:
    return tuple(address[1] for address in addresses if address not in these)


def _beside(leader: Exchange, exchange: Exchange, host: str, address: Address) -> Exchange:
    """Give an exchange for one address that was found by another one's."""
    exchange.started_ns = exchange.since_ns = leader.started_ns
    exchange.deadline_ns = leader.deadline_ns
    exchange.dns_us = leader.dns_us
    exchange.pick = _Pick(None, host, (address,))
    return exchange


class _Pick:
    """Says which address of its host an exchange is for; other hosts, to which it was redirected, are not its concern.

    Args:
        lead: takes the host and all of its addresses, when they are known, and gives the one to use.
    """

    __slots__ = ("_host", "_lead", "_mine")

    def __init__(self, lead: Callable[[str, Found], Address] | None, host: str = "", mine: Found = ()) -> None:
        self._lead = lead
        self._host = host
        self._mine = mine

    def __call__(self, host: str, lookup: Callable[[], Found]) -> Found:
        if self._lead is not None and not self._mine:
            self._mine = (self._lead(host, lookup()),)
            self._host = host
        return self._mine if host == self._host else lookup()
