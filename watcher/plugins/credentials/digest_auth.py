"""The option `digest_auth`: user name and password, proved in answer to the server's challenge (RFC 7616).

The password itself is never sent. The first check costs a request more, for the challenge; later ones answer it at
once, with a count, until the server gives a new one.
"""

from __future__ import annotations

import re
from types import SimpleNamespace

import requests
from requests.auth import HTTPDigestAuth

from watcher import Endpoint, Options, ProbeError, Reason, Secret, Step, hookimpl
from watcher.plugins.credentials._sole import sole

QUOTABLE = re.compile(r'[\x20\x21\x23-\x5b\x5d-\x7e]+')  # what may stand between quotation marks as it is


class DigestAuth(Options):
    """`digest_auth = { username = "probe", password = "${PASSWORD}" }`, or `password_file` in place of `password`."""

    username: str
    password: Secret

    def __post_init__(self) -> None:
        if not QUOTABLE.fullmatch(self.username):
            raise ValueError("the username must be ASCII, and hold no quotation mark, backslash or control character")
        if any(ord(char) < 32 or ord(char) == 127 for char in self.password):
            raise ValueError("the password holds a control character; is there a line end too many?")


class Login(HTTPDigestAuth):
    """What one endpoint knows of its server: the challenge, and how often it was answered."""

    def __init__(self, username: str, password: str) -> None:
        super().__init__(username, password)
        # in place of state for each thread: each check has a greenlet of its own, and would forget the challenge
        self._thread_local = SimpleNamespace()

    def build_digest_header(self, method: str, url: str) -> str:
        """Answer the challenge, or tell why that cannot be."""
        challenge = self._thread_local.chal
        for part in ("realm", "nonce"):
            if part not in challenge:
                raise ProbeError(Reason.PROTOCOL, f"the challenge for digest_auth has no {part}")
        header = super().build_digest_header(method, url)
        if header is None:
            wanted = ", ".join(f"{part} {challenge[part]!r:.40}" for part in ("algorithm", "qop") if part in challenge)
            raise ProbeError(Reason.CREDENTIALS, f"digest_auth cannot answer a challenge with {wanted}")
        return header


class Answer(Step):
    """Sends the answer to the last challenge, and answers a new one."""

    __slots__ = ("_login",)

    def __init__(self, login: Login) -> None:
        self._login = login

    def before(self, request: requests.PreparedRequest) -> None:
        self._login(request)


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `digest_auth`."""
    return {"digest_auth": DigestAuth}


@hookimpl(trylast=True)
def watcher_steps(endpoint: Endpoint) -> Answer | None:
    """Answer after other steps have changed the request."""
    given = sole(endpoint, "digest_auth")
    return None if given is None else Answer(Login(given.username, str(given.password)))
