"""`watcher endpoints`: the endpoints table as a user sees and changes it; running agents follow at once."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import click
import msgspec

from watcher import config, registry
from watcher.commands.configured import configured, read, say, without_plugins
from watcher.config.conversion import suggestion
from watcher.config.options import OptionTypes
from watcher.config.references import masked
from watcher.config.sealing import keyring
from watcher.errors import ConfigError, UsageError, WatcherError
from watcher.store import database, endpoints, interchange, sources
from watcher.store.connection import Connection, connect
from watcher.store.endpoints import Row, Selection

_OPENED = ("/dev/std", "/dev/fd/", "/proc/")
NAMED_MOST = 5  # endpoints named in a question or a hint


@click.group(name="endpoints")
def command() -> None:
    """Look at and change the endpoints table. Running agents follow within two seconds."""


def _selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    by_label = click.option(
        "--label", "labels", multiple=True, metavar="KEY=VALUE", help="With this label; repeatable."
    )
    by_source = click.option("--source", metavar="SOURCE", help="From this source, e.g. import:/srv/sites.csv.")
    return by_label(by_source(configured(without_plugins(function))))


@command.command(name="list")
@_selecting
@click.option("--disabled", is_flag=True, help="Only those that are disabled.")
@click.option("--removed", is_flag=True, help="Those that were removed, in place of those that are there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_command(
    path: Path | None, labels: Sequence[str], source: str | None, disabled: bool, removed: bool, as_json: bool
) -> None:
    """List endpoints, one a line."""
    wanted = Selection(labels=_labels(labels), source=source, enabled=False if disabled else None, removed=removed)
    with _opened(path) as opened:
        rows = endpoints.find(opened.connection, wanted)
        count = _print_json(rows, opened.types) if as_json else _print_table(list(rows))
    if not count:
        click.echo("no endpoints", err=True)


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@configured
@without_plugins
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def show(names: Sequence[str], path: Path | None, as_json: bool) -> None:
    """Show all that is known of endpoints; secrets are hidden."""
    with _opened(path) as opened:
        rows = _named(opened.connection, Selection(names=tuple(names)))
        if as_json:
            _print_json(rows, opened.types)
            return
        for number, row in enumerate(rows):
            click.echo("\n" * bool(number) + "\n".join(_described(row, opened.types)))


@command.command(name="import")
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@configured
@without_plugins
@click.option("--format", "form", type=click.Choice(interchange.FORMATS), help="Default: by the file's extension.")
@click.option("--source", metavar="SOURCE", help="Who they come from.  [default: import:/PATH/OF/FILE]")
@click.option("--replace", is_flag=True, help="Remove what else the table has of that source.")
@click.option("--skip-bad", is_flag=True, help="Import the right lines even if others are wrong.")
def import_command(
    file: BinaryIO, path: Path | None, form: str | None, source: str | None, replace: bool, skip_bad: bool
) -> None:
    """Add or change endpoints, by name, from CSV or NDJSON.

    Columns or keys: name, url, interval, timeout, priority, enabled, labels, locations, options; any other is an
    option, such as regex. In CSV, labels and options are JSON. Nothing is imported when one line is wrong.
    """
    place = Path(file.name).name if file.name != "<stdin>" else "stdin"
    directory = str(Path(file.name).parent) if place != "stdin" else "."
    with _opened(path) as opened:
        reading = interchange.read(file, form or _format(place), place, opened.types, directory)
        if reading.problems and not skip_bad:
            say("nothing is imported; --skip-bad imports the right lines")
            raise ConfigError(reading.problems)
        for problem in reading.problems:
            say(f"skipped: {problem}")
        source = source or f"import:{place if place == 'stdin' else os.path.abspath(file.name)}"
        specs = config.sealed(reading.specs, opened.types)
        synced = endpoints.sync(opened.connection, specs, source, replace=replace)
    click.echo(f"{source}: {synced}")
    for name, holder in synced.taken[:NAMED_MOST]:
        say(f'"{_line(name)}" came from {holder} and comes from {source} now')
    if len(synced.taken) > NAMED_MOST:
        say(f"{len(synced.taken) - NAMED_MOST:,} more came from other sources")


@command.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-", metavar="[FILE|-]")
@_selecting
@click.option("--format", "form", type=click.Choice(interchange.FORMATS), help="Default: by the extension, else csv.")
def export(file: Path, path: Path | None, labels: Sequence[str], source: str | None, form: str | None) -> None:
    """Write endpoints as CSV or NDJSON that `import` takes back.

    Values are written as the table holds them: references such as ${PASSWORD} as references, secrets encrypted, to be
    imported where the key is the same. Without a key secrets are written as they are. A file is replaced when all is
    written, and for its owner alone to read.
    """
    wanted = Selection(labels=_labels(labels), source=source)
    form = form or ("csv" if str(file) == "-" else _format(str(file)))
    secrets: list[str] = []
    with _opened(path) as opened:
        rows = _noting_secrets(endpoints.find(opened.connection, wanted), opened.types, secrets)
        with _written(file) as stream:
            count = interchange.write(rows, form, stream)
    click.echo(f"{count:,} endpoints written", err=True)
    if secrets:
        say(f"secrets are in it, of {_some(secrets)}; keep the file as safe as they")


@contextmanager
def _written(path: Path) -> Iterator[TextIO]:
    """Give a stream whose text takes the place of the file at the end; the old one stays when anything goes wrong."""
    if str(path) == "-":
        yield sys.stdout
        return
    if str(path).startswith(_OPENED) or (path.exists() and not path.is_file()):  # a stream, a device, a pipe: it stays
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    target = path.resolve()  # what a link names, not the link
    handle, new = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # for its owner alone to read
    try:
        with open(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
        os.replace(new, target)
    except BaseException:
        os.unlink(new)
        raise


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@_selecting
def enable(names: Sequence[str], path: Path | None, labels: Sequence[str], source: str | None) -> None:
    """Check these endpoints again."""
    _set_enabled(path, _selection(names, labels, source), True)


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@_selecting
def disable(names: Sequence[str], path: Path | None, labels: Sequence[str], source: str | None) -> None:
    """Check these endpoints no more until they are enabled; their history stays."""
    _set_enabled(path, _selection(names, labels, source), False)


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@_selecting
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(names: Sequence[str], path: Path | None, labels: Sequence[str], source: str | None, yes: bool) -> None:
    """Remove these endpoints; their history stays, and is theirs again when the name comes back."""
    wanted = _selection(names, labels, source)
    with _opened(path) as opened:
        rows = _named(opened.connection, wanted)
        if not yes:
            _confirm(f"Remove {_counted(rows)} ({_some(row['name'] for row in rows)})?")
        count = endpoints.remove(opened.connection, [row["id"] for row in rows])
    click.echo(f"{count:,} removed")
    for decider in _deciders(rows):
        say(f"the next reload of {decider} brings them back")


def _confirm(question: str) -> None:
    """Ask, and end the command unless the answer is yes."""
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can be asked here; add --yes")
    try:
        if click.confirm(question):
            return
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise
        click.echo()  # the end of the input: the cursor stands behind the question
    raise WatcherError("nothing was removed")


def _set_enabled(path: Path | None, wanted: Selection, enabled: bool) -> None:
    with _opened(path) as opened:
        rows = _named(opened.connection, wanted)
        changed = endpoints.enable(opened.connection, [row["id"] for row in rows], enabled)
    word = "enabled" if enabled else "disabled"
    already = f", {len(rows) - changed:,} were so before" if changed < len(rows) else ""
    click.echo(f"{changed:,} {word}{already}")
    _warn_of_deciders(rows, enabled)


class _Opened(NamedTuple):
    connection: Connection
    types: OptionTypes


@contextmanager
def _opened(path: Path | None) -> Iterator[_Opened]:
    """Open the database of a configuration, with the option types of its plugins."""
    settings, disabled_plugins = read(path)
    types = registry.option_types(registry.plugin_manager(disabled_plugins))
    types.recall(settings.agent.data_dir)
    types.keyring = keyring(settings.database, settings.agent.data_dir)
    with (
        database(settings, say) as dsn,
        closing(connect(dsn, name="watcher endpoints")) as connection,
    ):
        yield _Opened(connection, types)


def _labels(pairs: Iterable[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--label {pair}: write it as KEY=VALUE")
        labels[key] = value
    return labels


def _selection(names: Sequence[str], labels: Sequence[str], source: str | None) -> Selection:
    if not names and not labels and source is None:
        raise UsageError("which endpoints? Give their names, --label or --source")
    return Selection(names=tuple(names) or None, labels=_labels(labels), source=source)


def _named(connection: Connection, wanted: Selection) -> list[Row]:
    """Give the endpoints selected: all that were named, and one at least.

    Raises:
        UsageError: with names that are near.
    """
    rows = list(endpoints.find(connection, wanted))
    found = {row["name"] for row in rows}
    wrong = [_missing(connection, name) for name in wanted.names or () if name not in found]
    if not rows and not wrong:
        having = [f'label {key}="{value}"' for key, value in wanted.labels.items()]
        having += [f'source "{wanted.source}"'] if wanted.source else []
        close = suggestion(wanted.source, sources.counts(connection)) if wanted.source else ""
        wrong = [f"no endpoint has {' and '.join(having)}{close or '; watcher endpoints list shows what there is'}"]
    if wrong:
        raise UsageError("\n".join(wrong))
    return rows


def _missing(connection: Connection, name: str) -> str:
    near = " or ".join(f'"{_line(close)}"' for close in endpoints.near(connection, name))
    return f'no endpoint "{_line(name)}"' + (f"; did you mean {near}?" if near else "")


def _format(name: str) -> str:
    extension = Path(name).suffix.lower()
    form = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson"}.get(extension)
    if form is None:
        raise UsageError(f"{name}: neither .csv nor .ndjson; say what it is with --format")
    return form


def _print_json(rows: Iterable[Row], types: OptionTypes) -> int:
    count = 0
    for row in rows:
        text = msgspec.json.encode(_shown(row, types)).decode()
        # C1 controls and what turns the direction of writing are no less the text's when they are escaped
        click.echo("".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text))
        count += 1
    return count


def _print_table(rows: Sequence[Row]) -> int:
    lines = [_summary(row) for row in rows]
    if lines:
        lines.insert(0, ("NAME", "URL", "EVERY", "STATE", "LABELS", "SOURCE"))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return len(rows)


def _summary(row: Row) -> tuple[str, ...]:
    state = "removed" if row["removed_at"] else "enabled" if row["enabled"] else "disabled"
    labels = row["labels"]
    if isinstance(labels, Mapping):  # else the store could not make sense of them
        labels = ",".join(f"{key}={value}" for key, value in labels.items())
    return (
        _line(row["name"]),
        _line(row["url"]),
        f"{row['interval_s']:g} s",
        state,
        _line(labels),
        _line(row["source"]),
    )


def _described(row: Row, types: OptionTypes) -> Iterator[str]:
    for key, value in _shown(row, types).items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        yield f"{key + ':':<13}{_line(text)}"


def _shown(row: Row, types: OptionTypes) -> Row:
    """Give a row as it may be shown: without secrets, and without what says nothing."""
    shown = {
        **row,
        "name": masked(row["name"]),
        "url": masked(row["url"]),
        "options": config.masked(row["options"], types),
    }
    times = {
        key: row[key].isoformat(timespec="seconds") for key in ("created_at", "updated_at", "removed_at") if row[key]
    }
    return {
        key: value for key, value in {**shown, **dict.fromkeys(("removed_at",)), **times}.items() if value is not None
    }


def _noting_secrets(rows: Iterable[Row], types: OptionTypes, names: list[str]) -> Iterator[Row]:
    for row in rows:
        if isinstance(row["options"], Mapping):
            row = {**row, "options": types.sealed(row["options"])}
            readable = types.holds_literals(row["options"])
        else:
            readable = True
        if readable or masked(row["url"]) != row["url"]:
            names.append(row["name"])
        yield row


def _deciders(rows: Iterable[Row]) -> list[str]:
    """Give the sources that decide, at each reload: a file is the truth for its endpoints."""
    return [source for source in sorted({row["source"] for row in rows}) if source.startswith(("file:", "plugin:"))]


def _warn_of_deciders(rows: Sequence[Row], enabled: bool) -> None:
    """Say what becomes of endpoints that were enabled or disabled by hand."""
    them = "it" if len(rows) == 1 else "them"
    for source in _deciders(rows):
        kind, _, name = source.partition(":")
        if kind == "plugin":
            say(f"the plugin {name} decides: what it finds next says anew whether they are enabled")
        elif enabled:
            say(f"a reload or restart disables again what has enabled = false in {name}; take that out there")
        else:
            say(f"a reload or restart enables {them} again; set enabled = false in {name}")


def _counted(rows: Sequence[Row]) -> str:
    return f"{len(rows):,} endpoint{'s' * (len(rows) != 1)}"


def _some(names: Iterable[str]) -> str:
    named = [_line(name) for name in names]
    more = f" and {len(named) - NAMED_MOST:,} more" if len(named) > NAMED_MOST else ""
    return ", ".join(named[:NAMED_MOST]) + more


def _line(text: str) -> str:
    """Give a text without passwords and without what moves a terminal's cursor: rows may be written by any client."""
    text = masked(text)
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "�" for sign in text)
