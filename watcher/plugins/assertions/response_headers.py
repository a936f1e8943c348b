"""The option `response_headers`: what the header fields of the response must be like."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any

import requests

from watcher import Endpoint, Failure, Match, hookimpl
from watcher.match import shown
from watcher.plugins.assertions._scope import for_response
from watcher.several import several

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.1
PRIVATE = re.compile(r"cookie|auth|token|secret|key", re.IGNORECASE)  # whose values are not stored in a verdict

Wishes = tuple[tuple[str, tuple[Match, ...]], ...]


def wishes(value: dict[str, Match | list[Match]]) -> Wishes:
    """Give each field with what it must be like."""
    if not value:
        raise ValueError("an empty table checks nothing")
    for name, wanted in value.items():
        if not TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header field")
        if wanted == []:
            raise ValueError(f"{name}: an empty list checks nothing")
    return tuple((name, several(wanted)) for name, wanted in value.items())


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `response_headers`."""
    return {"response_headers": Annotated[dict[str, Match | list[Match]], wishes]}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Callable[[requests.Response], Failure | None] | None:
    """Judge the header fields of an endpoint that has the option."""
    given = for_response(endpoint, "response_headers")
    return None if given is None else examiner(given)


@lru_cache(maxsize=1024)
def examiner(wanted: Wishes) -> Callable[[requests.Response], Failure | None]:
    """Make the step, one for all endpoints that want the same; a field costs about a microsecond."""

    def examine(response: requests.Response) -> Failure | None:
        headers = response.headers
        for name, matches in wanted:
            value = headers.get(name)
            for match in matches:
                if not match.holds(compared(name, value, match)):
                    return Failure(verdict(name, value, match))
        return None

    return examine


def compared(name: str, value: str | None, wanted: Match) -> str | None:
    """Give what is compared: of a Content-Type its media type alone, where the wish names no parameter."""
    if value is None or wanted.equals is None or ";" in wanted.equals or name.lower() != "content-type":
        return value
    media_type = value.partition(";")[0].strip()
    return wanted.equals if media_type.lower() == wanted.equals.lower() else media_type  # RFC 9110, section 8.3.1


def verdict(name: str, value: str | None, wanted: Match) -> str:
    """Say what the field is and what was wanted."""
    if value is None:
        return f"no header {name}, wanted {wanted}"
    found = "not as wished (hidden)" if PRIVATE.search(name) else shown(value)
    return f"header {name} is {found}, wanted {wanted}"
