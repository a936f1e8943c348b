"""Exports metrics by OTLP over HTTP (OpenTelemetry): `[plugins.otlp]`; needs `pip install '.[otlp]'` in a checkout.

For each endpoint, as totals since the start of the worker: `watcher.check.duration` (histogram, s), `watcher.check.up`
(gauge: 1 up or degraded, 0 down), `watcher.checks` (sum, by `status` and `reason`), and with `phases`
`watcher.check.phase.duration` (histogram, s, by `phase`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from watcher import __version__, hookimpl
from watcher.plugins.outputs._push import Exporter, Receiver, instance
from watcher.plugins.outputs._series import BOUNDS_S, Histogram, Series

HEADERS = {"Content-Type": "application/x-protobuf"}


class Collector(Receiver, kw_only=True):
    """Where to export to and how finely; `resource` are attributes of the whole, such as `deployment.environment`."""

    url: str = "http://localhost:4318/v1/metrics"
    resource: dict[str, str] = {}

    @staticmethod
    def needs() -> Mapping[str, tuple[str, str]]:
        """Give what must be installed."""
        return {"opentelemetry.proto": ("opentelemetry-proto", "otlp")}


@hookimpl
def watcher_settings() -> Any:
    """Take `[plugins.otlp]`."""
    return Collector


@hookimpl
def watcher_output(settings: Any) -> Exporter | None:
    """Export when a collector is configured."""
    collector = settings.plugins.get("otlp")
    if collector is None:
        return None
    about = {
        "service.name": "watcher",
        "service.version": __version__,
        "service.instance.id": instance(settings),
        "watcher.location": settings.agent.location,
    }
    encoding = Encoding({**about, **collector.resource}, {"location": settings.agent.location})
    return Exporter(collector, HEADERS, encoding.encode, encoding.judge)


class Encoding:
    """Series as the bytes of an ExportMetricsServiceRequest, whose classes opentelemetry-proto has."""

    def __init__(self, resource: Mapping[str, str], constant: Mapping[str, str]) -> None:
        # by name: what is in them is made when they are loaded, and loaded only when they are used
        self._service = import_module("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
        self._common = import_module("opentelemetry.proto.common.v1.common_pb2")
        metrics = import_module("opentelemetry.proto.metrics.v1.metrics_pb2")
        self._cumulative = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
        self._resource = self._pairs(resource)
        self._constant = dict(constant)

    def encode(self, some: Sequence[Series]) -> bytes:
        """Write a request with these series."""
        request = self._service.ExportMetricsServiceRequest()
        metrics = request.resource_metrics.add()
        metrics.resource.attributes.extend(self._resource)
        scope = metrics.scope_metrics.add()
        scope.scope.name, scope.scope.version = "watcher", __version__
        now_ns = time.time_ns()
        self._add_durations(scope.metrics.add(name="watcher.check.duration", unit="s"), some, now_ns)
        if any(series.up is not None for series in some):
            self._add_up(scope.metrics.add(name="watcher.check.up", unit="1"), some, now_ns)
        self._add_checks(scope.metrics.add(name="watcher.checks", unit="{check}"), some, now_ns)
        if any(series.phases for series in some):
            self._add_phases(scope.metrics.add(name="watcher.check.phase.duration", unit="s"), some, now_ns)
        return request.SerializeToString()

    def judge(self, body: bytes) -> None:
        """Tell of points that the collector refused though it answered well."""
        partial = self._service.ExportMetricsServiceResponse.FromString(body).partial_success
        if partial.rejected_data_points:
            raise OSError(f"{partial.rejected_data_points} points were refused: {partial.error_message}")

    def _add_durations(self, metric: Any, some: Sequence[Series], now_ns: int) -> None:
        metric.histogram.aggregation_temporality = self._cumulative
        for series in some:
            self._add_histogram(metric, series, series.durations, now_ns)

    def _add_phases(self, metric: Any, some: Sequence[Series], now_ns: int) -> None:
        metric.histogram.aggregation_temporality = self._cumulative
        for series in some:
            for phase, histogram in series.phases.items():
                self._add_histogram(metric, series, histogram, now_ns, phase=phase)

    def _add_histogram(self, metric: Any, series: Series, histogram: Histogram, now_ns: int, **more: str) -> None:
        metric.histogram.data_points.add(
            attributes=self._attributes(series, **more),
            start_time_unix_nano=series.since_ns,
            time_unix_nano=now_ns,
            count=sum(histogram.counts),
            sum=histogram.sum_s,
            bucket_counts=histogram.counts,
            explicit_bounds=BOUNDS_S,
        )

    def _add_up(self, metric: Any, some: Sequence[Series], now_ns: int) -> None:
        for series in some:
            if series.up is not None:
                attributes = self._attributes(series)
                metric.gauge.data_points.add(attributes=attributes, time_unix_nano=now_ns, as_int=series.up)

    def _add_checks(self, metric: Any, some: Sequence[Series], now_ns: int) -> None:
        metric.sum.aggregation_temporality = self._cumulative
        metric.sum.is_monotonic = True
        for series in some:
            for (status, reason), count in series.checks.items():
                more = {"status": status, "reason": reason} if reason else {"status": status}
                metric.sum.data_points.add(
                    attributes=self._attributes(series, **more),
                    start_time_unix_nano=series.since_ns,
                    time_unix_nano=now_ns,
                    as_int=count,
                )

    def _attributes(self, series: Series, **more: str) -> list[Any]:
        return self._pairs({**series.attributes, **self._constant, **more})

    def _pairs(self, attributes: Mapping[str, str]) -> list[Any]:
        made = self._common
        return [made.KeyValue(key=key, value=made.AnyValue(string_value=value)) for key, value in attributes.items()]
