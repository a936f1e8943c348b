"""Every option of a built-in plugin has its place in the pages of options, and the links of their index lead there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from watcher import registry

PAGES = Path(__file__).parents[2] / "docs/options"
ROWS = dict(re.findall(r"^\| \[`(\w+)`\]\(([^)]+)\)", (PAGES / "README.md").read_text(encoding="utf-8"), re.M))


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.M):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(anchor + (f"-{found.count(anchor)}" if anchor in found else ""))
    return set(found)


def test_the_index_has_every_option() -> None:
    assert set(ROWS) == set(registry.option_types(registry.plugin_manager()))


@pytest.mark.parametrize(("option", "link"), ROWS.items())
def test_every_option_has_a_section_that_speaks_of_it(option: str, link: str) -> None:
    name, _, anchor = link.partition("#")
    assert anchor in anchors(PAGES / name)
    assert f"`{option}`" in (PAGES / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_every_link_within_the_pages_leads_somewhere(page: Path) -> None:
    for name, anchor in re.findall(r"\]\(([\w./]*\.md)?#([\w-]+)\)", page.read_text(encoding="utf-8")):
        target = (page.parent / name).resolve() if name else page
        assert anchor in anchors(target) or target.parent != PAGES, f"{name}#{anchor}"
