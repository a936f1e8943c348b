"""Batches on disk while the database is away: a file a batch, replayed in order when it is back, then deleted.

Owns one directory. A file that is not whole is set aside as `.bad`, never replayed and never deleted.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path
from time import time_ns
from typing import NamedTuple

import msgspec

from watcher.errors import EnvironmentProblem

MAX_BYTES = 4 << 30
SUFFIX = ".rows"

Slice = tuple[str, ...]


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

    Raises:
        EnvironmentProblem: the directory cannot be made.
    """

    def __init__(self, directory: Path, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._count = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for unfinished in directory.glob("*.tmp"):
                unfinished.unlink()
            self._bytes = sum(path.stat().st_size for path in self.files())
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise EnvironmentProblem(f"{directory}: {why}; set agent.data_dir") from None

    def adopt(self, other: Path) -> None:
        """Take over the files of a spool that has no worker any more."""
        with contextlib.suppress(OSError):
            for path in sorted(other.glob(f"*{SUFFIX}")):
                self._bytes += path.stat().st_size
                os.rename(path, self._directory / path.name)
            other.rmdir()

    def files(self) -> list[Path]:
        """Give the files to replay, oldest first."""
        return sorted(self._directory.glob(f"*{SUFFIX}"))

    def rows(self) -> int:
        """Count the rows that wait, by the files' names."""
        return sum(int(path.stem.rsplit("-", 1)[1]) for path in self.files())

    def write(self, batch: Batch) -> bool:
        """Keep a batch; blocks until the disk has it. False when the spool is full or the disk refuses."""
        body = msgspec.msgpack.encode(batch)
        data = zlib.crc32(body).to_bytes(4, "big") + body
        if self._bytes + len(data) > self._max_bytes:
            return False
        self._count += 1
        path = self._directory / f"{time_ns():020d}-{os.getpid()}-{self._count}-{batch.rows}{SUFFIX}"
        try:
            self._put(path, data)
        except OSError:
            with contextlib.suppress(OSError):
                path.with_suffix(".tmp").unlink(missing_ok=True)
            return False
        self._bytes += len(data)
        return True

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

    def read(self, path: Path) -> Batch | None:
        """Give the batch of a file; None when it is not whole: it is then set aside."""
        data = path.read_bytes()
        try:
            if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "big"):
                raise ValueError("checksum")
            return msgspec.msgpack.decode(data[4:], type=Batch)
        except (ValueError, msgspec.DecodeError):
            os.rename(path, path.with_suffix(".bad"))
            self._bytes -= len(data)
            return None

    def delete(self, path: Path) -> None:
        """Forget a file that was replayed."""
        self._bytes -= path.stat().st_size
        path.unlink()
