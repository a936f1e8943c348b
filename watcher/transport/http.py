"""One HTTP exchange over one connection: resolve, connect, TLS, send, wait, receive, each phase timed apart.

A phase lasts until its last byte arrived at this machine, not until we noticed. Within one turn (from our send to the
last byte of the answer) the time is the network's and the server's; between turns it is ours, and goes to the lag.
"""

from __future__ import annotations

import contextlib
import ssl
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, NamedTuple

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.stream import Deadline, Stream
from watcher.transport.tls import Engine
from watcher.transport.wire import ResponseReader

if TYPE_CHECKING:
    from watcher.transport.dns import Address, Resolver
    from watcher.transport.exchange import Exchange


class Target(NamedTuple):
    """Where a request goes: all that is known of it before the check, shared by the endpoints that go there.

    `addresses` are those of a literal or pinned address; without them `resolver` is asked for `host`. `tls` is None for
    plain HTTP; `server_name` is what the certificate must be for.
    """

    host: str
    port: int
    family: int
    addresses: tuple[Address, ...]
    resolver: Resolver
    tls: ssl.SSLContext | None
    server_name: str | None
    max_body: int


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


def fetch(
    exchange: Exchange, target: Target, wire: bytes, *, head_only: bool = False, kept: list[Connection] | None = None
) -> ResponseReader:
    """Send a request and read its response; fills the exchange's phases for this hop.

    Args:
        kept: where a connection that may serve another check waits for it; None for a fresh connection each time.

    Raises:
        ProbeError: with what failed; the phases until then, the unfinished one included, are in the exchange.
    """
    _begin_hop(exchange)
    reader = ResponseReader(target.max_body, head_only)
    deadline = Deadline(exchange.deadline_ns)
    connection = None
    try:
        if kept:
            connection = kept.pop()
            if connection.stream.idle() and _converse_again(exchange, connection, deadline, wire, reader):
                return _finish(connection, reader, kept)
            connection.close()
        stream = _connect(exchange, target, deadline)
        connection = Connection(stream, exchange.address)
        if target.tls is not None:
            _secure(exchange, connection, target.tls, target.server_name)
        _converse(exchange, connection, wire, reader)
        return _finish(connection, reader, kept)
    except ProbeError:
        _account_for_unfinished(exchange, connection)
        raise
    finally:
        deadline.close()
        reader.close()
        if connection is not None and (kept is None or connection not in kept):
            connection.close()


def _begin_hop(exchange: Exchange) -> None:
    if exchange.phase != "start":
        exchange.hops_us += phases_us(exchange)
        exchange.dns_us = exchange.connect_us = exchange.tls_us = exchange.ttfb_us = exchange.transfer_us = None
        exchange.http_status = exchange.body_bytes = exchange.address = exchange.peer = None
        exchange.reason = exchange.detail = None
    exchange.phase = "dns"


def phases_us(exchange: Exchange) -> int:
    """Sum the phases of the exchange's last hop."""
    return (
        (exchange.dns_us or 0)
        + (exchange.connect_us or 0)
        + (exchange.tls_us or 0)
        + (exchange.ttfb_us or 0)
        + (exchange.transfer_us or 0)
    )


def _connect(exchange: Exchange, target: Target, deadline: Deadline) -> Stream:
    addresses = target.addresses or _resolve(exchange, target, deadline)
    exchange.phase = "connect"
    exchange.since_ns = time_ns()
    for tries_left in range(len(addresses) - 1, -1, -1):
        family, exchange.address = addresses[-1 - tries_left]
        try:
            stream = Stream(family, (exchange.address, target.port), deadline)
        except ProbeError as error:
            if not tries_left or error.reason is not Reason.CONNECT:
                raise
            continue
        spent_us = (stream.began_ns - exchange.since_ns) // 1000  # on addresses that refused
        exchange.connect_us = stream.connect_us + (spent_us if tries_left < len(addresses) - 1 else 0)
        return stream
    raise AssertionError("no address to connect to")


def _resolve(exchange: Exchange, target: Target, deadline: Deadline) -> tuple[Address, ...]:
    addresses = target.resolver.cached(target.host, target.family)
    if addresses is not None:
        exchange.dns_us = 0
        return addresses
    exchange.phase = "dns"
    exchange.since_ns = time_ns()
    addresses = target.resolver.resolve(target.host, target.family, deadline)
    exchange.dns_us = max(0, time_ns() - exchange.since_ns) // 1000
    return addresses


def _secure(exchange: Exchange, connection: Connection, tls: ssl.SSLContext, server_name: str | None) -> None:
    stream = connection.stream
    exchange.phase = stream.phase = "tls"
    engine = exchange.peer = Engine(tls, server_name)
    waited_ns = 0
    stream.send(engine.output())
    try:
        while not engine.established:
            engine.feed(stream.receive())
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


def _converse(exchange: Exchange, connection: Connection, wire: bytes, reader: ResponseReader) -> None:
    stream = connection.stream
    exchange.phase = stream.phase = "ttfb"
    connection.send(wire)
    data = connection.receive()
    first_ns = stream.arrived_ns
    exchange.ttfb_us = max(0, first_ns - stream.sent_ns) // 1000
    exchange.phase = stream.phase = "transfer"
    while not (data and reader.feed(data)):
        if not data:
            reader.end()
            break
        data = connection.receive()
    exchange.transfer_us = max(0, stream.arrived_ns - first_ns) // 1000


def _converse_again(
    exchange: Exchange, connection: Connection, deadline: Deadline, wire: bytes, reader: ResponseReader
) -> bool:
    """Use a kept connection; False when the peer had closed it meanwhile, which says nothing of the site."""
    exchange.address, exchange.peer = connection.address, connection.engine
    connection.stream.renew(deadline)
    try:
        _converse(exchange, connection, wire, reader)
    except ProbeError as error:
        if error.reason is Reason.CLOSED and not reader.head:
            exchange.ttfb_us = None
            return False
        raise
    return True


def _finish(connection: Connection, reader: ResponseReader, kept: list[Connection] | None) -> ResponseReader:
    if kept is not None and reader.keeps_alive():
        connection.stream.rest()
        kept.append(connection)
    return reader


def _account_for_unfinished(exchange: Exchange, connection: Connection | None) -> None:
    """Give the phase that failed the time that it took so far, up to the deadline."""
    now_ns = time_ns()
    now_ns -= max(0, monotonic_ns() - exchange.deadline_ns)
    if exchange.phase in ("dns", "connect"):
        spent_us = max(0, now_ns - exchange.since_ns) // 1000
    elif connection is None or exchange.phase == "transfer":
        first_ns = connection.stream.sent_ns + (exchange.ttfb_us or 0) * 1000 if connection else now_ns
        spent_us = max(0, now_ns - first_ns) // 1000
    else:
        turns_before_us = (exchange.tls_us or 0) if exchange.phase == "tls" else 0
        spent_us = max(0, now_ns - connection.stream.sent_ns) // 1000 + turns_before_us
    setattr(exchange, f"{exchange.phase}_us", spent_us)
