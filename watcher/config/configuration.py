"""TOML into settings and endpoints; every mistake at once, with file, endpoint and key.

The only module that reads the environment. What it gives is frozen and holds no run state.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from watcher.config import documents, sealing, settings
from watcher.config.conversion import Note, Report
from watcher.config.documents import Document, Documents
from watcher.config.options import OptionTypes, root
from watcher.config.parts import SettingsTypes
from watcher.config.settings import Settings
from watcher.config.shapes import FILE_SUFFIX
from watcher.config.spec import EndpointSpec, Grammar, label
from watcher.errors import ConfigError
from watcher.models import Endpoint

Types = Mapping[str, tuple[Any, str]]

OWN_SECRETS = frozenset({"WATCHER_DATABASE_DSN", "WATCHER_SECRET_KEY"})


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration without mistakes; `faulty`: endpoints with some, less the options that have them, and these."""

    settings: Settings
    endpoints: tuple[EndpointSpec, ...]
    faulty: tuple[tuple[EndpointSpec, frozenset[str]], ...] = ()


def load(path: Path | Documents, option_types: Types, settings_types: SettingsTypes | None = None) -> Config:
    """Load a configuration file with all that it includes.

    Args:
        path: the main file, or what `read` gave for it.
        option_types: from `watcher.registry.option_types`.
        settings_types: from `watcher.registry.settings_types`; without it no plugin may have settings.

    Raises:
        ConfigError: with every mistake in every file.
    """
    loaded, problems = judged(path if isinstance(path, Documents) else read(path), option_types, settings_types)
    if problems:
        raise ConfigError(problems)
    return loaded


def judged(
    files: Documents, option_types: Types, settings_types: SettingsTypes | None = None
) -> tuple[Config, list[str]]:
    """Give what is right in a configuration, and every mistake in it; settings are of no use where there is one.

    Args:
        files: what `read` gave.
        option_types: as of `load`, like `settings_types`.
    """
    problems = list(files.problems)
    report = _reporter(problems, str(files.path))
    database, agent = settings.settings(files.main, os.environ, report)
    accuracy = settings.accuracy(files.main, os.environ, report)
    types = settings_types or SettingsTypes()
    types.recall(agent.data_dir)
    tables = types.storable(files.main.table("plugins"), report, files.main.directory)
    plugins = types.convert(tables, report, os.environ)
    source = f"file:{agent.source or os.path.abspath(files.path)}"
    known = _typed(option_types)
    known.recall(agent.data_dir)
    known.keyring = sealing.keyring(database, agent.data_dir)
    reading = _Reading(_grammar(known), source, problems)
    reading.add_files(files)
    found = Settings(
        database=database,
        agent=agent,
        accuracy=accuracy,
        path=files.path,
        source=source,
        plugins=plugins,
        plugin_tables=tables,
    )
    return Config(settings=found, endpoints=tuple(reading.specs), faulty=tuple(reading.faulty)), problems


def read(path: Path) -> Documents:
    """Read the files of a configuration without judging what they say: for `disabled_plugins`, asked before `load`."""
    return documents.read(path)


def disabled_plugins(files: Documents) -> tuple[str, ...]:
    """Give the plugins that `[agent] disabled_plugins` names; none when it is wrong, which `load` reports."""
    names = files.main.table("agent").get("disabled_plugins")
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def chosen_plugins() -> frozenset[str] | None:
    """Give the plugins that the variable `WATCHER_PLUGINS` names, or None when it leaves the choice open."""
    names = (name.strip() for name in os.environ.get("WATCHER_PLUGINS", "").split(","))
    return frozenset(filter(None, names)) or None


def default_settings() -> Settings:
    """Give the settings that hold without a file.

    Raises:
        ConfigError: when the environment holds what cannot be used.
    """
    problems: list[str] = []
    database, agent = settings.settings(Document(Path(), {}), os.environ, _reporter(problems))
    if problems:
        raise ConfigError(problems)
    return Settings(database=database, agent=agent)


def plugin_settings(
    tables: Mapping[str, Any], settings_types: SettingsTypes
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give the parts of plugins that `Settings.plugin_tables` means here and now, and what is wrong with the others."""
    problems: list[str] = []
    return settings_types.convert(tables, _reporter(problems), os.environ), tuple(problems)


def endpoint(row: Mapping[str, Any] | EndpointSpec, option_types: Types) -> Endpoint:
    """Give the endpoint that a spec or a row of the table `endpoints` means here and now.

    Equal options become one shared object as long as the same `OptionTypes` is given.

    Raises:
        ConfigError: with every mistake in the row.
    """
    table = msgspec.structs.asdict(row) if isinstance(row, EndpointSpec) else row
    problems: list[str] = []
    place = str(table.get("source") or "").removeprefix("file:")

    def report(key: str, text: str) -> None:
        _reporter(problems, place, label(table))(key, text)

    found = _grammar(option_types).endpoint(table, report)
    if problems:
        raise ConfigError(problems)
    return found


def specs(
    tables: Iterable[Mapping[str, Any]], option_types: Types, source: str, directory: str = "."
) -> tuple[EndpointSpec, ...]:
    """Give the specs of tables that come from elsewhere than a file: a plugin, an import.

    Args:
        tables: each as `[[endpoints]]` has it.
        option_types: from `watcher.registry.option_types`.
        source: who they come from, in messages too.
        directory: where relative paths of files begin.

    Raises:
        ConfigError: with every mistake in every table.
    """
    problems: list[str] = []
    reading = _Reading(_grammar(option_types), source, problems)
    reading.add(list(tables), {}, source, os.path.abspath(directory))
    if problems:
        raise ConfigError(problems)
    return tuple(reading.specs)


def named_files(row: Mapping[str, Any], option_types: OptionTypes) -> tuple[str, ...]:
    """Give the paths of the files that the options of a row name here, equal ones as one shared object."""
    options = row.get("options")
    return option_types.files(options, os.environ) if isinstance(options, Mapping) else ()


def masked(options: Mapping[str, Any] | str, option_types: Types) -> dict[str, Any] | str:
    """Give the options of a spec or row as they may be shown: secrets hidden, references kept."""
    return _typed(option_types).masked(options)


def sealed(given: Iterable[EndpointSpec], option_types: OptionTypes) -> Iterator[EndpointSpec]:
    """Give specs as they shall lie in the table: their secrets encrypted, where there is a key."""
    for spec in given:
        options = option_types.sealed(spec.options)
        yield spec if options is spec.options else msgspec.structs.replace(spec, options=options)


def readable(given: Sequence[EndpointSpec], option_types: OptionTypes) -> int:
    """Count the endpoints whose secrets would stand readable in the table: none, where there is a key."""
    if option_types.keyring:
        return 0
    tables = {id(spec.options): spec.options for spec in given}  # equal options are one object
    found = {place for place, options in tables.items() if option_types.holds_literals(options)}
    return sum(id(spec.options) in found for spec in given)


class _Reading:
    """Gathers the specs of one source; what they may not share, their names, is checked across all files."""

    def __init__(self, grammar: Grammar, source: str, problems: list[str]) -> None:
        self.specs: list[EndpointSpec] = []
        self.faulty: list[tuple[EndpointSpec, frozenset[str]]] = []
        self._grammar = grammar
        self._source = source
        self._problems = problems
        self._places: dict[str, tuple[str, int, Document | None]] = {}

    def add_files(self, files: Documents) -> None:
        """Add the endpoints of each file; defaults hold for the files that it includes too."""
        defaults: dict[Path, Mapping[str, Any]] = {}
        for document in files:
            inherited = defaults[document.parent.path] if document.parent else {}
            report = _reporter(self._problems, str(document.path), "defaults")
            own = self._grammar.defaults(document.table("defaults"), report, document.directory)
            defaults[document.path] = {**inherited, **own}
            place = str(document.path)
            self.add(document.endpoints(), defaults[document.path], place, document.directory, document)

    def add(
        self,
        tables: list[Any],
        defaults: Mapping[str, Any],
        place: str,
        directory: str,
        document: Document | None = None,
    ) -> None:
        """Add tables that stand in one place; what is wrong is reported under it."""
        for number, table in enumerate(tables, 1):

            def report(key: str, text: str, table: Any = table, number: int = number) -> None:
                _reporter(self._problems, place, label(table, number))(key, text)

            if not isinstance(table, Mapping):
                self._problems.append(f"{place}: endpoint #{number}: expected a table; write [[endpoints]] above it")
                continue
            note = Note(report)
            spec = self._grammar.spec(table, defaults, note, directory, self._source)
            if not note.keys:
                self.specs.append(spec)
            elif "url" not in note.keys:
                self.faulty.append(self._less(spec, note.keys))
            here = (place, number, document)
            first = self._places.setdefault(spec.name, here)
            if first is not here and spec.name:
                report("name", f"is used twice, by {_spot(first)} and {_spot(here)}; give one of them another name")

    def _less(self, spec: EndpointSpec, keys: Iterable[str]) -> tuple[EndpointSpec, frozenset[str]]:
        """Give a spec without the options that these keys are in, equal ones as one object, and which these are."""
        wrong = frozenset(root(key).removesuffix(FILE_SUFFIX) for key in keys)
        right = {key: value for key, value in spec.options.items() if key.removesuffix(FILE_SUFFIX) not in wrong}
        less = msgspec.structs.replace(spec, options=self._grammar.types.shared("options", right, lambda: right))
        return less, wrong


def _spot(place: tuple[str, int, Document | None]) -> str:
    path, number, document = place
    line = document.line(number) if document else None
    return f"endpoint #{number} of {path}" + (f" (line {line})" if line else "")


def _typed(option_types: Types) -> OptionTypes:
    return option_types if isinstance(option_types, OptionTypes) else OptionTypes(option_types)


def _grammar(option_types: Types) -> Grammar:
    return Grammar(_typed(option_types), _Others())


class _Others(Mapping[str, str]):
    """The environment as endpoints may refer to it: without watcher's own secrets.

    Else who may write the table could have them sent to a server of theirs.
    """

    def __getitem__(self, name: str) -> str:
        if name in OWN_SECRETS:
            raise KeyError(name)
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in os.environ if name not in OWN_SECRETS)

    def __len__(self) -> int:
        return len([*self])


def _reporter(problems: list[str], *where: str) -> Report:
    """Give a report that adds a line to the problems, the place before the key."""

    def report(key: str, text: str) -> None:
        problems.append(": ".join(part for part in (*where, key, text) if part))

    return report
