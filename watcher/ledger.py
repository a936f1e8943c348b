"""What each plugin's part in the checks costs and breaks, and an end to parts that never come back.

The way of a check only writes down what is under way. Once a second a `Watchman` looks at it: a step that waits for
too long, or a prober that does long after its deadline, gets an `Overrun` where it waits; one that computes without end
gets it from a signal.
"""

from __future__ import annotations

import atexit
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic_ns
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import gevent
from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from watcher.transport.exchange import Exchange

TICK_S = 1.0
WAIT_TICKS = 15  # a pattern may take 10 s of CPU
CPU_S = 3.0  # in which no other probe of the worker moves
HELD_NS = 50_000_000  # a step that holds up every other probe for so long is told of


class Overrun(BaseException):
    """Ends a step that took more than its budget; not an Exception: a plugin's `except Exception` must let it by."""


# What a plugin may let out; SystemExit too, or a sys.exit() of it would end the worker.
BREAKS = (Exception, gevent.Timeout, Overrun, SystemExit)


class Broken(Exception):
    """Carries a plugin's exception, its cause, through code that is not the plugin's."""

    def __init__(self, account: Account) -> None:
        super().__init__(account.name)
        self.account = account


class Account:
    """What the steps and probers of one plugin took since the start of the process."""

    __slots__ = ("calls", "errors", "held", "name", "overruns", "probing", "running", "spent_ns")

    def __init__(self, name: str, running: dict[greenlet, int], probing: dict[greenlet, Exchange]) -> None:
        self.name = name
        self.running = running  # greenlet → when its step began; the one of the whole ledger
        self.probing = probing  # greenlet → what its prober fills; the same
        self.calls = 0
        self.spent_ns = 0  # of steps, waiting included
        self.errors = 0
        self.held = 0  # how often it held up every other probe for HELD_NS
        self.overruns = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Write down one step; the way of a check does the same without this convenience."""
        me, began_ns = getcurrent(), monotonic_ns()
        try:
            self.running[me] = began_ns
            yield
        finally:
            self.running.pop(me, None)
            self.calls += 1
            self.spent_ns += monotonic_ns() - began_ns

    def told(self) -> dict[str, int]:
        """Give the figures, as the state of a worker has them."""
        return {
            "calls": self.calls,
            "spent_us": self.spent_ns // 1000,
            "errors": self.errors,
            "held": self.held,
            "overruns": self.overruns,
        }


class Ledger:
    """The accounts of all plugins in one process."""

    def __init__(self) -> None:
        self.running: dict[greenlet, int] = {}
        self.probing: dict[greenlet, Exchange] = {}
        self._accounts: dict[str, Account] = {}

    def account(self, name: str) -> Account:
        """Give the account of a plugin."""
        if name not in self._accounts:
            self._accounts[name] = Account(name, self.running, self.probing)
        return self._accounts[name]

    def told(self) -> Mapping[str, dict[str, int]]:
        """Give the figures of every plugin that was called."""
        return {name: account.told() for name, account in self._accounts.items() if account.calls or account.errors}


class Watchman:
    """Ends steps and probers that are over their budget; for the process that makes the checks; a context.

    Budgets count ticks and CPU, not the clock: a machine that slept has used up nobody's.

    Args:
        tick_s: how often to look.
        wait_ticks: how many looks in a row a step may be found waiting, or a prober after its deadline.
        cpu_s: CPU time that either may take without letting others run.
    """

    def __init__(
        self, ledger: Ledger, tick_s: float = TICK_S, wait_ticks: int = WAIT_TICKS, cpu_s: float = CPU_S
    ) -> None:
        self._running = ledger.running
        self._probing = ledger.probing
        self._tick_s = tick_s
        self._wait_ticks = wait_ticks
        self._cpu_s = cpu_s
        self._seen: dict[greenlet, tuple[int, int]] = {}  # when it began, in how many looks it was found
        self._computing: tuple[int, int, float] = (0, 0, 0.0)  # when it began; the loop's round and CPU time since when
        self._loop = gevent.get_hub().loop
        self._timer = self._loop.timer(tick_s, tick_s)

    def start(self) -> None:
        """Begin to look."""
        self._timer.start(self._look)
        if threading.current_thread() is not threading.main_thread():
            return  # signals are for the main thread alone
        signal.signal(signal.SIGALRM, self._alarm)
        signal.setitimer(signal.ITIMER_REAL, self._tick_s, self._tick_s)
        atexit.register(self.stop)  # Python gives up its handlers before it is through: an alarm would end the process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Look no more."""
        self._timer.close()
        if threading.current_thread() is not threading.main_thread():
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one may be on its way still
        atexit.unregister(self.stop)

    def _look(self) -> None:
        """Find who waits; runs in the hub, where nobody computes."""
        seen = {}
        now_ns = time.monotonic_ns()
        overdue = {who: one.deadline_ns for who, one in self._probing.items() if one.deadline_ns < now_ns}
        for waiting, began_ns in (overdue | self._running).items():
            before_ns, ticks = self._seen.get(waiting, (0, 0))
            ticks = ticks + 1 if before_ns == began_ns else 1
            if ticks <= self._wait_ticks:
                seen[waiting] = began_ns, ticks
            else:
                waiting.throw(Overrun(f"waited for more than {self._wait_ticks * self._tick_s:g} s"))
        self._seen = seen

    def _alarm(self, _signal: int, _frame: FrameType | None) -> Any:
        """Find who computes; runs in its greenlet, between two of its instructions."""
        me = getcurrent()
        probing = self._probing.get(me)
        began_ns = self._running.get(me) or (probing.deadline_ns if probing is not None else 0)
        cpu_s, turn = time.thread_time(), self._loop.iteration
        if not began_ns or (began_ns, turn) != self._computing[:2]:
            self._computing = began_ns, turn, cpu_s
        elif cpu_s - self._computing[2] > self._cpu_s:
            self._computing = 0, 0, 0.0
            raise Overrun(f"computed for more than {self._cpu_s:g} s, and held up every other probe")
