"""What httpbin makes of requests that the plugins prepare and `requests` sends, and what steps make of the answers."""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpbin
import plugged
import pytest
import requests
from werkzeug.serving import make_server

from watcher import Endpoint, Failure, Reason, Step
from watcher.plugins.assertions import regex, status
from watcher.plugins.credentials import basic_auth
from watcher.plugins.protocols import http
from watcher.plugins.request import body, cookies, headers, query, template, user_agent

REQUEST = (body, cookies, headers, query, template, user_agent)
PLUGINS = plugged.manager(basic_auth, *REQUEST, http, regex, status)


@pytest.fixture(scope="module", name="site")
def fixture_site() -> Iterator[str]:
    """Run httpbin in a thread and give its address."""
    server = make_server("127.0.0.1", 0, httpbin.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def send(url: str, **options: Any) -> tuple[Endpoint, requests.Response]:
    """Send what the plugins prepare for an endpoint; give the endpoint and the response."""
    endpoint, request = plugged.endpoint(PLUGINS, url, **options), plugged.prepared(PLUGINS, url, **options)
    for step in PLUGINS.hook.watcher_steps(endpoint=endpoint):
        if isinstance(step, Step):
            step.before(request)
    with requests.Session() as session:
        session.trust_env = False
        response = session.send(request, timeout=10)
    return endpoint, response


def verdict(url: str, **options: Any) -> Failure | None:
    """Give the verdict of an endpoint on what the server answers."""
    return plugged.verdict(PLUGINS, *send(url, **options))


@pytest.mark.parametrize(("username", "password"), [("probe", "secret"), ("zoë", "pass:wörd €")])
def test_basic_auth_opens_the_door(site: str, username: str, password: str) -> None:
    url = requests.Request("GET", f"{site}/basic-auth/{username}/{password}").prepare().url
    assert verdict(url, basic_auth={"username": username, "password": password}) is None
    wrong = verdict(url, basic_auth={"username": username, "password": "guess"})
    assert wrong == Failure("401 UNAUTHORIZED, wanted 2xx", Reason.STATUS)


def test_headers_arrive(site: str) -> None:
    _, response = send(f"{site}/headers", headers={"X-Probe": "watcher", "user-agent": "probe/1", "Host": "other.test"})
    arrived = response.json()["headers"]
    assert (arrived["X-Probe"], arrived["User-Agent"], arrived["Host"]) == ("watcher", "probe/1", "other.test")


@pytest.mark.parametrize(
    ("written", "field", "arrives"),
    [
        ({"json": {"user": "Zoë", "n": [1, None]}}, "json", {"user": "Zoë", "n": [1, None]}),
        ({"form": {"user": "Zoë & co", "tag": ["a", "b"]}}, "form", {"user": "Zoë & co", "tag": ["a", "b"]}),
        ({"text": "größer\n"}, "data", "größer\n"),
    ],
)
def test_a_body_arrives(site: str, written: dict[str, Any], field: str, arrives: Any) -> None:
    _, response = send(f"{site}/post", body=written)
    assert response.json()[field] == arrives


def test_the_body_of_a_file_arrives(site: str, tmp_path: Path) -> None:
    (tmp_path / "query.json").write_text('{"user": "probe"}')
    _, response = send(f"{site}/put", body={"file": str(tmp_path / "query.json")}, method="put")
    assert response.json()["json"] == {"user": "probe"}
    assert response.json()["headers"]["Content-Type"] == "application/json"


def test_a_multipart_form_arrives(site: str, tmp_path: Path) -> None:
    content = bytes(range(256))
    (tmp_path / "x.png").write_bytes(content)
    part = {"file": str(tmp_path / "x.png"), "filename": "größe.png"}
    _, response = send(f"{site}/post", body={"multipart": {"user": "Zoë", "tag": ["a", "b"], "image": part}})
    arrived = response.json()
    assert arrived["form"] == {"user": "Zoë", "tag": ["a", "b"]}
    assert arrived["files"] == {"image": "data:image/png;base64," + base64.b64encode(content).decode()}


def test_cookies_arrive(site: str) -> None:
    _, response = send(f"{site}/cookies", cookies={"session": "31d4d96e407aad42", "lang": "en-US"})
    assert response.json() == {"cookies": {"session": "31d4d96e407aad42", "lang": "en-US"}}


def test_a_query_arrives(site: str) -> None:
    _, response = send(f"{site}/get?q=shoes&tag=x", query={"page": 1, "tag": ["a b", "ü&"], "sale": True})
    assert response.json()["args"] == {"q": "shoes", "page": "1", "tag": ["x", "a b", "ü&"], "sale": "true"}


def test_a_user_agent_arrives(site: str) -> None:
    _, response = send(f"{site}/user-agent", user_agent="Mozilla/5.0 (compatible; probe/1)")
    assert response.json() == {"user-agent": "Mozilla/5.0 (compatible; probe/1)"}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "put", "TRACE"])
def test_a_method_arrives(site: str, method: str) -> None:
    _, response = send(f"{site}/anything", method=method)
    assert response.json()["method"] == method.upper()


def test_names_are_filled_in_wherever_they_stand(site: str) -> None:
    _, response = send(
        f"{site}/anything/{{{{uuid}}}}?at={{{{now}}}}",
        query={"ms": "{{now_ms}}"},
        headers={"X-Probe": "{{uuid}}"},
        cookies={"n": "{{random}}"},
        body={"json": {"id": "{{uuid}}", "n": "{{random}}", "of": "{{endpoint}}"}},
    )
    arrived = response.json()
    wanted = str(uuid.UUID(arrived["headers"]["X-Probe"]))
    assert arrived["url"].partition("?")[0] == f"{site}/anything/{wanted}"
    at = datetime.fromisoformat(arrived["args"]["at"]).timestamp()
    assert 0 <= int(arrived["args"]["ms"]) / 1000 - at < 1
    assert arrived["headers"]["Cookie"] == f"n={arrived['json']['n']}"
    assert arrived["json"]["id"] == wanted and arrived["json"]["of"].startswith(f"{site}/anything/")


def test_a_pattern_is_sought_in_the_page(site: str) -> None:
    assert verdict(f"{site}/html", regex=["Herman Melville", r"blacksmith.s [a-z]+\b"]) is None
    found = verdict(f"{site}/html", regex={"pattern": "moby.dick", "ignore_case": True, "absent": True})
    assert found is not None and found.reason is Reason.REGEX


def test_a_pattern_is_sought_in_what_was_compressed(site: str) -> None:
    assert verdict(f"{site}/gzip", regex='"gzipped": true') is None


def test_a_pattern_is_sought_in_utf_8(site: str) -> None:
    assert verdict(f"{site}/encoding/utf8", regex="STARGΛ̊TE SG-1") is None


def test_the_status_is_the_verdict_before_the_pattern_is(site: str) -> None:
    assert verdict(f"{site}/status/503", regex="anything") == Failure(
        "503 SERVICE UNAVAILABLE, wanted 2xx", Reason.STATUS
    )
    assert verdict(f"{site}/status/503", status=503) is None
