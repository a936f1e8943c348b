"""One execution of a plan: from its due time to a result. A failing site is a result, never an exception."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns, time, time_ns
from typing import Any

import gevent
from greenlet import getcurrent

from watcher.config import references
from watcher.errors import ProbeError, in_one_line
from watcher.ledger import BREAKS, HELD_NS, Account, Broken, Overrun
from watcher.models import NOT_THE_SITE, Endpoint, Failure, Reason, Result, Status
from watcher.plan import Judge, Plan
from watcher.transport.exchange import Exchange

# A timeout with more than this share of the time spent by ourselves says nothing of the site.
OWN_SHARE_MAX = 20

PluginFailed = Callable[[str, Endpoint, BaseException], None]

DETAIL_CHARS = 1000  # as many are stored

# When several steps complain: what the site did wrong beats what says nothing of it, and that what is merely not good.
_RANK = {Status.DOWN: 0, Status.MISSED: 1, Status.DEGRADED: 2}


def probe(
    plan: Plan,
    late_us: int = 0,
    plugin_failed: PluginFailed | None = None,
    keep: Callable[[Result], None] | None = None,
) -> Result:
    """Execute a plan and give its result.

    Args:
        late_us: how long after its due time the check starts.
        plugin_failed: told of every exception that a plugin let out, with the plugin's name.
        keep: where every address of the name is checked, takes the rows beside the result, before it is given.
    """
    return inspect(plan, late_us, plugin_failed, keep)[0]


def inspect(
    plan: Plan,
    late_us: int = 0,
    plugin_failed: PluginFailed | None = None,
    keep: Callable[[Result], None] | None = None,
) -> tuple[Result, Exchange]:
    """Do as `probe`, and give the exchange too: its response, its TLS peer."""
    if plan.each is None:
        return _inspect(plan, Exchange(plan.endpoint.timeout_s, plan.before), late_us, plugin_failed)
    return plan.each.check(plan, lambda own, exchange: _inspect(own, exchange, late_us, plugin_failed), keep)


def _inspect(
    plan: Plan, exchange: Exchange, late_us: int, plugin_failed: PluginFailed | None
) -> tuple[Result, Exchange]:
    endpoint = plan.endpoint
    verdict = _execute(plan, exchange, plugin_failed)
    try:
        latency_us = exchange.latency_us
    except TypeError as error:
        verdict, latency_us = _broken(plan.account, endpoint, error, plugin_failed), 0
        exchange.dns_us = exchange.connect_us = exchange.tls_us = exchange.ttfb_us = exchange.transfer_us = None
    lag_us = None if exchange.by_wall else max(0, (time_ns() - exchange.started_ns) // 1000 - latency_us)
    if verdict is not None and verdict.reason is Reason.TIMEOUT:
        verdict = _whose_timeout(exchange, latency_us, lag_us, verdict)
    response = exchange.response
    heard = _hear(plan.examine, response, endpoint, plugin_failed) if response is not None else None
    if verdict is None:
        verdict = _hear(plan.assess, exchange, endpoint, plugin_failed, heard) if plan.assess else heard
    found = getattr(response, "regex_found", None)
    if verdict is None:
        status, reason, detail = Status.UP, exchange.reason, exchange.detail
    else:
        status, reason, detail = _status(verdict), verdict.reason, verdict.detail
    return (
        Result(
            endpoint,
            exchange.started_ns // 1000,
            status,
            reason,
            exchange.http_status,
            latency_us,
            exchange.dns_us,
            exchange.connect_us,
            exchange.tls_us,
            exchange.ttfb_us,
            exchange.transfer_us,
            exchange.body_bytes,
            found,
            lag_us,
            late_us,
            exchange.address,
            detail if detail is None else _line(detail),
        ),
        exchange,
    )


def _line(detail: str) -> str:
    """Give a detail as all who get it can bear it: of bounded length, without halves of surrogate pairs."""
    text = str(detail)[:DETAIL_CHARS]
    return text if text.isprintable() else text.encode(errors="replace").decode()


def missed(endpoint: Endpoint, due_us: int, reason: Reason, late_us: int | None, detail: str | None = None) -> Result:
    """Give the result of a check that did not take place, at the time at which it was due."""
    return Result(endpoint, due_us, Status.MISSED, reason, late_us=late_us, detail=detail)


def _execute(plan: Plan, exchange: Exchange, plugin_failed: PluginFailed | None) -> Failure | None:
    me, probing = getcurrent(), plan.account.probing
    try:
        probing[me] = exchange
        plan.prober(exchange)
    except ProbeError as error:
        return _said(error)
    except Broken as broken:
        return _broken(broken.account, plan.endpoint, broken.__cause__ or broken, plugin_failed)
    except BREAKS as error:  # the boundary around plugins
        return _broken(plan.account, plan.endpoint, error, plugin_failed)
    finally:
        probing.pop(me, None)
    return None


def _said(error: ProbeError) -> Failure:
    try:
        return Failure(error.detail, error.reason)
    except TypeError as wrong:
        return Failure(f"a ProbeError that is none: {wrong}", Reason.PLUGIN)


def _hear(
    judges: tuple[tuple[Judge, Account], ...],
    of: Any,
    endpoint: Endpoint,
    plugin_failed: PluginFailed | None,
    worst: Failure | None = None,
) -> Failure | None:
    """Have every step judge, and give the worst that was heard.

    What a step does beside judging (raise, hang, answer nonsense) is its plugin's fault alone.
    """
    me, began_ns = getcurrent(), monotonic_ns()
    running = judges[0][1].running if judges else {}
    try:
        for judge, account in judges:
            try:
                running[me] = began_ns
                failure = judge(of)
                if failure is not None and not isinstance(failure, Failure):
                    raise TypeError(f"a step answers a Failure or None, not {failure!r:.200}")
            except ProbeError as error:  # the body is not what its headers say
                failure = _said(error)
            except BREAKS as error:  # the boundary around plugins
                failure = _broken(account, endpoint, error, plugin_failed)
            ended_ns = monotonic_ns()
            spent_ns, began_ns = ended_ns - began_ns, ended_ns
            account.calls += 1
            account.spent_ns += spent_ns
            if spent_ns > HELD_NS:
                _held(account, endpoint, spent_ns, plugin_failed)
            if failure is not None:
                worst = _worse(worst, failure)
    except Overrun as error:  # it came when its step was just over
        worst = worst or _broken(account, endpoint, error, plugin_failed)
    finally:
        running.pop(me, None)
    return worst


def _status(failure: Failure) -> Status:
    if failure.reason in NOT_THE_SITE:
        return Status.MISSED
    return Status.DEGRADED if failure.degraded else Status.DOWN


def _worse(first: Failure | None, second: Failure) -> Failure:
    return second if first is None or _RANK[_status(second)] < _RANK[_status(first)] else first


def _held(account: Account, endpoint: Endpoint, spent_ns: int, plugin_failed: PluginFailed | None) -> None:
    """Tell of a step that computed for long; not of one that waited, while the loop went round."""
    if gevent.get_hub().loop.now() > time() - spent_ns / 1e9 + 0.001:
        return
    account.held += 1
    if plugin_failed is not None:
        text = f"held up every other probe for {spent_ns // 1_000_000} ms; put such work through watcher.offload"
        plugin_failed(account.name, endpoint, RuntimeWarning(text))


def _broken(
    account: Account, endpoint: Endpoint, error: BaseException, plugin_failed: PluginFailed | None
) -> Failure:
    account.errors += 1
    account.overruns += isinstance(error, Overrun)
    if plugin_failed is not None:
        plugin_failed(account.name, endpoint, error)
    what = f"plugin {account.name}: " + ("" if isinstance(error, Overrun) else f"{type(error).__name__}: ")
    return Failure(what + references.masked(in_one_line(error)[:DETAIL_CHARS]), Reason.PLUGIN)


def _whose_timeout(exchange: Exchange, latency_us: int, lag_us: int | None, failure: Failure) -> Failure:
    """Give a timeout as the agent's own where it spent much of the time until then."""
    timeout_us = exchange.timeout_ns // 1000
    over_us = latency_us - timeout_us  # by the wall clock: what we were late
    own_us = over_us if lag_us is None else min(lag_us, -over_us)
    if own_us > timeout_us / OWN_SHARE_MAX:
        text = f"the agent itself took {own_us / 1e6:.1f} of {timeout_us / 1e6:g} s; {failure.detail}"
        return Failure(text, Reason.OVERLOAD)
    return failure
