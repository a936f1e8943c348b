"""The `.sql` files: each query is named once, used, and without values in its text."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import watcher
from watcher.store.queries import queries

HOME = Path(watcher.__file__).parent
FILES = sorted(path.stem for path in (HOME / "sql").glob("*.sql"))


@pytest.mark.parametrize("file", FILES)
def test_every_query_is_named_once_and_used(file: str) -> None:
    text = (HOME / "sql" / f"{file}.sql").read_text(encoding="utf-8")
    named = re.findall(r"^-- name: (\w+)$", text, flags=re.M)
    assert named and len(set(named)) == len(named)
    assert list(queries(file)) == named
    code = "".join(path.read_text(encoding="utf-8") for path in HOME.rglob("*.py"))
    assert [name for name in named if f'"{name}"' not in code] == []


@pytest.mark.parametrize("file", FILES)
def test_a_query_is_one_statement_without_its_comments(file: str) -> None:
    for name, query in queries(file).items():
        assert query and not query.startswith("--") and "\n--" not in query, name
        assert not query.endswith(";"), name
        if re.search(r"%(s|\()", query):  # it has values
            bare = re.search(r"%(?!s|\()", query.replace("%%", ""))
            assert not bare, f"{name}: psycopg2 would take a percent sign for a placeholder"


def test_the_package_loads_psycopg2_only_when_it_is_used() -> None:
    code = "import sys, watcher.store; print(sorted({'psycopg2', 'gevent', 'requests'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
