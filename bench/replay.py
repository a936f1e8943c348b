"""The spool stored while checks go on, and two workers' results stored as fast as they come; into plain PostgreSQL.

`replay` fills a spool through the spool's own writer, then starts a worker on it, with endpoints of a test server, and
reads its lines of state: how fast rows are stored, and how late its checks are meanwhile and afterwards.
`write` runs two processes that do what a worker does with its results, at a fixed rate: what is stored, what waits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

BATCH_ROWS = 2000
AFTER_S = 10
SPREAD = 10_000  # endpoints that the rows are of


def main() -> None:
    """Measure one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("replay", "write"))
    parser.add_argument("--dsn", help="of an empty database; without it the embedded PostgreSQL")
    parser.add_argument("--rows", type=int, default=5_000_000, help="in the spool")
    parser.add_argument("--checks", type=int, default=100, help="a second, while it is replayed")
    parser.add_argument("--rate", type=int, default=25_000, help="rows a second of each writer")
    parser.add_argument("--seconds", type=int, default=30, help="for which they write")
    parser.add_argument("--directory", help="for spool and database; a real disk")
    parser.add_argument("--writer", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.writer:
        writer(chosen)
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=chosen.directory)))
        directory.chmod(0o711)
        dsn = chosen.dsn or served(stack, directory)
        from watcher.store import migrations

        migrations.migrate(dsn)
        (replay if chosen.what == "replay" else write)(chosen, dsn, directory)


def served(stack: ExitStack, directory: Path) -> str:
    """Run the embedded server."""
    from watcher.store import embedded

    return stack.enter_context(embedded.serve(directory / "data", print)).dsn


# replay


def replay(chosen: argparse.Namespace, dsn: str, directory: Path) -> None:
    """Fill a spool, have a worker store it, and print how that went."""
    from watcher.testserver.process import ServerProcess

    began = time.perf_counter()
    bytes_ = fill(directory / "worker/spool/0", chosen.rows)
    took_s = time.perf_counter() - began
    print(f"spooled {chosen.rows:,} rows, {bytes_ / chosen.rows:.0f} bytes each, in {took_s:.1f} s")
    with ServerProcess() as site:
        put(dsn, f"{site.url}/", chosen.checks * 5)
        job = {"index": 0, "of": 1, "dsn": dsn, "data_dir": str(directory / "worker"), "location": "bench"}
        with subprocess.Popen(
            [sys.executable, "-m", "watcher.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as worker:
            worker.stdin.write(json.dumps(job).encode() + b"\n")
            worker.stdin.flush()
            lines = followed(worker)
            worker.terminate()
            worker.stdout.read()
    tell(lines)
    if not chosen.dsn:
        print(f"rows in the table: {count(dsn):,}")


def followed(worker: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Read a worker's lines until its spool is empty, and some more."""
    lines, more = [], AFTER_S
    for text in worker.stdout:
        lines.append(json.loads(text))
        if len(lines) > 1 and not lines[-1]["spooled"]:
            more -= 1
        if not more:
            break
    return lines


def tell(lines: list[dict[str, Any]]) -> None:
    """Print the rate, and the checks' figures during the replay and after it."""
    busy = [line for line in lines if line["spooled"]]
    calm = lines[len(busy) + 1 :]
    first, last = busy[0], busy[-1]
    seconds = (last["at_us"] - first["at_us"]) / 1e6 or 1.0
    stored, cpu_s = last["stored"] - first["stored"], last["cpu_s"] - first["cpu_s"]
    cpu_us = cpu_s / max(1, stored) * 1e6
    print(f"stored {stored / seconds:,.0f} rows/s over {seconds:.0f} s; worker: {cpu_us:.2f} µs of CPU a row")
    for name, some in (("replaying", busy[1:]), ("after", calm)):
        if some:
            late, lag = ([line[f"{what}_p99_us"] / 1000 for line in some] for what in ("late", "lag"))
            checks = (some[-1]["checks"] - some[0]["checks"]) / max(1e-6, (some[-1]["at_us"] - some[0]["at_us"]) / 1e6)
            print(
                f"{name:10} {checks:6.0f} checks/s, {some[-1]['missed']} missed; late p99 of a second: median "
                f"{statistics.median(late):.1f}, worst {max(late):.1f} ms; "
                f"lag p99: {statistics.median(lag):.2f}, {max(lag):.2f} ms"
            )


def fill(directory: Path, rows: int) -> int:
    """Write results of the last hours into a spool; give their bytes."""
    from store import make_results

    from watcher.spool import Batch, Spool
    from watcher.store import metrics

    spool, models = Spool(directory, max_bytes=1 << 40), make_results(SPREAD)
    step_us = 1_000_000
    start_us = time.time_ns() // 1000 - step_us * (rows // SPREAD + 60)
    for first in range(0, rows, BATCH_ROWS):
        number = min(BATCH_ROWS, rows - first)
        results = [
            dated(models[row % SPREAD], start_us + row // SPREAD * step_us) for row in range(first, first + number)
        ]
        slices = [
            metrics.encode(results[part : part + metrics.SLICE_ROWS]) for part in range(0, number, metrics.SLICE_ROWS)
        ]
        spool.write(Batch(1, number, slices))
    return sum(path.stat().st_size for path in directory.iterdir())


def dated(result: Any, time_us: int) -> Any:
    """Give a result as of another time."""
    import msgspec

    return msgspec.structs.replace(result, time_us=time_us)


def put(dsn: str, url: str, count_: int) -> None:
    """Put endpoints that are checked every 5 s."""
    from watcher.config import EndpointSpec
    from watcher.store import endpoints
    from watcher.store.connection import connect

    specs = [EndpointSpec(name=f"bench {number}", url=url, interval_s=5.0, timeout_s=2.0) for number in range(count_)]
    with closing(connect(dsn, name="bench")) as connection:
        endpoints.sync(connection, specs, "bench")
        connection.commit()


def count(dsn: str) -> int:
    """Count the rows of the table."""
    from watcher.store.connection import connect, transaction

    with closing(connect(dsn, name="bench")) as connection, transaction(connection) as cursor:
        cursor.execute("SELECT count(*) FROM metrics")
        return cursor.fetchone()[0]


# write


def write(chosen: argparse.Namespace, dsn: str, directory: Path) -> None:
    """Run two writers, and print what they say."""
    began = count(dsn)
    command = [sys.executable, *sys.argv, "--dsn", dsn]
    writers = [
        # pylint: disable-next=consider-using-with  # `communicate` ends them
        subprocess.Popen([*command, "--writer", str(directory / f"writer-{number}")], stdout=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    for one in writers:
        print(one.communicate()[0].strip())
    print(f"rows in the table: {count(dsn) - began:,} of {2 * chosen.rate * chosen.seconds:,}")


def writer(chosen: argparse.Namespace) -> None:  # pylint: disable=too-many-locals  # one thing after the other
    """Do what a worker does with its results, at a rate."""
    from watcher import green

    green.patch()
    import gevent
    from store import make_results

    from watcher.keeper import Buffer, Keepers
    from watcher.spool import Spool

    buffer, models = Buffer(100_000, BATCH_ROWS), make_results(SPREAD)
    keepers = Keepers(
        buffer, Spool(Path(chosen.writer)), chosen.dsn, os.getpid(), count=2, age_s=1.0,
        handed_over=lambda results: None, say=print, broke=print,
    )  # fmt: skip
    keepers.start()
    ticker = Ticker()
    gevent.spawn(ticker.run)
    began, cpu_s, made = time.perf_counter(), time.process_time(), 0
    produce_s = 0.0
    while made < chosen.rate * chosen.seconds:
        due = min(int((time.perf_counter() - began) * chosen.rate), chosen.rate * chosen.seconds)
        since = time.thread_time()
        for number in range(made, min(due, made + 200)):  # in pieces, as checks end one by one
            buffer.add(dated(models[number % SPREAD], time.time_ns() // 1000 + number % SPREAD))
            made += 1
        produce_s += time.thread_time() - since
        gevent.sleep(0.001 if made >= due else 0)
    seconds, tally = time.perf_counter() - began, keepers.tally
    cpu_s = time.process_time() - cpu_s - produce_s
    waiting = len(buffer) + tally.in_hand
    stored, spooled = tally.stored, tally.spooled
    ticker.ended = True
    keepers.finish(20.0)
    print(
        f"{stored / seconds:,.0f} rows/s stored over {seconds:.0f} s, at the end {waiting:,} in memory, {spooled:,} "
        f"spooled, {tally.dropped + buffer.dropped:,} dropped; "
        f"{cpu_s / max(1, stored) * 1e6:.2f} µs of CPU a row beside making it; "
        f"hub p50 {ticker.percentile(50):.2f}, p99 {ticker.percentile(99):.2f}, worst {ticker.percentile(100):.2f} ms"
    )


class Ticker:
    """How late a greenlet wakes up that has nothing to do: what others hold the hub for."""

    def __init__(self) -> None:
        self.ended = False
        self._late_ms: list[float] = []

    def run(self) -> None:
        """Tick."""
        import gevent

        while not self.ended:
            began = time.perf_counter()
            gevent.sleep(0.005)
            self._late_ms.append((time.perf_counter() - began - 0.005) * 1000)

    def percentile(self, percent: int) -> float:
        """Give how late it was."""
        ordered = sorted(self._late_ms)
        return ordered[(len(ordered) - 1) * percent // 100]


if __name__ == "__main__":
    main()
