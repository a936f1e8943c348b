"""Endpoints from files in Prometheus' file_sd format (JSON), looked at again and again: `[[plugins.file_sd]]`.

    [[plugins.file_sd]]
    files = ["targets/*.json"]
    url = "https://{target}/health"
    endpoint = { interval = 30, status = "2xx" }
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from watcher import Discovery, Duration, Failure, Options, hookimpl
from watcher.plugins.discovery._targets import MAGIC, Group, fields, matching, read
from watcher.plugins.discovery._template import Template, check_endpoint, discoveries

INTERVAL_MIN_S = 1.0


class FileSd(Options):
    """Files and what to make of each target in them.

    `files`: paths that end in `.json`, relative to the configuration file; the last part may be a pattern such as
    `*.json`. `interval`: how often they are read. `url` and `name`: templates with `{target}`, `{host}`, `{port}`,
    `{scheme}`, `{path}`, `{query}` and the target's labels; `name` with `{url}` too. `endpoint`: all other keys of the
    endpoints, as `[[endpoints]]` has them.
    """

    files: list[Path]
    interval: Duration = Duration(30)
    url: str | None = None
    name: str = "file_sd {url}"
    endpoint: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError('files is empty; name one, such as "targets/*.json"')
        for path in self.files:
            if path.suffix != ".json":
                raise ValueError(f"{path} does not end in .json, the one format that is read")
            if MAGIC.search(str(path.parent)) and not path.parent.exists():
                raise ValueError(f"{path} has a pattern in a directory; only the last part may be one")
        if self.interval < INTERVAL_MIN_S:
            raise ValueError(f"interval {self.interval:g} s is too short; {INTERVAL_MIN_S:g} s is the least")
        check_endpoint(self.endpoint)


@hookimpl
def watcher_settings() -> Any:
    """Have tables `[[plugins.file_sd]]`."""
    return list[FileSd]


@hookimpl
def watcher_endpoints(settings: Any) -> list[Discovery] | None:
    """Look at the files of each table on its own."""
    return discoveries(settings, "file_sd", lambda part, written: partial(find, part, written))


def find(part: FileSd, written: Mapping[str, Any]) -> Iterator[dict[str, Any] | Failure]:
    """Give a table for each target in the files, and a failure for each file or target that cannot be used."""
    template = Template(written, part.name, "{scheme}://{target}{path}{query}")
    for pattern in part.files:
        try:
            paths = matching(pattern)
        except OSError as error:
            yield Failure(f"{pattern.parent}: {error.strerror}")
            continue
        for path in paths:
            try:
                groups = read(path)
            except ValueError as error:
                yield Failure(f"{path}: {error}")
                continue
            for group in groups:
                yield from _tables(path, group, part, template)


def _tables(path: Path, group: Group, part: FileSd, template: Template) -> Iterator[dict[str, Any] | Failure]:
    labels = {key: value for key, value in group.labels.items() if not key.startswith("__")}
    for target in group.targets:
        try:
            found = fields(target, group.labels)
            url = target if part.url is None and "://" in target else None
            yield template.table({**group.labels, **found}, labels, url)
        except ValueError as error:
            yield Failure(f"{path}: target {target!r} {error}")
