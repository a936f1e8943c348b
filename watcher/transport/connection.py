"""A connection to a target: resolve, connect, TLS, each phase timed apart into an exchange.

A phase lasts until its last byte arrived at this machine, not until we noticed. Within one turn (from our send to the
last byte of the answer) the time is the network's and the server's; between turns it is ours, and goes to the lag.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.stream import Deadline, Stream
from watcher.transport.tls import Engine
from watcher.transport.turnstile import turnstile

if TYPE_CHECKING:
    from watcher.transport.dns import Address
    from watcher.transport.exchange import Exchange
    from watcher.transport.target import Target


NEXT = (Reason.CONNECT, Reason.AGENT_NETWORK)  # failures of one address, after which the next is tried
SILENT_S = 1.0  # as long as TCP waits before it repeats its first segment (RFC 6298, 2.1)


class Connection:
    """A stream, and the TLS engine on it where there is one."""

    __slots__ = ("address", "engine", "stream")

    def __init__(self, stream: Stream, address: str | None) -> None:
        self.stream = stream
        self.address = address
        self.engine: Engine | None = None

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        if self.engine is not None:
            self.engine.encrypt(data)
            data = self.engine.output()
        self.stream.send(data)

    def receive(self) -> bytes:
        """Give the next plain bytes; empty at the end."""
        stream, engine = self.stream, self.engine
        if engine is None:
            return stream.receive()
        while not engine.ended:
            data = stream.receive()
            engine.feed(data)
            plain = engine.decrypt()
            if plain or not data:
                return plain
        return b""

    def close(self) -> None:
        """Close the socket."""
        self.stream.close()


def resolve(exchange: Exchange, target: Target, deadline: Deadline) -> tuple[Address, ...]:
    """Give the addresses of a target in the order to try them; fills `dns_us` when a name was asked for.

    Raises:
        ProbeError: reason `dns`, or `timeout` at the deadline.
    """
    if exchange.pick is not None:
        return exchange.pick(target.host, lambda: _lookup(exchange, target, deadline))
    return _lookup(exchange, target, deadline)


def _lookup(exchange: Exchange, target: Target, deadline: Deadline) -> tuple[Address, ...]:
    if target.addresses:
        return target.addresses
    addresses = target.resolver.cached(target.host, target.family)
    if addresses is not None:
        exchange.dns_us = 0
        return addresses
    exchange.phase = "dns"
    exchange.since_ns = time_ns()
    answer = target.resolver.ask(target.host, target.family, deadline)
    exchange.dns_us = max(0, answer.arrived_ns - exchange.since_ns) // 1000
    return answer.addresses


def connect(exchange: Exchange, target: Target, deadline: Deadline) -> Stream:
    """Connect to the first address of a target that accepts; fills `dns_us`, `connect_us` and `address`.

    One that is silent is followed by the next after a while. When none accepts, those that were silent have another
    turn, twice as long, and so on; the last that is left has all of the time.

    Raises:
        ProbeError: reason `dns`, `connect`, `timeout`, or one of the agent's own shortages.
    """
    waiting = deque((address, 1) for address in resolve(exchange, target, deadline))
    exchange.phase = "connect"
    exchange.since_ns = time_ns()
    failed: tuple[str, Reason, str] | None = None  # not the error: its traceback refers to this frame
    before_us = 0  # what those took that did not accept
    while waiting:
        (family, exchange.address), turn = waiting.popleft()
        began_ns = monotonic_ns()
        patience_s = turn * min(SILENT_S, (exchange.deadline_ns - began_ns) / 2e9) if waiting else 0.0
        try:
            stream = Stream(family, (exchange.address, target.port), deadline, patience_s)
        except ProbeError as error:
            took_us = (monotonic_ns() - began_ns) // 1000
            before_us += min(took_us, int(patience_s * 1e6)) if error.reason is Reason.TIMEOUT else took_us
            if error.reason is Reason.TIMEOUT and waiting and not deadline.passed:
                waiting.append(((family, exchange.address), turn * 2))
            elif error.reason not in NEXT:
                raise
            if failed is None or error.reason is not Reason.AGENT_NETWORK:  # which says less than what others say
                failed = exchange.address, error.reason, error.detail
            continue
        exchange.connect_us = stream.connect_us + before_us
        if failed is not None and failed[1] is Reason.TIMEOUT:  # who wants to know of each address has `addresses`
            exchange.note(f"tried before: {failed[0]} ({failed[2]})")
        return stream
    if failed is None:
        raise AssertionError("no address to connect to")
    exchange.address, reason, detail = failed
    raise ProbeError(reason, detail)


def secure(exchange: Exchange, connection: Connection, tls: ssl.SSLContext, server_name: str | None) -> None:
    """Do the TLS handshake; fills `tls_us` and `peer`.

    Raises:
        ProbeError: reason `tls`, `certificate`, `closed` or `timeout`.
    """
    stream = connection.stream
    exchange.phase = stream.phase = "tls"
    gate = turnstile()
    gate.go_on()
    engine = exchange.peer = Engine(tls, server_name)
    waited_ns = 0
    stream.send(engine.output())
    try:
        while not engine.established:
            data = stream.receive()
            gate.go_on()
            engine.feed(data)
            if engine.established or engine.has_output():
                waited_ns += stream.arrived_ns - stream.sent_ns
                exchange.tls_us = max(0, waited_ns) // 1000
                if not engine.established:
                    stream.send(engine.output())
    except ProbeError as error:
        if error.reason is Reason.CERTIFICATE:
            with contextlib.suppress(ProbeError):
                stream.send(engine.output())  # the alert that tells the server why
        raise
    connection.engine = engine  # what it still has to send goes out with the request


def account_for_unfinished(exchange: Exchange, connection: Connection | None) -> None:
    """Give the phase that failed the time that it took so far, up to the deadline."""
    now_ns = ended_ns(exchange)
    if exchange.phase in ("dns", "connect"):
        spent_us = max(0, now_ns - exchange.since_ns) // 1000
    elif connection is None or exchange.phase == "transfer":
        first_ns = connection.stream.sent_ns + (exchange.ttfb_us or 0) * 1000 if connection else now_ns
        spent_us = max(0, now_ns - first_ns) // 1000
    else:
        turns_before_us = (exchange.tls_us or 0) if exchange.phase == "tls" else 0
        spent_us = max(0, now_ns - connection.stream.sent_ns) // 1000 + turns_before_us
    setattr(exchange, f"{exchange.phase}_us", spent_us)


def ended_ns(exchange: Exchange) -> int:
    """Give the present, or the deadline when that has passed; ns since the epoch."""
    return time_ns() - max(0, monotonic_ns() - exchange.deadline_ns)
