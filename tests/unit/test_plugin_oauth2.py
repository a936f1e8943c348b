"""The option `oauth2`: what the token endpoint is asked, how long a token serves, and what a failure says."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import plugged
import pytest
import requests

from watcher import ProbeError, Reason
from watcher.config.options import OptionTypes
from watcher.plugins.credentials import _tokens, oauth2

PLUGINS = plugged.manager(oauth2)
CLIENT = {"client_id": "s6BhdRkqt3", "client_secret": "7Fjfp0ZBr1KtDRbnfVdmIw"}  # RFC 6749, section 2.3.1


class Endpoint:
    """A token endpoint that answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], dict[str, str]]] = []  # header, form
        self.answer: tuple[int, Any] | Callable[[], tuple[int, Any]] = gives("t")
        self.url = ""

    def reply(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, Any]:
        """Note a request and give status and body."""
        self.asked.append((headers, form))
        answer = self.answer
        return answer if isinstance(answer, tuple) else answer()


@pytest.fixture(name="site")
def fixture_site() -> Iterator[Endpoint]:
    """Run a token endpoint."""
    site = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        """Passes requests on."""

        def do_POST(self) -> None:  # pylint: disable=invalid-name  # http.server's name
            """Answer one request."""
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, body = site.reply(dict(self.headers), dict(parse_qsl(form)))
            self.send_response(status)
            if isinstance(body, str) and status // 100 == 3:
                self.send_header("Location", body)
            self.end_headers()
            with contextlib.suppress(OSError):  # of a client that waits no more
                self.wfile.write(body.encode() if isinstance(body, str) else json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:  # pylint: disable=arguments-differ
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/token"
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(name="clock")
def fixture_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the time that the plugin sees, to set."""
    now = [1000.0]
    monkeypatch.setattr(_tokens, "monotonic", lambda: now[0])
    return now


def step_of(site: Endpoint, **raw: Any) -> Any:
    """Give the step of an endpoint."""
    option = {"token_url": site.url} | CLIENT | raw
    return PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, oauth2=option))[0]


def sent(step: Any) -> str:
    """Give the header of one check."""
    request = requests.Request("GET", "http://site.test/").prepare()
    step.before(request)
    return request.headers["Authorization"]


def failure(step: Any) -> str:
    """Give the detail of a check that got no token."""
    with pytest.raises(ProbeError) as caught:
        sent(step)
    assert caught.value.reason is Reason.CREDENTIALS  # missed: neither the site's fault nor an outage
    return caught.value.detail


def gives(token: str, **more: Any) -> tuple[int, Any]:
    """Give a good answer (RFC 6749, section 5.1)."""
    return 200, {"access_token": token, "token_type": "Bearer"} | more


def settled(step: Any) -> None:
    """Wait for a renewal that goes on in the background."""
    renewal = step._tokens._renewed  # pylint: disable=protected-access  # it is nobody else's business
    if renewal is not None:
        assert renewal.wait(10)


def test_the_client_proves_itself_by_a_header(site: Endpoint) -> None:
    assert sent(step_of(site, scope="read write")) == "Bearer t"
    headers, form = site.asked[0]
    assert headers["Authorization"] == "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"  # RFC 6749, section 2.3.1
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert form == {"grant_type": "client_credentials", "scope": "read write"}


def test_a_secret_with_special_characters_is_written_as_in_a_form(site: Endpoint) -> None:
    sent(step_of(site, client_id="a b", client_secret="p:%&ü"))
    coded = site.asked[0][0]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(coded) == b"a+b:p%3A%25%26%C3%BC"  # RFC 6749, 2.3.1 and appendix B


def test_the_client_proves_itself_in_the_form(site: Endpoint) -> None:
    sent(step_of(site, style="post", audience="https://api.test/", params={"resource": "r"}))
    headers, form = site.asked[0]
    assert "Authorization" not in headers
    assert form == {"grant_type": "client_credentials", "audience": "https://api.test/", "resource": "r"} | CLIENT


def test_endpoints_with_equal_settings_share_a_token(site: Endpoint) -> None:
    assert [sent(step_of(site)) for _ in range(3)] == ["Bearer t"] * 3
    assert len(site.asked) == 1
    sent(step_of(site, scope="other"))
    assert len(site.asked) == 2


def test_a_token_is_renewed_before_it_ends_while_the_old_one_serves(site: Endpoint, clock: list[float]) -> None:
    step = step_of(site)
    site.answer = gives("first", expires_in=3600)
    assert sent(step) == "Bearer first"
    clock[0] += 3539
    assert sent(step) == "Bearer first"
    assert len(site.asked) == 1
    go = threading.Event()
    site.answer = lambda: (go.wait(10), gives("other", expires_in=3600))[1]
    clock[0] += 2
    assert [sent(step), sent(step)] == ["Bearer first"] * 2  # nobody waits
    go.set()
    settled(step)
    assert sent(step) == "Bearer other"
    assert len(site.asked) == 2


def test_a_token_that_cannot_be_renewed_serves_until_its_end(site: Endpoint, clock: list[float]) -> None:
    step = step_of(site)
    site.answer = gives("first", expires_in="100")
    sent(step)
    site.answer = (503, "")
    clock[0] += 81
    assert sent(step) == "Bearer first"
    settled(step)
    assert sent(step) == "Bearer first"
    clock[0] += 20
    assert failure(step) == f"oauth2: no token from {place(site)}: it answered 503"


@pytest.mark.parametrize("written", [{}, {"expires_in": 0}, {"expires_in": "soon"}, {"expires_in": None}])
def test_a_token_that_does_not_say_how_long_it_lives_serves_five_minutes(
    site: Endpoint, clock: list[float], written: dict[str, Any]
) -> None:
    step = step_of(site)
    site.answer = gives("first", **written)
    sent(step)
    site.answer = gives("other")
    clock[0] += 239
    assert sent(step) == "Bearer first"
    clock[0] += 62
    assert sent(step) == "Bearer other"


def test_a_dead_token_endpoint_is_not_hammered(site: Endpoint, clock: list[float]) -> None:
    step = step_of(site)
    site.answer = (500, "<html>")
    assert {failure(step) for _ in range(50)} == {f"oauth2: no token from {place(site)}: it answered 500"}
    assert len(site.asked) == 1
    site.answer = gives("back")
    clock[0] += 11
    assert sent(step) == "Bearer back"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {"error": "invalid_client"}), "it answered 401 invalid_client"),
        ((400, {"error": "<b>7Fjfp0ZBr1KtDRbnfVdmIw</b>"}), "it answered 400"),
        ((302, "http://127.0.0.1:9/"), "it answered 302"),
        ((200, "<html>"), "its answer holds no access_token"),
        ((200, ["access_token"]), "its answer holds no access_token"),
        ((200, "[" * 100_000), "its answer holds no access_token"),
        ((200, {"access_token": "a\r\nb: c"}), "its answer holds no access_token"),
        ((200, {"access_token": "a", "token_type": "mac"}), "its token is not of the type Bearer"),
    ],
)
def test_an_answer_without_a_token_is_told_without_secrets(site: Endpoint, answer: Any, words: str) -> None:
    site.answer = answer
    assert failure(step_of(site)) == f"oauth2: no token from {place(site)}: {words}"


def test_no_connection_and_no_answer_have_their_words(site: Endpoint) -> None:
    assert failure(step_of(site, token_url="http://127.0.0.1:9/token")).endswith("Connection refused")
    go = threading.Event()
    site.answer = lambda: (go.wait(10), gives("late"))[1]
    assert failure(step_of(site, timeout="150ms")).endswith("no answer in 0.15 s")
    endpoint = plugged.endpoint(PLUGINS, oauth2={"token_url": site.url} | CLIENT)
    impatient = oauth2.Authorization(_tokens.tokens(oauth2.question(endpoint.options["oauth2"])), 0.05)
    assert failure(impatient).endswith("no answer in 0.05 s")  # the check's own patience; the renewal goes on
    go.set()
    settled(impatient)
    assert sent(impatient) == "Bearer late"


def test_a_renewal_that_never_ends_is_given_up(site: Endpoint, clock: list[float]) -> None:
    step, go = step_of(site, timeout="5s"), threading.Event()
    site.answer = lambda: (go.wait(10), gives("late"))[1]
    impatient = oauth2.Authorization(step._tokens, 0.01)  # pylint: disable=protected-access  # to wait less
    failure(impatient)
    clock[0] += 14
    failure(impatient)
    clock[0] += 2
    site.answer = gives("other")
    assert sent(step) == "Bearer other"
    go.set()
    assert len(site.asked) == 2


def test_a_ca_that_is_not_there_is_told(site: Endpoint) -> None:
    assert "/nowhere.pem" in failure(step_of(site, token_url="https://127.0.0.1:9/", ca="/nowhere.pem"))


def test_a_token_that_the_site_refuses_is_renewed_once_it_is_old(site: Endpoint, clock: list[float]) -> None:
    step = step_of(site)
    refused = plugged.response(status=401)
    site.answer = gives("first", expires_in=3600)
    sent(step)
    site.answer = gives("other", expires_in=3600)
    assert step.examine(refused) is None
    assert sent(step) == "Bearer first"  # or every check of a site that refuses all would ask for one
    clock[0] += 61
    step.examine(plugged.response(status=403))
    assert sent(step) == "Bearer first"
    step.examine(refused)
    assert sent(step) == "Bearer other"


def test_secrets_do_not_show() -> None:
    option = {"token_url": "https://x.test/t", "params": {"pin": "hunter2"}} | CLIENT
    endpoint = plugged.endpoint(PLUGINS, oauth2=option)
    shown = OptionTypes({"oauth2": (oauth2.OAuth2, "test")}).masked({"oauth2": option})
    for text in (repr(endpoint), repr(shown), repr(oauth2.question(endpoint.options["oauth2"]))):
        assert "hunter2" not in text
        assert CLIENT["client_secret"] not in text


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"token_url": "login.test"}, "oauth2: token_url must be like https://"),
        ({"token_url": "https://login.test:65536/"}, "oauth2: token_url must be like https://"),
        ({"token_url": "https://[::1/"}, "oauth2: token_url must be like https://"),
        ({"token_url": "https://u:hunter2@login.test/"}, "oauth2: token_url must be like https://"),
        ({"timeout": "2m"}, "oauth2: timeout 120 s is not between 100ms and 60s"),
        ({"params": {"scope": "a"}}, "oauth2: params cannot hold scope"),
        ({"style": "jwt"}, 'oauth2.style: expected one of "basic", "post", got "jwt"'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"oauth2": {"token_url": "https://x.test/"} | CLIENT | written})
    assert [mistake for mistake in mistakes if complaint in mistake], mistakes
    assert "hunter2" not in repr(mistakes)


def place(site: Endpoint) -> str:
    """Give host and port."""
    return site.url.split("/")[2]
