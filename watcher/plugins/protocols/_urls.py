"""Which URLs and options belong to a protocol."""

from __future__ import annotations

from collections.abc import Collection, Container
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


def refuse_elsewhere(key: str, endpoint: Endpoint, schemes: Collection[str]) -> None:
    """Refuse a protocol's option on a URL of another scheme, where it would silently check nothing.

    Raises:
        ValueError: it is there.
    """
    scheme = endpoint.url.partition(":")[0].lower()
    if key in endpoint.options and scheme not in schemes:
        own = " and ".join(f"{one}://" for one in schemes)
        raise ValueError(f'"{key}" is for {own}, not for {scheme}://; take it out')
