"""HTTP/1.1 as bytes: a prepared request on its way out, a response on its way in (parsed by llhttp).

No I/O here: bytes in, bytes out. RFC 9110 and 9112.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from watcher.errors import ProbeError
from watcher.models import Reason

if TYPE_CHECKING:
    import requests

HEAD_MAX_BYTES = 65_536

# Of a body, what is none of it: sizes and extensions of chunks, trailers. A chunk of one byte takes five more.
AROUND_MAX_BYTES = 65_536
AROUND_EACH = 16

# RFC 9112, 2.2: a recipient may take a lone LF for the end of a line; browsers do, so a site that sends it is up.
LENIENCIES = {"lenient_optional_cr_before_lf": True}


def request_bytes(request: requests.PreparedRequest, host: str) -> bytes:
    """Write a prepared request as it goes over the wire; `host` is the Host field when the request has none."""
    lines = [f"{request.method} {request.path_url} HTTP/1.1"]
    if "Host" not in request.headers:
        lines.append(f"Host: {host}")
    for name, value in request.headers.items():
        lines.append(f"{_text(name)}: {_text(value)}")
    body = request.body or b""
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, (bytes, bytearray)):
        raise ValueError("a body that is read while it is sent needs transport = \"requests\"")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + bytes(body)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class ResponseReader:
    """Reads one final response from the bytes of a connection; interim (1xx) responses before it are passed over.

    `feed` it until it says True, `end` it when the peer closed, `close` it always. Raises `ProbeError` with reason
    `protocol` or `closed`. When the body grows past `max_body`, `capped` is set and the rest is not waited for.
    """

    __slots__ = (
        "_alive", "_body", "_head_only", "_in_body", "_max_body", "_parser", "_received", "body_bytes", "capped",
        "done", "head", "status",
    )  # fmt: skip

    def __init__(self, max_body: int, head_only: bool = False) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**LENIENCIES)
        self._head_only = head_only
        self._alive = False
        self._in_body = False
        self._body = bytearray()  # not a list: a chunk of two bytes would weigh fifty
        self._max_body = max_body
        self._received = 0  # since the head
        self.head = b""  # the header sections, and whatever arrived with their last bytes
        self.status = 0
        self.body_bytes = 0
        self.capped = False
        self.done = False

    def feed(self, data: bytes) -> bool:
        """Take what arrived; True when the response is complete, or as much of it as `max_body` allows."""
        if self._in_body:
            self._received += len(data)
        else:
            self.head += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            # what follows a complete response, or the part of it that is read, is not our concern
            if not self.done and self.body_bytes <= self._max_body:
                raise ProbeError(Reason.PROTOCOL, self._complaint(error)) from None
            self._alive = False
        except httptools.HttpParserUpgrade:
            pass  # 101: the response is complete, what follows is another protocol
        if len(self.head) > HEAD_MAX_BYTES and self._is_head_too_long():
            raise ProbeError(Reason.PROTOCOL, f"headers longer than {HEAD_MAX_BYTES} bytes")
        if self._received - self.body_bytes > AROUND_MAX_BYTES + AROUND_EACH * self.body_bytes and not self.done:
            where = f"after {self.body_bytes} bytes of the body"
            raise ProbeError(Reason.PROTOCOL, f"chunk extensions or trailers without an end, {where}")
        if self.body_bytes > self._max_body:
            self.status = self.status or self._parser.get_status_code()
            self.capped = self.done = True
        return self.done

    def _is_head_too_long(self) -> bool:
        if not self._in_body:
            return True
        return all(self.head.find(end, 0, HEAD_MAX_BYTES) < 0 for end in (b"\n\r\n", b"\n\n"))

    def end(self) -> None:
        """Take the end of the connection: complete only a body that is delimited by it (RFC 9112, 6.3)."""
        if not self.head:
            raise ProbeError(Reason.CLOSED, "connection closed before an answer")
        if not self._in_body:
            raise ProbeError(Reason.CLOSED, "connection closed inside the headers")
        fields = {name.lower(): value for name, value in header_fields(self.head)}
        if b"content-length" in fields:
            wanted = fields[b"content-length"].decode("latin-1")
            raise ProbeError(Reason.CLOSED, f"connection closed after {self.body_bytes} of {wanted} bytes")
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            raise ProbeError(Reason.CLOSED, f"connection closed inside a chunked body, after {self.body_bytes} bytes")
        self.status = self._parser.get_status_code()
        self.done = True

    def keeps_alive(self) -> bool:
        """Say whether the connection may serve another request."""
        return self._alive and not self.capped and not self._head_only

    @property
    def body(self) -> bytes:
        """The body as it came, still content-coded, of at most `max_body` bytes."""
        return bytes(memoryview(self._body)[: self._max_body])

    def close(self) -> None:
        """Let the parser go: it and this reader refer to each other."""
        self._parser = None

    # llhttp calls these

    def on_message_begin(self) -> None:  # pylint: disable=missing-function-docstring
        if self.done:  # an answer that nobody asked for
            self._alive = False

    def on_headers_complete(self) -> None:  # pylint: disable=missing-function-docstring
        self._in_body = True
        if self._head_only:
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:  # pylint: disable=missing-function-docstring
        if not self.done:
            self._body += data
            self.body_bytes += len(data)

    def on_message_complete(self) -> None:  # pylint: disable=missing-function-docstring
        if not self.done:
            status = self._parser.get_status_code()
            if status >= 200 or status == 101:
                self.status = status
                self.done = True
                self._alive = self._parser.should_keep_alive()  # llhttp knows it only here
            else:
                self._in_body = False

    def _complaint(self, error: Exception) -> str:
        place = f"in the body, after {self.body_bytes} bytes" if self._in_body else "in the headers"
        if not self.head.startswith(b"HTTP/"[: len(self.head)]):
            return f"not HTTP: begins with {ascii(self.head[:40])[1:]}"
        return f"{str(error).rstrip('.')}, {place}"


def header_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Give the header fields of the final response in `head`, names as they came, in their order."""
    return _read_head(head).fields


def reason_phrase(head: bytes) -> str:
    """Give the reason phrase of the final response in `head`; empty when it has none."""
    return _read_head(head).phrase.decode("latin-1")


class _Head:
    """Collects the header section of the final response that a parser reads: not its trailers, nor what follows it."""

    __slots__ = ("_final", "_next_fields", "_next_phrase", "fields", "parser", "phrase")

    def __init__(self) -> None:
        self.parser: httptools.HttpResponseParser | None = None
        self.fields: list[tuple[bytes, bytes]] = []
        self.phrase = b""
        self._final = False
        self.on_message_begin()

    def on_message_begin(self) -> None:  # pylint: disable=missing-function-docstring
        self._next_fields: list[tuple[bytes, bytes]] = []
        self._next_phrase = b""

    def on_status(self, phrase: bytes) -> None:  # pylint: disable=missing-function-docstring
        self._next_phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:  # pylint: disable=missing-function-docstring
        self._next_fields.append((name, value))

    def on_headers_complete(self) -> None:  # pylint: disable=missing-function-docstring
        if not self._final:
            self.fields, self.phrase = self._next_fields, self._next_phrase
            status = self.parser.get_status_code()
            self._final = status >= 200 or status == 101
        self._next_fields = []


def _read_head(head: bytes) -> _Head:
    collected = _Head()
    collected.parser = parser = httptools.HttpResponseParser(collected)
    parser.set_dangerous_leniencies(**LENIENCIES)
    try:
        parser.feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        pass  # in what followed the headers; the headers themselves were read before
    finally:
        collected.parser = None  # the two refer to each other
    return collected
