"""The documentation as a whole: every link leads somewhere, and every page is found from the first one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import ROOT, anchors, prose

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[tuple[Path, str]]:
    """Give the files that a page leads to, each with its anchor, "" for the whole."""
    found = []
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if "://" not in link:
            found.append(((page.parent / path).resolve() if path else page, anchor))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target.name}#{anchor}"


def test_every_page_is_found_from_the_first() -> None:
    met, to_read = set(), [ROOT / "README.md"]
    while to_read:
        page = to_read.pop()
        met.add(page)
        to_read += [target for target, _ in links(page) if target.suffix == ".md" and target not in met]
    assert set(PAGES) <= met
    named = {target for target, _ in links(ROOT / "README.md")}
    assert set((ROOT / "docs").glob("*.md")) <= named, "README.md lists each page of docs/"
