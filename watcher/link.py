"""One greenlet's connection to the database: made when needed, given up when it does not answer.

What one link learns of the database, all others know by the tally.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from watcher.errors import DatabaseError, DatabaseUnavailable, OtherDatabase, Unstorable, WatcherError
from watcher.spool import Batch
from watcher.store import connection as store_connection
from watcher.store import metrics
from watcher.tally import OK, Tally

STATEMENT_S = 15.0  # a database that takes longer for a slice is away
RETRY_MIN_S, RETRY_MAX_S = 0.5, 15.0


class NoAnswer(DatabaseUnavailable):
    """A statement took longer than STATEMENT_S."""


class Link:
    """A connection, tried again at growing intervals while the database is away.

    Args:
        name: what `pg_stat_activity` shows.
        tally: told of outages and their end.
        say: told of them in a line.
        database: which one results are for, if that is known.
    """

    def __init__(self, dsn: str, name: str, tally: Tally, say: Callable[[str], None], database: str = "") -> None:
        self._dsn = dsn
        self._name = name
        self._tally = tally
        self._say = say
        self._database = database
        self._connection: Any = None
        self._outages = 0  # that were when the connection was made
        self._retry_at = 0.0
        self._retry_s = RETRY_MIN_S
        self._waiting: gevent.Greenlet | None = None

    def may_try(self) -> bool:
        """Tell whether it is time to ask a database that is away."""
        return gevent.get_hub().loop.now() >= self._retry_at

    def store(self, batch: Batch) -> None:
        """Store a batch; all of it or nothing.

        Raises:
            Unstorable: it is not stored, and cannot be; another may.
            DatabaseError: it is not stored; the database is away.
            OtherDatabase: nor will it ever be.
        """
        self._waiting = gevent.getcurrent()
        try:
            self._store(batch)
        except Unstorable:
            self._answered()
            raise
        except (DatabaseError, OtherDatabase) as error:
            self._failed(error)
            raise
        finally:
            self._waiting = None
        self._answered()

    def _store(self, batch: Batch) -> None:
        if self._outages != self._tally.outages:  # it was made before the last one
            self.close()
        if self._connection is not None:
            try:
                self._insert(batch)
                return
            except NoAnswer:
                raise
            except DatabaseUnavailable:  # somebody closed it meanwhile; that says nothing of the database
                self.close()
        with gevent.Timeout(STATEMENT_S, self._late()):
            self._connection = store_connection.connect(self._dsn, name=self._name)
        self._outages = self._tally.outages
        self._insert(batch)

    def _insert(self, batch: Batch) -> None:
        late = self._late()
        timer = gevent.Timeout.start_new(STATEMENT_S, late)

        def answered() -> None:
            nonlocal timer
            timer.close()
            timer = gevent.Timeout.start_new(STATEMENT_S, late)

        try:
            metrics.store(self._connection, batch.slices, batch.agent_id, answered, self._database)
        finally:
            timer.close()

    def _late(self) -> NoAnswer:
        return NoAnswer(f"{store_connection.place(self._dsn)}: no answer within {STATEMENT_S:g} s")

    def abandon(self) -> None:
        """Let a `store` that waits fail: the agent ends."""
        gevent.get_hub().loop.run_callback(self._cut)

    def _cut(self) -> None:
        if self._waiting is not None:
            self._waiting.throw(NoAnswer("the agent ends"))

    def _answered(self) -> None:
        self._retry_s = RETRY_MIN_S
        if self._tally.away:
            self._tally.database = OK
            self._say("the database is back")

    def _failed(self, error: WatcherError) -> None:
        self.close()
        if not self._tally.away:
            self._tally.outages += 1
            self._say(f"the database is away, results go to the spool: {error}")
        self._tally.database = str(error)
        self._retry_at = gevent.get_hub().loop.now() + self._retry_s
        self._retry_s = min(RETRY_MAX_S, self._retry_s * 2)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            store_connection.close(connection)
