"""Exports totals to an HTTP receiver at intervals, for outputs that are pushed so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from watcher import Result, Secret
from watcher.breath import next_turn
from watcher.config.urls import http_parts
from watcher.plugins.outputs._series import Grouping, Series, SeriesTable
from watcher.plugins.request import headers as fields

SLICE_ROWS = 250  # counted between two pauses, as are SLICE_SERIES encoded: the checks come first
SLICE_SERIES = 50  # in one request
SHOWN = 200  # characters of what a receiver says


class Receiver(Grouping, kw_only=True):
    """Where to export to."""

    url: str
    headers: dict[str, Secret] = {}
    ca: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)
        fields.check(self.headers)
        if self.ca is not None and not self.ca.is_file():
            raise ValueError(f"ca: there is no file {self.ca}")
        for module, (package, extra) in self.needs().items():
            if not _is_there(module):
                raise ValueError(f"needs the package {package}; in a checkout of watcher: pip install '.[{extra}]'")

    @staticmethod
    def needs() -> Mapping[str, tuple[str, str]]:
        """Give each module that must be there, with its package and the extra that brings it."""
        return {}


def check_url(url: str) -> None:
    """Refuse what cannot be asked, or would show a password.

    Raises:
        ValueError: with the remedy.
    """
    parts = http_parts(url)
    if parts is None:
        raise ValueError('url is no URL such as "https://collector.example/path"')
    if "@" in parts.netloc:
        raise ValueError("url holds a user or password, which would be shown; give Authorization among headers")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it would be in
        return False


def instance(settings: Any) -> str:
    """Name this worker among all that export: its series are its own."""
    return f"{os.uname().nodename}/{settings.agent.variant}/{settings.worker}"


class Exporter:
    """An output that adds results up, and exports the totals every `every_s` seconds.

    What could not be exported is not lost: the next export has the totals too.

    Args:
        receiver: where to.
        headers: of each request.
        encode: gives the body for some of the series.
        judge: raises when what the receiver says, with a status of success, is none.
    """

    def __init__(
        self,
        receiver: Receiver,
        headers: Mapping[str, str],
        encode: Callable[[Sequence[Series]], bytes],
        judge: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        import requests

        from watcher import __version__

        self.every_s = receiver.interval
        self._receiver = receiver
        self._encode = encode
        self._judge = judge
        self._table = SeriesTable(receiver)
        self._session = requests.Session()
        given = {name: str.__str__(value) for name, value in receiver.headers.items()}
        self._session.headers.update({"User-Agent": f"watcher/{__version__}", **headers, **given})
        self._session.auth = lambda request: request  # else a ~/.netrc would replace the header that is given
        self._session.verify = str(receiver.ca) if receiver.ca else True

    def __call__(self, results: Sequence[Result]) -> None:
        for first in range(0, len(results), SLICE_ROWS):
            self._table.add(results[first : first + SLICE_ROWS])
            next_turn()

    def flush(self) -> None:
        """Export all totals.

        Raises:
            OSError: the receiver did not take them in time, or refused them.
        """
        import gevent

        limit_s = self._receiver.timeout
        late = TimeoutError(f"{urlsplit(self._receiver.url).hostname} did not take all within {limit_s:g} s")
        with gevent.Timeout(limit_s, late):
            for some in _slices(self._table.series()):
                self._post(self._encode(some))
                next_turn()

    def close(self) -> None:
        """Export once more, and end."""
        try:
            self.flush()
        finally:
            self._session.close()

    def _post(self, body: bytes) -> None:
        import requests

        from watcher.transport.failures import beneath

        limit_s = self._receiver.timeout
        try:
            answer = self._session.post(self._receiver.url, data=body, timeout=limit_s, allow_redirects=False)
        except requests.RequestException as error:
            raise OSError(f"{urlsplit(self._receiver.url).hostname}: {beneath(error)}") from error
        if not 200 <= answer.status_code < 300:
            said = " ".join(answer.content[:SHOWN].decode(errors="replace").split())
            raise OSError(f"{urlsplit(self._receiver.url).hostname} answered {answer.status_code}: {said}")
        self._judge(answer.content)


def _slices(series: Iterator[Series]) -> Iterator[list[Series]]:
    while some := list(islice(series, SLICE_SERIES)):
        yield some
