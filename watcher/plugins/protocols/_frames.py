"""The frames of a WebSocket over a conversation, made and read by the sans-I/O part of the library `websockets`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from watcher import ProbeError, Reason
from watcher.breath import next_turn
from watcher.transport import Conversation, Exchange

if TYPE_CHECKING:
    import requests
    from websockets.client import ClientProtocol

CLOSE, PONG = 0x8, 0xA  # RFC 6455, 5.2; what is below them are messages
FRAMES_MAX = 10_000  # in one check; to read an empty one takes some 20 µs
PIECE_BYTES = 2048  # read between two pauses: a flood of empty frames must not hold up other checks
# what the handshake says itself, or what means nothing there
NOT_FROM_PLUGINS = frozenset("accept-encoding connection content-length upgrade".split())
NOT_FROM_PLUGINS |= {f"sec-websocket-{name}" for name in ("extensions", "key", "protocol", "version")}


class Frames:
    """The frames of one connection, out and in; the server's pings are answered on the way."""

    __slots__ = ("_came", "_conversation", "_count", "_events", "protocol")

    def __init__(self, conversation: Conversation, protocol: ClientProtocol) -> None:
        self._conversation = conversation
        self._came = b""
        self._count = 0
        self._events: deque[Any] = deque()
        self.protocol = protocol

    def shake_hands(self, exchange: Exchange, request: requests.PreparedRequest) -> None:
        """Send the opening handshake with the headers of a request, and read its answer."""
        handshake = self.protocol.connect()
        for name, value in request.headers.items():
            if name.lower() not in NOT_FROM_PLUGINS:
                handshake.headers.pop(name, None)
                handshake.headers[name] = value.decode("latin-1") if isinstance(value, bytes) else value
        self.say(self.protocol.send_request, handshake)
        response = self._next()
        exchange.http_status = response.status_code
        if self.protocol.handshake_exc is None:
            return
        if response.status_code == 101:
            raise ProbeError(Reason.PROTOCOL, str(self.protocol.handshake_exc))
        words = f"{response.status_code} {response.reason_phrase}".strip()
        raise ProbeError(Reason.STATUS, f"{words} in answer to the handshake, wanted 101")

    def say(self, what: Any, *args: Any) -> None:
        """Let the protocol say something (`say(protocol.send_text, b"hello")`), and send what it makes of it.

        Raises:
            ProbeError: nothing can be said any more.
        """
        from websockets.exceptions import InvalidState

        try:
            what(*args)
        except InvalidState:
            raise self._ended() from None
        self._flush()

    def _flush(self) -> None:
        if data := b"".join(self.protocol.data_to_send()):
            self._conversation.send(data)

    def ping(self, payload: bytes) -> None:
        """Send a ping, and wait for its pong; messages that come before are passed over."""
        self.say(self.protocol.send_ping, payload)
        frame = self._next()
        while frame.opcode != PONG or frame.data != payload:
            frame = self._next()

    def message(self) -> bytes:
        """Give the next message, of however many frames."""
        whole = bytearray()
        while True:
            frame = self._next()
            if frame.opcode < CLOSE:
                whole += frame.data
                if frame.fin:
                    return bytes(whole)

    def _next(self) -> Any:
        """Give the next event: first the answer to the handshake, then frames.

        Raises:
            ProbeError: the server closed, or what it said is no WebSocket.
        """
        protocol = self.protocol
        while not self._events:
            if error := protocol.handshake_exc or protocol.parser_exc:
                raise broken(error)
            self._read()
            if not protocol.close_expected():
                self._flush()
        event = self._events.popleft()
        if protocol.close_rcvd is not None and getattr(event, "opcode", None) == CLOSE:
            raise self._ended()
        return event

    def _read(self) -> None:
        """Let the protocol read a piece of what came."""
        if self._came:
            next_turn()
        else:
            self._came = self._conversation.receive()
        piece, self._came = self._came[:PIECE_BYTES], self._came[PIECE_BYTES:]
        if piece:
            self.protocol.receive_data(piece)
        else:
            self.protocol.receive_eof()
        self._events.extend(self.protocol.events_received())
        self._count += len(self._events)
        if self._count > FRAMES_MAX:
            raise ProbeError(Reason.PROTOCOL, f"more than {FRAMES_MAX} frames before an answer")

    def _ended(self) -> ProbeError:
        """Give the failure that ended the conversation."""
        protocol = self.protocol
        if protocol.close_rcvd is None and protocol.parser_exc is not None:
            return broken(protocol.parser_exc)
        return ProbeError(Reason.CLOSED, f"the server closed the connection: {protocol.close_rcvd}")


def broken(error: Exception) -> ProbeError:
    """Give the failure that an exception of `websockets` stands for."""
    cause = error.__cause__ or error
    if isinstance(cause, EOFError):
        return ProbeError(Reason.CLOSED, "connection closed before an answer")
    return ProbeError(Reason.PROTOCOL, f"not WebSocket: {cause}"[:300])
