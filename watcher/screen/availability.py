"""Availability as people read it: a percentage that never rounds up to 100, and a line of blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable

_BLOCKS = ((1.0, "█"), (0.999, "▇"), (0.99, "▆"), (0.95, "▅"), (0.9, "▄"), (0.5, "▃"), (1e-9, "▂"), (0.0, "▁"))


def percent(value: float | None) -> str:
    """Write `99.98 %`, `100 %` only where nothing failed, `-` where nothing was measured."""
    if value is None:
        return "-"
    if value >= 1:
        return "100 %"
    cut = math.floor(value * 1e6) / 1e4 if value > 0.999 else math.floor(value * 1e4) / 1e2
    return f"{cut:.4f}".rstrip("0").rstrip(".") + " %"


def mark(removed: bool) -> str:
    """Give what stands behind the name of an endpoint that was removed."""
    return " (removed)" if removed else ""


def block(value: float | None) -> str:
    """Give one sign: a full block for 100 %, the lower the worse, a blank where nothing was measured."""
    return " " if value is None else next(sign for least, sign in _BLOCKS if value >= least)


def sparkline(values: Iterable[float | None]) -> str:
    """Draw a series, a sign a value."""
    return "".join(map(block, values))
