"""The option `query`: what comes behind the URL's own parameters."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import plugged
import pytest
import requests

from watcher.config.options import OptionTypes
from watcher.plugins.protocols import http
from watcher.plugins.request import query

PLUGINS = plugged.manager(http, query)


@pytest.mark.parametrize(
    ("url", "given", "wanted"),
    [
        ("http://site.test/", {"page": 1, "tag": ["a", "b"]}, "http://site.test/?page=1&tag=a&tag=b"),
        ("http://site.test", {"page": 1}, "http://site.test/?page=1"),
        ("http://site.test/find?q=x&q=y", {"page": 2}, "http://site.test/find?q=x&q=y&page=2"),
        ("http://site.test/find?page=1", {"page": 2}, "http://site.test/find?page=1&page=2"),
        ("http://site.test/find?flag#part", {"a": "b"}, "http://site.test/find?flag&a=b#part"),
        ("http://site.test/?", {"a": "b"}, "http://site.test/?a=b"),
        ("http://site.test/", {"on": True, "off": False, "x": 1.5}, "http://site.test/?on=true&off=false&x=1.5"),
        ("http://site.test/", {"empty": "", "a": "b"}, "http://site.test/?empty=&a=b"),
        ("http://site.test/?a=1", {}, "http://site.test/?a=1"),
        ("http://site.test/?a=1", {"none": []}, "http://site.test/?a=1"),
    ],
)
def test_parameters_are_added_in_their_order(url: str, given: dict[str, Any], wanted: str) -> None:
    assert plugged.prepared(PLUGINS, url, query=given).url == wanted


@pytest.mark.parametrize("value", ["a b", "a+b", "a&b=c#d", "Zoë €", "100%", "%41", "\r\n", "../?x"])
def test_whatever_the_value_a_server_reads_it_back(value: str) -> None:
    url = plugged.prepared(PLUGINS, "http://site.test/p", query={value: value, "last": "1"}).url
    assert parse_qsl(urlsplit(url).query, strict_parsing=True) == [(value, value), ("last", "1")]
    assert urlsplit(url).path == "/p"


def test_it_is_what_requests_makes_of_params() -> None:
    given = {"q": "größer & so", "page": 2, "tag": ["a", "b"]}
    plain = requests.Request("GET", "http://site.test/find?a=%20b", params=given).prepare().url
    assert plugged.prepared(PLUGINS, "http://site.test/find?a=%20b", query=given).url == plain


def test_other_schemes_have_it_too() -> None:
    request = requests.Request("GET", "ws://site.test/chat")
    of = plugged.endpoint(PLUGINS, "ws://site.test/chat", query={"room": 1})
    PLUGINS.hook.watcher_prepare(endpoint=of, request=request)
    assert request.url == "ws://site.test/chat?room=1"


def test_values_do_not_show() -> None:
    assert "hunter2" not in repr(plugged.endpoint(PLUGINS, query={"q": "hunter2", "tag": ["hunter2"]}))


def test_commands_hide_what_is_named_as_a_secret() -> None:
    types = OptionTypes({key: (wanted, "query") for key, wanted in query.watcher_options().items()})
    shown = types.masked({"query": {"api_key": "hunter2", "page": "2", "sig": ["hunter2"], "q": "${NAME}"}})
    assert shown == {"query": {"api_key": "***", "page": "2", "sig": ["***"], "q": "${NAME}"}}


@pytest.mark.parametrize(
    "written", ["page=1", ["page"], {"page": {"a": 1}}, {"page": [["a"]]}, {"page": None}, {"page": ["a", {}]}]
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"query": written})
    assert mistakes and all(mistake.startswith("query") for mistake in mistakes)
