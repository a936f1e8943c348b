"""`[plugins]` of a configuration: the part of each plugin, of the type that the plugin declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from watcher.config import conversion, offers, shapes
from watcher.config.conversion import Note, Report
from watcher.config.options import OptionTypes

SECTION = "plugins"


class SettingsTypes:
    """Which plugins have settings, and of which type.

    Args:
        types: name of a loaded plugin → type of its part: a struct, or a list of structs.
        plain: names of plugins that are loaded and have no settings.
        absent: names of plugins that are installed and were not loaded.
    """

    def __init__(
        self, types: Mapping[str, Any] | None = None, plain: Iterable[str] = (), absent: Iterable[str] = ()
    ) -> None:
        self.types = dict(types or {})
        self._plain = frozenset(plain)
        self._absent = frozenset(absent)
        self._former = offers.Offers()
        self._parts = OptionTypes({name: (wanted, name) for name, wanted in self.types.items()})

    def recall(self, data_dir: Path) -> None:
        """Learn which packages had settings for the agents of a data directory until now."""
        self._former = offers.read(data_dir)

    def storable(self, tables: Mapping[str, Any], report: Report, directory: str) -> dict[str, Any]:
        """Give the parts as a worker can be told them: references kept, relative paths made absolute.

        Args:
            tables: what is written under `[plugins]`.
            report: is told of plugins that have no settings, or are not there.
            directory: where relative paths of files begin.
        """
        for name in [name for name in tables if name not in self.types]:
            report(f"{SECTION}.{name}", self._unknown(name))
        known = {name: part for name, part in tables.items() if name in self.types}
        return self._parts.storable(known, _prefixed(report), directory)

    def convert(self, tables: Mapping[str, Any], report: Report, environ: Mapping[str, str]) -> dict[str, Any]:
        """Give the parts that are right, expanded and converted, after reporting each mistake in the others."""
        right = {}
        for name, part in tables.items():
            note = Note(_prefixed(report))
            converted = self._parts.convert({name: part}, note, environ)
            if not note.keys:
                right |= converted
        return right

    def _unknown(self, name: str) -> str:
        if name in self._absent:
            return f'the plugin "{name}" is installed but was not chosen to be loaded; load it, or take its part out'
        if gone := self._former.setting(name):
            return gone
        if name in self._plain:
            return f'the plugin "{name}" has no settings of its own; take this part out'
        close = conversion.suggestion(name, [*self.types, *self._absent])
        if not close:
            having = f"; with settings are {', '.join(sorted(self.types))}" if self.types else ""
            close = f"{having} (watcher plugins lists what is installed)"
        return f'no plugin "{name}" is installed{close}'


def _prefixed(report: Report) -> Report:
    return lambda key, text: report(shapes.joined(SECTION, key) if key else SECTION, text)
