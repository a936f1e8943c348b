"""The option `cookies`: what the request carries in its field Cookie, as if the site had set it."""

from __future__ import annotations

import re
from typing import Annotated, Any

import requests

from watcher import Endpoint, Secret, hookimpl
from watcher.plugins.request._scope import for_request

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 6265, section 4.1.1
VALUE = re.compile(r"(?:[!-:<-~](?:[ -:<-~]*[!-:<-~])?)?")  # wider than 4.1.1, as browsers are: what can be told apart


def check(cookies: dict[str, Secret]) -> dict[str, Secret]:
    """Refuse what a server would read as something else."""
    for name, value in cookies.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a cookie name (RFC 6265: letters, digits and !#$%&'*+-.^_`|~)")
        if not VALUE.fullmatch(value):
            wrong = "a semicolon, a line end, a blank at an end, or a character beyond ASCII"
            raise ValueError(f"the value of {name} has {wrong}; write it as the site does, mostly percent-encoded")
    return cookies


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `cookies`; the values are secrets since sessions are among them."""
    return {"cookies": Annotated[dict[str, Secret], check]}


@hookimpl
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Write the field, in the order of the option; the transport keeps it from other hosts when it is redirected."""
    given = for_request(endpoint, "cookies")
    if given:
        request.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in given.items())
