"""The option `headers`: whose values win, and what cannot be sent."""

from __future__ import annotations

from typing import Any

import plugged
import pytest

from watcher.plugins.protocols import http
from watcher.plugins.request import body, headers

PLUGINS = plugged.manager(headers, body, http)


def test_a_field_takes_the_place_of_a_default_whatever_its_case() -> None:
    request = plugged.prepared(PLUGINS, headers={"user-AGENT": "probe/1", "X-Probe": "watcher"})
    assert [value for name, value in request.headers.items() if name.lower() == "user-agent"] == ["probe/1"]
    assert request.headers["X-Probe"] == "watcher"


def test_the_other_defaults_stay() -> None:
    plain, changed = plugged.prepared(PLUGINS), plugged.prepared(PLUGINS, headers={"X-Probe": "watcher"})
    assert {**changed.headers} == {**plain.headers, "X-Probe": "watcher"}


def test_a_host_may_be_given() -> None:
    assert plugged.prepared(PLUGINS, headers={"Host": "other.test"}).headers["Host"] == "other.test"


@pytest.mark.parametrize("order", [(headers, body, http), (http, body, headers), (body, headers, http)])
def test_a_content_type_takes_the_place_of_the_body_s_in_whatever_order_plugins_load(order: tuple) -> None:
    plugins = plugged.manager(*order)
    request = plugged.prepared(plugins, headers={"content-type": "application/vnd.api+json"}, body={"text": "{}"})
    fields = [value for name, value in request.headers.items() if name.lower() == "content-type"]
    assert fields == ["application/vnd.api+json"]


def test_values_do_not_show() -> None:
    assert "hunter2" not in repr(plugged.endpoint(PLUGINS, headers={"Authorization": "Bearer hunter2"}))


@pytest.mark.parametrize(
    "value", ["", "x", "a b\tc", "caf\xe9", "a" * 8000, "{}: ;,=?/\\\"'", "W/\"67ab43\", \"54ed21\""]
)
def test_what_rfc_9110_allows_is_sent_as_it_is(value: str) -> None:
    assert plugged.prepared(PLUGINS, headers={"X-Probe": value}).headers["X-Probe"] == value


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"X Probe": "watcher"}, "'X Probe' is not a header name"),
        ({"": "watcher"}, "'' is not a header name"),
        ({"X-Probé": "watcher"}, "is not a header name"),
        ({"X-Probe:": "watcher"}, "'X-Probe:' is not a header name"),
        ({"X-Probe": "a\r\nX-Evil: b"}, "the value of X-Probe has a line end"),
        ({"X-Probe": "a\n"}, "the value of X-Probe has a line end"),
        ({"X-Probe": "a\x00"}, "the value of X-Probe has"),
        ({"X-Probe": " a"}, "the value of X-Probe has"),
        ({"X-Probe": "a\t"}, "the value of X-Probe has"),
        ({"X-Probe": "€"}, "a character beyond Latin-1"),
        ({"Host": "a", "host": "b"}, "host is given twice"),
        ({"Content-Length": "3"}, "Content-Length follows from the body"),
        ({"transfer-encoding": "chunked"}, "transfer-encoding follows from the body"),
        ({"X-Probe": 1}, "expected a string"),
        (["X-Probe: a"], "expected a table of strings"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"headers": written})
    assert len(mistakes) == 1 and mistakes[0].startswith("headers") and complaint in mistakes[0]
