"""`watcher check URL`: one probe, laid open."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from watcher import durations
from watcher.commands.configured import disabled
from watcher.config.options import CORE_KEYS
from watcher.models import INTERVAL_MAX_S

PATH = click.Path(path_type=Path)


@click.command(name="check")
@click.argument("target", metavar="URL")
@click.option("--regex", metavar="PATTERN", help="What the body must hold.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header. May be repeated.")
@click.option("--option", "options", multiple=True, metavar="KEY=JSON", help="An option of endpoints. May be repeated.")
@click.option("--timeout", metavar="SECONDS", help="Deadline of the check, e.g. 3 or 500ms.  [default: 10]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--config", "path", type=PATH, metavar="FILE", help="URL may then be the name of an endpoint in it.")
@click.option("--no-plugin", multiple=True, metavar="NAME", help="Do not load this plugin. May be repeated.")
def command(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # one each option
    target: str,
    regex: str | None,
    headers: tuple[str, ...],
    options: tuple[str, ...],
    timeout: str | None,
    as_json: bool,
    path: Path | None,
    no_plugin: tuple[str, ...],
) -> int:
    """Probe URL once and show where the time goes; exit 1 when it is down.

    Without a scheme, https:// is meant. Options are those of an endpoint in the configuration file, for example
    --option method=POST --option 'status=["2xx", 304]' --option 'tls={"verify": false}'.
    """
    given = _given(regex, headers, options)
    if timeout:
        _check_timeout(timeout)
    from watcher import green

    green.patch()
    from watcher.commands.inspection import probe_once

    inspection = probe_once(target, given, timeout, path, disabled(no_plugin))
    if as_json:
        click.echo(inspection.record())
    else:
        from watcher.screen.paper import paper

        paper().print(inspection.picture())
    return int(not inspection.is_up)


def _given(regex: str | None, headers: tuple[str, ...], options: tuple[str, ...]) -> dict[str, Any]:
    """Give the options of the command line as a table of the configuration file has them."""
    given: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise click.BadParameter(f"'{option}' is not KEY=JSON", param_hint="--option")
        key = key.strip()
        if key in CORE_KEYS:
            hint = f"write --{key} {text}" if key == "timeout" else "a single check has no use for it"
            hint = "write it as the argument" if key == "url" else hint
            raise click.BadParameter(f"'{key}' is no option: {hint}", param_hint="--option")
        given[key] = _value(text)
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.BadParameter(f"'{header}' is not 'NAME: VALUE'", param_hint="--header")
        given.setdefault("headers", {})[name.strip()] = value.strip()
    return given | ({"regex": regex} if regex is not None else {})


def _check_timeout(text: str) -> None:
    """Refuse what no endpoint may have; what is no duration is refused later, with all else that is wrong."""
    with suppress(TypeError, ValueError):
        if durations.seconds(text) > INTERVAL_MAX_S:
            raise click.BadParameter(f"{INTERVAL_MAX_S:g} s is the most", param_hint="--timeout")


def _value(text: str) -> Any:
    """Read JSON; what is none is a text: quotes within quotes are for machines."""
    try:
        return json.loads(text)
    except ValueError:
        return text
