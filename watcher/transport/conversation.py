"""What probers of other protocols than HTTP are made of: a connection that accounts for its own phases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.connection import Connection, account_for_unfinished, connect, ended_ns, secure
from watcher.transport.stream import Deadline, Stream

if TYPE_CHECKING:
    from watcher.transport.exchange import Exchange
    from watcher.transport.target import Target

LINE_MAX_BYTES = 8192
OPEN = "open"  # the phase of an exchange between its turns


class Conversation(Connection):
    """A connection to talk over: send, and receive by lines, by size, or as it comes.

    The wait for the first bytes is `ttfb_us`, every later wait adds to `transfer_us`. A wait begins with our send or
    with the arrival before it, whichever was later, and ends with the arrival at this machine.
    """

    __slots__ = ("_exchange", "_rest", "_target")  # _rest: what arrived and was not asked for yet

    def __init__(self, exchange: Exchange, target: Target, stream: Stream) -> None:
        super().__init__(stream, exchange.address)
        self._exchange = exchange
        self._target = target
        self._rest = b""

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._begin_turn()
        try:
            super().send(data)
        except ProbeError as error:
            if error.reason is Reason.CLOSED and self.engine is not None:
                super().receive()  # a TLS peer that refused us has said why
            raise
        self._exchange.phase = OPEN

    def receive(self) -> bytes:
        """Give what comes next; empty at the end."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        self._begin_turn()
        began_ns = self._turn_began_ns()
        data = super().receive()
        self._account(max(0, self.stream.arrived_ns - began_ns) // 1000)
        self._exchange.phase = OPEN
        return data

    def read_line(self, limit: int = LINE_MAX_BYTES) -> bytes:
        """Give one line without its end (CRLF or LF).

        Raises:
            ProbeError: `closed` at the end of the connection, `protocol` for a line beyond the limit.
        """
        return self.read_until(b"\n", limit)[:-1].removesuffix(b"\r")

    def read_until(self, mark: bytes, limit: int = LINE_MAX_BYTES) -> bytes:
        """Give all up to the mark, and the mark; errors as of `read_line`."""
        data = self.receive()
        while mark not in data:
            if len(data) > limit:
                raise _too_long(limit, mark)
            data += self._more(len(data))
        whole, found, self._rest = data.partition(mark)
        if len(whole) > limit:
            raise _too_long(limit, mark)
        return whole + found

    def read_exactly(self, count: int) -> bytes:
        """Give so many bytes.

        Raises:
            ProbeError: `closed` when the connection ends before.
        """
        data = self.receive() if count else b""
        while len(data) < count:
            data += self._more(len(data))
        self._rest = data[count:]
        return data[:count]

    def _more(self, so_far: int) -> bytes:
        data = self.receive()
        if not data:
            raise ProbeError(Reason.CLOSED, f"connection closed after {so_far} bytes of an answer")
        return data

    def start_tls(self) -> None:
        """Do the TLS handshake now (STARTTLS).

        Raises:
            ProbeError: reason `tls`, `certificate`, `closed` or `timeout`; `protocol` for plain bytes that came before
                it, which an attacker may have put there (CVE-2011-0411).
        """
        if self._rest:
            raise ProbeError(Reason.PROTOCOL, "plain bytes after the answer to STARTTLS")
        if self._target.tls is None:
            raise ValueError("start_tls needs a target with tls or starttls")
        self.secure()

    def secure(self) -> None:
        """Do the TLS handshake of a target that has it."""
        secure(self._exchange, self, self._target.tls, self._target.server_name)
        if self.engine.has_output():
            self.stream.send(self.engine.output())  # a server that speaks first waits for the end of the handshake
        self._rest = self.engine.decrypt()  # or has spoken already: what it said came with the end of the handshake
        if self._rest and self._exchange.ttfb_us is None:
            self._exchange.ttfb_us = 0
        self._exchange.phase = OPEN

    def account_for_unfinished(self) -> None:
        """Give the phase that failed, if one did, the time that it took so far."""
        if self._exchange.phase in ("ttfb", "transfer"):
            self._account(max(0, ended_ns(self._exchange) - self._turn_began_ns()) // 1000)
        elif self._exchange.phase != OPEN:
            account_for_unfinished(self._exchange, self)

    def _begin_turn(self) -> None:
        self._exchange.phase = self.stream.phase = "ttfb" if self._exchange.ttfb_us is None else "transfer"

    def _turn_began_ns(self) -> int:
        stream = self.stream
        return max(stream.sent_ns, stream.arrived_ns, stream.began_ns + stream.connect_us * 1000)

    def _account(self, spent_us: int) -> None:
        exchange = self._exchange
        if exchange.phase == "ttfb":
            exchange.ttfb_us = spent_us
        else:
            exchange.transfer_us = (exchange.transfer_us or 0) + spent_us


def _too_long(limit: int, mark: bytes) -> ProbeError:
    return ProbeError(Reason.PROTOCOL, f"more than {limit} bytes without {ascii(mark)[1:]}")


@contextmanager
def dial(exchange: Exchange, target: Target) -> Iterator[Conversation]:
    """Resolve, connect, and do TLS where the target has it: `with dial(exchange, target) as conversation:`.

    Fills `dns_us`, `connect_us`, `tls_us`, `address` and `peer`; closes the connection at last.

    Raises:
        ProbeError: with what failed; the phases until then, the unfinished one included, are in the exchange.
    """
    deadline = Deadline(exchange.deadline_ns)
    conversation = None
    try:
        conversation = Conversation(exchange, target, connect(exchange, target, deadline))
        exchange.phase = OPEN
        if target.tls is not None and not target.starttls:
            conversation.secure()
        yield conversation
    except ProbeError:
        if conversation is not None:
            conversation.account_for_unfinished()
        else:
            account_for_unfinished(exchange, None)
        raise
    finally:
        deadline.close()
        if conversation is not None:
            conversation.close()
