"""`watcher status`: which endpoints are down now, since when and why, and whether the agents are well."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from watcher.commands.configured import configured, labelled, read, say_progress
from watcher.config import references

if TYPE_CHECKING:
    from watcher.store.standing import Endpoint, Standing

SHOWN = 50  # endpoints of a table, unless --limit says otherwise


@click.command(name="status")
@configured
@click.option("--down", "down_only", is_flag=True, help="Only those that are down.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only those with this label; repeatable.")
@click.option("--format", "kind", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True,
              help="How to write.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="The first N, those that are down before all others. Default: 50 in a table, else all.")  # fmt: skip
# pylint: disable-next=too-many-arguments,too-many-positional-arguments  # one for each option
def command(
    path: Path | None, down_only: bool, labels: Sequence[str], kind: str, limit: int | None
) -> None:  # fmt: skip
    """Show which endpoints are down now, since when and why, and whether the agents are well.

    It is what the database has: an endpoint is as its last check found it, whoever made it. A missed check changes
    nothing.
    """
    from watcher.store import serving, standing
    from watcher.store.connection import connect

    wanted = labelled(labels)
    with serving(read(path)[0], say_progress) as dsn, closing(connect(dsn, name="watcher status")) as connection:
        found = standing.read(connection, wanted)
    endpoints = [msgspec.structs.replace(one, name=references.masked(one.name)) for one in found.endpoints]
    if down_only:
        endpoints = [one for one in endpoints if one.status == "down"]
    sys.stdout.write("".join(_WRITERS[kind](found, endpoints, limit)))


def _table(found: Standing, endpoints: list[Endpoint], limit: int | None) -> Iterator[str]:
    from watcher.commands import status_table

    yield status_table.drawn(found, endpoints, limit or SHOWN)


def _json(found: Standing, endpoints: list[Endpoint], limit: int | None) -> Iterator[str]:
    """Give one object; `counts` are of all endpoints, times are ISO 8601."""
    from watcher.store.standing import counts

    whole = {"at": found.at, "counts": counts(found), "agents": found.agents, "endpoints": endpoints[:limit]}
    yield msgspec.json.format(msgspec.json.encode(whole), indent=1).decode() + "\n"


def _csv(_: Standing, endpoints: list[Endpoint], limit: int | None) -> Iterator[str]:
    from watcher.commands import sheet
    from watcher.store.standing import Endpoint as Row

    return sheet.lines(Row, endpoints[:limit])


_WRITERS: Mapping[str, Callable[..., Iterator[str]]] = {"table": _table, "json": _json, "csv": _csv}
