"""The output `prometheus_remote_write`: its bytes against the specification's, and what it refuses.

What a real Prometheus makes of it is in tests/integration/test_outputs_prometheus.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from typing import Any

import plugged
import pytest
from exports import RESULTS, Receiver, receiving

from watcher import Endpoint, Result, Status
from watcher.plugins.outputs import prometheus_remote_write as remote_write
from watcher.plugins.outputs._push import Exporter

decompress = import_module("cramjam").snappy.decompress_raw  # made when loaded
PLUGINS = plugged.manager()
PLUGINS.register(remote_write, "prometheus_remote_write")
Sample = tuple[dict[str, str], float, int]


@pytest.fixture(name="receiver")
def fixture_receiver() -> Iterator[Receiver]:
    """Give a receiver."""
    with receiving() as found:
        yield found


def output(receiver: Receiver, **table: Any) -> Exporter:
    """Give the output for `[plugins.prometheus_remote_write]`."""
    given = {"url": receiver.url("/api/v1/write")} | table
    found, mistakes = plugged.settings(PLUGINS, {"prometheus_remote_write": given})
    assert not mistakes
    (made,) = PLUGINS.hook.watcher_output(settings=found)
    return made


def samples(body: bytes) -> list[Sample]:
    """Decode a request."""
    request = remote_write.write_request().FromString(bytes(decompress(body)))
    found = []
    for series in request.timeseries:
        names = [label.name for label in series.labels]
        assert names == sorted(set(names)) and all(label.value for label in series.labels)
        (sample,) = series.samples
        found.append(({label.name: label.value for label in series.labels}, sample.value, sample.timestamp))
    return found


def test_the_bytes_are_those_of_the_specification() -> None:
    request = remote_write.write_request()()
    series = request.timeseries.add()
    series.labels.add(name="a", value="b")
    series.samples.add(value=1.0, timestamp=300)
    # by hand, from prompb/types.proto and the encoding of protocol buffers: tag, length, …; 1.0 as an IEEE 754 double
    label = b"\x0a\x01a\x12\x01b"
    sample = b"\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\xac\x02"
    timeseries = b"\x0a" + bytes([len(label)]) + label + b"\x12" + bytes([len(sample)]) + sample
    assert request.SerializeToString() == b"\x0a" + bytes([len(timeseries)]) + timeseries


def test_nothing_is_sent_unless_configured() -> None:
    assert PLUGINS.hook.watcher_output(settings=plugged.settings(PLUGINS, {})[0]) == []


def test_a_receiver_gets_totals(receiver: Receiver) -> None:
    before_ms = time.time_ns() // 1_000_000
    with closing(output(receiver, tags={"env": "prod"}, headers={"Authorization": "Bearer hunter2"})) as made:
        made(RESULTS)
    ((headers, body),) = receiver.received
    assert {name: headers[name] for name in ("Content-Encoding", "Content-Type", "Authorization", "path")} == {
        "Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "Authorization": "Bearer hunter2",
        "path": "/api/v1/write",
    }  # fmt: skip
    assert headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    common = {"job": "watcher", "location": "here", "env": "prod"}
    site = common | {"endpoint": "front page", "team": "web"}
    other = common | {"endpoint": "other"}
    found = []
    for labels, value, at_ms in samples(body):
        assert labels.pop("instance").endswith("/default/0") and before_ms <= at_ms <= time.time_ns() // 1_000_000
        found.append((labels.pop("__name__").removeprefix("watcher_"), labels, round(value, 6)))
    assert found == [
        ("check_up", site, 0),
        ("checks_total", site | {"status": "up"}, 2),
        ("checks_total", site | {"status": "down", "reason": "timeout"}, 1),
        ("checks_total", site | {"status": "missed", "reason": "overload"}, 1),
        ("check_duration_seconds_sum", site, 10.022001),
        ("check_duration_seconds_count", site, 3),
        ("check_up", other, 1),
        ("checks_total", other | {"status": "degraded", "reason": "latency"}, 1),
        ("check_duration_seconds_sum", other, 3),
        ("check_duration_seconds_count", other, 1),
    ]


def test_buckets_count_upwards_to_all(receiver: Receiver) -> None:
    with closing(output(receiver, buckets=True, phases=True)) as made:
        made(RESULTS[:3])
    found = samples(receiver.received[0][1])
    buckets = [(of["le"], value) for of, value, _ in found if of["__name__"] == "watcher_check_duration_seconds_bucket"]
    assert buckets[:3] == [("0.005", 0), ("0.01", 1), ("0.025", 2)] and buckets[-2:] == [("10.0", 2), ("+Inf", 3)]
    phases = {
        of["phase"]: value for of, value, _ in found if of["__name__"] == "watcher_check_phase_duration_seconds_count"
    }
    assert phases == {"connect": 2, "ttfb": 2, "transfer": 2}


def test_labels_are_written_as_prometheus_has_them(receiver: Receiver) -> None:
    endpoint = Endpoint(name="x", url="x", labels={"cost-center": "a", "1st": "b", "ü": "c", "none": ""})
    with closing(output(receiver)) as made:
        made([Result(endpoint, 0, Status.UP)])
    labels = samples(receiver.received[0][1])[0][0]
    assert {"cost_center": "a", "_1st": "b", "_": "c"}.items() <= labels.items() and "none" not in labels


def test_what_is_refused_is_told(receiver: Receiver) -> None:
    receiver.answer = (400, b"out of order sample\n")
    made = output(receiver)
    made(RESULTS)
    with pytest.raises(OSError, match="^127.0.0.1 answered 400: out of order sample$"):
        made.close()


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"prometheus_remote_write": {"url": "http://x/"}}
    for module, package in {"google.protobuf": "protobuf", "cramjam": "cramjam"}.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert plugged.settings(PLUGINS, table)[1] == [
                f"plugins.prometheus_remote_write: needs the package {package}; in a checkout of watcher: "
                "pip install '.[remote-write]'"
            ]
