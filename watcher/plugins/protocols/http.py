"""http and https endpoints: how the request is sent and what is read of the answer."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
import requests

from watcher import Endpoint, __version__, hookimpl
from watcher.plugins.request._scope import for_request
from watcher.transport import MeasuredProber, Prober, SessionProber, route

SCHEMES = ("http://", "https://")
ALPN = ("http/1.1",)
METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 9.1
MAX_BODY_BYTES = 1 << 20
MAX_REDIRECTS = 10
TRANSPORT = "Sockets on the kernel's clock, or a plain `requests` session for what only that can do."
MEASURED_ONLY = ("address", "addresses", "ip_version", "keep_alive", "resolver")
DEFAULT_HEADERS = {
    "User-Agent": f"watcher/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate, br, zstd",
}


def _method(value: str) -> str:
    if not METHOD.fullmatch(value):
        raise ValueError(f"{value!r} is not an HTTP method")
    return value.upper()


def _count(value: int) -> int:
    if not 0 <= value <= 50:
        raise ValueError("give 0 to 50")
    return value


def _bytes(value: int) -> int:
    if not 0 <= value <= 1 << 30:
        raise ValueError("give a number of bytes from 0 to 1073741824 (1 GiB)")
    return value


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add what concerns request and connection as a whole."""
    return {
        "method": Annotated[str, _told("The method of the request; with a body POST.", "GET"), _method],
        "keep_alive": Annotated[bool, _told("Use one connection for many checks.", False)],
        "follow_redirects": Annotated[bool, _told("Judge the page that redirects lead to.", True)],
        "max_redirects": Annotated[int, _told("How many to follow, 50 at most.", MAX_REDIRECTS), _count],
        "max_body": Annotated[int, _told("Bytes to read of a page, up to 1 GiB.", MAX_BODY_BYTES), _bytes],
        "transport": Annotated[Literal["measured", "requests"], _told(TRANSPORT, "measured")],
    }


def _told(text: str, default: Any) -> msgspec.Meta:
    """Give what `watcher plugins` says of an option: what it means, and what holds without it."""
    return msgspec.Meta(description=text, extra_json_schema={"default": default})


@hookimpl(tryfirst=True)
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Set the method and the default headers, before other plugins change them."""
    options = endpoint.options
    request.method = for_request(endpoint, "method") or "GET"
    connection = {"Connection": "keep-alive" if options.get("keep_alive") else "close"}
    request.headers = DEFAULT_HEADERS | connection | request.headers


@hookimpl(trylast=True)
def watcher_prober(endpoint: Endpoint, request: requests.Request) -> Prober | None:
    """Probe http and https over the measured transport, or over a plain session where that is asked for."""
    if not endpoint.url.lower().startswith(SCHEMES):
        return None
    options = endpoint.options
    way = route(endpoint, options.get("max_body", MAX_BODY_BYTES), ALPN)
    prepared = request.prepare()
    if prepared.url == endpoint.url:
        prepared.url = endpoint.url  # one string, not two alike
    redirects = options.get("max_redirects", MAX_REDIRECTS) if options.get("follow_redirects", True) else 0
    if options.get("transport") == "requests" or "proxy" in options:
        given = [key for key in MEASURED_ONLY if key in options] + ["tls.server_name"] * bool(way.server_name)
        if given:
            raise ValueError(f"{', '.join(given)} cannot be had together with a proxy or transport = \"requests\"")
        return SessionProber(prepared, way, redirects, str(options.get("proxy", "")))
    return MeasuredProber(prepared, way, redirects, options.get("keep_alive", False))
