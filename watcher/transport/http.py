"""One HTTP exchange over one connection: connect, send, wait, receive, each phase timed apart."""

from __future__ import annotations

from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.connection import Connection, account_for_unfinished, connect, secure
from watcher.transport.exchange import phases_us
from watcher.transport.stream import Deadline
from watcher.transport.turnstile import HEAVY_NS, turnstile
from watcher.transport.wire import ResponseReader

if TYPE_CHECKING:
    from watcher.transport.exchange import Exchange
    from watcher.transport.target import Target

SLICE_BYTES = 8192  # parsed at once: of chunks of one byte, a millisecond
FORGOTTEN_S = 2.0  # without an acknowledgement, a kept connection is given up: as long as TCP needs to repeat thrice,
FORGOTTEN_SHARE = 3  # but no more than one part in so many of the timeout


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
    try:
        if not kept or not _again(exchange, wire, reader, kept):
            _anew(exchange, target, wire, reader, kept)
    finally:
        reader.close()
    return reader


def _anew(
    exchange: Exchange, target: Target, wire: bytes, reader: ResponseReader, kept: list[Connection] | None
) -> None:
    """Use a fresh connection."""
    exchange.address = exchange.peer = None  # of a kept one that came to an end
    deadline = Deadline(exchange.deadline_ns)
    connection = None
    try:
        connection = Connection(connect(exchange, target, deadline), exchange.address)
        if target.tls is not None:
            secure(exchange, connection, target.tls, target.server_name)
        _converse(exchange, connection, wire, reader)
    except ProbeError:
        account_for_unfinished(exchange, connection)
        raise
    finally:
        deadline.close()
        _part(exchange, connection, reader, kept)


def _again(exchange: Exchange, wire: bytes, reader: ResponseReader, kept: list[Connection]) -> bool:
    """Use a kept connection; False when it had come to an end meanwhile, which says nothing of the site.

    The peer may have closed it, or a router or firewall on the way forgotten it. The check then begins anew, with all
    of its time. A peer that took the request, and closes later, is the site's fault.
    """
    connection = kept.pop()
    deadline = Deadline(exchange.deadline_ns)
    exchange.address, exchange.peer = connection.address, connection.engine
    try:
        if not connection.stream.idle():
            return False
        connection.stream.renew(deadline)
        _converse(exchange, connection, wire, reader)
    except ProbeError as error:
        if reader.head or deadline.passed or not _ended_meanwhile(error.reason, exchange, connection):
            account_for_unfinished(exchange, connection)
            raise
        exchange.ttfb_us = exchange.transfer_us = None
        exchange.begin_anew()
        if error.reason is Reason.TIMEOUT:
            exchange.note("the kept connection was dead, a new one was made")
        return False
    finally:
        deadline.close()
        _part(exchange, connection, reader, kept)
    return True


def _ended_meanwhile(reason: Reason, exchange: Exchange, connection: Connection) -> bool:
    if reason is Reason.CLOSED:
        return time_ns() - connection.stream.sent_ns < _patience_s(exchange) * 1e9
    return reason is Reason.TIMEOUT


def _patience_s(exchange: Exchange) -> float:
    return min(FORGOTTEN_S, exchange.timeout_ns / 1e9 / FORGOTTEN_SHARE)


def _begin_hop(exchange: Exchange) -> None:
    if exchange.phase != "start":
        exchange.hops_us += phases_us(exchange)
        exchange.dns_us = exchange.connect_us = exchange.tls_us = exchange.ttfb_us = exchange.transfer_us = None
        exchange.http_status = exchange.body_bytes = exchange.address = exchange.peer = None
        exchange.reason = exchange.detail = None
    exchange.phase = "dns"


def _converse(exchange: Exchange, connection: Connection, wire: bytes, reader: ResponseReader) -> None:
    stream = connection.stream
    exchange.phase = stream.phase = "ttfb"
    connection.send(wire)
    data = connection.receive()
    first_ns = stream.arrived_ns
    exchange.ttfb_us = max(0, first_ns - stream.sent_ns) // 1000
    exchange.phase = stream.phase = "transfer"
    while not (data and fed(reader, data)):
        if not data:
            reader.end()
            break
        data = connection.receive()
    exchange.transfer_us = max(0, stream.arrived_ns - first_ns) // 1000


def fed(reader: ResponseReader, data: bytes) -> bool:
    """Have the reader take what arrived; what takes long (a body of tiny chunks) lets others have their turn."""
    if len(data) <= SLICE_BYTES:
        return reader.feed(data)
    done, began_ns = False, monotonic_ns()
    for at in range(0, len(data), SLICE_BYTES):
        if not done and monotonic_ns() - began_ns > HEAVY_NS:
            turnstile().go_on()
            began_ns = monotonic_ns()
        done = reader.feed(data[at : at + SLICE_BYTES])
    return done


def _part(
    exchange: Exchange, connection: Connection | None, reader: ResponseReader, kept: list[Connection] | None
) -> None:
    """Keep a connection that may serve another check; close any other."""
    if connection is None:
        return
    if kept is not None and reader.keeps_alive():
        connection.stream.rest(_patience_s(exchange))
        kept.append(connection)
    else:
        connection.close()
