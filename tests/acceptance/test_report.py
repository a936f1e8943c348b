"""`watcher report` as a user types it, over results that were summed up and such that were not yet."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from over_database import over

from watcher.models import Endpoint, Result, Status
from watcher.store import metrics, rollups
from watcher.store.connection import connect

NOW = datetime.now(UTC)
FIRST = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=40)
MINUTES = int((NOW - FIRST) / timedelta(minutes=1))
NAMES = ("front <page>", "=login")


@pytest.fixture(name="watched")
def fixture_watched(database: str) -> str:
    """Give a database with 40 hours of two endpoints: one is down for 10 minutes, 30 hours ago."""
    with closing(connect(database, name="test", autocommit=True)) as connection:
        cursor = connection.cursor()
        endpoints = []
        for name in NAMES:
            labels = json.dumps({"team": name[1:]})
            cursor.execute(
                "INSERT INTO endpoints (name, url, labels) VALUES (%s, 'https://a/', %s) RETURNING id", (name, labels)
            )
            endpoints.append(Endpoint(id=cursor.fetchone()[0], name=name, url="https://a/"))
        results = []
        for minute in range(MINUTES):
            at_us = int((FIRST + timedelta(minutes=minute)).timestamp() * 1e6)
            status = Status.DOWN if 600 <= minute < 610 else Status.UP
            results.append(Result(endpoints[0], at_us, status, latency_us=20_000, ttfb_us=15_000))
            status = Status.UP if minute % 10 else Status.DEGRADED
            results.append(Result(endpoints[1], at_us, status, latency_us=500_000))
        metrics.store(connection, [metrics.encode(results)], 1)
        rollups.fold(connection)
        rollups.fold(connection)
    return database


def report(dsn: str, *arguments: str, code: int = 0) -> str:
    """Run `watcher report` and give what it wrote."""
    return over(dsn, "report", *arguments, code=code)


def test_json_has_all_of_it(watched: str) -> None:
    found = json.loads(report(watched, "--format", "json", "--since", "3d"))
    total = found["total"]
    assert total["up"] + total["degraded"] + total["down"] == 2 * MINUTES
    worst, other = found["endpoints"]
    assert (worst["name"], worst["down"], worst["incidents"], worst["outage_minutes"]) == (NAMES[0], 10, 1, 10)
    assert worst["availability"] == pytest.approx(1 - 10 / MINUTES)
    assert worst["incident_free_minutes"] == MINUTES - 10
    assert worst["latency_p95_us"] == pytest.approx(20_000, rel=0.022) and worst["ttfb_mean_us"] == 15_000
    assert (other["availability"], other["incidents"]) == (1, 0) and other["degraded"] == -(-MINUTES // 10)
    assert "metrics_days" in {source[0] for source in found["sources"]}


def test_a_table_shows_the_worst_first_with_a_line_of_blocks(watched: str) -> None:
    lines = report(watched, "--since", "3d").splitlines()
    assert lines[0].endswith("2 endpoints") and "1 incident, 10 outage minutes" in lines[1]
    (first,) = [number for number, line in enumerate(lines) if line.startswith(NAMES[0])]
    assert lines[first + 1].startswith(NAMES[1]) and "100 %" in lines[first + 1]
    assert "99." in lines[first] and lines[first].strip()[-1] in "█▇▆"
    assert f"slowest by p95: {NAMES[1]}" in lines[-1]
    shown = report(watched, "--limit", "1")
    assert "least available" in shown and f"\n{NAMES[1]}" not in shown


def test_csv_has_a_line_an_endpoint_and_no_formula(watched: str) -> None:
    rows = list(csv.DictReader(io.StringIO(report(watched, "--format", "csv"))))
    assert [row["name"] for row in rows] == [NAMES[0], f"'{NAMES[1]}"]
    assert rows[0]["outage_minutes"] == "10" and json.loads(rows[0]["labels"]) == {"team": NAMES[0][1:]}


class Page(HTMLParser):
    """Collects texts, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        if tag != "meta":
            self.open.append(tag)
        self.fetched += [tag for name, _ in attrs if name in ("src", "href")] + [tag] * (tag in ("script", "link"))

    def handle_endtag(self, tag: str) -> None:
        """Hold to it that tags end as they begin."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take a text."""
        self.texts.append(data)


def test_html_is_a_page_that_fetches_nothing(watched: str) -> None:
    page = Page()
    page.feed(report(watched, "--format", "html"))
    assert not page.open and not page.fetched
    assert set(NAMES) <= set(page.texts)


def test_endpoints_are_chosen_by_name_and_label(watched: str) -> None:
    for chosen in (("--endpoint", NAMES[1]), ("--label", "team=login")):
        found = json.loads(report(watched, "--format", "json", *chosen))
        assert [line["name"] for line in found["endpoints"]] == [NAMES[1]] and found["total"]["down"] == 0
    assert "0 endpoints" in report(watched, "--label", "team=none")


def test_removed_endpoints_are_left_out_or_marked(watched: str) -> None:
    with closing(connect(watched, name="test", autocommit=True)) as connection:
        connection.cursor().execute("UPDATE endpoints SET removed_at = now() WHERE name = %s", (NAMES[0],))
    found = json.loads(report(watched, "--format", "json"))
    assert [line["name"] for line in found["endpoints"]] == [NAMES[1]] and found["total"]["down"] == 0
    shown = report(watched, "--removed")
    assert f"\n{NAMES[0]} (removed) " in shown and f"{NAMES[1]} (removed)" not in shown and "10 outage minutes" in shown
    page = Page()
    page.feed(report(watched, "--removed", "--format", "html"))
    assert {f"{NAMES[0]} (removed)", NAMES[1]} <= set(page.texts)
    assert "0 endpoints" in report(watched, "--label", f"team={NAMES[0][1:]}")
    assert "1 endpoint\n" in report(watched, "--endpoint", NAMES[0])


@pytest.mark.parametrize("kind", ["table", "csv", "json", "html"])
def test_a_password_in_a_name_is_not_shown(watched: str, kind: str) -> None:
    with closing(connect(watched, name="test", autocommit=True)) as connection:
        rename = "UPDATE endpoints SET name = 'https://probe:hidden@a/' WHERE name = %s"
        connection.cursor().execute(rename, (NAMES[0],))
    found = report(watched, "--format", kind)
    assert "hidden" not in found and "@a/" in found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "soon"), '--since "soon" is no time; write 30d, 6h, 2026-03-01 or 2026-03-01T12:00Z'),
        (("--label", "team"), '--label "team" is not KEY=VALUE'),
        (("--endpoint", "nobody"), 'there is no endpoint "nobody"'),
    ],
)
def test_a_mistake_is_told(database: str, arguments: tuple[str, ...], words: str) -> None:
    assert words in report(database, *arguments, code=2)


def test_a_database_without_rollups_is_told(empty_database: str) -> None:
    assert "has no rollups yet; run `watcher db migrate`, or an agent" in report(empty_database, code=1)
