"""The options that say how an endpoint's host is reached; the plugin `connection` offers them for every protocol."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from watcher.models import Endpoint, Options
from watcher.transport.dns import FIRST_4, FIRST_6, Resolver
from watcher.transport.target import Route, Target, name_server, target_at
from watcher.transport.tls import Trust, context_of_files

FAMILIES = {
    None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6, "4 first": FIRST_4, "6 first": FIRST_6
}  # fmt: skip
ADDRESSES_MOST = 64


class Addresses(Options):
    """Every address of the name is checked: how many at most, and how many must be up for the endpoint to be."""

    most: Annotated[int, msgspec.Meta(ge=1, le=ADDRESSES_MOST)] = 16
    up: Literal["any", "all"] | Annotated[int, msgspec.Meta(ge=1, le=ADDRESSES_MOST)] = "all"

    def __post_init__(self) -> None:
        if isinstance(self.up, int) and self.up > self.most:
            raise ValueError(f"{self.up} cannot be up where at most {self.most} are checked")


EVERY_ADDRESS = Addresses()


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

    def trust(self, alpn: tuple[str, ...] = ()) -> Trust:
        """Give the part that makes a TLS context."""
        return Trust(self.verify, *(str(path or "") for path in (self.ca, self.cert, self.key)), alpn=alpn)


NO_TLS_OPTIONS = Tls()


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _every(value: str | Addresses) -> Addresses:
    return EVERY_ADDRESS if isinstance(value, str) else value


def _servers(value: str | list[str]) -> tuple[str, ...]:
    servers = tuple([value] if isinstance(value, str) else value)
    for server in servers:
        name_server(server)
    return servers


def _told(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)  # for `watcher plugins`


TYPES: Mapping[str, Any] = {
    "tls": Tls,
    "address": Annotated[str, _told("The address to connect to in place of those of the name."), _address],
    "addresses": Annotated[Literal["each"] | Addresses, _every],
    "ip_version": Annotated[
        Literal[4, 6, "4 first", "6 first"], _told("Addresses of this family alone, or before the others.")
    ],
    "resolver": Annotated[
        str | list[str],
        _told("Name servers to ask in place of the system's, as addresses, with a port if it is not 53."),
        _servers,
    ],
}


def route(endpoint: Endpoint, max_body: int = 0, alpn: tuple[str, ...] = ()) -> Route:
    """Give how the host of an endpoint is reached.

    Raises:
        ValueError: of its options one excludes another.
    """
    options = endpoint.options
    for key in {"address", "keep_alive"} & options.keys() if "addresses" in options else ():
        if options[key]:
            raise ValueError(f"{key} cannot be had together with addresses, which has a connection to each of them")
    return _route(
        options.get("resolver", ()),
        FAMILIES[options.get("ip_version")],
        options.get("address", ""),
        options.get("tls", NO_TLS_OPTIONS),
        max_body,
        alpn,
    )


def target(
    endpoint: Endpoint, port: int, tls: bool = False, alpn: tuple[str, ...] = (), starttls: bool = False
) -> Target:
    """Give where the URL of an endpoint leads, for a protocol of one connection.

    Args:
        port: that of a URL which names none.
        tls: over TLS; with `starttls` from when the conversation asks for it.
        alpn: the protocols to offer in the handshake (RFC 7301).

    Raises:
        ValueError: the URL has no host, or a port that is none.
        OSError, ssl.SSLError: a certificate file cannot be read.
    """
    parts = urlsplit(endpoint.url)
    if not parts.hostname:
        raise ValueError(f"{endpoint.url} names no host")
    for key in {"proxy", "transport"} & endpoint.options.keys():
        raise ValueError(f'"{key}" is for http and https; {parts.scheme}:// goes straight to its host')
    return target_at(route(endpoint, alpn=alpn), parts.hostname, parts.port or port, tls or starttls, starttls)


@lru_cache(maxsize=65_536)
def _route(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # the parts of a Route, as cache keys
    servers: tuple[str, ...], family: int, address: str, tls: Tls, max_body: int, alpn: tuple[str, ...]
) -> Route:
    return Route(resolver(servers), family, address, tls.server_name, tls.trust(alpn), max_body)


def forget_files() -> None:
    """Read certificates and keys anew for plans that are made from now on; those that are there keep what they have."""
    _route.cache_clear()
    target_at.cache_clear()
    context_of_files.cache_clear()


@lru_cache(maxsize=1024)
def resolver(servers: tuple[str, ...]) -> Resolver:
    """Give the one resolver, with its cache, for a set of servers."""
    return Resolver(servers)
