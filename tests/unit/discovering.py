"""Discovery plugins for tests: their settings read from a real file, their finds as lists."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from watcher import Discovery, Failure, config
from watcher.config.options import OptionTypes
from watcher.config.parts import SettingsTypes

Found = list[dict[str, Any] | Failure]


def discoveries(plugin: ModuleType, path: Path, text: str) -> list[Discovery]:
    """Give what a plugin answers to a configuration with this text.

    Raises:
        ConfigError: for a mistake in it.
    """
    path.write_text(text, encoding="utf-8")
    name = plugin.__name__.rpartition(".")[2]
    loaded = config.load(path, OptionTypes(), SettingsTypes({name: plugin.watcher_settings()}))
    return plugin.watcher_endpoints(loaded.settings)


def specs(found: Found) -> dict[str, config.EndpointSpec]:
    """Give what the tables stand for, by name; fails when one is wrong or two have one name."""
    return {spec.name: spec for spec in config.specs(found, OptionTypes({"status": (Any, "test")}), "plugin:test")}


def trouble(found: Found) -> list[str]:
    """Give the failures among what was found."""
    return [part.detail for part in found if isinstance(part, Failure)]


def urls(found: Found) -> list[str]:
    """Give the URLs of the tables."""
    return [part["url"] for part in found if not isinstance(part, Failure)]
