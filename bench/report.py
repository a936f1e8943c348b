"""How long a report takes: rollups of many endpoints over many days, made by a generator in place of their raw rows.

10,000 endpoints checked each minute for 30 days are 432 million results; their rollups are made as those results would
have been summed up, the last minutes before now are raw rows. "read" is the queries with all percentiles, "command"
`watcher report` as a process of its own, from its start to its last line. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from watcher.store import embedded, migrations, partitions, report, report_period, rollups
from watcher.store.connection import Connection, connect, transaction

# A row a day or hour and endpoint: latencies in 26 buckets around one of 40 places, from 12 ms to 200 ms.
ROLLUPS = """
INSERT INTO {table}
SELECT time, endpoint_id, {checks} - 2 * bad, bad, bad, 0, {minutes}, bad, bad, false, false,
       {checks} - bad, {checks}::bigint * 50000, 90000, {checks} * 100::bigint, {checks} * 9000::bigint,
       {checks} * 9000::bigint, {checks} * 30000::bigint, {checks} * 1900::bigint, histogram
  FROM generate_series(%(since)s::timestamptz, %(until)s::timestamptz - interval '1 second', %(step)s::interval) AS time
 CROSS JOIN (
           SELECT endpoint_id, (endpoint_id %% 10 = 0)::int AS bad,
                  sum((((i * 7 + endpoint_id) %% 60 + 1) * {checks} / 700 + 1)
                      * ('1e' || (12 * (endpoint_id %% 40 + i - 36))::text)::numeric) AS histogram
             FROM generate_series(1, %(endpoints)s) AS endpoint_id CROSS JOIN generate_series(0, 25) AS i
            GROUP BY endpoint_id
       ) AS endpoint
"""
RESULTS = """
INSERT INTO metrics (
    time, endpoint_id, agent_id, status, http_status, latency_us, dns_us, connect_us, tls_us, ttfb_us, transfer_us
)
SELECT time + endpoint_id %% 60 * interval '1 second', endpoint_id, 1, 'up', 200,
       20000 + endpoint_id %% 90000, 100, 9000, 9000, 30000, 1900
  FROM generate_series(%(since)s::timestamptz, %(until)s::timestamptz - interval '1 minute', interval '1 minute') AS time
 CROSS JOIN generate_series(1, %(endpoints)s) AS endpoint_id
"""


def main() -> None:
    """Make the rollups in an embedded server of its own, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        Path(directory).chmod(0o711)
        with embedded.serve(Path(directory) / "data", print) as server:
            migrations.migrate(server.dsn)
            with closing(connect(server.dsn, name="bench", autocommit=True)) as connection:
                fill(connection, chosen)
                measure(connection, chosen)
            environ = os.environ | {"WATCHER_DATABASE_DSN": server.dsn}
            for options in ([], ["--format", "json"], ["--label", "team=t7"], ["--endpoint", "site 77"]):
                line = [sys.executable, "-m", "watcher", "report", "--since", f"{chosen.days}d", *options]
                run = partial(subprocess.run, line, env=environ, check=True, stdout=subprocess.DEVNULL)
                print(f"command {' '.join(options) or '(table)'}: {median(run, chosen.rounds):.2f} s")


def fill(connection: Connection, chosen: argparse.Namespace) -> None:
    """Make endpoints, rollups up to some minutes ago as an agent has them then, and results since."""
    now = datetime.now(UTC)
    minutes_to = report_period.floored(now - timedelta(seconds=rollups.SETTLE_S + 60), report_period.MINUTE)
    rolled = report_period.floored(minutes_to, rollups.HOURS_EVERY)
    today = report_period.floored(rolled, report_period.DAY)
    values = {"endpoints": chosen.endpoints, "since": today - timedelta(days=chosen.days)}
    with transaction(connection) as cursor:
        cursor.execute(
            "INSERT INTO endpoints (name, url, labels) SELECT 'site ' || n, 'https://example.com/' || n,"
            " jsonb_build_object('team', 't' || n %% 100) FROM generate_series(1, %(endpoints)s) AS n",
            values,
        )
        for day in range(chosen.days + 1):
            for table in ("metrics_days", "metrics_hours"):
                rollups.make_room(cursor, table, today - timedelta(days=day))
        days = ROLLUPS.format(table="metrics_days", checks=1440, minutes=1440)
        cursor.execute(days, values | {"until": rolled, "step": "1 day"})
        cursor.execute(
            ROLLUPS.format(table="metrics_hours", checks=60, minutes=60),
            values | {"since": today - timedelta(days=1), "until": rolled, "step": "1 hour"},
        )
        for day in (today - timedelta(days=1), today):
            rollups.make_room(cursor, "metrics_minutes", day)
        cursor.execute("UPDATE rollup_progress SET minutes_to = %s, hours_to = %s", (minutes_to, rolled))
    partitions.upkeep(connection, now)
    partitions.add_days(connection, [rolled.date()])
    with transaction(connection) as cursor:
        cursor.execute(RESULTS, values | {"since": rolled, "until": now})
        cursor.execute("INSERT INTO metrics_minutes SELECT * FROM watcher_minutes(%s, %s)", (rolled, minutes_to))
    connection.cursor().execute("VACUUM ANALYZE")
    with transaction(connection) as cursor:
        for table in ("metrics_days", "metrics_hours"):
            cursor.execute(
                f"SELECT sum(pg_total_relation_size(inhrelid)), (SELECT count(*) FROM {table}),"
                f" (SELECT avg(pg_column_size(latency_histogram)) FROM {table})"
                f" FROM pg_inherits WHERE inhparent = '{table}'::regclass"
            )
            size_bytes, rows, histogram_bytes = cursor.fetchone()
            print(f"{table}: {rows:,} rows of {size_bytes / rows:.0f} bytes, {histogram_bytes:.0f} of them histogram")


def measure(connection: Connection, chosen: argparse.Namespace) -> None:
    """Time the queries alone."""
    now = datetime.now(UTC)
    for since in (f"{chosen.days}d", "24h"):
        wanted = report.Wanted(report_period.moment(since, now))
        found = report.read(connection, wanted)
        taken_s = median(partial(report.read, connection, wanted), chosen.rounds)
        print(f"read {since} of {len(found.endpoints):,} endpoints: {taken_s:.2f} s")
        print("   ", *(f"{span.table} {span.since:%dT%H:%M}-{span.until:%dT%H:%M}" for span in found.sources))


def median(function: Callable[[], object], rounds: int) -> float:
    """Give the median of the seconds that a function takes."""
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
