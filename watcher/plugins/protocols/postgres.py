"""postgres and postgresql endpoints: whether the server takes connections, as pg_isready asks it.

TLS where it is asked for, then a StartupMessage, then the server's first word: a request to authenticate (whatever the
method) is up, an error such as "the database system is starting up" is down with the server's text. No password is
needed or sent, and no query is made, so neither the database nor its tables are proved to be there.

`ttfb` is the wait for the server's first byte, `transfer` that for its answer after TLS. PostgreSQL's manual, the
chapter "Frontend/Backend Protocol".
"""

from __future__ import annotations

import contextlib
import struct
from typing import Literal
from urllib.parse import unquote

from watcher import Endpoint, Options, ProbeError, Reason, hookimpl
from watcher.plugins.protocols._urls import parts_of, refuse_elsewhere
from watcher.transport import Conversation, Exchange, Prober, Target, dial, target

SCHEMES = ("postgres", "postgresql")
PORT = 5432
SSL_REQUEST = struct.pack("!II", 8, 80877103)
PROTOCOL_3_0 = struct.pack("!I", 196608)
TERMINATE = b"X" + struct.pack("!I", 4)
ERROR_MAX_BYTES = 30_000  # libpq's bound; what claims to be longer is an error of the old protocol: text without length
INVALID_AUTHORIZATION = "28"  # the class of SQLSTATEs that judge us, not the server


class Postgres(Options):
    """`postgres = { tls = "require", user = "probe" }`: how to begin; the database is the URL's path.

    `tls` is `off`, `require` (the server must agree to go over to TLS) or `direct` (TLS from the first byte, PostgreSQL
    17 and later). `user` need not exist; poolers and pg_hba.conf may ask for a known one.
    """

    tls: Literal["off", "require", "direct"] = "off"
    user: str = "watcher"

    def __post_init__(self) -> None:
        if not self.user or "\0" in self.user:
            raise ValueError("user must not be empty, nor have the character U+0000")


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `postgres`."""
    return {"postgres": Postgres}


@hookimpl
def watcher_prober(endpoint: Endpoint) -> Prober | None:
    """Probe postgres and postgresql."""
    parts = parts_of(endpoint, SCHEMES, 'no password is needed, and a user is given by postgres = { user = "…" }')
    if parts is None:
        return None
    if parts.query or parts.fragment:
        raise ValueError('the URL ends behind the database: ask for TLS by postgres = { tls = "require" }')
    wish: Postgres = endpoint.options.get("postgres", Postgres())
    direct = wish.tls == "direct"
    place = target(endpoint, PORT, tls=direct, alpn=("postgresql",), starttls=wish.tls == "require")
    database = unquote(parts.path.strip("/")) or "postgres"
    if "\0" in database:
        raise ValueError("the name of a database cannot have the character U+0000")
    return PostgresProber(place, startup_message(wish.user, database))


@hookimpl
def watcher_steps(endpoint: Endpoint) -> None:
    """Say where the option can mean nothing."""
    refuse_elsewhere("postgres", endpoint, SCHEMES)


def startup_message(user: str, database: str) -> bytes:
    """Give the first message of protocol 3.0."""
    words = ("user", user, "database", database, "application_name", "watcher")
    body = PROTOCOL_3_0 + b"".join(word.encode() + b"\0" for word in words) + b"\0"
    return struct.pack("!I", 4 + len(body)) + body


class PostgresProber:
    """Probes one endpoint."""

    __slots__ = ("_startup", "_target")

    def __init__(self, place: Target, startup: bytes) -> None:
        self._target = place
        self._startup = startup

    def __call__(self, exchange: Exchange) -> None:
        with dial(exchange, self._target) as conversation:
            if self._target.starttls:
                go_over(conversation)
            conversation.send(self._startup)
            kind, body = answer(conversation)
            if kind == b"E":
                judge(body, exchange)
            elif kind != b"R":
                raise ProbeError(Reason.PROTOCOL, f"not PostgreSQL: begins with {(kind + body)[:40]!r}")
            elif body[:4] == b"\0\0\0\0":  # let in without being asked: leave in order
                with contextlib.suppress(ProbeError):
                    conversation.send(TERMINATE)


def go_over(conversation: Conversation) -> None:
    """Ask for TLS and do it."""
    conversation.send(SSL_REQUEST)
    agreed = conversation.read_exactly(1)
    if agreed == b"N":
        raise ProbeError(Reason.TLS, "the server does not offer TLS")
    if agreed != b"S":
        raise ProbeError(Reason.PROTOCOL, f"not PostgreSQL: SSLRequest is answered by {agreed!r}")
    conversation.start_tls()


def answer(conversation: Conversation) -> tuple[bytes, bytes]:
    """Read one message: its type and body; of what is none whatever came, as of no type."""
    head = conversation.read_exactly(5)
    kind, length = head[:1], int.from_bytes(head[1:], "big")
    if 4 <= length <= ERROR_MAX_BYTES:
        return kind, conversation.read_exactly(length - 4)
    came = head + conversation.receive()
    return (kind, came[1:]) if kind == b"E" else (b"", came)


def judge(body: bytes, exchange: Exchange) -> None:
    """Take an ErrorResponse: the server is down, or up when it merely does not let us in."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0")}
    code = fields.get(b"C", "no SQLSTATE")
    message = " ".join((fields.get(b"M") or body.rstrip(b"\0").decode(errors="replace")).split())[:200]
    if not code.startswith(INVALID_AUTHORIZATION):
        raise ProbeError(Reason.STATUS, f"{fields.get(b'S', 'ERROR')}: {message} ({code})"[:300])
    exchange.note(f"it takes connections, not this one: {message} ({code})")
