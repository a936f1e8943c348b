"""The option `auth`: what may be named, what it is called with, and what is told of its failures."""

from __future__ import annotations

from typing import Any

import plugged
import pytest
import requests
from requests.auth import AuthBase

from watcher.config.options import OptionTypes
from watcher.plugins.credentials import auth

PLUGINS = plugged.manager(auth)
HERE = __name__


class Stamp(AuthBase):
    """Numbers each request, as something that signs would."""

    def __init__(self, key: str, prefix: str = "", start: int = 1) -> None:
        if key == "refused":
            raise ValueError(f"a bad key: {key}")
        self.key, self.prefix, self.number = key, prefix, start

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.prefix == "broken":
            raise LookupError(f"no such key {self.key}")
        r.headers["X-Stamp"] = f"{self.prefix}{self.key}{self.number}"
        self.number += 1
        return r


class Renamed(AuthBase):
    """Gives another request than it got, as some do."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        other = r.copy()
        other.url, other.body = f"{r.url}?signed=1", b"12345"
        return other


def build(key: str) -> AuthBase:
    """Make one by a function."""
    return Stamp(key, "built")


def command(line: str) -> int:
    """Do what no endpoint may ask for."""
    raise AssertionError(line)


def checks(count: int, **raw: Any) -> list[requests.PreparedRequest]:
    """Give the requests of some checks of one endpoint."""
    (step,) = PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, auth=raw))
    requests_ = [requests.Request("GET", "http://site.test/").prepare() for _ in range(count)]
    for request in requests_:
        step.before(request)
    return requests_


@pytest.mark.parametrize(
    ("raw", "stamps"),
    [
        ({"secrets": {"key": "k"}}, ["k1", "k2"]),
        ({"secrets": ["k", "p"]}, ["pk1", "pk2"]),
        ({"secrets": ["k"], "args": {"start": 8}}, ["k8", "k9"]),
        ({"secrets": {"key": "k"}, "args": {"prefix": "p", "start": 2}}, ["pk2", "pk3"]),
    ],
)
def test_each_check_is_signed_anew(raw: dict[str, Any], stamps: list[str]) -> None:
    requests_ = checks(2, factory=f"{HERE}:Stamp", **raw)
    assert [request.headers["X-Stamp"] for request in requests_] == stamps


def test_a_function_may_make_it() -> None:
    assert checks(1, factory=f"{HERE}:build", secrets=["k"])[0].headers["X-Stamp"] == "builtk1"


def test_a_name_alone_stands_for_the_table() -> None:
    endpoint = plugged.endpoint(PLUGINS, auth=f"{HERE}:Renamed")
    request = requests.Request("POST", "http://site.test/").prepare()
    PLUGINS.hook.watcher_steps(endpoint=endpoint)[0].before(request)
    # as `requests` itself does: the request becomes the one that was given
    assert (request.url, request.body) == ("http://site.test/?signed=1", b"12345")
    assert request.headers["Content-Length"] == "5"


def test_endpoints_do_not_share_state() -> None:
    raw = {"factory": f"{HERE}:Stamp", "secrets": ["k"]}
    assert [checks(1, **raw)[0].headers["X-Stamp"] for _ in range(2)] == ["k1", "k1"]


def test_a_factory_that_refuses_does_not_tell_the_secret() -> None:
    endpoint = plugged.endpoint(PLUGINS, auth={"factory": f"{HERE}:Stamp", "secrets": ["refused"]})
    with pytest.raises(ValueError) as caught:
        PLUGINS.hook.watcher_steps(endpoint=endpoint)
    assert str(caught.value) == f"{HERE}:Stamp: ValueError: a bad key: ***"


def test_one_that_breaks_does_not_tell_the_secret() -> None:
    with pytest.raises(RuntimeError) as caught:
        checks(1, factory=f"{HERE}:Stamp", secrets={"key": "hunter2"}, args={"prefix": "broken"})
    assert str(caught.value) == f"{HERE}:Stamp: LookupError: no such key ***"
    assert caught.value.__suppress_context__


def test_secrets_do_not_show() -> None:
    types = OptionTypes({"auth": (auth.Auth, "test")})
    for secrets in ({"key": "hunter2"}, ["hunter2"]):
        raw = {"factory": f"{HERE}:Stamp", "secrets": secrets, "args": {"start": 7}}
        assert "hunter2" not in repr(plugged.endpoint(PLUGINS, auth=raw))
        shown = types.masked({"auth": raw})
        assert "hunter2" not in repr(shown)
        assert shown["auth"]["args"] == {"start": 7}


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("os:system", "factory 'os:system' is not a class derived from requests.auth.AuthBase"),
        ("subprocess:Popen", "factory 'subprocess:Popen' is not a class derived from requests.auth.AuthBase"),
        (f"{HERE}:command", f"factory '{HERE}:command' is not a class derived from"),
        ("requests_nowhere:Auth", "No module named 'requests_nowhere'; install its package where watcher is"),
        ("requests.auth:HTTPDijest", "AttributeError: module 'requests.auth' has no attribute 'HTTPDijest'"),
        ("requests.auth.HTTPDigestAuth", "is not like \"package.module:Class\""),
        ({"factory": f"{HERE}:Stamp"}, f"{HERE}:Stamp: missing a required argument: 'key'"),
        ({"factory": f"{HERE}:Stamp", "secrets": ["k"], "args": {"starts": 1}}, "unexpected keyword argument 'starts'"),
        ({"factory": f"{HERE}:Stamp", "secrets": {"key": "k"}, "args": {"key": "k"}}, "key is among args and secrets"),
        ({"factory": f"{HERE}:Stamp", "secrets": {"key": 5}}, "auth.secrets.key: expected a string, got a number"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"auth": written})
    assert [mistake for mistake in mistakes if complaint in mistake], mistakes
