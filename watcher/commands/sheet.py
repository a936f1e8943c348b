"""Rows as CSV, as spreadsheets may have them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec


def lines(kind: type[msgspec.Struct], rows: Iterable[msgspec.Struct]) -> Iterator[str]:
    """Give a line with the fields' names, then one a row; times are ISO 8601, labels JSON."""
    written: list[str] = []
    writer = csv.writer(_Into(written.append))
    writer.writerow(kind.__struct_fields__)
    for row in rows:
        writer.writerow(map(_cell, msgspec.to_builtins(row).values()))
    yield from written


def _cell(value: Any) -> Any:
    """Give a value as spreadsheets may have it: a text that begins like a formula is one to them."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return round(value, 9) if isinstance(value, float) else value


class _Into:
    """A file to the module csv, which wants one."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self.write = write
