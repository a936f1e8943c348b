"""`watcher db`: the database that a configuration means; the embedded server runs for as long as a command needs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from watcher.commands import db_roles, db_seal, db_status
from watcher.commands.configured import configured, read, say, say_progress
from watcher.config.references import masked

SECOND_S = 1.0


@click.group(name="db")
def command() -> None:
    """Look at and keep the database. The embedded server is started where no agent runs, and joined where one does."""


command.add_command(db_roles.command)
command.add_command(db_seal.command)
command.add_command(db_status.command)


@command.command()
@configured
@click.option("--with-password", is_flag=True, help="Show the password too, if there is one.")
def url(path: Path | None, with_password: bool) -> None:
    """Print the database's address, for psql and other programs."""
    from watcher.store import embedded

    settings = read(path)[0]
    if settings.database.dsn is None:
        with embedded.serve(settings.agent.data_dir, say) as server:
            click.echo(server.dsn)
            if server.pid:
                say("no agent runs, so the server ends with this command; watcher db psql starts it when needed")
        return
    dsn = str(settings.database.dsn)
    click.echo(dsn if with_password else masked(dsn))
    if not with_password and masked(dsn) != dsn:
        say("the password is hidden; --with-password shows it")


@command.command(context_settings={"ignore_unknown_options": True})
@configured
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- PSQL ARGUMENTS...]")
def psql(path: Path | None, arguments: Sequence[str]) -> int:
    """Run psql on the database.

    What follows `--` is for psql, e.g.: watcher db psql --config FILE -- -c 'SELECT count(*) FROM endpoints'
    """
    from watcher.store import embedded, postgres_binaries
    from watcher.store.psql import embedded_environment, environment

    settings = read(path)[0]
    program = postgres_binaries.psql()
    if settings.database.dsn is not None:
        dsn = str(settings.database.dsn)
        if program is None:
            return _without_psql(dsn, arguments)
        sys.stdout.flush()
        os.execve(program, [str(program), *arguments], environment(dsn))
    with embedded.serve(settings.agent.data_dir, say_progress) as server:
        if program is None:
            return _without_psql(server.dsn, arguments)
        environ = embedded_environment(server.dsn, server.programs)
        return _run([str(program), *arguments], environ, server.ensure)


@command.command()
@configured
@click.option("--to-timescale", "to_hypertable", is_flag=True, help="Keep results in a TimescaleDB hypertable.")
def migrate(path: Path | None, to_hypertable: bool) -> None:
    """Bring the database's schema to this version; an agent does so itself when it starts.

    With --to-timescale the daily partitions become a hypertable, all results kept. Agents go on meanwhile. When it is
    cut short, run it again: it goes on where it ended.
    """
    from watcher.store import migrations, serving, to_timescale

    with serving(read(path)[0], say) as dsn:
        if to_hypertable:
            to_timescale.require(dsn)  # what cannot be shall change nothing
        applied = migrations.migrate(dsn, say)
        moved = to_timescale.to_timescale(dsn, say) if to_hypertable else None
    for name in applied:
        click.echo(f"applied {name}")
    if moved and (moved.switched or moved.is_continued):
        click.echo(f"results are in a hypertable: {moved.rows:,} rows of {moved.days:,} days were moved")
    elif moved:
        click.echo("results are in a hypertable already, nothing to move")
    elif not applied:
        click.echo(f"the database is at level {migrations.newest()}, nothing to do")


def _run(arguments: Sequence[str], environ: dict[str, str], each_second: Callable[[], Any]) -> int:
    """Run psql in the foreground until it ends; return its exit code."""
    with _left_to_child() as children, subprocess.Popen(arguments, env=environ) as process:
        children.append(process)
        while True:
            try:
                code = process.wait(SECOND_S)
                break
            except subprocess.TimeoutExpired:
                each_second()
    return code if code >= 0 else 128 - code


@contextmanager
def _left_to_child() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Leave signals to the child: psql cancels a query by Ctrl-C, and we must outlive it to stop the server."""
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _frame: object) -> None:
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)  # the terminal sends it to both
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _without_psql(dsn: str, arguments: Sequence[str]) -> int:
    from watcher.store import psql as lines

    for statement in lines.statements(arguments):
        for line in lines.execute(dsn, statement):
            click.echo(line)
    return 0
