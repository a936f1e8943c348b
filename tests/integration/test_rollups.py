"""Rollups on a real server: what they sum up against the same by hand, however the results came in."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import make_dsn
from statements import ask, execute, waiting

from watcher.agent.folding import Folding
from watcher.config.settings import Database
from watcher.models import Endpoint, Result, Status
from watcher.store import histogram, metrics, report, rollups
from watcher.store.connection import Connection, connect

ERROR = 1.0219  # as docs/schema.md says: 2.2 %
HOUR_US, MINUTE_US = 3_600_000_000, 60_000_000
# The midnight between the day before yesterday and yesterday.
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
MIDNIGHT_US = int(MIDNIGHT.timestamp()) * 1_000_000
ENDPOINTS = {number: Endpoint(id=number, name=f"site {number}", url="https://example.com/") for number in (1, 2)}
LEVELS = {"metrics_minutes": MINUTE_US, "metrics_hours": HOUR_US, "metrics_days": 24 * HOUR_US}


@pytest.fixture(name="connection")
def open_connection(database: str) -> Iterator[Connection]:
    """Give a connection as the agent has it for upkeep."""
    with closing(connect(database, name="test", autocommit=True)) as connection:
        for endpoint in ENDPOINTS.values():
            execute(connection, "INSERT INTO endpoints (name, url) VALUES (%s, %s)", endpoint.name, endpoint.url)
        yield connection


def result(at_us: int, status: Status = Status.UP, latency_us: int | None = 1000, endpoint: int = 1) -> Result:
    """Make a result, `at_us` after that midnight."""
    return Result(ENDPOINTS[endpoint], MIDNIGHT_US + at_us, status, latency_us=latency_us)


def store(connection: Connection, results: Iterable[Result]) -> None:
    """Store results as a keeper does."""
    metrics.store(connection, [metrics.encode(list(results))], 1)


def fold(connection: Connection) -> None:
    """Sum up all that there is: the second time sees that the transactions of the first are over."""
    rollups.fold(connection, budget_s=300)
    assert not rollups.fold(connection, budget_s=300).is_behind


def rows(connection: Connection, table: str, columns: str) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Give columns of a level by endpoint and by the start in microseconds after that midnight."""
    start_us = "(extract(epoch FROM time) * 1000000)::bigint"
    found = execute(connection, f"SELECT endpoint_id, {start_us}, {columns} FROM {table}")
    return {(row[0], row[1] - MIDNIGHT_US): row[2:] for row in found}


def parts(results: Iterable[Result], length_us: int) -> dict[tuple[int, int], list[Result]]:
    """Divide results by endpoint and time."""
    found: dict[tuple[int, int], list[Result]] = {}
    for one in sorted(results, key=lambda one: one.time_us):
        found.setdefault((one.endpoint.id, (one.time_us - MIDNIGHT_US) // length_us * length_us), []).append(one)
    return found


def outages(results: Iterable[Result]) -> tuple[int, int, int]:
    """Count minutes that were measured, those with an outage, and the runs of these."""
    down: dict[int, bool] = {}
    for one in results:
        if one.status != Status.MISSED:
            minute = one.time_us // MINUTE_US
            down[minute] = down.get(minute, False) or one.status == Status.DOWN
    states = [down[minute] for minute in sorted(down)]
    begun = sum(now and not before for before, now in zip([False, *states], states, strict=False))
    return len(states), sum(states), begun


def waits(results: Iterable[Result]) -> list[int]:
    """Give the latencies that count."""
    answered = [one.latency_us for one in results if one.status in (Status.UP, Status.DEGRADED)]
    return [latency_us for latency_us in answered if latency_us is not None]


def by_hand(results: list[Result]) -> tuple[Any, ...]:
    """Sum up what `COLUMNS` has."""
    counts = [sum(one.status == status for one in results) for status in Status]
    waited = waits(results)
    return (*counts, *outages(results), len(waited), sum(waited) if waited else None, max(waited, default=None))


COLUMNS = (
    "up, degraded, down, missed, measured_minutes, outage_minutes, incidents, latencies, latency_sum_us, latency_max_us"
)
LATENCIES = st.none() | st.integers(1, 2**31 - 1) | st.integers(1, 500) | st.sampled_from([0, 1, 2, 1024, 2**31 - 1])
# None within 64 us of another: those would be the addresses of one check.
TIMES_MS = st.integers(-3 * HOUR_US // 1000, 3 * HOUR_US // 1000)
MINUTES = st.integers(-90, 90)
RESULTS = st.builds(
    result,
    TIMES_MS.map(lambda time_ms: time_ms * 1000) | MINUTES.map(lambda minutes: minutes * MINUTE_US),
    st.sampled_from(Status),
    LATENCIES,
    st.sampled_from(list(ENDPOINTS)),
)
BATCHES = st.lists(st.lists(RESULTS, min_size=1, max_size=30), min_size=1, max_size=4)


def first_come(batches: list[list[Result]]) -> list[Result]:
    """Give the results that are stored: of several of one endpoint and time the first."""
    found = {(one.endpoint.id, one.time_us): one for batch in reversed(batches) for one in reversed(batch)}
    return list(found.values())


def clear(connection: Connection) -> None:
    """Begin as after the migration."""
    execute(connection, "TRUNCATE metrics, metrics_minutes, metrics_hours, metrics_days, metrics_late")
    execute(connection, "DELETE FROM rollup_progress")
    execute(connection, "INSERT INTO rollup_progress DEFAULT VALUES")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
def test_whatever_comes_whenever_is_summed_up_as_if_it_had_come_at_once(
    connection: Connection, batches: list[list[Result]]
) -> None:
    clear(connection)
    for batch in batches:
        store(connection, batch)
        rollups.fold(connection)
    store(connection, batches[0])  # replayed
    fold(connection)
    results = first_come(batches)
    for table, length_us in LEVELS.items():
        expected = {key: by_hand(part) for key, part in parts(results, length_us).items()}
        assert rows(connection, table, COLUMNS) == expected


def exact(values: list[int], percent: int) -> int:
    """Give a percentile by nearest rank: the smallest value such that so many percent are not above it."""
    ordered = sorted(values)
    return next(value for place, value in enumerate(ordered, 1) if place * 100 >= percent * len(ordered))


def is_near(found: float, expected: int) -> bool:
    """Tell whether a percentile is within the error that is promised."""
    return max(1, expected) / ERROR <= found <= max(1, expected) * ERROR


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES, st.integers(-200, 200), st.integers(0, 400), st.booleans())
def test_a_report_of_any_period_says_what_its_results_say(  # pylint: disable=too-many-locals  # a period and its results
    connection: Connection, batches: list[list[Result]], first: int, length: int, is_folded: bool
) -> None:
    clear(connection)
    for batch in batches:
        store(connection, batch)
        if is_folded:
            rollups.fold(connection)
    since = MIDNIGHT + timedelta(minutes=first)
    until = since + timedelta(minutes=length)
    results = first_come(batches)
    names = tuple(endpoint.name for endpoint in ENDPOINTS.values())
    found = report.read(connection, report.Wanted(since, until, names))
    hour = timedelta(hours=1)  # the first day of minutes may be there in part
    assert since - hour < found.since <= since and until - hour < found.until <= max(until, found.since)
    within = [one for one in results if found.since.timestamp() <= one.time_us / 1e6 < found.until.timestamp()]
    for line, endpoint in zip(found.endpoints, ENDPOINTS, strict=True):
        own = sorted((one for one in within if one.endpoint.id == endpoint), key=lambda one: one.time_us)
        assert line.name == ENDPOINTS[endpoint].name
        counts = (line.up, line.degraded, line.down, line.missed)
        assert counts + (line.measured_minutes, line.outage_minutes, line.incidents) == by_hand(own)[:7]
        judged = [one.status != Status.DOWN for one in own if one.status != Status.MISSED]
        assert line.availability == (sum(judged) / len(judged) if judged else None)
        waited = waits(own)
        for percent in (50, 95, 99):
            value = getattr(line, f"latency_p{percent}_us")
            assert is_near(value, exact(waited, percent)) if waited else value is None


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 3000), min_size=1, max_size=60),
    st.integers(0, 100),
    st.randoms(),
)
def test_percentiles_of_merged_histograms_are_near_those_of_all_values(
    connection: Connection, values: list[int], percent: int, chance: random.Random
) -> None:
    """Merged of any partition, in SQL and from what `watcher report` reads."""
    groups = [chance.randrange(4) for _ in values]
    execute(connection, "DROP TABLE IF EXISTS waits")
    create = "CREATE TEMPORARY TABLE waits AS SELECT * FROM unnest(%s::int[], %s::int[]) AS wait (us, part)"
    execute(connection, create, values, groups)
    ((found, digits, scale),) = execute(
        connection,
        "SELECT watcher_percentile(sum(histogram), %s), sum(histogram)::text, scale(sum(histogram)) FROM ("
        "SELECT sum(watcher_histogram(us)) AS histogram FROM waits GROUP BY part) AS merged",
        percent / 100,
    )
    expected = exact(values, percent)
    assert is_near(found, expected)
    (read,) = histogram.percentiles(digits.replace(".", "").rstrip("0"), len(digits), scale, [percent])
    assert math.isclose(read, found, rel_tol=1e-9)
    buckets = execute(connection, "SELECT * FROM watcher_buckets((SELECT sum(watcher_histogram(us)) FROM waits))")
    assert sum(count for _, _, _, count in buckets) == len(values)
    for _, above_us, to_us, count in buckets:
        assert count <= sum(above_us * (1 - 1e-9) <= max(1, value) <= to_us * (1 + 1e-9) for value in values)


def progress(connection: Connection) -> tuple[Any, ...]:
    """Give how far minutes and hours are summed up."""
    return execute(connection, "SELECT minutes_to, hours_to FROM rollup_progress")[0]


def marks(connection: Connection) -> list[int]:
    """Give the minutes that are noted as late, in minutes before now."""
    found = execute(connection, "SELECT (extract(epoch FROM now() - minute) / 60)::int FROM metrics_late ORDER BY 1")
    return [minutes for (minutes,) in found]


def ago(minutes: float, **fields: Any) -> Result:
    """Make a result of so many minutes ago."""
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    return Result(**{"endpoint": ENDPOINTS[1], "time_us": int(at.timestamp() * 1e6), "status": Status.UP, **fields})


def pass_time(connection: Connection, minutes: int) -> None:
    """Make the moment whose transactions are waited for lie so many minutes later than it did."""
    execute(connection, "UPDATE rollup_progress SET seen_at = seen_at + make_interval(mins => %s)", minutes)


def test_results_that_come_in_time_are_not_noted_and_those_that_are_late_are(connection: Connection) -> None:
    store(connection, [ago(minutes) for minutes in (0.0, 0.5, 1.9)])
    assert not marks(connection)
    store(connection, [ago(30), ago(30.001), ago(5), ago(0.1)])
    assert {round(minutes, -1) for minutes in marks(connection) if minutes > 10} == {30} and len(marks(connection)) <= 4
    assert max(marks(connection)) in (30, 31) and min(marks(connection)) in (5, 6)


def test_a_minute_is_summed_up_once_it_has_settled(connection: Connection) -> None:
    fold(connection)
    store(connection, [ago(1)])
    assert not rollups.fold(connection).minutes and not rows(connection, "metrics_minutes", "up")
    pass_time(connection, 10)
    assert rollups.fold(connection).minutes >= 1
    assert list(rows(connection, "metrics_minutes", "up").values()) == [(1,)]
    assert list(rows(connection, "metrics_hours", "up").values()) == [(1,)]
    assert list(rows(connection, "metrics_days", "up").values()) == [(1,)]


def test_results_of_an_open_transaction_are_waited_for(database: str, connection: Connection) -> None:
    fold(connection)
    with closing(connect(database, name="slow keeper")) as other:
        endpoint, at = 1, datetime.now(UTC) - timedelta(minutes=1)
        metrics.store(connection, [metrics.encode([ago(1)])], 2)  # makes the day
        other.cursor().execute(
            "INSERT INTO metrics (time, endpoint_id, agent_id, status) VALUES (%s, %s, 1, 'up')", (at, endpoint)
        )
        assert rollups.fold(connection).is_behind is False  # sees this moment
        pass_time(connection, 10)
        before = progress(connection)
        rollups.fold(connection)
        assert progress(connection) == before
        other.commit()
        rollups.fold(connection)
    assert sum(up for (up,) in rows(connection, "metrics_minutes", "up").values()) == 2


def test_a_transaction_that_is_left_open_is_not_waited_for_for_ever(database: str, connection: Connection) -> None:
    fold(connection)
    with closing(connect(database, name="forgotten psql")) as other:
        other.cursor().execute("CREATE TABLE theirs (a int)")
        execute(connection, "UPDATE rollup_progress SET seen_xid = pg_current_xact_id()")
        before = progress(connection)
        execute(
            connection,
            "UPDATE rollup_progress SET seen_at = now() - make_interval(secs => %s),"
            " minutes_to = minutes_to - interval '1 day', hours_to = minutes_to - interval '1 day'",
            rollups.PATIENCE_S + 60,
        )
        rollups.fold(connection)
        assert before[0] - timedelta(minutes=30) < progress(connection)[0]


def test_results_that_were_dropped_stay_summed_up(connection: Connection) -> None:
    results = [result(minute * MINUTE_US) for minute in range(20)]
    store(connection, results)
    fold(connection)
    whole = {table: rows(connection, table, COLUMNS) for table in LEVELS}
    execute(connection, "TRUNCATE metrics")
    store(connection, results[:1])  # replayed, after its day was dropped
    assert rollups.fold(connection).late_hours == 1
    assert {table: rows(connection, table, COLUMNS) for table in LEVELS} == whole


def test_of_the_addresses_of_a_check_the_last_stands_for_it(connection: Connection) -> None:
    store(connection, [result(0), result(1, Status.DOWN), result(2, Status.DEGRADED), result(70, Status.DOWN)])
    fold(connection)
    assert rows(connection, "metrics_days", "up, degraded, down") == {(1, 0): (0, 1, 1)}


def test_one_agent_at_a_time(database: str, connection: Connection) -> None:
    store(connection, [result(0)])
    with closing(connect(database, name="another agent", autocommit=True)) as other:
        execute(other, "SELECT pg_advisory_lock(1463899203, 4)")
        assert rollups.fold(connection) == rollups.Folded() and not rollups.expire(connection)
        assert progress(connection) == (None, None)
        execute(other, "SELECT pg_advisory_unlock(1463899203, 4)")
    fold(connection)
    assert rows(connection, "metrics_days", "up") == {(1, 0): (1,)}


def test_days_are_dropped_once_who_sums_up_has_ended(database: str, eventually: Callable[..., Any]) -> None:
    def fold_on() -> rollups.Folded:
        with closing(connect(database, name="fold", autocommit=True)) as connection:
            return rollups.fold(connection)

    def keep_up() -> metrics.Upkeep:
        with closing(connect(database, name="upkeep", autocommit=True)) as connection:
            return metrics.upkeep(connection, datetime.now(UTC))

    ask(database, "SELECT watcher_add_partition('metrics', '2020-01-01 00:00+00')")
    with closing(connect(database, name="psql")) as other, ThreadPoolExecutor() as threads:
        other.cursor().execute("LOCK TABLE endpoints")  # the first fold asks for its size, amid its look at the days
        fold_of = threads.submit(fold_on)
        eventually(lambda: waiting(database) == {"fold"})
        upkeep_of = threads.submit(keep_up)
        eventually(lambda: upkeep_of.done() or waiting(database) == {"fold", "upkeep"})
        other.rollback()
        assert fold_of.result(30) and upkeep_of.result(30).expired == ("metrics_20200101",)


def test_a_fold_that_is_stopped_goes_on_where_it_ended(connection: Connection) -> None:
    store(connection, [result(hour * HOUR_US) for hour in range(-20, 20)])
    rollups.fold(connection, stopped=lambda: True)
    answers = iter([False] * (40 + 7))  # a mark an hour, and hours from the midnight before the first
    assert rollups.fold(connection, stopped=lambda: next(answers, True)).is_behind
    assert 0 < sum(up for (up,) in rows(connection, "metrics_hours", "up").values()) < 40
    fold(connection)
    assert sum(up for (up,) in rows(connection, "metrics_hours", "up").values()) == 40


def test_each_level_is_kept_for_its_time(connection: Connection) -> None:
    store(connection, [result(-day * 24 * HOUR_US) for day in (0, 5, 45)])
    fold(connection)
    keep = rollups.Keep(minutes=3, hours=10, days=400)
    gone = rollups.expire(connection, keep)
    assert {name.rpartition("_")[0] for name in gone} == {"metrics_minutes", "metrics_hours"}
    assert list(rows(connection, "metrics_minutes", "up")) == [(1, 0)]
    assert len(rows(connection, "metrics_hours", "up")) == 2 and len(rows(connection, "metrics_days", "up")) == 3
    assert not rollups.expire(connection, keep)


def test_a_writer_needs_no_right_to_the_notes_of_late_results(database: str, connection: Connection) -> None:
    store(connection, [ago(60)])
    execute(connection, "DROP ROLE IF EXISTS only_writes")
    execute(connection, "CREATE ROLE only_writes LOGIN")
    execute(connection, "GRANT SELECT, INSERT ON metrics TO only_writes")
    try:
        with closing(connect(make_dsn(database, user="only_writes"), name="writer")) as other:
            assert metrics.store(other, [metrics.encode([ago(61)])], 1) == 1
        assert len(marks(connection)) == 2
    finally:
        execute(connection, "REVOKE ALL ON metrics FROM only_writes")
        execute(connection, "DROP ROLE only_writes")


def test_an_agent_folds_each_minute_and_says_a_failure_once(database: str, eventually: Callable[..., Any]) -> None:
    said: list[str] = []
    folding = Folding(Database(), said.append)
    nowhere = make_dsn(database, dbname="nowhere")
    with closing(connect(database, name="test", autocommit=True)) as connection:
        folding.tend(nowhere, 0.0)
        eventually(lambda: said)
        for now in (60.0, 120.0):
            eventually(lambda now=now: folding.tend(database, now) or progress(connection)[0])
        eventually(lambda: folding.tend(database, 1000.0) or len(said) == 2)
    folding.close()
    assert said[0].startswith("results were not summed up for reports") and "again" in said[1]
