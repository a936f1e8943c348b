"""The TOML files of a configuration: the main file and what it includes, read and not yet understood."""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from watcher.config import conversion, foreign, shapes

MAIN_KEYS = ("database", "agent", "accuracy", "plugins", "defaults", "endpoints", "include")
INCLUDED_KEYS = ("defaults", "endpoints", "include")

_HEADERS = {
    "database": "[database]", "agent": "[agent]", "accuracy": "[accuracy]", "plugins": "[plugins.NAME]",
    "defaults": "[defaults]",
}  # fmt: skip

_HEADER = re.compile(rb"^[ \t]*\[\[[ \t]*(?:endpoints|\"endpoints\"|'endpoints')[ \t]*\]\]", re.M)


@dataclass(frozen=True)
class Document:
    """One file: `path` as users know it, `parent` the file that includes it."""

    path: Path
    tables: Mapping[str, Any]
    parent: Document | None = None

    @property
    def directory(self) -> str:
        """Give the absolute directory where the relative paths in this file begin."""
        return os.path.dirname(os.path.abspath(self.path))

    def table(self, key: str) -> Mapping[str, Any]:
        """Give a table of the file, empty when it is not there or not a table."""
        found = self.tables.get(key, {})
        return found if isinstance(found, dict) else {}

    def endpoints(self) -> list[Any]:
        """Give the tables under `[[endpoints]]`."""
        found = self.tables.get("endpoints", [])
        return found if isinstance(found, list) else []

    def line(self, number: int) -> int | None:
        """Give the line where the endpoint with this number (from 1) begins; None when that cannot be told."""
        lines = self._lines
        return lines[number - 1] if len(lines) == len(self.endpoints()) else None  # else a header stands in a string

    @functools.cached_property
    def _lines(self) -> list[int]:
        try:
            content = self.path.read_bytes()
        except OSError:
            return []
        found, line, seen = [], 1, 0
        for header in _HEADER.finditer(content):
            line += content.count(b"\n", seen, header.start())
            seen = header.start()
            found.append(line)
        return found


@dataclass
class Documents:
    """A main file with all that it includes, in order, and what is wrong with them as files."""

    path: Path
    documents: list[Document] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)

    @property
    def main(self) -> Document:
        """Give the main file, an empty one when it could not be read."""
        return self.documents[0] if self.documents else Document(self.path, {})


def read(path: Path) -> Documents:
    """Read a file and all that it includes; mistakes are kept in `problems`, nothing is raised."""
    found = Documents(path)
    _read(path, None, found)
    return found


def _read(path: Path, parent: Document | None, found: Documents) -> None:
    where = str(path) if parent is None else f"{parent.path}: include: {path}"
    tables = _parsed(path, where, found.problems)
    if tables is None:
        return
    document = Document(path, tables, parent)
    found.documents.append(document)
    _check_keys(document, found.problems)
    for included in _included(document, found.problems):
        shown = f'{path}: include: "{included}"'
        if any(_same(included, ancestor.path) for ancestor in _line_up(document)):
            found.problems.append(f"{shown} includes itself in the end; take it out of the chain")
        elif any(_same(included, other.path) for other in found.documents):
            found.problems.append(f"{shown} is included twice; keep one of them")
        else:
            _read(included, document, found)


def _line_up(document: Document | None) -> Iterator[Document]:
    while document is not None:
        yield document
        document = document.parent


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _included(document: Document, problems: list[str]) -> Iterator[Path]:
    """Give the files that a document includes; a pattern that matches none is no mistake, a missing file is."""
    patterns = document.tables.get("include", [])
    wrong: list[str] = []
    conversion.convert(patterns, list[str], "include", lambda *mistake: wrong.append(": ".join(mistake)))
    problems += [f"{document.path}: {mistake}" for mistake in wrong]
    for pattern in [] if wrong else patterns:
        if "\0" in pattern:
            problems.append(f"{document.path}: include: contains the character U+0000; write a path")
            continue
        path = document.path.parent / os.path.expanduser(pattern)
        if glob.has_magic(pattern) and not path.exists():
            yield from map(Path, sorted(glob.glob(str(path), recursive=True)))
        else:
            yield path


def _check_keys(document: Document, problems: list[str]) -> None:
    known = MAIN_KEYS if document.parent is None else INCLUDED_KEYS
    for key, value in document.tables.items():
        if key in MAIN_KEYS and key not in known:
            problems.append(f"{document.path}: {key}: belongs in the main file; move it there")
        elif key not in known:
            close = foreign.section_hint("", key) or conversion.suggestion(key, known)
            close = close or f"; known are {', '.join(known)}"
            problems.append(f"{document.path}: {key}: unknown key{close}")
        elif key == "endpoints" and not isinstance(value, list):
            problems.append(f"{document.path}: endpoints: expected a list of tables; write [[endpoints]] above each")
        elif key in _HEADERS and not isinstance(value, dict):
            got, header = shapes.shown(value), _HEADERS[key]
            problems.append(f"{document.path}: {key}: expected a table, got {got}; write {header} above its keys")


def _parsed(path: Path, where: str, problems: list[str]) -> dict[str, Any] | None:
    try:
        return tomli.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        problems.append(f"{where}: no such file; give the path of a TOML file")
    except IsADirectoryError:
        problems.append(f"{where}: is a directory; give the path of a TOML file in it")
    except PermissionError:
        problems.append(f"{where}: cannot be read: permission denied; let this user read it (chmod, chown)")
    except OSError as error:
        problems.append(f"{where}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        problems.append(f"{path}: line {line}: not UTF-8 text (byte 0x{byte:02x}); save it as UTF-8")
    except tomli.TOMLDecodeError as error:
        problems.append(f"{path}: line {error.lineno}, column {error.colno}: {_syntax(error)}")
    except RecursionError:
        problems.append(f"{path}: tables or lists are nested too deeply; no configuration needs that")
    return None


def _syntax(error: tomli.TOMLDecodeError) -> str:
    unquoted = error.msg.startswith(("Invalid value", "Expected newline"))
    hint = '; strings stand in quotes, durations such as "30s" too' if unquoted else ""
    return f"not valid TOML: {error.msg[:1].lower()}{error.msg[1:]}{hint}"
