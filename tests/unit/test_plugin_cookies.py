"""The option `cookies`: the field that it makes, and what cannot be sent."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import plugged
import pytest

from watcher.plugins.protocols import http
from watcher.plugins.request import cookies, headers

PLUGINS = plugged.manager(headers, cookies, http)


def test_cookies_are_one_field_in_their_order() -> None:
    request = plugged.prepared(PLUGINS, cookies={"session": "31d4d96e407aad42", "lang": "en-US"})
    assert request.headers["Cookie"] == "session=31d4d96e407aad42; lang=en-US"  # RFC 6265, section 3.1


@pytest.mark.parametrize("value", ["", "x", "a=b==", "a b", '"quoted"', "%C3%A9%3B", "{}[]()<>@,:\\/?", "a" * 4000])
def test_what_servers_read_back_is_sent_as_it_is(value: str) -> None:
    field = plugged.prepared(PLUGINS, cookies={"first": value, "last": "1"}).headers["Cookie"]
    assert field == f"first={value}; last=1"


def test_another_library_reads_what_is_meant() -> None:
    read = SimpleCookie(plugged.prepared(PLUGINS, cookies={"SID": "abc-1", "__Host-id": "7"}).headers["Cookie"])
    assert {name: morsel.value for name, morsel in read.items()} == {"SID": "abc-1", "__Host-id": "7"}


@pytest.mark.parametrize("order", [(headers, cookies, http), (http, cookies, headers), (cookies, http, headers)])
def test_a_cookie_among_headers_has_the_last_word(order: tuple) -> None:
    plugins = plugged.manager(*order)
    request = plugged.prepared(plugins, cookies={"id": "1"}, headers={"cookie": "id=2"})
    assert [value for name, value in request.headers.items() if name.lower() == "cookie"] == ["id=2"]


def test_no_cookie_makes_no_field() -> None:
    assert "Cookie" not in plugged.prepared(PLUGINS, cookies={}).headers
    assert "Cookie" not in plugged.prepared(PLUGINS).headers


def test_values_do_not_show() -> None:
    assert "hunter2" not in repr(plugged.endpoint(PLUGINS, cookies={"session": "hunter2"}))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"a b": "1"}, "'a b' is not a cookie name"),
        ({"": "1"}, "'' is not a cookie name"),
        ({"a=b": "1"}, "'a=b' is not a cookie name"),
        ({"ü": "1"}, "is not a cookie name"),
        ({"id": "1; admin=1"}, "the value of id has a semicolon"),
        ({"id": "1\r\nX-Evil: b"}, "the value of id has"),
        ({"id": "1\n"}, "the value of id has"),
        ({"id": "1\t2"}, "the value of id has"),
        ({"id": " 1"}, "the value of id has"),
        ({"id": "1 "}, "the value of id has"),
        ({"id": "zoë"}, "the value of id has"),
        ({"id": 1}, "expected a string"),
        ("id=1", "expected a table of strings"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"cookies": written})
    assert len(mistakes) == 1 and mistakes[0].startswith("cookies") and complaint in mistakes[0]
