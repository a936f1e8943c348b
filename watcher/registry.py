"""The plugins of this installation: found by their entry points, checked against the hook specifications.

A plugin is named by its entry point in the group `watcher`. Nothing here is called on the way of a check.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import msgspec
import pluggy

from watcher import config, hookspecs
from watcher.config import conversion, shapes
from watcher.config.offers import Offer, Offers
from watcher.config.options import CORE_KEYS, OptionTypes
from watcher.config.parts import SettingsTypes
from watcher.errors import ConfigError, UsageError

GROUP = "watcher"
PREFIX = "watcher_"


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from."""

    distribution: str
    version: str
    module: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


class Plugins(pluggy.PluginManager):
    """The loaded plugins with their origins; `absent` are installed and were not chosen."""

    def __init__(self) -> None:
        super().__init__(GROUP)
        self.add_hookspecs(hookspecs)
        self.origins: dict[str, Origin] = {}
        self.absent: dict[str, Origin] = {}

    def describe(self, name: str) -> str:
        """Name a plugin with its distribution, for messages."""
        return f'plugin "{name}" ({self.origins[name]})' if name in self.origins else f'plugin "{name}"'


def plugin_manager(disabled: Collection[str] = ()) -> Plugins:
    """Load the plugins that are installed, chosen by `WATCHER_PLUGINS` and not disabled.

    Raises:
        UsageError: a plugin that does not load or that pluggy refuses, a name that none has.
    """
    found = _entry_points()
    chosen = config.chosen_plugins()
    _check_names(chosen or (), found, "WATCHER_PLUGINS")
    _check_names(disabled, found, "--no-plugin or agent.disabled_plugins")
    plugins = Plugins()
    for name, point in found.items():
        origin = _origin(point)
        if name in disabled or (chosen is not None and name not in chosen):
            plugins.absent[name] = origin
        else:
            plugins.origins[name] = origin
            _register(plugins, name, point)
    return plugins


def changed(plugins: Plugins) -> list[str]:
    """Name the distributions that were installed, uninstalled or replaced since these plugins were loaded."""
    loaded = plugins.origins | plugins.absent
    now = {point.name: _origin(point) for point in metadata.entry_points(group=GROUP)}
    # what is half uninstalled has no name of its own
    return sorted({origin.distribution or name for name, origin in loaded.items() ^ now.items()})


def own_plugins(others: Iterable[object] = ()) -> Plugins:
    """Load watcher's own plugins and these, whatever else is installed or chosen: for tests.

    Args:
        others: modules or objects with hooks; a module is named as its file, `watcher_` left out.

    Raises:
        UsageError: as of `plugin_manager`.
    """
    plugins = Plugins()
    for name, point in _entry_points().items():
        origin = _origin(point)
        if origin.distribution == GROUP:
            plugins.origins[name] = origin
            _register(plugins, name, point)
    for plugin in others:
        if not plugins.is_registered(plugin):
            whole = getattr(plugin, "__name__", type(plugin).__name__)
            name = whole.rpartition(".")[2].removeprefix(PREFIX)
            _register_as(plugins, whole if plugins.has_plugin(name) else name, plugin, "")
    return plugins


def configured(path: Path, disabled: Collection[str] = ()) -> tuple[config.Config, Plugins, OptionTypes]:
    """Load a configuration file with the plugins that it and the command line leave enabled.

    Raises:
        ConfigError: with every mistake in the file.
        UsageError: as of `plugin_manager`.
    """
    loaded, problems, plugins, types = judged(path, disabled)
    if problems:
        raise ConfigError(problems)
    return loaded, plugins, types


def judged(
    path: Path, disabled: Collection[str] = ()
) -> tuple[config.Config, list[str], Plugins, OptionTypes]:
    """Do the same with a file that may have mistakes: what is right in it, then its mistakes.

    Raises:
        UsageError: as of `plugin_manager`.
    """
    files = config.read(path)
    named = config.disabled_plugins(files)
    known = _entry_points() if named else {}  # slow
    plugins = plugin_manager({*disabled, *(name for name in named if name in known)})
    types = option_types(plugins)
    loaded, problems = config.judged(files, types, settings_types(plugins))
    place = f"{path}: agent.disabled_plugins: "
    return loaded, [*problems, *(place + fault for fault in _name_faults(named, known))], plugins, types


def option_types(plugins: pluggy.PluginManager) -> OptionTypes:
    """Ask the plugins for the keys that endpoints may carry.

    Raises:
        UsageError: a plugin that breaks, a type that cannot be, a key that is taken.
    """
    types: dict[str, tuple[Any, str]] = {}
    for implementation in plugins.hook.watcher_options.get_hookimpls():
        name = implementation.plugin_name
        for key, wanted in _declared(implementation, _described(plugins, name), _remedy(name)).items():
            if key in types:
                owners = " and ".join(_described(plugins, owner) for owner in (types[key][1], name))
                raise UsageError(f'option "{key}" is offered by {owners}; go on with --no-plugin and one of the names')
            types[key] = (wanted, name)
    return OptionTypes(types, getattr(plugins, "absent", ()))


def settings_types(plugins: pluggy.PluginManager) -> SettingsTypes:
    """Ask the plugins for the types of their own parts of a configuration.

    Raises:
        UsageError: a plugin that breaks, a type that cannot be.
    """
    types: dict[str, Any] = {}
    for implementation in plugins.hook.watcher_settings.get_hookimpls():
        name = implementation.plugin_name
        what = f"{_described(plugins, name)}: watcher_settings: "
        try:
            types[name] = implementation.function()
        except Exception as error:  # pylint: disable=broad-exception-caught  # the boundary around what a plugin does
            raise UsageError(f"{what}{type(error).__name__}: {_one_line(error)}{_remedy(name)}") from error
        if not _is_table(types[name]):
            raise UsageError(
                f"{what}gives no subclass of watcher.Options, nor a list of one, but {types[name]!r}{_remedy(name)}"
            )
        _check_type(types[name], what + "its type")
    plain = [name for name, _ in plugins.list_name_plugin() if name not in types]
    return SettingsTypes(types, plain, getattr(plugins, "absent", ()))


def offers(plugins: pluggy.PluginManager, types: OptionTypes) -> Offers:
    """Give which package offers which option and which settings, to be remembered by `watcher.config.offers`."""
    origins = getattr(plugins, "origins", {})
    by_name = {name: Offer(name, origin.distribution, origin.version) for name, origin in origins.items()}
    having = {implementation.plugin_name for implementation in plugins.hook.watcher_settings.get_hookimpls()}
    return Offers(
        {key: by_name[name] for key, (_, name) in types.items() if name in by_name},
        {name: offer for name, offer in by_name.items() if name in having},
    )


def _is_table(wanted: Any) -> bool:
    """Tell whether a type is that of `[plugins.NAME]`, or of `[[plugins.NAME]]`."""
    if get_origin(wanted) is list:
        return shapes.struct(get_args(wanted)[0]) is not None
    return shapes.struct(wanted) is not None


def add_commands(plugins: pluggy.PluginManager, group: click.Group) -> None:
    """Have the plugins add their commands.

    Raises:
        UsageError: a plugin that breaks.
    """
    for implementation in reversed(plugins.hook.watcher_commands.get_hookimpls()):
        name = implementation.plugin_name
        try:
            implementation.function(*[group for _ in implementation.argnames])
        except Exception as error:  # pylint: disable=broad-exception-caught  # the boundary around what a plugin does
            reason = f"{type(error).__name__}: {_one_line(error)}"
            said = f"{_described(plugins, name)}: watcher_commands: {reason}; go on without it by "
            raise UsageError(f"{said}watcher --no-plugin {name} and the command") from error


def _entry_points() -> dict[str, metadata.EntryPoint]:
    points = metadata.entry_points(group=GROUP)
    if not points:
        raise UsageError(
            "no plugin is installed, not even watcher's own: they are found through the metadata of an installation; "
            "in a checkout run: pip install -e ."
        )
    found: dict[str, metadata.EntryPoint] = {}
    for point in points:
        if (other := found.setdefault(point.name, point)) is not point:
            owners = f"{_origin(other)} and of {_origin(point)}"
            raise UsageError(f'two plugins are named "{point.name}": of {owners}; uninstall one of them')
    return found


def _origin(point: metadata.EntryPoint) -> Origin:
    distribution = point.dist
    if distribution is None:
        return Origin("unknown", "?", point.value)
    return Origin(distribution.name, distribution.version, point.value)


def _check_names(names: Iterable[str], known: Collection[str], where: str) -> None:
    for fault in _name_faults(names, known):
        raise UsageError(f"{where}: {fault}")


def _name_faults(names: Iterable[str], known: Collection[str]) -> Iterator[str]:
    for name in sorted(set(names) - set(known)):
        close = conversion.suggestion(name, known) or f"; installed are {', '.join(sorted(known))}"
        yield f'no plugin "{name}"{close}'


def _register(plugins: Plugins, name: str, point: metadata.EntryPoint) -> None:
    described, remedy = plugins.describe(name), _remedy(name)
    try:
        plugin = point.load()
    except (Exception, SystemExit) as error:  # pylint: disable=broad-exception-caught  # the boundary around what a plugin does
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{described} does not load from {point.value}: {reason}{remedy}") from error
    _register_as(plugins, name, plugin, remedy)


def _register_as(plugins: Plugins, name: str, plugin: object, remedy: str) -> None:
    described = plugins.describe(name)
    try:
        plugins.register(plugin, name=name)
        plugins.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:  # ValueError: registered under another name
        raise UsageError(f"{described} does not fit watcher's hooks: {_one_line(error)}{remedy}") from error
    if not plugins.get_hookcallers(plugin):
        hint = "decorate functions named watcher_… with watcher.hookimpl"
        raise UsageError(f"{described} implements no hook; {hint}{remedy}")


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()


def _described(plugins: pluggy.PluginManager, name: str) -> str:
    return plugins.describe(name) if isinstance(plugins, Plugins) else f'plugin "{name}"'


def _remedy(name: str) -> str:
    return f"; go on without it by --no-plugin {name}"


def _declared(implementation: pluggy.HookImpl, plugin: str, remedy: str) -> Mapping[str, Any]:
    try:
        declared = implementation.function()
    except Exception as error:  # pylint: disable=broad-exception-caught  # the boundary around what a plugin does
        raise UsageError(f"{plugin}: watcher_options: {type(error).__name__}: {error}{remedy}") from error
    if not isinstance(declared, Mapping):
        raise UsageError(f"{plugin}: watcher_options: gives no dict of key and type but {declared!r}")
    for key, wanted in declared.items():
        if key in CORE_KEYS:
            raise UsageError(f'{plugin}: watcher_options: "{key}" is a key of watcher itself; choose another')
        _check_type(wanted, f'{plugin}: watcher_options: "{key}"')
    return declared


def _check_type(wanted: Any, what: str) -> None:
    try:
        shapes.words(wanted)
        msgspec.convert(None, wanted | None, dec_hook=lambda *_: None)  # refuses unions that it cannot tell apart
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what}: {error}") from error
