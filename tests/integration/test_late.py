"""Which results a transaction notes as late, whoever stores them: each minute, and no function called for each row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from psycopg2 import extensions

from watcher import Endpoint, Result, Status
from watcher.store import metrics, partitions
from watcher.store.connection import connect
from watcher.store.queries import queries

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)


@pytest.fixture(name="cursor")
def fixture_cursor(database: str) -> Iterator[extensions.cursor]:
    """Give the cursor of a transaction that counts the calls of functions."""
    with closing(connect(database, name="test")) as connection:
        partitions.add_days(connection, {HOUR.date()})
        connection.commit()
        with connection.cursor() as cursor:
            cursor.execute("SET track_functions = 'all'")
            yield cursor


def insert(cursor: extensions.cursor, *minutes: int, endpoint_id: int = 1) -> None:
    """Store, in one statement, 50 results of each of these minutes, one after the other."""
    endpoint = Endpoint(id=endpoint_id, name="x", url="http://x/")
    starts = [HOUR + timedelta(minutes=minute) for minute in minutes]
    times = [int(start.timestamp() * 1e6) + second * 1_000_000 for start in starts for second in range(10, 60)]
    slice_ = metrics.encode([Result(endpoint, time_us, Status.UP) for time_us in times])
    cursor.execute(queries("metrics")["insert"], (1, *slice_))


def noted(cursor: extensions.cursor) -> list[int]:
    """Give the minutes that were noted, in the order of the table."""
    cursor.execute("SELECT extract(epoch FROM minute - %s) / 60 FROM metrics_late ORDER BY ctid", (HOUR,))
    return [int(minute) for (minute,) in cursor]


def calls(cursor: extensions.cursor) -> int:
    """Count the calls of the function in this transaction."""
    cursor.execute("SELECT sum(calls)::int FROM pg_stat_xact_user_functions WHERE funcname = 'watcher_metrics_late'")
    return cursor.fetchone()[0]


def test_of_a_minute_that_is_noted_already_no_row_calls_the_function(cursor: extensions.cursor) -> None:
    insert(cursor, 3)
    first = calls(cursor)
    assert 1 <= first <= 50
    for endpoint_id in (2, 3, 4):
        insert(cursor, 3, endpoint_id=endpoint_id)
    assert (noted(cursor), calls(cursor)) == ([3], first)


def test_each_minute_is_noted_in_one_statement_and_in_many(cursor: extensions.cursor) -> None:
    insert(cursor, 3, 4, 5)
    insert(cursor, 5, 6, endpoint_id=2)
    assert sorted(set(noted(cursor))) == [3, 4, 5, 6]
    insert(cursor, 3, endpoint_id=3)
    assert noted(cursor)[-1] == 3


def test_each_transaction_notes_its_minutes(cursor: extensions.cursor) -> None:
    for endpoint_id in (1, 2, 3):
        insert(cursor, 3, endpoint_id=endpoint_id)
        cursor.connection.commit()
    assert noted(cursor) == [3, 3, 3]


def test_a_note_that_was_rolled_back_is_made_again(cursor: extensions.cursor) -> None:
    cursor.execute("SAVEPOINT before")
    insert(cursor, 3)
    cursor.execute("ROLLBACK TO before")
    assert not noted(cursor)
    insert(cursor, 3, endpoint_id=2)
    assert noted(cursor) == [3]
