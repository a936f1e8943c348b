"""The option `body`: the bytes, the Content-Type and the method that it makes."""

from __future__ import annotations

import os
import json
import math
import tracemalloc
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import plugged
import pytest
import requests

from watcher import config
from watcher.config.options import OptionTypes
from watcher.plan import compile_plan
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


def parts_of(request: requests.PreparedRequest) -> list[Message]:
    """Read a multipart body with Python's own parser of mail."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    assert message.get_content_type() == "multipart/form-data" and not message.defects
    return list(message.iter_parts())


def described(part: Message) -> tuple[str, str | None, str | None, bytes]:
    """Give name, file name, declared type and content of a part."""
    name = part.get_param("name", header="Content-Disposition")
    return name, part.get_filename(), part["Content-Type"], part.get_payload(decode=True)


def test_a_multipart_form_has_a_part_for_each_field_and_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "x.png").write_bytes(content)
    (tmp_path / "y").write_bytes(b"")
    image = {"file": str(tmp_path / "x.png")}
    form = {
        "user": "probe",
        "page": 2,
        "tag": ["a", "b"],
        "image": image,
        "as": image | {"type": "image/webp", "filename": "other.webp"},
        "both": [{"file": str(tmp_path / "y")}, {"text": "{}", "type": "application/json", "filename": "z.json"}],
        "meta": {"text": '{"a": 1}', "type": "application/json"},
    }
    request = plugged.prepared(PLUGINS, body={"multipart": form})
    assert [described(part) for part in parts_of(request)] == [
        ("user", None, None, b"probe"),
        ("page", None, None, b"2"),
        ("tag", None, None, b"a"),
        ("tag", None, None, b"b"),
        ("image", "x.png", "image/png", content),
        ("as", "other.webp", "image/webp", content),
        ("both", "y", "application/octet-stream", b""),
        ("both", "z.json", "application/json", b"{}"),
        ("meta", None, "application/json", b'{"a": 1}'),
    ]
    assert (request.method, request.headers["Content-Length"]) == ("POST", str(len(request.body)))


def test_a_field_of_a_multipart_form_is_utf_8() -> None:
    request = plugged.prepared(PLUGINS, body={"multipart": {"name": "Zoë €\r\n--x"}})
    assert "\r\n\r\nZoë €\r\n--x\r\n--".encode() in request.body


def test_the_files_of_a_multipart_form_have_16_mib_together(tmp_path: Path) -> None:
    for name, size_bytes in (("a", 10 << 20), ("b", 6 << 20), ("c", (6 << 20) + 1)):
        (tmp_path / name).write_bytes(bytes(size_bytes))
    first, second, third = ({"file": str(tmp_path / name)} for name in "abc")
    assert len(plugged.prepared(PLUGINS, body={"multipart": {"x": [first, second]}}).body) > 16 << 20
    with pytest.raises(ValueError, match=f"{tmp_path}/c with the files before it: larger than 16 MiB"):
        plugged.prepared(PLUGINS, body={"multipart": {"x": first, "y": third}})
    with pytest.raises(ValueError, match=f"body.multipart.y.file {tmp_path}/none: No such file"):
        plugged.prepared(PLUGINS, body={"multipart": {"y": {"file": str(tmp_path / "none")}}})


def test_paths_of_a_multipart_form_are_relative_to_their_configuration(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello")
    (tmp_path / "e.toml").write_text(
        """
        [[endpoints]]
        url = "http://site.test/"
        body = { multipart = { one = { file = "x.txt" }, more = [{ file = "x.txt" }, "y"] } }
        """
    )
    types = {key: (wanted, "body") for key, wanted in body.watcher_options().items()}
    (spec,) = config.load(tmp_path / "e.toml", OptionTypes(types)).endpoints
    request = plugged.prepared(PLUGINS, **spec.options)
    assert [part.get_payload(decode=True) for part in parts_of(request)] == [b"hello", b"hello", b"y"]


def test_a_body_makes_the_request_a_post_unless_the_method_is_given() -> None:
    assert plugged.prepared(PLUGINS).method == "GET"
    assert plugged.prepared(PLUGINS, body={"text": "a"}).method == "POST"
    assert plugged.prepared(PLUGINS, body={"text": "a"}, method="PUT").method == "PUT"
    assert plugged.prepared(PLUGINS, body={"text": "a"}, method="GET").method == "GET"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"body.file {tmp_path}/none: No such file"):
        plugged.prepared(PLUGINS, body={"file": str(tmp_path / "none")})


def test_a_directory_is_no_body(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no regular file"):
        plugged.prepared(PLUGINS, body={"file": str(tmp_path)})


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.xml")
    with pytest.raises(ValueError, match="is no regular file"):
        plugged.prepared(PLUGINS, body={"file": str(tmp_path / "pipe.xml")})


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
        ({}, "give one of json, form, multipart, text and file, not none of them"),
        ({"type": "text/plain"}, "give one of json, form, multipart, text and file, not none of them"),
        ({"json": {}, "text": "a"}, "give one of json, form, multipart, text and file, not json and text"),
        ({"json": {"a": math.nan}}, "json cannot be written as JSON"),
        ({"text": "a", "type": "text"}, "type 'text' is not a media type"),
        ({"text": "a", "type": "text/plain\r\nX-Evil: b"}, "is not a media type"),
        ({"form": {"a": {"b": "c"}}}, "body.form.a"),
        ({"multipart": {}}, "multipart has one part at least"),
        ({"multipart": {"a": "b"}, "type": "multipart/mixed"}, "its type is multipart/form-data"),
        ({"multipart": {"a": {}}}, "give one of file and text"),
        ({"multipart": {"a": {"file": "x", "text": "y"}}}, "give one of file and text"),
        ({"multipart": {"a": {"text": "y", "type": "text"}}}, "type 'text' is not a media type"),
        ({"multipart": {"a": {"text": "y", "typ": "text/plain"}}}, 'did you mean "type"?'),
        ({"multipart": {"a": [["b"]]}}, "body.multipart.a[0]"),
        ({"jsn": {}}, 'body.jsn: unknown key; did you mean "json"?'),
        ("text", "body: expected a table"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"body": written})
    assert [mistake for mistake in mistakes if complaint in mistake]


@pytest.mark.parametrize("kind", ["file", "text"])
def test_endpoints_that_send_the_same_share_one_object(tmp_path: Path, kind: str) -> None:
    path, count, size_bytes = tmp_path / "large", 40, 100_000
    path.write_bytes(b"x" * size_bytes)
    content = str(path) if kind == "file" else "x" * size_bytes
    raw = {"body": {kind: content}}
    endpoints = [plugged.endpoint(PLUGINS, f"http://site{number}.test/", **raw) for number in range(count)]
    tracemalloc.start()
    try:
        plans = [compile_plan(endpoint, PLUGINS) for endpoint in endpoints]
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(plans) == count and held_bytes < 5 * size_bytes
