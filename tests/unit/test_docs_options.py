"""Every option of a built-in plugin has its place in the pages of options, and the index of these leads there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import anchors

from watcher import registry

PAGES = Path(__file__).parents[2] / "docs/options"
ROWS = dict(re.findall(r"^\| \[`(\w+)`\]\(([^)]+)\)", (PAGES / "README.md").read_text(encoding="utf-8"), re.M))


def test_the_index_has_every_option() -> None:
    assert set(ROWS) == set(registry.option_types(registry.plugin_manager()))


@pytest.mark.parametrize(("option", "link"), ROWS.items())
def test_every_option_has_a_section_that_speaks_of_it(option: str, link: str) -> None:
    name, _, anchor = link.partition("#")
    assert anchor in anchors(PAGES / name)
    assert f"`{option}`" in (PAGES / name).read_text(encoding="utf-8")
