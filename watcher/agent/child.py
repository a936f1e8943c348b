"""One worker process and all its lives: starts it, reads what it says, knows when it may start again.

Standard library only. It never decides that the agent ends: `watcher.agent.supervisor` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LINE_BYTES = 1 << 20
PIPE_BYTES = 1 << 20  # a worker must not wait for a supervisor that is busy; at 20 KB a second this is 50 s


@dataclass(frozen=True)
class Limits:
    """How long the supervisor waits for what, in seconds."""

    drain_s: float = 15.0  # from SIGTERM to SIGKILL
    hang_s: float = 30.0  # without a status line, once there was one
    boot_s: float = 600.0  # to the first status line: a million plans take minutes
    backoff_min_s: float = 0.5
    backoff_max_s: float = 30.0
    healthy_s: float = 60.0  # a life this long forgives those before it


class Lines:
    """Splits what a pipe gives into lines, in bounded memory: a line over the limit is dropped, and counted."""

    def __init__(self, limit_bytes: int = LINE_BYTES) -> None:
        self._limit = limit_bytes
        self._rest = b""
        self._skipping = False
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read and give the lines that are whole now, without their ends."""
        *lines, rest = (self._rest + data).split(b"\n")
        if self._skipping and lines:
            del lines[0]
            self._skipping = False
        if len(rest) > self._limit and not self._skipping:
            self.dropped += 1
            self._skipping = True
        self._rest = b"" if self._skipping else rest
        return lines


class Child:
    """A worker by its index. All times are on the clock of `time.monotonic`, given by the caller.

    Args:
        command: the program to run and its arguments.
        job: the object that becomes the first line of its standard input.
        limits: when it hangs and how soon it starts again.
    """

    def __init__(self, command: Sequence[str], job: Mapping[str, Any], limits: Limits) -> None:
        self.index: int = job["index"]
        self.retry_at: float | None = 0.0
        self.spoke = False  # said a status line in this life
        self.texts = 0  # lines of its log since the supervisor last looked
        self._command = list(command)
        self._job = json.dumps(job).encode() + b"\n"
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: dict[int, Lines] = {}
        self._started_at = self._heard_at = 0.0
        self._failures = 0
        self.killed = False

    @property
    def pid(self) -> int | None:
        """The process id of this life; None between two."""
        return self._process.pid if self._process else None

    def start(self, now: float) -> tuple[int, int]:
        """Start a life and return the descriptors to read from: its standard output, then its standard error."""
        with _blocked(signal.SIGINT, signal.SIGHUP):
            process = subprocess.Popen(  # pylint: disable=consider-using-with  # it outlives this function
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ,  # all of it: from our own libpq a part is hidden
            )
        self._process, self.retry_at = process, None
        self._started_at = self._heard_at = now
        self.spoke = self.killed = False
        with contextlib.suppress(BrokenPipeError):  # it died at once: its exit code tells
            process.stdin.write(self._job)
            process.stdin.flush()
        pipes = process.stdout.fileno(), process.stderr.fileno()
        self._lines = {fd: Lines() for fd in pipes}
        for fd in pipes:
            os.set_blocking(fd, False)
            with contextlib.suppress(AttributeError, OSError):  # Linux only, and an ordinary user has a quota
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return pipes

    def read(self, fd: int) -> list[bytes] | None:
        """Read once from one of its descriptors and return the whole lines; None when there is nothing to read."""
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return None
        return self._lines[fd].feed(data) if data else None

    def heard(self, now: float) -> None:
        """Note that a status line came."""
        self._heard_at, self.spoke = now, True

    def forgive(self, gap_s: float) -> None:
        """Do not count a time in which the supervisor itself did not run."""
        self._heard_at += gap_s

    def hangs(self, now: float) -> float | None:
        """Return for how many seconds it has been silent, if that is too long."""
        silent_s = now - self._heard_at
        return silent_s if silent_s > (self._limits.hang_s if self.spoke else self._limits.boot_s) else None

    def terminate(self) -> None:
        """Ask it to drain and end."""
        if self._process:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once; what it held in memory is lost."""
        if self._process:
            self._process.kill()
            self.killed = True

    def ended(self) -> int | None:
        """Return its exit code when it has ended, as `subprocess` gives it: negative for a signal."""
        return self._process.poll() if self._process else None

    def bury(self, now: float) -> float:
        """Close what belongs to the life that ended; return as `postpone` does."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(BrokenPipeError):  # the job that it never read is still in the writer
                pipe.close()
        self._process = None
        return self.postpone(now)

    def postpone(self, now: float) -> float:
        """Count a life that ended, or could not begin; return after how many seconds the next one may start."""
        if self.spoke and now - self._started_at >= self._limits.healthy_s:
            self._failures = 0
        delay_s = min(self._limits.backoff_min_s * 2 ** min(self._failures, 30), self._limits.backoff_max_s)
        self._failures += 1
        self.retry_at = now + delay_s
        return delay_s


@contextlib.contextmanager
def _blocked(*numbers: signal.Signals) -> Iterator[None]:
    """Keep signals from what is started meanwhile: a terminal sends them to the whole group, the supervisor answers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
