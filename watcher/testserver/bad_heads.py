"""Bad status lines, headers and redirects."""

from __future__ import annotations

from collections.abc import Iterator

from watcher.models import Reason
from watcher.testserver.answer import End, Step
from watcher.testserver.kind import CHUNKED, LENGTH, OK, SLOW_S, TEXT, Kind, endless, redirect, response

_PROTOCOL = (Reason.PROTOCOL,)
_STRICT = (Reason.PROTOCOL, None)  # RFC 9112 wants an error; many clients look the other way
_DEAF = (Reason.PROTOCOL, Reason.TIMEOUT)  # by a limit of one's own, or at the deadline
_TIMEOUT = (Reason.TIMEOUT,)
_REDIRECT = (Reason.REDIRECT,)
_EMPTY = LENGTH % 0


def _closing(*pieces: bytes) -> tuple[Step, ...]:
    """Make steps that send what is given and close."""
    return b"".join(pieces), End.CLOSE


def _redirect_on(query: str) -> Iterator[Step]:
    """Redirect to an address that was never given before."""
    number = int(query) if query.isascii() and query.isdecimal() and len(query) < 10 else 0
    return iter(redirect(b"/bad/redirect-endless?%d" % (number + 1)))


STATUS_LINES = (
    Kind("garbage", _PROTOCOL, "bytes that are no HTTP", _closing(bytes(range(128, 256)) * 8)),
    Kind("http09", _PROTOCOL, "a page without a head, as in HTTP/0.9", _closing(b"<html>hello</html>\r\n")),
    Kind("http2", _PROTOCOL, "an HTTP/2 frame that nobody asked for", _closing(b"\0\0\0\4\0\0\0\0\0")),
    Kind("icy", _PROTOCOL, "the status line of an internet radio", _closing(b"ICY 200 OK\r\n\r\n", TEXT)),
    Kind("bad-status-line", _PROTOCOL, "a status that is no number", _closing(b"HTTP/1.1 abc Fine\r\n", _EMPTY)),
    Kind("short-status", _PROTOCOL, "a status of two digits", _closing(b"HTTP/1.1 20 OK\r\n", _EMPTY)),
    Kind("bad-version", _PROTOCOL, "HTTP/9.9", _closing(b"HTTP/9.9 200 OK\r\n", _EMPTY)),
    Kind("status-999", (Reason.STATUS,), "a status of no class", _closing(response(b"", status=b"999 No"))),
    Kind(
        "switch-unasked", (Reason.PROTOCOL, Reason.STATUS), "101 Switching Protocols that nobody asked for",
        _closing(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chess\r\nConnection: upgrade\r\n\r\nd4"),
    ),
    Kind("flood-1xx", _DEAF, "interim answers without an end", endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 600)),
)  # fmt: skip

HEADERS = (
    Kind("half-header", _TIMEOUT, "the head stops in a header, the connection stays", (OK + b"X-Hal", End.HOLD)),
    Kind("slow-headers", _TIMEOUT, "a header a letter at a time, for ever", endless(OK + b"X-Slow: ", b"z", SLOW_S)),
    Kind("endless-headers", _DEAF, "headers without an end", endless(OK, b"X-Again: and again\r\n" * 800)),
    Kind("endless-header", _DEAF, "one header line without an end", endless(OK + b"X-Long: ", b"long" * 4096)),
    Kind("huge-header", _PROTOCOL, "a header of 1 MiB", _closing(OK, b"X-Huge: ", b"u" * 2**20, b"\r\n", _EMPTY)),
    Kind("many-headers", _PROTOCOL, "50,000 headers", _closing(OK, b"X-Many: and another\r\n" * 50_000, _EMPTY)),
    Kind("nul-bytes", _PROTOCOL, "a NUL in a header's value", _closing(OK, b"X-Nul: a\0b\r\n", _EMPTY)),
    Kind("header-no-colon", _PROTOCOL, "a header line without a colon", _closing(OK, b"no colon here\r\n", _EMPTY)),
    Kind("header-space", _STRICT, "a space between a header's name and colon", _closing(OK, b"X-S : s\r\n", _EMPTY)),
    Kind("bare-cr", _STRICT, "a CR without LF in a header", _closing(OK, b"X-Cr: a\rX-B: b\r\n", _EMPTY)),
    Kind("bad-length", _PROTOCOL, "a Content-Length that is no number", _closing(OK, b"Content-Length: ten\r\n\r\n")),
    Kind("negative-length", _PROTOCOL, "a negative Content-Length", _closing(OK, b"Content-Length: -1\r\n\r\n")),
    Kind("huge-length", _PROTOCOL, "a Content-Length of 40 digits", _closing(OK, LENGTH % 10**39, TEXT)),
    Kind("two-lengths", _PROTOCOL, "two Content-Lengths that differ", _closing(response(TEXT, b"Content-Length: 5"))),
    Kind(
        "length-and-chunked", _STRICT, "both Content-Length and chunked, as in request smuggling",
        _closing(OK, b"Content-Length: 3\r\n", CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
    ),
    Kind("unknown-coding", _STRICT, "a Transfer-Encoding that nobody knows",
         _closing(OK, b"Transfer-Encoding: rot13\r\n\r\nuryyb")),
)  # fmt: skip

REDIRECTS = (
    Kind("redirect-loop", _REDIRECT, "to a page that redirects back", redirect(b"/bad/redirect-back")),
    Kind("redirect-back", _REDIRECT, "the other half of redirect-loop", redirect(b"/bad/redirect-loop")),
    Kind("redirect-endless", _REDIRECT, "always to another address", _redirect_on),
    Kind("redirect-no-location", (Reason.REDIRECT, Reason.STATUS), "without a Location", redirect(None)),
    Kind("redirect-bad-url", _REDIRECT, "to what is no URL", redirect(b"http://[::1/")),
    Kind("redirect-other-scheme", _REDIRECT, "to another scheme", redirect(b"ftp://127.0.0.1/")),
    Kind("redirect-nowhere", (Reason.CONNECT,), "to a port where nothing listens", redirect(b"http://127.0.0.1:1/")),
    # closed: who follows it is refused while the request is still under way, and the reset may overtake the refusal
    Kind("redirect-long", (Reason.REDIRECT, Reason.PROTOCOL, Reason.STATUS, Reason.CLOSED), "to an address of 100 KB",
         redirect(b"/" + b"long" * 25_000)),
)  # fmt: skip
