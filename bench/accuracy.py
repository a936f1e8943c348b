"""How far what a client says is from the truth: a server that answers after an exact delay, clients at shares of their
own highest rate.

The server (`delay_server.c`, compiled by this script) has a core and real-time priority, and says by how much its own
answers missed their times; the client has the other core. PostgreSQL, where watcher's rows go, shares the server's core
at a lower priority. The error of a check is the latency that was reported minus the delay; the server's own error is
in it and printed beside it.

    python bench/accuracy.py                     the whole table (about half an hour)
    python bench/accuracy.py --delays 50 --schemes http --shares 90 --arms watcher aiohttp
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trustme
from checks import PINNED, SERVER, database, store_connection, worker
from target import real_time

from watcher.config import EndpointSpec

HERE = Path(__file__).parent
INTERVAL_S = 5.0
WARM_S = 8.0
SETTLED_S = 45.0  # by then a worker that can has made up for the time in which it read its endpoints
STORED_S = 40.0  # by then all rows of the window are: a saturated worker sheds load, and makes up for it
READ_ROWS = """
    SELECT latency_us, lag_us, late_us, status::text FROM metrics
     WHERE time BETWEEN to_timestamp(%s) AND to_timestamp(%s)
"""


class Server(NamedTuple):
    """Where the exact server listens."""

    http_port: int
    https_port: int
    ca_file: str

    def url(self, scheme: str, delay_us: int) -> str:
        """Give the URL of a page that comes after a delay."""
        return f"{scheme}://127.0.0.1:{self.http_port if scheme == 'http' else self.https_port}/{delay_us}"

    def errors(self) -> dict[str, float]:
        """Ask for the server's own errors since the last time."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/errors") as answer:
            return json.load(answer)


@dataclass
class Reading:
    """What an arm reported in a window: latencies in µs of the checks that it made, and what it says of itself."""

    rate: float
    latency_us: list[float]
    lag_us: list[float]
    late_us: list[float]
    missed: int = 0
    down: int = 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 5, 50, 500], help="milliseconds")
    parser.add_argument("--schemes", nargs="+", default=["http", "https"])
    parser.add_argument("--shares", type=int, nargs="+", default=[10, 50, 90, 100, 150], help="percent of the rate")
    parser.add_argument("--arms", nargs="+", default=["watcher", "aiohttp", "requests", "blackbox"])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--csv", type=Path, help="write every row here too")
    options = parser.parse_args()
    os.sched_setaffinity(0, {SERVER})
    with exact_server() as server, contextlib.ExitStack() as stack:
        write = _writer(stack, options.csv)
        write(HEAD.split())
        for scheme in options.schemes:
            highest = {arm: highest_rate(arm, server, scheme) for arm in options.arms}
            told = ", ".join(f"{arm} {rate:.0f}" for arm, rate in highest.items())
            print(f"\n{scheme}, highest rates in checks/s on one core: {told}", flush=True)
            print(HEAD)
            for delay_ms in options.delays:
                for share in options.shares:
                    for arm in options.arms:
                        rate = highest[arm] * share / 100
                        row = measure(arm, server, scheme, delay_ms, share, rate, options.seconds)
                        write(row)
                        print(" ".join(f"{cell:>11}" for cell in row), flush=True)


def _writer(stack: contextlib.ExitStack, path: Path | None) -> Callable[[Sequence[str]], object]:
    if path is None:
        return lambda row: None
    file = stack.enter_context(path.open("w", buffering=1, newline="", encoding="utf-8"))  # a row is there at once
    return csv.writer(file).writerow


HEAD = " ".join(
    f"{name:>11}"
    for name in (
        "scheme", "delay_ms", "share", "arm", "rate", "done/s", "err_p50", "err_p99", "err_max", "server_p99",
        "lag_p99", "late_p99", "missed", "down",
    )  # fmt: skip
)


def measure(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # one row of the table
    arm: str, server: Server, scheme: str, delay_ms: float, share: int, rate: float, seconds: float
) -> tuple[str, ...]:
    """Run one arm at one rate and give its row; errors in milliseconds."""
    delay_us = int(delay_ms * 1000)
    server.errors()
    reading = ARMS[arm](server, scheme, delay_us, rate, seconds)
    own = server.errors()
    errors = sorted((latency - delay_us) / 1e3 for latency in reading.latency_us)
    return (
        scheme, f"{delay_ms:g}", f"{share}%", arm, f"{rate:.0f}", f"{reading.rate:.0f}",
        _ms(errors, 50), _ms(errors, 99), _ms(errors, 100), f"{own['p99_us'] / 1e3:.2f}",
        _ms(sorted(value / 1e3 for value in reading.lag_us), 99),
        _ms(sorted(value / 1e3 for value in reading.late_us), 99),
        str(reading.missed), str(reading.down),
    )  # fmt: skip


def _ms(ordered: Sequence[float], percent: int) -> str:
    return f"{ordered[(len(ordered) - 1) * percent // 100]:.2f}" if ordered else "-"


@contextlib.contextmanager
def exact_server() -> Iterator[Server]:
    """Compile and run the server on its core, with real-time priority where that is permitted."""
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        root = Path(name)
        program, pem, ca_file = str(root / "delay_server"), str(root / "server.pem"), str(root / "ca.pem")
        source = str(HERE / "delay_server.c")
        subprocess.run(["cc", "-O2", "-Wall", "-o", program, source, "-lssl", "-lcrypto"], check=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(ca_file)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
        server = Server(7801, 7802, ca_file)
        ports = str(server.http_port), str(server.https_port)
        command = ["taskset", "-c", str(SERVER), *real_time(), program, *ports, pem]
        with subprocess.Popen(command) as process:
            try:
                _await(server)
                yield server
            finally:
                process.terminate()


def _await(server: Server) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            server.errors()
            return
        time.sleep(0.02)
    raise SystemExit("the server did not start")


def highest_rate(arm: str, server: Server, scheme: str) -> float:
    """Give the checks a second that an arm does when it is asked for more than it can, with a delay of 50 ms."""
    asked = TOO_MUCH[scheme] if arm == "watcher" else 0
    return ARMS[arm](server, scheme, 50_000, asked, 10.0).rate


TOO_MUCH = {"http": 6000.0, "https": 1300.0}  # a fifth more or so: what is missed costs something, too


def watcher(server: Server, scheme: str, delay_us: int, rate: float, seconds: float) -> Reading:
    """watcher's whole worker: what its rows say."""
    options = {"tls": {"ca": server.ca_file}} if scheme == "https" else {}
    url = server.url(scheme, delay_us)
    count = max(1, round(rate * INTERVAL_S))
    specs = [
        EndpointSpec(name=str(n), url=f"{url}?{n}", interval_s=INTERVAL_S, timeout_s=INTERVAL_S, options=options)
        for n in range(count)
    ]
    with database(specs) as (dsn, data_dir), worker(dsn, data_dir) as lines:
        begin = next(line for line in lines if line["endpoints"] == count)
        warm_us, settled_us = (begin["at_us"] + seconds_ * 1e6 for seconds_ in (WARM_S, SETTLED_S))
        begin = next(
            line
            for line in lines
            if line["at_us"] > warm_us and (_is_settled(line) or line["at_us"] > settled_us)
        )
        end = next(line for line in lines if line["at_us"] > begin["at_us"] + seconds * 1e6)
        late_us = end["at_us"] + STORED_S * 1e6
        next(line for line in lines if line["stored"] >= end["produced"] or line["at_us"] > late_us)
        return _read(dsn, begin, end)


def _is_settled(line: dict) -> bool:
    return line["waiting"] < line["endpoints"] / INTERVAL_S / 20 and not line["shedding_permille"]


def _read(dsn: str, begin: dict, end: dict) -> Reading:
    window = begin["at_us"] / 1e6, end["at_us"] / 1e6
    with contextlib.closing(store_connection.connect(dsn, name="bench")) as connection:
        cursor = connection.cursor()
        cursor.execute(READ_ROWS, window)
        rows = cursor.fetchall()
    done = [row for row in rows if row[3] != "missed"]
    return Reading(
        rate=(end["checks"] - begin["checks"]) / (window[1] - window[0]),
        latency_us=[row[0] for row in done if row[3] == "up"],
        lag_us=[row[1] for row in done],
        late_us=[row[2] for row in done],
        missed=len(rows) - len(done),
        down=sum(row[3] == "down" for row in done),
    )


def other(arm: str, server: Server, scheme: str, delay_us: int, rate: float, seconds: float) -> Reading:
    """Another client, in a process of its own on the client's core: what it would report."""
    command = [
        *PINNED, sys.executable, str(HERE / "accuracy_arms.py"), arm, server.url(scheme, delay_us), server.ca_file,
        str(rate), str(seconds),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    told = json.loads(done.stdout)
    return Reading(told["rate"], told["latency_us"], [], told["late_us"], told["missed"], told["down"])


ARMS = {
    "watcher": watcher,
    **{
        arm: lambda *given, arm=arm: other(arm, *given)  # type: ignore[misc]
        for arm in ("aiohttp", "requests", "blackbox")
    },
}


if __name__ == "__main__":
    main()
