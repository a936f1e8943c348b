"""Figures as people read them."""

import pytest

from watcher.screen import figures


@pytest.mark.parametrize(
    ("value_us", "text"),
    [
        (None, ""), (0, "0.00 ms"), (4, "0.00 ms"), (310, "0.31 ms"), (9_994, "9.99 ms"), (9_996, "10.0 ms"),
        (99_960, "100 ms"), (123_456, "123 ms"), (999_499, "999 ms"), (999_500, "1.00 s"), (1_234_567, "1.23 s"),
        (61_000_000, "61.0 s"),
    ],
)  # fmt: skip
def test_durations_have_three_digits(value_us: float | None, text: str) -> None:
    assert figures.duration(value_us) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.9, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_ages_have_one_unit(seconds: float, text: str) -> None:
    assert figures.age(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.25, "0.2"), (12, "12"), (99.95, "100.0"), (1234.5, "1,234")])
def test_counts(value: float, text: str) -> None:
    assert figures.count(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")])
def test_sizes(value: float, text: str) -> None:
    assert figures.size(value) == text


def test_things_are_counted_with_their_noun() -> None:
    assert [figures.counted(number, "mistake") for number in (0, 1, 1200)] == [
        "0 mistakes",
        "1 mistake",
        "1,200 mistakes",
    ]


def test_a_moment_is_in_utc() -> None:
    assert figures.moment(1_800_000_000_000_000) == "2027-01-15T08:00:00Z"


def test_what_is_not_printable_is_replaced() -> None:
    assert figures.plain("grün \x1b[2J\r\n\x07") == "grün \ufffd[2J\ufffd\ufffd\ufffd"
    assert figures.cause("tls", None) == "tls"
    assert figures.cause(None, None) == ""
