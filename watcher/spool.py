"""Batches on disk while the database is away: a file a batch, replayed in order when it is back, then deleted.

Owns one directory. A file that cannot be used is set aside as `.bad`, never replayed and never deleted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import zlib
from pathlib import Path
from time import time_ns
from typing import NamedTuple

import msgspec

from watcher.errors import EnvironmentProblem, WatcherError

MAX_BYTES = 4 << 30
SUFFIX = ".rows"
OWNER = "database"  # the file that says for which database the others are
VERSION = 2  # of the files; those of the first had neither mark nor version

Slice = tuple[str, ...]

_MARK = b"watcher"
_HEAD_BYTES = len(_MARK) + 1
# when, by whom, the how many-eth, rows
_NAME = re.compile(rf"\d{{20}}-\d+-\d+-(\d{{1,9}}){re.escape(SUFFIX)}", re.ASCII)
_PASSES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}  # says nothing of the file


class Damaged(WatcherError):
    """A file that cannot be used, and why."""


class Batch(NamedTuple):
    """What one file holds: the slices of a batch as `store.metrics.encode` gave them."""

    agent_id: int
    rows: int
    slices: list[Slice]


class Spool:
    """The spool of one worker.

    Args:
        directory: made when it is missing.
        max_bytes: what may lie there; a batch beyond it is refused.
        database: the `store.connection.identity` of that for which all of it is. What was for another is set aside.

    Raises:
        EnvironmentProblem: the directory cannot be made.
    """

    def __init__(self, directory: Path, max_bytes: int = MAX_BYTES, database: str = "") -> None:
        self.trouble = ""  # why the last batch was not taken
        self.disowned: dict[Path, int] = {}  # where rows for another database lie now, and how many
        self._directory = directory
        self._database = database
        self._max_bytes = max_bytes
        self._count = 0
        self._sizes: dict[str, int] = {}  # by name, in the order of replay: an outage may last for 100,000 files
        self._bytes = 0
        try:
            self._disown(directory)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for unfinished in directory.glob("*.tmp"):
                unfinished.unlink()
            self._find()
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise EnvironmentProblem(f"{directory}: {why}; set agent.data_dir") from None
        if database and _owner(directory) != database:
            with contextlib.suppress(OSError):  # then they are for whichever database there is, as they were before
                (directory / OWNER).unlink(missing_ok=True)
                self._put(directory / OWNER, database.encode())

    def _disown(self, directory: Path) -> None:
        """Set all files aside, together, if they are for another database: the ids in them mean other rows in ours."""
        rows = sum(rows_of(path.name) for path in directory.glob(f"*{SUFFIX}"))
        if rows and self._database and _owner(directory) not in ("", self._database):
            aside = directory.with_name(f"{directory.name}-{time_ns()}.bad")
            os.rename(directory, aside)
            self.disowned[aside] = rows

    def _find(self) -> None:
        paths = sorted(self._directory.glob(f"*{SUFFIX}"))
        self._sizes = {path.name: _size(path) for path in paths}
        self._bytes = sum(self._sizes.values())

    def adopt(self, other: Path) -> None:
        """Take over the files of a spool that has no worker any more; to be called before any other method."""
        with contextlib.suppress(OSError):
            self._disown(other)
            for path in sorted(other.glob(f"*{SUFFIX}")):
                os.rename(path, self._directory / path.name)
            (other / OWNER).unlink(missing_ok=True)
            other.rmdir()
        self._find()

    def files(self) -> list[str]:
        """Give the names of the files to replay, oldest first."""
        return list(self._sizes)

    def rows(self) -> int:
        """Count the rows that wait, by the files' names."""
        return sum(map(rows_of, self._sizes))

    def __contains__(self, name: str) -> bool:
        return name in self._sizes

    def name(self, batch: Batch) -> str:
        """Give the name that a batch is to be written by; in the order of these it is replayed."""
        self._count += 1
        return f"{time_ns():020d}-{os.getpid()}-{self._count}-{batch.rows}{SUFFIX}"

    def write(self, batch: Batch, name: str | None = None) -> str | None:
        """Keep a batch and give the file's name; blocks until the disk has it.

        None when the spool is full or the disk refuses: see `trouble`.
        """
        data = _written(batch)
        if self._bytes + len(data) > self._max_bytes:
            self.trouble = f"{self._directory} is full ({self._max_bytes >> 20:,} MiB)"
            return None
        name = name or self.name(batch)
        path = self._directory / name
        try:
            self._put(path, data)
        except OSError as error:
            self.trouble = f"{self._directory}: {(error.strerror or str(error)).lower()}"
            for left in (path.with_suffix(".tmp"), path):  # one of them, whichever step it was that failed
                with contextlib.suppress(OSError):
                    left.unlink(missing_ok=True)
            return None
        self._sizes[name] = len(data)
        self._bytes += len(data)
        return name

    def _put(self, path: Path, data: bytes) -> None:
        unfinished = path.with_suffix(".tmp")
        with open(unfinished, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, path)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def read(self, name: str) -> Batch:
        """Give the batch of a file.

        Raises:
            Damaged: it cannot be used, and is set aside.
            OSError: it cannot be read now.
        """
        try:
            batch = _read((self._directory / name).read_bytes())
            if batch.rows != rows_of(name):
                raise ValueError("its name says something else than its content")
            return batch
        except OSError as error:
            if error.errno in _PASSES:
                raise
            why = (error.strerror or str(error)).lower()
        except (ValueError, msgspec.DecodeError) as error:
            why = str(error) or "not whole"
        raise Damaged(self.set_aside(name, why))

    def set_aside(self, name: str, why: str) -> str:
        """Keep a file out of the way, and give the line that says so."""
        path = self._directory / name
        self._forget(name)
        try:
            os.rename(path, path.with_suffix(".bad"))
        except OSError as error:
            return f"{path}: {why}; passed over, it cannot be set aside ({(error.strerror or str(error)).lower()})"
        return f"{path}: {why}; set aside as .bad"

    def delete(self, name: str) -> None:
        """Forget a file that was replayed; if the disk does not, the next run replays it, which changes nothing."""
        self._forget(name)
        with contextlib.suppress(OSError):
            (self._directory / name).unlink(missing_ok=True)

    def _forget(self, name: str) -> None:
        self._bytes -= self._sizes.pop(name, 0)


def rows_of(name: str) -> int:
    """Give how many rows a file holds, by its name; 0 when that is not one of ours."""
    named = _NAME.fullmatch(name)
    return int(named[1]) if named else 0


def written_at(name: str) -> float | None:
    """Give when a file was written, in seconds since the epoch, by its name; None when that is not one of ours."""
    return int(name.partition("-")[0]) / 1e9 if _NAME.fullmatch(name) else None


def newest(directory: Path, since_us: int, until_us: int) -> int | None:
    """Give when the newest file within a time was written, in µs since the epoch, by the files' names."""
    first, end = f"{since_us * 1000:020d}", f"{until_us * 1000:020d}"
    with contextlib.suppress(OSError):
        if names := [name for name in os.listdir(directory) if first <= name < end and name.endswith(SUFFIX)]:
            return int(max(names).partition("-")[0]) // 1000
    return None


def _owner(directory: Path) -> str:
    """Tell for which database the files of a spool are; of those of former versions nobody knows."""
    try:
        return (directory / OWNER).read_text("ascii")
    except (OSError, ValueError):
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _written(batch: Batch) -> bytes:
    body = msgspec.msgpack.encode(batch)
    return _MARK + bytes([VERSION]) + zlib.crc32(body, VERSION).to_bytes(4, "big") + body


def _read(data: bytes) -> Batch:
    version = 1
    if data.startswith(_MARK):
        version, data = data[len(_MARK)] if len(data) >= _HEAD_BYTES else 0, data[_HEAD_BYTES:]
    body = memoryview(data)[4:]
    if zlib.crc32(body, version if version > 1 else 0) != int.from_bytes(data[:4], "big") or not body:
        raise ValueError("not whole")
    if version > VERSION:
        raise ValueError(f"written by a newer watcher (version {version} of the files)")
    return msgspec.msgpack.decode(body, type=Batch)
