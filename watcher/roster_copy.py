"""The copy of a worker's endpoints on disk: what it checks when it starts while the database is away.

Owns one file of `endpoints/` in the data directory and reads those of all workers, whose number may have changed. Rows
are as the table has them: ids are the table's, secrets as they stand there. A file is lines of JSON: what it was made
from, one for each row, one for each change since. It is of use for the database it came from only.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from gevent.threadpool import ThreadPool

DIRECTORY = "endpoints"
SUFFIX = ".ndjson"
WRITTEN_ROWS = 500  # at once
WORN = 1000  # changes, beyond which and beyond the rows it is time for a new file

Row = Mapping[str, Any]

_KEYS = frozenset({"id", "name", "url", "interval_s", "enabled", "locations"})  # without these a row is none


class Origin(msgspec.Struct, frozen=True):
    """Of which database and for which agent a copy is; for others its ids mean nothing."""

    database: str
    host: str
    location: str
    variant: str

    @classmethod
    def here(cls, database: str, location: str, variant: str) -> Origin:
        """Give what a copy must come from to be of use to this agent; `database` as people are told of it."""
        return cls(database, os.uname().nodename, location, variant)


class Head(msgspec.Struct, frozen=True):
    """The first line of a copy: its origin, the agent's id in that database, when the table was read, which it was."""

    origin: Origin
    agent_id: int
    at: float
    database: str = ""  # former versions did not ask


class RosterCopy:
    """The copy of one worker. A disk that refuses costs the copy, never a check: it is said once.

    Args:
        data_dir: of the agent.
        index: of the worker, among `of`.
        say: told, in a line, when the disk refuses.
    """

    def __init__(self, data_dir: Path, index: int, of: int, origin: Origin, say: Callable[[str], None]) -> None:
        self.agent_id: int | None = None  # nothing is written before it is known
        self.database = ""  # `store.connection.identity`, once it is known
        self._directory = data_dir / DIRECTORY
        self._index, self._of = index, of
        self._path = self._directory / f"{index}{SUFFIX}"
        self._origin = origin
        self._say = say
        self._target = self._path
        self._lines: list[bytes] = []
        self._rows = self._changes = 0
        self._whole = False  # all went well since the last `renewed` began
        self._refused = False
        self._disk = ThreadPool(1)  # of its own: a disk that stalls holds up nothing else

    @contextlib.contextmanager
    def renewed(self, now: float) -> Iterator[None]:
        """Begin anew: the rows that `note` gets until the end of the context become the copy.

        Args:
            now: seconds since the epoch, when the table was read.
        """
        unfinished = self._path.with_suffix(".tmp")
        self._target, self._lines, self._rows, self._changes = unfinished, [], 0, 0
        self._whole = self.agent_id is not None
        if self._whole:
            head = msgspec.json.encode(Head(self._origin, self.agent_id, now, self.database)) + b"\n"
            self._attempt(_begin, unfinished, head)
        try:
            yield
        except BaseException:
            self._whole = False
            raise
        self.flush()
        self._attempt(_finish, unfinished, self._path)
        self._attempt(self._forget_others)
        self._target, self._rows, self._changes = self._path, self._changes, 0
        if self._whole:
            self._refused = False

    def note(self, row: Row) -> None:
        """Take a row of the table: new, or in place of that with its id."""
        self._put(_line(row))

    def note_gone(self, endpoint_id: int) -> None:
        """Take note of an id that is no longer ours to check."""
        self._put(b'{"gone":%d}\n' % endpoint_id)

    def flush(self) -> None:
        """Write what was noted. After a power cut the last changes may be missing: they were not waited for."""
        lines, self._lines = self._lines, []
        if lines:
            self._attempt(_append, self._target, lines)

    @property
    def worn(self) -> bool:
        """Tell whether the changes have become more than the rows, so that it is better to read the table anew."""
        return self._whole and self._changes > max(WORN, self._rows)

    def head(self) -> Head | None:
        """Give the first line of the newest copy of this origin that any worker left; None where there is none."""
        return newest(self._directory.parent, self._origin)

    def rows(self) -> Iterator[Row]:
        """Give the rows of all workers' copies, the older first, and `{"gone": id}` where one went after that."""
        for path, head in _copies(self._directory):
            if (head.origin, head.database) == (self._origin, self.database):
                with contextlib.suppress(OSError), path.open("rb") as file:
                    file.readline()
                    yield from filter(None, map(_row, file))

    def ids(self) -> set[int]:
        """Give the endpoints that were checked when workers ended."""
        found: set[int] = set()
        for row in self.rows():
            if "gone" in row:
                found.discard(row["gone"])
            else:
                found.add(row["id"])
        return found

    def forget(self) -> None:
        """Delete all copies, and make none: they are not of the database that is there."""
        self.agent_id, self._whole = None, False
        self._disk.apply(_delete, (self._directory,))

    def _put(self, line: bytes) -> None:
        self._lines.append(line)
        self._changes += 1
        if len(self._lines) >= WRITTEN_ROWS:
            self.flush()

    def _attempt(self, write: Callable[..., Any], *arguments: Any) -> None:
        """Do something with the disk in the other thread; after an error nothing more until the next `renewed`."""
        if not self._whole:
            return
        try:
            self._disk.apply(write, arguments)
        except OSError as error:
            self._whole = False
            if not self._refused:
                self._refused = True
                self._say(
                    f"{self._path}: {error.strerror or error}; this copy of the endpoints is what a start without "
                    "the database would check"
                )

    def _forget_others(self) -> None:
        """Delete copies of workers that are no more, and whose endpoints are ours now."""
        for path in self._directory.glob(f"*{SUFFIX}"):
            if path.stem.isdigit() and int(path.stem) >= self._of and int(path.stem) % self._of == self._index:
                path.unlink()


def newest(data_dir: Path, origin: Origin) -> Head | None:
    """Give the first line of the newest copy of this origin in a data directory; None where there is none."""
    heads = [head for _, head in _copies(data_dir / DIRECTORY) if head.origin == origin]
    return heads[-1] if heads else None


def _copies(directory: Path) -> list[tuple[Path, Head]]:
    """Give all copies with their first lines, the newest last."""
    found = []
    for path in directory.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError, msgspec.DecodeError), path.open("rb") as file:
            found.append((path, msgspec.json.decode(file.readline(), type=Head)))
    return sorted(found, key=lambda one: one[1].at)


def _delete(directory: Path) -> None:
    for path in directory.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            path.unlink()


def _line(row: Row) -> bytes:
    try:
        return msgspec.json.encode(row) + b"\n"
    except (OverflowError, UnicodeEncodeError):  # an integer of more than 64 bits
        return json.dumps(row).encode() + b"\n"


def _row(line: bytes) -> Row | None:
    """Give what a line says; None for one that a crash cut off."""
    with contextlib.suppress(msgspec.DecodeError):
        row = msgspec.json.decode(line, type=dict[str, Any])
        if "gone" in row or _KEYS <= row.keys():
            return row
    return None


def _begin(path: Path, head: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    _put(path, head, os.O_CREAT | os.O_EXCL)


def _append(path: Path, lines: Sequence[bytes]) -> None:
    _put(path, b"".join(lines), os.O_APPEND)


def _put(path: Path, data: bytes, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)


def _finish(unfinished: Path, path: Path) -> None:
    with open(unfinished, "rb") as file:
        os.fsync(file)
    os.replace(unfinished, path)
