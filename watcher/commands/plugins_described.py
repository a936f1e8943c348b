"""What each plugin is and offers, in words and values: for the list of plugins and for their reference."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Annotated, Any

import msgspec

import watcher
from watcher import registry
from watcher.config import shapes
from watcher.models import Options


def described(plugins: registry.Plugins) -> list[dict[str, Any]]:
    """Describe each plugin, those too that are installed and were not loaded, in the order of their names."""
    types, settings = registry.option_types(plugins), registry.settings_types(plugins).types
    found = []
    for name, origin in plugins.origins.items():
        plugin = plugins.get_plugin(name)
        hooks = [caller.name.removeprefix(registry.PREFIX) for caller in plugins.get_hookcallers(plugin) or ()]
        about = {
            "loaded": True,
            "doc": _doc(plugin),
            "hooks": sorted(hooks),
            "options": {key: _typed(wanted) for key, (wanted, owner) in types.items() if owner == name},
            "settings": _settings(settings[name]) if name in settings else None,
        }
        found.append(_plugin(name, origin) | about)
    nothing = {"loaded": False, "doc": "", "hooks": [], "options": {}, "settings": None}
    found += [_plugin(name, origin) | nothing for name, origin in plugins.absent.items()]
    return sorted(found, key=lambda plugin: plugin["name"])


def shared(name: str) -> dict[str, Any]:
    """Describe a table of watcher's own that options of several plugins have in common, by its name in `watcher`."""
    table = getattr(watcher, name)
    return {"type": "a table", "secret": False, "doc": _own_doc(table), "fields": _fields(table, ())}


def _doc(plugin: object) -> str:
    """Give what a plugin says of itself; the lines of a module are not indented, unless they are an example."""
    text = plugin.__doc__ or ""
    return text.strip() if isinstance(plugin, ModuleType) else inspect.cleandoc(text)


def _plugin(name: str, origin: registry.Origin) -> dict[str, Any]:
    found = {"distribution": origin.distribution, "version": origin.version, "module": origin.module}
    return {"name": name, **found}


def _settings(wanted: Any) -> dict[str, Any]:
    return {"many": typing.get_origin(wanted) is list, "fields": {}} | _typed(wanted)


def _typed(wanted: Any, above: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Describe a type; of a table, or a list of tables, the fields too."""
    found: dict[str, Any] = {"type": shapes.words(wanted), "secret": shapes.is_secret(wanted)}
    note = next((note for note in _notes(wanted)), None)
    table = next((table for table in _tables(wanted) if table not in above), None)
    shared = table is not None and getattr(watcher, table.__name__, None) is table
    doc = (note.description if note else None) or (_own_doc(table) if table and not shared else "")
    found |= {"doc": doc} if doc else {}
    if note and "default" in (note.extra_json_schema or {}):
        found["default"] = note.extra_json_schema["default"]
    if table and shared:
        found["shared"] = table.__name__
    return found | ({"fields": _fields(table, above)} if table else {})


def _notes(wanted: Any) -> Iterator[msgspec.Meta]:
    if typing.get_origin(wanted) is Annotated:
        yield from (note for note in wanted.__metadata__ if isinstance(note, msgspec.Meta))


def _tables(wanted: Any) -> Iterator[type[msgspec.Struct]]:
    """Give the structs that a value of this type may be or hold."""
    for member in shapes.members(wanted):
        if isinstance(member, type) and issubclass(member, msgspec.Struct):
            yield member
        else:
            yield from (table for inner in typing.get_args(member) for table in _tables(inner))


def _fields(table: type[msgspec.Struct], above: tuple[Any, ...]) -> dict[str, Any]:
    docs = _field_docs(table)
    found = {}
    for key, field in shapes.fields(table).items():
        one = _typed(field.type, (*above, table)) | {"required": field.required}
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if default is not msgspec.NODEFAULT and default is not None:
            one["default"] = _default(default)
        if doc := docs.get(field.name):
            one["doc"] = doc
        found[key] = one
    return found


def _default(value: Any) -> Any:
    """Give a default as it would be written; of a table what differs from the defaults of its fields."""
    if isinstance(value, msgspec.Struct):
        own = {key: (field, getattr(value, field.name)) for key, field in shapes.fields(type(value)).items()}
        return {key: _default(held) for key, (field, held) in own.items() if held != field.default}
    return msgspec.to_builtins(value, enc_hook=_plain, str_keys=True)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, float) else str(value)


def _own_doc(table: type[msgspec.Struct]) -> str:
    return inspect.cleandoc(vars(table).get("__doc__") or "") if table is not Options else ""


def _field_docs(table: type[msgspec.Struct]) -> Mapping[str, str]:
    """Give the texts that stand beneath the fields of a class, those that it inherits too."""
    docs: dict[str, str] = {}
    for one in reversed(table.__mro__[:-1]):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        except (OSError, TypeError, SyntaxError, ValueError):  # a class without a source, such as msgspec's own
            continue
        body = getattr(tree, "body", [])
        for statement, text in zip(body, body[1:]):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and _is_text(text):
                docs[statement.target.id] = inspect.cleandoc(text.value.value)
    return docs


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
