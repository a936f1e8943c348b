"""What is sent back to one request: bytes at once, or steps with pauses and a bad end; and how bytes are made of it."""

from __future__ import annotations

import dataclasses
import enum
import gzip
import http
import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from watcher.testserver.request import BadRequest

_CHUNK_BYTES = 4096
_BODYLESS = (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED)


class End(enum.Enum):
    """How an answer made of steps ends before its time."""

    CLOSE = "close"  # an orderly end of the connection
    RESET = "reset"  # RST instead of FIN
    HOLD = "hold"  # nothing more is sent, and the connection stays until the peer leaves


Step = bytes | float | End  # bytes to send, seconds to pause, or an end


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `wire` sent whole, or `steps` taken one by one, `delay_s` after the request had arrived."""

    wire: bytes = b""
    close: bool = False
    delay_s: float = 0.0
    steps: Callable[[], Iterator[Step]] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A response before it becomes bytes; `encoding` is a content coding, `headers` come after the usual ones."""

    status: int = 200
    content: bytes = b""
    type: str = "text/plain; charset=utf-8"
    headers: Sequence[str] = ()
    encoding: str = ""
    chunked: bool = False

    def parts(self, *, head_only: bool, close: bool) -> tuple[bytes, bytes]:
        """Make the head and the body as they go over the wire."""
        content = encode(self.content, self.encoding) if self.encoding else self.content
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}", "Server: watcher-testserver"]
        if self.status in _BODYLESS:
            content = b""
        else:
            lines += [f"Content-Type: {self.type}"]
            lines += ["Transfer-Encoding: chunked"] if self.chunked else [f"Content-Length: {len(content)}"]
        lines += [f"Content-Encoding: {self.encoding}"] if self.encoding else []
        lines += ["Connection: close"] if close else []
        lines += self.headers
        if self.chunked and self.status not in _BODYLESS:
            content = b"".join(chunks(content)) + b"0\r\n\r\n"
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"), b"" if head_only else content


def encode(content: bytes, encoding: str) -> bytes:
    """Apply a content coding; `br` and `zstd` need the packages that watcher itself depends on.

    Raises:
        BadRequest: the coding is not known here.
    """
    if encoding == "gzip":
        return gzip.compress(content, compresslevel=6, mtime=0)
    if encoding == "deflate":
        return zlib.compress(content)
    module = {"br": "brotli", "zstd": "backports.zstd"}.get(encoding)
    if module is None:
        raise BadRequest(f"unknown encoding {encoding!r}: gzip, deflate, br or zstd")
    try:
        return importlib.import_module(module).compress(content)
    except ImportError:
        raise BadRequest(f"encoding {encoding!r} needs the package {module.split('.')[0]}", 501) from None


def chunks(content: bytes) -> Iterable[bytes]:
    """Cut a body into chunks of the chunked transfer coding, without the last one."""
    for at in range(0, len(content), _CHUNK_BYTES):
        piece = content[at : at + _CHUNK_BYTES]
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def dripping(head: bytes, body: bytes, over_s: float, pieces: int = 20) -> Callable[[], Iterator[Step]]:
    """Make the steps that send the head at once and the body in pieces spread evenly over `over_s` seconds."""
    size = -(-len(body) // pieces) or 1

    def steps() -> Iterator[Step]:
        yield head
        for at in range(0, len(body), size):
            yield over_s / pieces
            yield body[at : at + size]

    return steps


def _phrase(status: int) -> str:
    """Give the reason phrase of a status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unassigned"
