"""docs/comparison.md: what watcher can do is shown by a test that there is, and is called by names that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from watcher import hookspecs, models, registry
from watcher.commands.plugins_described import described
from watcher.config import settings
from watcher.config.options import CORE_KEYS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/comparison.md").read_text(encoding="utf-8")
HEADING = "| what | watcher | "
OF_OTHERS = re.compile(r"yes|no|not found|partly: \S.*")
NAMED = re.compile(r"`(.+?)`")
KEY = re.compile(r"[a-z][a-z_0-9]*(\.[a-z_0-9]+)?")
PLUGINS = described(registry.own_plugins())


def tables() -> Iterator[list[list[str]]]:
    """Give the rows of each table that compares, without its heading."""
    for block in re.split(r"\n\s*\n", TEXT):
        if block.startswith(HEADING):
            yield [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines()[2:]]


ROWS = [row for table in tables() for row in table]
CLAIMED = [row for row in ROWS if not row[1].startswith("no")]


@lru_cache
def named_in(path: Path) -> frozenset[str]:
    """Give the names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def known() -> set[str]:
    """Give the names of options, their fields, keys, columns, statuses, reasons and hooks."""
    found = {*CORE_KEYS, *models.Result.__struct_fields__, *vars(hookspecs)}
    found |= {value.value for kind in (models.Status, models.Reason) for value in kind}
    for part, keys in {
        "agent": settings.AGENT_TYPES, "database": settings.DATABASE_TYPES, "accuracy": settings.ACCURACY_TYPES
    }.items():  # fmt: skip
        found |= {f"{part}.{key}" for key in keys}
    for plugin in PLUGINS:
        for key, about in plugin["options"].items():
            found |= {key, *(f"{key}.{field}" for field in about.get("fields", ()))}
            found |= {f"{field}_file" for field, one in about.get("fields", {}).items() if one["secret"]}
        found |= set((plugin["settings"] or {}).get("fields", ()))
    schema = (ROOT / "docs/schema.md").read_text(encoding="utf-8")
    return found | set(re.findall(r"^## `(\w+)` \((?:table|view)\)", schema, re.MULTILINE))


KNOWN = known()


def test_there_are_rows_and_each_stands_once() -> None:
    assert len(ROWS) > 80
    whats = [row[0] for row in ROWS]
    assert sorted({what for what in whats if whats.count(what) > 1}) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_is_whole(row: list[str]) -> None:
    assert len(row) == 8
    assert [cell for cell in row[2:7] if not OF_OTHERS.fullmatch(cell)] == []
    assert bool(row[7]) is (row in CLAIMED), "a test shows what can be done, and only that"


@pytest.mark.parametrize("row", CLAIMED, ids=lambda row: row[0])
def test_what_watcher_can_do_is_shown_by_a_test(row: list[str]) -> None:
    for named in row[7].split(", "):
        file, _, name = named.strip("`").partition("::")
        (path,) = (ROOT / "tests").rglob(file)
        assert name.startswith("test_") and name in named_in(path), f"{file} has no {name}"


@pytest.mark.parametrize("row", CLAIMED, ids=lambda row: row[0])
def test_what_is_named_is_there(row: list[str]) -> None:
    names = NAMED.findall(row[1])
    assert names, "the option is to be named"
    assert [name for name in names if KEY.fullmatch(name) and name not in KNOWN] == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin["name"])
def test_each_plugin_has_a_row(plugin: dict) -> None:
    named = {name for row in CLAIMED for name in re.findall(r"\w+", " ".join(NAMED.findall(row[1])))}
    offered = {*plugin["options"], *([plugin["name"]] if plugin["settings"] else [])}
    assert not offered or offered & named
