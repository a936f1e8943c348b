"""icmp://HOST endpoints: an echo request and its reply (ping), over IPv4 or IPv6; `ttfb` is the round trip.

It needs the kernel's leave for an unprivileged ping socket (`net.ipv4.ping_group_range`, for IPv6 too) or, failing
that, for a raw socket (`CAP_NET_RAW`); without either a check is `missed` with reason `config`.
"""

from __future__ import annotations

import secrets
import socket
import struct
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from watcher import Endpoint, Options, ProbeError, Reason, hookimpl
from watcher.plugins.protocols._urls import refuse_elsewhere
from watcher.transport import Datagram, Deadline, Exchange, Prober, Target, ask, target

PROTOCOLS = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
REQUESTS = {socket.AF_INET: 8, socket.AF_INET6: 128}  # RFC 792; RFC 4443, section 4.1
REPLIES = (0, 129)
HEAD_BYTES = 8
SIZE_MOST_BYTES = 65_507  # what an IPv4 packet has room for
NOT_PERMITTED = (
    "this process may not send ICMP echo requests: let its group do so with sysctl net.ipv4.ping_group_range"
    '="0 2147483647", or give it the capability CAP_NET_RAW'
)


class Icmp(Options):
    """`icmp = { size = 56, tries = 3 }`: how to ask for the echo."""

    size: Annotated[int, Meta(ge=0, le=SIZE_MOST_BYTES)] = 56
    """Bytes of data in the request; the reply must bring them back."""
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    """How often it is sent at most, a second apart, until a reply comes."""


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `icmp`."""
    return {"icmp": Icmp}


@hookimpl
def watcher_prober(endpoint: Endpoint) -> Prober | None:
    """Probe icmp."""
    if not endpoint.url.lower().startswith("icmp://"):
        return None
    if urlsplit(endpoint.url).port:
        raise ValueError("ICMP has no ports: leave the port out of the URL")
    return IcmpProber(target(endpoint, 0), endpoint.options.get("icmp", Icmp()))


@hookimpl
def watcher_steps(endpoint: Endpoint) -> None:
    """Say where the option can mean nothing."""
    refuse_elsewhere("icmp", endpoint, ["icmp"])


class IcmpProber:
    """Pings one endpoint."""

    __slots__ = ("_options", "_target")

    def __init__(self, where: Target, options: Icmp) -> None:
        self._target = where
        self._options = options

    def __call__(self, exchange: Exchange) -> None:
        size = self._options.size
        own = secrets.token_bytes(4)  # identifier and sequence number; a ping socket has an identifier of its own
        data = secrets.token_bytes(min(size, 16)).ljust(size, b"w")
        echo = Echo(own, data)
        reply = ask(exchange, self._target, echo.request, echo.reply, self._options.tries, open_to)
        exchange.body_bytes = len(reply)
        if reply != data:
            raise ProbeError(Reason.PROTOCOL, f"the reply holds {len(reply)} bytes that are not the {size} sent")


class Echo:
    """One echo request and what its reply must be like."""

    __slots__ = ("_data", "_own")

    def __init__(self, own: bytes, data: bytes) -> None:
        self._own = own
        self._data = data

    def request(self, family: int) -> bytes:
        """Write the request for a family."""
        packet = struct.pack("!BBH", REQUESTS[family], 0, 0) + self._own + self._data
        return packet[:2] + checksum(packet) + packet[4:]

    def reply(self, packet: bytes) -> bytes | None:
        """Give the data of the reply to our request; None for all else that comes to the socket."""
        if packet and packet[0] >> 4 == 4:  # a raw socket gives the IP header too; no ICMP type looks like one
            packet = packet[(packet[0] & 15) * 4 :]
        if len(packet) < HEAD_BYTES or packet[0] not in REPLIES or packet[6:8] != self._own[2:]:
            return None
        data = packet[HEAD_BYTES:]
        known = min(len(data), 16)  # some hosts send only the beginning back
        return data if data[:known] == self._data[:known] else None


def checksum(packet: bytes) -> bytes:
    """Give the checksum of a packet whose own is still zero (RFC 1071)."""
    total = sum(struct.unpack(f"!{(len(packet) + 1) // 2}H", packet + b"\0" * (len(packet) % 2)))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


def open_to(family: int, address: tuple[str, int], deadline: Deadline) -> Datagram:
    """Open the socket that this process may have.

    Raises:
        ProbeError: reason `config` when it may have none.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return Datagram(family, address, deadline, kind, PROTOCOLS[family])
        except PermissionError:
            continue
    raise ProbeError(Reason.CONFIG, NOT_PERMITTED)
