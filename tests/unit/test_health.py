"""The figures of a minute from the lines of its seconds."""

from __future__ import annotations

from watcher.health import Health


def line(**values) -> dict:
    """Make a line of state."""
    return {
        "checks": 0, "missed": 0, "shed": 0, "canary_checks": 0, "lag_p99_us": 0, "late_p99_us": 0,
        "error_p50_us": None, "error_max_us": None, "suspect": False, "worker": 3,
        "produced": 0, "stored": 0, "damaged": 0, "dropped": 0, "spooled": 0, **values,
    }  # fmt: skip


def test_counts_are_those_of_the_minute_and_percentiles_those_of_its_worst_second() -> None:
    health = Health()
    health.note(line(checks=100, lag_p99_us=900, late_p99_us=10))
    health.note(
        line(
            checks=250, missed=4, shed=3, canary_checks=2, lag_p99_us=300, late_p99_us=70, suspect=True,
            produced=254, stored=200, spooled=50, dropped=4,
        )  # fmt: skip
    )
    assert health.take() == {
        "checks": 250, "missed": 4, "shed": 3, "canary_checks": 2, "lag_p99_us": 900, "late_p99_us": 70,
        "error_p50_us": None, "error_max_us": None, "suspect": True,
        "produced": 254, "stored": 200, "damaged": 0, "dropped": 4, "spooled": 50,
    }  # fmt: skip
    later = {"produced": 264, "stored": 250, "spooled": 10, "dropped": 4}
    health.note(line(checks=260, missed=4, shed=3, canary_checks=62, error_p50_us=80, error_max_us=200, **later))
    assert health.take() == {
        "checks": 10, "missed": 0, "shed": 0, "canary_checks": 60, "lag_p99_us": 0, "late_p99_us": 0,
        "error_p50_us": 80, "error_max_us": 200, "suspect": False,
        "produced": 10, "stored": 50, "damaged": 0, "dropped": 0, "spooled": 10,
    }  # fmt: skip


def test_before_the_first_second_there_is_no_row() -> None:
    assert Health().take() == {}
