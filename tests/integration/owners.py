"""Owners of an embedded PostgreSQL for tests: their handle, and how to look at processes from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

SCRIPT = Path(__file__).with_name("embedded_owner.py")
AS_ROOT = os.geteuid() == 0

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
root_only = pytest.mark.skipif(not AS_ROOT, reason="is about root")


class Owner:
    """A process that runs `embedded_owner.py`; it tells into a file, so that no read waits for ever."""

    def __init__(self, told: Path, data_dir: Path, *options: str, prefix: tuple[str, ...] = (), **popen: Any) -> None:
        self._told = told
        with told.open("wb") as file:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with  # ended by `own`
                [*prefix, sys.executable, str(SCRIPT), str(data_dir), *options],
                stdin=subprocess.PIPE,
                stdout=file,
                start_new_session=True,
                **popen,
            )

    def told(self, key: str) -> list[Any]:
        """Give all values that it told under a key."""
        whole = [line for line in self._told.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
        return [line[key] for line in map(json.loads, whole) if key in line]

    def order(self, command: str) -> None:
        """Write a line to its standard input."""
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def end(self) -> None:
        """Let it end as it is meant to."""
        self.process.stdin.close()
        self.process.wait(timeout=40)


def ask(dsn: str, *statements: str) -> Any:
    """Execute statements and give the only value of the last."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not, its parent has yet to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def family(pid: int) -> list[int]:
    """Give a process and its children, from the outside."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split())]


def silent(line: str) -> None:
    """Hear what happens, and do nothing."""
    del line
