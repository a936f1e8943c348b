"""Endpoints for the tests of plugins, with options converted as a configuration's are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pluggy
import requests

from watcher import Endpoint, Failure, hookspecs, registry
from watcher.config import Agent, Database, Settings
from watcher.config.options import OptionTypes


def manager(*plugins: object) -> pluggy.PluginManager:
    """Give a plugin manager with these plugins alone."""
    found = pluggy.PluginManager("watcher")
    found.add_hookspecs(hookspecs)
    for plugin in plugins:
        found.register(plugin)
    return found


def convert(plugins: pluggy.PluginManager, raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Give the options that a raw table stands for, and what is wrong with it: one line a mistake."""
    types = {key: (wanted, "test") for found in plugins.hook.watcher_options() for key, wanted in found.items()}
    mistakes: list[str] = []
    options = OptionTypes(types).convert(raw, lambda key, text: mistakes.append(f"{key}: {text}"), {})
    return options, mistakes


def settings(
    plugins: pluggy.PluginManager, tables: dict[str, Any], directory: Path = Path(), **agent: Any
) -> tuple[Settings, list[str]]:
    """Give the settings with these tables under `[plugins]` of a file in a directory, and what is wrong with them."""
    mistakes: list[str] = []
    types = registry.settings_types(plugins)

    def report(key: str, text: str) -> None:
        mistakes.append(f"{key}: {text}")

    raw = types.storable(tables, report, str(directory))
    parts = types.convert(raw, report, {})
    made = Agent(**{"data_dir": directory, "location": "here"} | agent)
    return Settings(database=Database(), agent=made, plugins=parts, plugin_tables=raw), mistakes


def endpoint(plugins: pluggy.PluginManager, url: str = "http://site.test/", **raw: Any) -> Endpoint:
    """Give an endpoint whose options are right."""
    options, mistakes = convert(plugins, raw)
    assert not mistakes
    return Endpoint(name=url, url=url, options=options)


def prepared(plugins: pluggy.PluginManager, url: str = "http://site.test/", **raw: Any) -> requests.PreparedRequest:
    """Give the request that the plugins prepare for an endpoint."""
    request = requests.Request("GET", url)
    plugins.hook.watcher_prepare(endpoint=endpoint(plugins, url, **raw), request=request)
    return request.prepare()


def response(
    body: bytes = b"", *, status: int = 200, reason: str = "OK", content_type: str = "text/html; charset=utf-8"
) -> requests.Response:
    """Give a response as `requests` makes it."""
    made = requests.Response()
    made.status_code, made.reason = status, reason
    made.headers["Content-Type"] = content_type
    made._content = body  # pylint: disable=protected-access  # what requests' own tests do
    return made


def verdict(plugins: pluggy.PluginManager, of: Endpoint, answer: requests.Response) -> Failure | None:
    """Give the first failure that the steps of an endpoint find."""
    failures = [getattr(step, "examine", step)(answer) for step in plugins.hook.watcher_steps(endpoint=of)]
    return next((failure for failure in failures if failure is not None), None)
