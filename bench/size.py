"""How many bytes a result takes: rows as an agent would have stored them, made by a generator.

Endpoints are checked once a minute for some days that have ended; latencies lie around one of each endpoint's own, with
a tail, each phase with its share; some endpoints fail for a while, with a reason and a detail. Rows go through
`watcher.store.metrics`, minute by minute, as agents store them. Told are bytes a row without and with indexes: as daily
partitions, as chunks, and as chunks that TimescaleDB has compressed. Without `--dsn` an embedded server of its own is
measured. With one, a database of its own is made there and dropped; TimescaleDB is used where the server has it.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
from psycopg2.extensions import make_dsn

from watcher.models import Endpoint, Reason, Result, Status
from watcher.store import embedded, metrics, migrations, rollups, status
from watcher.store.connection import Connection, connect, transaction

DATABASE = "watcher_bench_size"
TABLE_BYTES = """
SELECT sum(pg_total_relation_size(inhrelid) - pg_indexes_size(inhrelid))::bigint, sum(pg_indexes_size(inhrelid))::bigint
  FROM pg_inherits WHERE inhparent = to_regclass(%s)
"""
COMPRESS = "SELECT compress_chunk(chunk, if_not_compressed => true) FROM show_chunks('metrics') AS chunk"
AFTER = """
SELECT after_compression_table_bytes + after_compression_toast_bytes, after_compression_index_bytes
  FROM hypertable_compression_stats('metrics')
"""


def main() -> None:
    """Store, sum up, and tell the sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", help="a superuser's, of a server that may get a database")
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--days", type=int, default=3)
    chosen = parser.parse_args()
    with database(chosen.dsn) as dsn:
        migrations.migrate(dsn, print)
        with closing(connect(dsn, name="watcher bench", autocommit=True)) as connection:
            rows = fill(connection, chosen.endpoints, chosen.days)
            found = status.read(connection)
            with_timescaledb = f" with TimescaleDB {found.timescaledb} ({found.licence})" if found.timescaledb else ""
            print(f"{rows:,} rows, {found.engine} {found.version}{with_timescaledb}")
            tell(found.storage, rows, *sizes(connection, found.storage))
            while rollups.fold(connection, budget_s=600).is_behind:
                pass
            rollups.fold(connection, budget_s=600)
            for table in ("metrics_minutes", "metrics_hours", "metrics_days"):
                count = ask(connection, f"SELECT count(*) FROM {table}")[0]  # a name of the line above
                tell(table, count, *ask(connection, TABLE_BYTES, table))
            if found.licence == "timescale":
                ask(connection, COMPRESS)
                tell("compressed", rows, *ask(connection, AFTER))


@contextmanager
def database(dsn: str | None) -> Iterator[str]:
    """Give an empty database."""
    if dsn is None:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
            Path(directory).chmod(0o711)
            with embedded.serve(Path(directory) / "data", print) as server:
                yield server.dsn
        return
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {DATABASE}")
        try:
            yield make_dsn(dsn, dbname=DATABASE)
        finally:
            connection.cursor().execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def fill(connection: Connection, endpoints: int, days: int) -> int:
    """Store the results of the days that ended at the last midnight but one and before."""
    chance = random.Random(1)
    sites = [Site(chance, number) for number in range(1, endpoints + 1)]
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days + 1)
    for minute in range(days * 1440):
        at_us = int(start.timestamp() * 1e6) + minute * 60_000_000
        results = [site.check(at_us) for site in sites]
        slices = [results[first : first + metrics.SLICE_ROWS] for first in range(0, len(results), metrics.SLICE_ROWS)]
        metrics.store(connection, [metrics.encode(part) for part in slices], 1)
    return endpoints * days * 1440


class Site:
    """An endpoint, and how it answers."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self._chance = chance
        self._endpoint = Endpoint(id=number, name=f"site {number}", url=f"https://www.example.com/{number}")
        self._address = f"192.0.2.{number % 250 + 1}"
        self._offset_us = chance.randrange(60_000_000)
        self._base_us = 10 ** chance.uniform(3.8, 5.3)
        self._body_bytes = chance.randrange(500, 200_000)
        self._fails_for = 0

    def check(self, minute_us: int) -> Result:
        """Give the result of a minute: about one in 3,000 begins an outage of ten minutes or so."""
        chance = self._chance
        if self._fails_for == 0 and chance.random() < 1 / 3000:
            self._fails_for = chance.randrange(1, 20)
        late_us = int(chance.expovariate(1 / 400))
        common = {"late_us": late_us, "address": self._address}
        at_us = minute_us + self._offset_us + late_us
        if self._fails_for:
            self._fails_for -= 1
            detail = "status 503 is none of 200-299"
            common |= {"reason": Reason.STATUS, "http_status": 503, "detail": detail, "body_bytes": 512}
            return Result(self._endpoint, at_us, Status.DOWN, **self._times(), **common)
        body_bytes = self._body_bytes + chance.randrange(-200, 200)
        common |= {"http_status": 200, "regex_found": True, "body_bytes": body_bytes}
        return Result(self._endpoint, at_us, Status.UP, **self._times(), **common)

    def _times(self) -> dict[str, int]:
        chance = self._chance
        connect_us = int(self._base_us * 0.2 * around_one(chance))
        times = {
            "dns_us": int(chance.expovariate(1 / 300)) + 40,
            "connect_us": connect_us,
            "tls_us": int(connect_us * chance.uniform(1.0, 1.3)),
            "ttfb_us": int(self._base_us * 0.5 * around_one(chance)),
            "transfer_us": int(self._base_us * 0.1 * around_one(chance)),
        }
        return {**times, "latency_us": sum(times.values()), "lag_us": int(chance.expovariate(1 / 150))}


def around_one(chance: random.Random) -> float:
    """Give a factor around 1, with a tail upwards."""
    return chance.lognormvariate(0, 0.15)


def sizes(connection: Connection, storage: str) -> tuple[int, int]:
    """Give the bytes of the results without indexes, and of the indexes."""
    if storage == "partitions":
        return ask(connection, TABLE_BYTES, "metrics")
    return ask(connection, "SELECT total_bytes - index_bytes, index_bytes FROM hypertable_detailed_size('metrics')")


def ask(connection: Connection, query: str, *values: str) -> tuple[int, ...]:
    """Give the first row of a query."""
    with transaction(connection) as cursor:
        cursor.execute(query, values or None)
        return cursor.fetchone()


def tell(what: str, rows: int, table_bytes: int, index_bytes: int) -> None:
    """Print bytes a row."""
    alone, whole = table_bytes / rows, (table_bytes + index_bytes) / rows
    print(f"{what:16} {rows:>12,} rows {alone:8.1f} B a row {whole:8.1f} with indexes")


if __name__ == "__main__":
    main()
