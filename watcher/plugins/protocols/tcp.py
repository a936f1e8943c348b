r"""tcp://HOST:PORT endpoints: a connection and, with the option `tcp`, what is said over it.

    tcp = { expect = { regex = "^220 " } }            # the server speaks first
    tcp = { send = "PING\r\n", expect = "+PONG" }
    tcp = [{ expect = { regex = "^220 " } }, { send = "STARTTLS\r\n", expect = { regex = "^220" }, starttls = true }]

A list is gone through turn by turn. No answer in time is reason `timeout`, a wrong one `assertion`; a connection that
is closed without an answer is `closed`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from watcher import Endpoint, Match, Options, ProbeError, Reason, hookimpl
from watcher.plugins.protocols._urls import refuse_elsewhere
from watcher.several import several
from watcher.transport import Conversation, Exchange, Prober, Target, dial, target

ANSWER_MOST_BYTES = 16_384  # as much as a `Match` looks at
SHOWN_CHARS = 80
ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.?)", re.DOTALL)
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


class Turn(Options):
    r"""`tcp = { send = "PING\r\n", expect = "+PONG" }`: one turn of a conversation; a list of tables is several."""

    send: str = ""
    r"""What to send first, as UTF-8; `\r \n \t \0 \\` and `\xff` stand for bytes."""
    expect: Match | None = None
    """What the answer must become like: all that came in this turn, without the end of its last line. It is read as
    UTF-8 or, when it is not that, as Latin-1."""
    starttls: bool = False
    """Then go on over TLS, with what the option `tls` says."""

    def __post_init__(self) -> None:
        if not (self.send or self.expect or self.starttls):
            raise ValueError("a turn without send, expect and starttls does nothing")
        if self.expect is not None and self.expect.absent:
            raise ValueError("expect is what the answer must be like; of what must be absent more could always come")
        unescaped(self.send)


def turns(value: Turn | list[Turn]) -> tuple[Turn, ...]:
    """Give the turns that the value stands for."""
    given = several(value)
    if sum(turn.starttls for turn in given) > 1:
        raise ValueError("starttls can be done once in a connection")
    return given


def unescaped(text: str) -> bytes:
    """Give the bytes that a text with escapes stands for."""
    sent, end = b"", 0
    for found in ESCAPE.finditer(text):
        code = found[1]
        byte = bytes([int(code[1:], 16)]) if len(code) == 3 else ESCAPES.get(code)
        if byte is None:
            raise ValueError(f"send has {found[0]!r}, which is none of \\r \\n \\t \\0 \\\\ and \\xff")
        sent += text[end : found.start()].encode() + byte
        end = found.end()
    return sent + text[end:].encode()


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `tcp`."""
    return {"tcp": Annotated[Turn | list[Turn], turns]}


@hookimpl
def watcher_prober(endpoint: Endpoint) -> Prober | None:
    """Probe tcp."""
    if not endpoint.url.lower().startswith("tcp://"):
        return None
    if not urlsplit(endpoint.url).port:
        raise ValueError("a tcp:// URL needs a port, as in tcp://example.com:25")
    said = endpoint.options.get("tcp", ())
    return TcpProber(target(endpoint, 0, starttls=any(turn.starttls for turn in said)), said)


@hookimpl
def watcher_steps(endpoint: Endpoint) -> None:
    """Say where the option can mean nothing."""
    refuse_elsewhere("tcp", endpoint, ["tcp"])


class TcpProber:
    """Connects to one endpoint and goes through its turns."""

    __slots__ = ("_target", "_turns")

    def __init__(self, where: Target, said: tuple[Turn, ...]) -> None:
        self._target = where
        self._turns = tuple((unescaped(turn.send), turn.expect, turn.starttls) for turn in said)

    def __call__(self, exchange: Exchange) -> None:
        with dial(exchange, self._target) as conversation:
            for send, expect, starttls in self._turns:
                if send:
                    conversation.send(send)
                if expect is not None:
                    exchange.body_bytes = (exchange.body_bytes or 0) + await_answer(conversation, expect)
                if starttls:
                    conversation.start_tls()


def await_answer(conversation: Conversation, wish: Match) -> int:
    """Receive until the answer is as wished; give how many bytes came.

    Raises:
        ProbeError: `timeout` or `closed` when nothing came, `assertion` when something else did.
    """
    came = b""
    while True:
        try:
            data = conversation.receive()
        except ProbeError as error:
            if came and error.reason is Reason.TIMEOUT:
                raise ProbeError(Reason.ASSERTION, f"{answered(came)}, wanted {wish}") from None
            raise
        came += data
        if wish.holds(readable(came)):
            return len(came)
        if not data and came:
            raise ProbeError(Reason.ASSERTION, f"{answered(came)} and closed the connection, wanted {wish}")
        if not data:
            raise ProbeError(Reason.CLOSED, f"connection closed without an answer, wanted {wish}")
        if len(came) > ANSWER_MOST_BYTES:
            raise ProbeError(Reason.ASSERTION, f"{len(came)} bytes that are not as wanted: {wish}")


def readable(came: bytes) -> str:
    """Give an answer as the text that `expect` looks at."""
    came = came.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return came.decode()
    except UnicodeDecodeError:
        return came.decode("latin-1")


def answered(came: bytes) -> str:
    """Say what came, in one line."""
    return f"answered {readable(came)[:SHOWN_CHARS]!r}"
