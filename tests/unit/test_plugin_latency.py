"""The option `latency`: limits on the whole check and its phases, with any protocol."""

from __future__ import annotations

from typing import Any

import plugged
import pytest

from watcher import Failure, Reason
from watcher.plugins.assertions import latency
from watcher.plugins.protocols import http
from watcher.testing import exchange

PLUGINS = plugged.manager(latency, http)
MEASURED = {"dns_us": 1_000, "connect_us": 20_000, "tls_us": 40_000, "ttfb_us": 300_000, "transfer_us": 9_000}


def verdict(written: Any, url: str = "https://site.test/", keep_alive: bool = False, **measured: Any) -> Failure | None:
    """Give the verdict on a check with these phases."""
    options = {"keep_alive": True} if keep_alive else {}
    (step,) = PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, url, latency=written, **options))
    return step.assess(exchange(**MEASURED | measured))


@pytest.mark.parametrize(
    ("written", "words", "degraded"),
    [
        ("370ms", None, None),
        ("369ms", "latency 370 ms, wanted at most 369 ms", True),
        (0.369, "latency 370 ms, wanted at most 369 ms", True),
        ({"down": "200ms"}, "latency 370 ms, wanted at most 200 ms", False),
        ({"degraded": "300ms", "down": "1s"}, "latency 370 ms, wanted at most 300 ms", True),
        ({"degraded": "100ms", "down": "200ms"}, "latency 370 ms, wanted at most 200 ms", False),
        ({"degraded": "200ms", "phase": "ttfb"}, "ttfb 300 ms, wanted at most 200 ms", True),
        ({"degraded": "20ms", "phase": "connect"}, None, None),
        ({"degraded": "15.5ms", "phase": "connect"}, "connect 20.0 ms, wanted at most 15.5 ms", True),
        (["1s", {"degraded": "30ms", "phase": "tls"}], "tls 40.0 ms, wanted at most 30 ms", True),
        (["10ms", {"down": "30ms", "phase": "tls"}], "tls 40.0 ms, wanted at most 30 ms", False),
        (["10ms", {"degraded": "30ms", "phase": "tls"}], "latency 370 ms, wanted at most 10 ms", True),
    ],
)
def test_what_takes_longer_than_a_limit_is_degraded_or_down(
    written: Any, words: str | None, degraded: bool | None
) -> None:
    assert verdict(written) == (words and Failure(words, Reason.LATENCY, degraded=degraded))


def test_the_total_counts_the_hops_of_redirects_too() -> None:
    assert verdict("400ms") is None
    assert verdict("400ms", hops_us=100_000) == Failure(
        "latency 470 ms, wanted at most 400 ms", Reason.LATENCY, degraded=True
    )


def test_a_phase_that_is_never_there_is_not_passed_over_in_silence() -> None:
    limit = {"degraded": "10ms", "phase": "transfer"}
    assert verdict(limit, "tcp://site.test:22", transfer_us=None) == Failure(
        "latency: a check of this endpoint has no phase transfer", Reason.CONFIG
    )


@pytest.mark.parametrize("phase", ["dns", "connect", "tls"])
def test_nobody_waits_for_a_connection_that_was_kept(phase: str) -> None:
    limit = {"degraded": "0.5ms", "phase": phase}
    assert verdict(limit, keep_alive=True, **{f"{phase}_us": None}) is None
    assert verdict(limit, keep_alive=True) is not None
    assert verdict(limit, **{f"{phase}_us": None}).reason is Reason.CONFIG


def test_a_limit_on_tls_where_there_is_none_is_refused() -> None:
    endpoint = plugged.endpoint(PLUGINS, "http://site.test/", latency={"degraded": "1s", "phase": "tls"})
    with pytest.raises(ValueError, match='latency.phase "tls": http:// has no such phase'):
        PLUGINS.hook.watcher_steps(endpoint=endpoint)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "latency: give degraded, down or both, as durations"),
        ([], "latency: an empty list checks nothing"),
        (0, "latency: a limit must be more than 0"),
        ({"degraded": "2s", "down": "1s"}, "latency: down after 1 s comes before degraded after 2 s"),
        ("soon", 'latency: expected a duration such as 30 or "30s" ("500ms", "5m", "1h") or a table'),
        ({"degraded": "1s", "phase": "wait"}, 'latency.phase: expected one of "connect", "dns"'),
        ({"slow": "1s"}, "latency.slow: unknown key"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"latency": written})
    assert len(mistakes) == 1
    mistake = mistakes[0]
    assert mistake.startswith(complaint)


def test_endpoints_that_want_the_same_share_one_step_and_others_pay_nothing() -> None:
    first, second = (
        PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, url, latency=["1s", {"down": "2s"}]))
        for url in ("http://a.test/", "http://b.test/")
    )
    assert first[0] is second[0]
    assert not PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS))
