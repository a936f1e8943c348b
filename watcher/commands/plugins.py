"""`watcher plugins`: what is installed, from where, which hooks it implements and which options it adds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
import msgspec

from watcher import registry
from watcher.commands.configured import disabled
from watcher.config import shapes
from watcher.config.options import OptionTypes

PREFIX = "watcher_"


@click.command(name="plugins")
@click.option("--json", "as_json", is_flag=True, help="One JSON list, for machines.")
@click.option("--no-plugin", multiple=True, metavar="NAME", help="Do not load this plugin. May be repeated.")
def command(as_json: bool, no_plugin: tuple[str, ...]) -> None:
    """List the plugins: distribution, version, hooks, and the options that they add to endpoints."""
    plugins = registry.plugin_manager(disabled(no_plugin))
    found = [*_loaded(plugins, registry.option_types(plugins)), *_absent(plugins)]
    found.sort(key=lambda plugin: plugin["name"])
    lines = [line for plugin in found for line in _told(plugin)]
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines))


def _loaded(plugins: registry.Plugins, types: OptionTypes) -> Iterator[dict[str, Any]]:
    for name, origin in plugins.origins.items():
        callers = plugins.get_hookcallers(plugins.get_plugin(name)) or []
        hooks = sorted(caller.name.removeprefix(PREFIX) for caller in callers)
        options = {key: _typed(wanted) for key, (wanted, owner) in types.items() if owner == name}
        yield _plugin(name, origin) | {"loaded": True, "hooks": hooks, "options": options}


def _absent(plugins: registry.Plugins) -> Iterator[dict[str, Any]]:
    for name, origin in plugins.absent.items():
        yield _plugin(name, origin) | {"loaded": False, "hooks": [], "options": {}}


def _plugin(name: str, origin: registry.Origin) -> dict[str, Any]:
    found = {"distribution": origin.distribution, "version": origin.version, "module": origin.module}
    return {"name": name, **found}


def _typed(wanted: Any) -> dict[str, Any]:
    """Describe a type; of a table its fields too."""
    table = shapes.struct(wanted)
    described = {"type": shapes.words(wanted), "secret": shapes.is_secret(wanted)}
    return described | ({"fields": _fields(table)} if table else {})


def _fields(table: type[msgspec.Struct]) -> dict[str, Any]:
    described = {}
    for key, field in shapes.fields(table).items():
        found = _typed(field.type) | {"required": field.required}
        if field.default is not msgspec.NODEFAULT and field.default is not None:
            found["default"] = msgspec.to_builtins(field.default, enc_hook=_plain)
        described[key] = found
    return described


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, float) else str(value)


def _told(plugin: Mapping[str, Any]) -> Iterator[str]:
    where = f"{plugin['distribution']} {plugin['version']}, {plugin['module']}"
    yield f"{plugin['name']}  ({where})" + ("" if plugin["loaded"] else "  not loaded")
    if plugin["hooks"]:
        yield f"  hooks: {', '.join(plugin['hooks'])}"
    for key, option in plugin["options"].items():
        yield from _told_option(key, option, "  option ")


def _told_option(key: str, option: Mapping[str, Any], indent: str) -> Iterator[str]:
    notes = ["required"] if option.get("required") else []
    notes += [f"default {json.dumps(option['default'])}"] if "default" in option else []
    notes += [f"secret, or {key}{shapes.FILE_SUFFIX}"] if option["secret"] else []
    yield f"{indent}{key}: {option['type']}" + (f" ({', '.join(notes)})" if notes else "")
    for name, field in option.get("fields", {}).items():
        yield from _told_option(name, field, " " * 4 + " " * (len(indent) - len(indent.lstrip())))
