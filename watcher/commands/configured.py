"""The option `--config` of commands that need the database, not the endpoints of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from watcher import config
from watcher.config.documents import Document, Documents
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError


def configured(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the parameter `path`, for `read`."""
    path = click.Path(path_type=Path)
    text = "The configuration that says where the database is; without it the embedded one in its default place."
    return click.option("--config", "path", type=path, metavar="FILE", help=text)(function)


def read(path: Path | None) -> tuple[config.Settings, tuple[str, ...]]:
    """Give the settings of a file, or those that hold without one, and the plugins that it disables.

    Mistakes in its endpoints are no reason not to reach the database: no more of the file is judged than is needed.

    Raises:
        ConfigError: with every mistake in the settings.
    """
    if path is None:
        return config.default_settings(), ()
    files = config.read(path)
    if not files.documents:
        raise ConfigError(files.problems)
    tables = {key: files.main.tables[key] for key in ("database", "agent") if key in files.main.tables}
    alone = Documents(files.path, [Document(files.main.path, tables)])
    return config.load(alone, OptionTypes()).settings, config.disabled_plugins(files)


def say(line: str) -> None:
    """Tell the user what is no result."""
    click.echo(f"watcher: {line}", err=True)
