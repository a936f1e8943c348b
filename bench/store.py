"""What storing costs: psycopg2's ways of inserting many rows beside ours, and the endpoints table, in one run.

A green process on one core, PostgreSQL on another. "client" is the CPU of this process for a row, encoding included,
"encode" that part alone; "server" the CPU of the backend; "held" the longest stretch of CPU in which no other greenlet
could run, the median over batches. Rounds alternate between the methods; medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

CLIENT, SERVER = 0, 1
START_US = 1_773_144_000_000_000
COLUMNS = (
    "endpoint_id, time, status, reason, http_status, latency_us, dns_us, connect_us, tls_us, ttfb_us, transfer_us,"
    " body_bytes, regex_found, lag_us, late_us, address, detail, agent_id"
)


def main() -> None:
    """Start a server, unless there is one, and measure in a process that was made green first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dsn", help="of an empty database; without it the embedded PostgreSQL in a temporary directory"
    )
    parser.add_argument("--rows", type=int, default=2000, help="a batch")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--endpoints", type=int, default=100_000)
    chosen = parser.parse_args()
    if chosen.dsn:
        os.sched_setaffinity(0, {CLIENT})
        measure(chosen)
        return
    from watcher.store import embedded

    os.sched_setaffinity(0, {SERVER})  # the server inherits it
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        with embedded.serve(Path(directory) / "data", print) as server:
            subprocess.run([sys.executable, *sys.argv, "--dsn", server.dsn], check=True)


def measure(chosen: argparse.Namespace) -> None:
    """Measure and print."""
    from watcher import green

    green.patch()
    from watcher.store import migrations

    migrations.migrate(chosen.dsn)
    results = make_results(chosen.rows)
    methods = {"executemany": executemany, f"execute_values({chosen.rows})": execute_values, "ours, 250 a slice": ours}
    taken: dict[str, list[Sample]] = {name: [] for name in methods}
    for number in range(chosen.rounds):
        for name, method in methods.items():
            taken[name].append(Sample(chosen.dsn, method, [aged(result, number) for result in results]))
    print(f"{'method':24}{'rows/s':>10}{'encode':>9}{'client':>9}{'server':>9}   µs a row{'held':>9} ms of CPU")
    for name, samples in taken.items():
        rows_s, encode, client, server, held = map(
            statistics.median, zip(*(one.figures for one in samples), strict=True)
        )
        print(f"{name:24}{rows_s:10,.0f}{encode:9.2f}{client:9.2f}{server:9.2f}{'':11}{held:9.2f}")
    measure_endpoints(chosen)


class Sample:
    """One batch through one method on an empty table."""

    def __init__(self, dsn: str, method: Callable[..., Iterator[Any]], results: list[Any]) -> None:
        from watcher.store.connection import connect

        with closing(connect(dsn, name="bench")) as connection, Turns() as turns:
            cursor = connection.cursor()
            cursor.execute("TRUNCATE metrics")
            connection.commit()
            server_us = backend_us(connection)
            turns.begin()
            started, cpu_us = time.perf_counter(), time.process_time() * 1e6
            encoded_us = sum(method(connection, results, turns)) or 0.0
            connection.commit()
            took_s, client_us = time.perf_counter() - started, time.process_time() * 1e6 - cpu_us
            turns.turn()
            cursor.execute("SELECT count(*) FROM metrics")
            assert cursor.fetchone()[0] == len(results)
            rows = len(results)
            server_us = backend_us(connection) - server_us
            self.figures = (rows / took_s, encoded_us / rows, client_us / rows, server_us / rows, turns.longest_ms)


class Turns:
    """Watches how long the hub is held between two waits, by the CPU of this thread."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._since = 0.0

    def __enter__(self) -> Turns:
        from psycogreen.gevent import gevent_wait_callback
        from psycopg2 import extensions

        def wait(connection: Any) -> None:
            self.turn()
            gevent_wait_callback(connection)
            self._since = time.thread_time()

        extensions.set_wait_callback(wait)
        return self

    def __exit__(self, *_: object) -> None:
        from psycogreen.gevent import patch_psycopg

        patch_psycopg()

    def begin(self) -> None:
        """Forget what was."""
        self.longest_ms, self._since = 0.0, time.thread_time()

    def turn(self) -> None:
        """Give the hub its turn."""
        import gevent

        self.longest_ms = max(self.longest_ms, (time.thread_time() - self._since) * 1e3)
        gevent.sleep(0)
        self._since = time.thread_time()


def backend_us(connection: Any) -> float:
    """Give the CPU time of the server's process for a connection."""
    return int(Path(f"/proc/{connection.get_backend_pid()}/schedstat").read_text(encoding="ascii").split()[0]) / 1e3


def make_results(rows: int) -> list[Any]:
    """Make results as a worker has them: one in twenty is down and has a detail."""
    from watcher.models import Endpoint, Reason, Result, Status

    endpoints = [
        Endpoint(id=number + 1, name=f"e{number}", url=f"https://example.com/{number}") for number in range(rows)
    ]
    up = {
        "status": Status.UP, "http_status": 200, "latency_us": 54_321, "dns_us": 120, "connect_us": 3000,
        "tls_us": 8000, "ttfb_us": 41_000, "transfer_us": 2201, "body_bytes": 10_240, "regex_found": True, "lag_us": 57,
        "late_us": 120,
    }  # fmt: skip
    down = {"status": Status.DOWN, "reason": Reason.TIMEOUT, "dns_us": 120, "detail": "no answer in 10 s (ttfb)"}
    return [
        Result(
            endpoint,
            START_US + number * 137,
            address=f"10.0.{number % 200}.{number % 250}",
            **(up if number % 20 else down),
        )
        for number, endpoint in enumerate(endpoints)
    ]


def aged(result: Any, seconds: int) -> Any:
    """Give the result as of later."""
    import msgspec

    return msgspec.structs.replace(result, time_us=result.time_us + seconds * 1_000_000)


def rows_of(results: list[Any]) -> list[tuple[Any, ...]]:
    """Give the rows as psycopg2 takes them."""
    from datetime import UTC, datetime, timedelta

    import msgspec

    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    rows = []
    for result in results:
        endpoint, time_us, status, reason, *others = msgspec.structs.astuple(result)
        at = epoch + timedelta(microseconds=time_us)
        rows.append((endpoint.id, at, status.value, reason and reason.value, *others, 1))
    return rows


def executemany(connection: Any, results: list[Any], _: Turns) -> Iterator[float]:
    """One statement a row."""
    places = ", ".join(["%s"] * 18)
    with_day(connection, results)
    connection.cursor().executemany(f"INSERT INTO metrics ({COLUMNS}) VALUES ({places})", rows_of(results))
    yield 0.0


def execute_values(connection: Any, results: list[Any], _: Turns) -> Iterator[float]:
    """One statement a batch, as psycopg2's manual recommends."""
    from psycopg2 import extras

    with_day(connection, results)
    query = f"INSERT INTO metrics ({COLUMNS}) VALUES %s"
    template = "(%s, %s, %s::check_status, %s::check_reason" + ", %s" * 11 + ", %s::inet, %s, %s)"
    extras.execute_values(connection.cursor(), query, rows_of(results), template=template, page_size=len(results))
    yield 0.0


def ours(connection: Any, results: list[Any], turns: Turns) -> Iterator[float]:
    """As a keeper does it."""
    from watcher.store import metrics

    slices = []
    for first in range(0, len(results), metrics.SLICE_ROWS):
        began = time.process_time()
        slices.append(metrics.encode(results[first : first + metrics.SLICE_ROWS]))
        yield (time.process_time() - began) * 1e6
        turns.turn()
    metrics.store(connection, slices, 1, turns.turn)


def with_day(connection: Any, results: list[Any]) -> None:
    """Make sure of the partition, which only `store` does by itself."""
    from datetime import UTC, datetime

    from watcher.store import migrations, partitions

    if migrations.storage(connection) == "partitions":
        partitions.add_days(connection, [datetime.fromtimestamp(results[0].time_us / 1e6, UTC).date()])


def measure_endpoints(chosen: argparse.Namespace) -> None:
    """Time what a start, a reload and a worker do with many endpoints."""
    from watcher.config import EndpointSpec
    from watcher.store import endpoints
    from watcher.store.connection import connect

    def specs(interval_s: float) -> list[EndpointSpec]:
        options = {"regex": "Example Domain", "basic_auth": {"username": "u", "password": "${PASSWORD}"}}
        return [
            EndpointSpec(name=f"e{number}", url=f"https://example.com/{number}", interval_s=interval_s, options=options)
            for number in range(chosen.endpoints)
        ]

    print(f"\n{chosen.endpoints:,} endpoints")
    with closing(connect(chosen.dsn, name="bench")) as connection:
        for what, wanted in (("first sync", specs(60)), ("nothing changed", specs(60)), ("all changed", specs(30))):
            began = time.perf_counter()
            endpoints.sync(connection, wanted, "bench")
            print(f"{what:24}{time.perf_counter() - began:9.2f} s")
        began = time.perf_counter()
        rows, _ = endpoints.load(connection)
        assert sum(1 for _ in rows) == chosen.endpoints
        print(f"{'load':24}{time.perf_counter() - began:9.2f} s")


if __name__ == "__main__":
    main()
