"""`watcher validate`: reads a configuration as the agent would, reports every mistake, and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from watcher import config, registry
from watcher.commands.configured import disabled
from watcher.config import Config, EndpointSpec
from watcher.config.options import OptionTypes
from watcher.config.spec import label
from watcher.errors import ConfigError
from watcher.plan import Unusable, compile_plan
from watcher.screen import figures


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
        loaded, plugins, types = registry.configured(path, disabled(no_plugin))
        if problems := list(_unusable(loaded, plugins, types)):
            raise ConfigError(problems)
    except ConfigError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"valid": False, "problems": error.problems}, ensure_ascii=False))
        return error.exit_code
    click.echo(_record(loaded) if as_json else _sentence(path, loaded))
    return 0


def _unusable(loaded: Config, plugins: registry.Plugins, types: OptionTypes) -> Iterator[str]:
    """Give what only a plan shows, once for all endpoints of one scheme with the same options."""
    alike: dict[tuple[str, int], list[EndpointSpec]] = {}
    for spec in loaded.endpoints:
        scheme = spec.url.partition(":")[0].lower()
        alike.setdefault((scheme, id(spec.options)), []).append(spec)  # equal options are one object
    for first, *others in alike.values():
        plan = compile_plan(config.endpoint(first, types), plugins)
        if isinstance(plan.prober, Unusable):
            where = label({"name": first.name})
            more = f" (and {figures.counted(len(others), 'more endpoint')} with these options)" if others else ""
            yield f"{loaded.settings.path}: {where}: {plan.prober.why}{more}"
        plan.close()


def _disabled(loaded: Config) -> int:
    return sum(not spec.enabled for spec in loaded.endpoints)


def _record(loaded: Config) -> str:
    counts = {"endpoints": len(loaded.endpoints), "disabled": _disabled(loaded)}
    return json.dumps({"valid": True, **counts, "problems": []})


def _sentence(path: Path, loaded: Config) -> str:
    count, idle = len(loaded.endpoints), _disabled(loaded)
    share = f", {idle:,} of them disabled" if idle else ""
    return f"{path}: valid, {count:,} endpoint{'s' * (count != 1)}{share}"
