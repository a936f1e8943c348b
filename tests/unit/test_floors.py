"""The floors of the house: every import in watcher/, wherever it stands, goes to the same floor or a lower one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/architecture.md"
FIRST = "## Floors"


def floors() -> dict[str, int]:
    """Read the floor of each module or package from the document: the first line is the ground."""
    section = DOCUMENT.read_text(encoding="utf-8").partition(FIRST)[2].partition("\n## ")[0]
    lines = [line.split() for line in section.splitlines() if line.startswith("    ")]
    return {name.strip(","): number for number, names in enumerate(lines) for name in names}


def modules() -> Iterator[tuple[str, Path]]:
    """Give each module with its name."""
    for path in sorted((ROOT / "watcher").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[str]:
    """Give what a module imports of watcher, but not for its annotations alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "watcher":
            yield from (f"watcher.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("watcher."):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("watcher"))


def place(name: str, known: dict[str, int]) -> str | None:
    """Give the entry of the document that a module falls under."""
    parts = name.split(".")[1:]
    return next((entry for entry in (".".join(parts[:2]), parts[0] if parts else "") if entry in known), None)


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_no_module_imports_a_higher_floor(name: str, path: Path) -> None:
    known = floors()
    if name in ("watcher", "watcher.__main__", "watcher.sql"):
        return
    here = place(name, known)
    assert here is not None, f"{name} has no floor in {DOCUMENT.name}"
    for imported in imports(path):
        there = place(imported, known)
        if there is None:  # a name that the package itself offers, such as watcher.Endpoint
            continue
        assert known[there] <= known[here], f"{name} (floor {known[here]}) imports {imported} (floor {known[there]})"


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_only_the_store_knows_psycopg2(name: str, path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    knows = any(module.partition(".")[0] == "psycopg2" for module in named)
    assert not knows or name.startswith("watcher.store.")
