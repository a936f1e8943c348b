"""The option `oauth2`: a token by the client credentials grant (RFC 6749, 4.4), sent as `Authorization: Bearer`.

A worker asks for one token for all endpoints with equal settings and renews it before it ends. A check that cannot have
one is `missed`, reason `config`: it says nothing of the site.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import requests

from watcher import Duration, Endpoint, Options, Secret, Step, hookimpl
from watcher.config.urls import http_parts
from watcher.plugins.credentials._sole import sole
from watcher.plugins.credentials._tokens import Question, Tokens, tokens

WAIT_MOST_S = 10.0  # a step may not wait for longer than 15 s


class OAuth2(Options):
    """`oauth2 = { token_url = "https://…/token", client_id = "probe", client_secret = "${SECRET}", scope = "read" }`.

    `style` is how the client proves itself: `basic` (a header) or `post` (in the form). `params` are further fields.
    """

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""
    audience: str = ""
    params: dict[str, Secret] = {}
    style: Literal["basic", "post"] = "basic"
    timeout: Duration = Duration(10)
    ca: Path | None = None

    def __post_init__(self) -> None:
        if not is_token_url(self.token_url):
            raise ValueError("token_url must be like https://login.example.com/oauth2/token")
        if not 0.1 <= self.timeout <= 60:
            raise ValueError(f"timeout {self.timeout:g} s is not between 100ms and 60s")
        taken = {"grant_type", "scope", "audience", "client_id", "client_secret"} & self.params.keys()
        if taken:
            raise ValueError(f"params cannot hold {', '.join(sorted(taken))}")


def is_token_url(url: str) -> bool:
    """Tell whether a URL can be that of a token endpoint."""
    parts = http_parts(url)
    return parts is not None and "@" not in parts.netloc and not parts.fragment


class Authorization(Step):
    """Sends the token that is valid at the time of the check."""

    __slots__ = ("_tokens", "_wait_s")

    def __init__(self, tokens: Tokens, wait_s: float) -> None:
        self._tokens = tokens
        self._wait_s = wait_s

    def before(self, request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer {self._tokens.token(self._wait_s)}"

    def examine(self, response: requests.Response) -> None:
        if response.status_code == 401:
            self._tokens.doubt()


def question(options: OAuth2) -> Question:
    """Give what the token endpoint is to be asked."""
    fields = {"grant_type": Secret("client_credentials")}
    fields |= {name: Secret(value) for name in ("scope", "audience") if (value := getattr(options, name))}
    login = (options.client_id, options.client_secret) if options.style == "basic" else None
    if login is None:
        fields |= {"client_id": Secret(options.client_id), "client_secret": options.client_secret}
    return Question(
        options.token_url, tuple((fields | options.params).items()), login, options.timeout, str(options.ca or "")
    )


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `oauth2`."""
    return {"oauth2": OAuth2}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Authorization | None:
    """Share the token among all endpoints with equal settings."""
    given = sole(endpoint, "oauth2")
    if given is None:
        return None
    return Authorization(tokens(question(given)), min(endpoint.timeout_s * 0.9, WAIT_MOST_S))
