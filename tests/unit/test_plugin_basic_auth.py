"""The option `basic_auth`: the header that it makes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plugged
import pytest

from watcher.plugins.credentials import basic_auth

PLUGINS = plugged.manager(basic_auth)


@pytest.mark.parametrize(
    ("username", "password", "header"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617, section 2
        ("test", "123£", "Basic dGVzdDoxMjPCow=="),  # RFC 7617, section 2.1: as UTF-8
        ("", "", "Basic Og=="),
    ],
)
def test_the_header_is_that_of_the_rfc(username: str, password: str, header: str) -> None:
    request = plugged.prepared(PLUGINS, basic_auth={"username": username, "password": password})
    assert request.headers["Authorization"] == header


def test_an_endpoint_without_the_option_sends_no_credentials() -> None:
    assert "Authorization" not in plugged.prepared(PLUGINS).headers


def test_the_password_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    request = plugged.prepared(
        PLUGINS, basic_auth={"username": "Aladdin", "password_file": str(tmp_path / "password")}
    )
    assert request.headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_the_password_does_not_show() -> None:
    endpoint = plugged.endpoint(PLUGINS, basic_auth={"username": "probe", "password": "hunter2"})
    assert "hunter2" not in repr(endpoint)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"username": "a:b", "password": "c"}, "basic_auth: a username cannot hold a colon"),
        ({"username": "a\n", "password": "c"}, "basic_auth: the username holds a control character"),
        ({"username": "a", "password": "c\r"}, "basic_auth: the password holds a control character"),
        ({"username": "a"}, 'basic_auth: "password" is missing'),
        ({"password": "c"}, 'basic_auth: "username" is missing'),
        ({"username": "a", "pasword": "c"}, 'basic_auth.pasword: unknown key; did you mean "password"?'),
        ("probe:secret", "basic_auth: expected a table"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"basic_auth": written})
    assert [mistake for mistake in mistakes if complaint in mistake]
