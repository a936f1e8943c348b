"""The option `body_size`: bounds of a page's size, and what is known of a page that was cut."""

from __future__ import annotations

import gzip
from typing import Any

import plugged
import pytest

from watcher import Failure
from watcher.plugins.assertions import body_size
from watcher.plugins.protocols import http
from watcher.testing import response

PLUGINS = plugged.manager(body_size, http)


def verdict(written: Any, body: bytes, **of_response: Any) -> Failure | None:
    """Give the verdict on a page."""
    return plugged.verdict(PLUGINS, plugged.endpoint(PLUGINS, body_size=written), response(body, **of_response))


@pytest.mark.parametrize(
    ("written", "good", "bad"),
    [
        (10, [10, 11, 5000], [9, 0]),
        ({"min": 10}, [10], [9]),
        ({"max": 10}, [0, 10], [11]),
        ({"min": 10, "max": 20}, [10, 20], [9, 21]),
        ({"max": 0}, [0], [1]),
    ],
)
def test_bounds_are_good_themselves(written: Any, good: list[int], bad: list[int]) -> None:
    assert [size for size in good if verdict(written, b"x" * size)] == []
    assert [size for size in bad if not verdict(written, b"x" * size)] == []


def test_the_words() -> None:
    assert verdict(10, b"123") == Failure("body has 3 bytes, wanted at least 10")
    assert verdict({"max": 2}, b"123") == Failure("body has 3 bytes, wanted at most 2")
    assert verdict({"max": 2, "degraded": True}, b"123") == Failure("body has 3 bytes, wanted at most 2", degraded=True)
    cut = verdict({"max": 2}, b"123", truncated=True)
    assert cut == Failure("body has 3 or more bytes, wanted at most 2")


def test_of_several_the_one_that_makes_it_down_is_told() -> None:
    both = [{"min": 100, "degraded": True}, {"min": 10}]
    assert verdict(both, b"x" * 100) is None
    assert verdict(both, b"x" * 50) == Failure("body has 50 bytes, wanted at least 100", degraded=True)
    assert verdict(both, b"x" * 5) == Failure("body has 5 bytes, wanted at least 10")


def test_what_counts_is_the_page_decompressed() -> None:
    coded = gzip.compress(b"x" * 5000)
    assert verdict({"min": 5000, "max": 5000}, coded, headers={"Content-Encoding": "gzip"}) is None


@pytest.mark.parametrize(
    "options",
    [
        {"body_size": {"max": 1 << 20}},
        {"body_size": {"min": (1 << 20) + 1}},
        {"body_size": {"max": 500}, "max_body": 500},
        {"body_size": 501, "max_body": 500},
    ],
)
def test_a_bound_beyond_what_is_read_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only max_body = .* bytes are read; raise max_body above what is wanted"):
        PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, **options))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "body_size: give min, max or both, in bytes"),
        (-1, "body_size: give a number of bytes of at least 0"),
        ({"min": 2, "max": 1}, "body_size: max 1 is less than min 2"),
        ("1 KB", 'body_size: expected a whole number or a table or a list of whole numbers or tables, got "1 KB"'),
        ([1, 1.5], "body_size[1]: expected a whole number or a table, got 1.5"),
        ([], "body_size: an empty list checks nothing"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    assert plugged.convert(PLUGINS, {"body_size": written})[1] == [complaint]
