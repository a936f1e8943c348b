"""What one worker holds: checks missed at 10,000 endpoints every 5 s, and the memory of an endpoint that waits.

Memory is the growth of the worker's resident set from a thousand endpoints to a hundred thousand more, each with a
name, a URL and a pattern of its own kind, checked every 300 s; read when all are loaded.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from checks import SERVER, database, worker
from target import Target, nginx

from watcher.config import EndpointSpec

WARM_S = 10.0
LOAD_S = 300.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=10_000, help="each checked every 5 s")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--idle", type=int, default=100_000, help="endpoints more, for the memory")
    options = parser.parse_args()
    os.sched_setaffinity(0, {SERVER})
    with nginx(SERVER) as target:
        rate(target, options.endpoints, options.seconds)
        memory(target, options.idle)


def specs(target: Target, count: int, interval_s: float) -> list[EndpointSpec]:
    """Make endpoints."""
    return [
        EndpointSpec(
            name=f"site {number}",
            url=f"{target.http}?{number}",
            interval_s=interval_s,
            timeout_s=5.0,
            options={"regex": "needle"},
        )
        for number in range(count)
    ]


def rate(target: Target, count: int, seconds: float) -> None:
    """Check many endpoints often, and say what was missed and how late checks were."""
    with database(specs(target, count, 5.0)) as (dsn, data_dir), worker(dsn, data_dir) as lines:
        begin = next(line for line in lines if line["endpoints"] == count)
        until = begin["at_us"] + (WARM_S + seconds) * 1e6
        begin = next(line for line in lines if line["at_us"] > begin["at_us"] + WARM_S * 1e6)
        seen = []
        for line in lines:
            seen.append(line)
            if line["at_us"] >= until:
                break
    end = seen[-1]
    took_s = (end["at_us"] - begin["at_us"]) / 1e6
    print(f"{count} endpoints every 5 s on one worker, {took_s:.0f} s")
    print(f"  checks/s {(end['checks'] - begin['checks']) / took_s:.0f}, missed {end['missed'] - begin['missed']}")
    print(f"  CPU of the core {(end['cpu_s'] - begin['cpu_s']) / took_s:.0%}")
    for key, word in (("late_p99_us", "late"), ("lag_p99_us", "lag"), ("latency_p99_us", "latency")):
        values = sorted(line[key] / 1e3 for line in seen)
        print(f"  {word} p99 of a second: median {values[len(values) // 2]:.1f} ms, worst {values[-1]:.1f} ms")
    print(f"  stored {end['stored']} of {end['checks'] + end['missed']}, dropped {end['dropped']}", flush=True)


def memory(target: Target, count: int) -> None:
    """Say what an endpoint weighs."""
    few, many = resident_bytes(target, 1000), resident_bytes(target, 1000 + count)
    print(f"memory of an idle endpoint: {(many - few) / count:.0f} bytes ({few >> 20} MiB to {many >> 20} MiB)")


def resident_bytes(target: Target, count: int) -> int:
    """Give the resident set of a worker that has loaded its endpoints."""
    began = time.monotonic()
    with database(specs(target, count, 300.0)) as (dsn, data_dir), worker(dsn, data_dir) as lines:
        for line in lines:
            if line["endpoints"] == count:
                statm = Path(f"/proc/{line['pid']}/statm").read_text(encoding="ascii")
                return int(statm.split()[1]) * os.sysconf("SC_PAGESIZE")
            if time.monotonic() - began > LOAD_S:
                break
    raise SystemExit(f"{count} endpoints were not loaded in {LOAD_S:.0f} s")


if __name__ == "__main__":
    main()
