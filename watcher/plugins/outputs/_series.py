"""Running totals of results by endpoint, for outputs that export at intervals instead of each result.

The number of series is bounded: what is beyond goes into one series for all the rest, as OpenTelemetry's cardinality
limit has it.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec

from watcher import Duration, Endpoint, Options, Result, Status
from watcher.config.references import masked
from watcher.models import PHASES

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)  # OpenTelemetry's for HTTP
REST = "otel.metric.overflow"
FORGET_S = 900.0  # three times the longest interval: an endpoint that is gone


class Grouping(Options):
    """What becomes a series of its own; the part that exporting plugins' settings share."""

    interval: Duration = Duration(60)
    timeout: Duration = Duration(5)
    per_endpoint: bool = True
    labels: list[str] | None = None
    max_series: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2000
    phases: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.interval <= 300:
            raise ValueError(f"interval must be from 1 to 300 seconds, got {self.interval:g}")
        if not 0 < self.timeout <= 30:
            raise ValueError(f"timeout must be above 0 and at most 30 seconds, got {self.timeout:g}")


class Histogram:
    """Durations by BOUNDS_S: one count more than there are bounds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration; a bound belongs to the bucket beneath it."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class Series:
    """The totals of one endpoint, or of all endpoints with the same labels, since `since_ns` of the Unix epoch."""

    __slots__ = ("attributes", "checks", "durations", "endpoint", "phases", "seen_at_s", "since_ns", "up")

    def __init__(self, attributes: dict[str, str]) -> None:
        self.attributes = attributes
        self.endpoint: Endpoint | None = None  # None when it is not of one alone
        self.since_ns = time.time_ns()
        self.seen_at_s = 0.0
        self.checks: dict[tuple[str, str], int] = {}  # by status and reason, "" for none
        self.durations = Histogram()
        self.phases: dict[str, Histogram] = {}
        self.up: int | None = None  # None when nobody could tell yet


class SeriesTable:
    """Adds results up."""

    def __init__(self, shape: Grouping) -> None:
        self._shape = shape
        self._series: dict[Any, Series] = {}

    def add(self, results: Iterable[Result]) -> None:
        """Count results."""
        phases = PHASES if self._shape.phases else ()
        now_s = time.monotonic()
        for result in results:
            series = self._of(result)
            series.seen_at_s = now_s
            key = result.status.value, result.reason.value if result.reason else ""
            series.checks[key] = series.checks.get(key, 0) + 1
            if series.endpoint is not None and result.status is not Status.MISSED:
                series.up = int(result.status is not Status.DOWN)
            if result.latency_us is not None:
                series.durations.add(result.latency_us / 1e6)
            for phase in phases:
                if (value_us := getattr(result, f"{phase}_us")) is not None:
                    series.phases.setdefault(phase, Histogram()).add(value_us / 1e6)

    def series(self) -> Iterator[Series]:
        """Give all series, and forget those whose endpoints are gone."""
        now_s = time.monotonic()
        for key, series in list(self._series.items()):
            if series.seen_at_s < now_s - FORGET_S:
                del self._series[key]
            else:
                yield series

    def _of(self, result: Result) -> Series:
        endpoint = result.endpoint
        if self._shape.per_endpoint:
            found = self._series.get(endpoint.name)
            if found is not None and found.endpoint is endpoint:  # nearly always
                return found
            attributes = {**self._labels(endpoint.labels), "endpoint": masked(endpoint.name)}
            return self._kept(endpoint.name, attributes, endpoint)
        attributes = self._labels(endpoint.labels)
        return self._kept(tuple(sorted(attributes.items())), attributes, None)

    def _kept(self, key: Any, attributes: dict[str, str], endpoint: Endpoint | None) -> Series:
        found = self._series.get(key)
        if found is None and len(self._series) >= self._shape.max_series:
            key, attributes, endpoint = None, {REST: "true"}, None
            found = self._series.get(key)
        if found is None or found.attributes != attributes:
            found = self._series[key] = Series(attributes)
        found.endpoint = endpoint
        return found

    def _labels(self, labels: dict[str, str]) -> dict[str, str]:
        chosen = self._shape.labels
        return labels if chosen is None else {key: labels[key] for key in chosen if key in labels}
