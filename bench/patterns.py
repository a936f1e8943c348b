"""What patterns do to the endpoints beside them: the latency of plain endpoints, without patterns and with them.

One worker checks plain endpoints (1 KB) beside endpoints with pages of 200 KB, every 60 s each. The arms alternate: the
long pages without a pattern, with a costly one that every page holds, and with a few endpoints more whose pattern is
catastrophic. Of the plain endpoints' rows in `metrics` the percentiles are printed; the shift is between medians of
rounds. nginx and PostgreSQL have a core, nginx at real-time priority; the worker may use both.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
from typing import Any

from checks import SERVER, database, worker
from target import Target, nginx

from watcher.config import EndpointSpec
from watcher.store import connection as store_connection

INTERVAL_S = 60.0
COSTLY = (
    r"(?=^.*you.*welcome)(?!.*forbidden).*\b(?:[a-zA-Z]{3,6}\s?){2,4}\b(?<=\b[a-zA-Z]+\b)\s\d{1,3}(?<!100|200)"
    r"\s(?:at|on)\s[0-9]{2}:[0-9]{2}(?=\s(?:AM|PM)$)"
)
CATASTROPHIC = r"(([a-z])+.)+[A-Z]([a-z])+$"
HELD = "thank you and welcome dear friend 42 at 10:30 AM"
WORDS = "the quick brown fox jumps over a lazy dog class div span href you are welcome forbidden 12 7".split()
PERCENTILES = """
    SELECT count(*), percentile_cont(array[0.5, 0.99, 1.0]) WITHIN GROUP (ORDER BY latency_us / 1000.0)
      FROM metrics JOIN endpoints ON endpoints.id = endpoint_id
     WHERE name LIKE 'plain %%' AND status = 'up' AND time BETWEEN to_timestamp(%s) AND to_timestamp(%s)
"""
VERDICTS = """
    SELECT split_part(name, ' ', 1), metrics.status::text, coalesce(reason::text, ''), count(*)
      FROM metrics JOIN endpoints ON endpoints.id = endpoint_id
     WHERE time BETWEEN to_timestamp(%s) AND to_timestamp(%s) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=5000, help="plain ones, and as many with long pages")
    parser.add_argument("--hostile", type=int, default=20, help="endpoints with the catastrophic pattern")
    parser.add_argument("--seconds", type=float, default=60, help="of a window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=["none", "costly", "catastrophic"])
    options = parser.parse_args()
    os.sched_setaffinity(0, {SERVER})
    pages = {"long.html": long_page(), "letters.html": "a" * 4000}
    arms = {
        "none": ({}, 0),
        "costly": ({"regex": COSTLY}, 0),
        "catastrophic": ({"regex": COSTLY}, options.hostile),
    }
    p99: dict[str, list[float]] = {}
    with nginx(SERVER, pages) as target:
        for _ in range(options.rounds):
            for arm in options.arms:
                long, hostile = arms[arm]
                p99.setdefault(arm, []).append(
                    measure(arm, specs(target, options.endpoints, long, hostile), options.seconds)
                )
    base = statistics.median(p99["none"])
    for arm, values in p99.items():
        median = statistics.median(values)
        print(f"{arm}: p99 of plain endpoints {median:.2f} ms, {median - base:+.2f} ms")


def long_page() -> str:
    """Make 200 KB of lines of words, the last of which the costly pattern finds."""
    rng = random.Random(7)
    lines = [" ".join(rng.choices(WORDS, k=rng.randint(5, 20))) for _ in range(3500)]
    return "\n".join(lines)[:200_000] + f"\n{HELD}\n"


def specs(target: Target, count: int, long: dict[str, Any], hostile: int) -> list[EndpointSpec]:
    """Make the endpoints of an arm."""
    kinds: list[tuple[str, str, int, dict[str, Any]]] = [
        ("plain", "", count, {}),
        ("long", "long.html", count, long),
        ("hostile", "letters.html", hostile, {"regex": CATASTROPHIC}),
    ]
    return [
        EndpointSpec(
            name=f"{kind} {number}",
            url=f"{target.http}{page}?{number}",
            interval_s=INTERVAL_S,
            timeout_s=10.0,
            options=more,
        )
        for kind, page, many, more in kinds
        for number in range(many)
    ]


def measure(arm: str, endpoints: list[EndpointSpec], seconds: float) -> float:
    """Run one arm, print what it did, and give the p99 of the plain endpoints in milliseconds."""
    with database(endpoints) as (dsn, data_dir), worker(dsn, data_dir, pinned=False) as lines:
        begin = next(line for line in lines if line["endpoints"] == len(endpoints))
        begin = next(line for line in lines if line["at_us"] > begin["at_us"] + INTERVAL_S * 1e6)
        seen = []
        for line in lines:
            seen.append(line)
            if line["at_us"] > begin["at_us"] + seconds * 1e6:
                break
        window = begin["at_us"] / 1e6, seen[-1]["at_us"] / 1e6 - 3  # the last rows are still on their way
        count, (p50, p99, worst), verdicts = read(dsn, window)
    cpu = (seen[-1]["cpu_s"] - begin["cpu_s"]) * 1e6 / (seen[-1]["at_us"] - begin["at_us"])
    lag = statistics.median(line["lag_p99_us"] for line in seen) / 1e3
    print(f"{arm}: {count} plain checks, latency p50 {p50:.2f}, p99 {p99:.2f}, worst {worst:.2f} ms; "
          f"lag p99 {lag:.1f} ms; CPU {cpu:.0%}; {verdicts}", flush=True)  # fmt: skip
    return p99


def read(dsn: str, window: tuple[float, float]) -> tuple[int, list[float], str]:
    """Give the number of plain checks in a window, their percentiles in ms, and every kind's verdicts."""
    with contextlib.closing(store_connection.connect(dsn, name="bench")) as connection:
        cursor = connection.cursor()
        cursor.execute(PERCENTILES, window)
        count, percentiles = cursor.fetchone()
        cursor.execute(VERDICTS, window)
        return count, percentiles, ", ".join(" ".join(map(str, row)) for row in cursor)


if __name__ == "__main__":
    main()
