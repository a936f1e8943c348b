"""Exports metrics by Prometheus remote write: `[plugins.prometheus_remote_write]`.

Needs `pip install '.[remote-write]'` in a checkout. For receivers that take no OTLP: Prometheus before 2.47, Amazon's.
For each endpoint, as totals since the start of the worker: `watcher_check_up` (1 up or degraded, 0 down),
`watcher_check_duration_seconds_sum` and `_count` (with `buckets` also `_bucket`), `watcher_checks_total` (by `status`
and `reason`), with `phases` also `watcher_check_phase_duration_seconds_sum` and `_count` (by `phase`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from itertools import accumulate
from typing import Any

from watcher import hookimpl
from watcher.breath import next_turn
from watcher.plugins.outputs._push import Exporter, Receiver, instance
from watcher.plugins.outputs._series import BOUNDS_S, Histogram, Series

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
# prometheus.WriteRequest of the Remote-Write 1.0 specification: field → (number, type); "*" marks a repeated one.
MESSAGES = {
    "WriteRequest": {"timeseries": (1, "*TimeSeries")},
    "TimeSeries": {"labels": (1, "*Label"), "samples": (2, "*Sample")},
    "Label": {"name": (1, "string"), "value": (2, "string")},
    "Sample": {"value": (1, "double"), "timestamp": (2, "int64")},
}
_NOT_IN_LABEL = re.compile(r"^(?=\d)|[^A-Za-z0-9_]")
Sample = tuple[str, dict[str, str], float]


class Prometheus(Receiver, kw_only=True):
    """Where to export to and how finely; `tags` are labels of all series."""

    tags: dict[str, str] = {}
    buckets: bool = False

    @staticmethod
    def needs() -> Mapping[str, tuple[str, str]]:
        """Give what must be installed."""
        return {"google.protobuf": ("protobuf", "remote-write"), "cramjam": ("cramjam", "remote-write")}


@hookimpl
def watcher_settings() -> Any:
    """Take `[plugins.prometheus_remote_write]`."""
    return Prometheus


@hookimpl
def watcher_output(settings: Any) -> Exporter | None:
    """Export when a receiver is configured."""
    receiver = settings.plugins.get("prometheus_remote_write")
    if receiver is None:
        return None
    own = {"job": "watcher", "instance": instance(settings), "location": settings.agent.location}
    return Exporter(receiver, HEADERS, Encoding({**own, **receiver.tags}, receiver.buckets).encode)


class Encoding:
    """Series as the bytes of a WriteRequest."""

    def __init__(self, constant: Mapping[str, str], buckets: bool) -> None:
        self._compress = import_module("cramjam").snappy.compress_raw
        self._request = write_request()
        self._constant = constant
        self._buckets = buckets

    def encode(self, some: Sequence[Series]) -> bytes:
        """Write a request with these series."""
        request, now_ms = self._request(), time.time_ns() // 1_000_000
        for series in some:
            for name, labels, value in self._samples(series):
                made = request.timeseries.add()
                written = {_label(key): text for key, text in {**series.attributes, **self._constant, **labels}.items()}
                written["__name__"] = name
                for key in sorted(written):  # as the specification wants it
                    if written[key]:
                        made.labels.add(name=key, value=written[key])
                made.samples.add(value=value, timestamp=now_ms)
            next_turn()  # up to a millisecond with all buckets: the checks come first
        return bytes(self._compress(request.SerializeToString()))

    def _samples(self, series: Series) -> Iterator[Sample]:
        if series.up is not None:
            yield "watcher_check_up", {}, series.up
        for (status, reason), count in series.checks.items():
            yield "watcher_checks_total", {"status": status, "reason": reason}, count
        yield from self._histogram("watcher_check_duration_seconds", {}, series.durations)
        for phase, histogram in series.phases.items():
            yield from self._histogram("watcher_check_phase_duration_seconds", {"phase": phase}, histogram)

    def _histogram(self, name: str, labels: dict[str, str], histogram: Histogram) -> Iterator[Sample]:
        if self._buckets:
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), accumulate(histogram.counts)):
                yield f"{name}_bucket", {**labels, "le": bound}, count
        yield f"{name}_sum", labels, histogram.sum_s
        yield f"{name}_count", labels, sum(histogram.counts)


@lru_cache(maxsize=4096)
def _label(name: str) -> str:
    return _NOT_IN_LABEL.sub("_", name)


def write_request() -> Any:
    """Give the class of the message, which protobuf makes from MESSAGES."""
    from google.protobuf import descriptor_pool, message_factory

    descriptor_pb2 = import_module("google.protobuf.descriptor_pb2")  # what is in it is made when it is loaded
    file = descriptor_pb2.FileDescriptorProto(name="watcher/remote_write.proto", package="prometheus", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            if (inner := kind.removeprefix("*")) in MESSAGES:
                place = f".prometheus.{inner}"
                made.field.add(name=name, number=number, label=label, type=kinds.TYPE_MESSAGE, type_name=place)
            else:
                made.field.add(name=name, number=number, label=label, type=getattr(kinds, f"TYPE_{inner.upper()}"))
    pool = descriptor_pool.DescriptorPool()  # of its own: another package may have the same messages
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))
