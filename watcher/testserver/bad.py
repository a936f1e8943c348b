"""Every kind of bad answer, by name; `/bad/NAME` gives it. The odd ones at the end are right and must be taken so."""

from __future__ import annotations

from watcher.models import Reason
from watcher.testserver import bad_bodies, bad_heads
from watcher.testserver.answer import End
from watcher.testserver.kind import CHUNKED, LENGTH, OK, SETTLE_S, TEXT, Kind, response

_CLOSED = (Reason.CLOSED,)
_UP = (None,)
_LENIENT = (None, Reason.PROTOCOL)

CONNECTIONS = (
    Kind("silent", (Reason.TIMEOUT,), "takes the request and never answers", (End.HOLD,)),
    Kind("close-before-headers", _CLOSED, "closes instead of an answer", (End.CLOSE,)),
    Kind("close-in-headers", _CLOSED, "closes in the head", (OK + b"X-Hal", End.CLOSE)),
    Kind("reset-before-headers", _CLOSED, "resets instead of an answer", (End.RESET,)),
    Kind("reset-in-headers", _CLOSED, "resets in the head", (OK + b"X-Hal", SETTLE_S, End.RESET)),
)

ODD = (
    Kind("continue-first", _UP, "100 Continue, then the answer",
         (b"HTTP/1.1 100 Continue\r\n\r\n" + response(TEXT), End.CLOSE)),
    Kind("early-hints", _UP, "103 with a header, then the answer",
         (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", SETTLE_S, response(TEXT), End.CLOSE)),
    Kind("no-phrase", _UP, "a status line without a phrase", (response(TEXT, status=b"200"), End.CLOSE)),
    Kind("http10", _UP, "HTTP/1.0 without a length", (b"HTTP/1.0 200 OK\r\n\r\n" + TEXT, End.CLOSE)),
    Kind("no-length", _UP, "the end of the connection ends the body", (OK + b"\r\n" + TEXT, SETTLE_S, TEXT, End.CLOSE)),
    Kind("byte-by-byte", _UP, "a whole answer in packets of one byte",
         tuple(step for byte in response(TEXT) for step in (bytes([byte]), 0.002)) + (End.CLOSE,)),
    Kind("trailers", _UP, "fields after a chunked body",
         (OK + CHUNKED + b"5\r\nhello\r\n0\r\nX-After: all\r\n\r\n", End.CLOSE)),
    Kind("chunk-extension", _UP, "a chunk with an extension",
         (OK + CHUNKED + b'5;name="value"\r\nhello\r\n0\r\n\r\n', End.CLOSE)),
    Kind("latin1-header", _UP, "a header in Latin-1", (response(TEXT, b"X-Name: caf\xe9"), End.CLOSE)),
    Kind("folded-header", _LENIENT, "a header over two lines, as in RFC 822",
         (response(TEXT, b"X-Folded: one\r\n  two"), End.CLOSE)),
    Kind("lf-only", _LENIENT, "line ends without CR",
         (b"HTTP/1.1 200 OK\n" + (LENGTH % len(TEXT)).replace(b"\r", b"") + TEXT, End.CLOSE)),
    Kind("blank-line-first", _LENIENT, "an empty line before the status line", (b"\r\n" + response(TEXT), End.CLOSE)),
)  # fmt: skip

KINDS: dict[str, Kind] = {
    kind.name: kind
    for group in (
        bad_heads.STATUS_LINES, bad_heads.HEADERS, bad_heads.REDIRECTS, bad_bodies.LENGTHS, bad_bodies.CHUNKS,
        bad_bodies.CODINGS, CONNECTIONS, ODD,
    )
    for kind in group
}  # fmt: skip
