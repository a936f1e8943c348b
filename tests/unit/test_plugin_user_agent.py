"""The option `user_agent`: whose word counts, and what cannot be sent."""

from __future__ import annotations

from typing import Any

import plugged
import pytest

from watcher.plugins.protocols import http
from watcher.plugins.request import headers, user_agent

PLUGINS = plugged.manager(headers, user_agent, http)


@pytest.mark.parametrize("text", ["probe/1", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101", "a"])
def test_it_takes_the_place_of_our_own(text: str) -> None:
    assert plugged.prepared(PLUGINS, user_agent=text).headers["User-Agent"] == text


def test_without_it_the_request_says_who_asks() -> None:
    assert plugged.prepared(PLUGINS).headers["User-Agent"].startswith("watcher/")


@pytest.mark.parametrize("order", [(headers, user_agent, http), (http, user_agent, headers)])
def test_a_user_agent_among_headers_has_the_last_word(order: tuple) -> None:
    plugins = plugged.manager(*order)
    request = plugged.prepared(plugins, user_agent="one", headers={"user-agent": "two"})
    assert [value for name, value in request.headers.items() if name.lower() == "user-agent"] == ["two"]


@pytest.mark.parametrize("written", ["", " ", "a ", "a\r\nX-Evil: b", "a\n", "zoë", "a\x00", 1, ["a"]])
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"user_agent": written})
    assert len(mistakes) == 1 and mistakes[0].startswith("user_agent: ")
