"""Small JSON files that an agent leaves in its data directory, for commands and for its next start."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

Shape = TypeVar("Shape")


def write(path: Path, value: Any) -> None:
    """Put a value in the place of what the file held; who reads at the same time gets the one or the other, whole.

    Raises:
        OSError: what the system says.
    """
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    unfinished.replace(path)


def read(path: Path, shape: type[Shape]) -> Shape | None:
    """Give what a file holds; None when it is not there, or holds something else, as of another version.

    Raises:
        OSError: what the system says of a file that is there.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError, UnicodeDecodeError):
        return None
