"""The period of a report: how it is written, and of which tables it is put together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.store.report_period import DAY, HOUR, MINUTE, RESULTS, Level, Span, cell, kept, moment, spans

NOW = datetime(2026, 3, 10, 15, 33, 20, tzinfo=UTC)
ROLLED = datetime(2026, 3, 10, 15, 25, tzinfo=UTC)
LEVELS = [
    Level("metrics_days", DAY, datetime(2024, 1, 1, tzinfo=UTC), ROLLED),
    Level("metrics_hours", HOUR, datetime(2025, 2, 1, tzinfo=UTC), ROLLED),
    Level("metrics_minutes", MINUTE, datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 10, 15, 29, tzinfo=UTC)),
]


def at(text: str) -> datetime:
    """Read a time of that March."""
    return datetime.fromisoformat(f"2026-03-{text}").replace(tzinfo=UTC)


def test_thirty_days_are_days_and_minutes_and_the_last_results() -> None:
    assert spans(moment("30d", NOW), NOW, LEVELS) == [
        Span("metrics_days", datetime(2026, 2, 8, tzinfo=UTC), ROLLED),
        Span("metrics_minutes", ROLLED, at("10T15:29")),
        Span(RESULTS, at("10T15:29"), NOW),
    ]


def test_edges_are_of_finer_tables() -> None:
    assert spans(at("08T22:58"), at("10T02:01"), LEVELS) == [
        Span("metrics_minutes", at("08T22:58"), at("08T23:00")),
        Span("metrics_hours", at("08T23:00"), at("09")),
        Span("metrics_days", at("09"), at("10")),
        Span("metrics_hours", at("10"), at("10T02:00")),
        Span("metrics_minutes", at("10T02:00"), at("10T02:01")),
    ]


def test_without_rollups_results_are_read() -> None:
    assert spans(at("08"), at("10"), []) == [Span(RESULTS, at("08"), at("10"))]
    assert not spans(at("08"), at("08"), LEVELS)


@given(st.integers(0, 4 * 10**6), st.integers(0, 4 * 10**6))
def test_spans_cover_each_moment_once(first_s: int, length_s: int) -> None:
    since = datetime(2026, 1, 25, tzinfo=UTC) + timedelta(minutes=first_s // 60)
    until = min(NOW, since + timedelta(seconds=length_s))
    found = spans(since, until, LEVELS)
    ends = [since, *(span.until for span in found)]
    assert [span.since for span in found] == ends[:-1] and (ends[-1] == until or since >= until)
    for span in found:
        step = {level.table: level.step for level in LEVELS}.get(span.table, timedelta(microseconds=1))
        assert not (span.since - datetime(1970, 1, 1, tzinfo=UTC)) % step


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", "2026-02-08T00:00"), ("2w", "2026-02-24T00:00"), ("6h", "2026-03-10T09:00"),
        ("90m", "2026-03-10T14:03"),
        ("2026-03-01", "2026-03-01T00:00"), ("2026-03-01T12:30", "2026-03-01T12:30"),
        ("2026-03-01T12:30Z", "2026-03-01T12:30"), ("2026-03-01T12:30+02:00", "2026-03-01T10:30"),
    ],
)  # fmt: skip
def test_a_moment_is_ago_or_a_time(text: str, expected: str) -> None:
    assert moment(text, NOW) == datetime.fromisoformat(f"{expected}+00:00")


@pytest.mark.parametrize("text", ["", "soon", "5y", "-1d", "2026-13-01", "1.5d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        moment(text, NOW)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("2026-03-10T15:30:59", "2026-03-10T15:30"), ("2026-03-03T15:30", "2026-03-03T15:00"),
        ("2024-12-24T15:30", "2024-12-24T00:00"), ("2020-01-01T15:30", "2020-01-01T00:00"),
    ],
)  # fmt: skip
def test_of_old_times_hours_and_days_are_left(asked: str, expected: str) -> None:
    assert kept(datetime.fromisoformat(f"{asked}+00:00"), LEVELS) == datetime.fromisoformat(f"{expected}+00:00")


@pytest.mark.parametrize(
    ("length", "expected"),
    [(30 * DAY, DAY), (31 * DAY, DAY), (32 * DAY, 2 * DAY), (365 * DAY, 12 * DAY), (DAY, HOUR), (30 * MINUTE, MINUTE)],
)
def test_a_period_is_drawn_with_at_most_31_cells(length: timedelta, expected: timedelta) -> None:
    assert cell(at("08") - length, at("08")) == expected
