"""The lazy response: headers, body and charset as `requests` would give them."""

from __future__ import annotations

import gzip
import http.client
import io

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from watcher.transport.adapter import prepared_from
from watcher.transport.response import Headers, Response
from watcher.transport.wire import ResponseReader

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=latin-1\r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\n\r\n"


def response(data: bytes, max_body: int = 1000) -> Response:
    """Read a response whose connection ends after it."""
    reader = ResponseReader(max_body)
    if not reader.feed(data):
        reader.end()
    reader.close()
    wire = b"GET /x HTTP/1.1\r\nHost: example.com\r\n\r\n"
    return Response(reader, "http://example.com/x", max_body, 1500, lambda: prepared_from(wire, "http://example.com/x"))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("content-type", "text/html; charset=latin-1"),
        ("X-A", "1, 2"),
        ("empty", ""),
        ("missing", None),
        ("html", None),
    ],
)
def test_a_field_is_the_same_alone_and_among_all(whole: bool, key: str, value: str | None) -> None:
    headers = Headers(HEAD + b"body: x\r\nmissing: y\r\n")
    if whole:
        assert len(headers) == 3
    assert headers.get(key) == value
    assert (key in headers) == (value is not None)


names = st.text("abcXYZ-09", min_size=1, max_size=8)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)


@given(st.lists(st.tuples(names, values), max_size=8), st.binary(max_size=30))
def test_fields_are_those_of_the_standard_library(fields: list[tuple[str, str]], body: bytes) -> None:
    section = "".join(f"{name}: {value}\r\n" for name, value in fields).encode() + b"\r\n"
    message = http.client.parse_headers(io.BytesIO(section))
    headers = Headers(b"HTTP/1.1 299 OK\r\n" + section + body)
    for name, _value in fields:
        expected = ", ".join(value.strip() for value in message.get_all(name))
        assert headers.get(name) == expected
        assert headers[name] == expected


def test_interim_responses_before_it_are_passed_over() -> None:
    headers = Headers(b"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\nHTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    assert dict(headers) == {"Server": "x"}
    assert headers["server"] == headers.get("server") == "x"
    assert headers.get("link") is None


def test_it_is_what_plugins_know_from_requests() -> None:
    given_response = response(HEAD + "gr\xfc\xdfe".encode("latin-1"))
    assert isinstance(given_response, requests.Response)
    assert isinstance(given_response.headers, CaseInsensitiveDict)
    assert (given_response.status_code, given_response.reason, given_response.ok) == (200, "OK", True)
    assert (given_response.text, given_response.encoding) == ("gr\xfc\xdfe", "latin-1")
    assert given_response.elapsed.total_seconds() == 0.0015
    assert given_response.request.method == "GET"
    assert b"".join(given_response.iter_content(2)) == "gr\xfc\xdfe".encode("latin-1")
    assert not given_response.history
    given_response.close()


def test_cookies_are_read_from_every_set_cookie_field() -> None:
    given_response = response(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\n\r\n")
    assert given_response.cookies.get_dict() == {"a": "1", "b": "2"}


def test_a_coded_body_is_decoded_when_it_is_looked_at_and_cut_at_the_cap() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 5000)
    given_response = response(data)
    assert not given_response.truncated
    assert given_response.content == b"x" * 1000
    assert given_response.truncated
