"""grpc and grpcs endpoints: asks the standard health service (grpc.health.v1.Health/Check), and wants SERVING.

HTTP/2 is spoken by the sans-I/O library `h2` over watcher's own connection. The two messages of protocol buffers have
one field each and are written and read by hand. The headers that plugins prepared (`headers`, `basic_auth` …) go along
as metadata. `ttfb` is the wait for the server's first bytes, `transfer` that for the rest.

The gRPC project's documents "GRPC Health Checking Protocol" and "gRPC over HTTP2"; RFC 9113.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import requests

from watcher import Endpoint, Options, ProbeError, Reason, hookimpl
from watcher.plugins.protocols._call import Call
from watcher.plugins.protocols._request import of_this_check
from watcher.plugins.protocols._urls import parts_of, refuse_elsewhere
from watcher.transport import Exchange, Prober, Target, dial, target

SCHEMES = {"grpc": 50051, "grpcs": 443}
HEALTH = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")  # HealthCheckResponse.ServingStatus
CODES = {
    str(code): name
    for code, name in enumerate(
        "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
        "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
        "UNAUTHENTICATED".split()
    )
}
# fields of HTTP/1.1 (RFC 9113, 8.2.2), and those that the call says itself
NOT_METADATA = frozenset(
    "accept accept-encoding connection content-length content-type host keep-alive te transfer-encoding upgrade".split()
)


class Grpc(Options):
    """`grpc = { service = "shop.Cart" }`: the service to ask about; without it the server as a whole."""

    service: str = ""


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `grpc`."""
    return {"grpc": Grpc}


@hookimpl
def watcher_prober(endpoint: Endpoint, request: requests.Request) -> Prober | None:
    """Probe grpc and grpcs."""
    parts = parts_of(endpoint, SCHEMES, "use basic_auth")
    if parts is None:
        return None
    if parts.path.strip("/") or parts.fragment or urlsplit(request.url).query:
        raise ValueError('the URL ends behind the port; a service is named by grpc = { service = "…" }')
    request.url = "http" + request.url[4:]  # `requests` encodes hosts of http alone
    prepared = request.prepare()
    if prepared.body:
        raise ValueError("a health check has a message of its own; leave out body")
    wish: Grpc = endpoint.options.get("grpc", Grpc())
    place = target(endpoint, SCHEMES[parts.scheme], tls=parts.scheme == "grpcs", alpn=("h2",))
    return GrpcProber(prepared, place, framed(health_check_request(wish.service)))


@hookimpl
def watcher_steps(endpoint: Endpoint) -> None:
    """Say where the option can mean nothing."""
    refuse_elsewhere("grpc", endpoint, SCHEMES)


def health_check_request(service: str) -> bytes:
    """Write a HealthCheckRequest; its field 1 is the service's name, left out when empty."""
    name = service.encode()
    return b"\x0a" + varint(len(name)) + name if name else b""


def varint(number: int) -> bytes:
    """Write a number as protocol buffers do: seven bits a byte, the lowest first."""
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def framed(message: bytes) -> bytes:
    """Put before a message that it is not compressed, and its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class GrpcProber:
    """Probes one endpoint."""

    __slots__ = ("_message", "_prepared", "_target")

    def __init__(self, prepared: requests.PreparedRequest, place: Target, message: bytes) -> None:
        self._prepared = prepared
        self._target = place
        self._message = message

    def __call__(self, exchange: Exchange) -> None:
        fields = head(of_this_check(exchange, self._prepared), "https" if self._target.tls else "http")
        with dial(exchange, self._target) as conversation:
            call = Call(conversation)
            call.send(fields, self._message)
            while not call.ended:
                call.receive()
            status = call.fields.get(":status", "")
            exchange.http_status = int(status) if status.isdecimal() and len(status) == 3 else None
            exchange.body_bytes = len(call.body)
            judge(call.fields, call.body)
            call.close()


def head(request: requests.PreparedRequest, scheme: str) -> list[tuple[str, str | bytes]]:
    """Give the header fields of the call, those of a request among them."""
    given = {name.lower(): value for name, value in request.headers.items()}
    said = {
        ":method": "POST",
        ":scheme": scheme,
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": given.get("host") or urlsplit(request.url).netloc,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return [*said.items(), *((name, value) for name, value in given.items() if name not in NOT_METADATA)]


def judge(fields: dict[str, str], body: bytes) -> None:
    """Take the answer: what is not SERVING is down."""
    if fields.get(":status") != "200":
        raise ProbeError(Reason.STATUS, f"HTTP status {fields.get(':status')}, wanted 200")
    if "grpc-status" not in fields:
        kind = fields.get("content-type", "none")
        raise ProbeError(Reason.PROTOCOL, f"not gRPC: no grpc-status, and a content type of {kind[:80]!r}")
    code = fields["grpc-status"]
    if code != "0":
        words = " ".join(unquote(fields.get("grpc-message", "")).split())
        raise ProbeError(Reason.STATUS, f"{CODES.get(code, f'status {code[:20]}')}: {words[:200]}, wanted SERVING")
    health = health_of(body)
    if health != "SERVING":
        raise ProbeError(Reason.STATUS, f"{health}, wanted SERVING")


def health_of(body: bytes) -> str:
    """Read a HealthCheckResponse, of which field 1 is the status; a 0 is left out."""
    message = body[5:]
    if body[:5] == framed(message)[:5] and message[:1] in (b"", b"\x08") and len(message) in (0, 2):
        status = message[1] if message else 0
        return HEALTH[status] if status < len(HEALTH) else f"health status {status}"
    raise ProbeError(Reason.PROTOCOL, f"the answer is no HealthCheckResponse: {body[:40].hex(' ')}")
