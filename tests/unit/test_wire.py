"""HTTP as bytes: expected values are RFC 9112's own examples and rules, or written by hand."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.wire import HEAD_MAX_BYTES, ResponseReader, header_fields, reason_phrase, request_bytes

MAX_BODY = 1000


def read(*pieces: bytes, ends: bool = False, max_body: int = MAX_BODY, head_only: bool = False) -> ResponseReader:
    """Feed pieces, then the end of the connection when `ends`."""
    reader = ResponseReader(max_body, head_only)
    try:
        if not any(reader.feed(piece) for piece in pieces) and ends:
            reader.end()
    finally:
        reader.close()
    return reader


def failure(*pieces: bytes, ends: bool = False) -> ProbeError:
    """Give the error that reading raises."""
    with pytest.raises(ProbeError) as caught:
        read(*pieces, ends=ends)
    return caught.value


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", 304, b""),
        (CHUNKED, 200, b"Wikipedia"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\nx", 500, b"x"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok"),  # 2.2: a lone LF may be taken
    ],
)
@given(data=st.data())
def test_a_response_reads_the_same_however_it_is_cut(data, response: bytes, status: int, body: bytes) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(response) - 1), max_size=6)))
    pieces = [response[first:last] for first, last in zip([0, *cuts], [*cuts, len(response)], strict=True)]
    reader = read(*pieces)
    assert (reader.done, reader.status, reader.body) == (True, status, body)


def test_a_body_without_length_ends_with_the_connection() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\n\r\n", b"all of ", b"it", ends=True)
    assert (reader.status, reader.body, reader.body_bytes) == (200, b"all of it", 9)


def test_the_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", head_only=True)
    assert (reader.done, reader.status, reader.body) == (True, 200, b"")


def test_a_body_is_read_to_the_cap_and_no_further() -> None:
    reader = ResponseReader(10)
    assert not reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n12345")
    assert reader.feed(b"67890abc")
    assert (reader.capped, reader.body, reader.status) == (True, b"1234567890", 200)
    assert not reader.keeps_alive()
    reader.close()


def test_a_body_of_exactly_the_cap_is_whole() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234567890", max_body=10)
    assert (reader.done, reader.capped, reader.body) == (True, False, b"1234567890")


@pytest.mark.parametrize(
    ("pieces", "reason", "words"),
    [
        ([], Reason.CLOSED, "before an answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-Le"], Reason.CLOSED, "inside the headers"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"], Reason.CLOSED, "after 10 of 100 bytes"),
        ([CHUNKED[:60]], Reason.CLOSED, "inside a chunked body"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], Reason.PROTOCOL, "not HTTP: begins with 'SSH-2.0"),
        ([b"HTTP/1.1 OK\r\n\r\n"], Reason.PROTOCOL, "in the headers"),
        ([b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n"], Reason.PROTOCOL, "in the headers"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], Reason.PROTOCOL, "in the body"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"], Reason.PROTOCOL, "in the headers"),
        ([b"HTTP/1.1 200 OK\r\nX: ", *[b"y" * 8192] * 9], Reason.PROTOCOL, f"longer than {HEAD_MAX_BYTES}"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"], Reason.PROTOCOL, "longer than"),
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 4000, Reason.PROTOCOL, f"longer than {HEAD_MAX_BYTES}"),
    ],
)
def test_what_is_not_a_whole_response_has_its_reason(pieces: list[bytes], reason: Reason, words: str) -> None:
    error = failure(*pieces, ends=True)
    assert error.reason is reason
    assert words in error.detail


@pytest.mark.parametrize(
    ("begin", "again"), [(b"", b"5;x=" + b"y" * 4096), (b"5;x=", b"y" * 4096), (b"0\r\n", b"X-Again: again\r\n" * 256)]
)
def test_what_is_no_body_does_not_go_on_for_ever_in_its_place(begin: bytes, again: bytes) -> None:
    """Chunk extensions and trailers: the parser reads them as long as they come."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    error = failure(head, begin, *[again] * 40)
    assert error.reason is Reason.PROTOCOL
    assert "without an end" in error.detail


def test_chunks_of_one_byte_are_a_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader = read(head, *[b"1;name=value\r\nx\r\n" * 400] * 100, b"0\r\n\r\n", max_body=100_000)
    assert (reader.done, reader.body_bytes) == (True, 40_000)


def test_a_long_first_read_is_no_long_head() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000, max_body=100_000)
    assert (reader.done, reader.body_bytes) == (True, 90_000)


def test_what_follows_a_whole_response_is_not_its_fault() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\nokHTTP/1.1 500 no\r\n\r\ngarbage")
    assert (reader.status, reader.body) == (200, b"ok")


def test_headers_are_read_with_their_case_and_repetitions() -> None:
    head = (
        b"HTTP/1.1 103 Hint\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 418 I'm a teapot\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\nbody"
    )
    assert header_fields(head) == [(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2")]
    assert reason_phrase(head) == "I'm a teapot"


@given(st.binary(max_size=300))
def test_no_bytes_at_all_break_the_reader(noise: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        try:
            read(start + noise, ends=True)
        except ProbeError as error:
            assert error.reason in (Reason.CLOSED, Reason.PROTOCOL)


def test_a_request_is_written_as_rfc_9112_has_it() -> None:
    prepared = requests.Request("POST", "http://example.com/a b?q=ü", headers={"X": "1"}, data="päy").prepare()
    assert request_bytes(prepared, "example.com") == (
        b"POST /a%20b?q=%C3%BC HTTP/1.1\r\nHost: example.com\r\nX: 1\r\nContent-Length: 4\r\n\r\np\xc3\xa4y"
    )


def test_a_host_header_of_the_users_own_is_kept() -> None:
    prepared = requests.Request("GET", "http://192.0.2.1/", headers={"Host": "example.com"}).prepare()
    assert request_bytes(prepared, "192.0.2.1").count(b"Host:") == 1
    assert b"Host: example.com\r\n" in request_bytes(prepared, "192.0.2.1")
