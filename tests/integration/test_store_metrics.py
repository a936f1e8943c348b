"""The time series on a real server: what comes back of results, and how its days are made and dropped."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from green_process import run_green
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statements import execute

from watcher.errors import DatabaseError, DatabaseUnavailable
from watcher.models import Endpoint, Reason, Result, Status
from watcher.store import agents, metrics, partitions
from watcher.store.connection import Connection, connect
from watcher.store.queries import queries

NOW = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
NOON_US = 1_773_144_000_000_000  # 2026-03-10 12:00:00 UTC: date -u -d @1773144000
ENDPOINT = Endpoint(id=7, name="front page", url="https://example.com/")
COLUMNS = (
    "status::text, reason::text, http_status, latency_us, dns_us, connect_us, tls_us, ttfb_us, transfer_us,"
    " body_bytes, regex_found, lag_us, late_us, host(address), detail"
)


def result(number: int = 0, **fields: Any) -> Result:
    """Make a result, `number` microseconds after noon."""
    return Result(**{"endpoint": ENDPOINT, "time_us": NOON_US + number, "status": Status.UP, **fields})


@pytest.fixture(name="connection")
def open_connection(database: str) -> Iterator[Connection]:
    """Give a connection as a keeper has it."""
    with closing(connect(database, name="test")) as connection:
        yield connection


@pytest.fixture(name="keeper")
def open_upkeep(database: str) -> Iterator[Connection]:
    """Give a connection as an agent has it for upkeep, on a server where it is NOW."""
    with closing(connect(database, name="upkeep", autocommit=True)) as connection:
        execute(connection, "CREATE SCHEMA clock")
        execute(connection, f"CREATE FUNCTION clock.now() RETURNS timestamptz RETURN timestamptz '{NOW}'")
        execute(connection, "SET search_path = public, clock, pg_catalog")
        yield connection


def stored(connection: Connection, *results: Result) -> list[tuple[Any, ...]]:
    """Store results and give what the table has of them."""
    assert metrics.store(connection, [metrics.encode(results)], 1) == len(results)
    rows = execute(connection, f"SELECT {COLUMNS} FROM metrics ORDER BY time")
    execute(connection, "TRUNCATE metrics")
    return rows


def days(connection: Connection) -> list[str]:
    """Name the partitions."""
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'metrics'::regclass ORDER BY 1"
    return [name for (name,) in execute(connection, query)]


def test_the_enums_are_those_of_the_models(connection: Connection) -> None:
    values = "SELECT unnest(enum_range(NULL::{}))::text"
    assert [value for (value,) in execute(connection, values.format("check_status"))] == [one.value for one in Status]
    assert [value for (value,) in execute(connection, values.format("check_reason"))] == [one.value for one in Reason]


def test_every_field_is_stored_in_its_column(connection: Connection) -> None:
    whole = result(
        status=Status.DOWN, reason=Reason.REGEX, http_status=200, latency_us=1, dns_us=2, connect_us=3, tls_us=4,
        ttfb_us=5, transfer_us=6, body_bytes=7, regex_found=False, lag_us=8, late_us=9, address="192.0.2.1",
        detail="ten",
    )  # fmt: skip
    assert metrics.store(connection, [metrics.encode([whole])], 42) == 1
    assert execute(connection, f"SELECT time, endpoint_id, agent_id, {COLUMNS} FROM metrics") == [
        (
            datetime(2026, 3, 10, 12, tzinfo=UTC), 7, 42,
            "down", "regex", 200, 1, 2, 3, 4, 5, 6, 7, False, 8, 9, "192.0.2.1", "ten",
        )
    ]  # fmt: skip


def test_what_did_not_take_place_is_null(connection: Connection) -> None:
    assert stored(connection, result(status=Status.MISSED)) == [("missed", *[None] * 14)]


def test_every_status_and_reason_can_be_stored(connection: Connection) -> None:
    results = [
        result(number, status=status, reason=reason)
        for number, (status, reason) in enumerate((status, reason) for status in Status for reason in (None, *Reason))
    ]
    rows = stored(connection, *results)
    assert [row[:2] for row in rows] == [(one.status.value, one.reason and one.reason.value) for one in results]


def test_times_are_exact_to_the_microsecond(connection: Connection) -> None:
    chance = random.Random(7)
    years = [datetime(year, 12, 31, 23, 59, tzinfo=UTC) for year in (1970, 2001, 2026, 2038, 2100)]
    times = {int(year.timestamp()) * 1_000_000 + chance.randrange(120_000_000) for year in years for _ in range(300)}
    results = [result(status=Status.UP, time_us=time_us) for time_us in times]
    assert metrics.store(connection, [metrics.encode(results)], 1) == len(times)
    found = execute(connection, "SELECT extract(epoch FROM time) * 1000000 FROM metrics")
    assert {Decimal(time_us) for time_us in times} == {value for (value,) in found}


def test_a_batch_stored_again_changes_nothing(connection: Connection) -> None:
    first = [metrics.encode([result(number) for number in range(3)]), metrics.encode([result(3)])]
    assert metrics.store(connection, first, 1) == 4
    assert metrics.store(connection, first, 1) == 0
    assert metrics.store(connection, [metrics.encode([result(3, detail="other"), result(4)])], 1) == 1
    assert metrics.store(connection, first, 2) == 4  # another agent's
    assert execute(connection, "SELECT count(*), count(detail) FROM metrics") == [(9, 0)]


def test_a_batch_of_which_some_is_there_and_some_of_a_day_without_partition_is_stored(connection: Connection) -> None:
    assert metrics.store(connection, [metrics.encode([result()])], 1) == 1
    later = [metrics.encode([result(), result(1)]), metrics.encode([result(86_400_000_000)])]
    assert metrics.store(connection, later, 1) == 2
    assert metrics.store(connection, later[::-1], 1) == 0
    assert execute(connection, "SELECT count(*) FROM metrics") == [(3,)]


def test_a_batch_is_stored_whole_or_not_at_all(connection: Connection) -> None:
    good = metrics.encode([result()])
    with pytest.raises(DatabaseError) as caught:
        metrics.store(connection, [good, ("{x}", *good[1:])], 1)
    assert not isinstance(caught.value, DatabaseUnavailable)
    assert execute(connection, "SELECT count(*) FROM metrics") == [(0,)]
    assert metrics.store(connection, [good], 1) == 1


def test_the_hub_has_its_turn_after_each_slice(connection: Connection) -> None:
    turns: list[str] = []
    slices = [metrics.encode([result(number)]) for number in range(3)]
    metrics.store(connection, slices, 1, lambda: turns.append("turn"))
    assert turns == ["turn"] * 3


def test_green_other_greenlets_run_while_a_batch_is_stored(database: str) -> None:
    printed = run_green(
        """
        import sys, gevent
        from contextlib import closing
        from watcher.models import Endpoint, Result, Status
        from watcher.store import metrics
        from watcher.store.connection import connect
        endpoint = Endpoint(id=1, name="a", url="https://a/")
        slices = [metrics.encode([Result(endpoint, 1773144000000000 + first + row, Status.UP) for row in range(250)])
                  for first in range(0, 2000, 250)]
        turns = []
        def turn():
            while True:
                turns.append(1)
                gevent.sleep(0)
        gevent.spawn(turn)
        with closing(connect(sys.argv[1], name="keeper")) as connection:
            print(metrics.store(connection, slices, 1, lambda: gevent.sleep(0)), len(turns) >= 8)
        """,
        database,
    )
    assert printed == "2000 True\n"


NASTY = [
    "plain", "", "{}", "a,b", 'say "no"', "back\\slash", "NULL", "null", "  spaces  ", "it's", "%s %(x)s", "snow ☃ 😀",
    "${PASSWORD}", "$$", "\\N", "\\u0000",
]  # fmt: skip


def test_printable_details_come_back_as_they_were(connection: Connection) -> None:
    rows = stored(connection, *[result(number, detail=text) for number, text in enumerate(NASTY)])
    assert [row[-1] for row in rows] == NASTY


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("nul\0byte", "nul byte"), ("two\r\nlines", "two lines"), ("half \ud800 pair", "half   pair"),
        ("bell\x07 tab\t", "bell  tab "), ("x" * 1001, "x" * 1000), ("é" * 5000, "é" * 1000),
        ("line\u2028sep", "line sep"),
    ],
)  # fmt: skip
def test_a_detail_becomes_one_line_that_can_be_stored(connection: Connection, detail: str, expected: str) -> None:
    assert stored(connection, result(detail=detail))[0][-1] == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | st.text(max_size=30) | st.text(st.characters(max_codepoint=127), max_size=30), min_size=1))
def test_no_detail_whatever_is_lost_or_breaks_a_batch(connection: Connection, details: list[str | None]) -> None:
    rows = stored(connection, *[result(number, detail=text) for number, text in enumerate(details)])
    for text, row in zip(details, rows, strict=True):
        kept = row[-1]
        assert (kept is None) == (text is None)
        if text is not None:
            assert "\n" not in kept and "\0" not in kept
            letters = [sign for sign in text if sign.isalnum()]
            assert [sign for sign in kept if sign.isalnum()] == letters


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("/run/app.sock", None), ("", None), ("300.1.1.1", None),
        ("nul\0", None), ("a,b", None), ("1.2.3", None), ("\ud800", None),
    ],
)  # fmt: skip
def test_an_address_is_stored_and_anything_else_is_none(
    connection: Connection, address: str, expected: str | None
) -> None:
    assert stored(connection, result(address=address))[0][-2] == expected


class Strange:
    """What a plugin might leave in a result."""


@pytest.mark.parametrize(
    ("field", "position", "value", "expected"),
    [
        ("http_status", 2, 99_999, 32767), ("http_status", 2, "204", 204), ("http_status", 2, "none", None),
        ("latency_us", 3, 3_000_000_000, 2_147_483_647), ("latency_us", 3, 12.7, 12), ("latency_us", 3, True, 1),
        ("dns_us", 4, float("nan"), None), ("connect_us", 5, float("inf"), None), ("tls_us", 6, Strange(), None),
        ("late_us", 12, 2**62, 2_147_483_647), ("lag_us", 11, -(2**62), -2_147_483_647),
        ("regex_found", 10, 1, True), ("regex_found", 10, Strange(), True), ("regex_found", 10, "", False),
        ("reason", 1, "timeout", "timeout"), ("reason", 1, "no such reason", "plugin"), ("status", 0, "down", "down"),
        ("detail", 14, 404, "404"), ("address", 13, b"192.0.2.1", None),
    ],
)  # fmt: skip
def test_what_no_column_can_hold_costs_no_row(
    connection: Connection, field: str, position: int, value: Any, expected: Any
) -> None:
    values = {
        "status": Status.DOWN, "reason": Reason.REGEX, "http_status": 200, "latency_us": 1, "dns_us": 2,
        "connect_us": 3, "tls_us": 4, "ttfb_us": 5, "transfer_us": 6, "body_bytes": 7,
        "regex_found": True, "lag_us": 8, "late_us": 9, "address": "192.0.2.1", "detail": "ten",
    }  # fmt: skip
    whole = ["down", "regex", 200, 1, 2, 3, 4, 5, 6, 7, True, 8, 9, "192.0.2.1", "ten"]
    rows = stored(connection, result(0, **values), result(1, **{**values, field: value}))
    assert rows == [tuple(whole), (*whole[:position], expected, *whole[position + 1 :])]


def test_a_row_of_a_day_without_partition_finds_one(connection: Connection) -> None:
    assert metrics.store(connection, [metrics.encode([result(), result(86_400_000_000)])], 1) == 2
    assert days(connection) == ["metrics_20260310", "metrics_20260311"]


def test_keepers_that_need_the_same_day_at_once_both_store(database: str) -> None:
    def store(agent_id: int) -> int:
        with closing(connect(database, name="keeper")) as connection:
            return metrics.store(connection, [metrics.encode([result()])], agent_id)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(store, range(6))) == [1] * 6


def test_a_day_ends_at_midnight_utc_whatever_the_session_s_zone(connection: Connection) -> None:
    execute(connection, "SET TIME ZONE 'Pacific/Kiritimati'")  # UTC+14
    last = 1_773_187_199_999_999  # 2026-03-10 23:59:59.999999
    metrics.store(connection, [metrics.encode([result(time_us=last), result(time_us=last + 1)])], 1)
    rows = execute(connection, "SELECT tableoid::regclass::text FROM metrics ORDER BY time")
    assert rows == [("metrics_20260310",), ("metrics_20260311",)]


def test_upkeep_makes_the_next_days(keeper: Connection) -> None:
    first = metrics.upkeep(keeper, NOW)
    assert first.created == ("metrics_20260310", "metrics_20260311", "metrics_20260312", "metrics_20260313")
    assert metrics.upkeep(keeper, NOW) == metrics.Upkeep()
    execute(keeper, "DROP TABLE metrics_20260311")
    assert metrics.upkeep(keeper, NOW).created == ("metrics_20260311",)
    assert days(keeper) == [f"metrics_202603{day}" for day in range(10, 14)]


def test_upkeep_drops_days_only_when_their_last_row_is_too_old(connection: Connection, keeper: Connection) -> None:
    day_us = 86_400_000_000
    results = [result(-number * day_us) for number in range(5)]
    metrics.store(connection, [metrics.encode(results)], 1)
    assert metrics.upkeep(keeper, NOW, keep_days=3).expired == ("metrics_20260306",)
    assert execute(connection, "SELECT min(time) FROM metrics") == [(datetime(2026, 3, 7, 12, tzinfo=UTC),)]
    assert metrics.upkeep(keeper, NOW, keep_days=1).expired == ("metrics_20260307", "metrics_20260308")
    assert execute(connection, "SELECT to_regclass('metrics_20260306')") == [(None,)]


def test_a_server_that_cannot_detach_concurrently_drops_days_too(
    connection: Connection, keeper: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_CONCURRENT_DETACH", 1_000_000)  # this server is as PostgreSQL 13
    metrics.store(connection, [metrics.encode([result(-10 * 86_400_000_000)])], 1)
    assert metrics.upkeep(keeper, NOW, keep_days=1).expired == ("metrics_20260228",)
    assert days(keeper) == [f"metrics_202603{day}" for day in range(10, 14)]


def test_upkeep_leaves_a_day_that_somebody_detached_to_keep(connection: Connection, keeper: Connection) -> None:
    metrics.store(connection, [metrics.encode([result(-10 * 86_400_000_000)])], 1)
    execute(connection, "ALTER TABLE metrics DETACH PARTITION metrics_20260228")
    assert not metrics.upkeep(keeper, NOW, keep_days=1).expired
    assert execute(connection, "SELECT count(*) FROM metrics_20260228") == [(1,)]


def test_a_day_whose_name_is_taken_is_met_with_what_to_do(connection: Connection, keeper: Connection) -> None:
    metrics.store(connection, [metrics.encode([result()])], 1)
    execute(connection, "ALTER TABLE metrics DETACH PARTITION metrics_20260310")
    for attempt in (
        lambda: metrics.upkeep(keeper, NOW),
        lambda: metrics.store(connection, [metrics.encode([result()])], 1),
    ):
        with pytest.raises(DatabaseError, match="metrics_20260310 is there .* re-attach or rename it"):
            attempt()


@pytest.mark.parametrize(("off", "said"), [(400, "400 s ahead of"), (-400, "400 s behind"), (86_400 * 400, "ahead of")])
def test_an_agent_with_a_wrong_clock_drops_nothing(
    connection: Connection, keeper: Connection, off: int, said: str
) -> None:
    metrics.store(connection, [metrics.encode([result(-10 * 86_400_000_000)])], 1)
    with pytest.raises(DatabaseError, match=f"{said} that of the database"):
        metrics.upkeep(keeper, NOW + timedelta(seconds=off), keep_days=1)
    assert "metrics_20260228" in days(keeper)
    assert f"metrics_{NOW + timedelta(seconds=off):%Y%m%d}" in days(keeper)  # where its results go
    assert metrics.upkeep(keeper, NOW + timedelta(seconds=200), keep_days=1).expired == ("metrics_20260228",)


def test_upkeep_that_was_cut_short_is_finished_by_the_next(
    connection: Connection, keeper: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_LOCK_TIMEOUT", "100ms")
    metrics.store(connection, [metrics.encode([result(-10 * 86_400_000_000)])], 1)
    connection.cursor().execute("SELECT count(*) FROM metrics")  # a report that takes its time
    with pytest.raises(DatabaseUnavailable):
        metrics.upkeep(keeper, NOW, keep_days=1)
    connection.rollback()
    assert execute(keeper, "SELECT count(*) FROM metrics") == [(0,)]  # the day is on its way out
    assert metrics.upkeep(keeper, NOW, keep_days=1).expired == ("metrics_20260228",)
    assert days(keeper) == [f"metrics_202603{day}" for day in range(10, 14)]


def test_a_day_that_was_detached_but_not_dropped_is_dropped(connection: Connection, keeper: Connection) -> None:
    metrics.store(connection, [metrics.encode([result(-10 * 86_400_000_000)])], 1)
    execute(connection, "COMMENT ON TABLE metrics_20260228 IS 'watcher: expired'")
    execute(connection, "ALTER TABLE metrics DETACH PARTITION metrics_20260228")
    assert metrics.upkeep(keeper, NOW, keep_days=1).expired == ("metrics_20260228",)


def test_agents_expire_in_turn(connection: Connection, keeper: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "_TURN_TIMEOUT", "100ms")
    metrics.store(connection, [metrics.encode([result(-10 * 86_400_000_000)])], 1)
    execute(connection, "SELECT pg_advisory_lock(1463899203, 4)")  # another agent's
    with pytest.raises(DatabaseUnavailable, match="lock timeout"):
        metrics.upkeep(keeper, NOW, keep_days=1)
    execute(connection, "SELECT pg_advisory_unlock(1463899203, 4)")
    assert metrics.upkeep(keeper, NOW, keep_days=1).expired == ("metrics_20260228",)
    assert not execute(keeper, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")


def test_writers_go_on_while_a_day_is_added_or_dropped(connection: Connection, keeper: Connection) -> None:
    metrics.store(connection, [metrics.encode([result(-10 * 86_400_000_000), result()])], 1)
    connection.cursor().execute(
        "INSERT INTO metrics (time, endpoint_id, agent_id, status) VALUES (%s, 1, 1, 'up')", (NOW,)
    )
    done = metrics.upkeep(keeper, NOW, keep_days=20)  # the writer's transaction is open
    assert done.created == ("metrics_20260311", "metrics_20260312", "metrics_20260313")
    connection.commit()


def test_a_hypertable_of_the_same_name_in_another_schema_is_not_ours(connection: Connection) -> None:
    """The views of TimescaleDB, where it is not: only their columns count here."""
    execute(
        connection,
        "CREATE SCHEMA timescaledb_information;"
        " CREATE TABLE timescaledb_information.jobs (proc_name, hypertable_schema, hypertable_name, config) AS VALUES"
        " ('policy_retention', 'other'::name, 'metrics'::name, '{\"drop_after\": \"7 days\"}'::jsonb),"
        " ('policy_retention', 'public', 'metrics', '{\"drop_after\": \"3 days\"}'), ('telemetry', NULL, NULL, NULL);"
        " CREATE TABLE timescaledb_information.chunks (hypertable_schema, hypertable_name, chunk_schema, chunk_name,"
        " range_start) AS VALUES ('other'::name, 'metrics'::name, 'x', 'theirs', 1),"
        " ('public', 'metrics', 'x', 'ours', 2)",
    )
    assert execute(connection, queries("metrics")["retention"]) == [(3,)]
    assert execute(connection, queries("status")["chunks"]) == [("x.ours",)]


def test_upkeep_in_a_transaction_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="autocommit"):
        metrics.upkeep(connection, NOW)


def test_an_agent_keeps_its_id_over_restarts(connection: Connection) -> None:
    first = agents.register(connection, "fra", "host1", "default", "0.1", "kernel")
    assert agents.register(connection, "fra", "host1", "default", "0.2", "wall") == first
    others = {agents.register(connection, *who, "0.1", "kernel") for who in
              (("nyc", "host1", "default"), ("fra", "host2", "default"), ("fra", "host1", "b"))}  # fmt: skip
    assert len(others | {first}) == 4
    assert execute(connection, "SELECT version, clock FROM agents WHERE id = %s", first) == [("0.2", "wall")]


def test_an_agent_that_is_alive_is_seen(connection: Connection) -> None:
    agent = agents.register(connection, "fra", "host1", "default", "0.1", "kernel")
    execute(connection, "UPDATE agents SET started_at = '2026-01-01', seen_at = '2026-01-01'")
    agents.seen(connection, agent)
    rows = execute(connection, "SELECT started_at = '2026-01-01', seen_at > now() - interval '1 minute' FROM agents")
    assert rows == [(True, True)]


def test_how_well_a_worker_measured_is_kept_as_long_as_results_are(connection: Connection) -> None:
    agent = agents.register(connection, "fra", "host1", "default", "0.1", "kernel")
    row = {
        "checks": 100, "missed": 4, "shed": 3, "lag_p99_us": 900, "late_p99_us": 1_000, "canary_checks": 60,
        "error_p50_us": 80, "error_max_us": None, "suspect": True, "produced": 105, "stored": 90, "damaged": 0,
        "dropped": 5, "spooled": 10,
    }  # fmt: skip
    agents.add_health(connection, agent, 1, row)
    names = ", ".join(row)
    assert execute(connection, f"SELECT agent_id, worker, {names} FROM agent_health") == [(agent, 1, *row.values())]
    agents.forget_health(connection, 90)
    assert execute(connection, "SELECT count(*) FROM agent_health") == [(1,)]
    execute(connection, "UPDATE agent_health SET time = now() - interval '91 days'")
    agents.forget_health(connection, 90)
    assert execute(connection, "SELECT count(*) FROM agent_health") == [(0,)]


def test_the_status_of_each_endpoint_is_its_last_result(connection: Connection) -> None:
    for name in ("a", "b", "never", "off"):
        execute(connection, "INSERT INTO endpoints (name, url) VALUES (%s, 'https://example.com/')", name)
    execute(connection, "UPDATE endpoints SET enabled = false WHERE name = 'off'")
    ids = dict(execute(connection, "SELECT name, id FROM endpoints"))
    agent = agents.register(connection, "fra", "host1", "default", "0.1", "kernel")
    day_us = 86_400_000_000
    results = [
        result(endpoint=msgspec.structs.replace(ENDPOINT, id=ids[name]), time_us=NOON_US + at_us, status=status)
        for name, at_us, status in [
            ("a", 0, Status.UP), ("a", day_us, Status.DOWN), ("a", -day_us, Status.UP),
            ("b", -day_us, Status.MISSED), ("off", 0, Status.UP),
        ]
    ]  # fmt: skip
    metrics.store(connection, [metrics.encode(results)], agent)
    assert execute(connection, "SELECT name, status::text, location, host FROM endpoint_status ORDER BY name") == [
        ("a", "down", "fra", "host1"), ("b", "missed", "fra", "host1"), ("never", None, None, None),
    ]  # fmt: skip
    execute(connection, "DELETE FROM endpoints WHERE name = 'b'")
    assert execute(connection, "SELECT name, count(*) FROM metrics_named GROUP BY 1 ORDER BY 1") == [
        ("a", 3), ("off", 1), (None, 1),
    ]  # fmt: skip
