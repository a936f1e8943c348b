"""All that a sitemap names, and the sitemaps of an index: read over HTTP, bounded in number, depth, bytes and time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import SplitResult

import requests

from watcher import Failure
from watcher.config.urls import http_parts
from watcher.plugins.discovery._entries import Entries
from watcher.plugins.discovery._timely import Timely
from watcher.transport.failures import beneath

LEVELS_MOST = 3  # an index, an index in it, sitemaps in that; sitemaps.org has two
SITEMAPS_MOST = 1000
REDIRECTS_MOST = 5
CHUNK_BYTES = 16_384


def split(url: str) -> SplitResult | None:
    """Give the parts of an http or https URL without user and password, None of what is none."""
    parts = http_parts(url)
    return parts if parts and "@" not in parts.netloc else None


def walk(first: str, hosts: Sequence[str], timeout_s: float, ca: Path | None = None) -> Iterator[str | Failure]:
    """Give what the sitemaps name in their order, and a failure for each but the first that cannot be read.

    Args:
        first: the URL of a sitemap or an index.
        hosts: where the sitemaps that an index names may be: an agent must not be sent where others cannot go.
        timeout_s: for all of it.
        ca: the certificates to trust in place of the public ones.

    Raises:
        ValueError: the first cannot be read.
    """
    deadline = time.monotonic() + timeout_s
    waiting, seen = deque([(first, 1)]), {first}
    with requests.Session() as session, Timely(timeout_s) as adapter:
        session.max_redirects = REDIRECTS_MOST
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        while waiting:
            url, level = waiting.popleft()
            try:
                entries = read(session, url, deadline, ca)
                found = [location for location in dict.fromkeys(entries.locations) if location not in seen]
                if entries.is_index:
                    _check(found, hosts, level, len(seen))
            except ValueError as error:
                if level == 1:
                    raise ValueError(f"{url} {error}") from error
                yield Failure(f"{url} {error}")
                continue
            if entries.is_index:
                seen.update(found)
                waiting.extend((location, level + 1) for location in found)
            else:
                yield from entries.locations


def _check(found: Sequence[str], hosts: Sequence[str], level: int, count: int) -> None:
    """Refuse an index that leads too far.

    Raises:
        ValueError: it is too deep, too long, or names sitemaps on other hosts.
    """
    if level >= LEVELS_MOST:
        raise ValueError(f"is an index within {level - 1} others; {LEVELS_MOST} levels are the most")
    if count + len(found) > SITEMAPS_MOST + 1:
        raise ValueError(f"leads to more than {SITEMAPS_MOST:,} sitemaps")
    for location in found:
        parts = split(location)
        if parts is None or parts.hostname not in hosts:
            raise ValueError(f"names the sitemap {location}, which is not on {', '.join(hosts)}; see the key hosts")


def read(session: requests.Session, url: str, deadline: float, ca: Path | None = None) -> Entries:
    """Read one sitemap.

    Raises:
        ValueError: in words why not.
    """
    entries, left_s = Entries(), deadline - time.monotonic()
    if left_s <= 0:
        raise ValueError("was not read: the time was over; raise timeout")
    verify = str(ca) if ca else True  # not of the session: there REQUESTS_CA_BUNDLE would win
    try:
        with session.get(url, stream=True, timeout=left_s, verify=verify) as response:
            if response.status_code != 200:
                raise ValueError(f"answers {response.status_code} {response.reason}")
            for chunk in response.iter_content(CHUNK_BYTES):
                entries.feed(chunk)
                if time.monotonic() > deadline:
                    break
    except OSError as error:  # all of requests' are, and so is a `ca` that is not there
        if time.monotonic() < deadline:
            raise ValueError(f"cannot be read: {beneath(error)}") from error
    if time.monotonic() >= deadline:
        raise ValueError("was not read to its end in time; raise timeout")
    entries.close()
    return entries
