"""The grammar of one endpoint: a table such as `[[endpoints]]` has, or a row of the table `endpoints`.

A spec is an endpoint as written: what PostgreSQL stores. References are replaced when a spec becomes an
`Endpoint`; so a secret given as a reference or a file never reaches the database.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from watcher import durations
from watcher.config import conversion, references, urls
from watcher.config.conversion import Note, Report
from watcher.config.options import CORE_KEYS, OptionTypes
from watcher.models import INTERVAL_MAX_S, INTERVAL_MIN_S, PRIORITY_MOST, Endpoint

DEFAULT_INTERVAL_S = 60.0
DEFAULT_TIMEOUT_S = 10.0
NAME_LENGTH_MOST = 500  # of up to 4 bytes each: a key of a btree index holds 2,704 bytes

_NONE: dict[str, str] = {}  # one for all

Text = Annotated[str, msgspec.Meta(min_length=1)]


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint as written: `url` and `options` hold references unexpanded, `options` is what JSON can hold."""

    # pylint: disable=duplicate-code  # watcher.models.Endpoint: the same, ready for use
    name: str
    url: str
    interval_s: float = DEFAULT_INTERVAL_S
    timeout_s: float = DEFAULT_TIMEOUT_S
    priority: int = 0
    enabled: bool = True
    labels: dict[str, str] = {}
    locations: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    source: str = ""


def label(table: Mapping[str, Any], number: int | None = None) -> str:
    """Name an endpoint in a message: by its name, else its URL, else its number in the file."""
    for key in ("name", "url"):
        value = table.get(key)
        if isinstance(value, str) and value:
            text = references.masked(value)
            return "endpoint " + (f'"{text}"' if text.isprintable() else msgspec.json.encode(text).decode())
    return f"endpoint #{number}" if number is not None else "endpoint"


class Grammar:
    """Reads endpoints with one set of option types in one environment."""

    def __init__(self, types: OptionTypes, environ: Mapping[str, str]) -> None:
        self.types = types
        self._environ = environ

    def defaults(self, table: Mapping[str, Any], report: Report, directory: str) -> dict[str, Any]:
        """Give those of the defaults in a table that are right, after reporting the others."""
        right: dict[str, Any] = {}
        for key, value in table.items():
            note = Note(report)
            stored = {key: value}
            if key == "name":
                note(key, "cannot be a default, for names must differ; give each endpoint its own")
            elif key in CORE_KEYS:
                self._core(key, value, note)
            else:
                stored = self.types.storable(stored, note, directory)
                self.types.convert(stored, note, self._environ)
            if not note.keys:
                right |= stored
        return right

    def spec(
        self, table: Mapping[str, Any], defaults: Mapping[str, Any], report: Report, directory: str, source: str
    ) -> EndpointSpec:
        """Give the spec that a table means; of no use once anything was reported.

        Args:
            table: as `[[endpoints]]` has it.
            defaults: what holds for keys that the table lacks.
            report: is told each mistake in the table.
            directory: where relative paths of files begin.
            source: who the endpoint comes from.
        """
        merged = {**defaults, **table}
        core = self._cores({key: merged[key] for key in CORE_KEYS if key in merged}, report)
        options = self.types.storable({key: merged[key] for key in merged if key not in CORE_KEYS}, report, directory)
        self.types.convert(options, report, self._environ)
        if "url" not in merged:
            report("url", 'is missing; add url = "https://…"')
        interval_s = core.get("interval", DEFAULT_INTERVAL_S)
        timeout_s = core.get("timeout", DEFAULT_TIMEOUT_S)
        if "timeout" not in table:  # only what an endpoint asks for itself can contradict its interval
            timeout_s = min(timeout_s, interval_s)
        elif ("interval" in merged) == ("interval" in core):
            _check_timeout(timeout_s, interval_s, report)
        url = str(merged.get("url", ""))
        return EndpointSpec(
            name=core["name"] if "name" in core else self._named(url, merged, report),
            url=url,
            interval_s=interval_s,
            timeout_s=timeout_s,
            priority=core.get("priority", 0),
            enabled=core.get("enabled", True),
            labels=core.get("labels", _NONE),
            locations=core.get("locations", ()),
            options=options,
            source=source,
        )

    def endpoint(self, row: Mapping[str, Any], report: Report) -> Endpoint:
        """Give the endpoint that a row or spec means in this environment; of no use once anything was reported."""
        core = {
            "url": row.get("url", ""),
            "interval": row.get("interval_s", DEFAULT_INTERVAL_S),
            "timeout": row.get("timeout_s", DEFAULT_TIMEOUT_S),
            "priority": row.get("priority") or 0,
            "enabled": row.get("enabled", True),
            "labels": row.get("labels") or _NONE,
            "locations": list(row.get("locations") or ()),
        }
        right = {key: self._core(key, value, report, as_row=True) for key, value in core.items()}
        if msgspec.UNSET not in (right["interval"], right["timeout"]):  # who wrote the row may know neither's default
            right["timeout"] = min(right["timeout"], right["interval"])
        return Endpoint(
            id=row.get("id") or 0,
            name=right["url"] if row.get("name") in (None, "", right["url"]) else row["name"],
            url=right["url"],
            interval_s=right["interval"],
            timeout_s=right["timeout"],
            priority=right["priority"],
            enabled=right["enabled"],
            labels=right["labels"],
            locations=right["locations"],
            options=self._options(row.get("options") or {}, report),
            source=sys.intern(row.get("source") or ""),
        )

    def _options(self, raw: Any, report: Report) -> dict[str, Any]:
        if not isinstance(raw, Mapping):  # the store could not make sense of it
            report("options", "is no JSON object, is nested too deeply or holds a number too large; write it anew")
            return {}
        return self.types.convert(raw, report, self._environ)

    @staticmethod
    def _named(url: str, table: Mapping[str, Any], report: Report) -> str:
        if "name" not in table and len(url) > NAME_LENGTH_MOST:
            report("name", f"is missing, and the URL is too long for one; add a name of {NAME_LENGTH_MOST} characters")
        return url

    def _cores(self, table: Mapping[str, Any], report: Report) -> dict[str, Any]:
        right = {key: self._core(key, value, report) for key, value in table.items()}
        return {key: value for key, value in right.items() if value is not msgspec.UNSET}

    def _core(self, key: str, value: Any, report: Report, as_row: bool = False) -> Any:
        """Give the value of a core key expanded and converted, or `msgspec.UNSET` after reporting what is wrong.

        In a row only the URL is still as written.
        """
        own = key in ("name", "url")  # hardly ever equal to another endpoint's
        if not (as_row and not own) and _refers(value):
            return self._expanded(key, value, report)
        if own:
            return _read(key, value, report)
        try:
            return self.types.shared(key, value, lambda: _read(key, value, report))
        except (TypeError, ValueError):  # an object of a plugin: no key of the cache, and no right value
            return _read(key, value, report)

    def _expanded(self, key: str, value: Any, report: Report) -> Any:
        wanted = _CORE[key][0]
        hidden = conversion.secrets(value, wanted, self._environ)
        note = Note(lambda place, text: report(place, references.scrubbed(text, hidden)))
        value = conversion.expand(value, wanted, key, note, self._environ)
        return msgspec.UNSET if note.keys else _read(key, value, note, lax=True)


def _refers(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(part, str) and "${" in part for part in parts)


def _read(key: str, value: Any, report: Report, lax: bool = False) -> Any:
    wanted, check = _CORE[key]
    right = conversion.convert(value, wanted, key, report, lax)
    if right is msgspec.UNSET:
        return right
    if wrong := check(right):
        report(key, wrong)
        return msgspec.UNSET
    return float(right) if wanted is durations.Duration else tuple(right) if isinstance(right, list) else right


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _name_fault(name: str) -> str | None:
    if len(name) > NAME_LENGTH_MOST:
        return f"has {len(name)} characters; {NAME_LENGTH_MOST} is the most"
    return "contains a line break or another control character; a name is one line" if _CONTROL.search(name) else None


def _interval_fault(interval_s: float) -> str | None:
    if INTERVAL_MIN_S <= interval_s <= INTERVAL_MAX_S:
        return None
    return f"must be from {INTERVAL_MIN_S:g} to {INTERVAL_MAX_S:g} seconds, got {interval_s:g}"


def _timeout_fault(timeout_s: float) -> str | None:
    return None if timeout_s > 0 else f"must be more than 0 seconds, got {timeout_s:g}"


def _priority_fault(priority: int) -> str | None:
    if -PRIORITY_MOST <= priority <= PRIORITY_MOST:
        return None
    return f"must be from {-PRIORITY_MOST} to {PRIORITY_MOST}, got {priority}"


def _check_timeout(timeout_s: float, interval_s: float, report: Report) -> None:
    if timeout_s > interval_s:
        report(
            "timeout",
            f"{timeout_s:g} s is longer than the interval of {interval_s:g} s; lower it, or make the interval longer",
        )


def _texts_fault(texts: Mapping[str, str] | list[str]) -> str | None:
    parts = [*texts, *texts.values()] if isinstance(texts, Mapping) else texts
    return "must not contain the character U+0000; PostgreSQL cannot store it" if "\0" in "".join(parts) else None


_CORE: Mapping[str, tuple[Any, Callable[[Any], str | None]]] = {
    "name": (Text, _name_fault),
    "url": (str, urls.fault),
    "interval": (durations.Duration, _interval_fault),
    "timeout": (durations.Duration, _timeout_fault),
    "priority": (int, _priority_fault),
    "enabled": (bool, lambda _: None),
    "labels": (dict[str, str], _texts_fault),
    "locations": (list[Text], _texts_fault),
}
