"""How deeply tables and lists may lie within one another: whatever walks them does so by recursion."""

from __future__ import annotations

import re

MOST = 100

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r"[\[\]{}]")


def is_too_deep(text: str) -> bool:
    """Tell whether a JSON text has more than MOST levels."""
    if text.count("[") + text.count("{") <= MOST:
        return False
    depth = deepest = 0
    for sign in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if sign in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > MOST
