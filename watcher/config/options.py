"""The option keys that plugins declare, and the tables of options that endpoints carry.

Equal tables become one shared object, so that 100,000 endpoints with the same options cost what one does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from watcher.config import conversion, foreign, nesting, offers, references, sealing, shapes
from watcher.config.conversion import Note, Report

CORE_KEYS = ("name", "url", "interval", "timeout", "priority", "enabled", "labels", "locations")

SHARED_MOST = 16_384
TOO_DEEP = f"tables or lists are nested too deeply; {nesting.MOST} levels are the most"


class OptionTypes(dict[str, tuple[Any, str]]):
    """Option key → (type, name of the plugin that declared it).

    Args:
        types: the keys of the loaded plugins.
        absent: names of plugins that are installed and were not loaded.
    """

    def __init__(self, types: Mapping[str, tuple[Any, str]] | None = None, absent: Iterable[str] = ()) -> None:
        super().__init__(types or {})
        self.absent = frozenset(absent)
        self.former = offers.Offers()
        self.keyring = sealing.Keyring()
        self._types = shapes.with_files({key: wanted for key, (wanted, _) in self.items()})
        self._with_paths = {key for key, wanted in self._types.items() if shapes.holds_path(wanted)}
        self._files: dict[bytes, tuple[str, ...]] = {}
        self._encoder = msgspec.json.Encoder(order="sorted")
        self._tables: dict[bytes, dict[str, Any]] = {}
        self._values: dict[bytes, Any] = {}
        self._raw: dict[bytes, dict[str, Any]] = {}
        self._sealed: dict[bytes, dict[str, Any]] = {}
        self._right: dict[bytes, Any] = {}

    def recall(self, data_dir: Path) -> None:
        """Learn which packages offered what the agents of a data directory were offered until now."""
        self.former = offers.read(data_dir)

    def convert(self, raw: Mapping[str, Any], report: Report, environ: Mapping[str, str]) -> dict[str, Any]:
        """Give a raw table expanded and converted; `{}` after reporting each mistake in it.

        The table is shared with every other endpoint whose options are equal: never change it.
        """
        code = self._encoder.encode(raw)
        live = b"${" in code or b'_file":' in code  # only these make the same raw table mean something else next time
        if not live and code in self._tables:
            return self._tables[code]
        table = dict(raw)
        seen = [table]
        note = Note(self._discreet(report, seen, environ))
        if sealing.MARK in code:
            table = self.keyring.opened(table, note)
            seen.append(table)
            if note.keys:
                return {}
        written = table
        if live:
            table = conversion.expand(table, self._types, "", note, environ)
            seen.append(table)
        if note.keys:
            self._diagnose(table, note)
            return {}
        converted = {
            key: self._value(key, value, live and self._refers(written.get(key)), note) for key, value in table.items()
        }
        if note.keys:
            return {}
        return _kept(self._tables, code if not live else b"expanded" + self._encoder.encode(table), converted)

    def _refers(self, value: Any) -> bool:
        return b"${" in self._encoder.encode(value)

    def _diagnose(self, table: dict[str, Any], note: Note) -> None:
        """Report what else is wrong beside references that lead nowhere, but nothing that follows from these."""
        unresolved = tuple(note.keys)

        def report(key: str, text: str) -> None:
            if not any(place == key or place.startswith((f"{key}.", f"{key}[")) for place in unresolved):
                note(key, text)

        for key, value in table.items():
            if key in self and any(root(place) == key for place in unresolved):
                conversion.diagnose(value, self._types[key], key, report, lax=True)
            else:
                self._value(key, value, False, report)

    def _discreet(self, report: Report, seen: list[dict[str, Any]], environ: Mapping[str, str]) -> Report:
        """Give a report that shows no secret of the tables, whoever wrote the message."""

        def told(key: str, text: str) -> None:
            hidden: dict[str, str] = {}
            for table in reversed(seen):
                hidden |= conversion.secrets(table, self._types, environ)
            report(key, references.masked(references.scrubbed(text, hidden)))

        return told

    def _value(self, key: str, value: Any, lax: bool, report: Report) -> Any:
        if key not in self:
            report(key, self._unknown(key))
            return msgspec.UNSET
        code = self._encoder.encode((key, value, lax))
        if code in self._values:
            return self._values[code]
        converted = conversion.convert(value, self[key][0], key, report, lax)
        return converted if converted is msgspec.UNSET else _kept(self._values, code, converted)

    def _unknown(self, key: str) -> str:
        if key in self.absent:
            return f'unknown option "{key}"; the plugin "{key}" is installed but was not chosen to be loaded'
        if gone := self.former.option(key, self.absent):
            return gone
        close = foreign.hint(key) or conversion.suggestion(key, [*CORE_KEYS, *self._types])
        return f'unknown option "{key}"{close} (watcher plugins lists what is installed)'

    def storable(self, raw: Mapping[str, Any], report: Report, directory: str) -> dict[str, Any]:
        """Give a raw table as the database can hold it, equal ones as one shared object.

        Args:
            raw: the options as written.
            report: is told what PostgreSQL cannot hold.
            directory: where relative paths of files begin.
        """
        try:
            code = self._encoder.encode((directory, raw))
        except (TypeError, ValueError) as error:  # an object of a plugin, half a surrogate pair
            report("", f"holds what is no value of TOML or JSON: {error}")
            return {}
        except RecursionError:
            report("", TOO_DEEP)
            return {}
        if code in self._raw:
            return self._raw[code]
        if nesting.is_too_deep(code.decode()):
            report("", TOO_DEEP)
            return {}
        note = Note(report)
        if self._with_paths.isdisjoint(raw) and not any(mark in code for mark in (b'_file":', b"\\u0000", b"null")):
            table = msgspec.json.decode(code)[1]  # what the walk below would give: dates have become text
        else:
            table = conversion.storable(dict(raw), self._types, "", note, directory)
        return table if note.keys else _kept(self._raw, code, table)

    def sealed(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give a raw table with its secrets encrypted, where there is a key; equal ones as one shared object.

        Raises:
            EnvironmentProblem: as of `Keyring.sealed`.
        """
        if not self.keyring or not raw:
            return raw
        code = self._encoder.encode(raw)
        if code not in self._sealed:
            _kept(self._sealed, code, self.keyring.sealed(dict(raw), self._types))
        return self._sealed[code]

    def holds_literals(self, raw: Mapping[str, Any]) -> bool:
        """Tell whether a secret stands readable in a raw table."""
        return sealing.holds_literals(dict(raw), self._types)

    def files(self, raw: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, ...]:
        """Give the paths of the files that a raw table names; equal ones as one shared object."""
        code = self._encoder.encode(raw)
        if self._with_paths.isdisjoint(raw) and b'_file":' not in code:
            return ()
        if code not in self._files:
            _kept(self._files, code, conversion.files(dict(raw), self._types, environ))
        return self._files[code]

    def forget_files(self) -> None:
        """Judge anew what names files, when it is converted next: they are other ones."""
        for code in [code for code, table in self._tables.items() if not self._with_paths.isdisjoint(table)]:
            del self._tables[code]
        for code in [code for code in self._values if msgspec.json.decode(code)[0] in self._with_paths]:
            del self._values[code]

    def shared(self, key: str, value: Any, read: Callable[[], Any]) -> Any:
        """Give what `read` makes of a value of a core key, one object for equal values; `UNSET` is not kept."""
        code = self._encoder.encode((key, value))
        if code in self._right:
            return self._right[code]
        found = read()
        return found if found is msgspec.UNSET else _kept(self._right, code, found)

    def masked(self, raw: Mapping[str, Any] | str) -> dict[str, Any] | str:
        """Give a raw table as commands may show it: secrets and the passwords in URLs are hidden.

        Of what the store could not make a table of, nothing is shown.
        """
        if not isinstance(raw, Mapping):
            return references.HIDDEN
        return conversion.masked(dict(raw), self._types)


def root(key: str) -> str:
    """Give the option that a key such as `tls.ca` or `status[1]` is within."""
    return key.partition(".")[0].partition("[")[0]


def _kept(cache: dict[bytes, Any], code: bytes, value: Any) -> Any:
    if len(cache) >= SHARED_MOST:  # the oldest quarter goes; what endpoints hold of it lives on
        for stale in list(itertools.islice(cache, SHARED_MOST // 4)):
            cache.pop(stale, None)
    return cache.setdefault(code, value)
