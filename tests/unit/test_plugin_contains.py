"""The option `contains`: texts that a page holds or does not, in any charset and any case."""

from __future__ import annotations

from typing import Any

import plugged
import pytest

from watcher import Failure
from watcher.plugins.assertions import contains
from watcher.testing import response

PLUGINS = plugged.manager(contains)


def verdict(written: Any, body: bytes | str, **of_response: Any) -> str | None:
    """Give the words of the verdict on a page."""
    found = plugged.verdict(PLUGINS, plugged.endpoint(PLUGINS, contains=written), response(body, **of_response))
    assert found is None or found == Failure(found.detail)
    return found and found.detail


@pytest.mark.parametrize(
    ("written", "page", "words"),
    [
        ("In stock", "<b>In stock</b>", None),
        ("In stock", "<b>in stock</b>", '"In stock" not found'),
        ("1.5 (net)", "price 1.5 (net)", None),
        ("1.5 (net)", "price 1x5 net", '"1.5 (net)" not found'),
        ({"text": "IN STOCK", "ignore_case": True}, "<b>in stock</b>", None),
        ({"text": "a.b", "ignore_case": True}, "AxB", '"a.b" not found'),
        ({"text": "a.b", "ignore_case": True}, "A.B", None),
        ({"text": "ÉTÉ", "ignore_case": True}, "un été", None),
        ({"text": "Error", "absent": True}, "fine", None),
        ({"text": "Error", "absent": True}, "an Error", 'contains "Error", must be absent'),
        ({"text": "error", "absent": True, "ignore_case": True}, "an ERROR", 'contains "error", must be absent'),
        (["one", "two"], "two one", None),
        (["one", "two", "three"], "one", '"two" not found'),
        (["one", {"text": "bad", "absent": True}], "one bad", 'contains "bad", must be absent'),
        ("two\nlines", "two\r\nlines", None),
        ("two\nlines", "two lines", r'"two\nlines" not found'),
        ("x" * 100, "", '"' + "x" * 79 + '…" not found'),
    ],
)
def test_the_verdict(written: Any, page: str, words: str | None) -> None:
    assert verdict(written, page) == words


def test_the_charset_of_the_page_counts() -> None:
    cyrillic = {"Content-Type": "text/html; charset=windows-1251"}
    assert verdict("Привет", "Привет".encode("windows-1251"), headers=cyrillic) is None
    assert verdict("Привет", "Привет".encode("windows-1251")) == '"Привет" not found'


@pytest.mark.parametrize("text", ["zażółć", "ZAŻÓŁĆ"])
def test_a_long_page_is_searched_to_its_end_in_any_case(text: str) -> None:
    page = "lorem ipsum é " * 50_000 + "Zażółć"
    assert verdict({"text": text, "ignore_case": True}, page) is None
    assert verdict({"text": text + "!", "ignore_case": True}, page) == f'"{text}!" not found'


def test_a_page_that_was_cut_is_said_to_be_cut() -> None:
    assert verdict("ok", b"x" * 1000, truncated=True) == '"ok" not found in the first 1000 bytes (max_body)'


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "contains: an empty text is found everywhere"),
        ([], "contains: an empty list checks nothing"),
        ({"absent": True}, 'contains: "text" is missing; add "text"'),
        ({"txt": "a"}, 'contains.txt: unknown key; did you mean "text"?'),
        (5, "contains: expected a string or a table or a list of strings or tables, got 5"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    assert plugged.convert(PLUGINS, {"contains": written})[1] == [complaint]


def test_endpoints_that_want_the_same_share_one_step_and_others_pay_nothing() -> None:
    first, second = (
        PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, url, contains="ok"))
        for url in ("http://a.test/", "http://b.test/")
    )
    assert first[0] is second[0]
    assert not PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS))
