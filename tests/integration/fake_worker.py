"""A worker that probes nothing: it speaks the supervisor's protocol and misbehaves as its job says (`fake`)."""

import json
import os
import select
import signal
import sys
import time
from typing import Any

TERMINATED: list[bool] = []


def say(job: dict[str, Any], **more: Any) -> None:
    """Write one status line."""
    line = {"worker": job["index"], "pid": os.getpid(), "at_us": time.time_ns() // 1000, "endpoints": 3, **more}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def dies(job: dict[str, Any]) -> None:
    """One line, then a crash."""
    say(job)
    sys.exit(7)


def refuses(_job: dict[str, Any]) -> None:
    """Cannot start at all."""
    print("the port is taken", file=sys.stderr, flush=True)
    sys.exit(3)


def hangs(job: dict[str, Any]) -> None:
    """One line, then silence."""
    say(job)
    while True:
        time.sleep(60)


def floods(job: dict[str, Any]) -> None:
    """More than anyone can read: lines, text without an end, both streams."""
    while not TERMINATED:
        say(job, changes=["x" * 1000] * 20)
        sys.stdout.write("y" * 300_000)
        sys.stdout.write("\nnot a status\n")
        print("z" * 1000, file=sys.stderr)


def stubborn(job: dict[str, Any]) -> None:
    """Takes no notice of SIGTERM."""
    while True:
        say(job, buffered=12)
        time.sleep(0.05)


def steady(job: dict[str, Any]) -> None:
    """What a worker should do: a line a moment, until SIGTERM or the end of its standard input."""
    while not TERMINATED:
        say(job, environment=sorted(os.environ))
        if select.select([sys.stdin], [], [], 0.05)[0]:
            break
    say(job, drained=True)


def starts(_job: dict[str, Any]) -> None:
    """Is still busy loading, and takes no care of signals yet."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("loading", file=sys.stderr, flush=True)
    time.sleep(60)


def main() -> None:
    """Read the job and behave as it says."""
    signal.signal(signal.SIGTERM, lambda *_: TERMINATED.append(True))
    job = json.loads(sys.stdin.readline())
    globals()[job["fake"]](job)


main()
