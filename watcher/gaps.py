"""The times at which a worker did not run though nobody had ended it: noticed at its next start, told as `missed` rows.

A file says that a worker runs; who finds it at a start knows that the life before was cut short. Which checks are
missing the database knows, once it has what lay in the spool.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import gevent
import msgspec

from watcher import jsonfile
from watcher.errors import DatabaseError
from watcher.models import Reason

CHUNK = 500  # endpoints asked for at once
RETRY_S = 2.0
SAFE_S = 5.0  # rows are stored by then, or on disk
GAPS_MOST = 16  # remembered until the database is there: a worker that dies again and again
CUT_SHORT = "the worker was cut short: killed, crashed, or without power"

Gap = tuple[int, int]


class Life(msgspec.Struct, frozen=True):
    """What the file holds: when the worker began, null after an end in order, and the gaps that are not told yet.

    A gap lies between the begin of the life that was cut short and that of the next, in µs since the epoch.
    """

    began_us: int | None
    gaps: list[Gap] = []


class Gaps:
    """The file of one worker.

    Args:
        directory: of the files of all workers, `INDEX.json`.
        index, of: which of how many worker it is; it cares for the files of those that are no more.
    """

    def __init__(self, directory: Path, index: int, of: int) -> None:
        self._directory = directory
        self._path = directory / f"{index}.json"
        self._of = of
        self._index = index
        self._began_us: int | None = None
        self.untold: list[Gap] = []

    def begin(self, now_us: int) -> list[Gap]:
        """Note that the worker runs, and give the gaps before. A disk that refuses costs the account, never a check."""
        self._began_us = now_us
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            leftover = [path for path in sorted(self._directory.glob("*.json")) if self._is_ours(path)]
            self.untold = _gaps_before(leftover, now_us)
            self._write()
            for path in leftover:
                if path != self._path:
                    path.unlink()
        return self.untold

    def _is_ours(self, path: Path) -> bool:
        if not path.stem.isdecimal():
            return False
        number = int(path.stem)
        return number == self._index or (number >= self._of and number % self._of == self._index)

    def tell(
        self,
        born: Mapping[int, int],
        checks: Checks,
        last: Last,
        room: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        """Have each check that is missing become a row, and say how many; in a greenlet, as it waits for the database.

        Args:
            born: when each endpoint that is checked came into this life.
            last: gives when each of these endpoints was checked last within a gap.
            room: whether there is room for more rows.
        """
        for gap in list(self.untold):
            ends = born if gap[1] == self._began_us else dict.fromkeys(born, gap[1])
            count = _tell(gap, ends, checks, last, room)
            if count:
                say(f"{CUT_SHORT}; {count:,} checks were not made or are lost: status missed, reason suspended")
            self.untold.remove(gap)
            gevent.sleep(SAFE_S)  # if we, too, are cut short now, the next one tells it again
            with contextlib.suppress(OSError):
                self._write()

    def end(self) -> None:
        """Note an end in order."""
        if self._began_us is None:
            return
        self._began_us = None
        with contextlib.suppress(OSError):
            if self.untold:
                self._write()
            else:
                self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        jsonfile.write(self._path, Life(self._began_us, self.untold))


class Checks(Protocol):
    """Who makes the checks."""

    def miss_between(self, endpoint_id: int, since_us: int, until_us: int, why: Reason, said: str) -> int:
        """Give rows for the checks of an endpoint that were due after the one time, and not after the other."""


Last = Callable[[list[int], Gap], Mapping[int, int]]


def _gaps_before(paths: list[Path], now_us: int) -> list[Gap]:
    """Give the gaps that files tell of, the latest of them, in order."""
    gaps: set[Gap] = set()
    for path in paths:
        life = jsonfile.read(path, Life)
        if life is None:  # cut short itself, or of another version
            life = Life(int(path.stat().st_mtime * 1e6))
        gaps.update(life.gaps)
        if life.began_us is not None:
            gaps.add((life.began_us, now_us))
    return sorted(gaps)[-GAPS_MOST:]


def _tell(gap: Gap, ends: Mapping[int, int], checks: Checks, last: Last, room: Callable[[], bool]) -> int:
    """Tell one gap, and give how many checks it cost; `ends` says until when, by endpoint."""
    count = 0
    for ids in _chunks(sorted(ends)):
        found = _tried(last, ids, gap)
        for endpoint_id, time_us in found.items():
            count += checks.miss_between(endpoint_id, time_us, ends[endpoint_id], Reason.SUSPENDED, CUT_SHORT)
        gevent.sleep(0)
        while not room():
            gevent.sleep(RETRY_S / 10)
    return count


def _tried(last: Last, ids: list[int], gap: Gap) -> Mapping[int, int]:
    while True:
        with contextlib.suppress(DatabaseError):
            return last(ids, gap)
        gevent.sleep(RETRY_S)


def _chunks(ids: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(ids), CHUNK):
        yield ids[first : first + CHUNK]
