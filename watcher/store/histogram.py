"""Histograms of latencies as the database keeps them: 12 decimal digits a bucket, 16 buckets to each doubling.

`sql/migrations/0007_rollups.sql` defines them.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

DIGITS = 12
BUCKETS_A_DOUBLING = 16
POINT = 256  # the bucket of the last digits before the point


def percentiles(digits: str | None, length: int, scale: int, percents: Sequence[int]) -> list[float | None]:
    """Give the latencies in microseconds at or below which so many percent lie, by nearest rank.

    Each is the middle of its bucket, at most 2.2 % from what is in it.

    Args:
        digits: the number without its point and without the zeros at its end; None or "" where there is no latency.
        length: how many signs it has with these.
        scale: how many digits are behind the point.
    """
    if not digits:
        return [None] * len(percents)
    zeros, odd = divmod(length - bool(scale) - len(digits), DIGITS)
    first = POINT - scale // DIGITS + zeros
    digits += "0" * odd
    seen = list(accumulate(map(int, map(digits.__getitem__, _buckets(len(digits))))))
    return [middle(first + bisect_left(seen, max(1, -(-seen[-1] * percent // 100)))) for percent in percents]


@functools.lru_cache(1024)  # there are as many lengths as buckets times digits at most, and few in one report
def _buckets(length: int) -> tuple[slice, ...]:
    """Give where the digits of each bucket are, the lowest bucket first."""
    return tuple(slice(max(0, end - DIGITS), end) for end in range(length, 0, -DIGITS))


def middle(bucket: int) -> float:
    """Give the middle of a bucket, in microseconds."""
    return 2 ** ((bucket - 0.5) / BUCKETS_A_DOUBLING)
