"""The period of a report, and of which tables it is put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RESULTS = "metrics"
CELLS = 31

_AGO = re.compile(r"(\d+)\s*([mhdw])")
_STEPS = {"m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Level(NamedTuple):
    """A table of rollups: the length of a row, and the time for which it has all of them.

    The last row may be of less than its length, then it ends with that time.
    """

    table: str
    step: timedelta
    since: datetime
    until: datetime


class Span(NamedTuple):
    """A part of a period, and the table to read it from."""

    table: str
    since: datetime
    until: datetime


def spans(since: datetime, until: datetime, levels: Sequence[Level]) -> list[Span]:
    """Put a period together of levels, the coarsest first, and of results where none has it."""
    if since >= until:
        return []
    if not levels:
        return [Span(RESULTS, since, until)]
    level, finer = levels[0], levels[1:]
    first_at = _EPOCH - floor(-_offset(max(since, level.since)), level.step)
    last_at = floored(min(until, level.until), level.step)
    if until >= level.until:
        last_at = level.until
    if first_at >= last_at:
        return spans(since, until, finer)
    return [
        *spans(since, first_at, finer),
        Span(level.table, first_at, last_at),
        *spans(last_at, until, finer),
    ]


def kept(moment: datetime, levels: Sequence[Level]) -> datetime:
    """Give the last moment up to this one that a report can begin or end with: of old times hours or days remain."""
    step = MINUTE
    for level in reversed(levels):
        if moment >= level.since:
            break
        step = max(step, _coarser(level.step))
    return floored(moment, step)


def _coarser(step: timedelta) -> timedelta:
    return HOUR if step == MINUTE else DAY


def cell(since: datetime, until: datetime) -> timedelta:
    """Give the length of the cells that a period is drawn with: whole days, hours or minutes, at most `CELLS`."""
    length = until - since
    unit = DAY if length > 3 * DAY else HOUR if length > 3 * HOUR else MINUTE
    return unit * max(1, -(-length // (unit * CELLS)))


def moment(text: str, now: datetime) -> datetime:
    """Read `30d`, `6h`, `90m` (ago, from the begin of that day, hour, minute), or a date or time (ISO 8601; else UTC).

    Raises:
        ValueError: it is none of these.
    """
    if ago := _AGO.fullmatch(text.strip()):
        step = _STEPS[ago[2]]
        return floored(now - int(ago[1]) * step, min(step, DAY))
    found = datetime.fromisoformat(text.strip())
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def floored(at: datetime, step: timedelta) -> datetime:
    """Give the begin of the day, hour or minute (UTC) of a moment."""
    return _EPOCH + floor(_offset(at), step)


def floor(length: timedelta, step: timedelta) -> timedelta:
    """Give the largest multiple of a step within a length."""
    return length // step * step


def _offset(at: datetime) -> timedelta:
    return at - _EPOCH
