"""`watcher status` as a user types it, over results of two agents."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from over_database import over

from watcher.models import Endpoint, Reason, Result, Status
from watcher.store import agents, metrics, rollups
from watcher.store.connection import connect

NOW = datetime.now(UTC).replace(microsecond=0)
UP, DEGRADED, DOWN, MISSED = Status.UP, Status.DEGRADED, Status.DOWN, Status.MISSED
HISTORIES: dict[str, Sequence[Status]] = {  # a check a minute, the last one a minute ago
    "fine": (DOWN, UP, UP),
    "never checked": (),
    "down after an hour": (UP, *[DOWN] * 3),
    "slow": (DOWN, UP, DEGRADED, DEGRADED),
    "=down for longer": (UP, DOWN, MISSED, DOWN, DOWN, MISSED),
    "always missed": (MISSED, MISSED),
    "back": (DOWN, DEGRADED, UP, MISSED),
}
HEALTH = dict.fromkeys(
    "checks missed lag_p99_us late_p99_us canary_checks produced stored damaged dropped spooled".split(), 0
)


def ago(minutes: float) -> datetime:
    """Give a time of a check."""
    return NOW - timedelta(minutes=minutes)


@pytest.fixture(name="watched")
def fixture_watched(database: str) -> str:
    """Give a database with these histories, and two agents: one has too much to do, one is away."""
    with closing(connect(database, name="test", autocommit=True)) as connection:
        cursor = connection.cursor()
        busy = agents.register(connection, "berlin", "probe1", "", "1.0", "kernel")
        away = agents.register(connection, "paris", "probe2", "", "1.0", "kernel")
        cursor.execute("UPDATE agents SET seen_at = now() - interval '2 hours' WHERE id = %s", (away,))
        row = {**HEALTH, "shed": 7, "error_p50_us": None, "error_max_us": None, "suspect": False}
        agents.add_health(connection, busy, 0, row)
        results = []
        for name, statuses in HISTORIES.items():
            labels = json.dumps({"team": name.split()[0]})
            cursor.execute(
                "INSERT INTO endpoints (name, url, labels) VALUES (%s, 'https://a/', %s) RETURNING id", (name, labels)
            )
            endpoint = Endpoint(id=cursor.fetchone()[0], name=name, url="https://a/")
            for minutes, status in enumerate(reversed(statuses), 1):
                why = {"reason": Reason.STATUS, "detail": "503 instead of 200"} if status is DOWN else {}
                results.append(Result(endpoint, int(ago(minutes).timestamp() * 1e6), status, **why))
        cursor.execute("INSERT INTO endpoints (name, url, enabled) VALUES ('off', 'https://a/', false)")
        metrics.store(connection, [metrics.encode(results)], busy)
    return database


def status(dsn: str, *arguments: str, code: int = 0) -> str:
    """Run `watcher status` and give what it wrote."""
    return over(dsn, "status", *arguments, code=code)


def as_json(dsn: str, *arguments: str) -> Any:
    """Give what it says as JSON."""
    return json.loads(status(dsn, "--format", "json", *arguments))


def test_who_is_down_comes_first_with_since_and_why(watched: str) -> None:
    found = as_json(watched)
    assert found["counts"] == {"down": 2, "degraded": 1, "missed": 1, "unchecked": 1, "up": 2}
    told = [(one["name"], one["status"], one["since"]) for one in found["endpoints"]]
    since = [datetime.fromisoformat(at) if at else None for _, _, at in told]
    assert [(name, kind) for name, kind, _ in told] == [
        ("=down for longer", "down"), ("down after an hour", "down"), ("slow", "degraded"), ("always missed", "missed"),
        ("never checked", None), ("back", "up"), ("fine", "up"),
    ]  # fmt: skip
    assert since == [ago(5), ago(3), ago(2), None, None, None, None]
    worst = found["endpoints"][0]
    assert (worst["reason"], worst["detail"], worst["location"]) == ("status", "503 instead of 200", "berlin")
    assert datetime.fromisoformat(worst["checked_at"]) == ago(1)


def test_an_endpoint_that_can_no_longer_be_checked_as_it_is_is_not_as_it_was(watched: str) -> None:
    with closing(connect(watched, name="test", autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM endpoints WHERE name = 'fine'")
        endpoint = Endpoint(id=cursor.fetchone()[0], name="fine", url="https://a/")
        cursor.execute("SELECT id FROM agents WHERE host = 'probe1'")
        row = Result(endpoint, int(NOW.timestamp() * 1e6), MISSED, Reason.CONFIG, detail="a tcp:// URL needs a port")
        metrics.store(connection, [metrics.encode([row])], cursor.fetchone()[0])
    (fine,) = as_json(watched, "--label", "team=fine")["endpoints"]
    assert (fine["status"], fine["reason"], fine["detail"]) == ("missed", "config", "a tcp:// URL needs a port")


def test_a_label_that_is_no_text_is_refused(watched: str) -> None:
    assert "is not KEY=VALUE" in status(watched, "--label", "\udcff=1", code=2)


def test_agents_are_told_with_what_is_wrong_with_them(watched: str) -> None:
    found = {one["host"]: one for one in as_json(watched)["agents"]}
    assert {host: (one["away"], one["saturated"], one["suspect"]) for host, one in found.items()} == {
        "probe1": (False, True, False), "probe2": (True, False, False),
    }  # fmt: skip
    lines = status(watched).splitlines()
    assert lines[0] == "2 down, 1 degraded, 1 missed, 1 unchecked, 2 up"
    assert lines[1].startswith("agent probe1 berlin: seen ") and lines[1].endswith(" ago, saturated")
    assert lines[2] == "agent probe2 paris: seen 2 h ago, away"


def test_a_table_has_a_line_an_endpoint_and_says_what_it_leaves_out(watched: str) -> None:
    lines = status(watched, "--limit", "2").splitlines()
    shown = [line for line in lines if line.startswith(("=down", "down after", "slow"))]
    assert [line.split("  ")[0] for line in shown] == ["=down for longer", "down after an hour"]
    assert f"{ago(5):%Y-%m-%d %H:%M} UTC" in shown[0] and "status: 503 instead of 200" in shown[0]
    assert lines[-1] == "and 5 more: --limit, or another --format"
    assert "more:" not in status(watched)


def test_down_and_labels_leave_out_the_others(watched: str) -> None:
    assert [one["name"] for one in as_json(watched, "--down")["endpoints"]] == list(HISTORIES)[4:1:-2]
    found = as_json(watched, "--label", "team=slow")
    assert [one["name"] for one in found["endpoints"]] == ["slow"] and found["counts"]["down"] == 0
    assert '--label "x" is not KEY=VALUE' in status(watched, "--label", "x", code=2)


def test_csv_has_a_line_an_endpoint_and_no_formula(watched: str) -> None:
    rows = list(csv.DictReader(io.StringIO(status(watched, "--format", "csv", "--down"))))
    assert [row["name"] for row in rows] == ["'=down for longer", "down after an hour"]
    assert datetime.fromisoformat(rows[0]["since"]) == ago(5) and json.loads(rows[1]["labels"]) == {"team": "down"}


@pytest.mark.parametrize("kind", ["table", "csv", "json"])
def test_a_password_in_a_name_is_not_shown(watched: str, kind: str) -> None:
    with closing(connect(watched, name="test", autocommit=True)) as connection:
        connection.cursor().execute("UPDATE endpoints SET name = 'https://probe:hidden@a/' WHERE name = 'slow'")
    found = status(watched, "--format", kind)
    assert "hidden" not in found and "@a/" in found


def test_the_last_address_stands_for_an_endpoint(database: str) -> None:
    """A check of three addresses is three rows, microseconds apart: the last says how the endpoint is."""
    with closing(connect(database, name="test", autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO endpoints (name, url) VALUES ('three', 'https://a/') RETURNING id")
        endpoint = Endpoint(id=cursor.fetchone()[0], name="three", url="https://a/")
        results = []
        for minutes in (3, 2, 1):
            at_us = int(ago(minutes).timestamp() * 1e6)
            results += [Result(endpoint, at_us, UP), Result(endpoint, at_us + 1, UP if minutes == 3 else DOWN)]
        metrics.store(connection, [metrics.encode(results)], 1)
    (found,) = as_json(database)["endpoints"]
    assert found["status"] == "down"
    assert datetime.fromisoformat(found["since"]) == ago(2) + timedelta(microseconds=1)


@pytest.mark.parametrize("kept", [True, False], ids=["with all results", "with the last day of results alone"])
def test_since_when_is_told_of_a_long_outage_too(database: str, kept: bool) -> None:
    """Beside one of minutes, one of days that came back for a moment, and one that was never up."""
    histories = {
        "long": {80: UP, 79.8: DOWN, 70: UP, **dict.fromkeys([69.9, *range(69, 0, -1)], DOWN), 0.01: DOWN},
        "new": {**dict.fromkeys(range(80, 0, -1), UP), 0.03: DOWN, 0.02: MISSED, 0.01: DOWN},
        "slow for long": {80: DOWN, 60.2: UP, 60.1: DOWN, **dict.fromkeys(range(60, 0, -1), DEGRADED)},
        "never up": dict.fromkeys(range(80, 0, -1), DOWN),
    }
    with closing(connect(database, name="test", autocommit=True)) as connection:
        cursor = connection.cursor()
        for name, history in histories.items():
            cursor.execute("INSERT INTO endpoints (name, url) VALUES (%s, 'https://a/') RETURNING id", (name,))
            endpoint = Endpoint(id=cursor.fetchone()[0], name=name, url="https://a/")
            results = [Result(endpoint, int(ago(hours * 60).timestamp() * 1e6), to) for hours, to in history.items()]
            metrics.store(connection, [metrics.encode(results)], 1)
        for _ in range(2):
            rollups.fold(connection)
        if not kept:
            cursor.execute("DELETE FROM metrics WHERE time < now() - interval '1 day'")
    found = {one["name"]: datetime.fromisoformat(one["since"]) for one in as_json(database)["endpoints"]}
    assert found.pop("new") == ago(0.03 * 60)
    if kept:
        assert found == {"long": ago(69.9 * 60), "slow for long": ago(3600), "never up": ago(4800)}
    else:
        assert len(found) == 3 and all(ago(24 * 60) < since <= ago(23 * 60) for since in found.values()), found


def test_since_goes_back_seven_days_at_most_where_nothing_is_summed_up(database: str) -> None:
    with closing(connect(database, name="test", autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO endpoints (name, url) VALUES ('a', 'https://a/') RETURNING id")
        endpoint = Endpoint(id=cursor.fetchone()[0], name="a", url="https://a/")
        history = {200: UP, **dict.fromkeys(range(199, 0, -1), DOWN)}  # hours ago
        results = [Result(endpoint, int(ago(hours * 60).timestamp() * 1e6), to) for hours, to in history.items()]
        metrics.store(connection, [metrics.encode(results)], 1)
        found = [as_json(database)]
        cursor.execute("UPDATE rollup_progress SET hours_to = now() - interval '9 days'")
        found.append(as_json(database))
    assert [one["endpoints"][0]["since"] for one in found] == [ago(167 * 60).isoformat().replace("+00:00", "Z")] * 2


def test_an_empty_database_is_told(database: str, empty_database: str) -> None:
    assert status(database).splitlines() == [
        "0 down, 0 degraded, 0 missed, 0 unchecked, 0 up", "no agent was seen in the last 7 days",
    ]  # fmt: skip
    assert "is not ready; run `watcher db migrate`, or an agent" in status(empty_database, code=1)
