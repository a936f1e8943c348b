"""From daily partitions to a hypertable; what needs TimescaleDB wants WATCHER_TEST_TIMESCALE_DSN."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
import timescale_server
from statements import ask, waiting

from watcher.errors import DatabaseError
from watcher.models import Endpoint, Result, Status
from watcher.store import metrics, migrations, rollups, status, to_timescale
from watcher.store.connection import connect

NOW_US = (int(datetime.now(UTC).timestamp()) - 600) * 1_000_000  # long enough ago to be summed up
DAY_US = 86_400_000_000
ENDPOINT = Endpoint(id=1, name="a", url="https://a/")
DAYS, ROWS = 6, 100

# What must be the same whichever way a hypertable came to be.
SHAPE = {
    "columns": "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
    " WHERE attrelid = 'metrics'::regclass AND attnum > 0 ORDER BY attnum",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE tablename = 'metrics' ORDER BY 1",
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'metrics'::regclass"
    " AND tgname = 'metrics_late'",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    "grants": "SELECT grantee::regrole::text, privilege_type FROM pg_class, aclexplode(relacl)"
    " WHERE oid = 'metrics'::regclass ORDER BY 1, 2",
    "dimensions": "SELECT column_name, time_interval FROM timescaledb_information.dimensions",
    "jobs": "SELECT proc_name, config - 'hypertable_id' FROM timescaledb_information.jobs"
    " WHERE hypertable_name = 'metrics' ORDER BY 1",
}
CONTENT = {
    "metrics": "SELECT * FROM metrics ORDER BY endpoint_id, time, agent_id",
    "status": "SELECT * FROM endpoint_status",
    "checks": "SELECT * FROM endpoint_checks ORDER BY endpoint_id, time, agent_id",
    "daily": "SELECT * FROM availability_daily ORDER BY endpoint_id, time",
    "hourly": "SELECT * FROM availability_hourly ORDER BY endpoint_id, time",
}


@pytest.fixture(name="plain")
def make_plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the DSN of a database from the time before the server had TimescaleDB, with results summed up."""
    with timescale_server.fresh("watcher_test_plain") as dsn:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "_enable_timescaledb", lambda *_: None)
            migrations.migrate(dsn)
        ask(dsn, "INSERT INTO endpoints (name, url) VALUES ('a', 'https://a/')")
        store(dsn, range(DAYS))
        fold(dsn)
        yield dsn


def store(dsn: str, days: range, agent_id: int = 1) -> int:
    """Store results of days back from now."""
    slices = [
        metrics.encode(
            [
                Result(ENDPOINT, NOW_US - day * DAY_US - row * 1_000_000, Status.UP, latency_us=row)
                for row in range(ROWS)
            ]
        )
        for day in days
    ]
    with closing(connect(dsn, name="test", autocommit=True)) as connection:
        return metrics.store(connection, slices, agent_id)


def fold(dsn: str) -> None:
    """Sum up what there is."""
    with closing(connect(dsn, name="test", autocommit=True)) as connection:
        rollups.fold(connection)
        rollups.fold(connection)


def found(dsn: str, queries: dict[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    """Give the rows of queries by name."""
    return {name: ask(dsn, query) for name, query in queries.items()}


def kept_as(dsn: str) -> status.Status:
    """Give the status of a database."""
    with closing(connect(dsn, name="test")) as connection:
        return status.read(connection)


def cut_short(dsn: str, days: int) -> None:
    """Have a move end after some days."""
    said = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 1 + days:  # the first tells of the switch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_timescale.to_timescale(dsn, say)


def test_a_server_without_it_is_told_and_nothing_is_changed(database: str) -> None:
    with pytest.raises(DatabaseError, match="the server has no TimescaleDB; install it there"):
        to_timescale.to_timescale(database)
    assert kept_as(database).storage == "partitions"
    assert ask(database, "SELECT to_regclass('metrics_plain')") == [(None,)]


@pytest.mark.parametrize(("version", "is_old"), [("2.12.2", True), ("2.13.0", False), ("3.0", False), ("1.7.4", True)])
def test_old_versions_are_refused(version: str, is_old: bool) -> None:
    if is_old:
        with pytest.raises(DatabaseError, match=f"TimescaleDB {version}, 2.13 is needed"):
            migrations.require_timescaledb(version, "the database")
    else:
        migrations.require_timescaledb(version, "the database")


@timescale_server.needed
def test_all_that_was_there_is_there_afterwards(plain: str) -> None:
    before, said = found(plain, CONTENT), []
    assert kept_as(plain).storage == "partitions"
    assert to_timescale.to_timescale(plain, said.append) == to_timescale.Moved(True, False, DAYS, DAYS * ROWS)
    assert found(plain, CONTENT) == before
    assert ask(plain, "SELECT * FROM metrics_late") == []  # nothing is summed up anew
    after = kept_as(plain)
    assert (after.storage, after.unmoved, after.oldest_at) == ("hypertable", 0, before["metrics"][0][0].timestamp())
    assert after.metrics.rows >= DAYS * ROWS  # an estimate, a high one of small compressed chunks
    assert len(said) == 1 + DAYS and said[-1].endswith(f"{ROWS} rows; 0 to go")
    assert (after.compressed is not None) == timescale_server.compresses(plain)
    assert ask(plain, "SELECT to_regclass('metrics_plain')") == [(None,)]
    assert to_timescale.to_timescale(plain) == to_timescale.Moved()
    assert store(plain, range(DAYS)) == 0
    assert store(plain, range(DAYS), agent_id=2) == DAYS * ROWS


@timescale_server.needed
def test_it_is_the_same_as_one_from_the_start(plain: str) -> None:
    with timescale_server.fresh("watcher_test_from_the_start") as other:
        migrations.migrate(other)
        with timescale_server.with_roles(plain, other) as names:
            to_timescale.to_timescale(plain)
            assert found(plain, SHAPE) == found(other, SHAPE)
            with closing(connect(plain, name="test", autocommit=True)) as connection:
                connection.cursor().execute(f"SET ROLE {names.write}")
                slices = [metrics.encode([Result(ENDPOINT, NOW_US - DAY_US + 1, Status.DOWN)])]
                assert metrics.store(connection, slices, 1) == 1
                connection.cursor().execute(f"SET ROLE {names.read}")
                assert status.read(connection).storage == "hypertable"


@timescale_server.needed
def test_one_that_was_cut_short_goes_on(plain: str) -> None:
    before = found(plain, CONTENT)
    cut_short(plain, 2)
    assert kept_as(plain).unmoved == DAYS - 2
    assert len(ask(plain, CONTENT["metrics"])) == 2 * ROWS
    store(plain, range(DAYS))  # a replay, also of days that were not moved yet
    assert store(plain, range(4, 5), agent_id=2) == ROWS  # late for one of these
    fold(plain)
    moved = to_timescale.to_timescale(plain)
    assert (moved.switched, moved.is_continued) == (False, True)
    assert [row for row in ask(plain, CONTENT["metrics"]) if row[2] == 1] == before["metrics"]
    fold(plain)
    assert ask(plain, "SELECT sum(up) FROM availability_daily") == [((DAYS + 1) * ROWS,)]
    assert ask(plain, "SELECT sum(up) FROM availability_hourly") == [((DAYS + 1) * ROWS,)]


@timescale_server.needed
def test_a_chunk_that_somebody_else_compresses_at_the_time_is_done(plain: str, eventually: Callable[..., Any]) -> None:
    timescale_server.need(plain, "timescale")
    cut_short(plain, 3)
    timescale_server.compress_no_more(plain)  # another session takes the part of the job
    assert store(plain, range(5, 6), agent_id=2) == ROWS
    with closing(connect(plain, name="job")) as job, ThreadPoolExecutor() as threads:
        job.cursor().execute("SELECT compress_chunk(show_chunks('metrics', older_than => INTERVAL '4 days'))")
        moved = threads.submit(to_timescale.to_timescale, plain)
        eventually(lambda: moved.done() or waiting(plain) == {"watcher to timescale"})
        job.commit()
        assert moved.result(60).days == DAYS - 3
    assert ask(plain, "SELECT count(*) FROM metrics") == [((DAYS + 1) * ROWS,)]
    assert kept_as(plain).compressed.parts >= 3


@timescale_server.needed
def test_results_that_were_not_summed_up_are_afterwards(plain: str) -> None:
    store(plain, range(1, 3), agent_id=2)  # late, and nobody folds before the switch
    to_timescale.to_timescale(plain)
    fold(plain)
    assert ask(plain, "SELECT sum(up) FROM availability_hourly") == [((DAYS + 2) * ROWS,)]


@timescale_server.needed
def test_writers_go_on(plain: str) -> None:
    stored, over, begun = [], threading.Event(), threading.Event()

    def write() -> None:
        agent_id = 10
        while not over.is_set() or len(stored) < 3:
            stored.append(store(plain, range(2), agent_id=agent_id))
            agent_id += 1
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        to_timescale.to_timescale(plain)
    finally:
        over.set()
        writer.join()
    assert ask(plain, "SELECT count(*) FROM metrics") == [(DAYS * ROWS + sum(stored),)]
    assert stored == [2 * ROWS] * len(stored)


@timescale_server.needed
def test_views_of_others_follow_and_what_cannot_is_named(plain: str) -> None:
    ask(plain, "CREATE VIEW slow AS SELECT * FROM metrics WHERE latency_us > 90")
    ask(plain, "CREATE MATERIALIZED VIEW worst AS SELECT max(latency_us) FROM metrics")
    with pytest.raises(DatabaseError, match="worst depends on metrics and cannot be led over.*nothing was changed"):
        to_timescale.to_timescale(plain)
    assert kept_as(plain).storage == "partitions"
    ask(plain, "DROP MATERIALIZED VIEW worst")
    before = ask(plain, "SELECT * FROM slow ORDER BY time")
    to_timescale.to_timescale(plain)
    assert before and ask(plain, "SELECT * FROM slow ORDER BY time") == before


@timescale_server.needed
def test_one_at_a_time(plain: str) -> None:
    with closing(connect(plain, name="test", autocommit=True)) as connection:
        connection.cursor().execute("SELECT pg_advisory_lock(1463899203, 5)")
        with pytest.raises(DatabaseError, match="are being moved by another"):
            to_timescale.to_timescale(plain)
