"""Whether a worker stays as it is: descriptors, threads, memory and connections over a long run at 2,000 checks/s.

    python bench/soak.py                  an hour
    python bench/soak.py --seconds 300    the form for CI

Most endpoints are nginx's, one in twenty over https; one in 400 fails in one of many ways (the bad answers of
`watcher testserver`). A line every ten seconds, and at last a judgement: what was held in the last third of the run is
compared to the third before it. Exit code 1 when something grew, or a check was missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from checks import SERVER, database, worker
from target import Target, nginx

from watcher.config import EndpointSpec
from watcher.testserver.bad import KINDS
from watcher.testserver.process import ServerProcess

INTERVAL_S = 5.0
WARM_S = 20.0
EVERY_S = 10.0
PAGE_BYTES = os.sysconf("SC_PAGESIZE")
SLACK = {"descriptors": 50, "threads": 2, "connections": 50, "rss_mib": 4}  # that the medians of two thirds may differ
MISSED_SHARE_MAX = 0.0001


class Sample(NamedTuple):
    """What a worker held at a moment."""

    at_s: float
    checks: int
    missed: int
    descriptors: int
    threads: int
    connections: int
    rss_mib: float
    waiting_close: int
    lag_p99_ms: float


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rate", type=float, default=2000, help="checks a second")
    options = parser.parse_args()
    os.sched_setaffinity(0, {SERVER})
    with nginx(SERVER) as target, ServerProcess() as hostile:
        specs = endpoints(target, hostile, int(options.rate * INTERVAL_S))
        with database(specs) as (dsn, data_dir), worker(dsn, data_dir) as lines:
            samples = list(watch(lines, len(specs), options.seconds))
    problems = judge(samples)
    print("flat" if not problems else "NOT FLAT: " + "; ".join(problems))
    sys.exit(bool(problems))


def endpoints(target: Target, hostile: ServerProcess, count: int) -> list[EndpointSpec]:
    """Make endpoints: good ones in plain and over TLS, and bad ones that do not wait for their timeout alone."""
    bad = itertools.cycle(f"{hostile.url}/bad/{name}" for name in KINDS)
    secure = {"tls": {"ca": target.ca_file}}
    made = []
    for number in range(count):
        url = next(bad) if number % 400 == 0 else f"{target.https if number % 20 == 1 else target.http}?{number}"
        options = {"regex": "needle"} | (secure if url.startswith("https") else {})
        made.append(EndpointSpec(name=str(number), url=url, interval_s=INTERVAL_S, timeout_s=2.0, options=options))
    return made


def watch(lines: Iterator[dict], count: int, seconds: float) -> Iterator[Sample]:
    """Print a sample now and then, and give it; those of the start, when all is loaded, are left out."""
    begin: dict = {}
    for line in lines:
        if not begin and line["endpoints"] == count:
            begin = line
        if begin and line["at_us"] > begin["at_us"] + WARM_S * 1e6:
            begin = line
            break
    print("".join(f"{name:>14}" for name in Sample._fields))
    next_us = begin["at_us"]
    for line in lines:
        if line["at_us"] < next_us:
            continue
        next_us += int(EVERY_S * 1e6)
        sample = measured(line, begin)
        print("".join(f"{value:>14.10g}" for value in (round(value, 1) for value in sample)), flush=True)
        yield sample
        if line["at_us"] > begin["at_us"] + seconds * 1e6:
            return


def measured(line: dict, begin: dict) -> Sample:
    """Look at a worker from outside."""
    process = Path(f"/proc/{line['pid']}")
    held = [_link(each) for each in (process / "fd").iterdir()]
    status = dict(row.split(":", 1) for row in (process / "status").read_text(encoding="ascii").splitlines())
    sockets = Path("/proc/net/sockstat").read_text(encoding="ascii").split()
    return Sample(
        at_s=(line["at_us"] - begin["at_us"]) / 1e6,
        checks=line["checks"] - begin["checks"],
        missed=line["missed"] - begin["missed"],
        descriptors=len(held),
        threads=int(status["Threads"]),
        connections=sum(each.startswith("socket:") for each in held),
        rss_mib=int((process / "statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES / (1 << 20),
        waiting_close=int(sockets[sockets.index("tw") + 1]),
        lag_p99_ms=line["lag_p99_us"] / 1e3,
    )


def _link(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:  # closed meanwhile
        return ""


def judge(samples: Sequence[Sample]) -> list[str]:
    """Say what grew from the second third of the run to the last."""
    third = len(samples) // 3
    if not third:
        return ["too short to tell"]
    problems = []
    for name, slack in SLACK.items():
        before = statistics.median(getattr(each, name) for each in samples[-2 * third : -third])
        after = statistics.median(getattr(each, name) for each in samples[-third:])
        print(f"{name}: {before:g}, then {after:g}")
        if after > before + slack:
            problems.append(f"{name} grew from {before:g} to {after:g}")
    last = samples[-1]
    if last.missed > MISSED_SHARE_MAX * last.checks:
        problems.append(f"{last.missed} of {last.checks + last.missed} checks were missed")
    return problems


if __name__ == "__main__":
    main()
