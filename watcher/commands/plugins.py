"""`watcher plugins`: what is installed, what it offers, and what it does in a running agent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from watcher import registry
from watcher.agent import account
from watcher.commands import plugins_doc, plugins_new
from watcher.commands.configured import disabled, read, say
from watcher.commands.plugins_described import described
from watcher.config import shapes
from watcher.errors import ConfigError, EnvironmentProblem
from watcher.screen import figures

SILENT_S = 3 * account.EVERY_S  # after which an agent that did not end is told of
CONFIG = "The configuration whose agent's figures are shown; without it that of the default data directory."


@click.group(name="plugins", invoke_without_command=True)
@click.option("--config", "path", type=click.Path(path_type=Path), metavar="FILE", help=CONFIG)
@click.option("--json", "as_json", is_flag=True, help="One JSON list, for machines.")
@click.option("--no-plugin", multiple=True, metavar="NAME", help="Do not load this plugin. May be repeated.")
@click.pass_context
def command(ctx: click.Context, path: Path | None, as_json: bool, no_plugin: tuple[str, ...]) -> None:
    """List the plugins: distribution, version, hooks, settings, and the options that they add to endpoints.

    Where an agent runs, or ran, its figures of each plugin are shown too: since its start, of all workers, calls of
    steps and the time that they took (waiting included), errors, and how often they held up every other check.
    """
    if ctx.invoked_subcommand:
        if path or as_json:
            name = "--config" if path else "--json"
            raise click.UsageError(f"{name} before '{ctx.invoked_subcommand}' has no effect; leave it out.")
        return
    data_dir, without = _place(path)
    found = described(registry.plugin_manager({*without, *disabled(no_plugin)}))
    left = _figures(data_dir, wanted=path is not None) if data_dir else None
    now = time.time()
    if as_json:
        click.echo(json.dumps(_with_figures(found, left, now), indent=2))
        return
    if left:
        click.echo(f"figures of {_age(left, now)}, {data_dir}\n")
    sums = left.plugins if left else {}
    click.echo("\n".join(line for plugin in found for line in _told(plugin, sums)))
    for name in sorted(sums.keys() - {plugin["name"] for plugin in found}):
        click.echo(f"{name}  (not installed here)\n  figures: {_summed(sums[name])}")


command.add_command(plugins_new.command)
command.add_command(plugins_doc.command)


def _place(path: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """Give the data directory, None when the default cannot be told, and the plugins that are disabled."""
    try:
        settings, without = read(path)
    except ConfigError:
        if path:
            raise
        return None, ()
    return settings.agent.data_dir, without


def _figures(data_dir: Path, wanted: bool) -> account.PluginFigures | None:
    """Read what an agent left; that there is nothing is told to who asked for it."""
    try:
        left = account.read(data_dir)
    except OSError as error:
        if wanted:
            raise EnvironmentProblem(f"{error.filename}: {error.strerror}; run this as the agent's user") from error
        return None
    if left is None and wanted:
        say(f"no agent has left figures in {data_dir} yet")
    return left


def _age(left: account.PluginFigures, now: float) -> str:
    ago_s = max(0.0, now - left.at)
    if left.ended:
        return f"an agent that ended {figures.age(ago_s)} ago"
    silent = "; it is not heard of any more" if ago_s > SILENT_S else ""
    return f"{figures.age(ago_s)} ago{silent}"


def _with_figures(
    found: list[dict[str, Any]], left: account.PluginFigures | None, now: float
) -> list[dict[str, Any]]:
    if left is None:
        return found
    state = {"age_s": round(max(0.0, now - left.at), 1), "ended": left.ended}
    by_name = {name: sums | state for name, sums in left.plugins.items()}
    return [plugin | {"figures": by_name.get(plugin["name"])} for plugin in found]


def _told(plugin: Mapping[str, Any], sums: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    where = f"{plugin['distribution']} {plugin['version']}, {plugin['module']}"
    yield f"{plugin['name']}  ({where})" + ("" if plugin["loaded"] else "  not loaded")
    if plugin["name"] in sums:
        yield f"  figures: {_summed(sums[plugin['name']])}"
    if plugin["hooks"]:
        yield f"  hooks: {', '.join(plugin['hooks'])}"
    for key, option in plugin["options"].items():
        yield from _told_option(key, option, "  option ")
    if plugin["settings"]:
        brackets = ("[[", "]]") if plugin["settings"]["many"] else ("[", "]")
        yield f"  settings {brackets[0]}plugins.{plugin['name']}{brackets[1]}"
        for key, field in plugin["settings"]["fields"].items():
            yield from _told_option(key, field, " " * 4)


def _told_option(key: str, option: Mapping[str, Any], indent: str) -> Iterator[str]:
    notes = ["required"] if option.get("required") else []
    notes += [f"default {json.dumps(option['default'])}"] if "default" in option else []
    notes += [f"secret, or {key}{shapes.FILE_SUFFIX}"] if option["secret"] else []
    yield f"{indent}{key}: {option['type']}" + (f" ({', '.join(notes)})" if notes else "")
    for name, field in option.get("fields", {}).items():
        yield from _told_option(name, field, " " * 4 + " " * (len(indent) - len(indent.lstrip())))


def _summed(sums: Mapping[str, int]) -> str:
    """Write the sums of one plugin: `1,200 calls, 3.40 s (2.83 ms each), 2 errors`."""
    told = []
    if calls := sums.get("calls", 0):
        spent_us = sums.get("spent_us", 0)
        each = figures.duration(spent_us / calls)
        told = [figures.counted(calls, "call"), f"{figures.duration(spent_us)} ({each} each)"]
    told.append(figures.counted(sums.get("errors", 0), "error"))
    if dropped := sums.get("dropped"):
        told.append(f"{figures.counted(dropped, 'result')} dropped")
    if held := sums.get("held"):
        told.append(f"held up every other check {figures.counted(held, 'time')}")
    if overruns := sums.get("overruns"):
        told.append(f"ended for taking too long {figures.counted(overruns, 'time')}")
    return ", ".join(told)
