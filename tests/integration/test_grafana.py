"""deploy/grafana/: the dashboard is whole, every query of it runs, and the compose file mounts what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from statements import execute

from watcher.models import Endpoint, Reason, Result, Status
from watcher.store import metrics, rollups
from watcher.store.connection import Connection, connect

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy/grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/watcher.json").read_text(encoding="utf-8"))
NAME = "it's a name"
COLUMNS = 24  # of Grafana's grid


@pytest.fixture(name="connection")
def open_connection(database: str) -> Iterator[Connection]:
    """Give a connection to a database with an hour of results, some of them down, which are summed up."""
    now_us = int((datetime.now(UTC) - timedelta(hours=2)).timestamp()) * 1_000_000
    with closing(connect(database, name="test", autocommit=True)) as connection:
        insert = "INSERT INTO endpoints (name, url) VALUES (%s, 'https://a/') RETURNING id"
        endpoint = Endpoint(id=execute(connection, insert, NAME)[0][0], name=NAME, url="https://a/")
        results = [
            Result(endpoint, now_us + minute * 60_000_000, Status.UP if minute % 9 else Status.DOWN, latency_us=9000)
            for minute in range(60)
        ]
        metrics.store(connection, [metrics.encode(results)], 1)
        just_now = (datetime.now(UTC) - timedelta(seconds=1)).timestamp() * 1e6
        metrics.store(connection, [metrics.encode([Result(endpoint, int(just_now), Status.DOWN, Reason.TIMEOUT)])], 1)
        rollups.fold(connection)
        rollups.fold(connection)
        yield connection


def filled_in(statement: str) -> str:
    """Do what Grafana does with its macro and variable."""
    statement = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '7 days' AND now()", statement)
    quoted = NAME.replace("'", "''")
    statement = statement.replace("${endpoint:sqlstring}", f"'{quoted}'")
    assert "$" not in statement
    return statement.replace("%", "%%")


def rows(connection: Connection, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Give the names of the columns, and the rows."""
    cursor = connection.cursor()
    cursor.execute(filled_in(statement))
    return [column.name for column in cursor.description], cursor.fetchall()


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_every_panel_gets_what_it_shows(connection: Connection, panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    columns, found = rows(connection, target["rawSql"])
    assert found and None not in found[0][:2]
    if target["format"] == "time_series":
        assert columns[0] == "time" and isinstance(found[0][0], datetime)
        assert [row[0] for row in found] == sorted(row[0] for row in found)
        assert all(isinstance(value, (int, float)) for value in found[0][2 if columns[1] == "metric" else 1 :])
    named = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
    assert named <= set(columns)


def test_the_variable_lists_the_endpoints(connection: Connection) -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert variable["multi"] and variable["includeAll"]
    assert rows(connection, variable["query"])[1] == [(NAME,)]


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & taken and max(x for x, _ in own) < COLUMNS
        taken |= own
        assert panel["datasource"]["uid"] == panel["targets"][0]["datasource"]["uid"] == "watcher"
        assert panel["type"] in ("stat", "table", "timeseries")


def test_the_provisioning_names_what_the_compose_file_mounts() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    service = compose["services"]["grafana"]
    assert service["profiles"] == ["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert {target for source, target in mounts.items() if source.startswith("./")} <= set(mounts.values())
    for source in mounts:
        assert (ROOT / source).is_dir() if source.startswith("./") else source in compose["volumes"]
    (datasource,) = yaml.safe_load((GRAFANA / "provisioning/datasources/watcher.yml").read_text())["datasources"]
    assert (datasource["uid"], datasource["type"]) == ("watcher", DASHBOARD["panels"][0]["datasource"]["type"])
    wanted = set(re.findall(r"\$\{(\w+)\}", json.dumps(datasource)))
    assert wanted and wanted <= set(service["environment"])
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/watcher.yml").read_text())["providers"]
    assert provider["options"]["path"] in mounts.values()
