"""The option `aws_sigv4`: the signatures that AWS publishes, where keys come from, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import plugged
import pytest
import requests

from watcher.config.options import OptionTypes
from watcher.plugins.credentials import aws_sigv4
from watcher.plugins.request import body, headers

PLUGINS = plugged.manager(aws_sigv4, body, headers)
# the key of the examples in AWS's documentation
KEY = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
S3 = {"region": "us-east-1", "service": "s3"} | KEY
VARIABLES = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "DEFAULT_REGION")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Take away what this machine may have."""
    for name in VARIABLES:
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    yield monkeypatch


def signed(url: str, method: str = "GET", **raw: Any) -> requests.PreparedRequest:
    """Give the request of one check."""
    endpoint = plugged.endpoint(PLUGINS, url, **raw)
    request = requests.Request(method, url)
    PLUGINS.hook.watcher_prepare(endpoint=endpoint, request=request)
    prepared = request.prepare()
    for step in PLUGINS.hook.watcher_steps(endpoint=endpoint):
        step.before(prepared)
    return prepared


@pytest.mark.parametrize(
    ("path", "signature"),
    [  # Amazon S3 API Reference, "Signature Calculations for the Authorization Header": those that sign no Range
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_signatures_are_those_of_the_documentation(path: str, signature: str) -> None:
    request = signed(
        f"https://examplebucket.s3.amazonaws.com{path}", aws_sigv4=S3, headers={"X-Amz-Date": "20130524T000000Z"}
    )
    assert request.headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
    )


def test_a_body_is_signed_as_in_the_documentation() -> None:
    fields = {
        "Date": "Fri, 24 May 2013 00:00:00 GMT",
        "X-Amz-Date": "20130524T000000Z",
        "X-Amz-Storage-Class": "REDUCED_REDUNDANCY",
    }
    endpoint = plugged.endpoint(PLUGINS, aws_sigv4=S3)
    url = "https://examplebucket.s3.amazonaws.com/test$file.text"
    request = requests.Request("PUT", url, fields, data=b"Welcome to Amazon S3.").prepare()
    PLUGINS.hook.watcher_steps(endpoint=endpoint)[0].before(request)
    wanted = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    assert request.headers["Authorization"].endswith(f"Signature={wanted}")


def test_each_check_is_signed_with_its_own_time() -> None:
    endpoint = plugged.endpoint(PLUGINS, aws_sigv4=S3)
    (step,) = PLUGINS.hook.watcher_steps(endpoint=endpoint)
    seen = []
    for at in ("20130524T000000Z", "20130525T000000Z"):  # the key changes at midnight
        request = requests.Request("GET", "https://examplebucket.s3.amazonaws.com/", {"X-Amz-Date": at}).prepare()
        step.before(request)
        seen.append(request.headers["Authorization"])
    assert "/20130524/" in seen[0]
    assert "/20130525/" in seen[1]
    fresh = requests.Request("GET", "https://examplebucket.s3.amazonaws.com/").prepare()
    step.before(fresh)
    assert fresh.headers["x-amz-date"][:8] in fresh.headers["Authorization"]


def test_what_is_not_given_comes_from_the_environment(bare_environment: pytest.MonkeyPatch) -> None:
    bare_environment.setenv("AWS_ACCESS_KEY_ID", KEY["access_key"])
    bare_environment.setenv("AWS_SECRET_ACCESS_KEY", KEY["secret_key"])
    bare_environment.setenv("AWS_SESSION_TOKEN", "temporary")
    bare_environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    request = signed("https://site.test/", aws_sigv4={"service": "execute-api"})
    assert "AKIAIOSFODNN7EXAMPLE/" in request.headers["Authorization"]
    assert "/eu-west-1/execute-api/aws4_request" in request.headers["Authorization"]
    assert request.headers["x-amz-security-token"] == "temporary"
    given = signed("https://site.test/", aws_sigv4={"service": "execute-api"} | KEY)
    assert "x-amz-security-token" not in given.headers  # that of another key


def test_secrets_do_not_show() -> None:
    raw = {"aws_sigv4": S3 | {"session_token": "hunter2"}}
    endpoint = plugged.endpoint(PLUGINS, **raw)
    found = aws_sigv4.scope(endpoint.options["aws_sigv4"], {})
    listed = OptionTypes({"aws_sigv4": (aws_sigv4.AwsSigV4, "test")}).masked(raw)
    for shown in (repr(endpoint), repr(found), repr(listed)):
        assert "hunter2" not in shown
        assert KEY["secret_key"] not in shown


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"service": "s3", "region": "x"}, "aws_sigv4: add access_key and secret_key, or set AWS_ACCESS_KEY_ID"),
        ({"service": "s3"} | KEY, "aws_sigv4: add region, or set AWS_REGION"),
        ({"service": "s3", "region": "x", "access_key": "a"}, "aws_sigv4: access_key and secret_key go together"),
        ({"service": "s3", "region": "x", "session_token": "a"}, "aws_sigv4: session_token goes with access_key"),
        (S3 | {"service": ""}, "aws_sigv4: an empty service"),
        ({"region": "x"} | KEY, 'aws_sigv4: "service" is missing'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"aws_sigv4": written})
    assert [mistake for mistake in mistakes if complaint in mistake]
