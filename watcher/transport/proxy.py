"""What an exception of a plain session means: the fault of the site, or of the proxy on the way to it.

A check that a proxy prevented says nothing of the site. Details name the proxy by host and port, no URL is in them.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
import socks
import urllib3.exceptions as of_urllib3

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport import failures, tls

REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (?P<status>(?P<code>\d+).*)", re.S)
# What a SOCKS server says of the site (RFC 1928, 6; for version 4: 0x5b). It is 0x01, a general failure, that many give
# for a name that cannot be resolved.
OF_THE_SITE = frozenset({0x01, 0x03, 0x04, 0x05, 0x06, 0x5B})
WANTS_LOGIN = (407, 401)  # the second from tinyproxy 1.11
CLOSED = (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected, http.client.IncompleteRead)


class OutOfTime(Exception):
    """All of the time of a check is over."""


TIMEOUTS = (OutOfTime, TimeoutError, of_urllib3.TimeoutError)


def label(url: str) -> str:
    """Give host and port of a proxy, without user and password; "" for none."""
    return urlsplit(url).netloc.rpartition("@")[2]


def failure(error: BaseException, proxy: str, phase: str) -> ProbeError:
    """Give the failure that an exception stands for.

    Args:
        proxy: the `label` of the proxy, "" when there was none.
        phase: in which a timeout was.
    """
    causes = tuple(_causes(error))
    found = (_of_proxy(causes, phase) if proxy else None) or _of_site(causes, phase)
    if found is None:
        found = ProbeError(failures.of_requests(error).reason, _innermost(causes))
    return through(found, proxy) if proxy else found


def through(found: ProbeError, proxy: str) -> ProbeError:
    """Give a failure with the proxy in its detail."""
    if isinstance(found, ByProxy):
        return ProbeError(found.reason, f"the proxy {proxy} {found.detail}")
    return ProbeError(found.reason, f"{found.detail}, through the proxy {proxy}")


class ByProxy(ProbeError):
    """A failure that the proxy made or told of; the detail goes on after its name."""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and all that it came from; `requests` and urllib3 hand their causes over in many ways."""
    left, seen = [error], set()
    while left:
        one = left.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        handed = (getattr(one, name, None) for name in ("reason", "original_error", "socket_err"))
        left += [*one.args, *handed, one.__cause__, one.__context__]


def _first(causes: tuple[BaseException, ...], kinds: type | tuple[type, ...]) -> BaseException | None:
    return next((cause for cause in causes if isinstance(cause, kinds)), None)


def _timed_out(causes: tuple[BaseException, ...]) -> bool:
    # urllib3 has NewConnectionError, any failure to connect, among its timeouts
    return any(isinstance(cause, TIMEOUTS) and not isinstance(cause, of_urllib3.NewConnectionError) for cause in causes)


def _is_no_http(causes: tuple[BaseException, ...]) -> bool:
    return any(isinstance(cause, http.client.HTTPException) and not isinstance(cause, CLOSED) for cause in causes)


def _innermost(causes: tuple[BaseException, ...]) -> str:
    """Give the words of what it all came from: what is around it quotes the URL, in which a secret may be."""
    return " ".join(str(causes[-1]).split())[:300]


def _of_proxy(causes: tuple[BaseException, ...], phase: str) -> ProbeError | None:
    said = _first(causes, socks.ProxyError)
    if said is not None:
        return _of_socks(said)
    if _first(causes, socket.gaierror):  # over a proxy of this kind, no other name is looked up
        return ByProxy(Reason.AGENT_NETWORK, "has a name that cannot be resolved")
    if phase == "connect" and _is_no_http(causes):
        return ByProxy(Reason.AGENT_NETWORK, "did not answer as a proxy does")
    if not _first(causes, of_urllib3.ProxyError):
        return None
    for cause in causes:
        refused = REFUSED_TUNNEL.fullmatch(str(cause))
        if refused is not None:
            return of_status(int(refused["code"]), refused["status"].strip())
    if _first(causes, CLOSED) and not _first(causes, of_urllib3.NewConnectionError):
        return None  # it was connected to, and urllib3 does not remember it; who hung up is not known
    return _unreachable(causes)


def of_status(code: int, status: str) -> ProbeError:
    """Give the failure that a proxy tells of by an HTTP status of its own (RFC 9110, 15.5.8, 15.6)."""
    if code in WANTS_LOGIN:
        return ByProxy(Reason.CONFIG, f"wants another user or password ({status})")
    if code >= requests.codes.internal_server_error:
        return ByProxy(Reason.CONNECT, f"could not reach the site ({status})")
    return ByProxy(Reason.CONFIG, f"refuses to go there ({status})")


def _unreachable(causes: tuple[BaseException, ...]) -> ProbeError:
    """Give the failure to connect to a proxy."""
    tls_error = _first(causes, ssl.SSLError)
    if tls_error is not None:
        return ByProxy(Reason.AGENT_NETWORK, f"cannot be talked to over TLS: {tls.failure(tls_error).detail}")
    if _timed_out(causes):
        return ByProxy(Reason.AGENT_NETWORK, "did not let us connect in time")
    os_error = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    if os_error is None:
        return ByProxy(Reason.AGENT_NETWORK, "did not answer as a proxy does")
    known = failures.connecting(os_error.errno)
    reason = Reason.OVERLOAD if known.reason is Reason.OVERLOAD else Reason.AGENT_NETWORK
    return ByProxy(reason, f"cannot be connected to: {known.detail}")


def _of_socks(said: socks.ProxyError) -> ProbeError | None:
    cause = said.socket_err
    if isinstance(cause, socks.ProxyError):  # PySocks wraps its own, since they are OSErrors too
        return _of_socks(cause)
    match said:
        case socks.ProxyConnectionError():
            return _unreachable((cause,))
        case socks.SOCKS5AuthError():
            return ByProxy(Reason.CONFIG, "wants another user or password")
        case socks.SOCKS5Error() | socks.SOCKS4Error():
            code, _, words = str(said.msg).partition(": ")
            if int(code, 16) in OF_THE_SITE:
                return ByProxy(Reason.CONNECT, f"could not reach the site ({words.lower()})")
            return ByProxy(Reason.CONFIG, f"refuses to go there ({words.lower()})")
    if cause is None:
        return ByProxy(Reason.AGENT_NETWORK, "did not answer as a SOCKS server does")
    if isinstance(cause, (TimeoutError, socket.gaierror)):  # it was waiting for the site; the site's name is unknown
        return None
    return ByProxy(Reason.AGENT_NETWORK, "closed the connection")


def _of_site(causes: tuple[BaseException, ...], phase: str) -> ProbeError | None:
    if _timed_out(causes):
        return ProbeError(Reason.TIMEOUT, f"timeout in {phase}")
    tls_error = _first(causes, ssl.SSLError)
    if tls_error is not None:
        return tls.failure(tls_error)
    unknown = _first(causes, socket.gaierror)
    if unknown is not None:
        return ProbeError(Reason.DNS, (unknown.strerror or "the name cannot be resolved").lower())
    if _first(causes, CLOSED):
        return ProbeError(Reason.CLOSED, f"connection closed in {phase}")
    if _is_no_http(causes):
        return ProbeError(Reason.PROTOCOL, f"not HTTP: {_innermost(causes)}")
    os_error = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    if os_error is not None and _first(causes, of_urllib3.NewConnectionError):
        return failures.connecting(os_error.errno)
    return None
