"""For which endpoints what concerns the request can mean something; elsewhere it is an error, not a silent nothing."""

from __future__ import annotations

from typing import Any

from watcher import Endpoint

# others send one, or are not known here
WITHOUT_REQUEST = frozenset(
    {
        "tcp", "tls", "dns", "icmp", "smtp", "smtps", "imap", "imaps", "pop3", "pop3s",
        "postgres", "postgresql", "redis", "rediss",
    }
)  # fmt: skip


def for_request(endpoint: Endpoint, key: str) -> Any:
    """Give the option of an endpoint whose checks send a request with a header, None where it is not given.

    Raises:
        ValueError: it is given, and there is no such request.
    """
    given = endpoint.options.get(key)
    scheme = endpoint.url.partition(":")[0].lower()
    if given is not None and scheme in WITHOUT_REQUEST:
        raise ValueError(f'"{key}" is for HTTP requests, and {scheme}:// sends none; take it out')
    return given
