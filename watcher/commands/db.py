"""`watcher db`: the database that a configuration means; the embedded server runs for as long as a command needs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from watcher.commands import db_roles, db_seal
from watcher.commands.configured import configured, read, say
from watcher.config.references import masked
from watcher.screen import figures
from watcher.spool import SUFFIX

SECOND_S = 1.0


@click.group(name="db")
def command() -> None:
    """Look at and keep the database. The embedded server is started where no agent runs, and joined where one does."""


command.add_command(db_roles.command)
command.add_command(db_seal.command)


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
    with embedded.serve(settings.agent.data_dir, _say_progress) as server:
        if program is None:
            return _without_psql(server.dsn, arguments)
        environ = embedded_environment(server.dsn, server.programs)
        return _run([str(program), *arguments], environ, server.ensure)


@command.command()
@configured
def migrate(path: Path | None) -> None:
    """Bring the database's schema to this version; an agent does so itself when it starts."""
    from watcher.store import migrations, serving

    with serving(read(path)[0], say) as dsn:
        applied = migrations.migrate(dsn, say)
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo(f"the database is at level {migrations.newest()}, nothing to do")


@command.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
def status(path: Path | None, as_json: bool) -> None:
    """Show what the database is and holds, and what waits in the spool. Rows are estimates."""
    from watcher.store import serving
    from watcher.store import status as database
    from watcher.store.connection import connect, place

    settings = read(path)[0]
    with (
        serving(settings, _say_progress) as dsn,
        closing(connect(dsn, name="watcher db status")) as connection,
    ):
        found = msgspec.to_builtins(database.read(connection))
    found |= {"database": place(dsn).removeprefix("the database "), "embedded": settings.database.dsn is None}
    found["spool"] = _spool(settings.agent.data_dir / "spool")
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_described(found)))


def _say_progress(line: str) -> None:
    """Say it where somebody waits: what a program reads shall not be preceded by it."""
    if sys.stderr.isatty():
        say(line)


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


def _spool(directory: Path) -> dict[str, int]:
    """Count what waits for the database, and what was set aside because it was damaged."""
    sizes = {path: path.stat().st_size for path in directory.glob(f"*/*{SUFFIX}")}
    return {"files": len(sizes), "size_bytes": sum(sizes.values()), "damaged": len(list(directory.glob("*/*.bad")))}


def _described(found: dict[str, Any]) -> Iterator[str]:
    engine = f"{found['engine']} {found['version']}"
    if found["timescaledb"]:
        engine += f" with TimescaleDB {found['timescaledb']} ({found['licence']} edition)"
    yield f"engine:     {engine}{', embedded' if found['embedded'] else ''}"
    yield f"database:   {found['database']}, {figures.size(found['size_bytes'])}"
    behind = "" if found["level"] == found["newest_level"] else "; run: watcher db migrate"
    yield f"schema:     level {found['level']} of {found['newest_level']}{behind}"
    if found["storage"]:
        kind = "chunk" if found["storage"] == "hypertable" else "partition"
        yield f"metrics:    {_table(found['metrics'])}, in {_counted(found['parts'], kind)}"
        oldest = figures.moment(found["oldest_at"] * 1e6) if found["oldest_at"] else "none"
        yield f"oldest row: {oldest}"
        yield f"endpoints:  {_table(found['endpoints'])}"
    spool = found["spool"]
    damaged = f", {_counted(spool['damaged'], 'damaged file')} set aside" if spool["damaged"] else ""
    yield f"spool:      {_counted(spool['files'], 'file')}, {figures.size(spool['size_bytes'])}{damaged}"


def _table(table: dict[str, int]) -> str:
    return f"about {_counted(table['rows'], 'row')}, {figures.size(table['size_bytes'])}"


def _counted(count: int, noun: str) -> str:
    return f"{figures.count(count)} {noun}{'s' * (count != 1)}"
