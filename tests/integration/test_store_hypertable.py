"""The time series on TimescaleDB, on a server that has it: WATCHER_TEST_TIMESCALE_DSN, a superuser's, names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import psycopg2
import pytest
from statements import execute

from watcher.models import Endpoint, Result, Status
from watcher.store import metrics, migrations
from watcher.store.connection import Connection, connect

SERVER = os.environ.get("WATCHER_TEST_TIMESCALE_DSN", "")
NOW = datetime.now(UTC)
DAY_US = 86_400_000_000

pytestmark = pytest.mark.skipif(not SERVER, reason="WATCHER_TEST_TIMESCALE_DSN is not set")


@pytest.fixture(name="hypertable")
def make_database() -> Iterator[str]:
    """Give the DSN of a migrated database on that server."""
    name = "watcher_test_hypertable"
    with closing(psycopg2.connect(SERVER)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            dsn = psycopg2.extensions.make_dsn(SERVER, dbname=name)
            migrations.migrate(dsn)
            yield dsn
        finally:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(name="connection")
def open_connection(hypertable: str) -> Iterator[Connection]:
    """Give a connection as an agent has it for upkeep."""
    with closing(connect(hypertable, name="test", autocommit=True)) as connection:
        yield connection


def encoded(days: range) -> list[metrics.Literals]:
    """Give a slice of 100 results for each day back from now."""
    endpoint = Endpoint(id=7, name="a", url="https://a/")
    first_us = int(NOW.timestamp()) * 1_000_000
    return [
        metrics.encode(
            [Result(endpoint, first_us - day * DAY_US + row, Status.UP, latency_us=row) for row in range(100)]
        )
        for day in days
    ]


def need(connection: Connection, licence: str) -> None:
    """Skip the test on a server with the other licence: it cannot be changed in a session."""
    if execute(connection, "SHOW timescaledb.license") != [(licence,)]:
        pytest.skip(f"needs a server with timescaledb.license = {licence}")


def count(connection: Connection) -> int:
    """Count the rows."""
    return execute(connection, "SELECT count(*) FROM metrics")[0][0]


def test_the_extension_is_enabled_and_metrics_is_a_hypertable(hypertable: str, connection: Connection) -> None:
    assert migrations.storage(connection) == "hypertable"
    rows = execute(connection, "SELECT hypertable_name FROM timescaledb_information.hypertables")
    assert rows == [("metrics",)]
    assert not migrations.migrate(hypertable)


def test_a_batch_stored_again_changes_nothing_even_where_it_was_compressed(connection: Connection) -> None:
    need(connection, "timescale")
    slices = encoded(range(6))
    assert metrics.store(connection, slices, 1) == 600
    execute(
        connection, "SELECT compress_chunk(chunk) FROM show_chunks('metrics', older_than => interval '2 days') AS chunk"
    )
    assert metrics.store(connection, slices, 1) == 0
    assert metrics.store(connection, slices, 2) == 600
    assert count(connection) == 1200


def test_upkeep_asks_timescaledb_to_drop_old_chunks(connection: Connection) -> None:
    need(connection, "timescale")
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
    need(connection, "apache")
    metrics.store(connection, encoded(range(6)), 1)
    assert metrics.store(connection, encoded(range(6)), 1) == 0
    assert len(metrics.upkeep(connection, NOW, keep_days=2).expired) == 3
    assert 200 <= count(connection) <= 400


def test_the_status_of_each_endpoint_is_its_last_result(connection: Connection) -> None:
    execute(connection, "INSERT INTO endpoints (name, url) VALUES ('a', 'https://a/')")
    metrics.store(connection, encoded(range(3)), 1)
    execute(connection, "UPDATE metrics SET endpoint_id = 1")
    assert execute(connection, "SELECT name, status::text, latency_us FROM endpoint_status") == [("a", "up", 99)]
