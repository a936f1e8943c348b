"""The values that steps, outputs and servers are given, made from what a test says of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast

import requests

from watcher.models import Endpoint, Result, Status
from watcher.transport import Exchange, Response
from watcher.transport.wire import ResponseReader

CONTENT_TYPE = "text/html; charset=utf-8"
MAX_BODY = 1 << 20
TIMEOUT_S = 10.0
URL = "https://site.test/"


def response(
    body: bytes | str = b"",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    truncated: bool = False,
    url: str = URL,
) -> Response:
    """Give a response as steps get it: a `requests.Response`, made of an answer's bytes.

    Args:
        body: as it came; a text is sent as UTF-8. One with a `Content-Encoding` is decoded when it is looked at.
        status: of HTTP.
        headers: besides `Content-Type`, which is HTML in UTF-8 unless it is among them.
        truncated: whether the page is longer than `max_body` and this is only its beginning.
        url: that was asked for.
    """
    content = body.encode() if isinstance(body, str) else body
    read = SimpleNamespace(status=status, capped=truncated, head=_head(status, headers or {}), body=content)
    prepared = requests.Request("GET", url).prepare
    return Response(cast(ResponseReader, read), url, MAX_BODY, 0, prepared)


def page(body: bytes | str = b"", *, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Give the bytes of a whole HTTP answer, for a `Server`; arguments as of `response`."""
    content = body.encode() if isinstance(body, str) else body
    return _head(status, {"Content-Length": str(len(content)), "Connection": "close"} | dict(headers or {})) + content


def exchange(**measured: Any) -> Exchange:
    """Give the measurement of a check that succeeded, as `assess` gets it.

    Args:
        measured: what it found, by the names of `Exchange`: `ttfb_us=250_000`, `address="192.0.2.1"`, `response=…`.
    """
    made = Exchange(TIMEOUT_S)
    for name, value in measured.items():
        setattr(made, name, value)
    return made


def result(
    url: str = URL, status: Status = Status.UP, *, labels: Mapping[str, str] | None = None, **found: Any
) -> Result:
    """Give a result as outputs get it; its check begins now.

    Args:
        url: of the endpoint, which has the same name.
        status: what the check says of it.
        labels: of the endpoint.
        found: fields of `Result`: `latency_us=1500`, `reason=Reason.STATUS`, `time_us=…`.
    """
    of = Endpoint(name=url, url=url, labels=dict(labels or {}))
    return Result(of, **{"time_us": time.time_ns() // 1000, "status": status} | found)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    reason = HTTPStatus(status).phrase if status in iter(HTTPStatus) else ""
    fields = dict(headers)
    if "content-type" not in {name.lower() for name in fields}:
        fields["Content-Type"] = CONTENT_TYPE
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
