"""Endpoints that plugins find elsewhere (hook `watcher_endpoints`), each plugin's as a source of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pluggy

from watcher import config
from watcher.config import EndpointSpec, Settings
from watcher.errors import ConfigError
from watcher.screen import figures


def discovered(
    plugins: pluggy.PluginManager,
    types: Mapping[str, tuple[Any, str]],
    settings: Settings,
    say: Callable[[str], None],
) -> Iterator[tuple[str, tuple[EndpointSpec, ...]]]:
    """Give the source and the endpoints of every plugin that has some to give.

    One that breaks, or gives what cannot be used, is left out after `say`: its endpoints stay as they are.
    """
    others = {implementation.plugin for implementation in plugins.hook.watcher_endpoints.get_hookimpls()}
    for implementation in plugins.hook.watcher_endpoints.get_hookimpls():
        source = f"plugin:{implementation.plugin_name}"
        ask = plugins.subset_hook_caller("watcher_endpoints", others - {implementation.plugin})
        try:
            tables = [table for answer in ask(settings=settings) for table in answer]
            yield source, config.specs(tables, types, source)
        except ConfigError as error:
            for problem in error.problems:
                say(problem)
            mistakes = figures.counted(len(error.problems), "mistake")
            say(f"{mistakes} in what {source} gives; its endpoints stay as they are")
        except Exception as error:  # pylint: disable=broad-exception-caught  # the boundary around plugins
            say(f"{source}: {type(error).__name__}: {error}; its endpoints stay as they are")
