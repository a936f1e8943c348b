"""An endpoint compiled: all that can be known before its checks. The last place that asks plugins, at load time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pluggy
import requests

from watcher.errors import ProbeError
from watcher.models import Endpoint, Failure, Reason, Step
from watcher.transport.exchange import Exchange, Prober

Before = Callable[[requests.PreparedRequest], None]
Examine = Callable[[requests.Response], Failure | None]


class Plan(NamedTuple):
    """What a probe needs, in the order in which it needs it; shared by all checks of an endpoint."""

    endpoint: Endpoint
    prober: Prober
    before: tuple[Before, ...]
    examine: tuple[Examine, ...]

    def close(self) -> None:
        """Let the prober give up what it holds between checks."""
        close = getattr(self.prober, "close", None)
        if close is not None:
            close()


def compile_plan(endpoint: Endpoint, plugins: pluggy.PluginManager) -> Plan:
    """Compile an endpoint; one that cannot be probed gets a plan whose every check says so (reason `config`)."""
    try:
        return _compile(endpoint, plugins)
    except Exception as error:  # pylint: disable=broad-exception-caught  # the boundary around plugins at load time
        return Plan(endpoint, Unusable(f"{type(error).__name__}: {error}"), (), ())


def _compile(endpoint: Endpoint, plugins: pluggy.PluginManager) -> Plan:
    request = requests.Request("GET", endpoint.url)
    plugins.hook.watcher_prepare(endpoint=endpoint, request=request)
    prober = plugins.hook.watcher_prober(endpoint=endpoint, request=request)
    if prober is None:
        scheme = endpoint.url.partition(":")[0]
        return Plan(endpoint, Unusable(f"no plugin probes {scheme}: URLs"), (), ())
    before: list[Before] = []
    examine: list[Examine] = []
    for step in _flat(plugins.hook.watcher_steps(endpoint=endpoint)):
        if not isinstance(step, Step):
            examine.append(step)
            continue
        if type(step).before is not Step.before:
            before.append(step.before)
        if type(step).examine is not Step.examine:
            examine.append(step.examine)
    return Plan(endpoint, prober, tuple(before), tuple(examine))


def _flat(steps: Iterable[Any]) -> Iterable[Any]:
    for step in steps:
        if isinstance(step, (list, tuple)):
            yield from _flat(step)
        elif isinstance(step, Step) or callable(step):
            yield step
        else:
            raise TypeError(f"a step must be a watcher.Step or a function, not {step!r}")


class Unusable:
    """Stands for the prober of an endpoint that cannot be probed."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why

    def __call__(self, exchange: Exchange) -> None:
        raise ProbeError(Reason.CONFIG, self.why)
