"""Bad bodies: wrong lengths, broken chunks, bombs and what never ends."""

from __future__ import annotations

import functools
import gzip
import zlib

from watcher.models import Reason
from watcher.testserver.answer import End, Step
from watcher.testserver.kind import BLOCK, CHUNKED, LENGTH, OK, SETTLE_S, SLOW_S, TEXT, Kind, endless, response

BOMB_BYTES = 256 * 1024 * 1024

_CLOSED = (Reason.CLOSED,)
_PROTOCOL = (Reason.PROTOCOL,)
_DEAF = (Reason.PROTOCOL, Reason.TIMEOUT)
_TIMEOUT = (Reason.TIMEOUT,)
_CAPPED = (Reason.BODY_CAP, None)  # up, with the reason kept; nothing to say when nobody looks at the body
_UNREAD = (Reason.PROTOCOL, None)  # up when nobody looks at the body
_LENIENT = (None, Reason.PROTOCOL)
_ANSWERED = (None, Reason.CLOSED)

# 64 MiB of zeros in Brotli (RFC 7932): 52 bytes, kept here so that the server needs no Brotli library
_BR_BOMB = bytes.fromhex(
    "cfffff7f002400e2b14072effff9ffff0f8004401c1680eefd3fffffff01900088c302d0bdffe7ffff3f001200715800baf7ff03"
)


def _chunked(*pieces: bytes) -> tuple[Step, ...]:
    """Make steps that send a chunked body as given and close."""
    return OK + CHUNKED + b"".join(pieces), End.CLOSE


def _encoded(encoding: bytes, body: bytes) -> tuple[Step, ...]:
    """Make steps that send a body said to be in a content coding."""
    return response(body, b"Content-Encoding: " + encoding), End.CLOSE


def _gzip_layers(count: int) -> bytes:
    """Compress a text over and over."""
    return functools.reduce(lambda content, _: gzip.compress(content, mtime=0), range(count), TEXT)


def gzip_bomb() -> bytes:
    """Make a gzip stream of zeros, a thousand to one: a flushed piece may be repeated and the stream stays valid."""
    piece = bytes(1024 * 1024)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    crc_of_all = 0x2A0E7DBB
    trailer = crc_of_all.to_bytes(4, "little") + BOMB_BYTES.to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\2\xff" + packed * (BOMB_BYTES // len(piece)) + b"\3\0" + trailer


def zstd_bomb() -> bytes:
    """Make a Zstandard frame of zeros in RLE blocks (RFC 8878, 3.1.1.2): four bytes for every 128 KiB."""
    block_bytes = 128 * 1024
    rle = block_bytes << 3 | 1 << 1
    block, last = (header.to_bytes(3, "little") + b"\0" for header in (rle, rle | 1))
    return b"\x28\xb5\x2f\xfd" + b"\x00\x58" + block * (BOMB_BYTES // block_bytes - 1) + last


LENGTHS = (
    Kind("short-body", _CLOSED, "an end before the announced length", (OK + LENGTH % 500 + TEXT, End.CLOSE)),
    Kind("long-body", _LENIENT, "more bytes than were announced", (OK + LENGTH % 4 + TEXT * 50, End.CLOSE)),
    Kind("stalled-body", _TIMEOUT, "half the body, then nothing", (OK + LENGTH % 500 + TEXT, End.HOLD)),
    Kind("slow-body", _TIMEOUT, "a body a letter at a time, for ever", endless(OK + LENGTH % 10**6, b"z", SLOW_S)),
    Kind("endless-body", _CAPPED, "a body without length and end", endless(OK + b"\r\n", BLOCK)),
    Kind("huge-body", _CAPPED, "a body of 1 TB, announced as such", endless(OK + LENGTH % 10**12, BLOCK)),
    Kind(
        "body-after-204", _LENIENT, "a body after 204 No Content, which has none",
        (b"HTTP/1.1 204 No Content\r\n\r\n" + TEXT, End.CLOSE),
    ),
    Kind("two-answers", _LENIENT, "two responses to one request", (response(TEXT) * 2, End.CLOSE)),
    Kind("reset-in-body", _CLOSED, "a reset in the body", (OK + LENGTH % 500 + TEXT, SETTLE_S, End.RESET)),
    Kind("reset-after-body", _ANSWERED, "a reset after a whole answer", (response(TEXT), SETTLE_S, End.RESET)),
)  # fmt: skip

CHUNKS = (
    Kind("bad-chunk", _PROTOCOL, "a chunk size that is no number", _chunked(b"5\r\nhello\r\nxyz\r\nhello\r\n")),
    Kind("huge-chunk", _PROTOCOL, "a chunk size over 64 bits", _chunked(b"FFFFFFFFFFFFFFFFF\r\nhello")),
    Kind("long-chunk", _PROTOCOL, "a chunk longer than its size", _chunked(b"5\r\nhello world\r\n0\r\n\r\n")),
    Kind("cut-chunk", _CLOSED, "the connection ends in a chunk", _chunked(b"ff\r\nhello")),
    Kind("no-last-chunk", _CLOSED, "the connection ends before the last chunk", _chunked(b"5\r\nhello\r\n")),
    Kind("endless-chunks", _CAPPED, "chunks without an end", endless(OK + CHUNKED, b"4000\r\n%b\r\n" % bytes(0x4000))),
    Kind("endless-extension", _DEAF, "an endless chunk extension", endless(OK + CHUNKED + b"5;x=", b"y" * 16384)),
    Kind(
        "endless-trailers", _DEAF, "trailer fields without an end",
        endless(OK + CHUNKED + b"0\r\n", b"X-Again: and again\r\n" * 800),
    ),
)  # fmt: skip

CODINGS = (
    Kind("gzip-bomb", _CAPPED, "256 MiB of zeros in 260 KB of gzip", lambda _: iter(_encoded(b"gzip", gzip_bomb()))),
    Kind("br-bomb", _CAPPED, "64 MiB of zeros in 52 bytes of Brotli", _encoded(b"br", _BR_BOMB)),
    Kind("zstd-bomb", _CAPPED, "256 MiB of zeros in 8 KB of Zstandard", lambda _: iter(_encoded(b"zstd", zstd_bomb()))),
    Kind("gzip-layers", _UNREAD, "gzip twenty times over", _encoded(b", ".join([b"gzip"] * 20), _gzip_layers(20))),
    Kind("bad-gzip", _UNREAD, "text that is said to be gzip", _encoded(b"gzip", TEXT)),
    Kind("cut-gzip", _UNREAD, "the first bytes of a gzip stream", _encoded(b"gzip", _gzip_layers(1)[:20])),
    Kind("bad-crc", _UNREAD, "gzip with a wrong checksum", _encoded(b"gzip", _gzip_layers(1)[:-8] + bytes(8))),
    Kind("unknown-encoding", _LENIENT, "a Content-Encoding that nobody knows", _encoded(b"rot13", TEXT)),
)  # fmt: skip
