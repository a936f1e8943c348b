"""The option `--config` of commands that need the database, not the endpoints of the file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from watcher import config
from watcher.config.documents import Document, Documents
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError, UsageError, printable


_DISABLED = "watcher.commands.configured.disabled"


def configured(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the parameter `path`, for `read`."""
    path = click.Path(path_type=Path)
    text = "The configuration that says where the database is; without it the embedded one in its default place."
    return click.option("--config", "path", type=path, metavar="FILE", help=text)(function)


def read(path: Path | None) -> tuple[config.Settings, tuple[str, ...]]:
    """Give the settings of a file, or those that hold without one, and the plugins that are disabled.

    Mistakes in its endpoints are no reason not to reach the database: no more of the file is judged than is needed.

    Raises:
        ConfigError: with every mistake in the settings.
    """
    if path is None:
        return config.default_settings(), disabled()
    files = config.read(path)
    if not files.documents:
        raise ConfigError(files.problems)
    tables = {key: files.main.tables[key] for key in ("database", "agent") if key in files.main.tables}
    alone = Documents(files.path, [Document(files.main.path, tables)])
    return config.load(alone, OptionTypes()).settings, disabled(config.disabled_plugins(files))


def without_plugins(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--no-plugin`, for `disabled`; it gets no parameter."""

    def keep(ctx: click.Context, _: click.Parameter, names: tuple[str, ...]) -> None:
        ctx.meta[_DISABLED] = names

    return click.option(
        "--no-plugin", multiple=True, metavar="NAME", help="Do not load this plugin. May be repeated.",
        callback=keep, expose_value=False,
    )(function)  # fmt: skip


def disabled(names: Iterable[str] = ()) -> tuple[str, ...]:
    """Give these names and those of every `--no-plugin` of the command line: `watcher --no-plugin NAME COMMAND` too."""
    found = set(names)
    if context := click.get_current_context(silent=True):
        found.update(context.find_root().params.get("no_plugin") or ())
        found.update(context.meta.get(_DISABLED, ()))
    return tuple(sorted(found))


def say(line: str) -> None:
    """Tell the user what is no result."""
    click.echo(f"watcher: {printable(line)}", err=True)


def say_progress(line: str) -> None:
    """Say it where somebody waits: what a program reads shall not be preceded by it."""
    if sys.stderr.isatty():
        say(line)


def labelled(given: Sequence[str]) -> dict[str, str]:
    """Give the labels that `--label KEY=VALUE` names."""
    wrong = (label for label in given if "=" not in label or label.encode(errors="replace").decode() != label)
    for label in wrong:
        raise UsageError(f'--label "{printable(label)}" is not KEY=VALUE')
    return dict(label.split("=", 1) for label in given)
