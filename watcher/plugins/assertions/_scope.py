"""For which endpoints an assertion can mean something: one that can never apply is an error, not a silent nothing."""

from __future__ import annotations

from typing import Any

from watcher import Endpoint

WITH_RESPONSE = ("http", "https")
NEVER_TLS = ("http", "ws", "grpc", "redis", "udp", "icmp")  # others may go over to it, or are not known here


def for_response(endpoint: Endpoint, key: str, *, of_body: bool = False) -> Any:
    """Give the option of an endpoint whose checks have an HTTP response, None where it is not given.

    Raises:
        ValueError: it is given, and there is no response, or no body, that it could judge.
    """
    given = endpoint.options.get(key)
    if given is None:
        return None
    if scheme(endpoint) not in WITH_RESPONSE:
        raise ValueError(f'"{key}" judges an HTTP response, and {scheme(endpoint)}:// has none; take it out')
    if of_body and endpoint.options.get("method") == "HEAD":
        raise ValueError(f'"{key}" judges the body, and the answer to HEAD has none; use another method or take it out')
    return given


def for_tls(endpoint: Endpoint, key: str) -> Any:
    """Give the option of an endpoint whose checks may have a TLS peer, None where it is not given.

    Raises:
        ValueError: it is given, and there is no TLS.
    """
    given = endpoint.options.get(key)
    if given is None:
        return None
    if scheme(endpoint) in NEVER_TLS:
        raise ValueError(f'"{key}" judges the TLS handshake, and {scheme(endpoint)}:// has none; take it out')
    return given


def scheme(endpoint: Endpoint) -> str:
    """Give the scheme of an endpoint's URL."""
    return endpoint.url.partition(":")[0].lower()
