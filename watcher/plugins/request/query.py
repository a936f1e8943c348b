"""The option `query`: parameters that are added to those of the URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import requests

from watcher import Endpoint, Secret, hookimpl
from watcher.plugins.request._scope import for_request

Scalar = str | int | float | bool
Parameters = dict[str, Scalar | list[Scalar]]


def texts(parameters: Mapping[str, Any]) -> dict[str, tuple[Secret, ...]]:
    """Give the values of each name as texts that do not show themselves, for tokens are among them."""
    return {
        name: tuple(text(part) for part in (value if isinstance(value, list) else [value]))
        for name, value in parameters.items()
    }


def text(value: Scalar) -> Secret:
    """Give a value as it is written in a URL, before it is percent-encoded."""
    return Secret(str(value).lower() if isinstance(value, bool) else value)


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `query`."""
    return {"query": Annotated[Parameters, texts]}


@hookimpl
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Put the parameters behind the URL's own, in the order of the option."""
    given = for_request(endpoint, "query")
    if given:
        parts = urlsplit(request.url)
        both = filter(None, (parts.query, urlencode(given, doseq=True)))
        request.url = parts._replace(query="&".join(both)).geturl()
