"""On PyPI another program is named as this distribution is: nothing that users follow may lead pip to it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

ROOT = Path(__file__).parents[2]
INSTALLS = re.compile(r"""pip install( +-\S+)* +["']?watcher(?![\w./-])""")
PROJECTS = (*ROOT.glob("examples/*/pyproject.toml"), ROOT / "watcher/templates/package/pyproject.toml.txt")


def pages() -> Iterator[Path]:
    """Give what users read or run."""
    yield ROOT / "README.md"
    for directory in ("docs", "conf", "examples", "deploy", "watcher"):
        found = (ROOT / directory).rglob("*")
        yield from (path for path in found if path.suffix in (".md", ".toml", ".py", ".txt"))


def test_no_page_has_pip_install_that_name() -> None:
    read = {path: path.read_text(encoding="utf-8") for path in pages()}
    assert len(read) > 200
    assert [path for path, text in read.items() if INSTALLS.search(text)] == []


@pytest.mark.parametrize("line", ["pip install watcher", 'pip install "watcher[otlp]"', "`pip install -U watcher`"])
def test_such_a_line_would_be_found(line: str) -> None:
    assert INSTALLS.search(line)


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_a_plugin_does_not_depend_on_that_name(path: Path) -> None:
    names = dict.fromkeys(("distribution", "title", "plugin", "module"), "x")
    assert tomllib.loads(Template(path.read_text(encoding="utf-8")).substitute(names))["project"]["dependencies"] == []
