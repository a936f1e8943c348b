"""The processes of an agent: starts workers, restarts what dies, reloads, drains, reaps. Standard library only.

One loop on one selector, in the main thread, never waits for anything else: signal handlers only queue a signal, and
what may take its time (the database, a reload) is a chore of one other thread. It never monkey-patches.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from watcher.agent.child import Child, Limits
from watcher.agent.chores import Chores
from watcher.agent.reaper import Reaper
from watcher.agent.signals import Signals
from watcher.errors import BOOT_FAILED, OTHER_DATABASE, WatcherError

TICK_S = 0.5
TEXTS_A_SECOND = 200  # of a worker's log; more is a flood
TEXT_BYTES = 4096
LAST_WORDS = 64  # reads, of 64 KiB at most
GAP_S = 5.0  # between two rounds of the loop: then it was us who did not run
GIVE_UP_S = 5.0  # for a chore that waits in a system call
WORKER_COMMAND = (sys.executable, "-m", "watcher.worker")


class Duties(Protocol):
    """What the supervisor asks of the one who runs it. The first three are chores: they run in the other thread."""

    def prepare(self) -> Sequence[Mapping[str, Any]]:
        """Make everything ready and give the workers' jobs, one each; what it raises ends the run."""

    def reload(self) -> None:
        """Answer a SIGHUP, or that a worker met another database."""

    def ensure(self) -> None:
        """Keep alive what the workers need; called each second."""

    def give_up(self) -> None:
        """Make a chore that waits end soon: the agent stops."""

    def terminal_gone(self) -> bool:
        """Tell whether the terminal we ran on went away: a SIGHUP is then an end, not a reload."""

    def hear(self, line: Mapping[str, Any]) -> None:
        """Receive the status line of a worker."""

    def lost(self, index: int) -> str:
        """Forget a worker that died; say what went with it, as the rest of a sentence."""

    def tick(self) -> None:
        """Do what is due on the screen; called twice a second or more often."""

    def say(self, text: str) -> None:
        """Tell the operator one line."""


class Supervisor:
    """Runs workers until a signal ends it.

    Args:
        duties: who prepares, reloads and shows.
        signals: the queue, entered by the caller so that it covers what comes before and after.
        command: the worker's program.
        limits: how long to wait for what.
        reap: wait for orphans of other processes too; by default when this is process 1.
    """

    def __init__(
        self,
        duties: Duties,
        signals: Signals,
        *,
        command: Sequence[str] = WORKER_COMMAND,
        limits: Limits = Limits(),
        reap: bool | None = None,
    ) -> None:
        self._duties = duties
        self._signals = signals
        self._command = command
        self._limits = limits
        self._reaper = Reaper() if (os.getpid() == 1 if reap is None else reap) else None
        self._children: list[Child] = []
        self._chores = Chores(signals.wake)
        self._selector = selectors.DefaultSelector()
        self._failure: Exception | None = None
        self._said: dict[str, str] = {}
        self._stopping_at: float | None = None
        self._deadline = 0.0
        self._quiet_at = math.inf
        self._clean = True
        self._reload_again = False

    def run(self) -> int:
        """Run until a signal, or until workers cannot start; return 0 when every worker drained, else 1.

        Raises:
            WatcherError: what `prepare` raised, or that a worker cannot start.
        """
        self._selector.register(self._signals, selectors.EVENT_READ)
        self._chores.add("prepare", self._duties.prepare)
        seen_at = second_at = time.monotonic()
        with self._selector:
            while not self._over(seen_at):
                self._listen()
                now = time.monotonic()
                self._notice_gap(now - seen_at)
                seen_at = now
                self._take_outcomes()
                self._attend(now)
                if now >= second_at:
                    second_at = now + 1.0
                    self._each_second()
                self._duties.tick()
        if self._failure:
            raise self._failure
        return 0 if self._clean else 1

    def _over(self, now: float) -> bool:
        """Tell whether the run has come to its end."""
        if self._stopping_at is None:
            return False
        if self._alive():  # even SIGKILL waits for a disk; we do not
            return now >= self._deadline + GIVE_UP_S
        self._quiet_at = min(self._quiet_at, now)
        return not self._chores.pending or now >= self._quiet_at + GIVE_UP_S

    def _listen(self) -> None:
        """Wait for a tick at most, then take in signals and what workers say."""
        for key, _ in self._selector.select(TICK_S):
            if key.fileobj is self._signals:
                for number in self._signals.take():
                    self._answer(number)
            elif key.fd in self._selector.get_map() and not self._read(key):
                self._selector.unregister(key.fd)

    def _answer(self, number: int) -> None:
        """Do what a signal asks; SIGCHLD only had to wake us."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop(signal.Signals(number).name)
        elif number == signal.SIGHUP and self._stopping_at is None:
            if self._duties.terminal_gone():
                self._stop("the terminal is gone")
            else:
                self._reload()

    def _reload(self) -> None:
        """Have a reload made, after one that is at work."""
        self._reload_again = not self._chores.add("reload", self._duties.reload)

    def _read(self, key: selectors.SelectorKey) -> bool:
        """Take in what a worker's pipe holds; False when that is nothing."""
        child, is_output = key.data
        lines = child.read(key.fd)
        for line in lines or ():
            status = _status(line) if is_output else None
            if status is not None:
                child.heard(time.monotonic())
                self._duties.hear(status)
            elif line.strip():  # a log line, or what a plugin prints
                child.texts += 1
                if child.texts <= TEXTS_A_SECOND:
                    self._duties.say(f"worker {child.index}: {line[:TEXT_BYTES].decode(errors='replace')}")
        return lines is not None

    def _notice_gap(self, gap_s: float) -> None:
        """After a time in which we did not run (stopped, frozen), do not say that workers hung."""
        if gap_s > GAP_S:
            for child in self._children:
                child.forgive(gap_s)

    def _take_outcomes(self) -> None:
        for name, value, error in self._chores.outcomes():
            if name == "prepare":
                self._prepared(value, error)
            elif error is None:
                self._said.pop(name, None)
            elif self._said.get(name) != str(error):  # `ensure` may fail each second in the same way
                self._said[name] = str(error)
                self._duties.say(f"{name}: {error if isinstance(error, WatcherError) else repr(error)}")
            if name == "reload" and self._reload_again:
                self._reload()

    def _prepared(self, jobs: Sequence[Mapping[str, Any]] | None, error: Exception | None) -> None:
        if self._stopping_at is not None:
            return
        if error:
            self._fail(error)
        else:
            self._children = [Child(self._command, job, self._limits) for job in jobs or ()]

    def _attend(self, now: float) -> None:
        """Give each worker what it needs: a burial, a start, an end."""
        for child in self._children:
            code = child.ended()
            if code is not None:
                self._bury(child, code, now)
            elif child.pid is None:
                if self._stopping_at is None and now >= child.retry_at:
                    self._start(child, now)
            elif self._stopping_at is not None and now >= self._deadline:
                self._kill(child, f"has not drained within {now - self._stopping_at:.1f} s and is killed")
            elif silent_s := child.hangs(now):
                self._kill(child, f"hangs: no word for {silent_s:.0f} s; it is killed")

    def _start(self, child: Child, now: float) -> None:
        try:
            pipes = child.start(now)
        except OSError as error:
            delay_s = child.postpone(now)
            self._duties.say(f"worker {child.index} cannot be started: {error}; next attempt in {delay_s:g} s")
            return
        for position, fd in enumerate(pipes):
            self._selector.register(fd, selectors.EVENT_READ, (child, position == 0))

    def _bury(self, child: Child, code: int, now: float) -> None:
        """Close a life: its last words, what it took along, and when the next one begins."""
        pid = child.pid
        for key in [key for key in self._selector.get_map().values() if key.data and key.data[0] is child]:
            for _ in range(LAST_WORDS):  # bounded: a descendant of it may go on writing
                if not self._read(key):
                    break
            self._selector.unregister(key.fd)
        delay_s = child.bury(now)
        who = f"worker {child.index} (pid {pid}) {_describe(code)}"
        lost = self._duties.lost(child.index)
        if self._stopping_at is not None:
            had_nothing = code == -signal.SIGTERM and not child.spoke  # it was still starting
            if code != 0 and not had_nothing:
                self._clean = False
                self._duties.say(f"{who} before it had drained{lost}")
        elif code == BOOT_FAILED:
            self._fail(WatcherError(f"worker {child.index} cannot start; the lines above say why"))
        else:
            self._duties.say(f"{who}{lost}; a new one starts in {delay_s:g} s")
            if code == OTHER_DATABASE:  # in which the endpoints of the file may not be
                self._reload()

    def _kill(self, child: Child, why: str) -> None:
        if not child.killed:
            self._duties.say(f"worker {child.index} (pid {child.pid}) {why}")
            child.kill()

    def _stop(self, why: str) -> None:
        """Begin to drain; asked again, end the patience."""
        now = time.monotonic()
        if self._stopping_at is None:
            self._stopping_at, self._deadline = now, now + self._limits.drain_s
            self._duties.give_up()
            if alive := self._alive():
                self._duties.say(f"{why}: draining, {self._limits.drain_s:g} s at most")
            for child in alive:
                child.terminate()
        elif now - self._stopping_at > TICK_S:  # one keystroke may come twice: from the terminal and from a wrapper
            self._deadline = min(self._deadline, now)

    def _alive(self) -> list[Child]:
        return [child for child in self._children if child.pid]

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._stop("ending")

    def _each_second(self) -> None:
        if self._alive() or (self._stopping_at is None and "prepare" not in self._chores.pending):
            self._chores.add("ensure", self._duties.ensure)
        for child in self._children:
            if child.texts > TEXTS_A_SECOND:
                self._duties.say(f"worker {child.index}: {child.texts - TEXTS_A_SECOND} more lines, not shown")
            child.texts = 0
        if self._reaper:
            self._reaper.reap([child.pid for child in self._children])


def _status(line: bytes) -> dict[str, Any] | None:
    """Return the status that a line of a worker holds, None when it is something else."""
    if not line.startswith(b"{"):
        return None
    try:
        status = json.loads(line)
    except ValueError:
        return None
    return status if "worker" in status else None


def _describe(code: int) -> str:
    """Say how a process ended, from what `subprocess` gives as its return code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"died of {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"died of signal {-code}"
