"""The option `response_headers`: what header fields must be like."""

from __future__ import annotations

from typing import Any

import plugged
import pytest

from watcher import Failure
from watcher.plugins.assertions import response_headers
from watcher.testing import response

PLUGINS = plugged.manager(response_headers)
SENT = {
    "Content-Type": "text/html; charset=utf-8",
    "X-Cache": "MISS",
    "Server": "nginx/1.22",
    "Set-Cookie": "session=hunter2",
    "Empty": "",
}


def verdict(written: Any, sent: dict[str, str] | None = None) -> str | None:
    """Give the words of the verdict on an answer with these fields."""
    endpoint = plugged.endpoint(PLUGINS, response_headers=written)
    found = plugged.verdict(PLUGINS, endpoint, response(headers=sent or SENT))
    assert found is None or found == Failure(found.detail)
    return found and found.detail


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"X-Cache": "MISS"}, None),
        ({"x-cache": "MISS"}, None),
        ({"X-Cache": {"regex": "HIT"}}, 'header X-Cache is "MISS", wanted matching /HIT/'),
        ({"X-Cache": ["MISS", {"regex": "^M"}]}, None),
        ({"X-Cache": ["MISS", {"regex": "^H"}]}, 'header X-Cache is "MISS", wanted matching /^H/'),
        ({"Server": {"absent": True}}, 'header Server is "nginx/1.22", wanted none'),
        ({"X-Powered-By": {"absent": True}}, None),
        ({"Server": {"contains": "apache", "absent": True}}, None),
        ({"X-Request-Id": {"regex": "."}}, "no header X-Request-Id, wanted matching /./"),
        ({"Empty": ""}, None),
        ({"Server": {"contains": "nginx"}, "X-Cache": "HIT"}, 'header X-Cache is "MISS", wanted "HIT"'),
        ({"Set-Cookie": {"contains": "id="}}, 'header Set-Cookie is not as wished (hidden), wanted containing "id="'),
    ],
)
def test_the_verdict(written: Any, words: str | None) -> None:
    assert verdict(written) == words


@pytest.mark.parametrize(
    ("wanted", "sent", "words"),
    [
        ("text/html", "text/html", None),
        ("text/html", "text/html; charset=utf-8", None),
        ("text/html", "Text/HTML ;charset=utf-8", None),
        ("text/html;charset=utf-8", "text/html;charset=utf-8", None),
        ("text/html;charset=utf-8", "text/html",
         'header Content-Type is "text/html", wanted "text/html;charset=utf-8"'),
        ("text/html", "text/plain; charset=utf-8",
         'header Content-Type is "text/plain; charset=utf-8", wanted "text/html"'),
        ({"regex": "^text/html$"}, "text/html; a=b",
         'header Content-Type is "text/html; a=b", wanted matching /^text/html$/'),
    ],
)  # fmt: skip
def test_of_a_content_type_the_media_type_is_compared_unless_a_parameter_is_named(
    wanted: Any, sent: str, words: str | None
) -> None:
    assert verdict({"Content-Type": wanted}, {"Content-Type": sent}) == words


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "response_headers: an empty table checks nothing"),
        ({"X-Cache": []}, "response_headers: X-Cache: an empty list checks nothing"),
        ({"X Cache": "HIT"}, "response_headers: 'X Cache' is not the name of a header field"),
        ({"X-Cache:": "HIT"}, "response_headers: 'X-Cache:' is not the name of a header field"),
        ({"X-Cache": {"regex": "("}}, 'response_headers.X-Cache: bad pattern "(": missing ) at position 1'),
        ({"X-Cache": {"equal": "a"}}, 'response_headers.X-Cache.equal: unknown key; did you mean "equals"?'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    assert plugged.convert(PLUGINS, {"response_headers": written})[1] == [complaint]
