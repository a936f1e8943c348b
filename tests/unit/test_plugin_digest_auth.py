"""The option `digest_auth`: the answers that it computes, when it gives them, and what it refuses."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import plugged
import pytest
import requests
from requests.utils import parse_dict_header
from urllib3 import HTTPResponse

from watcher import ProbeError, Reason
from watcher.config.options import OptionTypes
from watcher.plugins.credentials import digest_auth
from watcher.plugins.credentials.digest_auth import Answer, Login

PLUGINS = plugged.manager(digest_auth)
URL = "http://www.example.org/dir/index.html"
# RFC 7616, section 3.9.1
CHALLENGE = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


class Server:
    """Stands for the transport: challenges what is sent over it, unless it brings an answer."""

    def __init__(self, challenge: str) -> None:
        self.challenge = challenge
        self.got: list[dict[str, str]] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        """Answer one request, as an adapter of `requests` does."""
        sent = request.headers.get("Authorization", "")
        self.got.append(parse_dict_header(sent.removeprefix("Digest ")) if sent else {})
        response = plugged.response(status=200 if sent else 401)
        response.request, response.connection = request, self
        response.raw = HTTPResponse()
        response.headers["WWW-Authenticate"] = self.challenge
        return response


def check(step: Answer, server: Server) -> requests.Response:
    """Do what the prober does in one check."""
    request = requests.Request("GET", URL).prepare()
    step.before(request)
    response = server.send(request)
    for hook in request.hooks["response"]:
        response = hook(response) or response
    return response


def step_of(**raw: Any) -> Answer:
    """Give the step of an endpoint."""
    return PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, URL, digest_auth=raw))[0]


MUFASA = {"username": "Mufasa", "password": "Circle of Life"}


@pytest.mark.parametrize(("algorithm", "hashed"), [("MD5", hashlib.md5), ("SHA-256", hashlib.sha256)])
def test_the_answer_is_that_of_the_rfc(algorithm: str, hashed: Any) -> None:
    server = Server(CHALLENGE.format(algorithm=algorithm))
    assert check(step_of(**MUFASA), server).status_code == 200
    given = server.got[1]

    def digest(text: str) -> str:
        return hashed(text.encode()).hexdigest()

    proof = f"{digest('Mufasa:http-auth@example.org:Circle of Life')}:{given['nonce']}:{given['nc']}:{given['cnonce']}"
    assert given["response"] == digest(f"{proof}:auth:{digest('GET:/dir/index.html')}")
    assert (given["nc"], given["qop"], given["uri"]) == ("00000001", "auth", "/dir/index.html")
    assert given["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def test_a_challenge_is_remembered_whatever_thread_the_next_check_runs_in() -> None:
    step, server = step_of(**MUFASA), Server(CHALLENGE.format(algorithm="MD5"))
    for _ in range(3):
        thread = threading.Thread(target=check, args=(step, server))
        thread.start()
        thread.join()
    assert [given.get("nc") for given in server.got] == [None, "00000001", "00000002", "00000003"]


def test_endpoints_do_not_share_a_challenge() -> None:
    server = Server(CHALLENGE.format(algorithm="MD5"))
    check(step_of(**MUFASA), server)
    check(step_of(**MUFASA), server)
    assert [given.get("nc") for given in server.got] == [None, "00000001"] * 2


@pytest.mark.parametrize(
    ("challenge", "reason", "words"),
    [
        ("Digest", Reason.PROTOCOL, "the challenge for digest_auth has no realm"),
        ('Digest realm="a"', Reason.PROTOCOL, "the challenge for digest_auth has no nonce"),
        ('Digest realm="a", nonce="b", algorithm=ROT13', Reason.CREDENTIALS, "a challenge with algorithm 'ROT13'"),
        ('Digest realm="a", nonce="b", qop="auth-int"', Reason.CREDENTIALS, "a challenge with qop 'auth-int'"),
    ],
)
def test_what_cannot_be_answered_has_its_reason(challenge: str, reason: Reason, words: str) -> None:
    with pytest.raises(ProbeError) as caught:
        check(step_of(**MUFASA), Server(challenge))
    assert caught.value.reason is reason
    assert words in caught.value.detail


def test_an_endpoint_without_the_option_has_no_step() -> None:
    assert PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS)) == []


def test_the_password_does_not_show() -> None:
    raw = {"digest_auth": {"username": "probe", "password": "hunter2"}}
    shown = OptionTypes({"digest_auth": (digest_auth.DigestAuth, "test")}).masked(raw)
    assert shown == {"digest_auth": {"username": "probe", "password": "***"}}
    assert "hunter2" not in repr(plugged.endpoint(PLUGINS, **raw))
    assert "hunter2" not in repr(Login("probe", "hunter2"))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"username": 'a"b', "password": "c"}, "digest_auth: the username must be ASCII"),
        ({"username": "zoë", "password": "c"}, "digest_auth: the username must be ASCII"),
        ({"username": "", "password": "c"}, "digest_auth: the username must be ASCII"),
        ({"username": "a", "password": "c\n"}, "digest_auth: the password holds a control character"),
        ({"username": "a"}, 'digest_auth: "password" is missing'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"digest_auth": written})
    assert [mistake for mistake in mistakes if complaint in mistake]
