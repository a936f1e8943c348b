"""A pattern that was anchored finds exactly what it found before."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from watcher.plugins.assertions._anchor import anchored

PARTS = st.sampled_from(["a", "b", ".", ".*", r"\w+", "(?:a|b)", "[|a]", "[]|]", "[^]|]", r"\|", "|", r"\("])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"(?=^.*you)(?!.*no).*(?:at|on)$", r"^(?=^.*you)(?!.*no).*(?:at|on)$"),
        ("(?=^a)b|c", "(?=^a)b|c"),
        (r"(?=^a)b\|c", r"^(?=^a)b\|c"),
        ("(?=^a)[|]", "^(?=^a)[|]"),
        ("(?=^a)[]|]", "^(?=^a)[]|]"),
        ("(?=^a)[^]|]b|c", "(?=^a)[^]|]b|c"),
        ("(?=a)b", "(?=a)b"),
        ("(?x)(?=^a) b # |", "(?x)(?=^a) b # |"),
        ("(?=^a)(?x: b # )\n|c)", "(?=^a)(?x: b # )\n|c)"),
    ],
)
def test_only_what_surely_begins_with_a_line_is_anchored(pattern: str, expected: str) -> None:
    assert anchored(pattern) == expected


@given(st.lists(PARTS, max_size=6).map("".join), st.text("ab|(]\n", max_size=30))
def test_it_finds_the_same_place(rest: str, text: str) -> None:
    pattern = "(?=^a)" + rest
    plain, other = (regex.compile(each, regex.MULTILINE).search(text) for each in (pattern, anchored(pattern)))
    assert (plain and plain.span()) == (other and other.span())
