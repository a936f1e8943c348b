"""Where a connection goes, and how it gets there: all that is known of it before the check."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from watcher.transport.tls import Trust, context

if TYPE_CHECKING:
    from watcher.transport.dns import Address, Resolver

DNS_PORT = 53


class Target(NamedTuple):
    """Where a connection goes; shared by the endpoints that go there.

    `addresses` are those of a literal or pinned address; without them `resolver` is asked for `host`. `tls` is None for
    plain connections; `server_name` is what the certificate must be for. `starttls` is for protocols that begin plain.
    """

    host: str
    port: int
    family: int
    addresses: tuple[Address, ...]
    resolver: Resolver
    tls: ssl.SSLContext | None
    server_name: str | None
    max_body: int = 0
    starttls: bool = False


class Route(NamedTuple):
    """How hosts are reached: the options of an endpoint that concern the connection.

    `address` and `server_name` are for the endpoint's own host, not for those that it redirects to.
    """

    resolver: Resolver
    family: int = socket.AF_UNSPEC
    address: str = ""
    server_name: str = ""
    trust: Trust = Trust()
    max_body: int = 1 << 20

    def elsewhere(self) -> Route:
        """Give the route to other hosts: a client certificate is shown to the endpoint's own only."""
        trust = Trust(self.trust.verify, self.trust.ca, alpn=self.trust.alpn)
        return Route(self.resolver, self.family, trust=trust, max_body=self.max_body)


@lru_cache(maxsize=65_536)
def target_at(route: Route, host: str, port: int, secure: bool, starttls: bool = False) -> Target:
    """Give the one target of all endpoints that go to a port by the same route.

    Raises:
        ValueError: the pinned address is none.
        OSError, ssl.SSLError: a certificate file cannot be read.
    """
    host = ascii_host(host)
    addresses = literal(route.address or host)
    if route.address and not addresses:
        raise ValueError(f"address {route.address!r} is not an IP address")
    return Target(
        host=host,
        port=port,
        family=route.family,
        addresses=addresses,
        resolver=route.resolver,
        tls=context(route.trust) if secure else None,
        server_name=(route.server_name or host).rstrip(".") if secure else None,
        max_body=route.max_body,
        starttls=starttls,
    )


def ascii_host(host: str) -> str:
    """Give a host of a URL as DNS and TLS know it: a domain name in ASCII (UTS 46), a zone as it is (RFC 6874).

    Raises:
        ValueError: it is no domain name.
    """
    if not host.isascii():
        import idna

        return idna.encode(host, uts46=True).decode()
    return host.replace("%25", "%", 1) if ":" in host else host


def name_server(text: str) -> tuple[str, int]:
    """Give address and port of a name server: `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`.

    Raises:
        ValueError: it is none of these.
    """
    with_port = re.fullmatch(r"\[(.+)\](?::(\d{1,5}))?", text) or re.fullmatch(r"([^:]+):(\d{1,5})", text)
    address, port = (with_port[1], int(with_port[2] or DNS_PORT)) if with_port else (text, DNS_PORT)
    if not literal(address) or not 0 < port < 65536:
        raise ValueError(f'{text!r} is no address of a name server, such as "192.0.2.1" or "192.0.2.1:5353"')
    return address, port


def literal(host: str) -> tuple[Address, ...]:
    """Give the one address of a host that is an IP address itself, none for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ()
    return ((socket.AF_INET6 if address.version == 6 else socket.AF_INET, str(address)),)
