"""ws and wss endpoints (WebSocket, RFC 6455): the handshake, then a ping and its pong, or a message and its answer.

The handshake carries the headers of the request that plugins prepared (`headers`, `basic_auth` …). Frames are made and
read by the sans-I/O part of the library `websockets`; the connection is watcher's own, so phases are the kernel
clock's: `ttfb` is the wait for the handshake's answer, `transfer` that for what follows.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Annotated

import requests
from msgspec import Meta

from watcher import Endpoint, Match, Options, ProbeError, Reason, hookimpl
from watcher.plugins.protocols._frames import Frames
from watcher.plugins.protocols._request import of_this_check
from watcher.plugins.protocols._urls import parts_of, refuse_elsewhere
from watcher.transport import Exchange, Prober, Target, dial, target

SCHEMES = {"ws": 80, "wss": 443}
MESSAGE_MAX_BYTES = 1 << 20
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


class WebSocket(Options):
    """`websocket = { send = "hello", expect = "welcome" }`: what to send once connected, and what to want back.

    `expect` is a wish about the first message after that; without it any message will do, without `send` none is sent.
    Without both, a ping frame must be answered by its pong. `skip` is how many messages the server sends by itself
    before; they are awaited first. `subprotocol` is offered, and must be agreed to.
    """

    send: str | None = None
    expect: Match | None = None
    skip: Annotated[int, Meta(ge=0, le=1000)] = 0
    subprotocol: str = ""

    def __post_init__(self) -> None:
        if self.subprotocol and not TOKEN.fullmatch(self.subprotocol):
            raise ValueError(f"subprotocol {self.subprotocol!r} is not one name such as graphql-transport-ws")


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `websocket`."""
    return {"websocket": WebSocket}


@hookimpl
def watcher_prober(endpoint: Endpoint, request: requests.Request) -> Prober | None:
    """Probe ws and wss."""
    parts = parts_of(endpoint, SCHEMES, "use basic_auth")
    if parts is None:
        return None
    if parts.fragment:
        raise ValueError("the URL of a WebSocket has no fragment (#…)")
    request.url = "http" + request.url[2:]  # `requests` encodes URLs of http alone, and who signs knows no others
    prepared = request.prepare()
    if prepared.method != "GET" or prepared.body:
        raise ValueError("a WebSocket begins with a GET without a body; leave out method and body")
    place = target(endpoint, SCHEMES[parts.scheme], tls=parts.scheme == "wss", alpn=("http/1.1",))
    return WebSocketProber(prepared, place, endpoint.options.get("websocket", WebSocket()))


@hookimpl
def watcher_steps(endpoint: Endpoint) -> None:
    """Say where the option can mean nothing."""
    refuse_elsewhere("websocket", endpoint, SCHEMES)


class WebSocketProber:
    """Probes one endpoint."""

    __slots__ = ("_prepared", "_target", "_wish")

    def __init__(self, prepared: requests.PreparedRequest, place: Target, wish: WebSocket) -> None:
        self._prepared = prepared
        self._target = place
        self._wish = wish

    def __call__(self, exchange: Exchange) -> None:
        from websockets.client import ClientProtocol
        from websockets.uri import parse_uri

        request = of_this_check(exchange, self._prepared)
        offered = [self._wish.subprotocol] if self._wish.subprotocol else None
        protocol = ClientProtocol(parse_uri("ws" + request.url[4:]), subprotocols=offered, max_size=MESSAGE_MAX_BYTES)
        with dial(exchange, self._target) as conversation:
            frames = Frames(conversation, protocol)
            frames.shake_hands(exchange, request)
            if offered and protocol.subprotocol is None:
                raise ProbeError(Reason.ASSERTION, f"the server does not speak the subprotocol {offered[0]}")
            for _ in range(self._wish.skip):
                frames.message()
            self._ask(frames, exchange)
            with contextlib.suppress(ProbeError):
                frames.say(protocol.send_close, 1000)  # the server's own good-bye is not waited for

    def _ask(self, frames: Frames, exchange: Exchange) -> None:
        wish = self._wish
        if wish.send is None and wish.expect is None:
            frames.ping(os.urandom(4))
            return
        if wish.send is not None:
            frames.say(frames.protocol.send_text, wish.send.encode())
        answer = frames.message()
        exchange.body_bytes = len(answer)
        text = answer.decode(errors="replace")
        if wish.expect is not None and not wish.expect.holds(text):
            raise ProbeError(Reason.ASSERTION, f"the answer is {text[:80]!r}, wanted {wish.expect}")
