"""The options `final_url` and `redirects`: where redirects lead, and how many there are."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import requests
from msgspec import Meta

from watcher import Endpoint, Failure, Match, Options, Reason, hookimpl
from watcher.match import shown
from watcher.plugins.assertions._scope import for_response
from watcher.several import several


class Redirects(Options):
    """`redirects = 1`, or `redirects = { min = 1, max = 2 }`; a number alone stands for `exactly`."""

    __brief__: ClassVar[str] = "exactly"

    exactly: int | None = None
    """So many, no more and no fewer."""
    min: int | None = None
    """The fewest that are good."""
    max: int | None = None
    """The most."""

    def __post_init__(self) -> None:
        if (self.exactly is None) is (self.min is None and self.max is None):
            raise ValueError("give exactly, or min, max or both")
        if self.low < 0 or (self.high is not None and self.high < self.low):
            raise ValueError("give numbers of at least 0, max no less than min")

    @property
    def low(self) -> int:
        """The fewest that are good."""
        return self.exactly if self.exactly is not None else self.min or 0

    @property
    def high(self) -> int | None:
        """The most that are good."""
        return self.exactly if self.exactly is not None else self.max

    def __str__(self) -> str:
        if self.low == self.high:
            return str(self.low)
        bounds = [f"at least {self.low}"] * (self.min is not None) + [f"at most {self.high}"] * (self.high is not None)
        return " and ".join(bounds)


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the keys `final_url` and `redirects`."""
    wish = Meta(description="What the URL must be like that redirects lead to; of several wishes each.")
    return {"final_url": Annotated[Match | list[Match], wish, several], "redirects": Redirects}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Callable[[requests.Response], Failure | None] | None:
    """Judge where the checks of an endpoint that has one of the options end."""
    url, count = (for_response(endpoint, key) for key in ("final_url", "redirects"))
    if url is None and count is None:
        return None
    most = 0 if endpoint.options.get("follow_redirects") is False else endpoint.options.get("max_redirects", 10)
    if not most:
        raise ValueError("final_url and redirects need redirects that are followed; judge response_headers.Location")
    if count is not None and count.low > most:
        raise ValueError(f"redirects: no more than max_redirects = {most} are followed; raise it or want fewer")
    return examiner(url or (), count)


@lru_cache(maxsize=1024)
def examiner(urls: tuple[Match, ...], count: Redirects | None) -> Callable[[requests.Response], Failure | None]:
    """Make the step, one for all endpoints that want the same."""

    def examine(response: requests.Response) -> Failure | None:
        for url in urls:
            if not url.holds(response.url):
                return Failure(f"final URL is {place(response.url)}, wanted {url}", Reason.REDIRECT)
        if count is not None:
            found = len(response.history)
            if found < count.low or (count.high is not None and found > count.high):
                return Failure(f"{found} redirect{'s' * (found != 1)}, wanted {count}", Reason.REDIRECT)
        return None

    return examine


def place(url: str) -> str:
    """Give a URL as it may be stored: without a query, which may hold what is secret, and without a password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return shown(f"{parts.scheme}://{host}{parts.path}" + "?…" * bool(parts.query))
