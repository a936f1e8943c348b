"""Who can tell whether the agent's own network is away: the resolver, the gateway, addresses that the user names.

Each is asked with the rights of an ordinary user, over sockets of gevent's. A witness counts only once it has answered:
the silence of one that never speaks says nothing.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import gevent
from gevent import socket as green_socket

ASK_S = 1.0  # for an answer
DOUBTS_MOST = 12  # hearings in which checks succeeded and the witness was silent: it is none any more
RESOLVER, GATEWAY = "resolver", "gateway"

RESOLV_CONF = Path("/etc/resolv.conf")
ROUTES = Path("/proc/net/route")
DNS_PORT = 53
SERVERS_MOST = 3  # as resolv.conf(5) has it

# NOERROR and NXDOMAIN; SERVFAIL is what a forwarder says that hears nothing itself (RFC 1035, 4.1.1)
_ANSWERS = (0, 3)
_QUERY_TAIL = struct.pack(">HHHHHBHH", 0x0100, 1, 0, 0, 0, 0, 2, 1)  # recursion desired; the name servers of the root
_ECHO_REQUEST = struct.pack(">BBHHH", 8, 0, 0xF7FF, 0, 0)  # RFC 792; the kernel puts in the identifier
_ECHO_REPLY = 0


class Witness:
    """One witness: how it is asked, and what it is worth.

    Args:
        name: as configured.
        ask: asks once, in `ASK_S` seconds, and tells whether it answered.
        near: it may answer from this very machine, so that its answer proves nothing of the network.
    """

    def __init__(self, name: str, ask: Callable[[], bool], near: Callable[[], bool] = lambda: False) -> None:
        self.name = name
        self.ask = ask
        self.near = near
        self.heard = False  # when it was asked last
        self.credible = False
        self._doubts = 0

    def take(self, heard: bool, others_well: bool) -> None:
        """Take what it said, and whether checks succeeded in the meantime."""
        self.heard = heard
        self.credible = self.credible or heard
        self._doubts = self._doubts + 1 if others_well and not heard else 0
        if self._doubts >= DOUBTS_MOST:
            self.credible = False


def summon(names: Iterable[str]) -> tuple[Witness, ...]:
    """Give the witnesses that `[accuracy] witnesses` names; `watcher.config` has judged the names."""
    return tuple(map(_witness, names))


def ask(witnesses: Sequence[Witness], first_will_do: bool) -> list[bool | None]:
    """Ask all at once, and tell who answered; None where that was not waited for, since another had answered."""
    asked, settled = [gevent.spawn(_asked, witness) for witness in witnesses], False
    for done in gevent.iwait(asked, timeout=ASK_S * 1.5):
        settled = first_will_do and done.value and not witnesses[asked.index(done)].near()
        if settled:
            break
    answers = [bool(one.value) if one.ready() or not settled else None for one in asked]
    gevent.killall(asked, block=False)
    return answers


def _asked(witness: Witness) -> bool:
    try:
        return witness.ask()
    except OSError:  # no way to it: a kind of silence
        return False


def _witness(name: str) -> Witness:
    if name == RESOLVER:
        return Witness(name, _ask_resolvers, near=lambda: all(map(_is_near, _servers())))
    if name == GATEWAY:
        return Witness(name, lambda: any(_ask_gateway(address) for address in _gateways()))
    parts = urlsplit(name)
    host, port = str(parts.hostname), parts.port
    asks: dict[str, Callable[[], bool]] = {
        "tcp": lambda: _connects(host, port or 443),
        "dns": lambda: _resolves(host, port or DNS_PORT),
        "icmp": lambda: _echoes(host),
    }
    return Witness(name, asks[parts.scheme], near=lambda: _is_near(host))


def _is_near(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _connects(address: str, port: int, timeout_s: float = ASK_S) -> bool:
    try:
        green_socket.create_connection((address, port), timeout_s).close()
    except (ConnectionRefusedError, ConnectionResetError):  # it is there, and says no
        return True
    return True


def _resolves(address: str, port: int = DNS_PORT, timeout_s: float = ASK_S) -> bool:
    number = os.urandom(2)
    with green_socket.socket(_family(address), socket.SOCK_DGRAM) as plain:
        plain.settimeout(timeout_s)
        plain.connect((address, port))
        plain.send(number + _QUERY_TAIL)
        while True:
            answer = plain.recv(4096)
            if answer[:2] == number and len(answer) >= 4:
                return answer[3] & 15 in _ANSWERS


def _echoes(address: str, timeout_s: float = ASK_S) -> bool:
    """Ping over a socket that needs no rights, where net.ipv4.ping_group_range allows it (icmp(7))."""
    with green_socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as plain:
        plain.settimeout(timeout_s)
        plain.connect((address, 0))
        plain.send(_ECHO_REQUEST)
        return plain.recv(256)[:1] == bytes([_ECHO_REPLY])


def _ask_resolvers() -> bool:
    servers = [gevent.spawn(_silenced, _resolves, address) for address in _servers()]
    return any(done.value for done in gevent.iwait(servers))


def _ask_gateway(address: str) -> bool:
    """Ping it; where that is not allowed, or not answered, knock at a port: a refusal is an answer too."""
    return _silenced(_echoes, address, ASK_S / 2) or _silenced(_connects, address, DNS_PORT, ASK_S / 2)


def _silenced(function: Callable[..., bool], *arguments: object) -> bool:
    try:
        return function(*arguments)
    except OSError:
        return False


def _servers() -> list[str]:
    """Give the addresses of the system's resolvers."""
    try:
        lines = RESOLV_CONF.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines if line.startswith("nameserver")]
    return [word[1] for word in words if len(word) > 1 and _is_address(word[1])][:SERVERS_MOST]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _gateways() -> Iterator[str]:
    """Give the default gateways of IPv4 (Linux, proc(5)): destination and mask are 0, the address is little-endian."""
    try:
        lines = ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return
    for fields in map(str.split, lines):
        if len(fields) > 7 and fields[1] == fields[7] == "00000000" and fields[2] != "00000000":
            yield socket.inet_ntoa(bytes.fromhex(fields[2])[::-1])
