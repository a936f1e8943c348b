"""What sites that misbehave in every way do to those beside them, on one worker.

A thousand endpoints are the exact server's of `accuracy.py`, which answers after 5 ms; one in ten is https. They are
checked alone, and then beside all the bad answers of `watcher testserver`, in plain and over TLS, and its traps. Each
bad endpoint must have its reason (the table in docs/testing-tools.md) within its deadline in every row, and the good
ones' error (what was reported less the delay) at p99 may grow by the budget. Exit code 1 when that is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from accuracy import Server, exact_server
from checks import SERVER, WORKER, database, store_connection, worker

from watcher.config import EndpointSpec
from watcher.testserver.bad import KINDS
from watcher.testserver.process import ServerProcess
from watcher.testserver.trap import TRAPS

INTERVAL_S = 5.0
TIMEOUT_S = 4.0
DELAY_US = 5_000
WARM_S = 12.0
HARMED_SHARE_MAX = 0.001
STORED_S = 4.0  # until the last rows of the window are in the database
READ_ROWS = """
    SELECT e.name, m.status::text, m.reason::text, m.latency_us, m.lag_us, m.late_us, m.detail,
           extract(epoch FROM m.time)::float8
      FROM metrics m JOIN endpoints e ON e.id = m.endpoint_id
     WHERE m.time BETWEEN to_timestamp(%s) AND to_timestamp(%s)
"""


class Row(NamedTuple):
    """What was stored of a check."""

    name: str
    status: str
    reason: str | None
    latency_us: int | None
    lag_us: int | None
    late_us: int | None
    detail: str | None
    at_s: float


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--good", type=int, default=1000, help="endpoints that behave")
    parser.add_argument("--seconds", type=float, default=30, help="of each of the two runs")
    parser.add_argument("--budget", type=float, default=1.0, help="ms that the p99 of the error may grow by")
    options = parser.parse_args()
    os.sched_setaffinity(0, {SERVER})
    with exact_server() as server, ServerProcess(tls=True, traps=True) as hostile:
        behaved, bad = good_specs(server, options.good), bad_specs(hostile)
        alone = run(behaved, options.seconds)
        beside = run(behaved + bad, options.seconds)
    told = [errors(alone, "alone"), errors(beside, "beside the bad")]
    growth = told[1] - told[0]
    mistakes = judge(beside, {spec.name for spec in bad})
    fits = growth <= options.budget
    print(f"p99 of the good ones grew by {growth:+.2f} ms, budget {options.budget:g} ms: {'met' if fits else 'MISSED'}")
    harmed = not_up(beside) > not_up(alone) + HARMED_SHARE_MAX
    print(f"good ones that were not up: {not_up(alone):.2%} alone, {not_up(beside):.2%} beside the bad")
    sys.exit(bool(mistakes) or harmed or not fits)


def good_specs(server: Server, count: int) -> list[EndpointSpec]:
    """Make endpoints that behave."""
    return [_spec(f"good {n}", f"{server.url('http' if n % 10 else 'https', DELAY_US)}?{n}", server.ca_file)
            for n in range(count)]  # fmt: skip


def bad_specs(server: ServerProcess) -> list[EndpointSpec]:
    """Make one endpoint for each bad answer, in plain and over TLS, and for each trap; those over TLS are searched."""
    places = {f"bad http {name}": f"{server.url}/bad/{name}" for name in KINDS}
    places |= {f"bad https {name}": f"{server.tls_url}/bad/{name}" for name in KINDS}
    places |= {f"bad trap {name}": url for name, url in server.traps.items()}
    return [_spec(name, url, str(server.ca_file)) for name, url in places.items()]


def _spec(name: str, url: str, ca_file: str) -> EndpointSpec:
    options: dict = {}
    if url.startswith("https"):
        options = {"tls": {"ca": ca_file}, "regex": {"pattern": "nowhere to be found", "absent": True}}
    return EndpointSpec(name=name, url=url, interval_s=INTERVAL_S, timeout_s=TIMEOUT_S, options=options)


def run(specs: list[EndpointSpec], seconds: float, program: Sequence[str] = WORKER) -> list[Row]:
    """Run one worker over them, and give the rows of a window.

    Args:
        program: as of `checks.worker`.
    """
    with database(specs) as (dsn, data_dir), worker(dsn, data_dir, program=program) as lines:
        begin = next(line for line in lines if line["endpoints"] == len(specs))
        begin = next(line for line in lines if line["at_us"] > begin["at_us"] + WARM_S * 1e6)
        end = next(line for line in lines if line["at_us"] > begin["at_us"] + seconds * 1e6)
        next(line for line in lines if line["at_us"] > end["at_us"] + (STORED_S + TIMEOUT_S) * 1e6)
        with contextlib.closing(store_connection.connect(dsn, name="bench")) as connection:
            cursor = connection.cursor()
            cursor.execute(READ_ROWS, (begin["at_us"] / 1e6, end["at_us"] / 1e6))
            found = [Row(*row) for row in cursor.fetchall()]
    spent = (end["cpu_s"] - begin["cpu_s"]) / ((end["at_us"] - begin["at_us"]) / 1e6)
    print(f"{len(specs)} endpoints: {len(found)} rows in {seconds:g} s, {spent:.0%} of the core")
    return found


def errors(rows: Sequence[Row], words: str) -> float:
    """Print the errors of the good ones, in ms; give that at p99."""
    good = [row for row in rows if row.name.startswith("good")]
    up = [row for row in good if row.status == "up"]
    error_ms = sorted((row.latency_us - DELAY_US) / 1e3 for row in up)
    lag_ms = sorted(row.lag_us / 1e3 for row in up)
    p99 = _at(error_ms, 99)
    others = Counter((row.status, row.reason) for row in good if row.status != "up")
    print(f"  good ones {words}: error p50 {_at(error_ms, 50):.2f}, p99 {p99:.2f}, max {error_ms[-1]:.2f} ms;"
          f" lag p99 {_at(lag_ms, 99):.2f} ms; {len(up)} up, {dict(others) or 'none else'}")  # fmt: skip
    return p99


def not_up(rows: Sequence[Row]) -> float:
    """Give the share of the good ones' checks that were missed or down."""
    good = [row for row in rows if row.name.startswith("good")]
    return sum(row.status != "up" for row in good) / len(good)


def _at(ordered: Sequence[float], percent: int) -> float:
    return ordered[(len(ordered) - 1) * percent // 100]


def judge(rows: Sequence[Row], names: set[str]) -> list[str]:
    """Print what is wrong with the rows of the bad ones."""
    bad = [row for row in rows if row.name in names]
    silent = names - {row.name for row in bad}
    mistakes = sorted({text for row in bad if (text := wrong(row))} | {f"{name}: no row" for name in silent})
    overload = sum(row.reason == "overload" for row in bad)
    print(f"{len(names)} bad endpoints, {len(bad)} rows: {len(mistakes)} mistakes, {overload} missed for overload")
    for text in mistakes:
        print(f"  {text}")
    return mistakes


def wrong(row: Row) -> str | None:
    """Say what is wrong with a row, by the table of kinds; a check for which we had no time says nothing of it."""
    _, group, name = row.name.split(" ", 2)
    allowed = {("up", None) if verdict is None else ("down", verdict.value)
               for verdict in (TRAPS if group == "trap" else KINDS)[name].verdicts}  # fmt: skip
    allowed |= {("up", reason) for _, reason in allowed if reason == "body_cap"} | {("missed", "overload")}
    given = row.status, row.reason
    if given not in allowed:
        return f"{row.name}: {given} ({row.detail})"
    if (row.latency_us or 0) > TIMEOUT_S * 1e6:
        return f"{row.name}: {given} after {row.latency_us / 1e6:.2f} s, its deadline is {TIMEOUT_S:g} s"
    return None


if __name__ == "__main__":
    main()
