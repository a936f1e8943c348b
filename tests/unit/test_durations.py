"""`watcher.durations`: what users may write for a time, and what they may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.durations import Duration, seconds, written


@pytest.mark.parametrize(
    ("text", "value_s"),
    [
        (30, 30.0),
        (0.25, 0.25),
        ("30", 30.0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1m30s", 90.0),
        (" 1m 30 s ", 90.0),
        ("1.5m", 90.0),
    ],
)
def test_reads_a_duration(text: object, value_s: float) -> None:
    assert seconds(text) == value_s


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "30 seconds", "5d", "-5s", "1e3", "x", "30s30", "١s", True, None, [30], float("nan"), float("inf")],
)
def test_refuses_what_is_no_duration(text: object) -> None:
    with pytest.raises(TypeError):
        seconds(text)


@given(st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_adds_up_what_is_written_together(minutes: int, full_s: int, milliseconds: int) -> None:
    assert seconds(f"{minutes}m{full_s}s{milliseconds}ms") == pytest.approx(minutes * 60 + full_s + milliseconds / 1000)


@given(st.integers(1, 7200_000).map(lambda milliseconds: milliseconds / 1000))
def test_reads_back_what_it_writes(value_s: float) -> None:
    assert seconds(written(value_s)) == pytest.approx(value_s, rel=1e-4)


def test_writes_the_short_way() -> None:
    for value_s, text in {0.5: "500 ms", 30: "30 s", 60: "60 s", 90: "90 s", 300: "5 m", 7200: "2 h"}.items():
        assert written(value_s) == text


def test_a_duration_is_a_number_of_seconds() -> None:
    assert Duration(0.5) * 2 == 1.0
