"""One HTTP exchange over one connection: connect, send, wait, receive, each phase timed apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.connection import Connection, account_for_unfinished, connect, secure
from watcher.transport.exchange import phases_us
from watcher.transport.stream import Deadline
from watcher.transport.wire import ResponseReader

if TYPE_CHECKING:
    from watcher.transport.exchange import Exchange
    from watcher.transport.target import Target


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
        stream = connect(exchange, target, deadline)
        connection = Connection(stream, exchange.address)
        if target.tls is not None:
            secure(exchange, connection, target.tls, target.server_name)
        _converse(exchange, connection, wire, reader)
        return _finish(connection, reader, kept)
    except ProbeError:
        account_for_unfinished(exchange, connection)
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
