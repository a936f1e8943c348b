"""`watcher demo`: the whole of watcher on this machine alone, and nothing of it left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import click

from watcher.commands.generate import write
from watcher.errors import WatcherError
from watcher.screen import figures
from watcher.testserver.invention import Mix, Weighted, invent
from watcher.testserver.process import ServerProcess

_ELSEWHERE = ("WATCHER_DATA_DIR", "WATCHER_DATABASE_DSN")  # win over a file, or stand in for what it leaves out
_LATEST = 12
_CELL_COLUMNS = 50
_VERDICTS = ("status", "reason", "checks", "latency ms, median", "late ms, most")
_LATEST_COLUMNS = ("time", "endpoint", "status", "reason", "http", "latency ms", "detail")
_MIX = Mix(
    interval=Weighted(("5",)),
    method=Weighted(("GET", "POST"), (9, 1)),
    delay=Weighted(("0", "20ms", "120ms", "400ms"), (6, 2, 2, 1)),
    size=Weighted(("1k", "40k"), (4, 1)),
    regex=0.2,
    down=0.12,
    flaky=0.08,
    outage="15s/37s",
    seed=10,
)
_CONFIG = """\
[agent]
data_dir = {data_dir}
workers = 1

[defaults]
timeout = 3

"""


@click.command()
@click.option("--endpoints", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="How long.  [default: until Ctrl-C]")
def command(endpoints: int, seconds: float | None) -> int:
    """Watch a test server with invented endpoints, some of which fail.

    Needs no network. PostgreSQL, the test server and the results live in a temporary directory and end with it.
    """
    from watcher.store import embedded

    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        stack.enter_context(_by_its_own_file())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="watcher-demo-")))
        directory.chmod(0o711)  # PostgreSQL runs as another account where this one is root
        server = stack.enter_context(ServerProcess())
        path = _configure(directory, server.url, endpoints)
        click.echo(f"A test server is at {server.url}, {endpoints} endpoints over it are in {path}.")
        click.echo("From here on this is `watcher --config FILE`" + ("; Ctrl-C ends it." if seconds is None else "."))
        data = stack.enter_context(embedded.serve(directory / "data", click.echo))
        code = _watch(path, seconds)
        if code == 0:
            _show(data.dsn)
    return code


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM clean up as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _by_its_own_file() -> Iterator[None]:
    """Take out of the environment what would lead the agent to another directory or database than the file does."""
    taken = {name: os.environ.pop(name) for name in _ELSEWHERE if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def _configure(directory: Path, url: str, count: int) -> Path:
    """Write the configuration and give its path."""
    path = directory / "endpoints.toml"
    with path.open("w", encoding="utf-8") as stream:
        stream.write(_CONFIG.format(data_dir=json.dumps(str(directory / "data"))))
        write(invent(dataclasses.replace(_MIX, url=url), count), "toml", stream)
    return path


def _watch(path: Path, seconds: float | None) -> int:
    """Run the agent until a signal ends it, or until it has had its time."""
    from watcher.commands.run import run

    timer = threading.Timer(seconds or 0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        return run(path, (), "info")
    finally:
        timer.cancel()


def _show(dsn: str) -> None:
    """Show what the database holds now."""
    from watcher.store.connection import connect, transaction
    from watcher.store.queries import queries

    asked = queries("demo")
    with closing(connect(dsn, name="watcher demo")) as connection, transaction(connection) as cursor:
        cursor.execute(asked["verdicts"])
        verdicts = cursor.fetchall()
        cursor.execute(asked["latest"], {"count": _LATEST})
        latest = cursor.fetchall()
    total = sum(row[2] for row in verdicts)
    if not total:
        raise WatcherError("nothing was stored: the lines above tell why, or it had too little time")
    _print_table(f"{total} rows in the table metrics", _VERDICTS, verdicts)
    _print_table(f"The last results, {len(latest)} of them", _LATEST_COLUMNS, latest)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as psql does."""
    cells = [columns, *([figures.plain(str(cell))[:_CELL_COLUMNS] for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    click.echo("\n".join(["", title, "", lines[0], "-+-".join("-" * width for width in widths), *lines[1:]]))
