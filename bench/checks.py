"""What a check costs: watcher's whole worker beside `requests.get` under gevent and aiohttp, on the same page.

The client runs on one core, nginx and PostgreSQL on another. watcher's figure is the CPU time of its worker process
over a window, divided by the checks it did in it: schedule, pool, plan, two steps, buffer and database writes are all
in it. The rounds alternate between the arms; medians are printed, and ratios within the run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from target import Target, nginx

from watcher.config import EndpointSpec
from watcher.store import connection as store_connection
from watcher.store import embedded, endpoints, migrations

CLIENT, SERVER = 0, 1
ANYWHERE = ("taskset", "-c", f"0-{(os.cpu_count() or 1) - 1}")
PINNED = ("taskset", "-c", str(CLIENT))
WORKER = ("-m", "watcher.worker")
HERE = Path(__file__).parent
WARM_S = 8.0
INTERVAL_S = 5.0
HTTPS_ENDPOINTS = 3500  # 700 checks/s: what one core does with verification, and some room


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, nargs="+", default=[2000, 20000], help="each checked every 5 s")
    parser.add_argument("--seconds", type=float, default=15, help="of watcher's window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checks", type=int, default=3000, help="of each other arm, a round")
    parser.add_argument("--paced", type=float, default=500, help="up to this rate the others keep watcher's pace")
    parser.add_argument("--schemes", nargs="+", default=["http", "https"])
    options = parser.parse_args()
    os.sched_setaffinity(0, {SERVER})
    with nginx(SERVER) as target:
        for scheme in options.schemes:
            measure(scheme, target, options)


def measure(scheme: str, target: Target, options: argparse.Namespace) -> None:
    """Measure one scheme and print its tables: all at watcher's rate, and the others as fast as they go."""
    url, ca_file = (target.http, "") if scheme == "http" else (target.https, target.ca_file)
    for count in options.endpoints:
        count = min(count, HTTPS_ENDPOINTS) if scheme == "https" else count
        rate = count / INTERVAL_S
        others_rate = rate if rate <= options.paced else 0
        checks = int(rate * options.seconds) if others_rate else options.checks // (1 if scheme == "http" else 4)
        cost: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            for arm in ("requests", "aiohttp"):
                cost.setdefault(arm, []).append(other(arm, url, ca_file, checks, others_rate))
            spent, note = watcher(url, ca_file, count, options.seconds)
            cost.setdefault("watcher", []).append(spent)
        pace = f"at {others_rate:.0f} checks/s" if others_rate else "as fast as they go"
        print(f"\n{scheme}, {count} endpoints every {INTERVAL_S:g} s; others {pace}; medians of {options.rounds}")
        _print(cost, note)


def _print(cost: dict[str, list[float]], note: str) -> None:
    medians = {name: statistics.median(values) for name, values in cost.items()}
    print(f"{'CPU of the client':20}{'µs a check':>11}{'of requests':>13}{'of aiohttp':>12}")
    for name, spent in medians.items():
        of_requests, of_aiohttp = spent / medians["requests"], spent / medians["aiohttp"]
        tail = f"  {note}" if name == "watcher" else ""
        print(f"{name:20}{spent:11.1f}{of_requests:13.1%}{of_aiohttp:12.1%}{tail}", flush=True)


def other(arm: str, url: str, ca_file: str, checks: int, rate: float) -> float:
    """Run another client on the client's core."""
    command = [*PINNED, sys.executable, str(HERE / "arms.py"), arm, url, ca_file, str(checks), str(rate)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def watcher(
    url: str, ca_file: str, count: int, seconds: float, more: dict | None = None
) -> tuple[float, str]:
    """Run a worker on the client's core for a window; give the CPU µs of a check and what else it said."""
    options = {"regex": "needle"} | (more or {}) | ({"tls": {"ca": ca_file}} if ca_file else {})
    urls = [f"{url}?{number}" for number in range(count)]
    specs = [EndpointSpec(name=one, url=one, interval_s=INTERVAL_S, timeout_s=5.0, options=options) for one in urls]
    with database(specs) as (dsn, data_dir), worker(dsn, data_dir) as lines:
        begin = _after(lines, WARM_S)
        end = _after(lines, seconds)
    checks = end["checks"] - begin["checks"]
    lost = end["missed"] - begin["missed"]
    spent_s = end["cpu_s"] - begin["cpu_s"]
    took_s = (end["at_us"] - begin["at_us"]) / 1e6
    note = f"{checks / took_s:.0f} checks/s, {spent_s / took_s:.0%} of the core, {lost} missed, {end['down']} down"
    return spent_s / checks * 1e6, note


@contextlib.contextmanager
def database(specs: list[EndpointSpec]) -> Iterator[tuple[str, Path]]:
    """Run a PostgreSQL that holds these endpoints."""
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        Path(name).chmod(0o755)
        data_dir = Path(name) / "data"
        with embedded.serve(data_dir, lambda line: None) as server:
            migrations.migrate(server.dsn)
            with contextlib.closing(store_connection.connect(server.dsn, name="bench")) as connection:
                endpoints.sync(connection, specs, "bench")
                connection.commit()
            yield server.dsn, data_dir


@contextlib.contextmanager
def worker(dsn: str, data_dir: Path, pinned: bool = True, program: Sequence[str] = WORKER) -> Iterator[Iterator[dict]]:
    """Run a worker, on the client's core or on any; give the lines of state that it writes each second.

    Args:
        program: what Python runs, where it is a worker with something added.
    """
    job = {"index": 0, "of": 1, "dsn": dsn, "data_dir": str(data_dir), "location": "bench"}
    command = [*(PINNED if pinned else ANYWHERE), sys.executable, *program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        yield map(json.loads, process.stdout)
        process.terminate()
        process.stdout.read()


def _after(lines: Iterator[dict], seconds: float) -> dict:
    until = time.monotonic() + seconds
    for line in lines:
        if time.monotonic() >= until:
            return line
    raise SystemExit("the worker ended")


if __name__ == "__main__":
    main()
