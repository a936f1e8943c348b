"""The times at which a worker did not run though nobody had ended it: noticed at its next start, told as `missed` rows.

A file says that a worker runs; who finds it at a start knows that the life before was cut short. Which endpoints it
checked the copy of the table knows, which of the checks are missing the database, once it has what lay in the spool.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol, TypeVar

import gevent
import msgspec

from watcher import jsonfile
from watcher.breath import next_turn
from watcher.clock import Clock
from watcher.errors import DatabaseError, DatabaseUnavailable
from watcher.models import Reason
from watcher.spool import newest
from watcher.store import metrics
from watcher.store.connection import Connection

CHUNK = 500  # endpoints asked for at once
RETRY_S = 2.0
FOLLOW_S = 15.0  # so long may a worker drain whose place we take
AGAIN_S = 0.2  # between two looks whether it has ended
REFUSED_S = 60.0  # before a database is asked again that refuses to answer
SAFE_S = 5.0  # rows are stored by then, or on disk
GAPS_MOST = 16  # remembered until the database is there: a worker that dies again and again
CLOCKS_US = 60_000_000  # ours and the database's may lie so far apart
UNSURE_US = 300_000_000  # a check takes no longer: what was due before that, and is no row, is not missing by a death
CUT_SHORT = "the worker was cut short: killed, crashed, or without power"

Gap = tuple[int, int]


class Life(msgspec.Struct, frozen=True):
    """What the file holds: when the worker began, null after an end in order, and the gaps that are not told yet.

    A gap lies between the begin of the life that was cut short and that of the next, in µs since the epoch. `of`: how
    many workers there were, 0 where something is untold of a time when there were more or less.
    """

    began_us: int | None
    gaps: list[Gap] = []
    of: int = 0


class Checks(Protocol):
    """Who makes the checks."""

    def known(self) -> Mapping[int, object]:
        """Give what is checked, by endpoint id."""

    def miss_between(self, endpoint_id: int, since_us: int, until_us: int | None, why: Reason, said: str) -> int:
        """Give rows for the checks of an endpoint that were due after the one time, and not after the other.

        Args:
            until_us: None: when it came into this life.
        """


class Records:
    """What the database has of an agent; each question on a connection of its own."""

    def __init__(self, connect: Callable[[], Connection], agent_id: int) -> None:
        self._connect = connect
        self._agent_id = agent_id

    def last(self, ids: list[int], gap: Gap) -> Mapping[int, int]:
        """Give when each of these endpoints was checked last within a gap."""
        with contextlib.closing(self._connect()) as connection:
            return metrics.last(connection, self._agent_id, ids, *gap)

    def now_us(self) -> int:
        """Give what the database's clock shows."""
        with contextlib.closing(self._connect()) as connection:
            return metrics.now_us(connection)


class Gaps:
    """The file of one worker.

    Args:
        data_dir: has `running/INDEX.json`, a file a worker.
        index, of: which of how many worker it is; it cares for the files of those that are no more.
        clock: of the schedule; this life begins now. Where the wall clock is set later, it began at another time.
        say: told, in a line, what was missed, and why that cannot be told.
    """

    def __init__(self, data_dir: Path, index: int, of: int, clock: Clock, say: Callable[[str], None]) -> None:
        self._directory = data_dir / "running"
        self._path = self._directory / f"{index}.json"
        self._spools = data_dir / "spool"
        self._index, self._of = index, of
        self._clock = clock
        self._say = say
        self._said = ""
        self._began_at_us = clock.now_us()
        self._written_us: int | None = None  # when we began, as the file has it
        self._cut_us: int | None = None  # when the life before us began, if it was cut short and that is not told yet
        self._untold: list[Gap] = []  # others
        self._moved = False  # other workers had our endpoints, or may have had them
        self._known: set[int] = set()
        self._kept = False
        self._place: IO[bytes] | None = None  # locked by who works in it, for as long as its process lives

    def follow(self) -> None:
        """Wait for the end of a worker in our place that drains yet, as one does whose supervisor was killed."""
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._place = self._path.with_suffix(".lock").open("wb")
        tries = int(FOLLOW_S / AGAIN_S)
        while self._place is not None and tries and not _locked(self._place):
            gevent.sleep(AGAIN_S)
            tries -= 1

    def begin(self, known: Callable[[], set[int]]) -> bool:
        """Note that the worker runs, and give whether there is a gap to tell.

        A disk that refuses costs the account, never a check.

        Args:
            known: gives the endpoints that were checked before; asked if there is something to tell.
        """
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            paths = [path for path in sorted(self._directory.glob("*.json")) if self._is_ours(path)]
            lives = [_life(path) for path in paths]
            self._cut_us = min((life.began_us for life in lives if life.began_us is not None), default=None)
            self._untold = sorted({gap for life in lives for gap in life.gaps if gap[0] < gap[1]})[-GAPS_MOST:]
            self._moved = any(life.of != self._of for life in lives)
            if self._is_untold:
                self._known = known()
            self._write()
            for path in paths:
                if path != self._path:
                    path.unlink()
        return self._is_untold

    def tend(self) -> None:
        """Write down when we began anew if the wall clock was set: the next life would mistake it."""
        if self._written_us not in (None, self._began_us):
            with contextlib.suppress(OSError):
                self._write()

    def keep(self) -> None:
        """Leave the file whatever comes: nobody wanted that the worker ends."""
        self._kept = True

    def end(self) -> None:
        """Note an end in order."""
        if self._written_us is None or self._kept:
            return
        with contextlib.suppress(OSError):
            if self._is_untold:
                self._write(ended=True)
            else:
                self._path.unlink(missing_ok=True)
        self._written_us = None

    @property
    def waits(self) -> bool:
        """Whether rows of ours may lie in the spools of others, who store them; looked for only after they moved."""
        if not self._moved:
            return False
        others = [path for path in self._spools.glob("*") if path.name.isdecimal() and path.name != str(self._index)]
        return any(newest(other, 0, self._began_us) for other in others)

    def tell(self, checks: Checks, records: Records, room: Callable[[], bool]) -> None:
        """Have each check that is missing become a row, and say how many; in a greenlet, as it waits for the database.

        Args:
            room: whether there is room for more rows.
        """
        while abs(apart_us := self._asked(self._apart_us, records)) > CLOCKS_US:
            self._say_once(
                f"the clock of this machine and the database's are {abs(apart_us) / 1e6:,.0f} s apart; what was "
                "missed because the worker was cut short is told once they agree"
            )
            gevent.sleep(REFUSED_S)
        for gap in list(self._untold):
            self._tell(gap, min(gap[1], self._began_us), checks, records, room)
            self._untold.remove(gap)
            self._note_told()
        if self._cut_us is not None:
            self._tell((self._cut_us, self._began_us), None, checks, records, room)
            self._cut_us = None
            self._note_told()

    def _tell(
        self, gap: Gap, until_us: int | None, checks: Checks, records: Records, room: Callable[[], bool]
    ) -> None:
        """Tell one gap, up to a time or to when each endpoint came."""
        count = 0
        # of what was refused, and is perhaps stored later, the rows are not missing
        left_us = newest(self._spools / str(self._index), *gap) or gap[0]
        known, found = sorted(checks.known()), dict[int, int]()
        for ids in _chunks(known):
            found.update(self._asked(records.last, ids, gap))
        since = self._since(known, found, left_us, is_last=until_us is None)
        for ids in _chunks(sorted(since)):
            for endpoint_id in ids:
                count += checks.miss_between(endpoint_id, since[endpoint_id], until_us, Reason.SUSPENDED, CUT_SHORT)
            next_turn()
            while not room():
                gevent.sleep(RETRY_S / 10)
        if count:
            self._say(f"{CUT_SHORT}; {count:,} checks were not made or are lost: status missed, reason suspended")

    def _since(self, ids: Iterable[int], found: Mapping[int, int], left_us: int, is_last: bool) -> dict[int, int]:
        """Give since when checks are missing, of endpoints whose last rows are these.

        The life went on until the last row of any. One that was not checked then, or not any more, is missing no
        check before: it was disabled, or new, or is due once a day. What was known then the copy says of the last gap;
        since an older one it may have been written anew.
        """
        known = self._known if is_last else self._known & found.keys()
        alive_us = max(found.values(), default=left_us)
        since = {one: max(found.get(one, alive_us), alive_us - UNSURE_US) for one in ids if one in known}
        if self._moved:  # another may have written its copy anew already
            since = dict(found) | since
        return {one: max(since_us, left_us) for one, since_us in since.items()}

    def _apart_us(self, records: Records) -> int:
        return self._clock.wall_us(self._clock.now_us()) - records.now_us()

    def _asked(self, question: Callable[..., Answer], *arguments: object) -> Answer:
        while True:
            try:
                return question(*arguments)
            except DatabaseUnavailable:
                gevent.sleep(RETRY_S)  # the keepers tell of it
            except DatabaseError as error:
                self._say_once(f"what was missed because the worker was cut short cannot be told yet: {error}")
                gevent.sleep(REFUSED_S)

    def _say_once(self, said: str) -> None:
        if not self._said:
            self._said = said
            self._say(said)

    @property
    def _began_us(self) -> int:
        return self._clock.wall_us(self._began_at_us)

    @property
    def _is_untold(self) -> bool:
        return bool(self._untold) or self._cut_us is not None

    def _is_ours(self, path: Path) -> bool:
        if not path.stem.isdecimal():
            return False
        number = int(path.stem)
        return number == self._index or (number >= self._of and number % self._of == self._index)

    def _note_told(self) -> None:
        gevent.sleep(SAFE_S)  # if we, too, are cut short now, the next one tells it again
        with contextlib.suppress(OSError):
            self._write()

    def _write(self, ended: bool = False) -> None:
        self._written_us = self._began_us
        gaps = self._untold if self._cut_us is None else [*self._untold, (self._cut_us, self._began_us)]
        of = 0 if self._moved and gaps else self._of
        jsonfile.write(self._path, Life(None if ended else self._began_us, gaps, of))


Answer = TypeVar("Answer")


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        pass
    return True


def _life(path: Path) -> Life:
    """Give what a file holds; of one that was cut short itself, or of another version, that there was a life."""
    return jsonfile.read(path, Life) or Life(int(path.stat().st_mtime * 1e6))


def _chunks(ids: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(ids), CHUNK):
        yield ids[first : first + CHUNK]
