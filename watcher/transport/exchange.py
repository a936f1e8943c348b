"""What one execution of a plan measures: the sheet that a prober fills."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from watcher.models import Reason
from watcher.transport.clock import WALL, source

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from watcher.transport.dns import Address

    Found = tuple[Address, ...]
    Pick = Callable[[str, Callable[[], Found]], Found]


class Exchange:  # pylint: disable=too-many-instance-attributes  # the fields of a sheet
    """The measurement of one probe: made by `watcher.probe`, filled by a prober, read into a `Result`.

    `deadline_ns` is on the clock of `time.monotonic_ns`. Phases are integers in microseconds, None where they did not
    take place. `hops_us` is the sum of the phases of earlier hops (redirects). `before` are the plan's callables
    that change the request of this check. `response` is what the steps examine. `pick` is there in a check of one of
    many addresses: given a host and how to look it up, it says which to use. `by_wall` is true where the phases are the
    wall clock's, and so hold the agent's own delays: here, when the kernel stamps nothing, or as the prober says.
    """

    __slots__ = (
        "address", "before", "body_bytes", "by_wall", "connect_us", "deadline_ns", "detail", "dns_us", "hops_us",
        "http_status", "peer", "phase", "pick", "reason", "response", "since_ns", "started_ns", "timeout_ns", "tls_us",
        "transfer_us", "ttfb_us",
    )  # fmt: skip

    def __init__(self, timeout_s: float, before: tuple[Callable[[requests.PreparedRequest], None], ...] = ()) -> None:
        self.before = before
        self.by_wall = source() is WALL
        self.started_ns = time.time_ns()
        self.timeout_ns = int(timeout_s * 1e9)
        self.deadline_ns = time.monotonic_ns() + self.timeout_ns
        self.dns_us: int | None = None
        self.connect_us: int | None = None
        self.tls_us: int | None = None
        self.ttfb_us: int | None = None
        self.transfer_us: int | None = None
        self.hops_us = 0
        self.http_status: int | None = None
        self.body_bytes: int | None = None
        self.address: str | None = None
        self.peer: object | None = None  # what the transport knows of the TLS peer: `transport.tls.Peer`
        self.phase = "start"
        self.pick: Pick | None = None
        self.since_ns = self.started_ns  # when the name was asked for, or the first connection begun
        self.response: requests.Response | None = None
        self.reason: Reason | None = None  # with status up: something to know, e.g. body_cap
        self.detail: str | None = None

    @property
    def latency_us(self) -> int:
        """The sum of the phases of all hops: what a visitor waits."""
        return self.hops_us + phases_us(self)

    def begin_anew(self) -> None:
        """Start the clock again, with all of the time left: what was done until now was none of the site's."""
        self.deadline_ns = time.monotonic_ns() + self.timeout_ns
        self.started_ns = self.since_ns = time.time_ns()

    def note(self, detail: str) -> None:
        """Say something worth knowing of a check that found nothing wrong."""
        self.detail = detail

    def note_cap(self, max_body: int) -> None:
        """Say that only the beginning of the body was read."""
        self.reason = Reason.BODY_CAP
        self.detail = f"the body is longer than max_body: only {max_body} bytes were read"


def phases_us(exchange: Exchange) -> int:
    """Sum the phases of the exchange's last hop."""
    return (
        (exchange.dns_us or 0)
        + (exchange.connect_us or 0)
        + (exchange.tls_us or 0)
        + (exchange.ttfb_us or 0)
        + (exchange.transfer_us or 0)
    )


class Prober(Protocol):
    """Who probes one endpoint; made once per plan by the hook `watcher_prober`.

    Fills the exchange within its deadline and returns None, or raises `ProbeError(reason, detail)`; what was filled
    until then is stored. Any other exception is recorded as reason `plugin`. A prober that holds something between
    checks has a method `close` too, called when its endpoint is watched no more. Checks that begin with much computing
    begin one after the other, see `watcher.transport.turnstile`: those that had a `tls_us` before, and those of a
    prober that has a true `heavy`.
    """

    def __call__(self, exchange: Exchange) -> None: ...
