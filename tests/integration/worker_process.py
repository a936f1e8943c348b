"""A worker as a process, whose lines of state are read, and the tables that it works on."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2

from watcher.config import EndpointSpec
from watcher.store import connection as store_connection
from watcher.store import endpoints

WORKER = ("-m", "watcher.worker")


class Running:
    """A worker under test: its process and the lines of state that it wrote.

    Args:
        program: what Python runs; a worker that a test changes is a text for `-c`.
        within: a command that runs Python, where that is not to be done as it is.
        job: more of what the worker is given.
    """

    def __init__(
        self, dsn: str, data_dir: Path, program: Sequence[str] = WORKER, within: Sequence[str] = (), **job: Any
    ) -> None:
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with  # `end` closes it
            [*within, sys.executable, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        task = {"index": 0, "of": 1, "dsn": dsn, "data_dir": str(data_dir), "location": "here"} | job
        self.process.stdin.write(json.dumps(task).encode() + b"\n")
        self.process.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def last(self) -> dict[str, Any]:
        """Give the last line of state; an empty one before the first."""
        return self.lines[-1] if self.lines else {}

    def end(self) -> tuple[int, str]:
        """Ask it to end; give its exit code and what it logged."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(30)
        self._reader.join()
        log = "" if self.process.stderr.closed else self.process.stderr.read().decode()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return code, log


def put(dsn: str, *specs: EndpointSpec, source: str = "test") -> None:
    """Make the table hold just these endpoints of the source."""
    with contextlib.closing(store_connection.connect(dsn, name="test")) as connection:
        endpoints.sync(connection, specs, source)
        connection.commit()


def spec(name: str, url: str, **values: Any) -> EndpointSpec:
    """Make an endpoint that is checked every 5 s."""
    return EndpointSpec(**{"name": name, "url": url, "interval_s": 5.0, "timeout_s": 2.0, "source": "test"} | values)


def query(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    """Ask the database."""
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()
