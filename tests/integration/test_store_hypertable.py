"""The time series on TimescaleDB, on a server that has it: WATCHER_TEST_TIMESCALE_DSN, a superuser's, names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
import timescale_server
from statements import execute

from watcher.models import Endpoint, Result, Status
from watcher.store import metrics, migrations, rollups, status
from watcher.store.connection import Connection, connect

NOW = datetime.now(UTC)
DAY_US = 86_400_000_000

pytestmark = timescale_server.needed


@pytest.fixture(name="hypertable")
def make_database() -> Iterator[str]:
    """Give the DSN of a migrated database on that server."""
    with timescale_server.fresh("watcher_test_hypertable") as dsn:
        migrations.migrate(dsn)
        timescale_server.compress_no_more(dsn)
        yield dsn


@pytest.fixture(name="connection")
def open_connection(hypertable: str) -> Iterator[Connection]:
    """Give a connection as an agent has it for upkeep."""
    with closing(connect(hypertable, name="test", autocommit=True)) as connection:
        yield connection


def encoded(days: range, apart_us: int = 1) -> list[metrics.Literals]:
    """Give a slice of 100 results for each day back from now."""
    endpoint = Endpoint(id=7, name="a", url="https://a/")
    first_us = int(NOW.timestamp()) * 1_000_000
    return [
        metrics.encode(
            [
                Result(endpoint, first_us - day * DAY_US + row * apart_us, Status.UP, latency_us=row)
                for row in range(100)
            ]
        )
        for day in days
    ]


def count(connection: Connection) -> int:
    """Count the rows."""
    return execute(connection, "SELECT count(*) FROM metrics")[0][0]


def test_the_extension_is_enabled_and_metrics_is_a_hypertable(hypertable: str, connection: Connection) -> None:
    assert migrations.storage(connection) == "hypertable"
    rows = execute(connection, "SELECT hypertable_name FROM timescaledb_information.hypertables")
    assert rows == [("metrics",)]
    assert not migrations.migrate(hypertable)


def test_a_batch_stored_again_changes_nothing_even_where_it_was_compressed(connection: Connection) -> None:
    timescale_server.need(connection.dsn, "timescale")
    slices = encoded(range(6))
    assert metrics.store(connection, slices, 1) == 600
    assert timescale_server.compress(connection.dsn)
    assert metrics.store(connection, slices, 1) == 0
    assert metrics.store(connection, slices, 2) == 600
    assert count(connection) == 1200


def test_upkeep_asks_timescaledb_to_drop_old_chunks(connection: Connection) -> None:
    timescale_server.need(connection.dsn, "timescale")
    metrics.store(connection, encoded(range(6)), 1)
    assert metrics.upkeep(connection, NOW, keep_days=3) == metrics.Upkeep()
    query = "SELECT config ->> 'drop_after' FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
    assert execute(connection, query) == [("3 days",)]
    job = execute(connection, "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'")[
        0
    ][0]
    metrics.upkeep(connection, NOW, keep_days=3)
    query_job = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
    assert execute(connection, query_job) == [(job,)]  # nothing to change
    connection.cursor().execute("CALL run_job(%s)", (job,))
    assert count(connection) < 600
    metrics.upkeep(connection, NOW, keep_days=4)
    assert execute(connection, query) == [("4 days",)]


def test_upkeep_drops_old_chunks_itself_under_the_apache_licence(connection: Connection) -> None:
    timescale_server.need(connection.dsn, "apache")
    metrics.store(connection, encoded(range(6)), 1)
    assert metrics.store(connection, encoded(range(6)), 1) == 0
    assert len(metrics.upkeep(connection, NOW, keep_days=2).expired) == 3
    assert 200 <= count(connection) <= 400


def test_chunks_of_an_owner_that_cannot_log_in_are_dropped_without_a_job(connection: Connection) -> None:
    metrics.store(connection, encoded(range(6)), 1)
    metrics.upkeep(connection, NOW, keep_days=30)
    with timescale_server.with_roles(connection.dsn) as names:
        assert len(metrics.upkeep(connection, NOW, keep_days=3).expired) == 2
        query = "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
        assert execute(connection, query) == [(0,)]
        connection.cursor().execute(f"SET ROLE {names.write}")
        assert len(metrics.upkeep(connection, NOW, keep_days=2).expired) == 1
        connection.cursor().execute("RESET ROLE")


def test_the_status_of_each_endpoint_is_its_last_result(connection: Connection) -> None:
    execute(connection, "INSERT INTO endpoints (name, url) VALUES ('a', 'https://a/')")
    metrics.store(connection, encoded(range(3)), 1)
    execute(connection, "UPDATE metrics SET endpoint_id = 1")
    assert execute(connection, "SELECT name, status::text, latency_us FROM endpoint_status") == [("a", "up", 99)]


def counted(connection: Connection) -> list[int]:
    """Give the results of each level of the rollups."""
    levels = ("minutes", "hours", "days")
    return [int(execute(connection, f"SELECT sum(up) FROM metrics_{level}")[0][0]) for level in levels]


def test_late_results_are_folded_in_even_where_the_day_was_compressed(connection: Connection) -> None:
    slices = encoded(range(1, 7), apart_us=1_000_000)
    metrics.store(connection, slices, 1)
    rollups.fold(connection)
    rollups.fold(connection)
    before = counted(connection)
    if timescale_server.compresses(connection.dsn):
        assert timescale_server.compress(connection.dsn) >= 3
    metrics.store(connection, slices, 1)  # a replay
    metrics.store(connection, slices[4:], 2)  # late: 200 of days long gone
    assert execute(connection, "SELECT count(*) > 0 FROM metrics_late") == [(True,)]
    rollups.fold(connection)
    assert counted(connection) == [number + 200 for number in before]


def test_status_says_what_it_is_and_what_it_takes(connection: Connection) -> None:
    metrics.store(connection, encoded(range(6)), 1)
    compresses = timescale_server.compresses(connection.dsn)
    count_compressed = timescale_server.compress(connection.dsn) if compresses else 0
    found = status.read(connection)
    assert (found.storage, found.licence) == ("hypertable", "timescale" if compresses else "apache")
    assert found.timescaledb and found.parts in (6, 7)
    assert found.metrics.size_bytes > found.metrics.index_bytes > 0
    if compresses:
        assert found.compressed.parts == count_compressed
        assert found.compressed.before_bytes > 0 < found.compressed.after_bytes
    else:
        assert found.compressed is None
    assert found.oldest_at == int(NOW.timestamp()) - 5 * 86_400


def test_each_level_of_the_rollups_is_dropped_in_its_time(connection: Connection) -> None:
    metrics.store(connection, encoded(range(6)), 1)
    rollups.fold(connection)
    expired = rollups.expire(connection, rollups.Keep(minutes=2))
    assert expired and all(name.startswith("metrics_minutes_") for name in expired)
    assert counted(connection)[2] == counted(connection)[1] > counted(connection)[0]
