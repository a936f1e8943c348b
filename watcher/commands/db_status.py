"""`watcher db status`: what the database is and holds, and what waits in the spool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from watcher.commands.configured import configured, read, say_progress
from watcher.screen import figures
from watcher.spool import SUFFIX, rows_of, written_at


@click.command(name="status")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
def command(path: Path | None, as_json: bool) -> None:
    """Show what the database is and holds, and what waits in the spool. Rows are estimates."""
    from watcher.store import serving
    from watcher.store import status as database
    from watcher.store.connection import connect, place

    settings = read(path)[0]
    with (
        serving(settings, say_progress) as dsn,
        closing(connect(dsn, name="watcher db status")) as connection,
    ):
        found = msgspec.to_builtins(database.read(connection))
    found |= {"database": place(dsn).removeprefix("the database "), "embedded": settings.database.dsn is None}
    found["spool"] = _spool(settings.agent.data_dir / "spool")
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_described(found)))


def _spool(directory: Path) -> dict[str, Any]:
    """Count what waits for the database, and what was set aside: a file, or a spool of another database."""
    sizes = {path: path.stat().st_size for path in directory.glob(f"*/*{SUFFIX}") if path.parent.name.isdigit()}
    moments = [moment for path in sizes if (moment := written_at(path.name)) is not None]
    return {
        "files": len(sizes),
        "rows": sum(rows_of(path.name) for path in sizes),
        "size_bytes": sum(sizes.values()),
        "oldest_at": min(moments, default=None),
        "damaged": len([*directory.glob("*/*.bad"), *directory.glob(f"*.bad/*{SUFFIX}")]),
    }


def _described(found: dict[str, Any]) -> Iterator[str]:
    engine = f"{found['engine']} {found['version']}"
    if found["timescaledb"]:
        engine += f" with TimescaleDB {found['timescaledb']} ({found['licence']} edition)"
    yield f"engine:     {engine}{', embedded' if found['embedded'] else ''}"
    yield f"database:   {found['database']}, {figures.size(found['size_bytes'])}"
    behind = "" if found["level"] == found["newest_level"] else "; run: watcher db migrate"
    yield f"schema:     level {found['level']} of {found['newest_level']}{behind}"
    if found["storage"]:
        yield from _described_tables(found)
    yield f"spool:      {_described_spool(found['spool'])}"


def _described_tables(found: dict[str, Any]) -> Iterator[str]:
    kind = "chunk" if found["storage"] == "hypertable" else "partition"
    yield f"metrics:    {_table(found['metrics'])}, in {figures.counted(found['parts'], kind)}"
    if compressed := found["compressed"]:
        sizes = f"{figures.size(compressed['before_bytes'])} to {figures.size(compressed['after_bytes'])}"
        yield f"compressed: {figures.counted(compressed['parts'], kind)}, from {sizes}"
    if found["unmoved"]:
        left = figures.counted(found["unmoved"], "partition")
        yield f"unmoved:    {left} of before the hypertable; run: watcher db migrate --to-timescale"
    oldest = figures.moment(found["oldest_at"] * 1e6) if found["oldest_at"] else "none"
    yield f"oldest row: {oldest}"
    if found["rollups"]:
        yield f"rollups:    {_table(found['rollups'])}"
    yield f"endpoints:  {_table(found['endpoints'])}"


def _described_spool(spool: dict[str, Any]) -> str:
    text = f"{figures.counted(spool['files'], 'file')}, {figures.size(spool['size_bytes'])}"
    if spool["files"]:
        text += f", {figures.counted(spool['rows'], 'row')}"
    if spool["oldest_at"] is not None:
        text += f", the oldest of {figures.moment(spool['oldest_at'] * 1e6)}"
    return text + (f", {figures.counted(spool['damaged'], 'file')} set aside" if spool["damaged"] else "")


def _table(table: dict[str, int]) -> str:
    sizes = f"{figures.size(table['size_bytes'])}, of it {figures.size(table['index_bytes'])} indexes"
    return f"{_rows(table['rows'])}, {sizes}"


def _rows(estimate: int) -> str:
    """Word an estimate; PostgreSQL has none, or zero, until it looked at a table for the first time."""
    return f"about {figures.counted(estimate, 'row')}" if estimate > 0 else "no rows known yet"
