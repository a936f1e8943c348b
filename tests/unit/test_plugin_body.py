"""The option `body`: the bytes, the Content-Type and the method that it makes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import plugged
import pytest

from watcher.plugins.protocols import http
from watcher.plugins.request import body

PLUGINS = plugged.manager(http, body)


@pytest.mark.parametrize("value", [{"user": "probe", "tags": ["ü", 1, 2.5, True]}, [], {}, "text", 0, False])
def test_json_is_sent_as_json(value: Any) -> None:
    request = plugged.prepared(PLUGINS, body={"json": value})
    assert json.loads(request.body) == value
    assert request.headers["Content-Type"] == "application/json"


def test_a_form_is_sent_as_a_form() -> None:
    request = plugged.prepared(PLUGINS, body={"form": {"name": "Zoë & co", "page": 2, "tag": ["a", "b"]}})
    assert parse_qs(request.body, strict_parsing=True) == {"name": ["Zoë & co"], "page": ["2"], "tag": ["a", "b"]}
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_text_is_sent_as_utf_8() -> None:
    request = plugged.prepared(PLUGINS, body={"text": "größer\n"})
    assert request.body == b"gr\xc3\xb6\xc3\x9fer\n"
    assert request.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "content_type"), [("query.xml", "/xml"), ("query.json", "application/json"), ("query", "octet-stream")]
)
def test_a_file_is_sent_as_it_is(tmp_path: Path, name: str, content_type: str) -> None:
    content = bytes(range(256))
    (tmp_path / name).write_bytes(content)
    request = plugged.prepared(PLUGINS, body={"file": str(tmp_path / name)})
    assert request.body == content
    assert request.headers["Content-Type"].endswith(content_type)
    assert request.headers["Content-Length"] == "256"


@pytest.mark.parametrize("given", [{"json": {}}, {"form": {"a": "b"}}, {"text": "a"}])
def test_the_type_may_be_given(given: dict[str, Any]) -> None:
    request = plugged.prepared(PLUGINS, body={**given, "type": "application/soap+xml; charset=utf-8"})
    assert request.headers["Content-Type"] == "application/soap+xml; charset=utf-8"


def test_a_body_makes_the_request_a_post_unless_the_method_is_given() -> None:
    assert plugged.prepared(PLUGINS).method == "GET"
    assert plugged.prepared(PLUGINS, body={"text": "a"}).method == "POST"
    assert plugged.prepared(PLUGINS, body={"text": "a"}, method="PUT").method == "PUT"
    assert plugged.prepared(PLUGINS, body={"text": "a"}, method="GET").method == "GET"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"body.file {tmp_path}/none: No such file"):
        plugged.prepared(PLUGINS, body={"file": str(tmp_path / "none")})


def test_a_directory_is_no_body(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Is a directory"):
        plugged.prepared(PLUGINS, body={"file": str(tmp_path)})


def test_a_file_over_16_mib_is_refused_and_one_of_16_mib_is_not(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(16 * 1024 * 1024))
    assert len(plugged.prepared(PLUGINS, body={"file": str(path)}).body) == 16 * 1024 * 1024
    with path.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ValueError, match="larger than 16 MiB"):
        plugged.prepared(PLUGINS, body={"file": str(path)})


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "give one of json, form, text and file, not none of them"),
        ({"type": "text/plain"}, "give one of json, form, text and file, not none of them"),
        ({"json": {}, "text": "a"}, "give one of json, form, text and file, not json and text"),
        ({"json": {"a": math.nan}}, "json cannot be written as JSON"),
        ({"text": "a", "type": "text"}, "type 'text' is not a media type"),
        ({"text": "a", "type": "text/plain\r\nX-Evil: b"}, "is not a media type"),
        ({"form": {"a": {"b": "c"}}}, "body.form.a"),
        ({"jsn": {}}, 'body.jsn: unknown key; did you mean "json"?'),
        ("text", "body: expected a table"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"body": written})
    assert [mistake for mistake in mistakes if complaint in mistake]
