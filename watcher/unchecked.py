"""Log lines about endpoints that cannot be checked as they are: `missed` at each check, and nobody would look."""

from __future__ import annotations

import time
from collections.abc import Callable

from watcher.models import Reason, Result
from watcher.screen import figures

LINES_MOST = 10  # in a minute
MINUTE_S = 60.0
OWN = frozenset({Reason.CONFIG, Reason.CREDENTIALS, Reason.PLUGIN, Reason.REGEX_TIMEOUT})  # others pass by themselves


class Unchecked:
    """Says so, a line an endpoint; beyond LINES_MOST a minute only how many there were.

    Args:
        say: told each line.
        now: a monotonic clock.
    """

    def __init__(self, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._now = now
        self._since = -MINUTE_S
        self._lines = self._more = 0

    def note(self, result: Result) -> None:
        """Take the first result of an endpoint with this reason."""
        if result.reason not in OWN:
            return
        self.tend()
        if self._lines >= LINES_MOST:
            self._more += 1
            return
        if not self._lines:
            self._since = self._now()
        self._lines += 1
        name, why = figures.name(result.endpoint.name), figures.cause(result.reason.value, result.detail)
        self._say(f'endpoint "{name}" is not checked: {why}')

    def tend(self) -> None:
        """Say of a minute that is over how many more there were; to be called each second."""
        if self._now() - self._since < MINUTE_S:
            return
        if self._more:
            self._say(f"{figures.counted(self._more, 'more endpoint')} could not be checked; their rows say why")
        self._lines = self._more = 0
