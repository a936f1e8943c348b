"""The option `user_agent`: what the request says of who asks, in place of `watcher/VERSION`."""

from __future__ import annotations

import re
from typing import Annotated, Any

import requests

from watcher import Endpoint, hookimpl

VALUE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")  # RFC 9110, sections 5.5 and 10.1.5


def check(text: str) -> str:
    """Refuse what is no field value."""
    if not VALUE.fullmatch(text):
        raise ValueError("has to be ASCII, not empty, without line ends, without blanks at its ends")
    return text


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `user_agent`."""
    return {"user_agent": Annotated[str, check]}


@hookimpl
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Set the field; a User-Agent among `headers` takes its place later."""
    given = endpoint.options.get("user_agent")
    if given is not None:
        request.headers["User-Agent"] = given
