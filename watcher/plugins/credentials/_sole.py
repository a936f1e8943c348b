"""One credential an endpoint: of two that write the field Authorization one would be lost without a word."""

from __future__ import annotations

from typing import Any

from watcher import Endpoint
from watcher.plugins.request._scope import for_request

WRITERS = ("basic_auth", "digest_auth", "bearer", "oauth2", "aws_sigv4")  # `auth` may write another field


def sole(endpoint: Endpoint, key: str) -> Any:
    """Give the credential of an endpoint, None where it is not given.

    Raises:
        ValueError: it is given, and there is another one, or no request that it could go with.
    """
    given = for_request(endpoint, key)
    if given is None:
        return None
    others = [other for other in WRITERS if other in endpoint.options and other != key]
    if others:
        raise ValueError(f'"{key}" and "{others[0]}" both write the header field Authorization; keep one of them')
    return given
