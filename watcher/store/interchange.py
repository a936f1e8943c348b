"""Endpoints as CSV or NDJSON: specs from a file, line by line with every mistake, and rows of the table into one.

What `write` writes, `read` takes back unchanged.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple, TextIO

import msgspec

from watcher import config
from watcher.config import EndpointSpec, conversion
from watcher.config.options import CORE_KEYS, OptionTypes
from watcher.errors import ConfigError

FORMATS = ("csv", "ndjson")
COLUMNS = (*CORE_KEYS, "options")

CELL_BYTES = 16 << 20

_JSON_COLUMNS = frozenset({"labels", "options", "priority"})


class Reading(NamedTuple):
    """What a file holds: the specs of its right lines, and what is wrong with the others."""

    specs: list[EndpointSpec]
    problems: list[str]


class _Line(NamedTuple):
    number: int
    table: dict[str, Any]


def read(stream: BinaryIO, form: str, place: str, types: OptionTypes, directory: str) -> Reading:
    """Read endpoints from a file.

    Args:
        stream: the file.
        form: one of `FORMATS`.
        place: how messages name the file.
        types: the options that endpoints may have.
        directory: where relative paths in the file begin.

    Raises:
        ConfigError: the file as a whole cannot be read: its header, its encoding.
    """
    reading = Reading([], [])
    lines: dict[str, int] = {}
    for number, table in _READERS[form](stream, place, types, reading.problems):
        try:
            spec = config.specs([table], types, f"{place}:{number}", directory)[0]
        except ConfigError as error:
            reading.problems.extend(error.problems)
            continue
        first = lines.setdefault(spec.name, number)
        if first == number:
            reading.specs.append(spec)
        else:
            reading.problems.append(f'{place}:{number}: endpoint "{spec.name}": name: line {first} has it already')
    return reading


def write(rows: Iterable[Mapping[str, Any]], form: str, stream: TextIO) -> int:
    """Write rows of the table `endpoints` to a file, and give how many there were."""
    put, count = _WRITERS[form](stream), 0
    for row in rows:
        put(_written(row))
        count += 1
    return count


def _read_ndjson(stream: BinaryIO, place: str, _: OptionTypes, problems: list[str]) -> Iterator[_Line]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for number, text in enumerate(stream, 1):
        line = text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text
        if not line.strip():
            continue
        try:
            table = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problems.append(f"{place}:{number}: not a JSON object: {error}")
            continue
        if _merge_options(table, f"{place}:{number}", problems):
            yield _Line(number, table)


def _read_csv(stream: BinaryIO, place: str, types: OptionTypes, problems: list[str]) -> Iterator[_Line]:
    csv.field_size_limit(CELL_BYTES)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    cells = csv.reader(text, strict=True)
    number = 1
    try:
        header = [name.strip() for name in next(cells, [])]
        parsers = _parsers(header, types, place)
        number = cells.line_num + 1
        for row in cells:
            start, number = number, cells.line_num + 1
            if len(row) == len(header):
                table = {name: parse(cell) for name, parse, cell in zip(header, parsers, row, strict=True) if cell}
                if _merge_options(table, f"{place}:{start}", problems):
                    yield _Line(start, table)
            elif row:
                problems.append(f"{place}:{start}: has {len(row)} cells, the header has {len(header)}")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{place}:{number}: not UTF-8 text, in this line or after: {error.reason}"]) from error
    except csv.Error as error:
        raise ConfigError([f"{place}:{number}: not CSV: {error}"]) from error
    finally:
        text.detach()  # else it would close the stream, which is the caller's


def _parsers(header: list[str], types: OptionTypes, place: str) -> list[Callable[[str], Any]]:
    known = [*COLUMNS, *types]
    wrong = [
        f'{place}:1: no column or option "{name}"{conversion.suggestion(name, known)}'
        for name in header
        if name not in known
    ]
    wrong += [
        f'{place}:1: two columns "{name}"' for name in sorted({name for name in header if header.count(name) > 1})
    ]
    if "url" not in header:
        hint = "; separate the columns by commas" if len(header) == 1 else ""
        wrong.append(f'{place}:1: no column "url"; the first line names the columns, such as {",".join(COLUMNS)}{hint}')
    if wrong:
        raise ConfigError(wrong)
    return [_parser(name, types) for name in header]


def _parser(column: str, types: OptionTypes) -> Callable[[str], Any]:
    if column in types:
        return lambda cell: _option(cell, types[column][0])
    if column == "locations":
        return _locations
    if column == "enabled":
        return lambda cell: _json(cell.lower())  # spreadsheets shout
    return _json if column in _JSON_COLUMNS else str


def _option(cell: str, wanted: Any) -> Any:
    """Give a cell as JSON where it is JSON of a type that the option takes, else as text."""
    value, wrong = _json(cell), []
    if value is cell:
        return cell
    conversion.convert(value, wanted, "", lambda key, text: wrong.append(text))
    return cell if wrong else value


def _json(cell: str) -> Any:
    try:
        return msgspec.json.decode(cell.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return cell


def _locations(cell: str) -> Any:
    return _json(cell) if cell.startswith("[") else [name.strip() for name in cell.split(",")]


def _merge_options(table: dict[str, Any], place: str, problems: list[str]) -> bool:
    """Put the options under "options" beside the others; tell whether that can be."""
    options = table.pop("options", {})
    if not isinstance(options, dict):
        problems.append(f"{place}: options: expected a JSON object such as {{}}")
        return False
    twice = sorted(options.keys() & table.keys())
    if twice:
        problems.append(f'{place}: {", ".join(twice)}: stands under "options" too; keep one of them')
        return False
    table.update(options)
    return True


def _written(row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row as `[[endpoints]]` would have it: what the table holds expanded must not be taken for references."""
    return {
        "name": _literal(row["name"]),
        "url": row["url"],
        "interval": _number(row["interval_s"]),
        "timeout": _number(row["timeout_s"]),
        "priority": row["priority"],
        "enabled": row["enabled"],
        "labels": _literals(row["labels"]),
        "locations": [_literal(location) for location in row["locations"]],
        "options": row["options"],
    }


def _literals(labels: Any) -> Any:
    if not isinstance(labels, Mapping):  # nobody could make sense of them, and `import` will say so
        return labels
    return {key: _literal(value) if isinstance(value, str) else value for key, value in labels.items()}


def _literal(text: str) -> str:
    return text.replace("${", "$${")


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value


def _csv_writer(stream: TextIO) -> Callable[[Mapping[str, Any]], None]:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    return lambda table: writer.writerow([_cell(table[name]) for name in COLUMNS])


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value in ({}, []) else msgspec.json.encode(value).decode()


def _ndjson_writer(stream: TextIO) -> Callable[[Mapping[str, Any]], None]:
    return lambda table: print(msgspec.json.encode(table).decode(), file=stream)


_READERS: Mapping[str, Callable[[BinaryIO, str, OptionTypes, list[str]], Iterator[_Line]]] = {
    "csv": _read_csv,
    "ndjson": _read_ndjson,
}
_WRITERS: Mapping[str, Callable[[TextIO], Callable[[Mapping[str, Any]], None]]] = {
    "csv": _csv_writer,
    "ndjson": _ndjson_writer,
}
