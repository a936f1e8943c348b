"""From the buffer to the database, or to the spool while the database is away; from the spool back when it returns.

Every result is counted once: produced + recovered = stored + spooled (now) + damaged + dropped + in memory.
What is in memory is never older than a batch's age and what the disk takes, whatever the database does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from watcher.breath import Breath, next_turn
from watcher.errors import DatabaseError, OtherDatabase, Unstorable, WatcherError
from watcher.link import Link
from watcher.models import Result
from watcher.spool import Batch, Damaged, Spool, rows_of
from watcher.store import metrics
from watcher.tally import Tally

REPLAY_ROWS_S = 100_000  # at most: the checks come first, and the database has others to serve
AGAIN_S = (30.0, 3600.0)  # for a file that the database refused: first, and at most
LOOK_S = 1.0  # for files, at least so often
BREATH_FILES = 500
REPLAY_SLICES = 2  # at once: they are encoded already, which is most of what a slice holds the hub for


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
        self.taken = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def produced(self) -> int:
        """How many results came here since the start."""
        return self.taken + len(self._queue) + self.dropped

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
        batch = [queue.popleft() for _ in range(min(len(queue), self._batch_rows))]
        self.taken += len(batch)
        return batch

    def hurry(self) -> None:
        """Let a `take` that waits give what there is."""
        self._filled.set()


class Refusal(NamedTuple):
    """Why a file is not stored, and when to try again; after that the pause is as long as it says."""

    again_at: float
    pause_s: float
    why: str


class Storing:
    """A batch that the database was given, and has not answered; soon there is a copy on disk."""

    __slots__ = ("batch", "copy", "copying", "greenlet", "stored")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.greenlet: gevent.Greenlet | None = None
        self.copying = False
        self.copy: str | None = None
        self.stored: bool | None = None  # what the database answered


class Keepers:
    """Drains a buffer with `count` greenlets, one connection each.

    A batch that the database does not take within `age_s` is written to disk while the answer is waited for, and so is
    all that comes meanwhile: a worker that is killed loses no more. While the database is away nobody asks it but the
    replayer, at growing intervals.

    Args:
        handed_over: told of each batch once it is safe.
        say: told, in a line, when the database goes and comes.
        broke: told of a greenlet that an exception ended.
        replay_rows_s: how fast the spool is stored, at most.
        database: which one all of it is for, if that is known; to meet another ends a greenlet.
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
        replay_rows_s: int = REPLAY_ROWS_S,
        database: str = "",
    ) -> None:
        self.tally = Tally()
        self._buffer = buffer
        self._spool = spool
        self._agent_id = agent_id
        self._age_s = age_s
        self._handed_over = handed_over
        self._say = say
        self._broke = broke
        self._replay_rows_s = replay_rows_s
        self._ended = Event()
        self._too_late = False  # for the database, at the end
        self._losing = 0
        self._disk = ThreadPool(1)  # of its own: a disk that stalls holds up no pattern, and no pattern the spool
        names = (f"watcher keeper {number}" for number in range(count + 1))
        self._links = [Link(dsn, name, self.tally, say, database) for name in names]
        self._under_way: dict[Link, Storing] = {}
        self._held: set[str] = set()  # copies of what the database may still take
        self._recovering: set[str] = set()
        self._refused: dict[str, Refusal] = {}
        self._paid_until = 0.0  # by `replay_rows_s`
        self._greenlets: list[gevent.Greenlet] = []

    def start(self) -> None:
        """Begin to drain, and to replay what an earlier run left in the spool."""
        self._recovering = set(self._spool.files())
        self.tally.spooled = sum(map(rows_of, self._recovering))
        self.tally.damaged = sum(self._spool.disowned.values())
        self.tally.recovered = self.tally.spooled + self.tally.damaged
        replayer, *keepers = self._links
        self._greenlets = [self._spawn(self._keep, link) for link in keepers]
        self._greenlets.append(self._spawn(self._replay, replayer))

    def _spawn(self, task: Callable[..., None], *arguments: object) -> gevent.Greenlet:
        greenlet = gevent.spawn(task, *arguments)
        greenlet.link_exception(self._broke)
        return greenlet

    @property
    def recovering(self) -> bool:
        """Whether rows of an earlier run wait, which may yet be stored."""
        return not self._recovering <= self._refused.keys()

    def finish(self, timeout_s: float) -> None:
        """Drain what is left and end: into the database if that takes no longer than half the time, else to disk."""
        self._ended.set()
        self._buffer.hurry()
        self._join(timeout_s / 2)
        self._too_late = True
        for link in self._links:
            link.abandon()
        self._join(timeout_s / 2)
        while len(self._buffer):
            self._put_aside(self._batch(self._take(0)))
        for link in self._links:
            link.close()

    def _join(self, timeout_s: float) -> None:
        with gevent.Timeout(timeout_s, False):
            gevent.joinall(self._greenlets)
            gevent.joinall([storing.greenlet for storing in self._under_way.values()])

    # to the database

    def _keep(self, link: Link) -> None:
        while not self._ended.is_set() or len(self._buffer):
            results = self._take(0 if self._ended.is_set() else self._age_s)
            if results:
                batch = self._batch(results)
                if self.tally.away or self._too_late or link in self._under_way:
                    self._put_aside(batch)
                else:
                    self._hand_over(link, batch)
                self._handed_over(results)

    def _take(self, age_s: float) -> list[Result]:
        results = self._buffer.take(age_s)
        self.tally.in_hand += len(results)
        return results

    def _batch(self, results: list[Result]) -> Batch:
        slices, breathe = [], Breath()
        for first in range(0, len(results), metrics.SLICE_ROWS):
            slices.append(metrics.encode(results[first : first + metrics.SLICE_ROWS]))
            breathe()
        return Batch(self._agent_id, len(results), slices)

    def _hand_over(self, link: Link, batch: Batch) -> None:
        """Have a batch stored; come back when it is safe, on whichever of the two ways."""
        storing = self._under_way[link] = Storing(batch)
        storing.greenlet = self._spawn(self._store, link, storing)
        storing.greenlet.join(self._age_s)
        if storing.stored is None:
            self._copy(storing)
        if storing.copy is None:
            storing.greenlet.join()

    def _store(self, link: Link, storing: Storing) -> None:
        try:
            link.store(storing.batch)
            storing.stored = True
        except (DatabaseError, OtherDatabase):  # with the latter the replay ends the worker
            storing.stored = False
        if not storing.copying:
            self._settle(storing)
        del self._under_way[link]

    def _copy(self, storing: Storing) -> None:
        """Write a batch to disk while the database thinks about it."""
        name = self._spool.name(storing.batch)
        self._held.add(name)
        storing.copying = True
        storing.copy = self._disk.apply(self._spool.write, (storing.batch, name))
        storing.copying = False
        if storing.copy is None:
            self._held.discard(name)
        else:
            self._safe(storing.batch.rows)
        if storing.stored is not None:
            self._settle(storing)

    def _settle(self, storing: Storing) -> None:
        """Count a batch that the database took or did not take, and keep it in one place."""
        rows, copy, tally = storing.batch.rows, storing.copy, self.tally
        if storing.stored:
            tally.stored += rows
            if copy is None:
                tally.in_hand -= rows
            else:
                tally.spooled -= rows
                self._disk.apply(self._spool.delete, (copy,))
        elif copy is None:
            self._put_aside(storing.batch)
        if copy is not None:
            self._held.discard(copy)

    # to disk

    def _put_aside(self, batch: Batch) -> None:
        if self._disk.apply(self._spool.write, (batch,)):
            self._safe(batch.rows)
            return
        self.tally.in_hand -= batch.rows
        self.tally.dropped += batch.rows
        if not self._losing:
            self._say(f"results are dropped, and counted: {self._spool.trouble}")
        self._losing += batch.rows

    def _safe(self, rows: int) -> None:
        self.tally.in_hand -= rows
        self.tally.spooled += rows
        if self._losing:
            self._say(f"results are kept again; {self._losing:,} were dropped")
            self._losing = 0

    # and back

    def _replay(self, link: Link) -> None:
        look = True
        while not self._ended.wait(min(self._age_s, LOOK_S)):
            if (look or self.tally.spooled or self.tally.away) and link.may_try():
                try:
                    self._replay_files(link)
                    look = False
                except DatabaseError:
                    continue  # the link said so

    def _replay_files(self, link: Link) -> None:
        for number, name in enumerate(self._spool.files()):
            if self._ended.is_set():
                return
            if number % BREATH_FILES == 0:  # they may be 100,000, and none of them due
                next_turn()
            if name in self._spool and name not in self._held and self._is_due(name):
                began = _now()
                self._replay_file(link, name)
                self._pace(rows_of(name), began)
        if self.tally.away:  # and nothing is there to find out by
            link.store(Batch(self._agent_id, 0, [metrics.NOTHING]))

    def _is_due(self, name: str) -> bool:
        return name not in self._refused or self._refused[name].again_at <= _now()

    def _replay_file(self, link: Link, name: str) -> None:
        batch = self._disk.apply(_content, (self._spool, name))
        if isinstance(batch, Damaged):
            self._count_damaged(name, str(batch))
        elif isinstance(batch, OSError):
            self._put_off(name, f"{name} cannot be read: {batch.strerror or batch}", f"{batch.strerror}")
        elif not metrics.fits(batch.slices):
            why = "its rows have other columns than those of this version"
            self._count_damaged(name, self._disk.apply(self._spool.set_aside, (name, why)))
        else:
            try:
                link.store(batch)
            except Unstorable as error:
                self._put_off(name, f"{name} is not stored: {error}", str(error))
                return
            self._disk.apply(self._spool.delete, (name,))
            self.tally.stored += batch.rows
            self.tally.spooled -= batch.rows
            self._recovering.discard(name)
            self._refused.pop(name, None)

    def _count_damaged(self, name: str, said: str) -> None:
        self._say(said)
        self.tally.damaged += rows_of(name)
        self.tally.spooled -= rows_of(name)
        self._recovering.discard(name)

    def _put_off(self, name: str, said: str, why: str) -> None:
        """Try a file again later; what is said of one is not said of the next."""
        pause_s = self._refused[name].pause_s if name in self._refused else AGAIN_S[0]
        if name not in self._refused and not any(refusal.why == why for refusal in self._refused.values()):
            self._say(f"{said}; it stays, and is tried again")
        self._refused[name] = Refusal(_now() + pause_s, min(AGAIN_S[1], pause_s * 2), why)

    def _pace(self, rows: int, began: float) -> None:
        """Wait until the next rows are due, after so many whose turn began then."""
        self._paid_until = max(began, self._paid_until) + rows / self._replay_rows_s
        self._ended.wait(max(0.0, self._paid_until - _now()))


def _content(spool: Spool, name: str) -> Batch | WatcherError | OSError:
    """Give what a file holds, or why not: of an exception that leaves a thread gevent prints."""
    try:
        batch = spool.read(name)
    except (Damaged, OSError) as error:
        return error
    return batch._replace(slices=metrics.joined(batch.slices, REPLAY_SLICES)) if metrics.fits(batch.slices) else batch


def _now() -> float:
    return gevent.get_hub().loop.now()
