"""One look-up of endpoints that are known elsewhere: when it is due, the thread that it runs in, what it last found.

The thread calls the plugin and keeps what it gave, nothing else; no one ever waits for it.
"""

from __future__ import annotations

import math
import threading
from typing import Any

from watcher.config import EndpointSpec
from watcher.models import Discovery

OVERDUE_S = 60.0

Outcome = tuple[list[Any], Exception | None]  # what was given, or why nothing was


class Find:
    """A `Discovery` with its last good result. Times are on the clock of `time.monotonic`, given by the caller.

    `specs` is None until it succeeded once; `whole` tells whether they are all that there are. `said` is what the
    operator was told of it, `clashing` the names that it gave to two endpoints, `digest` stands for the tables that
    became `specs`.
    """

    def __init__(self, discovery: Discovery) -> None:
        self.specs: tuple[EndpointSpec, ...] | None = None
        self.whole = False
        self.said: frozenset[str] = frozenset()
        self.clashing: tuple[str, ...] = ()
        self.digest: bytes | None = None
        self._discovery = discovery
        self._due_at = 0.0
        self._began_at = 0.0
        self._overdue = False
        self._thread: threading.Thread | None = None
        self._outcome: Outcome | None = None

    @classmethod
    def done(cls, given: list[Any]) -> Find:
        """Give one that has ended already and is never due again: for what a plugin gave at once."""
        found = cls(Discovery(list, math.inf))
        found._outcome, found._due_at = (given, None), math.inf
        return found

    def is_due(self, now: float) -> bool:
        """Tell whether it is to run."""
        return self._thread is None and self._outcome is None and now >= self._due_at

    def start(self, now: float) -> threading.Thread:
        """Run it in a thread, which a stop of the process leaves behind."""
        self._began_at, self._overdue = now, False
        thread = threading.Thread(target=self._run, name="find", daemon=True)
        thread.start()  # raises when there can be no other thread: then it is due still
        self._thread = thread
        return thread

    def _run(self) -> None:
        outcome: Outcome = [], RuntimeError("the thread ended without an answer")
        try:
            outcome = list(self._discovery.find()), None
        except Exception as error:  # pylint: disable=broad-exception-caught  # a thread's root, and a plugin's boundary
            outcome = [], error
        finally:  # also after SystemExit
            self._outcome = outcome

    def take(self, now: float) -> Outcome | None:
        """Give what came of it, once; one that is out for long counts as failed until it is back."""
        if self._outcome is not None:
            outcome, self._outcome = self._outcome, None
            if self._thread is not None:
                self._thread, self._due_at = None, now + self._discovery.every_s
            return outcome
        if self._thread is not None and not self._overdue and now >= self._began_at + OVERDUE_S:
            self._overdue = True
            return [], ValueError(f"no answer within {OVERDUE_S:g} s, it is still waited for")
        return None
