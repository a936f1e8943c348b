"""A file that several processes append to, put aside when it is full: whole lines, each once, whoever rotates.

A lock on a file beside it, which nobody renames, makes rotation and appending one step.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import msgspec

from watcher import Options


class File(Options):
    """Where results go; `keep` is how many full files stay beside the one that is written, 0 for none."""

    path: Path
    max_bytes: Annotated[int, msgspec.Meta(ge=100_000)] = 100_000_000
    keep: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 5

    def __post_init__(self) -> None:
        directory = self.path.parent
        if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK):
            raise ValueError(
                f"{directory} is no directory that this user can write to; make it, or name another path"
            )


def append(file: File, lines: bytes) -> None:
    """Append whole lines, all or none, after rotation when they would not fit.

    Raises:
        OSError: nothing was written.
    """
    with _locked(f"{file.path}.lock"):
        if _size(file.path) and _size(file.path) + len(lines) > file.max_bytes:
            _rotate(file)
        descriptor = os.open(file.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            _write(descriptor, lines)
        finally:
            os.close(descriptor)


def _write(descriptor: int, lines: bytes) -> None:
    before, rest = os.fstat(descriptor).st_size, memoryview(lines)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:  # a full disk: half a line would spoil the one that comes next
        with suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


@contextmanager
def _locked(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which ends the lock


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _rotate(file: File) -> None:
    """Make every file one older; the oldest goes."""
    names = [file.path, *(Path(f"{file.path}.{number}") for number in range(1, file.keep + 1))]
    for younger, older in reversed(list(zip(names, names[1:]))):
        with suppress(FileNotFoundError):
            os.replace(younger, older)
    if not file.keep:
        os.unlink(file.path)
