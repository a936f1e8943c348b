"""Results summed up for reports: a fold each minute, in a thread of its own, as one may take longer than chores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

from watcher.config.settings import Database
from watcher.errors import DatabaseError
from watcher.store import rollups
from watcher.store.connection import connect
from watcher.store.patience import patience

FOLD_S = 60.0
BUDGET_S = 20.0  # of each minute, while there is much to catch up with
CLOSE_S = 2.0


class Folding:
    """The folds of one agent.

    Args:
        settings: for how long each level is kept.
        say: tells the operator; once for a failure, and once for its end.
    """

    def __init__(self, settings: Database, say: Callable[[str], None]) -> None:
        self.keep = rollups.Keep(
            minutes=settings.keep_minute_rollups_days,
            hours=settings.keep_hour_rollups_days,
            days=settings.keep_day_rollups_days,
        )
        self._say = say
        self._due_at = 0.0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._cut: Callable[[], None] = lambda: None
        self._failure = ""

    def tend(self, dsn: str, now: float) -> None:
        """Begin a fold when one is due and none is under way."""
        if now < self._due_at or self._stopping.is_set() or (self._thread and self._thread.is_alive()):
            return
        self._due_at = now + FOLD_S
        self._thread = threading.Thread(target=self._fold, args=(dsn,), name="folding", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End a fold that is under way: what its transaction did so far is done again next time."""
        self._stopping.set()
        if self._thread is None:
            return
        self._cut()  # not `cancel`, in which psycopg2 holds the GIL for as long as the server does not answer
        self._thread.join(CLOSE_S)

    def _fold(self, dsn: str) -> None:
        try:
            with (
                closing(connect(dsn, name="watcher rollups", autocommit=True)) as connection,
                patience(connection) as self._cut,
            ):
                rollups.fold(connection, self.keep, BUDGET_S, self._stopping.is_set)
        except DatabaseError as error:
            if not self._failure and not self._stopping.is_set():
                self._say(f"results were not summed up for reports, it is tried again each minute: {error}")
            self._failure = str(error)
        else:
            if self._failure:
                self._say("results are summed up for reports again")
            self._failure = ""
