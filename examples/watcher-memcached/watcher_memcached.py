"""`memcached://HOST` URLs for watcher: a server that tells its version is up, unless you ask for more.

    [[endpoints]]
    url = "memcached://cache.example.com"
    memcached = { key = "shop:state", value = "open" }
"""

from __future__ import annotations

from typing import Any

from watcher import Endpoint, Match, Options, ProbeError, Reason, hookimpl
from watcher.transport import Conversation, Exchange, Prober, dial, target

PORT = 11211
VALUE_MOST = 1 << 20  # what a server takes by default


class Memcached(Options):
    """What the server must be, and what it must hold."""

    version: Match | None = None
    """What the version must be like."""
    key: str = ""
    """A key that must be there."""
    value: Match | None = None
    """What must be under that key, as UTF-8."""

    def __post_init__(self) -> None:
        if len(self.key.encode()) > 250 or not self.key.isprintable() or " " in self.key:
            raise ValueError("a key has 250 bytes at most, none of them a space or a control character")
        if self.value is not None and not self.key:
            raise ValueError("value goes with key")


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Offer the option."""
    return {"memcached": Memcached}


@hookimpl
def watcher_prober(endpoint: Endpoint) -> Prober | None:
    """Probe memcached URLs."""
    if not endpoint.url.lower().startswith("memcached://"):
        return None
    wanted = endpoint.options.get("memcached", Memcached())
    place = target(endpoint, PORT)

    def probe(exchange: Exchange) -> None:
        with dial(exchange, place) as conversation:
            conversation.send(b"version\r\n")
            version = _answer(conversation, "VERSION ")
            value = _value(conversation, wanted.key) if wanted.key else None
        exchange.note(f"version {version}")
        if wanted.version is not None and not wanted.version.holds(version):
            raise ProbeError(Reason.ASSERTION, f"version {version}, wanted {wanted.version}")
        if wanted.value is not None and not wanted.value.holds(value):
            raise ProbeError(Reason.ASSERTION, f"{wanted.key} is not {wanted.value}")

    return probe


def _answer(conversation: Conversation, *beginnings: str) -> str:
    """Read a line that must begin so, and give the rest of it."""
    line = conversation.read_line().decode(errors="replace")
    for beginning in beginnings:
        if line.startswith(beginning):
            return line.removeprefix(beginning)
    raise ProbeError(Reason.PROTOCOL, f"answered {line[:100]!r} in place of {beginnings[0].strip()}")


def _value(conversation: Conversation, key: str) -> str:
    conversation.send(f"get {key}\r\n".encode())
    described = _answer(conversation, f"VALUE {key} ", "END")
    if not described:
        raise ProbeError(Reason.ASSERTION, f"{key} is not there")
    size = described.split()[-1]  # flags and size
    if not size.isdecimal() or int(size) > VALUE_MOST:
        raise ProbeError(Reason.PROTOCOL, f"a value of {size[:20]} bytes")
    value = conversation.read_exactly(int(size) + 2)[:-2].decode(errors="replace")
    _answer(conversation, "END")
    return value
