"""Durations as users write them: seconds, or a number with its unit (`500ms`, `30s`, `5m`, `1h`, `1m30s`)."""

from __future__ import annotations

import math
import re
from typing import Any

WORDS = 'a duration such as 30 or "30s" ("500ms", "5m", "1h")'

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*", re.ASCII)
_NUMBER = re.compile(r"\s*\d+(?:\.\d+)?\s*", re.ASCII)


class Duration(float):
    """Seconds; as the type of an option it accepts whatever `seconds` does."""

    __slots__ = ()


def seconds(value: Any) -> float:
    """Give the seconds that a number or a text such as `30s` stands for.

    Raises:
        TypeError: when it is not a duration; the message is for logs, users are shown `WORDS`.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            return float(value)
        parts = _PART.findall(value)
        if parts and not _PART.sub("", value):
            return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    raise TypeError(f"not a duration: {value!r}")


def written(value_s: float) -> str:
    """Write seconds the short way: `500 ms`, `30 s`, `5 m`."""
    if value_s < 1:
        return f"{value_s * 1000:g} ms"
    for unit_s, unit in ((3600, "h"), (60, "m")):
        if value_s > unit_s and value_s % unit_s == 0:
            return f"{value_s / unit_s:g} {unit}"
    return f"{value_s:g} s"
