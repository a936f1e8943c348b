"""The named queries of `watcher/sql/*.sql`. Values are never part of their text: they are bound when executed."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@functools.cache
def queries(file: str) -> Mapping[str, str]:
    """Give the queries of `watcher/sql/FILE.sql` by name, without their comments and last semicolon."""
    return parse(resources.files("watcher").joinpath("sql", f"{file}.sql").read_text(encoding="utf-8"))


def parse(text: str) -> Mapping[str, str]:
    """Give the queries in the text of such a file."""
    parts = _NAME.split(text)[1:]
    named = {
        name: _COMMENT.sub("", query).strip().removesuffix(";")
        for name, query in zip(parts[::2], parts[1::2], strict=True)
    }
    return MappingProxyType(named)
