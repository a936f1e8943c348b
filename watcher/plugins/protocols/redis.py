"""redis and rediss endpoints (Redis, Valkey and whatever speaks RESP): AUTH where a password is given, then PING.

Both go out at once, so that it is one round trip: `ttfb` is the wait for its answer. An error is down with the server's
text: -LOADING, -MASTERDOWN, -NOAUTH, -WRONGPASS, -DENIED (protected mode).
"""

from __future__ import annotations

from watcher import Endpoint, Options, ProbeError, Reason, Secret, hookimpl
from watcher.plugins.protocols._urls import parts_of, refuse_elsewhere
from watcher.transport import Conversation, Exchange, Prober, Target, dial, target

SCHEMES = ("redis", "rediss")
PORT = 6379
REPEATED_CHARS = 128  # of each word of a command that a server does not know


class Redis(Options):
    """`redis = { password = "${REDIS_PASSWORD}" }`, or `password_file`; `username` where there are users (ACL)."""

    password: Secret | None = None
    username: str = ""

    def __post_init__(self) -> None:
        if self.username and self.password is None:
            raise ValueError("username goes with password")


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `redis`."""
    return {"redis": Redis}


@hookimpl
def watcher_prober(endpoint: Endpoint) -> Prober | None:
    """Probe redis and rediss."""
    parts = parts_of(endpoint, SCHEMES, 'use redis = { password = "${REDIS_PASSWORD}" }')
    if parts is None:
        return None
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("the URL ends behind the port: PING is of no database")
    return RedisProber(target(endpoint, PORT, tls=parts.scheme == "rediss"), endpoint.options.get("redis", Redis()))


@hookimpl
def watcher_steps(endpoint: Endpoint) -> None:
    """Say where the option can mean nothing."""
    refuse_elsewhere("redis", endpoint, SCHEMES)


class RedisProber:
    """Probes one endpoint."""

    __slots__ = ("_commands", "_password", "_target")

    def __init__(self, place: Target, wish: Redis) -> None:
        self._target = place
        self._password = wish.password
        self._commands = command("PING")
        if wish.password is not None:
            self._commands = command("AUTH", *filter(None, [wish.username]), wish.password) + self._commands

    def __call__(self, exchange: Exchange) -> None:
        with dial(exchange, self._target) as conversation:
            conversation.send(self._commands)
            if self._password is not None:
                self._want(conversation, "+OK")
            self._want(conversation, "+PONG")

    def _want(self, conversation: Conversation, wanted: str) -> None:
        line = conversation.read_line().decode(errors="replace")
        if line == wanted:
            return
        if self._password:  # a server that knows no AUTH repeats what it was told
            line = line.replace(self._password, "***").replace(self._password[:REPEATED_CHARS], "***")
        if not line.startswith("-"):
            raise ProbeError(Reason.PROTOCOL, f"not Redis: {line[:80]!r}, wanted {wanted}")
        lacks = line.startswith("-NOAUTH") and self._password is None
        raise ProbeError(Reason.STATUS, line[1:200] + '; give redis = { password = "…" }' * lacks)


def command(*words: str) -> bytes:
    """Write a command as an array of bulk strings (RESP)."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
