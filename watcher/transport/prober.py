"""Probers of http and https endpoints: the measured one, and the one on a plain `requests.Session`.

The measured prober sends bytes that were written when the plan was made. Only what must run anew at each check
(rotating credentials, answers to a 401, redirects) goes through `requests` itself, over the same transport.
"""

from __future__ import annotations

from functools import lru_cache
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any

import gevent
import requests
from requests.cookies import extract_cookies_to_jar

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.adapter import MeasuredAdapter, Route, fetch_response, host_field, prepared_from
from watcher.transport.failures import of_requests
from watcher.transport.wire import request_bytes

if TYPE_CHECKING:
    from watcher.transport.exchange import Exchange
    from watcher.transport.http import Connection
    from watcher.transport.response import Response

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class MeasuredProber:
    """Probes one endpoint over the measured transport.

    Args:
        prepared: the request; sent as it is at each check unless it has hooks of its own.
        route: how its host is reached.
        max_redirects: how many redirects to follow.
        keep_alive: use one connection for many checks.
    """

    __slots__ = ("_fields", "_kept", "_line", "_max_redirects", "_prepared", "_route", "_target", "_url")

    def __init__(self, prepared: requests.PreparedRequest, route: Route, max_redirects: int, keep_alive: bool) -> None:
        self._url = prepared.url or ""
        self._route = route
        self._target = route.target(self._url)
        line, end, fields = request_bytes(prepared, host_field(self._url)).partition(b"\r\n")
        self._line = line + end
        self._fields = _shared(fields)
        self._max_redirects = max_redirects
        # a request that may not be sent twice has no connection that may turn out to be closed (RFC 9110, 9.2.2)
        self._kept: list[Connection] | None = [] if keep_alive and prepared.method in IDEMPOTENT else None
        # a prepared request weighs 3 KB: it is kept only where the bytes do not say all
        self._prepared = prepared if prepared.hooks.get("response") else None

    def __call__(self, exchange: Exchange) -> None:
        if exchange.before or self._prepared is not None:
            self._send_anew(exchange)
            return
        response = fetch_response(exchange, self._target, self._line + self._fields, self._url, self._kept)
        if self._max_redirects and response.is_redirect:
            response = self._follow(response, self._session(exchange))
        exchange.response = response

    def close(self) -> None:
        """Close the connection that waits for the next check, if there is one."""
        while self._kept:
            self._kept.pop().close()

    def _session(self, exchange: Exchange) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.max_redirects = self._max_redirects
        adapter = MeasuredAdapter(self._route, exchange, self._url)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    @staticmethod
    def _follow(response: Response, session: requests.Session) -> Response:
        extract_cookies_to_jar(session.cookies, response.request, response.raw)
        response.leave_coded()
        hops = [response]
        try:
            hops.extend(session.resolve_redirects(response, response.request))
        except (requests.RequestException, ValueError) as error:
            raise _failure(error) from None
        hops[-1].history = hops[:-1]
        return hops[-1]

    def _send_anew(self, exchange: Exchange) -> None:
        kept = self._prepared
        request = kept.copy() if kept is not None else prepared_from(self._line + self._fields, self._url)
        _prepare(exchange, request)
        session = self._session(exchange)
        try:
            response = session.send(request, allow_redirects=False)
        except requests.RequestException as error:
            raise _failure(error) from None
        if self._max_redirects and response.is_redirect:
            response = self._follow(response, session)
        exchange.response = response


def _prepare(exchange: Exchange, request: requests.PreparedRequest) -> float:
    """Let the steps change the request of this check; give the seconds that are left for it."""
    with gevent.Timeout(_left_s(exchange), ProbeError(Reason.PLUGIN, "a plugin's `before` took all of the timeout")):
        for before in exchange.before:
            before(request)
    return _left_s(exchange)


def _left_s(exchange: Exchange) -> float:
    return max(0.001, (exchange.deadline_ns - monotonic_ns()) / 1e9)


@lru_cache(maxsize=16_384)
def _shared(fields: bytes) -> bytes:
    """Give the one copy of what many endpoints send alike."""
    return fields


def _failure(error: requests.RequestException | ValueError) -> ProbeError:
    """Give what went wrong; a bare ValueError is what `requests` lets out for a redirect to what is no URL."""
    if not isinstance(error, requests.RequestException):
        return ProbeError(Reason.REDIRECT, f"redirected to what is no URL: {error}")
    cause = error.args[0] if error.args else None
    if isinstance(cause, ProbeError):
        return cause
    failure = of_requests(error)
    if failure.reason is Reason.REDIRECT and error.response is None and error.request is not None:
        failure.detail = f"redirected to {error.request.url}: {failure.detail}"
    return failure


class SessionProber:
    """Probes one endpoint with a plain `requests.Session`, for what only that can do: proxies, Kerberos.

    Its times are the wall clock's, so they hold our own delays too: `ttfb_us` is all until the headers were read, and
    `transfer_us` all after.
    """

    __slots__ = ("_max_redirects", "_options", "_prepared", "_max_body")

    def __init__(self, prepared: requests.PreparedRequest, route: Route, max_redirects: int, proxy: str) -> None:
        self._prepared = prepared
        self._max_redirects = max_redirects
        self._max_body = route.max_body
        trust = route.trust
        self._options: dict[str, Any] = {
            "verify": (trust.ca or True) if trust.verify else False,
            "cert": (trust.certificate, trust.key) if trust.key else trust.certificate or None,
            "proxies": {"http": proxy, "https": proxy} if proxy else {},
            "allow_redirects": max_redirects > 0,
            "stream": True,
        }

    def __call__(self, exchange: Exchange) -> None:
        request = self._prepared.copy()
        left_s = _prepare(exchange, request)
        exchange.phase = "ttfb"
        began_ns = time_ns()
        try:
            with gevent.Timeout(left_s, ProbeError(Reason.TIMEOUT, "timeout")), requests.Session() as session:
                session.max_redirects = self._max_redirects
                self._exchange(exchange, session, request, left_s)
        except requests.RequestException as error:
            raise _failure(error) from None
        finally:
            spent_us = max(0, time_ns() - began_ns) // 1000
            if exchange.ttfb_us is None:
                exchange.ttfb_us = spent_us
            else:
                exchange.transfer_us = max(0, spent_us - exchange.ttfb_us)

    def _exchange(
        self, exchange: Exchange, session: requests.Session, request: requests.PreparedRequest, left_s: float
    ) -> None:
        began_ns = time_ns()
        with session.send(request, timeout=left_s, **self._options) as response:
            exchange.ttfb_us = max(0, time_ns() - began_ns) // 1000
            exchange.phase = "transfer"
            exchange.http_status = response.status_code
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
