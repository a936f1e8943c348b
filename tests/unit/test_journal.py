"""The log lines, with the clock in the test's hand."""

from __future__ import annotations

import io
from typing import Any

import pytest

from watcher.screen.fleet import Fleet, Totals
from watcher.screen.journal import CHANGES_A_SECOND, Journal, _Since

NOON_S = 1_800_000_000  # 2027-01-15T08:00:00Z, by date(1)


@pytest.fixture(name="fleet")
def _fleet() -> Fleet:
    return Fleet()


@pytest.fixture(name="journal")
def _journal(fleet: Fleet) -> Journal:
    return Journal(fleet, io.StringIO(), io.StringIO(), clock=lambda: NOON_S)


def lines(journal: Journal) -> list[str]:
    """Give what was written about endpoints."""
    return journal._output.getvalue().splitlines()  # pylint: disable=protected-access


def troubles(journal: Journal) -> list[str]:
    """Give what was written about the agent."""
    return journal._trouble.getvalue().splitlines()  # pylint: disable=protected-access


def hear(fleet: Fleet, *changes: dict[str, Any], **more: Any) -> None:
    """Let a worker tell of changes."""
    line = {"worker": 0, "pid": 1, "endpoints": 3, "up": 2, "down": 1, "database": "ok", **more}
    fleet.hear({**line, "changes": changes}, 0.0)


def change(name: str = "front page", status: str = "down", **more: Any) -> dict[str, Any]:
    """Make a change of status."""
    return {"name": name, "before": "up", "status": status, "at_us": NOON_S * 1_000_000, **more}


def test_a_change_for_the_worse_has_its_reason(fleet: Fleet, journal: Journal) -> None:
    hear(fleet, change(reason="status", detail="503 is not 2xx", http_status=503, latency_us=12_345))
    journal.tick(0.0)
    assert lines(journal) == ["2027-01-15T08:00:00Z down   front page: status: 503 is not 2xx, HTTP 503, was up"]


def test_a_change_for_the_better_has_its_latency(fleet: Fleet, journal: Journal) -> None:
    hear(fleet, change(status="up", before="down", http_status=200, latency_us=12_345))
    journal.tick(0.0)
    assert lines(journal) == ["2027-01-15T08:00:00Z up     front page: HTTP 200, 12.3 ms, was down"]


def test_the_first_result_is_a_line_only_when_it_is_bad(fleet: Fleet, journal: Journal) -> None:
    hear(fleet, change("a", "up", before=None), change("b", "down", before=None, reason="dns", detail="no such name"))
    journal.tick(0.0)
    assert lines(journal) == ["2027-01-15T08:00:00Z down   b: dns: no such name"]


def test_so_many_lines_a_second_then_a_count(fleet: Fleet, journal: Journal) -> None:
    journal.tick(0.0)
    hear(fleet, *(change(str(number), "down" if number % 2 else "up") for number in range(50)))
    journal.tick(0.5)
    assert len(lines(journal)) == CHANGES_A_SECOND == 20
    journal.tick(1.0)
    assert lines(journal)[20:] == ["2027-01-15T08:00:00Z and 30 more changes: 15 down, 15 up"]
    hear(fleet, change("later"))
    journal.tick(1.1)
    assert "later" in lines(journal)[21]


def test_summaries_come_at_ten_seconds_then_each_minute(fleet: Fleet, journal: Journal) -> None:
    hear(fleet, stored=4, lag_p99_us=310, late_p99_us=1200)
    written = []
    for second in range(0, 200):
        hear(fleet, stored=4, lag_p99_us=310, late_p99_us=1200)
        fleet.hear({"worker": 1, "pid": 2}, float(second))  # one that is alive
        before = len(lines(journal))
        journal.tick(float(second))
        written += [second] * (len(lines(journal)) - before)
    assert written == [10, 70, 130, 190]
    assert lines(journal)[0] == (
        "2027-01-15T08:00:00Z 3 endpoints: 2 up, 1 down, 0 unknown; 0 checks/s; lag p99 0.31 ms, late p99 1.20 ms; "
        "stored 4, buffered 0, spooled 0, missed 0; database ok"
    )


def test_trouble_with_the_database_is_told_once_and_so_is_its_end(fleet: Fleet, journal: Journal) -> None:
    for database in ("ok", "ok", "connection refused", "connection refused", "ok"):
        hear(fleet, database=database)
        journal.tick(0.0)
    assert troubles(journal) == [
        "2027-01-15T08:00:00Z database: connection refused",
        "2027-01-15T08:00:00Z database: ok",
    ]


def test_what_a_site_sends_cannot_forge_lines_or_command_a_terminal(fleet: Fleet, journal: Journal) -> None:
    hear(fleet, change("a\x1b[2J", detail="x\n2027-01-15T08:00:00Z up     b", reason="protocol"))
    journal.tick(0.0)
    journal.say("worker 0: \x1b[31mred\nmore")
    assert len(lines(journal)) == 1 and len(troubles(journal)) == 1
    assert "\x1b" not in lines(journal)[0] + troubles(journal)[0]


def test_the_end_has_a_summary_and_what_was_left(fleet: Fleet, journal: Journal) -> None:
    hear(fleet, change())
    journal.close(0.0)
    assert [line.split()[1] for line in lines(journal)] == ["down", "3"]


def test_a_name_that_is_the_url_hides_its_token(fleet: Fleet, journal: Journal) -> None:
    hear(fleet, change("https://me:hunter2@h/?token=hunter2", reason="dns"))
    journal.tick(0.0)
    assert lines(journal) == ["2027-01-15T08:00:00Z down   https://me:***@h/?token=***: dns, was up"]


def test_a_summary_tells_of_all_the_time_since_the_last_one() -> None:
    since = _Since()
    since.note(Totals(checks=100, lag_p99_us=5, late_p99_us=1), now=10.0)
    since.note(Totals(checks=130, lag_p99_us=900, late_p99_us=2), now=40.0)
    quiet = Totals(checks=160, checks_per_s=0.0, lag_p99_us=0)
    given = since.over(quiet, now=70.0)
    assert (given.checks_per_s, given.lag_p99_us, given.late_p99_us) == (1.0, 900, 2)
    assert since.over(Totals(checks=160), now=80.0).checks_per_s == 0.0


def test_a_summary_says_that_the_agent_is_saturated(fleet: Fleet, journal: Journal) -> None:
    hear(fleet, shedding_permille=305, suspect=True, error_max_us=6_000)
    journal.close(0.0)
    assert lines(journal)[-1].endswith(
        "; database ok; saturated, shedding 30.5 %; numbers are suspect: read 6.00 ms too long"
    )
