"""`watcher report`: what a period was like, as a table, CSV, JSON or a page."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from watcher.commands.configured import configured, labelled, read, say_progress
from watcher.config import references
from watcher.errors import UsageError
from watcher.store import report_period

FORMATS = ("table", "csv", "json", "html")
SHOWN: Mapping[str, int] = {"table": 20, "html": 200}  # endpoints, unless --limit says otherwise; others have all


@click.command(name="report")
@configured
@click.option("--since", default="30d", show_default=True, metavar="WHEN",
              help="30d, 2w, 6h, 90m: ago, from the begin of that day, hour or minute; or a date (UTC).")  # fmt: skip
@click.option("--until", metavar="WHEN", help="The same; now, when it is not given.")
@click.option("--endpoint", "names", multiple=True, metavar="NAME", help="Only this endpoint; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only those with this label; repeatable.")
@click.option("--removed", is_flag=True,
              help="Also those that were removed; one that --endpoint names is there anyway.")  # fmt: skip
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True, help="How to write.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="The N least available endpoints. Default: 20 in a table, 200 in html, else all.")  # fmt: skip
# pylint: disable-next=too-many-arguments,too-many-positional-arguments  # one for each option
def command(
    path: Path | None, since: str, until: str | None, names: Sequence[str], labels: Sequence[str], removed: bool,
    kind: str, limit: int | None,
) -> None:  # fmt: skip
    """Report availability, incidents and latencies of a period.

    Available is what was up or degraded; down is not; missed checks count as neither. Percentiles are at most 2.2 %
    off.
    """
    from watcher.store import report, serving
    from watcher.store.connection import connect

    gc.disable()  # a short life: of the ten thousands of rows that come none is garbage before its end
    now = datetime.now(UTC)
    end = _moment("--until", until, now) if until else None
    wanted = report.Wanted(_moment("--since", since, now), end, tuple(names), labelled(labels), removed)
    with serving(read(path)[0], say_progress) as dsn, closing(connect(dsn, name="watcher report")) as connection:
        found = report.read(connection, wanted)
        _require(names, [line.name for line in found.endpoints])
        picture = report.picture(found, limit or SHOWN.get(kind))
        if kind in SHOWN:
            picture.series = report.series(connection, found, [line.name for line in found.endpoints])
    sys.stdout.write("".join(_WRITERS[kind](picture)))


def _moment(option: str, text: str, now: datetime) -> datetime:
    try:
        return report_period.moment(text, now)
    except (ValueError, OverflowError):
        raise UsageError(f'{option} "{text}" is no time; write 30d, 6h, 2026-03-01 or 2026-03-01T12:00Z') from None


def _require(names: Sequence[str], found: Sequence[str]) -> None:
    if missing := [name for name in names if name not in found]:
        raise UsageError(f'there is no endpoint "{missing[0]}", or without that label; see `watcher endpoints list`')


def _table(picture: Any) -> Iterator[str]:
    from watcher.commands import report_table

    yield report_table.drawn(picture)


def _html(picture: Any) -> Iterator[str]:
    from watcher.commands import report_html

    return report_html.page(picture)


def _json(picture: Any) -> Iterator[str]:
    """Give one object; times are ISO 8601, availability is from 0 to 1, null where nothing was measured."""
    _mask(picture.report.endpoints)
    yield msgspec.json.format(msgspec.json.encode(picture.report), indent=1).decode() + "\n"


def _mask(lines: Sequence[Any]) -> None:
    """Hide passwords and tokens in names: an endpoint without one is named by its URL."""
    for line in lines:
        line.name = references.masked(line.name)


def _csv(picture: Any) -> Iterator[str]:
    """Give a line an endpoint, with what `--format json` has."""
    from watcher.commands import sheet

    _mask(picture.report.endpoints)
    return sheet.lines(type(picture.report.total), picture.report.endpoints)


_WRITERS: Mapping[str, Callable[..., Iterator[str]]] = {"table": _table, "html": _html, "json": _json, "csv": _csv}
