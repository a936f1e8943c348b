"""Probers of http and https endpoints: the measured one, and the one on a plain `requests.Session`.

The measured prober sends bytes that were written when the plan was made. Only what must run anew at each check
(rotating credentials, answers to a 401, redirects) goes through `requests` itself, over the same transport.
"""

from __future__ import annotations

from functools import lru_cache
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import gevent
import requests
from requests.cookies import extract_cookies_to_jar
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict

from watcher.errors import ProbeError
from watcher.ledger import Overrun
from watcher.models import Reason
from watcher.transport.adapter import (
    FIELDS_FOR_ALL,
    MeasuredAdapter,
    fetch_response,
    host_field,
    prepared_from,
    target_of,
)
from watcher.transport.cookies import bind
from watcher.transport.failures import of_requests
from watcher.transport.proxy import OutOfTime, failure, label, of_status, through
from watcher.transport.session import WatchedAdapter
from watcher.transport.wire import request_bytes

if TYPE_CHECKING:
    import ssl

    from watcher.transport.connection import Connection
    from watcher.transport.exchange import Exchange
    from watcher.transport.response import Response
    from watcher.transport.target import Route
    from watcher.transport.tls import Trust

CONNECT_SHARE = 0.98
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class MeasuredProber:
    """Probes one endpoint over the measured transport.

    Args:
        prepared: the request; sent as it is at each check unless it has hooks of its own.
        route: how its host is reached.
        max_redirects: how many redirects to follow.
        keep_alive: use one connection for many checks.
    """

    __slots__ = ("_body", "_fields", "_kept", "_line", "_max_redirects", "_prepared", "_route", "_target", "_url")

    def __init__(self, prepared: requests.PreparedRequest, route: Route, max_redirects: int, keep_alive: bool) -> None:
        self._url = prepared.url or ""
        self._route = route
        self._target = target_of(route, self._url)
        head, blank, body = request_bytes(prepared, host_field(self._url)).partition(b"\r\n\r\n")
        line, end, fields = head.partition(b"\r\n")
        self._line = line + end
        self._fields = _shared(fields + blank)
        self._body = _shared_body(body)
        self._max_redirects = max_redirects
        # a request that may not be sent twice has no connection that may turn out to be closed (RFC 9110, 9.2.2)
        self._kept: list[Connection] | None = [] if keep_alive and prepared.method in IDEMPOTENT else None
        # a prepared request weighs 3 KB: it is kept only where the bytes do not say all
        self._prepared = prepared if prepared.hooks.get("response") else None

    def __call__(self, exchange: Exchange) -> None:
        if exchange.before or self._prepared is not None:
            self._send_anew(exchange)
            return
        response = fetch_response(exchange, self._target, self._line + self._fields + self._body, self._url, self._kept)
        if self._max_redirects and response.is_redirect:
            with self._session(exchange) as session:
                response = self._follow(response, session)
        exchange.response = response

    def close(self) -> None:
        """Close the connection that waits for the next check, if there is one."""
        while self._kept:
            self._kept.pop().close()

    def _session(self, exchange: Exchange) -> requests.Session:
        session = _Session(self._url, self._max_redirects)
        session.trust_env = False
        adapter = MeasuredAdapter(self._route, exchange, self._url)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    @staticmethod
    def _follow(response: Response, session: requests.Session) -> Response:
        bind(response.request, session)
        extract_cookies_to_jar(session.cookies, response.request, response.raw)
        response.leave_coded()
        hops = [response]
        try:
            hops.extend(session.resolve_redirects(response, response.request))
        except (requests.RequestException, ValueError) as error:
            raise _failure(error) from None
        for number, hop in enumerate(hops):  # `requests` puts a response into its own history
            hop.history = hops[:number]
        return hops[-1]

    def _send_anew(self, exchange: Exchange) -> None:
        kept = self._prepared
        wire = self._line + self._fields + self._body
        request = _copied(kept) if kept is not None else prepared_from(wire, self._url)
        _prepare(exchange, request)
        with self._session(exchange) as session:
            try:
                response = session.send(request, allow_redirects=False)
            except requests.RequestException as error:
                raise _failure(error) from None
            if self._max_redirects and response.is_redirect:
                response = self._follow(response, session)
        exchange.response = response


class _Session(requests.Session):
    """A session that a redirect cannot lead to tell another host, or in the clear, what was meant for the first.

    Beside what `requests` strips by itself, these are all header fields but those in FIELDS_FOR_ALL, the client
    certificate, and the hooks of an authentication, which would answer the other host's challenge.
    """

    def __init__(self, url: str, max_redirects: int) -> None:
        super().__init__()
        self.max_redirects = max_redirects
        self._first = urlsplit(url)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, stripped if it goes elsewhere."""
        to = urlsplit(request.url)
        in_the_clear = to.scheme == "http" and self._first.scheme == "https"
        if to.hostname != self._first.hostname or in_the_clear:
            kept = {name: value for name, value in request.headers.items() if name.lower() in _FOR_OTHERS}
            request.headers = CaseInsensitiveDict(kept)
            request.hooks = default_hooks()
            options["cert"] = None
        return super().send(request, **options)


_FOR_OTHERS = FIELDS_FOR_ALL | {"proxy-authorization"}  # which `requests` wrote for the proxy of this very request


def _copied(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """Copy a request, hooks and all: those that a `before` adds are for one check."""
    request = prepared.copy()
    request.hooks = {event: list(hooks) for event, hooks in prepared.hooks.items()}
    return request


def _prepare(exchange: Exchange, request: requests.PreparedRequest) -> float:
    """Let the steps change the request of this check; give the seconds that are left for it."""
    with gevent.Timeout(_left_s(exchange), Overrun("`before` took all of the timeout")):
        for before in exchange.before:
            before(request)
    exchange.begin_anew()
    return _left_s(exchange)


def _left_s(exchange: Exchange) -> float:
    return max(0.001, (exchange.deadline_ns - monotonic_ns()) / 1e9)


@lru_cache(maxsize=16_384)
def _shared(fields: bytes) -> bytes:
    """Give the one copy of what many endpoints send alike."""
    return fields


@lru_cache(maxsize=256)
def _shared_body(body: bytes) -> bytes:
    """Give the one copy of a body; of fewer, for they may be long."""
    return body


def _failure(error: requests.RequestException | ValueError) -> ProbeError:
    """Give what went wrong; a bare ValueError is what `requests` lets out for a redirect to what is no URL."""
    if not isinstance(error, requests.RequestException):
        return ProbeError(Reason.REDIRECT, f"redirected to what is no URL: {error}")
    cause = error.args[0] if error.args else None
    if isinstance(cause, ProbeError):
        return ProbeError(cause.reason, cause.detail)  # not `cause`: the two errors would refer to each other
    failure = of_requests(error)
    if failure.reason is Reason.REDIRECT and error.response is None and error.request is not None:
        failure.detail = f"redirected to {error.request.url}: {failure.detail}"
    return failure


class SessionProber:
    """Probes one endpoint with a plain `requests.Session`, for what only that can do: proxies, Kerberos.

    Its times are the wall clock's, so they hold our own delays too: `ttfb_us` is all until the headers were read, and
    `transfer_us` all after. A check that a proxy prevented says nothing of the site, see `watcher.transport.proxy`.
    """

    __slots__ = ("_contexts", "_max_body", "_max_redirects", "_options", "_prepared", "_proxy")

    heavy = True  # `requests` takes a millisecond

    def __init__(self, prepared: requests.PreparedRequest, route: Route, max_redirects: int, proxy: str) -> None:
        self._prepared = prepared
        self._max_redirects = max_redirects
        self._max_body = route.max_body
        self._proxy = label(proxy)
        self._contexts: dict[Trust, ssl.SSLContext] = {}
        trust = route.trust
        self._options: dict[str, Any] = {
            "verify": (trust.ca or True) if trust.verify else False,
            "cert": (trust.certificate, trust.key) if trust.key else trust.certificate or None,
            "proxies": {"http": proxy, "https": proxy} if proxy else {},
            "allow_redirects": max_redirects > 0,
            "stream": True,
        }

    def __call__(self, exchange: Exchange) -> None:
        exchange.by_wall = True
        request = _copied(self._prepared)
        left_s = _prepare(exchange, request)
        exchange.phase = "ttfb"
        began_ns = time_ns()
        adapter = WatchedAdapter(self._contexts)
        try:
            with gevent.Timeout(left_s, OutOfTime()), self._session(adapter) as session:
                self._exchange(exchange, session, request, left_s)
        except (requests.RequestException, OutOfTime) as error:
            raise self._failure(error, exchange, adapter) from None
        finally:
            adapter.connection = None  # the two refer to each other
            spent_us = max(0, time_ns() - began_ns) // 1000
            if exchange.ttfb_us is None:
                exchange.ttfb_us = spent_us
            else:
                exchange.transfer_us = max(0, spent_us - exchange.ttfb_us)

    def _session(self, adapter: WatchedAdapter) -> requests.Session:
        session = _Session(self._prepared.url or "", self._max_redirects)
        session.trust_env = False  # it is the endpoint's options that count: no proxy, no netrc of the environment
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def _failure(self, error: Exception, exchange: Exchange, adapter: WatchedAdapter) -> ProbeError:
        if isinstance(error, _OF_REDIRECTS):
            return _failure(error)
        stood = adapter.connection is not None and adapter.connection.stood
        return failure(error, self._proxy, exchange.phase if stood else "connect")

    def _exchange(
        self, exchange: Exchange, session: requests.Session, request: requests.PreparedRequest, left_s: float
    ) -> None:
        began_ns = time_ns()
        # a connection that takes all of the time is to be told from an answer that does: by urllib3, before our timeout
        timeout_s = (left_s * CONNECT_SHARE, left_s)
        bind(request, session)
        with session.send(request, timeout=timeout_s, **self._options) as response:
            exchange.ttfb_us = max(0, time_ns() - began_ns) // 1000
            exchange.phase = "transfer"
            self._note_peer(exchange, response)
            body = b""
            for piece in response.iter_content(65_536):
                body += piece
                if len(body) > self._max_body:
                    exchange.note_cap(self._max_body)
                    break
            exchange.body_bytes = len(body)
            # the body was read to its bound: hand it to the steps as `requests` would have left it
            response._content = body[: self._max_body]  # pylint: disable=protected-access
            response._content_consumed = True  # pylint: disable=protected-access
            response.truncated = len(body) > self._max_body
            exchange.response = response

    def _note_peer(self, exchange: Exchange, response: requests.Response) -> None:
        connection, plain = response.connection.connection, response.url.lower().startswith("http:")
        if not self._proxy:
            exchange.address = connection.address
        elif plain and response.status_code == requests.codes.proxy_authentication_required:
            raise through(of_status(response.status_code, f"{response.status_code} {response.reason}"), self._proxy)
        exchange.peer = None if plain else connection.peer  # with a plain URL it would be the one of an https proxy
        exchange.http_status = response.status_code


_OF_REDIRECTS = (
    requests.TooManyRedirects,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
)
