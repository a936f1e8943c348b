"""The error table: which reason each failure of a connection is stored with.

`errno` values are those of connect(2), send(2) and recv(2). The agent's own shortages are kept apart from the site's
faults.
"""

from __future__ import annotations

import errno
import os

import requests

from watcher.errors import ProbeError
from watcher.models import Reason

_OWN_SHORTAGE = {
    errno.EMFILE: "no free file descriptor (raise the limit on open files)",
    errno.ENFILE: "no free file descriptor in the system",
    errno.EADDRNOTAVAIL: "no free local port for this destination",
    errno.ENOBUFS: "no buffer space for a socket",
    errno.ENOMEM: "no memory for a socket",
    errno.EACCES: "this machine's firewall forbids the connection",
    errno.EPERM: "this machine's firewall forbids the connection",
}

_OWN_NETWORK = {
    errno.ENETDOWN: "this machine's network is down",
    errno.ENETUNREACH: "this machine has no route there (no network, or none of that address family)",
}

# what the kernel makes of ICMP errors; the same numbers are its own when connect(2) gives them at once
_SAID_BY_ROUTERS = {
    errno.ENETUNREACH: "network unreachable",
    errno.EACCES: "forbidden on the way there",
}

_PEER_CLOSED = {errno.ECONNRESET: "connection reset", errno.EPIPE: "connection closed while the request was sent"}


def answered(code: int) -> ProbeError:
    """Give the failure that the errno of a connection under way stands for: what a router or the peer said."""
    if code in _SAID_BY_ROUTERS:
        return ProbeError(Reason.CONNECT, _SAID_BY_ROUTERS[code])
    return connecting(code)


def connecting(code: int) -> ProbeError:
    """Give the failure that an errno of socket(2) or connect(2) stands for."""
    if code in _OWN_SHORTAGE:
        return ProbeError(Reason.OVERLOAD, _OWN_SHORTAGE[code])
    if code in _OWN_NETWORK:
        return ProbeError(Reason.AGENT_NETWORK, _OWN_NETWORK[code])
    if code == errno.ETIMEDOUT:
        return ProbeError(Reason.TIMEOUT, "timeout in connect (the system gave up)")
    if code in _PEER_CLOSED:  # it had accepted: the reset came before we could look
        return ProbeError(Reason.CLOSED, f"{_PEER_CLOSED[code]} in connect")
    return ProbeError(Reason.CONNECT, os.strerror(code).lower())


def connected(code: int, phase: str) -> ProbeError:
    """Give the failure that an errno of a connected socket stands for, in a phase of the check."""
    if code in _PEER_CLOSED:
        return ProbeError(Reason.CLOSED, f"{_PEER_CLOSED[code]} in {phase}")
    if code == errno.ETIMEDOUT:
        return ProbeError(Reason.TIMEOUT, f"timeout in {phase} (the peer stopped answering)")
    if code in _OWN_SHORTAGE:
        return ProbeError(Reason.OVERLOAD, _OWN_SHORTAGE[code])
    return ProbeError(Reason.CLOSED, f"{os.strerror(code).lower()} in {phase}")


def of_requests(error: requests.RequestException) -> ProbeError:
    """Give the failure that an exception of `requests` stands for."""
    for kind, reason in _OF_REQUESTS:
        if isinstance(error, kind):
            return ProbeError(reason, _one_line(error))
    return ProbeError(Reason.PROTOCOL, _one_line(error))


_OF_REQUESTS = (
    (requests.exceptions.TooManyRedirects, Reason.REDIRECT),
    (requests.exceptions.InvalidSchema, Reason.REDIRECT),  # the endpoint's own scheme was looked at before
    (requests.exceptions.InvalidURL, Reason.REDIRECT),
    (requests.exceptions.MissingSchema, Reason.REDIRECT),
    (requests.exceptions.SSLError, Reason.TLS),
    (requests.exceptions.Timeout, Reason.TIMEOUT),
    (requests.exceptions.ChunkedEncodingError, Reason.CLOSED),
    (requests.exceptions.ConnectionError, Reason.CONNECT),
)


def beneath(error: BaseException) -> str:
    """Say what lies beneath an exception of `requests`, whose own words may hold secrets of the URL and the headers."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, TimeoutError):
        return "no answer in time"
    is_systems = isinstance(error, OSError) and not isinstance(error, requests.RequestException)
    words = str(error) if is_systems or isinstance(error, requests.TooManyRedirects) else ""
    return getattr(error, "strerror", None) or words or type(error).__name__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
