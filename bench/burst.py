"""What five hundred https checks that are due at one moment do to the plain ones beside them, on one worker.

Plain endpoints are the exact server's of `accuracy.py`, which answers after 5 ms; https ones are nginx's, every 6 s and
all in one phase. Two arms: the worker as it is, and one without the turnstile (`watcher/transport/turnstile.py`), which
lets all handshakes compute whenever their bytes have come. The error of a plain check is the latency that was reported
minus the delay; "near a burst" are those that began within a second of one. Exit code 1 when the error of the plain
ones near a burst is over the budget at p99 for the worker as it is.

    python bench/burst.py                    two minutes
    python bench/burst.py --plain 2000 --seconds 12
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
BURST_S = 6.0  # the interval of the https endpoints, and of nobody else
NEAR_S = 1.0
TIMEOUT_S = 5.0
ARMS = {"as it is": "with", "without the turnstile": "without"}


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inside", choices=ARMS.values(), help=argparse.SUPPRESS)
    parser.add_argument("--plain", type=int, default=15_000, help="plain endpoints, each checked every 5 s")
    parser.add_argument("--https", type=int, default=500, help="https endpoints, all at one moment every 6 s")
    parser.add_argument("--seconds", type=float, default=30, help="of each arm")
    parser.add_argument("--budget", type=float, default=1.0, help="ms that the p99 of the error may be")
    options = parser.parse_args()
    if options.inside:
        inside(turnstile=options.inside == "with")
        return

    from accuracy import exact_server
    from checks import SERVER
    from hostile import INTERVAL_S, run
    from target import nginx

    os.sched_setaffinity(0, {SERVER})
    with exact_server() as server, nginx(SERVER) as target:
        secure = {"tls": {"ca": target.ca_file}}
        specs = [_spec(f"plain {n}", f"{server.url('http', 5_000)}?{n}", INTERVAL_S, {}) for n in range(options.plain)]
        specs += [_spec(f"https {n}", f"{target.https}?{n}", BURST_S, secure) for n in range(options.https)]
        p99_ms = {}
        for arm, inside_as in ARMS.items():
            print(f"{arm}: ", end="", flush=True)
            p99_ms[arm] = tell(run(specs, options.seconds, (str(HERE / "burst.py"), "--inside", inside_as)))
    fits = p99_ms["as it is"] <= options.budget
    print(f"error of the plain ones near a burst, budget {options.budget:g} ms: {'met' if fits else 'MISSED'}")
    sys.exit(not fits)


def _spec(name: str, url: str, interval_s: float, options: dict):  # type: ignore[no-untyped-def]  # imported late
    from watcher.config import EndpointSpec

    return EndpointSpec(name=name, url=url, interval_s=interval_s, timeout_s=TIMEOUT_S, options=options)


def tell(rows: Sequence) -> float:
    """Print the figures of an arm, in ms; give the p99 of the error of the plain checks near a burst."""
    plain = [row for row in rows if row.name.startswith("plain")]
    near = [row for row in plain if row.at_s % BURST_S < NEAR_S]
    told = {"plain": plain, "plain near a burst": near, "https": [row for row in rows if row.name.startswith("https")]}
    worst_ms = 0.0
    print(f"{'':20}{'error p50':>10}{'p99':>8}{'p99.9':>8}{'max':>8}{'lag p99':>9}{'max':>8}{'late p99':>9}{'max':>8}")
    for name, some in told.items():
        up = [row for row in some if row.status == "up"]
        error = sorted(row.latency_us / 1e3 - 5 for row in up)
        lag, late = sorted(row.lag_us / 1e3 for row in up), sorted(row.late_us / 1e3 for row in up)
        shown = [_at(error, 500), _at(error, 990), _at(error, 999), error[-1]] if name != "https" else []
        cells = "".join(f"{value:8.2f}" for value in shown) if shown else " " * 32
        times = f"{_at(lag, 990):9.2f}{lag[-1]:8.2f}{_at(late, 990):9.2f}{late[-1]:8.2f}"
        others = Counter((row.status, row.reason) for row in some if row.status != "up")
        print(f"{name:20}  {cells}{times}  {len(up)} up, {dict(others) or 'none else'}", flush=True)
        if name == "plain near a burst":
            worst_ms = _at(error, 990)
    return worst_ms


def _at(ordered: Sequence[float], permille: int) -> float:
    return ordered[(len(ordered) - 1) * permille // 1000]


def inside(turnstile: bool) -> None:
    """Be a worker whose https endpoints are all due at one moment."""
    from watcher import green

    green.patch()
    from watcher import schedule, worker
    from watcher.transport.turnstile import Turnstile

    spread = schedule.phase_us

    def phase_us(endpoint_id: int, location: str, interval_us: int) -> int:
        return 0 if interval_us == int(BURST_S * 1e6) else spread(endpoint_id, location, interval_us)

    schedule.phase_us = phase_us
    if not turnstile:
        Turnstile.begin = Turnstile.go_on = lambda self: None  # type: ignore[method-assign]
    worker.main()


if __name__ == "__main__":
    main()
