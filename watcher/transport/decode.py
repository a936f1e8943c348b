"""Content codings: gzip, deflate, br and zstd, undone within a bound.

A bomb yields its first bytes and costs no more than they do. RFC 9110, 8.4; RFC 8878.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from time import monotonic_ns

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from watcher.errors import ProbeError
from watcher.green import offload
from watcher.models import Reason
from watcher.transport.turnstile import HEAVY_NS, turnstile

CODINGS_MAX = 3
MEMBERS_MAX = 64  # of a gzip body: what follows each is copied
SLICE_BYTES = 65_536  # inflated at once: a third of a millisecond


def decoded(body: bytes, codings: str, max_bytes: int) -> tuple[bytes, bool]:
    """Undo the content codings of a body.

    Args:
        codings: the value of Content-Encoding, in the order in which they were applied.
        max_bytes: give no more than that.

    Returns:
        The content and whether it is whole; a body that was cut off gives what can be had of it, and False.

    Raises:
        ProbeError: reason `protocol`, when the body is not what its coding says. A coding that is not known is left
            as it is.
    """
    names = [name.strip().lower() for name in codings.split(",") if name.strip()]
    if len(names) > CODINGS_MAX:
        raise ProbeError(Reason.PROTOCOL, f"more than {CODINGS_MAX} content codings")
    whole = True
    for name in reversed(names):
        decode = _DECODERS.get(name)
        if decode is None:
            return body, whole
        try:
            body, complete = decode(body, max_bytes)
        except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as error:
            raise ProbeError(Reason.PROTOCOL, f"the body is not {name}: {error}") from None
        whole = whole and complete
    return body, whole


def _gzip(body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    return _inflate(body, max_bytes, zlib.MAX_WBITS | 16)


def _deflate(body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    try:
        return _inflate(body, max_bytes, zlib.MAX_WBITS)
    except zlib.error:
        return _inflate(body, max_bytes, -zlib.MAX_WBITS)  # what many servers call deflate


def _inflate(body: bytes, max_bytes: int, window: int) -> tuple[bytes, bool]:
    content = bytearray()
    for _ in range(MEMBERS_MAX):
        decoder = zlib.decompressobj(window)
        _inflate_member(decoder, body, content, max_bytes + 1)
        body = decoder.unused_data
        if len(content) > max_bytes or not decoder.eof or not body.startswith(b"\x1f\x8b"):
            return bytes(content[:max_bytes]), decoder.eof and len(content) <= max_bytes
    return bytes(content), False


def _inflate_member(decoder: zlib._Decompress, body: bytes, content: bytearray, most: int) -> None:
    """Add to the content until it has `most` bytes or no more are had; between slices others have their turn."""
    began_ns = monotonic_ns()
    while True:
        piece = decoder.decompress(body, min(SLICE_BYTES, most - len(content)))
        content += piece
        body = decoder.unconsumed_tail
        if decoder.eof or len(content) >= most or not (piece or body):
            return
        if monotonic_ns() - began_ns > HEAVY_NS:
            turnstile().go_on()
            began_ns = monotonic_ns()


def _brotli(body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    # in a thread: whatever the bound, the decoder fills its window first, 16 MiB in 33 ms for a bomb of 52 bytes
    return offload(_unbrotli, body, max_bytes)


def _unbrotli(body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    decoder = brotli.Decompressor()
    content = decoder.process(body, output_buffer_limit=max_bytes + 1)
    return content[:max_bytes], decoder.is_finished() and len(content) <= max_bytes


def _zstd(body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23})  # RFC 9659
    content = decoder.decompress(body, max_bytes + 1)
    return content[:max_bytes], decoder.eof and len(content) <= max_bytes


def _identity(body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    return body[:max_bytes], len(body) <= max_bytes


_DECODERS: dict[str, Callable[[bytes, int], tuple[bytes, bool]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
    "identity": _identity,
}
