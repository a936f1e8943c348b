"""docs/options/assertions.md: every example is one that the plugins take, and every option has its heading."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import plugged
import pytest
import tomli

from watcher.plugins import assertions

MODULES = [found.name for found in pkgutil.iter_modules(assertions.__path__) if not found.name.startswith("_")]
PLUGINS = plugged.manager(*(import_module(f"{assertions.__name__}.{name}") for name in MODULES))
TEXT = (Path(__file__).parents[2] / "docs/options/assertions.md").read_text(encoding="utf-8")
EXAMPLES = [line.strip() for line in re.findall(r"^    \w+ = .*$", TEXT, re.MULTILINE)]
KEYS = sorted(key for found in PLUGINS.hook.watcher_options() for key in found)


@pytest.mark.parametrize("example", [line for line in EXAMPLES if "…" not in line])
def test_each_example_can_be_written_like_that(example: str) -> None:
    assert not plugged.convert(PLUGINS, tomli.loads(example))[1]


@pytest.mark.parametrize("key", KEYS)
def test_each_option_has_its_heading_and_an_example(key: str) -> None:
    headings = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    assert [heading for heading in headings if f"`{key}`" in heading]
    assert [example for example in EXAMPLES if example.startswith(f"{key} = ")]


@pytest.mark.parametrize("wish", re.findall(r'^    (".*"|\{.*\})\s+#.*$', TEXT, re.MULTILINE))
def test_each_wish_can_be_written_like_that(wish: str) -> None:
    raw = tomli.loads(f"response_headers = {{ Server = {wish} }}")
    assert not plugged.convert(PLUGINS, raw)[1]
