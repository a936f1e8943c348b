"""The option `headers`: fields of the request, in place of those that watcher or another option would send."""

from __future__ import annotations

import re
from typing import Annotated, Any

import requests

from watcher import Endpoint, Secret, hookimpl
from watcher.plugins.request._scope import for_request

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")  # section 5.5
FRAMING = frozenset({"content-length", "transfer-encoding"})


def check(fields: dict[str, Secret]) -> dict[str, Secret]:
    """Refuse what cannot be sent as it is written."""
    seen = set()
    for name, value in fields.items():
        if not TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name (RFC 9110: letters, digits and !#$%&'*+-.^_`|~)")
        if name.lower() in FRAMING:
            raise ValueError(f"{name} follows from the body and cannot be set")
        if name.lower() in seen:
            raise ValueError(f"{name} is given twice; upper and lower case are the same")
        if not VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} has a line end, a blank at an end, or a character beyond Latin-1")
        seen.add(name.lower())
    return fields


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `headers`; the values are secrets since tokens and cookies are among them."""
    return {"headers": Annotated[dict[str, Secret], check]}


@hookimpl(trylast=True)
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Set the fields after every other plugin, whatever case their names were written in."""
    given = for_request(endpoint, "headers")
    if given:
        names = {name.lower() for name in given}
        kept = {name: value for name, value in request.headers.items() if name.lower() not in names}
        request.headers = kept | given
