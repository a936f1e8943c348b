"""Tells a container's health: whether a worker is at work under its supervisor. Standard library only: it costs 20 ms.

The supervisor is the container's process, so its end needs no check; it kills a worker that says nothing for 30 s, so a
worker that lives is one that reports. The database is not asked: while it is away results go to the spool, and
restarting a container would not bring it back.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

WORKER = ["-m", "watcher.worker"]  # as the supervisor starts it
SETTLED_S = 3.0  # one that cannot work dies sooner
IDLE_STATES = frozenset("ZXTt")  # proc(5): zombie, dead, stopped, traced


def main(proc: Path) -> int:
    """Print what there is and return the exit code that Docker asks for: 0 healthy, 1 not."""
    ages = [age_s for age_s in _ages(proc) if age_s >= SETTLED_S]
    if not ages:
        print("no worker is at work: the agent waits for its database, or its workers die; see the log")
        return 1
    print(f"{len(ages)} worker{'s' * (len(ages) != 1)} at work, the longest for {max(ages):.0f} s")
    return 0


def _ages(proc: Path) -> list[float]:
    """Give for how many seconds each worker runs that is not idle, and whose supervisor is not."""
    uptime_s = float((proc / "uptime").read_text(encoding="ascii").split()[0])
    ages = []
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            arguments = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if arguments[1:3] != WORKER:
                continue
            state, parent, *_ = fields = _fields(directory)
            if state not in IDLE_STATES and _fields(proc / parent)[0] not in IDLE_STATES:
                ages.append(uptime_s - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
        except OSError:  # it ended meanwhile
            continue
    return ages


def _fields(directory: Path) -> list[str]:
    """Give the fields of /proc/PID/stat from the third on, the state; the name before it may hold anything."""
    return (directory / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2] or ("/proc",))))
