"""How long the hub of a worker with very many endpoints stands still, and how much of that is garbage collection.

The worker is the real one, with a PostgreSQL and nginx; two things are put into its process before it starts: the
collector's callbacks, which time each collection, and a greenlet that wants a turn every millisecond, and notes how
late it gets one. What happens while the endpoints are loaded is left out. Exit code 1 when a collection took longer
than the budget.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
TICK_S = 0.001
NOTED_S = 0.0005  # shorter pauses are not written down
WARM_S = 10.0


def main() -> None:
    """Measure, print and judge; or be the worker."""
    if sys.argv[1:2] == ["--inside"]:
        inside(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoints", type=int, default=100_000)
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between the checks of an endpoint")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--budget", type=float, default=2.0, help="ms that a collection may take")
    options = parser.parse_args()

    begin, end, pauses = measure(options.endpoints, options.interval, options.seconds)
    window = begin["at_us"] / 1e6, end["at_us"] / 1e6
    rate = (end["checks"] - begin["checks"]) / (window[1] - window[0])
    print(f"{options.endpoints} endpoints, {rate:.0f} checks/s, {options.seconds:g} s after loading")
    longest_ms = report([pause for pause in pauses if window[0] < pause["at"] < window[1]])
    sys.exit(longest_ms > options.budget)


def measure(count: int, interval_s: float, seconds: float) -> tuple[dict, dict, list[dict]]:
    """Run a worker; give its first and last line of state and what was noted in it."""
    from checks import SERVER, database, worker
    from scale import specs
    from target import nginx

    os.sched_setaffinity(0, {SERVER})
    with nginx(SERVER) as target, database(specs(target, count, interval_s)) as (dsn, data_dir):
        noted = data_dir.parent / "pauses"
        program = str(HERE / "pauses.py"), "--inside", str(noted)
        with worker(dsn, data_dir, program=program) as lines:
            begin = next(line for line in lines if line["endpoints"] == count)
            begin = next(line for line in lines if line["at_us"] > begin["at_us"] + WARM_S * 1e6)
            end = next(line for line in lines if line["at_us"] > begin["at_us"] + seconds * 1e6)
        return begin, end, [json.loads(line) for line in noted.read_text(encoding="ascii").splitlines()]


def report(pauses: list[dict]) -> float:
    """Print the longest pauses; give the longest of the collector's, in ms."""
    longest_ms = 0.0
    for generation in range(3):
        took = sorted(pause["s"] * 1e3 for pause in pauses if pause["kind"] == f"gc{generation}")
        longest_ms = max([longest_ms, *took[-1:]])
        most = f"longest {took[-1]:.2f} ms" if took else "none"
        print(f"  collections of generation {generation}: {len(took)}, {most}")
    late = sorted(pause["s"] * 1e3 for pause in pauses if pause["kind"] == "late")
    worst = ", ".join(f"{value:.1f}" for value in late[-5:][::-1]) or "none"
    print(f"  turns of the hub late by more than {NOTED_S * 1e3:g} ms: {len(late)}; the longest: {worst} ms")
    return longest_ms


def inside(noted: Path) -> None:
    """Be a worker that writes its pauses down."""
    from watcher import green

    green.patch()
    import gc

    import gevent

    from watcher import worker

    out = noted.open("w", encoding="ascii", buffering=1)
    began = [0.0]

    def collecting(phase: str, about: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            began[0] = now
        else:
            note(f"gc{about['generation']}", now - began[0])

    def note(kind: str, seconds: float) -> None:
        out.write(json.dumps({"at": time.time(), "kind": kind, "s": seconds}) + "\n")

    def tick() -> None:
        while True:
            wanted = time.perf_counter() + TICK_S
            gevent.sleep(TICK_S)
            late_s = time.perf_counter() - wanted
            if late_s > NOTED_S:
                note("late", late_s)

    gc.callbacks.append(collecting)
    gevent.spawn(tick)
    worker.main()


if __name__ == "__main__":
    main()
