"""The option `template`: whether `{{uuid}}`, `{{now}}` and the like are filled in anew at each check.

They may stand in the URL's path and query, in `query`, `headers`, `cookies`, `user_agent`, and in the `text`, `json` or
`form` of a `body`. An endpoint without any of them pays nothing; `template = false` sends them as they are written.
"""

from __future__ import annotations

import json
import re
import secrets
import string
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from time import time
from typing import Annotated, Any
from urllib.parse import quote

import requests
from msgspec import Meta

from watcher import Endpoint, Step, hookimpl

# as it is written, and as a URL and a form encode it
MARK = re.compile(
    r"(?:\{\{|%7B%7B)(?:\s|%20|\+)*(?P<name>endpoint|now|now_ms|now_unix|random|uuid)(?:\s|%20|\+)*(?:\}\}|%7D%7D)"
)
IN_FIELDS = string.ascii_letters + string.digits + string.punctuation.replace(";", "").replace("%", "") + " "
FILLED_BODIES = ("text", "json", "form")
Escape = Callable[[str], str]


def values(endpoint_name: str, now_s: float) -> dict[str, str]:
    """Give what the names stand for in one check."""
    return {
        "endpoint": endpoint_name,
        "now": datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "now_ms": str(int(now_s * 1000)),
        "now_unix": str(int(now_s)),
        "random": secrets.token_hex(8),
        "uuid": str(uuid.uuid4()),
    }


class Template(Step):
    """Fills in one endpoint's requests; a name has the same value all over a request.

    Args:
        endpoint_name: what `{{endpoint}}` stands for.
        url: whether the URL holds names.
        fields: the header fields that hold names.
        body: the kind of body that holds names, if any.
    """

    __slots__ = ("_body", "_endpoint_name", "_fields", "_url")

    def __init__(self, endpoint_name: str, url: bool, fields: tuple[str, ...], body: str | None) -> None:
        self._endpoint_name = endpoint_name
        self._url = url
        self._fields = fields
        self._body = body

    def before(self, request: requests.PreparedRequest) -> None:
        """Put the values of this check in place of the names."""
        known = values(self._endpoint_name, time())
        if self._url:
            request.url = filled(request.url, known, _in_url)
        for name in self._fields:
            if name in request.headers:
                request.headers[name] = filled(request.headers[name], known, _in_field)
        if self._body:
            body = request.body.decode() if isinstance(request.body, bytes) else request.body
            request.body = filled(body, known, ESCAPES[self._body]).encode()
            request.prepare_content_length(request.body)


def filled(text: str, known: dict[str, str], escape: Escape) -> str:
    """Give a text with values in place of the names; what is no known name stays as it is."""
    return MARK.sub(lambda mark: escape(known[mark["name"]]), text)


def _in_url(value: str) -> str:
    return quote(value, safe="")


def _in_field(value: str) -> str:
    return quote(value, safe=IN_FIELDS)


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


ESCAPES: dict[str, Escape] = {"text": str, "json": _in_json, "form": _in_url}


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `template`."""
    return {"template": Annotated[bool, Meta(description="Fill them in.", extra_json_schema={"default": True})]}


@hookimpl(tryfirst=True)
def watcher_steps(endpoint: Endpoint) -> Template | None:
    """Give the step where something is to be filled in: the first, so that what signs a request signs what is sent."""
    options = endpoint.options
    if not options.get("template", True):
        return None
    url = holds_mark(endpoint.url) or holds_mark(options.get("query"))
    fields = [name for name, value in options.get("headers", {}).items() if holds_mark(value)]
    fields += ["Cookie"] * holds_mark(options.get("cookies")) + ["User-Agent"] * holds_mark(options.get("user_agent"))
    body = next((kind for kind in FILLED_BODIES if holds_mark(getattr(options.get("body"), kind, None))), None)
    return Template(endpoint.name, url, tuple(fields), body) if url or fields or body else None


def holds_mark(value: Any) -> bool:
    """Say whether a name is somewhere in the value of an option."""
    return any(MARK.search(text) for text in texts_in(value))


def texts_in(value: Any) -> Iterator[str]:
    """Give every text in a value, keys of tables included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from texts_in(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from texts_in(part)
