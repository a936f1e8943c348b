"""The option `body_hash`: the page that is known, and the page of the check before."""

from __future__ import annotations

import gzip
from typing import Any

import plugged
import pytest

from watcher import Failure, Reason, Step
from watcher.plugins.assertions import body_hash
from watcher.testing import response

PLUGINS = plugged.manager(body_hash)

# FIPS 180-2, appendix B.1, and of no bytes at all, as `sha256sum` prints it
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
# FIPS 180-2, appendix B.3
MILLION_A = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def step(written: Any, url: str = "http://site.test/") -> Step:
    """Give the step for an option as it is written."""
    (made,) = PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, url, body_hash=written))
    return made


@pytest.mark.parametrize(
    ("written", "body"),
    [
        (ABC, b"abc"),
        (ABC.upper(), b"abc"),
        ([EMPTY, ABC], b"abc"),
        ({"sha256": ABC}, b"abc"),
        ({"sha256": [EMPTY, ABC]}, b""),
        (MILLION_A, b"a" * 1_000_000),
    ],
)
def test_a_page_that_is_known_is_good(written: Any, body: bytes) -> None:
    assert step(written).examine(response(body)) is None


def test_another_page_is_down_unless_it_is_asked_otherwise() -> None:
    words = "body has SHA-256 e3b0c44298fc1c14…, wanted ba7816bf8f01cfea…"
    assert step(ABC).examine(response(b"")) == Failure(words)
    assert step({"sha256": ABC, "changed": "degraded"}).examine(response(b"")) == Failure(words, degraded=True)
    assert step([ABC, MILLION_A]).examine(response(b"")) == Failure(words + " or 1 more")


def test_a_compressed_page_that_is_longer_than_max_body_was_cut_too() -> None:
    """How long it is shows when it is decompressed: `response` keeps 1 MiB, as checks do."""
    found = step(ABC).examine(response(gzip.compress(b"a" * 2_000_000), headers={"Content-Encoding": "gzip"}))
    assert found == Failure("body_hash: the page is longer than max_body; raise max_body above its size", Reason.CONFIG)


def test_a_page_that_was_cut_cannot_be_judged_by_its_whole_hash() -> None:
    assert step(ABC).examine(response(b"abc", truncated=True)) == Failure(
        "body_hash: the page is longer than max_body; raise max_body above its size", Reason.CONFIG
    )


def test_the_hash_is_that_of_the_page_decompressed() -> None:
    assert step(ABC).examine(response(gzip.compress(b"abc"), headers={"Content-Encoding": "gzip"})) is None


@pytest.mark.parametrize(
    ("written", "degraded"),
    [("unchanged", True), ({"unchanged": True}, True), ({"unchanged": True, "changed": "down"}, False)],
)
def test_each_change_is_told_once(written: Any, degraded: bool) -> None:
    judge = step(written)
    told = [judge.examine(response(body)) for body in (b"", b"", b"abc", b"abc", b"")]
    there = Failure("body changed: SHA-256 ba7816bf8f01cfea…, before e3b0c44298fc1c14…", degraded=degraded)
    back = Failure("body changed: SHA-256 e3b0c44298fc1c14…, before ba7816bf8f01cfea…", degraded=degraded)
    assert told == [None, None, there, None, back]


def test_an_error_page_between_is_not_taken_for_a_change() -> None:
    judge = step("unchanged")
    pages = [(b"page", 200), (b"error 1", 503), (b"page", 200), (b"error 1", 503), (b"error 2", 503), (b"page", 200)]
    told = [judge.examine(response(body, status=status)) is not None for body, status in pages]
    assert told == [False, False, False, False, True, False]


def test_what_is_kept_of_pages_stays_bounded() -> None:
    judge = step("unchanged")
    for status in range(200, 300):
        assert judge.examine(response(b"page", status=status)) is None
    assert len(judge.last) <= body_hash.STATUSES_MAX


def test_each_endpoint_knows_its_own_page() -> None:
    first, second = step("unchanged", "http://a.test/"), step("unchanged", "http://b.test/")
    assert [first.examine(response(b"a")), second.examine(response(b"b")), first.examine(response(b"a"))] == [None] * 3


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("changed", "'changed' is no SHA-256: 64 hexadecimal digits, as sha256sum prints them"),
        (ABC[:-1], "is no SHA-256"),
        ([], "an empty list checks nothing"),
        ({}, "give one of sha256 and unchanged = true"),
        ({"sha256": ABC, "unchanged": True}, "give one of sha256 and unchanged = true"),
        ({"unchanged": True, "changed": "missed"}, 'expected one of "degraded", "down"'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"body_hash": written})
    assert len(mistakes) == 1
    mistake = mistakes[0]
    assert mistake.startswith("body_hash") and complaint in mistake
