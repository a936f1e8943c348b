"""The option `basic_auth`: user name and password, sent with the first request (RFC 7617)."""

from __future__ import annotations

import requests
from requests.auth import HTTPBasicAuth

from watcher import Endpoint, Options, Secret, hookimpl
from watcher.plugins.credentials._sole import sole


class BasicAuth(Options):
    """`basic_auth = { username = "probe", password = "${PASSWORD}" }`, or `password_file` in place of `password`."""

    username: str
    password: Secret

    def __post_init__(self) -> None:
        if ":" in self.username:
            raise ValueError("a username cannot hold a colon (RFC 7617)")
        for field, text in (("username", self.username), ("password", self.password)):
            if any(ord(char) < 32 or ord(char) == 127 for char in text):
                raise ValueError(f"the {field} holds a control character (RFC 7617); is there a line end too many?")


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `basic_auth`."""
    return {"basic_auth": BasicAuth}


@hookimpl
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Let `requests` write the header; given text it would encode Latin-1, so it is given UTF-8."""
    given = sole(endpoint, "basic_auth")
    if given is not None:
        request.auth = HTTPBasicAuth(given.username.encode(), given.password.encode())
