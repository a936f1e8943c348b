"""The named queries of `watcher/sql/*.sql`. Values are never part of their text: they are bound when executed.

Names of tables and roles cannot be bound; `composed` puts them, quoted, where the text has `{}` with their name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from psycopg2 import sql

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@functools.cache
def queries(file: str) -> Mapping[str, str]:
    """Give the queries of `watcher/sql/FILE.sql` by name, without their comments and last semicolon."""
    return parse(resources.files("watcher").joinpath("sql", f"{file}.sql").read_text(encoding="utf-8"))


def composed(file: str, query: str, **parts: sql.Composable) -> sql.Composed:
    """Give a query of a file with these parts, such as identifiers, in its text."""
    return sql.SQL(queries(file)[query]).format(**parts)


def parse(text: str) -> Mapping[str, str]:
    """Give the queries in the text of such a file."""
    parts = _NAME.split(text)[1:]
    named = {
        name: _COMMENT.sub("", query).strip().removesuffix(";")
        for name, query in zip(parts[::2], parts[1::2], strict=True)
    }
    return MappingProxyType(named)
