"""Types of configuration values as users see them: the parts of a value with the type each ought to have, and words.

A type is anything `msgspec.convert` knows, besides `Secret`, `Duration` and `pathlib.Path`.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Union

import msgspec
from msgspec import inspect

from watcher import durations
from watcher.config import references
from watcher.models import Secret

FILE_SUFFIX = "_file"

_LISTS = (list, tuple, set, frozenset)
_TABLES = (dict, Mapping)


class SecretFile(str):
    """The type of `x_file`, which stands in for a field `x` of type `Secret`."""


@functools.lru_cache(maxsize=1024)
def members(wanted: Any) -> tuple[Any, ...]:
    """Give the types of a union without None and annotations; of any other type the type itself."""
    origin = typing.get_origin(wanted)
    if origin is Annotated:
        return members(typing.get_args(wanted)[0])
    if origin in (Union, types.UnionType):
        return tuple(member for arg in typing.get_args(wanted) for member in members(arg))
    return () if wanted is types.NoneType else (wanted,)


@functools.lru_cache(maxsize=1024)
def is_secret(wanted: Any) -> bool:
    """Tell whether a value of this type must not be shown."""
    return Secret in members(wanted)


@functools.lru_cache(maxsize=1024)
def hides(wanted: Any) -> bool:
    """Tell whether a value of this type that is no table must not be shown.

    One in the place of a table with a secret is a mistake, and may be the secret: `basic_auth = "user:password"`.
    """
    alone, inside = brief(wanted), keys(wanted)
    if alone is None and members(wanted) == (struct(wanted),):
        return any(is_secret(field) for field in inside.values())
    return is_secret(wanted) or (alone is not None and hides(inside[alone]))


def struct(wanted: Any) -> type[msgspec.Struct] | None:
    """Give the struct that a table of this type is, or None when there is none or more than one."""
    found = [member for member in members(wanted) if isinstance(member, type) and issubclass(member, msgspec.Struct)]
    return found[0] if len(found) == 1 else None


def keys(wanted: Any) -> Mapping[str, Any]:
    """Give the keys that a table of this type may have, with their types; none when it is free to have any."""
    if isinstance(wanted, Mapping):
        return wanted
    return _keys(wanted)


@functools.cache
def fields(table: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Give the fields of a struct by the key that they have in a table."""
    return types.MappingProxyType({field.encode_name: field for field in msgspec.structs.fields(table)})


@functools.lru_cache(maxsize=1024)
def _keys(wanted: Any) -> Mapping[str, Any]:
    table = struct(wanted)
    return with_files({key: field.type for key, field in fields(table).items()}) if table else {}


def with_files(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Give key → type with an `x_file` beside each `Secret` key `x`."""
    secrets = [key for key, wanted in typed.items() if is_secret(wanted)]
    return {key + FILE_SUFFIX: SecretFile for key in secrets} | dict(typed)


def brief(wanted: Any) -> str | None:
    """Give the field that a value alone stands for, where a table is meant that names one as its `__brief__`.

    It may have a table with a brief form of its own as its type. A path is none: who makes paths absolute would not
    know it for one.
    """
    table = struct(wanted)
    field = getattr(table, "__brief__", None)
    others = [member for member in members(wanted) if member is not table]
    if table is None or field is None or any(typing.get_origin(member) not in _LISTS for member in others):
        return None  # what is no table has a meaning of its own
    return None if Path in members(fields(table)[field].type) else field


@functools.lru_cache(maxsize=1024)
def holds_brief(wanted: Any) -> bool:
    """Tell whether a value of this type can hold one that stands for a table."""
    return _holds(wanted, lambda member: brief(member) is not None)


def holds_path(wanted: Any) -> bool:
    """Tell whether a value of this type can hold the path of a file, `x_file` left aside."""
    return _holds(wanted, lambda member: member is Path)


def _holds(wanted: Any, sought: Callable[[Any], bool], seen: frozenset[Any] = frozenset()) -> bool:
    for member in members(wanted):
        if sought(member):
            return True
        inner = [field.type for field in fields(member).values()] if struct(member) else typing.get_args(member)
        if member not in seen and any(_holds(part, sought, seen | {member}) for part in inner if part is not ...):
            return True
    return False


def parts(value: Any, wanted: Any) -> Iterator[tuple[str | int, Any, Any]]:
    """Give each part of a table or list with its key or index and the type it ought to have, `Any` when unknown.

    The type wanted may be a mapping of key → type too: a table whose keys no struct holds together.
    """
    if isinstance(value, dict):
        typed = keys(wanted)
        other = Any if typed or isinstance(wanted, Mapping) else _argument(wanted, _TABLES, 1)
        for key, part in value.items():
            yield key, part, typed.get(key, other)
    elif isinstance(value, list):
        item = _argument(wanted, _LISTS, 0)
        for index, part in enumerate(value):
            yield index, part, item


@functools.lru_cache(maxsize=1024)
def _argument(wanted: Any, origins: tuple[Any, ...], position: int) -> Any:
    for member in members(wanted):
        arguments = typing.get_args(member)
        if typing.get_origin(member) in origins and len(arguments) > position:
            return arguments[position]
    return Any


def joined(key: str, part: str | int) -> str:
    """Give the key of a part: `tls.ca`, `status[1]`."""
    if isinstance(part, int):
        return f"{key}[{part}]"
    return f"{key}.{part}" if key else part


def shown(value: Any, secret: bool = False) -> str:
    """Give a raw value in words short enough for an error message; of a secret only its kind."""
    if isinstance(value, str):
        text = references.masked(value)
        quoted = msgspec.json.encode(text if len(text) <= 60 else f"{text[:57]}...").decode()
        return "a string" if secret else quoted
    if isinstance(value, bool):
        return "true or false" if secret else str(value).lower()
    if isinstance(value, (int, float)):
        return "a number" if secret else str(value)
    if value is None:
        return "nothing"
    return {dict: "a table", list: "a list"}.get(type(value), "a date or time")


def words(wanted: Any, plural: bool = False) -> str:
    """Give a type in words: `a string`, `a list of strings`, `a whole number from 1 to 5`."""
    return _words(inspect.type_info(wanted), plural)


_SIMPLE: Mapping[type, tuple[str, str]] = types.MappingProxyType(
    {
        inspect.AnyType: ("anything", "anything"),
        inspect.BoolType: ("true or false", "true or false"),
        inspect.DateTimeType: ("a date and time", "dates and times"),
        inspect.DateType: ("a date", "dates"),
        inspect.FloatType: ("a number", "numbers"),
        inspect.IntType: ("a whole number", "whole numbers"),
        inspect.StrType: ("a string", "strings"),
        inspect.StructType: ("a table", "tables"),
        inspect.TimeType: ("a time", "times"),
    }
)
_CUSTOM: Mapping[type, tuple[str, str]] = types.MappingProxyType(
    {
        Secret: ("a string", "strings"),
        SecretFile: ("the path of a file", "paths of files"),
        Path: ("the path of a file", "paths of files"),
        durations.Duration: (durations.WORDS, 'durations such as 30 or "30s"'),
    }
)


def _words(info: Any, plural: bool) -> str:
    match info:
        case inspect.Metadata():
            return _words(info.type, plural)
        case inspect.UnionType():
            found = [_words(member, plural) for member in info.types if not isinstance(member, inspect.NoneType)]
            return _either(list(dict.fromkeys(found)))
        case inspect.LiteralType():
            return "one of " + ", ".join(shown(value) for value in info.values)
        case inspect.EnumType():
            return "one of " + ", ".join(shown(member.value) for member in info.cls)
        case inspect.CustomType():
            return _CUSTOM.get(info.cls, (info.cls.__name__,) * 2)[plural]
        case inspect.DictType():
            return f"{'tables' if plural else 'a table'} of {_words(info.value_type, True)}"
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
            return f"{'lists' if plural else 'a list'} of {_words(info.item_type, True)}" + _range(info)
    own = _SIMPLE.get(type(info), ("another value", "other values"))[plural] + _range(info)
    alone = brief(info.cls) if isinstance(info, inspect.StructType) else None
    instead = words(fields(info.cls)[alone].type, plural) if alone else own
    return instead if instead.endswith(own) else f"{instead} or {own}"  # what stands for a table may be one itself


def _either(choices: list[str]) -> str:
    return ", ".join(choices[:-1]) + f" or {choices[-1]}" if len(choices) > 1 else "".join(choices)


def _range(info: Any) -> str:
    low, high = getattr(info, "ge", None), getattr(info, "le", None)
    above, below = getattr(info, "gt", None), getattr(info, "lt", None)
    shortest, longest = getattr(info, "min_length", None), getattr(info, "max_length", None)
    pattern = getattr(info, "pattern", None)
    said = [f" from {low} to {high}"] if low is not None and high is not None else _bounds(low, high)
    said += [f" above {above}"] if above is not None else []
    said += [f" below {below}"] if below is not None else []
    said += [" that is not empty"] if shortest == 1 else [f" of length {shortest} or more"] if shortest else []
    said += [f" of length {longest} or less"] if longest is not None else []
    return "".join(said) + (f" that matches {pattern}" if pattern else "")


def _bounds(low: Any, high: Any) -> list[str]:
    return [f" of at least {low}"] * (low is not None) + [f" of at most {high}"] * (high is not None)
