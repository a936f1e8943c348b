"""The options `final_url` and `redirects`: where redirects lead and how many there are."""

from __future__ import annotations

from typing import Any

import plugged
import pytest
import requests

from watcher import Failure, Reason
from watcher.plugins.assertions import final_url
from watcher.plugins.protocols import http
from watcher.testing import response

PLUGINS = plugged.manager(final_url, http)


def arrived(url: str, hops: int = 0) -> requests.Response:
    """Give a response after so many redirects."""
    made = response(url=url)
    made.history = [response(status=302) for _ in range(hops)]
    return made


def verdict(url: str, hops: int = 0, **options: Any) -> str | None:
    """Give the words of the verdict on a check that ended there."""
    found = plugged.verdict(PLUGINS, plugged.endpoint(PLUGINS, **options), arrived(url, hops))
    assert found is None or found == Failure(found.detail, Reason.REDIRECT)
    return found and found.detail


@pytest.mark.parametrize(
    ("url", "wanted", "words"),
    [
        ("https://a.test/", "https://a.test/", None),
        ("https://a.test/login", "https://a.test/", 'final URL is "https://a.test/login", wanted "https://a.test/"'),
        ("https://a.test/de/", {"regex": "^https://"}, None),
        ("http://a.test/", {"regex": "^https://"}, 'final URL is "http://a.test/", wanted matching /^https:///'),
        ("https://a.test/login", {"contains": "/login", "absent": True},
         'final URL is "https://a.test/login", wanted not containing "/login"'),
        ("https://a.test/", [{"regex": "^https://"}, {"contains": "b.test"}],
         'final URL is "https://a.test/", wanted containing "b.test"'),
        ("https://me:hunter2@a.test/x?code=hunter2#hunter2", "https://a.test/",
         'final URL is "https://a.test/x?…", wanted "https://a.test/"'),
    ],
)  # fmt: skip
def test_the_url_is_held_against_the_wish_and_told_without_secrets(url: str, wanted: Any, words: str | None) -> None:
    assert verdict(url, final_url=wanted) == words


@pytest.mark.parametrize(
    ("wanted", "good", "bad", "words"),
    [
        (0, [0], [1], "1 redirect, wanted 0"),
        (2, [2], [1, 3], "1 redirect, wanted 2"),
        ({"max": 1}, [0, 1], [2], "2 redirects, wanted at most 1"),
        ({"min": 1}, [1, 9], [0], "0 redirects, wanted at least 1"),
        ({"min": 1, "max": 2}, [1, 2], [3, 0], "3 redirects, wanted at least 1 and at most 2"),
    ],
)
def test_redirects_are_counted(wanted: Any, good: list[int], bad: list[int], words: str) -> None:
    assert [hops for hops in good if verdict("https://a.test/", hops, redirects=wanted)] == []
    assert [hops for hops in bad if not verdict("https://a.test/", hops, redirects=wanted)] == []
    assert verdict("https://a.test/", bad[0], redirects=wanted) == words


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"final_url": "http://a/", "follow_redirects": False}, "need redirects that are followed"),
        ({"redirects": 0, "max_redirects": 0}, "need redirects that are followed"),
        ({"redirects": 3, "max_redirects": 2}, "no more than max_redirects = 2 are followed"),
    ],
)
def test_what_cannot_apply_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, **options))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"redirects": {}}, "redirects: give exactly, or min, max or both"),
        ({"redirects": {"exactly": 1, "max": 2}}, "redirects: give exactly, or min, max or both"),
        ({"redirects": {"min": 2, "max": 1}}, "redirects: give numbers of at least 0, max no less than min"),
        ({"redirects": -1}, "redirects: give numbers of at least 0, max no less than min"),
        ({"redirects": "1"}, 'redirects: expected a whole number or a table, got "1"'),
        ({"final_url": ["a", 1]}, "final_url[1]: expected a string or a table, got 1"),
        ({"final_url": []}, "final_url: an empty list checks nothing"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    assert plugged.convert(PLUGINS, written)[1] == [complaint]
