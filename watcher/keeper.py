"""From the buffer to the database, or to the spool while the database is away; from the spool back when it returns.

Every result is counted once: produced = stored + spooled (not yet replayed) + buffered + dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from watcher.errors import DatabaseError, DatabaseUnavailable
from watcher.models import Result
from watcher.spool import Batch, Spool
from watcher.store import connection as store_connection
from watcher.store import metrics

STATEMENT_S = 15.0  # a database that takes longer for a batch is away
RETRY_MIN_S, RETRY_MAX_S = 0.5, 15.0
REPLAY_PAUSE_S = 0.02  # between two files: the checks come first
REPLAY_AGAIN_S = 30.0  # for a file that the database refused


class Buffer:
    """Results on their way to the keepers: bounded, without locks.

    Args:
        limit: results beyond it are dropped and counted.
        batch_rows: how many make a batch.
    """

    def __init__(self, limit: int, batch_rows: int) -> None:
        self._queue: deque[Result] = deque()
        self._limit = limit
        self._batch_rows = batch_rows
        self._filled = Event()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, result: Result) -> None:
        """Take a result."""
        queue = self._queue
        if len(queue) >= self._limit:
            self.dropped += 1
            return
        queue.append(result)
        if len(queue) == self._batch_rows:
            self._filled.set()

    def take(self, age_s: float) -> list[Result]:
        """Give a batch when there is a full one, or what there is after `age_s`."""
        if len(self._queue) < self._batch_rows:
            self._filled.clear()
            self._filled.wait(age_s)
        queue = self._queue
        return [queue.popleft() for _ in range(min(len(queue), self._batch_rows))]

    def hurry(self) -> None:
        """Let a `take` that waits give what there is."""
        self._filled.set()


@dataclass
class Tally:
    """What became of the results, in rows since the start; `spooled` are those on disk now."""

    stored: int = 0
    spooled: int = 0
    dropped: int = 0
    database: str = "ok"


class Keepers:
    """Drains a buffer with `count` greenlets, one connection each.

    Args:
        handed_over: told of each batch once it is safe.
        say: told, in a line, when the database goes and comes.
        broke: told of a greenlet that an exception ended.
    """

    def __init__(  # pylint: disable=too-many-arguments
        self,
        buffer: Buffer,
        spool: Spool,
        dsn: str,
        agent_id: int,
        *,
        count: int,
        age_s: float,
        handed_over: Callable[[list[Result]], None],
        say: Callable[[str], None],
        broke: Callable[[gevent.Greenlet], None],
    ) -> None:
        self.tally = Tally()
        self._buffer = buffer
        self._spool = spool
        self._agent_id = agent_id
        self._age_s = age_s
        self._handed_over = handed_over
        self._broke = broke
        self._ending = False
        self._disk = ThreadPool(1)  # of its own: a disk that stalls holds up no pattern, and no pattern the spool
        self._links = [Link(dsn, f"watcher keeper {number}", self.tally, say) for number in range(count + 1)]
        self._greenlets: list[gevent.Greenlet] = []

    def start(self) -> None:
        """Begin to drain, and to replay what an earlier run left in the spool."""
        self.tally.spooled = self._spool.rows()
        replayer, *keepers = self._links
        self._greenlets = [gevent.spawn(self._keep, link) for link in keepers]
        self._greenlets.append(gevent.spawn(self._replay, replayer))
        for greenlet in self._greenlets:
            greenlet.link_exception(self._broke)

    def finish(self, timeout_s: float) -> None:
        """Drain what is left and end: into the database if that takes no longer than half the time, else to disk."""
        self._ending = True
        self._buffer.hurry()
        gevent.joinall(self._greenlets, timeout=timeout_s / 2)
        for greenlet in self._greenlets:  # what it waits for is the database
            greenlet.unlink(self._broke)
            greenlet.kill(DatabaseUnavailable("the agent ends"), block=False)
        gevent.joinall(self._greenlets, timeout=timeout_s / 2)
        while len(self._buffer):
            self._put_aside(self._batch(self._buffer.take(0)))
        for link in self._links:
            link.close()

    def _keep(self, link: Link) -> None:
        while not self._ending or len(self._buffer):
            results = self._buffer.take(0 if self._ending else self._age_s)
            if results:
                try:
                    self._hand_over(link, results)
                except DatabaseUnavailable:  # `finish` could wait no longer
                    self._put_aside(self._batch(results))
                self._handed_over(results)

    def _hand_over(self, link: Link, results: list[Result]) -> None:
        batch = self._batch(results)
        try:
            link.store(batch)
            self.tally.stored += batch.rows
        except DatabaseError:
            self._put_aside(batch)

    def _batch(self, results: list[Result]) -> Batch:
        slices = []
        for first in range(0, len(results), metrics.SLICE_ROWS):
            slices.append(metrics.encode(results[first : first + metrics.SLICE_ROWS]))
            _pause()
        return Batch(self._agent_id, len(results), slices)

    def _put_aside(self, batch: Batch) -> None:
        if self._disk.apply(self._spool.write, (batch,)):
            self.tally.spooled += batch.rows
        else:
            self.tally.dropped += batch.rows

    def _replay(self, link: Link) -> None:
        refused: dict[Any, float] = {}
        while not self._ending:
            gevent.sleep(self._age_s)
            if not self.tally.spooled or self.tally.database != "ok":
                continue  # a keeper finds out when the database is back
            for path in self._disk.apply(self._spool.files):
                if self._ending or refused.get(path, 0) > link.now():
                    continue
                try:
                    self._replay_file(link, path)
                except DatabaseUnavailable:
                    break
                except (DatabaseError, OSError) as error:
                    link.say(f"{path} is not stored, it is tried again: {error}")
                    refused[path] = link.now() + REPLAY_AGAIN_S
                gevent.sleep(REPLAY_PAUSE_S)

    def _replay_file(self, link: Link, path: Any) -> None:
        batch = self._disk.apply(self._spool.read, (path,))
        if batch is None:
            link.say(f"{path}: not whole; set aside as .bad")
            self.tally.spooled = self._disk.apply(self._spool.rows)
            return
        link.store(batch)
        self._disk.apply(self._spool.delete, (path,))
        self.tally.stored += batch.rows
        self.tally.spooled -= batch.rows


class Link:
    """One greenlet's connection to the database, made when needed, tried again at growing intervals after a failure."""

    def __init__(self, dsn: str, name: str, tally: Tally, say: Callable[[str], None]) -> None:
        self.say = say
        self._dsn = dsn
        self._name = name
        self._tally = tally
        self._connection: Any = None
        self._retry_at = 0.0
        self._retry_s = RETRY_MIN_S

    @staticmethod
    def now() -> float:
        """Give the loop's time in seconds."""
        return gevent.get_hub().loop.now()

    def reach(self) -> None:
        """Make sure of a connection.

        Raises:
            DatabaseError: there is none, and it is not yet time to try again.
        """
        if self._connection is not None:
            return
        if self.now() < self._retry_at and self._tally.database != "ok":  # "ok": another has found it back
            raise DatabaseUnavailable(self._tally.database)
        try:
            self._connection = store_connection.connect(self._dsn, name=self._name)
        except DatabaseError as error:
            self._failed(error)
            raise

    def store(self, batch: Batch) -> None:
        """Store a batch; all of it or nothing.

        Raises:
            DatabaseError: it is not stored.
        """
        self.reach()
        try:
            with gevent.Timeout(STATEMENT_S, DatabaseUnavailable(f"no answer within {STATEMENT_S:g} s")):
                metrics.store(self._connection, batch.slices, batch.agent_id, _pause)
        except DatabaseUnavailable as error:
            self._failed(error)
            raise
        if self._tally.database != "ok":
            self._tally.database = "ok"
            self.say("the database is back")
        self._retry_s = RETRY_MIN_S

    def _failed(self, error: DatabaseError) -> None:
        self.close()
        if self._tally.database == "ok":
            self.say(f"the database is away, results go to the spool: {error}")
        self._tally.database = str(error)
        self._retry_at = self.now() + self._retry_s
        self._retry_s = min(RETRY_MAX_S, self._retry_s * 2)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            store_connection.close(connection)


def _pause() -> None:
    gevent.sleep(0)
