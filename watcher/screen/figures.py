"""Figures and texts as people read them on a screen: durations, counts, ages, times; nothing that moves a cursor."""

from __future__ import annotations

from datetime import UTC, datetime

from watcher.config import references


def duration(value_us: float | None) -> str:
    """Write microseconds with three digits: `0.31 ms`, `12.3 ms`, `1.23 s`; nothing for None."""
    if value_us is None:
        return ""
    value, unit = (value_us / 1e6, "s") if value_us >= 999_500 else (value_us / 1e3, "ms")
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def count(value: float) -> str:
    """Write a number of things: `12`, `1,234`; small rates keep a digit: `0.2`."""
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"


def counted(number: int, noun: str) -> str:
    """Write a number of things with their noun: `1 mistake`, `1,200 mistakes`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def age(seconds: float) -> str:
    """Write how long ago: `5 s`, `12 min`, `3 h`, `2 d`."""
    for limit, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds / unit_s))} {unit}"
    return f"{int(seconds / 86_400)} d"


def size(value_bytes: int) -> str:
    """Write bytes: `512 B`, `1.2 KiB`, `3.4 MiB`."""
    value = float(value_bytes)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def moment(at_us: float) -> str:
    """Write microseconds since the epoch as `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(text: str) -> str:
    """Replace what is not printable: details come from the sites, and may try to command a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def name(text: str) -> str:
    """Write the name of an endpoint: one that has none is named by its URL, which may hold a password or a token."""
    return plain(references.masked(text))


def cause(reason: str | None, detail: str | None) -> str:
    """Write a reason and its detail: `timeout: in connect`."""
    return plain(": ".join(part for part in (reason, detail) if part))
