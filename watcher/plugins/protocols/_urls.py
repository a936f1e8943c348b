"""The URLs of protocols whose credentials, if any, are options."""

from __future__ import annotations

from collections.abc import Container
from urllib.parse import SplitResult, urlsplit

from watcher import Endpoint


def parts_of(endpoint: Endpoint, schemes: Container[str], instead: str) -> SplitResult | None:
    """Give the parts of an endpoint's URL, or None when its scheme is not among these.

    Raises:
        ValueError: it holds a user or password; `instead` says what to do. The URL itself is not in the text.
    """
    if endpoint.url.partition(":")[0].lower() not in schemes:
        return None
    parts = urlsplit(endpoint.url)
    if "@" in parts.netloc:
        raise ValueError(f"the URL holds a user or password, which would be shown wherever it is; {instead}")
    return parts
