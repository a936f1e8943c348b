"""http and https endpoints: how the request is sent and how its host is reached."""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import requests

from watcher import Endpoint, Options, Secret, __version__, hookimpl
from watcher.transport import MeasuredProber, Prober, Resolver, Route, SessionProber, Trust

SCHEMES = ("http://", "https://")
FAMILIES = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}
METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 9.1
MAX_BODY_BYTES = 1 << 20
MAX_REDIRECTS = 10
MEASURED_ONLY = ("address", "ip_version", "keep_alive", "resolver")
DEFAULT_HEADERS = {
    "User-Agent": f"watcher/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate, br, zstd",
}


class Tls(Options):
    """What the endpoint must prove, and what it is shown; files are PEM."""

    verify: bool = True
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        if self.key and not self.cert:
            raise ValueError("key goes with cert")
        self.trust().check()

    def trust(self) -> Trust:
        """Give the part that makes a TLS context."""
        return Trust(self.verify, *(str(path or "") for path in (self.ca, self.cert, self.key)))


NO_TLS_OPTIONS = Tls()


def _method(value: str) -> str:
    if not METHOD.fullmatch(value):
        raise ValueError(f"{value!r} is not an HTTP method")
    return value.upper()


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _count(value: int) -> int:
    if not 0 <= value <= 50:
        raise ValueError("give 0 to 50")
    return value


def _bytes(value: int) -> int:
    if not 0 <= value <= 1 << 30:
        raise ValueError("give a number of bytes from 0 to 1073741824 (1 GiB)")
    return value


def _servers(value: str | list[str]) -> tuple[str, ...]:
    servers = tuple([value] if isinstance(value, str) else value)
    for server in servers:
        host, _, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "53")
        ipaddress.ip_address(host.strip("[]"))
        if not port.isdigit():
            raise ValueError(f'{server!r} is not a resolver: write "192.0.2.53" or "192.0.2.53:5353"')
    return servers


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add what concerns request and connection as a whole."""
    return {
        "method": Annotated[str, _method],
        "tls": Tls,
        "keep_alive": bool,
        "follow_redirects": bool,
        "max_redirects": Annotated[int, _count],
        "max_body": Annotated[int, _bytes],
        "address": Annotated[str, _address],
        "ip_version": Literal[4, 6],
        "resolver": Annotated[str | list[str], _servers],
        "transport": Literal["measured", "requests"],
        "proxy": Secret,
    }


@hookimpl(tryfirst=True)
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Set the method and the default headers, before other plugins change them."""
    options = endpoint.options
    request.method = options.get("method", "GET")
    connection = {"Connection": "keep-alive" if options.get("keep_alive") else "close"}
    request.headers = DEFAULT_HEADERS | connection | request.headers


@hookimpl(trylast=True)
def watcher_prober(endpoint: Endpoint, request: requests.Request) -> Prober | None:
    """Probe http and https over the measured transport, or over a plain session where that is asked for."""
    if not endpoint.url.lower().startswith(SCHEMES):
        return None
    options = endpoint.options
    tls: Tls = options.get("tls", NO_TLS_OPTIONS)
    way = route(
        options.get("resolver", ()),
        FAMILIES[options.get("ip_version")],
        options.get("address", ""),
        tls,
        options.get("max_body", MAX_BODY_BYTES),
    )
    prepared = request.prepare()
    if prepared.url == endpoint.url:
        prepared.url = endpoint.url  # one string, not two alike
    redirects = options.get("max_redirects", MAX_REDIRECTS) if options.get("follow_redirects", True) else 0
    if options.get("transport") == "requests" or "proxy" in options:
        given = [key for key in MEASURED_ONLY if key in options] + ["tls.server_name"] * bool(tls.server_name)
        if given:
            raise ValueError(f"{', '.join(given)} cannot be had together with a proxy or transport = \"requests\"")
        return SessionProber(prepared, way, redirects, str(options.get("proxy", "")))
    return MeasuredProber(prepared, way, redirects, options.get("keep_alive", False))


@lru_cache(maxsize=65_536)
def route(servers: tuple[str, ...], family: int, address: str, tls: Tls, max_body: int) -> Route:
    """Give the one route of all endpoints that are reached alike."""
    return Route(resolver(servers), family, address, tls.server_name, tls.trust(), max_body)


@lru_cache(maxsize=1024)
def resolver(servers: tuple[str, ...]) -> Resolver:
    """Give the one resolver, with its cache, for a set of servers."""
    return Resolver(servers)
