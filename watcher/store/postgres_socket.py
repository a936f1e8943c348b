"""Where the embedded PostgreSQL's Unix socket is: in its home, or elsewhere when that path does not fit a socket.

Standard library only. Here names are only chosen and recorded; the directory is made by `postgres_launch`, as the
account that PostgreSQL runs as.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

NAME = ".s.PGSQL.5432"
PATH_BYTES = 103  # the shortest sun_path of the systems that watcher runs on, macOS, without its final zero
RECORD = "postgres.socket"  # a symbolic link in the data directory


def recorded(data_dir: Path) -> Path | None:
    """Return the directory of the socket; None when it must be elsewhere and nobody has chosen yet."""
    plain = data_dir / "postgres" / "run"
    if _fits(plain):
        return plain
    with contextlib.suppress(OSError):
        return Path(os.readlink(data_dir / RECORD))
    return None


def choose(data_dir: Path, uid: int) -> Path:
    """Return the directory for the socket, the same as before if it can be; called by the server's owner.

    Args:
        data_dir: where an unusual choice is recorded.
        uid: who will own it.
    """
    directory = recorded(data_dir)
    if directory is None or not _free(directory, uid):
        temporary = Path(tempfile.gettempdir())
        directory = (temporary if _fits(temporary / "watcher-012345678901") else Path("/tmp")) / (
            f"watcher-{secrets.token_hex(6)}"
        )
        new = data_dir / f"{RECORD}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(directory)
        new.replace(data_dir / RECORD)
    return directory


def _fits(directory: Path) -> bool:
    """Tell whether a socket can be there: not too long, and no character that libpq or a setting would split at."""
    path = str(directory / NAME)
    return len(os.fsencode(path)) <= PATH_BYTES and re.fullmatch(r"[\w/.@+=: -]*", path) is not None


def _free(directory: Path, uid: int) -> bool:
    """Tell whether it is absent, or a directory of that user alone."""
    try:
        seen = directory.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == uid and not seen.st_mode & 0o077
