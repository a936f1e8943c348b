"""The pages that a site's sitemap names (sitemaps.org), looked at again and again: `[[plugins.sitemap]]`.

    [[plugins.sitemap]]
    url = "https://www.example.com/sitemap.xml"
    exclude = ["*/archive/*"]
    endpoint = { interval = "5m", timeout = 10 }
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from watcher import Discovery, Duration, Failure, Options, hookimpl
from watcher.plugins.discovery._sitemaps import split, walk
from watcher.plugins.discovery._template import Template, check_endpoint, check_fields, discoveries

INTERVAL_MIN_S = 10.0
FIELDS = ("host", "path")


class Sitemap(Options):
    """A sitemap, or an index of sitemaps, as XML or gzip of it.

    `url`: where it is. `include`, `exclude`: patterns of URLs, `*` for anything; a page must match one of the first,
    if there are any, and none of the second. `hosts`: those of the pages, by default the one of `url`. `limit`: the
    most pages; if there are more nothing changes. `timeout`: for all of it. `ca`: certificates to trust in place of the
    public ones. `name`: a template with `{url}`, `{host}`, `{path}`. `endpoint`: all other keys of the endpoints.
    """

    url: str
    interval: Duration = Duration(3600)
    timeout: Duration = Duration(30)
    include: list[str] = []
    exclude: list[str] = []
    hosts: list[str] = []
    limit: int = 1000
    ca: Path | None = None
    name: str = "sitemap {url}"
    endpoint: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if split(self.url) is None:
            raise ValueError(f'url {self.url!r} is not such as "https://www.example.com/sitemap.xml"')
        if self.interval < INTERVAL_MIN_S:
            raise ValueError(f"interval {self.interval:g} s is too short; {INTERVAL_MIN_S:g} s is the least")
        if self.timeout <= 0 or self.limit < 1:
            raise ValueError("timeout and limit must be more than 0")
        check_fields("name", self.name, (*FIELDS, "url"))
        check_endpoint(self.endpoint)


@hookimpl
def watcher_settings() -> Any:
    """Have tables `[[plugins.sitemap]]`."""
    return list[Sitemap]


@hookimpl
def watcher_endpoints(settings: Any) -> list[Discovery] | None:
    """Look at each sitemap on its own."""
    return discoveries(settings, "sitemap", lambda part, written: partial(find, part, written))


def find(part: Sitemap, written: Mapping[str, Any]) -> Iterator[dict[str, Any] | Failure]:
    """Give a table for each page, and a failure for each sitemap of an index that cannot be read.

    Raises:
        ValueError: nothing is known of the pages, or there are too many.
    """
    template = Template(written, part.name, part.url)
    pages: dict[str, SplitResult] = {}
    hosts, named = _hosts(part), 0
    for entry in walk(part.url, hosts, part.timeout, part.ca):
        if isinstance(entry, Failure):
            yield entry
            continue
        named += 1
        page = _page(entry, part, hosts)
        if page is not None:
            pages[entry] = page
        if len(pages) > part.limit:
            raise ValueError(f"{part.url} names more than {part.limit:,} pages; narrow it by include, or raise limit")
    if named and not pages and not part.include and not part.exclude:
        raise ValueError(f'{part.url} names {named:,} pages, none on {", ".join(hosts)}; add hosts = ["…"] with theirs')
    for url, parts in pages.items():
        yield template.table({"host": parts.hostname or "", "path": parts.path}, url=url)


def _hosts(part: Sitemap) -> list[str]:
    return [host.lower() for host in part.hosts] or [urlsplit(part.url).hostname or ""]


def _page(url: str, part: Sitemap, hosts: list[str]) -> SplitResult | None:
    """Give the parts of a URL that is on the right host and wanted by the patterns."""
    parts = split(url)
    if parts is None or parts.hostname not in hosts:
        return None
    wanted = not part.include or any(fnmatchcase(url, pattern) for pattern in part.include)
    return parts if wanted and not any(fnmatchcase(url, pattern) for pattern in part.exclude) else None
