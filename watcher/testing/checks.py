"""Real checks with given plugins and watcher's own, and the parts of a check for tests of one hook."""

from __future__ import annotations

import atexit
import functools
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import requests

from watcher import config, registry
from watcher.errors import ConfigError
from watcher.models import Endpoint, Failure, Result
from watcher.ledger import Ledger, Watchman
from watcher.plan import Plan, Unusable, compile_plan
from watcher.probe import probe
from watcher.testing.values import URL
from watcher.transport import Anchor, Exchange

SOURCE = "test"


def check(url: str, /, *plugins: object, **options: Any) -> Result:
    """Check a URL once, really, and give the result.

    What a plugin raises is in the result, as always (status `missed`, reason `plugin`); its traceback goes to stderr.
    Names are looked up for one thread of the process: make checks in the same one.

    Args:
        url: the endpoint's.
        plugins: modules or objects with hooks, to be tried together with watcher's own.
        options: what an `[[endpoints]]` table would say, as it would be written there: `min_words=5`, `timeout="2s"`.

    Raises:
        ConfigError: what is wrong with the options, as a user would read it.
    """
    _keep_stamps()
    ledger = Ledger()
    plan = _plan(url, plugins, options, ledger)
    try:
        with Watchman(ledger):
            return probe(plan, plugin_failed=_show)
    finally:
        plan.close()


def endpoint(url: str = URL, /, *plugins: object, **options: Any) -> Endpoint:
    """Give an endpoint as hooks get it, its options converted; arguments and errors as of `check`."""
    return _endpoint(url, registry.option_types(registry.own_plugins(plugins)), options)


def judge(seen: requests.Response | Exchange, /, *plugins: object, url: str = URL, **options: Any) -> Failure | None:
    """Give what the steps of these plugins, but not watcher's own, find in a response or a measurement.

    Args:
        seen: from `response` for steps that examine, from `exchange` for those that assess.
        plugins: as of `check`.
        url: the endpoint's.
        options: as of `check`.

    Raises:
        ConfigError: as of `check`.
        ValueError: the endpoint cannot be checked as it is configured.
    """
    manager = registry.own_plugins(plugins)
    plan = _plan(url, plugins, options)
    if isinstance(plan.prober, Unusable):
        raise ValueError(plan.prober.why)
    names = {manager.get_name(plugin) for plugin in plugins}
    steps = plan.assess if isinstance(seen, Exchange) else plan.examine
    verdicts = [step(seen) for step, account in steps if account.name in names]
    failures = [verdict for verdict in verdicts if verdict is not None]
    return min(failures, key=lambda failure: failure.degraded, default=None)


def settings(
    plugin: object, own: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None, *, path: Path | None = None
) -> config.Settings:
    """Give the settings of a configuration as hooks get them.

    Args:
        plugin: the module or object with the hook `watcher_settings`.
        own: what `[plugins.NAME]` says, or `[[plugins.NAME]]` in a list, as it would be written there.
        path: the configuration file.

    Raises:
        ConfigError: what is wrong with it, as a user would read it.
    """
    manager = registry.own_plugins([plugin])
    types = registry.settings_types(manager)
    problems: list[str] = []

    def report(key: str, text: str) -> None:
        problems.append(f"{key}: {text}")

    written = own if own is None or isinstance(own, Mapping) else list(own)
    tables = {} if written is None else {manager.get_name(plugin) or "": written}
    stored = types.storable(tables, report, str(path.parent if path else Path()))
    converted, wrong = config.plugin_settings(stored, types)
    if problems or wrong:
        raise ConfigError([*problems, *wrong])
    default = config.default_settings()
    return config.Settings(
        database=default.database, agent=default.agent, path=path, plugins=converted, plugin_tables=stored
    )


def _plan(url: str, plugins: Iterable[object], options: Mapping[str, Any], ledger: Ledger | None = None) -> Plan:
    manager = registry.own_plugins(plugins)
    return compile_plan(_endpoint(url, registry.option_types(manager), options), manager, ledger)


def _endpoint(url: str, types: registry.OptionTypes, options: Mapping[str, Any]) -> Endpoint:
    return config.endpoint(config.specs([{"url": url, **options}], types, SOURCE)[0], types)


def _show(name: str, of: Endpoint, error: BaseException) -> None:
    sys.stderr.write(f"plugin {name} failed at {of.url}\n")
    traceback.print_exception(error)


@functools.cache
def _keep_stamps() -> None:
    """Keep the kernel's receive stamps switched on from the first check to the end of the process."""
    atexit.register(Anchor().close)
