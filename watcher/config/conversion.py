"""Raw values of TOML or JSON into values of the types asked for, with every mistake in them reported in plain words.

`Report` takes the key (`tls.ca`, `status[1]`) and what is wrong with it. Nothing here knows which keys there are.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import math
import os
import stat
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from watcher import durations
from watcher.config import references, shapes
from watcher.models import Secret

Report = Callable[[str, str], None]

SECRET_FILE_BYTES = 65_536


class Note:
    """A report that passes on what it is told and remembers the keys that it was told of."""

    __slots__ = ("_report", "keys")

    def __init__(self, report: Report) -> None:
        self._report = report
        self.keys: list[str] = []

    def __call__(self, key: str, text: str) -> None:
        self.keys.append(key)
        self._report(key, text)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Give `; did you mean "x"?` when a known word is close to this one, else nothing."""
    close = _closest(word, tuple(sorted(known)))
    return f'; did you mean "{close}"?' if close else ""


@functools.lru_cache(maxsize=256)  # a generated file makes the same mistake 100,000 times
def _closest(word: str, known: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


@functools.lru_cache(maxsize=1024)
def checks(wanted: Any) -> tuple[Callable[[Any], Any], ...]:
    """Give the functions among the annotations of a type: each gets the converted value and gives the one to keep."""
    extras = typing.get_args(wanted)[1:] if typing.get_origin(wanted) is Annotated else ()
    return tuple(extra for extra in extras if callable(extra))


def convert(value: Any, wanted: Any, key: str, report: Report, lax: bool = False) -> Any:
    """Give the value as the type wanted, or `msgspec.UNSET` after reporting what is wrong.

    Lax conversion takes `"2"` for 2 and `"true"` for true: for what came from the environment.
    """
    try:
        converted = _convert(value, wanted, lax)
    except msgspec.ValidationError:
        diagnose(value, wanted, key, report, lax)
        return msgspec.UNSET
    for check in checks(wanted):
        try:
            converted = check(converted)
        except ValueError as error:
            report(key, str(error))
            return msgspec.UNSET
    return converted


def _convert(value: Any, wanted: Any, lax: bool) -> Any:
    if shapes.holds_brief(wanted):
        value = changed(value, wanted, "", _whole)
    return msgspec.convert(value, wanted, strict=not lax, dec_hook=_custom)


def _whole(part: Any, wanted: Any, _: str) -> Any:
    """Give the table that a value alone stands for."""
    field = None if part is None else shapes.brief(wanted)
    return part if field is None else {field: _whole(part, shapes.keys(wanted)[field], "")}


def _custom(wanted: type, value: Any) -> Any:
    if wanted is durations.Duration:
        return durations.Duration(durations.seconds(value))
    if wanted is Path and isinstance(value, str):
        return Path(os.path.expanduser(value))
    if wanted is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError(f"expected {wanted.__name__}")


def diagnose(value: Any, wanted: Any, key: str, report: Report, lax: bool = False) -> bool:
    """Report what is wrong in each part of a value that did not convert; tell whether there was anything."""
    wrong = _misplaced(value, wanted, key, report)
    for name, part, kind in shapes.parts(value, wanted):
        wrong |= diagnose(part, kind, shapes.joined(key, name), report, lax)
    if wrong:
        return True
    try:
        _convert(value, wanted, lax)
    except msgspec.ValidationError as error:
        report(key, _reason(value, wanted, error))
        return True
    return False


def _misplaced(value: Any, wanted: Any, key: str, report: Report) -> bool:
    """Report the keys that a table must not have and those that it lacks."""
    table = shapes.struct(wanted)
    if table is None or not isinstance(value, dict):
        return False
    fields = shapes.fields(table)
    unknown = [name for name in value if name not in fields] if _strict(table) else []
    missing = [name for name, field in fields.items() if field.required and name not in value]
    hints = [suggestion(name, fields) for name in unknown]
    for name, hint in zip(unknown, hints):
        report(shapes.joined(key, name), "unknown key" + (hint or f"; known are {', '.join(sorted(fields))}"))
    for name in missing:
        if any(f'"{name}"' in hint for hint in hints):  # misspelt: said already
            continue
        instead = f' or "{name}{shapes.FILE_SUFFIX}"' if shapes.is_secret(fields[name].type) else ""
        report(key, f'"{name}" is missing; add "{name}"{instead}')
    return bool(unknown or missing)


def _strict(table: type[msgspec.Struct]) -> bool:
    return bool(table.__struct_config__.forbid_unknown_fields)


def _reason(value: Any, wanted: Any, error: msgspec.ValidationError) -> str:
    if isinstance(error.__cause__, ValueError):  # raised by the author of the type: better words than ours
        return str(error.__cause__)
    known = [choice for choice in _choices(wanted) if isinstance(choice, str)]
    close = suggestion(value, known) if isinstance(value, str) else ""
    return f"expected {shapes.words(wanted)}, got {shapes.shown(value, shapes.hides(wanted))}{close}"


def _choices(wanted: Any) -> list[Any]:
    return [choice for member in shapes.members(wanted) for choice in typing.get_args(member)]


def changed(value: Any, wanted: Any, key: str, change: Callable[[Any, Any, str], Any]) -> Any:
    """Give a raw value with every part that is neither table nor list changed: `change(part, type, key)`."""
    if isinstance(value, dict):
        return {
            name: changed(part, kind, shapes.joined(key, name), change)
            for name, part, kind in shapes.parts(value, wanted)
        }
    if isinstance(value, list):
        return [
            changed(part, kind, shapes.joined(key, index), change) for index, part, kind in shapes.parts(value, wanted)
        ]
    return change(value, wanted, key)


def expand(value: Any, wanted: Any, key: str, report: Report, environ: Mapping[str, str]) -> Any:
    """Give a raw value with its references replaced and with the contents of each `x_file` under its `x`."""

    def replaced(part: Any, _: Any, place: str) -> Any:
        if not isinstance(part, str) or "${" not in part:
            return part
        text, wrong = references.expand(part, environ)
        for problem in wrong:
            report(place, problem)
        return text

    return _filled(changed(value, wanted, key, replaced), wanted, key, report)


def _filled(value: Any, wanted: Any, key: str, report: Report) -> Any:
    if isinstance(value, list):
        return [_filled(part, kind, shapes.joined(key, at), report) for at, part, kind in shapes.parts(value, wanted)]
    if not isinstance(value, dict):
        return value
    table = {}
    for name, part, kind in shapes.parts(value, wanted):
        place = shapes.joined(key, name)
        target = name.removesuffix(shapes.FILE_SUFFIX)
        if kind is not shapes.SecretFile:
            table[name] = _filled(part, kind, place, report)
        elif target in value:
            report(place, f'excludes "{target}"; keep one of them')
        else:
            table[target] = secret(part, place, report)
    return table


def secret(path: Any, key: str, report: Report) -> str:
    """Read a secret from a file, without its last newline; "" after reporting why that cannot be."""
    if not isinstance(path, str) or not path:
        report(key, f"expected the path of a file, got {shapes.shown(path)}")
        return ""
    try:
        with open(os.path.expanduser(path), "rb", opener=_unblocked) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # of a pipe nobody knows when it will be written to
                report(key, f"{path} is no regular file; name one that holds the secret")
                return ""
            content = file.read(SECRET_FILE_BYTES + 1)
        if len(content) > SECRET_FILE_BYTES:
            report(key, f"{path} is larger than {SECRET_FILE_BYTES // 1024} KiB; name the file that holds the secret")
            return ""
        text = content.decode()
        return text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    except OSError as error:
        report(key, f"cannot read {path}: {error.strerror}; the file must exist and be readable by this user")
    except ValueError:
        report(key, f"{path} is not UTF-8 text; name the file that holds the secret")
    return ""


def _unblocked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # or a pipe that nobody writes to would be waited for


def storable(value: Any, wanted: Any, key: str, report: Report, directory: str) -> Any:
    """Give a raw value as PostgreSQL can hold it: dates as text, relative paths of files made absolute.

    A path that begins with a reference or `~` stays as it is.
    """

    def kept(part: Any, kind: Any, place: str) -> Any:
        if isinstance(part, (datetime.date, datetime.time)):
            return part.isoformat()
        if isinstance(part, float) and not math.isfinite(part):
            report(place, f"expected a finite number, got {part}")
        if not isinstance(part, str):
            return part
        if "\x00" in part:
            report(place, "must not contain the character U+0000; PostgreSQL cannot store it")
        is_path = kind is shapes.SecretFile or Path in shapes.members(kind)
        return os.path.join(directory, part) if is_path and part and not part.startswith(("~", "${")) else part

    return changed(value, wanted, key, kept)


def files(value: Any, wanted: Any, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give the paths of the files that a raw value names, `x_file` among them, references replaced."""
    found: dict[str, None] = {}

    def gather(part: Any, kind: Any, _: str) -> None:
        if isinstance(part, str) and part and (kind is shapes.SecretFile or Path in shapes.members(kind)):
            found[os.path.expanduser(references.expand(part, environ)[0])] = None

    changed(value, wanted, "", gather)
    return tuple(found)


def masked(value: Any, wanted: Any = Any) -> Any:
    """Give a raw value as it may be shown: secrets, the passwords in URLs and what a telling key holds are hidden."""

    return changed(value, wanted, "", _hidden)


def is_masked(part: Any, kind: Any, place: str) -> bool:
    """Tell whether `masked` hides something of a part of this type at this place."""
    return bool(_hidden(part, kind, place) != part)


def _hidden(part: Any, kind: Any, place: str) -> Any:
    if kind is shapes.SecretFile or part is None or isinstance(part, bool):
        return part
    if references.is_sealed(part):
        return references.HIDDEN
    telling = references.TELLING.search(place) and Path not in shapes.members(kind)
    if not isinstance(part, str):  # what can be nothing but a number is none that is kept secret
        return references.HIDDEN if telling and {str, Any} & {*shapes.members(kind)} else part
    return references.masked_secret(part) if telling or shapes.hides(kind) else references.masked(part)


def secrets(value: Any, wanted: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """Give each secret and each value of a reference in a raw value, with what may be shown in its place."""
    found: dict[str, str] = {}

    def gather(part: Any, kind: Any, _: str) -> None:
        if isinstance(part, str):
            found.update(references.referenced(part, environ))
            if shapes.hides(kind):
                found.setdefault(part, references.masked_secret(part))
                found.setdefault(references.expand(part, environ)[0], references.HIDDEN)

    changed(value, wanted, "", gather)
    return found
