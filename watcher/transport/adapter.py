"""The measured transport as a `requests` adapter: `session.mount("https://", MeasuredAdapter(route))`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.connection import Connection
from watcher.transport.exchange import Exchange, phases_us
from watcher.transport.http import fetch
from watcher.transport.response import Response
from watcher.transport.target import Route, Target, target_at
from watcher.transport.tls import Trust
from watcher.transport.wire import request_bytes

DEFAULT_PORTS = {"http": 80, "https": 443}
DEFAULT_TIMEOUT_S = 10.0


def target_of(route: Route, url: str, *, elsewhere: bool = False) -> Target:
    """Give where a URL is; `elsewhere` when it was not the endpoint's own.

    Raises:
        ValueError: the URL has no host or a port that is none.
        OSError, ssl.SSLError: a certificate file cannot be read.
    """
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return target_at(route.elsewhere() if elsewhere else route, parts.hostname or "", port, parts.scheme == "https")


def host_field(url: str) -> str:
    """Give the Host field of a URL (RFC 9110, 7.2)."""
    parts: SplitResult = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def fetch_response(
    exchange: Exchange, target: Target, wire: bytes, url: str, kept: list[Connection] | None = None
) -> Response:
    """Do one exchange and wrap what came."""
    reader = fetch(exchange, target, wire, head_only=wire.startswith(b"HEAD "), kept=kept)
    exchange.http_status = reader.status
    exchange.body_bytes = reader.body_bytes
    if reader.capped:
        exchange.note_cap(target.max_body)
    return Response(reader, url, target.max_body, phases_us(exchange), partial(prepared_from, wire, url))


def prepared_from(wire: bytes, url: str) -> requests.PreparedRequest:
    """Make the request again of which `wire` are the bytes: cheaper than to keep it for every endpoint."""
    head, _, body = wire.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    prepared = requests.PreparedRequest()
    prepared.method = first.partition(" ")[0]
    prepared.url = url
    prepared.headers = CaseInsensitiveDict(line.split(": ", 1) for line in lines)
    if prepared.headers.get("Host") == host_field(url):  # it follows from the URL, and so it must at another host
        del prepared.headers["Host"]
    prepared.body = body or None
    prepared._cookies = requests.cookies.RequestsCookieJar()  # pylint: disable=protected-access  # requests asks for it
    return prepared


class MeasuredAdapter(BaseAdapter):
    """Sends prepared requests over the measured transport, a fresh connection each.

    Args:
        route: how hosts are reached; `verify` and `cert` of a request override its trust.
        exchange: the sheet to fill, hop after hop; without one each request gets its own, with the request's timeout.
            It is found as `response.exchange`.
        first_url: requests for other hosts than this URL's leave aside what is meant for it: the route's `address`,
            `server_name` and client certificate, and all header fields but those in FIELDS_FOR_ALL.
    """

    def __init__(self, route: Route, exchange: Exchange | None = None, first_url: str = "") -> None:
        super().__init__()
        self._route = route
        self._exchange = exchange
        self._first_host = urlsplit(first_url).hostname

    def send(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # the signature is BaseAdapter's
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and give its whole response.

        Raises:
            requests.RequestException: of the kind that `requests` raises; its first argument is the `ProbeError`.
        """
        url = request.url or ""
        exchange = self._exchange or Exchange(_seconds(timeout))
        try:
            own = not self._first_host or urlsplit(url).hostname == self._first_host
            target = target_of(self._route_for(verify, cert), url, elsewhere=not own)
        except OSError as error:  # ssl.SSLError is one too
            raise requests.exceptions.SSLError(error, request=request) from error
        except ValueError as error:
            raise requests.exceptions.InvalidURL(error, request=request) from error
        if not own:
            fields = request.headers.items()
            request.headers = CaseInsensitiveDict((name, value) for name, value in fields if _is_for_all(name))
        try:
            response = fetch_response(exchange, target, request_bytes(request, host_field(url)), url)
        except ProbeError as error:
            raise _as_requests(error, request) from error
        response.request = request
        response.connection = self  # an AuthBase sends its next request over it
        if response.is_redirect:  # `requests` reads the body of one, which nobody else looks at: it may be anything
            response.leave_coded()
        if self._exchange is None:  # else whoever made the exchange has it, and the two would refer to each other
            response.exchange = exchange
        return response

    def close(self) -> None:
        """Let go of the exchange, whose response refers to this; no connection outlives its request."""
        self._exchange = None

    def _route_for(self, verify: bool | str, cert: Any) -> Route:
        if verify is True and not cert:
            return self._route
        return self._route._replace(trust=Trust.of(verify, cert))


FIELDS_FOR_ALL = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "connection", "content-length", "content-type", "cookie",
        "user-agent",
    }
)  # fmt: skip


def _is_for_all(name: str) -> bool:
    """Say whether a header field may go to another host: what a user gave may be a secret, a cookie has its domain."""
    return name.lower() in FIELDS_FOR_ALL


def _seconds(timeout: float | tuple[float | None, float | None] | None) -> float:
    if isinstance(timeout, tuple):
        return sum(part or DEFAULT_TIMEOUT_S for part in timeout)
    return timeout or DEFAULT_TIMEOUT_S


_AS_REQUESTS: dict[Reason, type[requests.RequestException]] = {
    Reason.TIMEOUT: requests.exceptions.ReadTimeout,
    Reason.TLS: requests.exceptions.SSLError,
    Reason.CERTIFICATE: requests.exceptions.SSLError,
    Reason.PROTOCOL: requests.exceptions.ChunkedEncodingError,
}


def _as_requests(error: ProbeError, request: requests.PreparedRequest) -> requests.RequestException:
    kind = _AS_REQUESTS.get(error.reason, requests.exceptions.ConnectionError)
    return kind(error, request=request)
