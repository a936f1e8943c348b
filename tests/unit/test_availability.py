"""Availability as people read it."""

from __future__ import annotations

import pytest

from watcher.screen import availability


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"), (1.0, "100 %"), (0.9999999, "99.9999 %"), (0.99985, "99.985 %"), (0.9876, "98.76 %"),
        (0.5, "50 %"), (0.0, "0 %"), (0.999, "99.9 %"), (1 - 1 / 432_000_000, "99.9999 %"),
    ],
)  # fmt: skip
def test_a_share_never_becomes_100_percent_by_rounding(value: float | None, expected: str) -> None:
    assert availability.percent(value) == expected


def test_a_sparkline_has_a_sign_a_value_the_lower_the_worse() -> None:
    values = [1.0, 0.9995, 0.995, 0.97, 0.92, 0.6, 0.1, 0.0]
    assert availability.sparkline([*values, None]) == "█▇▆▅▄▃▂▁ "
