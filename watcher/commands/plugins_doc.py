"""`watcher plugins doc`: the reference of what the installed plugins offer, from what they say of themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from watcher import registry
from watcher.commands.configured import disabled
from watcher.commands.plugins_described import described, shared
from watcher.config import conversion, shapes
from watcher.errors import UsageError

FORMATS = ("text", "markdown")
COLUMNS_MOST = 120


@click.command(name="doc", short_help="Write the reference of all that plugins offer.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="How to write.")
@click.option("--no-plugin", multiple=True, metavar="NAME", help="Do not load this plugin. May be repeated.")
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], form: str, no_plugin: tuple[str, ...]) -> None:
    """Write the reference of all installed plugins, third parties' too, or of those that are named.

    What a plugin is for, its hooks, each option key with its type, its fields and their defaults, and its settings,
    `[plugins.NAME]`: as the plugin itself describes them.
    """
    above = ctx.parent.params.get("no_plugin", ()) if ctx.parent else ()
    plugins = {plugin["name"]: plugin for plugin in _loaded((*above, *no_plugin))}
    for name in names:
        if name not in plugins:
            close = conversion.suggestion(name, plugins) or f"; loaded are {', '.join(plugins)}"
            raise UsageError(f'no plugin "{name}" is loaded{close}')
    shown = [plugins[name] for name in names or plugins]
    markdown = "\n".join([line for plugin in shown for line in _section(plugin)] + list(_shared(shown)))
    if form == "markdown":
        click.echo(markdown)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(markdown), width=min(console.width, COLUMNS_MOST))


def _loaded(no_plugin: tuple[str, ...]) -> list[dict[str, Any]]:
    return [plugin for plugin in described(registry.plugin_manager(disabled(no_plugin))) if plugin["loaded"]]


def _section(plugin: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {plugin['name']}\n"
    hooks = ", ".join(f"`{hook}`" for hook in plugin["hooks"])
    yield f"{plugin['distribution']} {plugin['version']}, module `{plugin['module']}`, hooks {hooks}.\n"
    if plugin["doc"]:
        yield f"{plugin['doc']}\n"
    for key, option in plugin["options"].items():
        yield from _part(f"### Option `{key}`", option)
    if own := plugin["settings"]:
        place = f"[[plugins.{plugin['name']}]]" if own["many"] else f"[plugins.{plugin['name']}]"
        yield from _part(f"### Settings `{place}`", own)


def _part(heading: str, offered: Mapping[str, Any]) -> Iterator[str]:
    yield f"{heading}\n"
    kind = _kind(offered)
    default = f" Default: `{json.dumps(offered['default'])}`." if "default" in offered else ""
    yield f"{kind[:1].upper()}{kind[1:]}{_secret(heading, offered)}.{default}\n"
    if offered.get("doc"):
        yield f"{offered['doc']}\n"
    rows = list(_rows(offered.get("fields", {}), ""))
    if rows and "shared" not in offered:
        columns = ("field", "type", "default", "what it means")[: None if any(row[3] for row in rows) else 3]
        for row in (columns, ["---"] * len(columns), *rows):
            yield f"| {' | '.join(row[: len(columns)])} |"
        yield ""


def _secret(heading: str, offered: Mapping[str, Any]) -> str:
    if not offered["secret"]:
        return ""
    key = heading.split("`")[1]
    return f", never shown; or `{key}{shapes.FILE_SUFFIX}`, the path of a file that holds it"


def _rows(fields: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, ...]]:
    """Give the cells of each field, those of a table within it beneath it."""
    for key, field in fields.items():
        name = prefix + key
        default = f"`{_cell(json.dumps(field['default']))}`" if "default" in field else ""
        secret = f"; a secret, or `{name}{shapes.FILE_SUFFIX}`" if field["secret"] else ""
        yield f"`{name}`", _kind(field) + secret, "required" if field.get("required") else default, _line(field)
        if "shared" not in field:
            yield from _rows(field.get("fields", {}), f"{name}.")


def _kind(offered: Mapping[str, Any]) -> str:
    """Give a type in words, with where to read on for those that several options share."""
    words = _cell(re.sub(r"([*_`<\[\]])", r"\\\1", offered["type"]))
    return words + (f" ([{offered['shared']}](#{offered['shared'].lower()}))" if "shared" in offered else "")


def _line(field: Mapping[str, Any]) -> str:
    """Give the first paragraph of what is said of a field, as the cell of a table."""
    return _cell(" ".join(field.get("doc", "").partition("\n\n")[0].split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shared(plugins: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Give the tables that several options have in common, each once."""
    names = set()
    left = [option for plugin in plugins for option in (*plugin["options"].values(), plugin["settings"]) if option]
    while left:
        one = left.pop()
        names |= {one["shared"]} if "shared" in one else set()
        left += one.get("fields", {}).values()
    for name in sorted(names):
        yield from _part(f"## {name}", shared(name))
