"""Fuzzing what reads a site's bytes: the reader of responses, the content codings, the response that steps examine.

Responses that are right are made by hand-written rules, then cut and changed anywhere. Whatever comes of it, nothing
but a ProbeError may come out, however the bytes are cut into pieces the verdict is the same, and no more is kept than
the bounds say.
"""

from __future__ import annotations

import gzip
import itertools
import os
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import brotli
import pytest
import requests
from backports import zstd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.decode import CODINGS_MAX, decoded
from watcher.transport.response import Response
from watcher.transport.wire import HEAD_MAX_BYTES, ResponseReader

MAX_BODY = 2000
PIECE_BYTES = 65_536  # what one read of a socket gives at most
URL = "http://site.example/page"
EXAMPLES = int(os.environ.get("WATCHER_TEST_EXAMPLES", "250"))
THOROUGH = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "identity": bytes,
    "unheard-of": bytes,
}
FIELDS = (
    b"Content-Type: text/html; charset=utf-8", b"Content-Type: text/plain; charset=idna", b"Content-Type: ;;=,",
    b"Content-Type: text/plain; charset=\"\xff\"", b"Set-Cookie: a=b; Path=/; Max-Age=x", b"Set-Cookie: =;;;",
    b"Set-Cookie: c=d; Expires=Thu, 99 Foo 12345 99:99:99 GMT; Domain=.com", b"Location: http://[::1",
    b"Location: /\xe9", b"Link: <x>; rel=\"", b"X-Empty:", b"Connection: close", b"Connection: upgrade\r\nUpgrade: h2c",
    b"Content-Encoding: gzip", b"Content-Encoding: br, zstd", b"Trailer: x",
)  # fmt: skip
WRONG = (b"Transfer-Encoding: gzip", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X-Folded: a\r\n b")
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"ffffffffffffffff\r\n",
    b"Content-Length: 3\r\n", b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/2 200\r\n",
    b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"HTTP/1.0 204 None\r\n\r\n", b"\x1f\x8b",
)  # fmt: skip
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# what is fuzzed


@st.composite
def responses(draw: st.DrawFn, among: Sequence[bytes] = FIELDS + WRONG) -> bytes:
    """Write a response that is right: interim ones before it, fields, a coded body in one of three framings."""
    coding = draw(st.sampled_from(sorted(CODERS)))
    body = CODERS[coding](draw(st.binary(max_size=60)) * draw(st.sampled_from([1, 1, 1, 100])))
    status = draw(st.sampled_from([200, 200, 204, 206, 301, 304, 404, 503, 999]))
    fields = draw(st.lists(st.sampled_from(among), max_size=3))
    fields += [f"Content-Encoding: {coding}".encode()] * (coding != "identity")
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        fields.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        fields.append(b"Transfer-Encoding: chunked")
        size = draw(st.integers(1, 80))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), draw(_EXTENSIONS), piece) for piece in pieces)
        body += b"0\r\n" + draw(st.sampled_from([b"", b"X-Trailer: y\r\n"])) + b"\r\n"
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"]))
    return interim + b"\r\n".join([b"HTTP/1.1 %d Phrase" % status, *fields, b"", body])


_EXTENSIONS = st.sampled_from([b"", b"", b";a=b", b';a="b;c"'])


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Take a response that is right, and change it in some places, cut it, repeat parts of it."""
    data = draw(responses())
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 12)))
        change = draw(st.sampled_from(["delete", "repeat", "token", "noise", "cut"]))
        if change == "delete":
            data = data[:at] + data[to:]
        elif change == "repeat":
            data = data[:to] + data[at:to] * draw(st.integers(1, 30)) + data[to:]
        elif change == "token":
            data = data[:at] + draw(st.sampled_from(TOKENS)) + data[at:]
        elif change == "noise":
            data = data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[to:]
        else:
            data = data[:at]
    return data


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut bytes at these places."""
    bounds = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[first:last] for first, last in itertools.pairwise(bounds) if first < last]


def read(pieces: Sequence[bytes], head_only: bool = False, max_body: int = MAX_BODY) -> ResponseReader:
    """Read as a check does: piece after piece until it is complete, then the end of the connection."""
    reader = ResponseReader(max_body, head_only)
    try:
        if not any(reader.feed(piece) for piece in pieces):
            reader.end()
    finally:
        reader.close()
    return reader


def verdict(pieces: Sequence[bytes], head_only: bool = False) -> tuple[Any, ...]:
    """Give what a check would make of these bytes."""
    try:
        reader = read(pieces, head_only)
    except ProbeError as error:
        return (error.reason,)
    response = Response(reader, URL, MAX_BODY, 0, prepared)
    assert len(reader.head) <= HEAD_MAX_BYTES + PIECE_BYTES
    assert len(reader.body) <= MAX_BODY
    return reader.status, reader.capped, reader.body, *seen(response)


def prepared() -> requests.PreparedRequest:
    """Give the request that was answered."""
    return requests.Request("GET", URL).prepare()


def seen(response: Response) -> tuple[Any, ...]:
    """Look at all that a step may look at."""
    fields = dict(response.headers)
    same = [response.headers.get(name) == value for name, value in fields.items()]
    assert all(same), fields
    looked_at = response.reason, response.is_redirect, response.links, response.ok, sorted(response.cookies.keys())
    try:
        content, text = response.content, response.text
    except ProbeError as error:
        content, text = b"", error.reason.value
    assert len(content) <= MAX_BODY
    return *sorted(fields.items()), looked_at, content, text, response.truncated


# the properties


@THOROUGH
@given(data=mutants(), places=st.lists(st.integers(1, 500), max_size=12), head_only=st.booleans())
@example(data=CHUNKED + b"7d1\r\n" + b"x" * 2001 + b"no chunk", places=[2053], head_only=False)  # at the cap
@example(data=OK + b"Content-Length: 2001\r\n\r\n" + b"x" * 2001, places=[2000], head_only=False)
@example(data=CHUNKED + b"1\r\nx\r\n0\r\nX: y\r\n\r\n", places=[52], head_only=False)  # trailers are no headers
@example(data=OK + b"Content-Length: 0\r\n\r\nHTTP/1.1 500 No\r\nX: y\r\n\r\n", places=[38], head_only=False)
@example(data=b"HTTP/1.1 204 OK\nA: b\n\nHTTP/1.1 500 No\nX: y\n\n", places=[22], head_only=False)
def test_however_bytes_are_cut_the_verdict_is_the_same(data: bytes, places: list[int], head_only: bool) -> None:
    assert verdict(cut(data, places), head_only) == verdict([data] if data else [], head_only)


@THOROUGH
@given(data=mutants())
@example(data=OK + b"A: b\n\nc\r\n\r\n")
@example(data=OK + b"A: b \n\r\n\r\n")
@example(data=b"HTTP/1.1 200\n\n c\r\nContent-Encoding: br\r\n\r\n")
def test_byte_by_byte_the_verdict_is_the_same(data: bytes) -> None:
    assert verdict(cut(data, range(len(data)))) == verdict([data] if data else [])


@given(data=responses(FIELDS), places=st.lists(st.integers(1, 500), max_size=12))
def test_what_is_right_is_read_to_its_end(data: bytes, places: list[int]) -> None:
    reader = read(cut(data, places))
    assert reader.done
    assert reader.status >= 200


@THOROUGH
@given(
    noise=st.binary(max_size=400),
    codings=st.lists(st.sampled_from([*CODERS, "x-gzip", ""]), max_size=5),
    whole=st.booleans(),
)
def test_no_body_breaks_the_codings(noise: bytes, codings: list[str], whole: bool) -> None:
    body = noise
    if whole:
        for name in codings:
            body = CODERS.get(name, bytes)(body) if name != "x-gzip" else gzip.compress(body)
    try:
        content, complete = decoded(body, ", ".join(codings), 300)
    except ProbeError as error:
        assert error.reason is Reason.PROTOCOL
        assert not whole or sum(map(bool, codings)) > CODINGS_MAX
        return
    assert len(content) <= 300 or "unheard-of" in codings or not any(codings)
    if whole and complete and "unheard-of" not in codings:
        assert content == noise


# bounds


def endless(first: bytes, again: bytes) -> Iterator[bytes]:
    """Give pieces as a socket does, without an end."""
    block = again * (PIECE_BYTES // len(again))
    return itertools.chain([first], itertools.repeat(block))


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b"x"),
        (b"", b"\r\n"),
        (OK, b"A: b\r\n"),
        (OK + b"A", b"a"),
        (OK + b"A: ", b"b"),
        (OK + b"A: b", b"\r\n c"),
        (b"HTTP/1.1 200 ", b"phrase "),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
        (OK + b"\r\n", b"body"),
        (OK + b"Content-Length: 1000000000000\r\n\r\n", b"body"),
        (CHUNKED, b"4\r\nbody\r\n"),
        (CHUNKED, b"1;a=b\r\nx\r\n"),
        (CHUNKED + b"4;", b"extension"),
        (CHUNKED + b"4", b"0"),
        (CHUNKED + b"0\r\n", b"A: b\r\n"),
        (CHUNKED + b"0\r\nA: ", b"b"),
    ],
)
def test_what_never_ends_takes_a_bounded_memory(first: bytes, again: bytes) -> None:
    """A verdict, or a deadline's; until then no more is kept than the bounds, with room for a copy."""
    max_body = 1_000_000
    reader = ResponseReader(max_body)
    tracemalloc.start()
    try:
        for piece in itertools.islice(endless(first, again), 400):  # 26 MB
            if reader.feed(piece):
                break
    except ProbeError as error:
        assert error.reason is Reason.PROTOCOL
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        reader.close()
    assert peak < 4 * max_body


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_takes_a_bounded_memory(coding: str) -> None:
    """8 MB of zeros."""
    bomb = CODERS[coding](bytes(8_000_000))
    tracemalloc.start()
    try:
        content, whole = decoded(bomb, coding, 100_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (content, whole) == (bytes(100_000), False)
    assert peak < 1_000_000


@given(st.integers(HEAD_MAX_BYTES - 40, HEAD_MAX_BYTES + 40), st.lists(st.integers(1, HEAD_MAX_BYTES + 50), max_size=5))
@example(length=HEAD_MAX_BYTES + 1, places=[])
def test_a_head_is_too_long_by_its_length_alone(length: int, places: list[int]) -> None:
    start, end = OK + b"Content-Length: 2\r\nX: ", b"\r\n\r\n"
    data = start + b"y" * (length - len(start) - len(end)) + end + b"ok"
    places = [*places, PIECE_BYTES]
    expected = (Reason.PROTOCOL,) if length > HEAD_MAX_BYTES else (200, False)
    assert verdict(cut(data, places))[:2] == expected
