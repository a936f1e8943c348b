"""`watcher generate`: an endpoints file over a test server, of any length, the same for the same seed."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import click

from watcher import durations
from watcher.errors import UsageError
from watcher.models import INTERVAL_MAX_S, INTERVAL_MIN_S
from watcher.testserver import behaviour
from watcher.testserver.invention import Mix, Weighted, invent

_SHARE = click.FloatRange(0, 1)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class _Mixed(click.ParamType):
    """Values with weights, each of them checked."""

    name = "VALUE[:WEIGHT],…"

    def __init__(self, check: Callable[[str], object]) -> None:
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Weighted:
        """Read what was given."""
        if isinstance(value, Weighted):
            return value
        try:
            weighted = Weighted.read(value)
            for each in weighted.values:
                self._check(each)
        except (TypeError, ValueError) as error:
            self.fail(str(error), param, ctx)
        return weighted


def _interval(text: str) -> None:
    """Refuse what no endpoint may have as interval."""
    if not INTERVAL_MIN_S <= durations.seconds(text) <= INTERVAL_MAX_S:
        raise ValueError(f"{text} is not from {INTERVAL_MIN_S:g} to {INTERVAL_MAX_S:g} s")


def _method(text: str) -> None:
    """Refuse what is no method."""
    if not re.fullmatch("[A-Z]+", text):
        raise ValueError(f"{text!r} is no method such as GET")


@click.command(epilog="Example: watcher generate 10000 --interval 5:1,60:9 --regex 0.2 --down 0.01 > endpoints.toml")
@click.argument("count", type=click.IntRange(1))
@click.option("--url", default=Mix.url, show_default=True, help="The test server.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write.  [default: standard output]")
@click.option(
    "--format", "form", default="toml", show_default=True, type=click.Choice(("toml", "csv", "ndjson")),
    help="TOML is a configuration, the others are for `watcher endpoints import`.",
)  # fmt: skip
@click.option("--interval", default="60", show_default=True, type=_Mixed(_interval), help="Between checks.")
@click.option("--method", default="GET", show_default=True, type=_Mixed(_method), help="POST has a JSON body.")
@click.option("--delay", default="0", show_default=True, type=_Mixed(behaviour.duration), help="Before the answer.")
@click.option("--size", default="1k", show_default=True, type=_Mixed(behaviour.size), help="Of the page.")
@click.option("--regex", default=0.0, type=_SHARE, help="Share with a pattern to search for.")
@click.option("--down", default=0.0, type=_SHARE, help="Share that always fails, each in one of many ways.")
@click.option("--flaky", default=0.0, type=_SHARE, help="Share that fails now and then.")
@click.option("--outage", default=Mix.outage, show_default=True, help="How those do: down so long in each so long.")
@click.option("--ca", default="", help="CA that the endpoints trust: `--ca-file` of the test server.")
@click.option("--seed", default=0, show_default=True, help="Another seed, another mix of the same shares.")
def command(count: int, output: Path | None, form: str, **mixed: Any) -> None:
    """Write COUNT invented endpoints over a test server.

    Values may carry weights: 5:1,60:9 is one of 5 s for nine of 60 s.
    """
    mix = Mix(**mixed)
    try:
        behaviour.outage(mix.outage)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--outage") from None
    if output is None:
        write(invent(mix, count), form, sys.stdout)
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as stream:
            write(invent(mix, count), form, stream)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None


def write(tables: Iterable[Mapping[str, Any]], form: str, stream: TextIO) -> None:
    """Write endpoints as `toml`, `csv` or `ndjson`, one at a time."""
    {"toml": _write_toml, "csv": _write_csv, "ndjson": _write_ndjson}[form](tables, stream)


def _write_toml(tables: Iterable[Mapping[str, Any]], stream: TextIO) -> None:
    """Write a configuration."""
    for table in tables:
        stream.write("[[endpoints]]\n")
        for key, value in table.items():
            stream.write(f"{key} = {_toml(value)}\n")
        stream.write("\n")


def _write_ndjson(tables: Iterable[Mapping[str, Any]], stream: TextIO) -> None:
    """Write a JSON object a line."""
    for table in tables:
        stream.write(json.dumps(table, ensure_ascii=False) + "\n")


def _write_csv(tables: Iterable[Mapping[str, Any]], stream: TextIO) -> None:
    """Write a line an endpoint; what is no text or number is JSON."""
    columns = ("name", "url", "interval", "method", "body", "tls", "regex", "labels")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for table in tables:
        cells = (table.get(column, "") for column in columns)
        writer.writerow([json.dumps(cell) if isinstance(cell, dict) else cell for cell in cells])


def _toml(value: Any) -> str:
    """Write a value as TOML does; strings are those of JSON."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _toml_key(key: str) -> str:
    """Write a key, in quotes where it needs them."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
