"""The option `latency`: how long a check, or one phase of it, may take; with any protocol."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from watcher import Duration, Endpoint, Failure, Options, Reason, Step, hookimpl
from watcher.plugins.assertions._scope import NEVER_TLS, scheme
from watcher.several import several

if TYPE_CHECKING:
    from watcher.transport import Exchange

OF_A_CONNECTION = ("dns", "connect", "tls")  # not there when a connection is kept


class Limit(Options):
    """`latency = { degraded = "500ms", down = "2s", phase = "ttfb" }`; a duration alone stands for `degraded`."""

    __brief__: ClassVar[str] = "degraded"

    degraded: Duration | None = None
    """Longer than this is degraded."""
    down: Duration | None = None
    """Longer than this is down."""
    phase: Literal["total", "dns", "connect", "tls", "ttfb", "transfer"] = "total"
    """What is timed; `total` is the sum of all phases of all redirects. The others are of the last hop."""

    def __post_init__(self) -> None:
        given = [limit for limit in (self.degraded, self.down) if limit is not None]
        if not given:
            raise ValueError("give degraded, down or both, as durations")
        if min(given) <= 0:
            raise ValueError("a limit must be more than 0")
        if given != sorted(given):
            raise ValueError(f"down after {self.down:g} s comes before degraded after {self.degraded:g} s")


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `latency`."""
    return {"latency": Annotated[Limit | list[Limit], several]}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Step | None:
    """Judge the times of an endpoint that has the option."""
    given = endpoint.options.get("latency")
    if given is None:
        return None
    if scheme(endpoint) in NEVER_TLS and any(limit.phase == "tls" for limit in given):
        raise ValueError(f'latency.phase "tls": {scheme(endpoint)}:// has no such phase')
    return judge(given, bool(endpoint.options.get("keep_alive")))


@lru_cache(maxsize=1024)
def judge(given: tuple[Limit, ...], kept: bool) -> Latency:
    """Make the step, one for all endpoints that want the same."""
    return Latency(given, kept)


class Latency(Step):
    """The limits of one or many endpoints, in microseconds."""

    __slots__ = ("kept", "limits")

    def __init__(self, given: tuple[Limit, ...], kept: bool) -> None:
        self.kept = kept
        self.limits = tuple(
            (limit.phase.replace("total", "latency"), microseconds(limit.degraded), microseconds(limit.down))
            for limit in given
        )

    def assess(self, exchange: Exchange) -> Failure | None:
        """Give the first limit that makes it down, else the first that makes it degraded."""
        found = None
        for phase, degraded_us, down_us in self.limits:
            took_us = getattr(exchange, f"{phase}_us")
            if took_us is None:
                if self.kept and phase in OF_A_CONNECTION:
                    continue  # nobody waited for it
                return Failure(f"latency: a check of this endpoint has no phase {phase}", Reason.CONFIG)
            if took_us > down_us:
                return Failure(verdict(phase, took_us, down_us), Reason.LATENCY)
            if took_us > degraded_us and found is None:
                found = Failure(verdict(phase, took_us, degraded_us), Reason.LATENCY, degraded=True)
        return found


def microseconds(limit: Duration | None) -> float:
    """Give a limit in microseconds, one that is never reached for none."""
    return float("inf") if limit is None else limit * 1e6


def verdict(phase: str, took_us: int, limit_us: float) -> str:
    """Say how long it took and may take."""
    took_ms = took_us / 1000
    return f"{phase} {took_ms:.{0 if took_ms >= 100 else 1}f} ms, wanted at most {limit_us / 1000:g} ms"
