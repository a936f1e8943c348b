"""A process and those that it started."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path


def processes_of(pid: int) -> list[int]:
    """Give a process and its children, the process first."""
    found = [pid]
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if f"\nPPid:\t{pid}\n" in status.read_text(encoding="utf-8"):
                found.append(int(status.parent.name))
    return found


def tell(processes: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those that are still there: a server's own workers come and go."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
