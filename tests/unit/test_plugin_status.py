"""The option `status`: what is good by default and by wish, and how a bad status is told."""

from __future__ import annotations

from typing import Any

import plugged
import pytest

from watcher import Failure, Reason
from watcher.plugins.assertions import status
from watcher.plugins.protocols import http

PLUGINS = plugged.manager(status)


def accepts(code: int, url: str = "http://site.test/", **options: Any) -> bool:
    """Tell whether an endpoint with these options takes a status for a good one."""
    return plugged.verdict(PLUGINS, plugged.endpoint(PLUGINS, url, **options), plugged.response(status=code)) is None


@pytest.mark.parametrize(
    ("written", "good", "bad"),
    [
        (200, [200], [199, 201, 404]),
        ("404", [404], [200, 403]),
        ("2xx", [200, 204, 299], [100, 199, 300, 500]),
        ("4XX", [400, 499], [399, 500]),
        ("400-404", [400, 402, 404], [399, 405]),
        (["2xx", 304, "401-403"], [200, 299, 304, 401, 403], [300, 303, 305, 400, 404]),
        (999, [999], [200, 998]),  # not a status of RFC 9110, yet sites send it
    ],
)
def test_codes_ranges_and_classes_mean_what_they_say(written: Any, good: list[int], bad: list[int]) -> None:
    assert [code for code in good if not accepts(code, status=written)] == []
    assert [code for code in bad if accepts(code, status=written)] == []


@pytest.mark.parametrize("url", ["http://site.test/", "https://site.test/", "HTTPS://SITE.TEST/"])
def test_without_the_option_every_2xx_is_good_and_nothing_else(url: str) -> None:
    assert [code for code in range(100, 600) if accepts(code, url)] == list(range(200, 300))


def test_a_redirect_that_is_not_to_be_followed_is_good() -> None:
    plugins = plugged.manager(http, status)
    (step,) = plugins.hook.watcher_steps(endpoint=plugged.endpoint(plugins, follow_redirects=False))
    good = [code for code in range(100, 600) if step(plugged.response(status=code)) is None]
    assert good == list(range(200, 400))


def test_other_schemes_get_no_step() -> None:
    assert not PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, "tcp://site.test:22"))


def test_other_schemes_cannot_have_the_option() -> None:
    with pytest.raises(ValueError, match='"status" judges an HTTP response, and tcp:// has none'):
        PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, "tcp://site.test:22", status=200))


@pytest.mark.parametrize(
    ("code", "reason", "options", "detail"),
    [
        (503, "Service Unavailable", {}, "503 Service Unavailable, wanted 2xx"),
        (503, "Backend fetch failed", {"status": ["2xx", 304]}, "503 Backend fetch failed, wanted 2xx, 304"),
        (404, "", {}, "404 Not Found, wanted 2xx"),
        (799, "", {}, "799 (no reason given), wanted 2xx"),
        (500, "a\x1b[31m\x00b" + "c" * 500, {}, f"500 a[31mb{'c' * 74}, wanted 2xx"),
    ],
)
def test_a_bad_status_is_told_with_the_words_of_the_site(code: int, reason: str, options: dict, detail: str) -> None:
    found = plugged.verdict(
        PLUGINS, plugged.endpoint(PLUGINS, **options), plugged.response(status=code, reason=reason)
    )
    assert found == Failure(detail, Reason.STATUS)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (99, "'99' is no status"),
        (1000, "'1000' is no status"),
        ("2x", "'2x' is no status"),
        ("ok", "'ok' is no status"),
        (["2xx", "20 0"], "'20 0' is no status"),
        ("404-400", "'404-400' ends before it begins"),
        ("٢٠٠", "is no status"),  # digits, but not those of a status line
        ([], "an empty list"),
        (True, "expected a whole number"),
        (200.5, "expected a whole number"),
        ({"is": 200}, "expected a whole number"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"status": written})
    assert len(mistakes) == 1 and mistakes[0].startswith("status: ") and complaint in mistakes[0]


def test_endpoints_that_want_the_same_share_one_step() -> None:
    first, second = (
        PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, url, status=["2xx", 304]))
        for url in ("http://a.test/", "http://b.test/")
    )
    assert first[0] is second[0]
