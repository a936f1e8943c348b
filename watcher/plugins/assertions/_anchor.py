"""Patterns said another way, so that they are found sooner."""

from __future__ import annotations

UNREADABLE = ("(?#", "(?x", "(?ix", "(?mx", "(?sx", "[[")  # comments and nested sets: what `alternates` cannot read


def anchored(pattern: str) -> str:
    """Give a pattern that finds the same, and says outright that it begins where a line does.

    `(?=^` asks at every character whether a line begins there; after a `^` the module `regex` goes from line to line.
    """
    if not pattern.startswith("(?=^") or any(sign in pattern for sign in UNREADABLE) or alternates(pattern):
        return pattern
    return "^" + pattern


def alternates(pattern: str) -> bool:
    """Say whether a `|` outside of all groups may be there: then a `^` before it would belong to one branch alone."""
    depth, in_set, at = 0, False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif in_set:
            in_set = char != "]"
        elif char == "[":
            in_set = True
            at += pattern.startswith("^", at + 1)
            at += pattern.startswith("]", at + 1)  # the first in a set is no end of it
        elif char == "|" and depth == 0:
            return True
        else:
            depth += (char == "(") - (char == ")")
        at += 1
    return False
