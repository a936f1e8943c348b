"""`oauth2` against an authorization server of oauthlib, with many probes at once and with one that does not answer."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import pytest
from credentialed import TRANSPORTS, probed, serving
from green_process import run_green
from oauthlib.oauth2 import BackendApplicationServer, RequestValidator
from scripted import verdict

from watcher.models import Reason, Status

SECRET = "7Fj fp0:ZBr1%"
UP = (Status.UP, None, 200)


class Provider(RequestValidator):  # pylint: disable=abstract-method  # for one grant these are all
    """Knows one client, `probe`, that may read."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        """Take what proves the client from the header, else from the form."""
        scheme, _, coded = request.headers.get("Authorization", "").partition(" ")
        pair = [unquote_plus(part) for part in base64.b64decode(coded).decode().split(":", 1)]
        if scheme != "Basic":
            pair = [request.client_id, request.client_secret]
        request.client = request
        request.client_id = "probe"
        return pair == ["probe", SECRET]

    def validate_grant_type(self, client_id: str, grant_type: str, *args: Any, **kwargs: Any) -> bool:
        """Take the one grant."""
        return grant_type == "client_credentials"

    def get_default_scopes(self, *args: Any, **kwargs: Any) -> list[str]:
        """Give none."""
        return ["none"]

    def validate_scopes(self, client_id: str, scopes: list[str], *args: Any, **kwargs: Any) -> bool:
        """Let the client read."""
        return set(scopes) <= {"none", "read"}

    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the token of one who may read."""
        if token["scope"] == "read":
            self.tokens.add(token["access_token"])

    def validate_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        """Know the token."""
        return token in self.tokens


class Site:
    """A token endpoint, and pages that only its tokens open."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.server = BackendApplicationServer(self.provider)
        self.asked = 0
        self.go = threading.Event()  # the token endpoint waits for it
        self.go.set()

    def __call__(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        uri, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        headers = {"Authorization": environ.get("HTTP_AUTHORIZATION", "")}
        if uri != "/token":
            good, _ = self.server.verify_request(uri, method, "", headers, ["read"])
            start("200 OK" if good else "401 Unauthorized", [("Content-Length", "0")])
            return [b""]
        self.asked += 1
        self.go.wait(20)
        form = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        fields, body, status = self.server.create_token_response("https://site.test/token", method, form, headers)
        start(f"{status} X", list(fields.items()))
        return [body.encode()]


@pytest.fixture(name="site")
def fixture_site(anchor: None) -> Iterator[tuple[Site, str]]:
    """Run a site."""
    del anchor  # held for the session
    site = Site()
    with serving(site) as url:
        yield site, url
        site.go.set()


def option(url: str, **more: Any) -> dict[str, Any]:
    """Give the option."""
    return {"token_url": f"{url}/token", "client_id": "probe", "client_secret": SECRET, "scope": "read"} | more


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("style", ["basic", "post"])
def test_a_token_opens_the_page(plugins, site: tuple[Site, str], style: str, transport: str) -> None:
    _, url = site
    assert verdict(probed(plugins, url, transport=transport)) == (Status.DOWN, Reason.STATUS, 401)
    assert verdict(probed(plugins, url, oauth2=option(url, style=style), transport=transport)) == UP
    closed = probed(plugins, url, oauth2=option(url, style=style, scope=""), transport=transport)
    assert verdict(closed) == (Status.DOWN, Reason.STATUS, 401)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"client_secret": "guess"}, "it answered 401 invalid_client"),
        ({"scope": "write"}, "it answered 400 invalid_scope"),
        ({"token_url": "http://127.0.0.1:9/token"}, "Connection refused"),
    ],
)
def test_no_token_says_nothing_of_the_site(plugins, site: tuple[Site, str], wrong: dict[str, str], words: str) -> None:
    _, url = site
    result = probed(plugins, url, oauth2=option(url, **wrong))
    assert verdict(result) == (Status.MISSED, Reason.CREDENTIALS, None)
    assert result.detail.startswith("oauth2: no token from 127.0.0.1:")
    assert result.detail.endswith(words)


CROWD = """
    import json, sys
    import gevent
    from watcher.config import endpoint
    from watcher.plan import compile_plan
    from watcher.probe import probe
    from watcher.registry import option_types, plugin_manager
    from watcher.transport import Anchor

    anchor, plugins = Anchor(), plugin_manager()
    types, rows = option_types(plugins), json.loads(sys.argv[1])
    jobs = [gevent.spawn(probe, compile_plan(endpoint(row, types), plugins)) for row in rows]
    gevent.joinall(jobs)
    found = [(job.value.status.value, job.value.detail, job.value.latency_us) for job in jobs]
    print(json.dumps(found))
"""


def crowd(rows: list[tuple[str, float, dict[str, Any]]]) -> list[Any]:
    """Probe endpoints in a worker's way, all at once: give status, detail and latency of each."""
    tables = [
        {"name": str(number), "url": url, "interval_s": 60.0, "timeout_s": timeout_s, "options": options}
        for number, (url, timeout_s, options) in enumerate(rows)
    ]
    return json.loads(run_green(CROWD, json.dumps(tables)))


def test_many_probes_wait_for_one_token_and_none_counts_the_wait(site: tuple[Site, str]) -> None:
    state, url = site
    state.go.clear()
    threading.Timer(1.0, state.go.set).start()
    found = crowd([(f"{url}/{number}", 10.0, {"oauth2": option(url)}) for number in range(100)])
    assert {status for status, _, _ in found} == {"up"}
    assert state.asked == 1
    fastest = min(latency_us for _, _, latency_us in found)
    assert fastest < 1_000_000


def test_a_token_endpoint_that_does_not_answer_holds_up_its_own_checks_alone(site: tuple[Site, str]) -> None:
    state, url = site
    state.go.clear()
    state.provider.tokens.add("known")
    given = option(url)
    found = crowd(
        [(url, 1.0, {"oauth2": given}), (url, 0.5, {"oauth2": given}), (url, 1.0, {"bearer": "known"})]
    )
    host = url.partition("://")[2]
    assert found[0][:2] == ["missed", f"oauth2: no token from {host}: no answer in 0.9 s"]
    assert found[1][:2] == ["missed", f"oauth2: no token from {host}: no answer in 0.45 s"]
    assert found[2][0] == "up"
    assert state.asked == 1
