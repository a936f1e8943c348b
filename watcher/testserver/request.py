"""One HTTP/1.1 request as bytes, taken apart (RFC 9112); never touches a socket."""

from __future__ import annotations

import dataclasses

HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 16 * 1024 * 1024

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class BadRequest(Exception):
    """A request that cannot be answered as asked.

    Args:
        message: one line for whoever sent it.
        status: the HTTP status to answer with.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body; `headers` has lower-case names and the last value of each."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


def parse(data: bytes) -> tuple[Request, bytes] | None:
    """Take the first request off `data`: the request and what follows it, or None when more must arrive.

    Args:
        data: what arrived on the connection and was not yet answered.

    Raises:
        BadRequest: what arrived is no request, or is larger than this server takes.
    """
    head, blank_line, rest = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if len(head) > HEAD_LIMIT_BYTES:
        raise BadRequest("request head over 64 KiB", 431)
    if not blank_line:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = _request_line(first)
    headers = dict(map(_header, lines))
    taken = _body(headers, rest)
    if taken is None:
        return None
    body, rest = taken
    connection = headers.get("connection", "").lower()
    keep_alive = "keep-alive" in connection if version == "HTTP/1.0" else "close" not in connection
    return Request(method, target, headers, body, keep_alive), rest


def _request_line(line: str) -> tuple[str, str, str]:
    """Split a request line into method, target in origin form, and version."""
    parts = line.split(" ")
    if len(parts) != 3 or not parts[0] or not _TOKEN.issuperset(parts[0]):
        raise BadRequest("not a request line")
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if target.startswith(("http://", "https://")):  # absolute form, as sent to a proxy
        target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
    if not target.startswith(("/", "*")):
        raise BadRequest("the target must begin with a slash")
    return method, target, version


def _header(line: str) -> tuple[str, str]:
    """Split a header line into its lower-case name and its value."""
    name, colon, value = line.partition(":")
    if not colon or not name or not _TOKEN.issuperset(name):
        raise BadRequest("not a header line")
    return name.lower(), value.strip(" \t")


def _body(headers: dict[str, str], data: bytes) -> tuple[bytes, bytes] | None:
    """Take the body that the headers announce off `data`; None when more must arrive."""
    if "transfer-encoding" in headers:
        taken = _chunked(data)
        complete = taken is not None
    else:
        announced = headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()):
            raise BadRequest("Content-Length is no number")
        length = int(announced)
        if length > BODY_LIMIT_BYTES:
            raise BadRequest("request body over 16 MiB", 413)
        taken = data[:length], data[length:]
        complete = len(data) >= length
    if not complete and "100-continue" in headers.get("expect", "").lower():
        raise BadRequest("send the body without waiting for 100 Continue", 417)
    return taken if complete else None


def _chunked(data: bytes) -> tuple[bytes, bytes] | None:
    """Take a body in chunks off `data`; None when more must arrive."""
    pieces: list[bytes] = []
    total_bytes = at = 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = _chunk_size(data[at:line_end])
        total_bytes += size
        if total_bytes > BODY_LIMIT_BYTES:
            raise BadRequest("request body over 16 MiB", 413)
        at = line_end + 2
        if size == 0:
            return _trailers(b"".join(pieces), data, at)
        if len(data) < at + size + 2:
            return None
        pieces.append(data[at : at + size])
        at += size + 2
    return None


def _chunk_size(line: bytes) -> int:
    """Read the size of a chunk, without its extensions."""
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits if digits.isalnum() else b"", 16)
    except ValueError:
        raise BadRequest("chunk size is no number") from None


def _trailers(body: bytes, data: bytes, at: int) -> tuple[bytes, bytes] | None:
    """Skip trailer fields up to their empty line; give the body and what follows."""
    while (line_end := data.find(b"\r\n", at)) >= 0:
        if line_end == at:
            return body, data[at + 2 :]
        at = line_end + 2
    return None
