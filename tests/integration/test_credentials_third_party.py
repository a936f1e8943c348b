"""Authentication that others wrote, taken as it is by `auth`, and sites that verify it with libraries of their own."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
import requests
import spnego
from credentialed import TRANSPORTS, Wsgi, plan, probed, serving
from http_message_signatures import MappingKeyResolver
from http_site import http_site
from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint
from requests.auth import AuthBase
from requests_http_signature import HTTPSignatureAuth, InvalidSignature, algorithms
from scripted import verdict

from watcher.models import Reason, Status
from watcher.probe import probe

UP = (Status.UP, None, 200)
REFUSED = (Status.DOWN, Reason.STATUS, 401)
KEY, SECRET = "AClientOfThirtyCharacters", "a-secret-of-thirty-characters-or-so"


@pytest.fixture(autouse=True)
def stamped(anchor: None) -> None:
    """Keep the kernel's stamps switched on."""
    del anchor  # held for the session


def answered(good: Callable[[requests.PreparedRequest], bool]) -> Wsgi:
    """Make a site that answers 200 to what is good, else 401."""

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK" if good(received(environ)) else "401 Unauthorized", [("Content-Length", "0")])
        return [b""]

    return app


def received(environ: dict[str, Any]) -> requests.PreparedRequest:
    """Give the request that a site got."""
    request = requests.PreparedRequest()
    request.method = environ["REQUEST_METHOD"]
    request.url = f"http://{environ['HTTP_HOST']}{environ['REQUEST_URI']}"
    fields = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    fields |= {"Content-Type": environ["CONTENT_TYPE"]} if environ.get("CONTENT_TYPE") else {}
    request.headers = requests.structures.CaseInsensitiveDict(fields)
    request.body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return request


# OAuth 1.0a: requests-oauthlib, verified by oauthlib


class Clients(RequestValidator):  # pylint: disable=abstract-method  # for a signature alone these are all
    """Knows one client and refuses a nonce that it saw."""

    enforce_ssl = False
    client_key_length = nonce_length = (10, 40)

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    dummy_client = "NobodyOfThirtyCharacters"

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        """Know the client."""
        return client_key == KEY

    def get_client_secret(self, client_key: str, request: Any) -> str:
        """Give its secret."""
        return SECRET

    def validate_timestamp_and_nonce(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # oauthlib's
        self, client_key: str, timestamp: str, nonce: str, request: Any, request_token: Any = None,
        access_token: Any = None,
    ) -> bool:  # fmt: skip
        """Take each nonce once."""
        fresh = nonce not in self.seen
        self.seen.add(nonce)
        return fresh


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("place", ["auth_header", "query"])
def test_oauth_1(plugins, transport: str, place: str) -> None:
    clients = Clients()
    provider = SignatureOnlyEndpoint(clients)

    def good(request: requests.PreparedRequest) -> bool:
        return provider.validate_request(request.url, request.method, request.body, dict(request.headers))[0]

    def option(secret: str) -> dict[str, Any]:
        secrets = {"client_key": KEY, "client_secret": secret}
        return {"factory": "requests_oauthlib:OAuth1", "secrets": secrets, "args": {"signature_type": place}}

    with serving(answered(good)) as site:
        url = f"{site}/photos?size=original&file=vacation.jpg"
        assert verdict(probed(plugins, url, transport=transport)) == REFUSED
        refused = probed(plugins, url, auth=option("guess"), transport=transport)
        assert (verdict(refused), refused.detail) == (REFUSED, "401 Unauthorized, wanted 2xx")
        with closing(plan(plugins, url, auth=option(SECRET), transport=transport)) as made:
            assert [verdict(probe(made)) for _ in range(3)] == [UP] * 3
    assert len(clients.seen) == 4


# HTTP Message Signatures (RFC 9421): requests-http-signature, through a function, as its keys are bytes


def signature(key: str) -> AuthBase:
    """Make what signs; the function that a user would write."""
    return HTTPSignatureAuth(
        signature_algorithm=algorithms.HMAC_SHA256, key=key.encode(), key_id="probe", use_nonce=True
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_http_message_signatures(plugins, transport: str) -> None:
    nonces = set()

    def good(request: requests.PreparedRequest) -> bool:
        try:
            found = HTTPSignatureAuth.verify(
                request,
                signature_algorithm=algorithms.HMAC_SHA256,
                key_resolver=MappingKeyResolver(private_keys={}, public_keys={"probe": SECRET.encode()}),
            )
        except InvalidSignature:
            return False
        nonces.add(found.parameters["nonce"])
        return True

    def option(secret: str) -> dict[str, Any]:
        return {"factory": f"{__name__}:signature", "secrets": [secret]}

    with serving(answered(good)) as site:
        given = {"transport": transport, "body": {"json": {"a": 1}}}
        assert verdict(probed(plugins, site, auth=option("guess"), **given)) == REFUSED
        with closing(plan(plugins, site, auth=option(SECRET), **given)) as made:
            assert [verdict(probe(made)) for _ in range(3)] == [UP] * 3
    assert len(nonces) == 3


# AWS Signature Version 4: requests-aws4auth by `auth` and by `aws_sigv4`, verified as AWS's documentation says


def is_signed(request: requests.PreparedRequest) -> bool:
    """Verify a signature for the service `execute-api` (IAM User Guide, "Create a signed AWS API request")."""
    given = dict(part.split("=", 1) for part in request.headers.get("Authorization", "")[17:].split(", ") if part)
    if not given or hashlib.sha256(request.body).hexdigest() != request.headers["X-Amz-Content-Sha256"]:
        return False
    path, _, query = request.url.partition("://")[2].partition("/")[2].partition("?")
    pairs = sorted((quote(name, ""), quote(value, "")) for name, value in parse_qsl(query, keep_blank_values=True))
    names = given["SignedHeaders"].split(";")
    fields = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
    pieces = [
        request.method, f"/{quote(path, '/')}", "&".join(map("=".join, pairs)), fields, given["SignedHeaders"],
        hashlib.sha256(request.body).hexdigest(),
    ]  # fmt: skip
    scope = given["Credential"].split("/", 1)[1]
    hashed = hashlib.sha256("\n".join(pieces).encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["X-Amz-Date"], scope, hashed])
    key = f"AWS4{SECRET}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.digest(key, part.encode(), "sha256")
    needed = {"host", "x-amz-date", "x-amz-security-token"}
    return hmac.compare_digest(key.hex(), given["Signature"]) and needed <= {*names} and scope[8:] == SCOPE


SCOPE = "/eu-central-1/execute-api/aws4_request"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("body", [None, {"text": "größer"}])
def test_aws_signature_version_4(plugins, transport: str, body: Any) -> None:
    given: dict[str, Any] = {"transport": transport} | ({"body": body} if body else {})

    def built_in(secret: str) -> dict[str, Any]:
        key = {"access_key": KEY, "secret_key": secret, "session_token": "temporary"}
        return {"aws_sigv4": {"region": "eu-central-1", "service": "execute-api"} | key}

    third = {
        "factory": "requests_aws4auth:AWS4Auth",
        "secrets": [KEY, SECRET, "eu-central-1", "execute-api"],
        "args": {"session_token": "temporary"},
    }
    with serving(answered(is_signed)) as site:
        url = f"{site}/stage/a%20b/~c?b=2&a=1&a=%2F"
        assert verdict(probed(plugins, url, **built_in("guess"), **given)) == REFUSED
        with closing(plan(plugins, url, **built_in(SECRET), **given)) as made:
            assert [verdict(probe(made)) for _ in range(2)] == [UP] * 2
        assert verdict(probed(plugins, url, auth=third, **given)) == UP


# NTLM: requests-ntlm, verified by pyspnego; it logs in a connection


class NtlmHandler(BaseHTTPRequestHandler):
    """Logs in its connection by NTLM."""

    protocol_version = "HTTP/1.1"
    context: Any = None

    def do_GET(self) -> None:  # pylint: disable=invalid-name  # http.server's name
        """Go on with the conversation."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        offer = "NTLM"
        if scheme == "NTLM":
            try:
                self.context = self.context or spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
                reply = self.context.step(base64.b64decode(token))
                offer += f" {base64.b64encode(reply).decode()}" if reply else ""
            except (ValueError, spnego.exceptions.SpnegoError):  # ValueError: the end of another connection's talk
                self.context = None
        good = self.context is not None and self.context.complete
        self.send_response(200 if good else 401)
        if not good:
            self.send_header("WWW-Authenticate", offer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:  # pylint: disable=arguments-differ
        """Say nothing."""


@pytest.fixture(name="ntlm_site")
def fixture_ntlm_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a site with one account."""
    (tmp_path / "accounts").write_text(f"DOMAIN:probe:{SECRET}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "accounts"))
    with http_site(NtlmHandler) as url:
        yield url


def ntlm(secret: str) -> dict[str, Any]:
    """Give the option."""
    secrets = {"username": "DOMAIN\\probe", "password": secret}
    return {"factory": "requests_ntlm:HttpNtlmAuth", "secrets": secrets, "args": {"send_cbt": False}}


def test_ntlm_over_a_plain_session(plugins, ntlm_site: str) -> None:
    with closing(plan(plugins, ntlm_site, auth=ntlm(SECRET), transport="requests")) as made:
        assert [verdict(probe(made)) for _ in range(3)] == [UP] * 3
    wrong = probed(plugins, ntlm_site, auth=ntlm("guess"), transport="requests")
    assert verdict(wrong) == REFUSED


def test_ntlm_over_the_measured_transport_says_what_to_do(plugins, ntlm_site: str) -> None:
    result = probed(plugins, ntlm_site, auth=ntlm(SECRET))
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert result.detail == 'NTLM logs in a connection, not a request: add transport = "requests"'


# what goes wrong


def test_a_factory_that_refuses_its_arguments_is_told_at_each_check(plugins) -> None:
    option = {"factory": "requests_oauthlib:OAuth1", "secrets": {"client_key": KEY}, "args": {"client_class": 5}}
    result = probed(plugins, "http://127.0.0.1:9/", auth=option)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    detail = result.detail or ""
    assert "requests_oauthlib:OAuth1: TypeError" in detail
    assert KEY not in detail


class Broken(AuthBase):
    """Breaks at each check, and talks too much."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        raise LookupError(f"no key {self.key}")


def test_one_that_breaks_is_no_fault_of_the_site_and_tells_no_secret(plugins) -> None:
    option = {"factory": f"{__name__}:Broken", "secrets": [SECRET]}
    result = probed(plugins, "http://127.0.0.1:9/", auth=option)
    assert (result.status, result.reason) == (Status.MISSED, Reason.PLUGIN)
    detail = result.detail or ""
    assert "LookupError: no key ***" in detail
    assert SECRET not in detail
