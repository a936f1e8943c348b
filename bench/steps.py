"""What steps cost: CPU µs a check of a worker whose endpoints have 0, 1 and 5 steps more, each a bare function.

The steps are those of a plugin that this script registers as a distribution's would be: functions of the response that
look at its status. The rounds alternate; medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from checks import SERVER, watcher
from target import nginx

PLUGIN = '''
from watcher import hookimpl

@hookimpl
def watcher_options():
    return {"bench_steps": int}

@hookimpl
def watcher_steps(endpoint):
    return [lambda response: None if response.status_code else None for _ in range(endpoint.options.get("bench_steps", 0))]
'''


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=20_000, help="each checked every 5 s")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {SERVER})
    spent: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name, nginx(SERVER) as target:
        install(Path(name))
        for _ in range(options.rounds):
            for steps in (0, 1, 5):
                more = {"bench_steps": steps} if steps else {}
                cost, note = watcher(target.http, "", options.endpoints, options.seconds, more)
                spent.setdefault(steps, []).append(cost)
                print(f"{steps} steps more: {cost:.1f} µs a check; {note}", flush=True)
    base = statistics.median(spent[0])
    for steps, values in spent.items():
        print(f"{steps} steps more: {statistics.median(values):.1f} µs ({statistics.median(values) - base:+.1f})")


def install(directory: Path) -> None:
    """Make the plugin known to this process and to the workers that it starts."""
    (directory / "bench_steps.py").write_text(PLUGIN)
    info = directory / "bench_steps-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-steps\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[watcher]\nbench_steps = bench_steps\n")
    os.environ["PYTHONPATH"] = str(directory)
    sys.path.insert(0, str(directory))


if __name__ == "__main__":
    main()
