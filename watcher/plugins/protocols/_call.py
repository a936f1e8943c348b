"""One gRPC call over a conversation: HTTP/2, spoken by the sans-I/O library `h2` (RFC 9113)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from watcher import ProbeError, Reason
from watcher.transport import Conversation

STREAM = 1
SETTINGS = b"\x04"  # the type of the frame that a server begins with (RFC 9113, 3.4)
ANSWER_MAX_BYTES = 16_384
FRAME_HEAD_BYTES = 9  # RFC 9113, 4.1
FRAME_MAX_BYTES = 16_384  # of what follows the head, as long as we ask for nothing else
GOAWAY = 7


class Call:
    """One call over a connection of its own: `fields` are headers and trailers, `body` is what came between."""

    __slots__ = ("_begun", "_connection", "_conversation", "_rest", "body", "ended", "fields")

    def __init__(self, conversation: Conversation) -> None:
        from h2.connection import H2Connection

        self._connection = H2Connection()
        self._conversation = conversation
        self._begun = self.ended = False
        self._rest = b""
        self.fields: dict[str, str] = {}
        self.body = b""

    def send(self, fields: list[tuple[str, str | bytes]], message: bytes) -> None:
        """Send the whole call."""
        self._connection.initiate_connection()
        self._connection.send_headers(STREAM, fields)
        self._connection.send_data(STREAM, message, end_stream=True)
        self._flush()

    def receive(self) -> None:
        """Take what comes next."""
        from h2.exceptions import ProtocolError

        data = self._conversation.receive()
        if not data:
            raise ProbeError(Reason.CLOSED, "connection closed before an answer")
        if not self._begun and data[3:4] not in (SETTINGS, b""):
            raise ProbeError(Reason.PROTOCOL, f"not HTTP/2: begins with {data[:40]!r}")
        self._begun = True
        try:
            for frame in self._frames(data):
                for event in self._connection.receive_data(frame):
                    self._take(event)
        except ProtocolError as error:
            raise ProbeError(Reason.PROTOCOL, f"HTTP/2: {error}"[:300]) from None
        self._flush()

    def _frames(self, data: bytes) -> Iterator[bytes]:
        """Give whole frames up to the end of the call, but no farewell that lets it end: after one `h2` takes none."""
        data, begin = self._rest + data, 0
        while not self.ended and len(data) - begin >= FRAME_HEAD_BYTES:
            size = int.from_bytes(data[begin : begin + 3])
            end = begin + FRAME_HEAD_BYTES + size
            if size <= FRAME_MAX_BYTES and end > len(data):
                break
            frame = data[begin:end]
            if not lets_end(frame):
                yield frame
            begin = end
        self._rest = data[begin:]

    def _take(self, event: Any) -> None:
        from h2 import events

        match event:
            case events.ResponseReceived() | events.TrailersReceived():
                self.fields |= {name.decode(): value.decode(errors="replace") for name, value in event.headers}
            case events.DataReceived():
                self.body += event.data
                if len(self.body) > ANSWER_MAX_BYTES:
                    raise ProbeError(Reason.PROTOCOL, f"an answer longer than {ANSWER_MAX_BYTES} bytes")
            case events.StreamEnded():
                self.ended = True
            case events.StreamReset() | events.ConnectionTerminated():
                code = getattr(event.error_code, "name", event.error_code)
                raise ProbeError(Reason.CLOSED, f"the server gave up the call: {code}")

    def close(self) -> None:
        """Say good-bye."""
        self._connection.close_connection()
        with contextlib.suppress(ProbeError):
            self._flush()

    def _flush(self) -> None:
        if data := self._connection.data_to_send():
            self._conversation.send(data)


def lets_end(frame: bytes) -> bool:
    """Tell whether a frame says no more than that the server takes no calls after ours (RFC 9113, 6.8)."""
    last_stream, code = frame[9:13], frame[13:17]
    return frame[3] == GOAWAY and code == bytes(4) and int.from_bytes(last_stream) & 0x7FFF_FFFF >= STREAM
