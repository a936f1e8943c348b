"""No credential is told to another host that a redirect leads to, over either transport."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from typing import Any

import pytest
import requests
from credentialed import TRANSPORTS, plan
from requests.auth import AuthBase
from scripted import answers, page, request, scripted

from watcher.models import Status
from watcher.probe import probe

SECRET = "hunter2-hunter2"
DIGEST = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'


class ApiKey(AuthBase):
    """Sends a key in fields of its own, and again when it is asked for more."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["X-Api-Key"] = r.headers["Proxy-Token"] = self.key
        r.register_hook("response", self.insist)
        return r

    def insist(self, response: requests.Response, **options: Any) -> requests.Response:
        """Answer a 401."""
        if response.status_code != 401 or "X-Again" in response.request.headers:
            return response
        again = response.request.copy()
        again.headers["X-Again"] = self.key
        return response.connection.send(again, **options)


USER = {"username": "probe", "password": SECRET}
KEY = {"access_key": "AKID", "secret_key": SECRET, "session_token": SECRET, "region": "x", "service": "s3"}
THIRD = {
    "oauth 1": {"factory": "requests_oauthlib:OAuth1", "secrets": {"client_key": SECRET, "client_secret": SECRET}},
    "digest": {"factory": "requests.auth:HTTPDigestAuth", "secrets": USER},
    "ntlm": {"factory": "requests_ntlm:HttpNtlmAuth", "secrets": USER, "args": {"send_cbt": False}},
    "api key": {"factory": f"{__name__}:ApiKey", "secrets": [SECRET]},
}
CREDENTIALS: dict[str, dict[str, Any]] = {
    "basic_auth": {"basic_auth": USER},
    "digest_auth": {"digest_auth": USER},
    "bearer": {"bearer": SECRET},
    "aws_sigv4": {"aws_sigv4": KEY},
    "headers": {"headers": {"X-Api-Key": SECRET, "Authorization": SECRET}},
} | {name: {"auth": option} for name, option in THIRD.items()}


@pytest.fixture(autouse=True)
def stamped(anchor: None) -> None:
    """Keep the kernel's stamps switched on."""
    del anchor  # held for the session


def lured(plugins: Any, transport: str, option: dict[str, Any]) -> tuple[list[bytes], list[bytes]]:
    """Check an endpoint twice that leads to a host which asks for credentials; give what each host was sent."""
    own: list[bytes] = []
    other: list[bytes] = []

    def elsewhere(connection: socket.socket) -> None:
        while got := request(connection):
            other.append(got)
            connection.sendall(page(b"", DIGEST, "WWW-Authenticate: NTLM", status="401 Unauthorized"))

    with scripted(elsewhere) as port:

        def site(connection: socket.socket) -> None:
            while got := request(connection):
                own.append(got)
                connection.sendall(page(b"", f"Location: http://localhost:{port}/there", status="307 Moved"))

        with scripted(site) as here:
            with closing(plan(plugins, f"http://127.0.0.1:{here}/", transport=transport, **option)) as made:
                results = [probe(made), probe(made)]
    assert [(result.status, result.http_status) for result in results] == [(Status.DOWN, 401)] * 2
    return own, other


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", CREDENTIALS)
def test_another_host_is_told_nothing(plugins, transport: str, name: str) -> None:
    own, other = lured(plugins, transport, CREDENTIALS[name])
    assert len(own) == len(other) == 2  # and it is asked once, whatever it answers
    for got in other:
        text = got.lower()
        assert not [word for word in (b"hunter2", b"authorization", b"x-amz", b"ntlm", b"x-api-key") if word in text]
        assert b"user-agent: watcher/" in text


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_answered_challenge_is_not_passed_on(plugins, transport: str) -> None:
    seen: list[bytes] = []

    def elsewhere(connection: socket.socket) -> None:
        while got := request(connection):
            seen.append(got)
            connection.sendall(page(b"", DIGEST, status="401 Unauthorized"))

    with scripted(elsewhere) as port:

        def site(connection: socket.socket) -> None:
            while got := request(connection):
                to = f"Location: http://localhost:{port}/there"
                proved = b"authorization: digest" in got.lower()
                connection.sendall(page(b"", to, status="302 Found") if proved else page(b"", DIGEST, status="401 No"))

        with scripted(site) as here:
            url = f"http://127.0.0.1:{here}/"
            with closing(plan(plugins, url, transport=transport, digest_auth=USER)) as made:
                assert [probe(made).http_status for _ in range(2)] == [401, 401]
    assert len(seen) == 2
    assert not [got for got in seen if b"authorization" in got.lower()]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_token_of_oauth2_is_not_passed_on(plugins, transport: str) -> None:
    answer = page(json.dumps({"access_token": SECRET, "token_type": "Bearer"}).encode())
    with scripted(lambda connection: request(connection) and connection.sendall(answer)) as port:
        option = {"token_url": f"http://127.0.0.1:{port}/", "client_id": "probe", "client_secret": SECRET}
        own, other = lured(plugins, transport, {"oauth2": option})
    assert all(f"authorization: bearer {SECRET}".encode() in got.lower() for got in own)
    assert not [got for got in other if b"authorization" in got.lower()]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_same_host_is_told_again(plugins, transport: str) -> None:
    seen: list[bytes] = []

    def site(connection: socket.socket) -> None:
        while got := request(connection):
            seen.append(got)
            moved = page(b"", "Location: /2", status="302 Found")
            connection.sendall(moved if b"GET / " in got else page(b"welcome"))

    with scripted(site) as port:
        url = f"http://127.0.0.1:{port}/"
        option = {"bearer": SECRET, "headers": {"X-Api-Key": SECRET}}
        with closing(plan(plugins, url, transport=transport, **option)) as made:
            assert probe(made).status is Status.UP
    assert len(seen) == 2
    assert all(got.count(SECRET.encode()) == 2 for got in seen)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_a_check_adds_is_gone_at_the_next(plugins, transport: str) -> None:
    hooks: list[int] = []
    with scripted(answers(page(b"welcome"))) as port:
        option = {"factory": f"{__name__}:ApiKey", "secrets": [SECRET]}
        with closing(plan(plugins, f"http://127.0.0.1:{port}/", transport=transport, auth=option)) as made:
            made = made._replace(before=(*made.before, lambda sent: hooks.append(len(sent.hooks["response"]))))
            assert [probe(made).status for _ in range(3)] == [Status.UP] * 3
    assert len(set(hooks)) == 1  # they would pile up
