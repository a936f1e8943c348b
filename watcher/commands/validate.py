"""`watcher validate`: reads a configuration as the agent would, reports every mistake, and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from watcher import config, registry
from watcher.commands.configured import disabled, say
from watcher.config import Config, EndpointSpec
from watcher.config.options import OptionTypes
from watcher.config.sealing import READABLE
from watcher.config.spec import label
from watcher.errors import ConfigError
from watcher.plan import Unusable, compile_plan
from watcher.screen import figures

COMPILED_MOST = 5000  # one by one, 0.3 ms each; of more endpoints one a shape of URL is


@click.command(name="validate")
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The TOML file to read."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: valid, endpoints, disabled, problems.")
@click.option("--no-plugin", multiple=True, metavar="NAME", help="Do not load this plugin. May be repeated.")
def command(path: Path, as_json: bool, no_plugin: tuple[str, ...]) -> int:
    """Read a configuration with all that it includes and report every mistake in it; exit 2 when there is one.

    References to environment variables and files of secrets are followed: what this user, in this environment, could
    not use is a mistake too, and so are endpoints that no plugin could check: an agent says so at each check. Nothing
    is connected to and nothing is changed.
    """
    try:
        loaded, problems, plugins, types = registry.judged(path, disabled(no_plugin))
        problems += _unusable(loaded, plugins, types)
        if problems:
            raise ConfigError(problems)
    except ConfigError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"valid": False, "problems": error.problems}, ensure_ascii=False))
        return error.exit_code
    click.echo(_record(loaded) if as_json else _sentence(path, loaded))
    if count := config.readable(loaded.endpoints, types):
        say(f"secrets of {figures.counted(count, 'endpoint')} will stand readable in the table; {READABLE}")
    return 0


def _unusable(loaded: Config, plugins: registry.Plugins, types: OptionTypes) -> Iterator[str]:
    """Give what only a plan shows, once for all endpoints with the same options of which the same is to be said.

    What names an option that was left out, because there is a mistake in it, may be right with it.
    """
    left_out = {id(spec): keys for spec, keys in loaded.faulty}
    same: dict[tuple[int, str], list[EndpointSpec]] = {}
    for specs in _alike([*loaded.endpoints, *(spec for spec, _ in loaded.faulty)]):
        plan = compile_plan(config.endpoint(specs[0], types), plugins)
        if isinstance(plan.prober, Unusable):
            for why in plan.prober.faults:
                if any(key in why for key in left_out.get(id(specs[0]), ())):
                    continue
                same.setdefault((id(specs[0].options), why), []).extend(specs)
        plan.close()
    for (_, why), (first, *others) in same.items():
        more = f" (and {figures.counted(len(others), 'more endpoint')} with these options)" if others else ""
        yield f"{loaded.settings.path}: {label({'name': first.name})}: {why}{more}"


def _alike(found: Sequence[EndpointSpec]) -> Iterator[list[EndpointSpec]]:
    """Give the endpoints in groups of which one plan shows what there is to see: of a small file each alone."""
    if len(found) <= COMPILED_MOST:
        yield from ([spec] for spec in found)
        return
    alike: dict[Hashable, list[EndpointSpec]] = {}
    for spec in found:
        alike.setdefault((id(spec.options), _shape(spec.url)), []).append(spec)  # equal options are one object
    yield from alike.values()


def _shape(url: str) -> Hashable:
    """Give what a plugin may find fault with in a URL: which parts it has, and what is rare in them as it is."""
    try:
        parts = urlsplit(url)
        host, has_port = parts.hostname or "", bool(parts.port)
    except ValueError:  # a reference stands for the port
        return url
    if not host.isascii() or parts.fragment or "${" in url:
        return url
    there = has_port, bool(parts.path.strip("/")), "@" in parts.netloc, ":" in host, "{{" in url
    return parts.scheme, there, bool(parts.query) if parts.scheme in ("http", "https") else parts.query


def _disabled(loaded: Config) -> int:
    return sum(not spec.enabled for spec in loaded.endpoints)


def _record(loaded: Config) -> str:
    counts = {"endpoints": len(loaded.endpoints), "disabled": _disabled(loaded)}
    return json.dumps({"valid": True, **counts, "problems": []})


def _sentence(path: Path, loaded: Config) -> str:
    count, idle = len(loaded.endpoints), _disabled(loaded)
    share = f", {idle:,} of them disabled" if idle else ""
    return f"{path}: valid, {count:,} endpoint{'s' * (count != 1)}{share}"
