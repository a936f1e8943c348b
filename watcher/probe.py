"""One execution of a plan: from its due time to a result. A failing site is a result, never an exception."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns

import gevent

from watcher.errors import ProbeError
from watcher.models import NOT_THE_SITE, Endpoint, Failure, Reason, Result, Status
from watcher.plan import Plan
from watcher.transport.exchange import Exchange
from watcher.transport.http import phases_us

# A timeout with more than this share of the time spent by ourselves says nothing of the site.
OWN_SHARE_MAX = 20

PluginFailed = Callable[[Endpoint, BaseException], None]


def probe(plan: Plan, late_us: int = 0, plugin_failed: PluginFailed | None = None) -> Result:
    """Execute a plan and give its result.

    Args:
        late_us: how long after its due time the check starts.
        plugin_failed: told of every exception that a plugin let out.
    """
    return inspect(plan, late_us, plugin_failed)[0]


def inspect(plan: Plan, late_us: int = 0, plugin_failed: PluginFailed | None = None) -> tuple[Result, Exchange]:
    """Do as `probe`, and give the exchange too: its response, its TLS peer."""
    endpoint, prober, before, examine = plan
    exchange = Exchange(endpoint.timeout_s, before)
    reason = detail = None
    try:
        prober(exchange)
    except ProbeError as error:
        reason, detail = error.reason, error.detail
    except (Exception, gevent.Timeout) as error:  # pylint: disable=broad-exception-caught  # the boundary around plugins
        reason, detail = _broken(plan, error, plugin_failed)
    latency_us = exchange.hops_us + phases_us(exchange)
    lag_us = max(0, (time_ns() - exchange.started_ns) // 1000 - latency_us)
    if reason is Reason.TIMEOUT:
        reason, detail = _whose_timeout(latency_us, endpoint.timeout_s, detail)
    response = exchange.response
    found = None
    if response is not None:
        for step in examine:
            failure = _judge(plan, step, response, plugin_failed)
            if failure is not None and reason is None:
                reason, detail = failure.reason, failure.detail
        found = getattr(response, "regex_found", None)
    if reason is None:
        status, reason, detail = Status.UP, exchange.reason, exchange.detail
    else:
        status = Status.MISSED if reason in NOT_THE_SITE else Status.DOWN
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
            detail,
        ),
        exchange,
    )


def missed(endpoint: Endpoint, due_us: int, reason: Reason, late_us: int | None, detail: str | None = None) -> Result:
    """Give the result of a check that did not take place, at the time at which it was due."""
    return Result(endpoint, due_us, Status.MISSED, reason, late_us=late_us, detail=detail)


def _judge(plan: Plan, step: Callable, response: object, plugin_failed: PluginFailed | None) -> Failure | None:
    try:
        failure = step(response)
        if failure is None or isinstance(failure, Failure):
            return failure
        raise TypeError(f"a step answers a Failure or None, not {failure!r}")
    except ProbeError as error:  # the body is not what its headers say
        return Failure(error.detail, error.reason)
    except (Exception, gevent.Timeout) as error:  # pylint: disable=broad-exception-caught  # the boundary around plugins
        reason, detail = _broken(plan, error, plugin_failed)
        return Failure(detail, reason)


def _broken(plan: Plan, error: BaseException, plugin_failed: PluginFailed | None) -> tuple[Reason, str]:
    if plugin_failed is not None:
        plugin_failed(plan.endpoint, error)
    return Reason.PLUGIN, f"{type(error).__name__}: {error}"


def _whose_timeout(latency_us: int, timeout_s: float, detail: str | None) -> tuple[Reason, str | None]:
    own_us = timeout_s * 1e6 - latency_us
    if own_us > timeout_s * 1e6 / OWN_SHARE_MAX:
        return Reason.OVERLOAD, f"the agent itself took {own_us / 1e6:.1f} of {timeout_s:g} s; {detail}"
    return Reason.TIMEOUT, detail
