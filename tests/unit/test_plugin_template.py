"""The option `template`: where the names are found, what they stand for, and who pays for it."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import plugged
import pytest
import requests

from watcher import Endpoint
from watcher.plugins.protocols import http
from watcher.plugins.request import body, cookies, headers, query, template, user_agent

PLUGINS = plugged.manager(http, body, cookies, headers, query, user_agent, template)
URL = "http://site.test/"


def filled(url: str = URL, name: str = "shop", **options: Any) -> requests.PreparedRequest:
    """Give the request of one check."""
    request = plugged.prepared(PLUGINS, url, **options)
    (step,) = steps(url, name, **options)
    step.before(request)
    return request


def steps(url: str = URL, name: str = "shop", **options: Any) -> list[template.Template]:
    """Give the steps of an endpoint."""
    converted = plugged.endpoint(PLUGINS, url, **options).options
    return PLUGINS.hook.watcher_steps(endpoint=Endpoint(name=name, url=url, options=converted))


def test_what_the_names_stand_for() -> None:
    known = template.values("shop", 1_700_000_000.5)
    assert (known["now"], known["now_unix"], known["now_ms"]) == ("2023-11-14T22:13:20Z", "1700000000", "1700000000500")
    assert datetime.fromisoformat(known["now"]) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert uuid.UUID(known["uuid"]).version == 4
    assert re.fullmatch("[0-9a-f]{16}", known["random"])
    assert known["endpoint"] == "shop"


def test_they_are_new_at_each_check() -> None:
    once, again = template.values("shop", 0), template.values("shop", 0)
    assert once["uuid"] != again["uuid"] and once["random"] != again["random"]


def test_a_name_is_the_same_all_over_a_request() -> None:
    request = filled(
        "http://site.test/{{uuid}}/x?id={{uuid}}",
        query={"again": "{{uuid}}"},
        headers={"X-Request-ID": "{{uuid}}"},
        cookies={"id": "{{uuid}}"},
        user_agent="probe/1 ({{uuid}})",
        body={"json": {"id": "{{uuid}}"}},
    )
    wanted = str(uuid.UUID(request.headers["X-Request-ID"]))
    assert request.url == f"http://site.test/{wanted}/x?id={wanted}&again={wanted}"
    assert request.headers["Cookie"] == f"id={wanted}"
    assert request.headers["User-Agent"] == f"probe/1 ({wanted})"
    assert json.loads(request.body) == {"id": wanted}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"json": {"{{endpoint}}": ["{{endpoint}}"]}}, lambda body: json.loads(body) == {NAME: [NAME]}),
        ({"form": {"a": "x {{endpoint}}"}}, lambda body: parse_qs(body) == {"a": [f"x {NAME}"]}),
        ({"form": {"a": "b", "c": ["{{ endpoint }}"]}}, lambda body: parse_qs(body) == {"a": ["b"], "c": [NAME]}),
        ({"text": "<a>{{endpoint}}</a>"}, lambda body: body == f"<a>{NAME}</a>"),
    ],
)  # fmt: skip
def test_a_value_is_written_as_its_place_wants_it(written: dict[str, Any], read: Any) -> None:
    request = filled(name=NAME, body=written)
    assert read(request.body.decode())
    assert request.headers["Content-Length"] == str(len(request.body))


NAME = 'Zoë\'s "shop" & 50% {;}'


def test_a_value_cannot_leave_its_place_in_url_and_fields() -> None:
    request = filled("http://site.test/{{endpoint}}?n={{endpoint}}", NAME, headers={"X-Name": "{{endpoint}}"})
    parts = urlsplit(request.url)
    assert parts.hostname == "site.test" and parts.path.count("/") == 1 and not parts.fragment
    assert parse_qs(parts.query) == {"n": [NAME]}
    assert request.headers["X-Name"] == 'Zo%C3%AB\'s "shop" & 50%25 {%3B}'
    hostile = filled(name="a\r\nX-Evil: 1", headers={"X-Name": "{{endpoint}}"})
    assert hostile.headers["X-Name"] == "a%0D%0AX-Evil: 1"


@pytest.mark.parametrize("mark", ["{{now_unix}}", "{{ now_unix }}", "{{  now_unix}}"])
def test_blanks_within_the_braces_do_not_matter(mark: str) -> None:
    request = filled(body={"form": {"at": mark}}, headers={"X-At": mark}, query={"at": mark})
    assert re.fullmatch(r"at=\d+", request.body.decode())
    assert re.fullmatch(r"\d+", request.headers["X-At"])
    assert re.fullmatch(r"at=\d+", urlsplit(request.url).query)


def test_what_is_no_known_name_stays_as_it_is_written() -> None:
    request = filled(body={"text": "{{name}} {{now_unix}} {{Now}} {now} {{{now_unix}}} {{now"})
    assert re.fullmatch(r"\{\{name\}\} \d+ \{\{Now\}\} \{now\} \{\d+\} \{\{now", request.body.decode())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"headers": {"X-A": "{{name}}"}},
        {"body": {"text": "{now}"}},
        {"body": {"json": {"a": [1, None, True, "x"]}}},
        {"headers": {"X-A": "{{uuid}}"}, "template": False},
        {"template": True},
    ],
)
def test_an_endpoint_without_a_known_name_pays_nothing(options: dict[str, Any]) -> None:
    assert not steps(**options)


def test_switched_off_it_is_sent_as_it_is_written() -> None:
    options: dict[str, Any] = {"body": {"text": "{{uuid}}"}, "template": False}
    assert plugged.prepared(PLUGINS, **options).body == b"{{uuid}}"
    assert not steps(**options)


def test_the_content_of_files_is_sent_as_it_is(tmp_path: Any) -> None:
    (tmp_path / "page").write_text("{{uuid}}")
    assert not steps(body={"file": str(tmp_path / "page")})
    assert not steps(body={"multipart": {"a": "{{uuid}}", "b": {"file": str(tmp_path / "page")}}})


def test_only_fields_that_hold_a_name_are_touched() -> None:
    request = filled(headers={"X-Id": "{{random}}", "Authorization": "Bearer {{token}}"}, user_agent="{{x}}")
    assert request.headers["Authorization"] == "Bearer {{token}}"
    assert request.headers["User-Agent"] == "{{x}}"


def test_it_comes_before_what_signs_the_request() -> None:
    class Signer:
        """Another plugin with a step."""

        @staticmethod
        @template.hookimpl
        def watcher_steps() -> list[str]:
            """Give a step."""
            return ["signs"]

    for order in ((Signer(), template), (template, Signer())):
        plugins = plugged.manager(*order)
        found = plugins.hook.watcher_steps(endpoint=Endpoint(name="a", url="http://site.test/{{uuid}}"))
        assert isinstance(found[0], template.Template) and found[1] == ["signs"]
