"""The output `otlp`: what a collector receives, decoded by OpenTelemetry's own classes, and what it may answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import plugged
import pytest
from exports import OTHER, RESULTS, SITE, Receiver, receiving
from google.protobuf.json_format import MessageToDict

from watcher import Endpoint, Result, Status, __version__
from watcher.plugins.outputs import _series, otlp
from watcher.plugins.outputs._push import Exporter

service = import_module("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")  # made when loaded
CUMULATIVE = import_module("opentelemetry.proto.metrics.v1.metrics_pb2").AGGREGATION_TEMPORALITY_CUMULATIVE
PLUGINS = plugged.manager()
PLUGINS.register(otlp, "otlp")
Point = dict[str, Any]


@pytest.fixture(name="receiver")
def fixture_receiver() -> Iterator[Receiver]:
    """Give a receiver."""
    with receiving() as found:
        yield found


def output(receiver: Receiver, **table: Any) -> Exporter:
    """Give the output for `[plugins.otlp]`."""
    found, mistakes = plugged.settings(PLUGINS, {"otlp": {"url": receiver.url("/v1/metrics")} | table})
    assert not mistakes
    (made,) = PLUGINS.hook.watcher_output(settings=found)
    return made


def requests(receiver: Receiver) -> list[Any]:
    """Decode what was received."""
    return [service.ExportMetricsServiceRequest.FromString(body) for _, body in receiver.received]


def attributes(pairs: Sequence[Any]) -> dict[str, str]:
    """Give attributes as a dict."""
    assert len({pair.key for pair in pairs}) == len(pairs)
    return {pair.key: pair.value.string_value for pair in pairs}


def points(request: Any, name: str) -> list[tuple[dict[str, str], Any]]:
    """Give the points of a metric, with their attributes."""
    (metric,) = [metric for metric in request.resource_metrics[0].scope_metrics[0].metrics if metric.name == name]
    found = getattr(metric, metric.WhichOneof("data"))
    return [(attributes(point.attributes), point) for point in found.data_points]


def metric(request: Any, name: str) -> Any:
    """Give a metric of a request."""
    (found,) = [one for one in request.resource_metrics[0].scope_metrics[0].metrics if one.name == name]
    return found


def test_nothing_is_sent_unless_configured() -> None:
    assert PLUGINS.hook.watcher_output(settings=plugged.settings(PLUGINS, {})[0]) == []


def test_a_collector_receives_totals(receiver: Receiver) -> None:
    before_ns = time.time_ns()
    with closing(output(receiver, headers={"Api-Key": "hunter2"}, resource={"deployment.environment": "prod"})) as made:
        made(RESULTS)
        made.flush()
        made.flush()
    (headers, _), *_ = receiver.received
    assert (headers["path"], headers["Content-Type"]) == ("/v1/metrics", "application/x-protobuf")
    assert (headers["Api-Key"], headers["User-Agent"]) == ("hunter2", f"watcher/{__version__}")
    request, again, _ = requests(receiver)  # the last one by close
    about = attributes(request.resource_metrics[0].resource.attributes)
    assert about.pop("service.instance.id").endswith("/default/0")
    assert about == {
        "service.name": "watcher", "service.version": __version__, "watcher.location": "here",
        "deployment.environment": "prod",
    }  # fmt: skip
    site = {"endpoint": "front page", "team": "web", "location": "here"}
    other = {"endpoint": "other", "location": "here"}
    (of_site, one), (of_other, two) = points(request, "watcher.check.duration")
    assert (of_site, of_other) == (site, other)
    assert (one.count, two.count) == (3, 1) and one.sum == pytest.approx(10.022001)
    assert list(one.explicit_bounds) == [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
    assert list(one.bucket_counts) == [0, 1, 1] + [0] * 11 + [1]  # a bound belongs to the bucket beneath it
    assert list(two.bucket_counts) == [0] * 11 + [1] + [0] * 3
    assert before_ns <= one.start_time_unix_nano <= one.time_unix_nano <= time.time_ns()
    assert [(of, point.as_int) for of, point in points(request, "watcher.check.up")] == [(site, 0), (other, 1)]
    assert [(of, point.as_int) for of, point in points(request, "watcher.checks")] == [
        (site | {"status": "up"}, 2),
        (site | {"status": "down", "reason": "timeout"}, 1),
        (site | {"status": "missed", "reason": "overload"}, 1),
        (other | {"status": "degraded", "reason": "latency"}, 1),
    ]
    for name, data, unit in (("watcher.check.duration", "histogram", "s"), ("watcher.checks", "sum", "{check}")):
        found = metric(request, name)
        assert found.unit == unit
        assert getattr(found, data).aggregation_temporality == CUMULATIVE
    assert metric(request, "watcher.checks").sum.is_monotonic
    later = points(again, "watcher.check.duration")[0][1]
    assert (later.count, later.start_time_unix_nano) == (3, one.start_time_unix_nano)
    assert later.time_unix_nano > one.time_unix_nano


def test_phases_have_a_histogram_of_their_own(receiver: Receiver) -> None:
    with closing(output(receiver, phases=True)) as made:
        made(RESULTS)
    found = {of["phase"]: point for of, point in points(requests(receiver)[0], "watcher.check.phase.duration")}
    assert {phase: (point.count, round(point.sum, 6)) for phase, point in found.items()} == {
        "connect": (2, 0.003), "ttfb": (2, 0.019), "transfer": (2, 0.0)
    }  # fmt: skip


def test_what_was_not_taken_is_in_the_next_export(receiver: Receiver) -> None:
    made = output(receiver)
    made(RESULTS[:1])
    receiver.answer = (503, b"<h1>come\n later</h1>" + b"x" * 10_000)
    with pytest.raises(OSError, match="^127.0.0.1 answered 503: <h1>come later</h1>x{150,200}$"):
        made.flush()
    receiver.answer = (200, b"")
    made(RESULTS[1:])
    made.close()
    assert points(requests(receiver)[-1], "watcher.check.duration")[0][1].count == 3


def test_a_redirect_is_no_success(receiver: Receiver) -> None:
    made = output(receiver)
    made(RESULTS)
    receiver.answer = (302, b"")
    with pytest.raises(OSError, match="answered 302"):
        made.close()


def test_points_that_were_refused_are_told(receiver: Receiver) -> None:
    refused = service.ExportMetricsServiceResponse()
    refused.partial_success.rejected_data_points = 3
    refused.partial_success.error_message = "too many attributes"
    receiver.answer = (200, refused.SerializeToString())
    made = output(receiver)
    made(RESULTS)
    with pytest.raises(OSError, match="3 points were refused: too many attributes"):
        made.close()


def test_a_receiver_that_is_silent_or_away_fails_the_export(receiver: Receiver) -> None:
    receiver.silent = True
    made = output(receiver, timeout="50ms", url=receiver.url("/v1/metrics?token=hunter2"))
    made(RESULTS)
    with pytest.raises(OSError, match="^127.0.0.1: no answer in time$"):
        made.flush()
    assert len(receiver.received) == 1
    receiver.shutdown()
    receiver.server_close()
    with pytest.raises(OSError, match="^127.0.0.1: Connection refused$"):
        made.close()


def test_the_number_of_series_is_bounded(receiver: Receiver) -> None:
    sites = [Endpoint(name=f"{number}", url="https://x.test/", labels={"n": f"{number}"}) for number in range(300)]
    with closing(output(receiver, max_series=120)) as made:
        made([Result(site, 0, Status.UP, latency_us=1000) for site in sites])
        made([Result(site, 0, Status.DOWN) for site in sites])
    found = [pair for request in requests(receiver) for pair in points(request, "watcher.check.duration")]
    assert len(receiver.received) == 3  # of 50 series at most
    assert [of["endpoint"] for of, _ in found[:-1]] == [f"{number}" for number in range(120)]
    (of, rest) = found[-1]
    assert of == {"otel.metric.overflow": "true", "location": "here"} and rest.count == 180
    ups = [of for request in requests(receiver) for of, _ in points(request, "watcher.check.up")]
    assert len(ups) == 120  # there is no such thing for the rest
    checks = [pair for request in requests(receiver) for pair in points(request, "watcher.checks")]
    assert [(of["status"], point.as_int) for of, point in checks[-2:]] == [("up", 180), ("down", 180)]


def test_series_by_labels_alone(receiver: Receiver) -> None:
    third = Endpoint(name="third", url="https://x.test/", labels={"team": "web", "tier": "1"})
    with closing(output(receiver, per_endpoint=False, labels=["team"])) as made:
        made([*RESULTS, Result(third, 0, Status.UP, latency_us=1000)])
    found = points(requests(receiver)[0], "watcher.check.duration")
    assert [(of, point.count) for of, point in found] == [
        ({"team": "web", "location": "here"}, 4), ({"location": "here"}, 1)
    ]  # fmt: skip
    names = [one.name for one in requests(receiver)[0].resource_metrics[0].scope_metrics[0].metrics]
    assert names == ["watcher.check.duration", "watcher.checks"]


def test_an_endpoint_that_changed_begins_anew_and_one_that_is_gone_ends(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = output(receiver)
    made(RESULTS)
    same = Endpoint(name=SITE.name, url=SITE.url, labels=dict(SITE.labels), interval_s=5.0)
    made([Result(same, 5, Status.UP, latency_us=1000)])
    made.flush()
    moved = Endpoint(name=SITE.name, url=SITE.url, labels={"team": "shop"})
    made([Result(moved, 6, Status.UP, latency_us=1000)])
    made.flush()
    monkeypatch.setattr(_series, "FORGET_S", -1.0)
    made.flush()
    made([Result(OTHER, 7, Status.UP)])
    monkeypatch.undo()
    made.close()
    counts = [
        [(of.get("team"), point.count) for of, point in points(request, "watcher.check.duration")]
        for request in requests(receiver)
    ]
    assert counts == [
        [("web", 4), (None, 1)],
        [("shop", 1), (None, 1)],
        [(None, 0)],
    ]


def test_no_secret_of_a_url_is_told(receiver: Receiver) -> None:
    url = "https://x.test/?token=hunter2"
    with closing(output(receiver)) as made:
        made([Result(Endpoint(name=url, url=url + "&key=hunter2"), 0, Status.UP)])
    assert b"hunter2" not in receiver.received[0][1]
    assert points(requests(receiver)[0], "watcher.checks")[0][0]["endpoint"] == "https://x.test/?token=***"


def test_the_body_is_what_the_json_of_the_specification_says(receiver: Receiver) -> None:
    with closing(output(receiver)) as made:
        made(RESULTS[4:])
    told = MessageToDict(requests(receiver)[0])["resourceMetrics"][0]["scopeMetrics"][0]
    assert told["scope"] == {"name": "watcher", "version": __version__}
    gauge = told["metrics"][1]["gauge"]["dataPoints"][0]
    assert gauge["asInt"] == "1" and {"key": "endpoint", "value": {"stringValue": "other"}} in gauge["attributes"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"url": "collector:4318"}, 'plugins.otlp: url is no URL such as "https://collector.example/path"'),
        ({"url": "http://[::1"}, 'plugins.otlp: url is no URL such as "https://collector.example/path"'),
        ({"url": "http://a:99999/"}, 'plugins.otlp: url is no URL such as "https://collector.example/path"'),
        (
            {"url": "http://u:hunter2@a/"},
            "plugins.otlp: url holds a user or password, which would be shown; give Authorization among headers",
        ),
        (
            {"headers": {"X-Scope": "€"}},
            "plugins.otlp: the value of X-Scope has a line end, a blank at an end, or a character beyond Latin-1",
        ),
        ({"headers": {"Content-Length": "5"}}, "plugins.otlp: Content-Length follows from the body and cannot be set"),
        ({"interval": "10m"}, "plugins.otlp: interval must be from 1 to 300 seconds, got 600"),
        ({"timeout": 60}, "plugins.otlp: timeout must be above 0 and at most 30 seconds, got 60"),
        ({"max_series": 0}, "plugins.otlp.max_series: expected a whole number from 1 to 1000000, got 0"),
        ({"ca": "none.pem"}, "plugins.otlp: ca: there is no file /none.pem"),
    ],
)
def test_mistakes_are_told(table: dict[str, Any], said: str) -> None:
    assert plugged.settings(PLUGINS, {"otlp": table}, Path("/"))[1] == [said]


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.proto", None)
    assert plugged.settings(PLUGINS, {"otlp": {}})[1] == [
        "plugins.otlp: needs the package opentelemetry-proto; in a checkout of watcher: pip install '.[otlp]'"
    ]
