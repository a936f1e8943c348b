"""docs/decisions.md: its table of contents leads to its parts, in their order."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/decisions.md").read_text(encoding="utf-8")


def test_the_table_of_contents_is_that_of_the_page():
    parts = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert re.findall(r"^- \[(.+)\]\(#(.+)\)$", PAGE, re.MULTILINE) == [
        (part, part.lower().replace(" ", "-")) for part in parts
    ]


def test_no_decision_stands_there_twice_or_without_words():
    decisions = re.findall(r"^### (.+)\n\n(?!#)(?=\S)", PAGE, re.MULTILINE)
    assert decisions == re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert len(decisions) == len(set(decisions))
