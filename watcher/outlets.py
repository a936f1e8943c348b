"""Results and incidents on their way to plugins: off the way of the checks, bounded, every drop counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
import pluggy
from gevent.event import Event

from watcher.models import Incident, Result

WAITING_MAX = 1000  # batches or incidents


class Outlets:
    """Calls `watcher_results` and `watcher_incident`, one after the other, in a greenlet of its own.

    Args:
        failed: told of each exception that a plugin let out, with the plugin's name.
    """

    def __init__(self, plugins: pluggy.PluginManager, failed: Callable[[str, BaseException], None]) -> None:
        self.dropped = 0
        self._failed = failed
        self._results = plugins.hook.watcher_results.get_hookimpls()
        self._incidents = plugins.hook.watcher_incident.get_hookimpls()
        self._waiting: deque[tuple[str, Any]] = deque()
        self._woken = Event()

    def results(self, batch: list[Result]) -> None:
        """Pass a batch on, when a plugin wants it."""
        if self._results:
            self._pass_on("results", batch)

    def incident(self, incident: Incident) -> None:
        """Pass an incident on, when a plugin wants it."""
        if self._incidents:
            self._pass_on("incident", incident)

    def _pass_on(self, kind: str, value: Any) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
            self._failed(f"(watcher_{kind})", RuntimeError(f"{WAITING_MAX} wait already; {self.dropped} were dropped"))
            return
        self._waiting.append((kind, value))
        self._woken.set()

    def run(self) -> None:
        """Serve the plugins for ever; to be run in a greenlet."""
        while True:
            self._woken.wait()
            self._woken.clear()
            self.flush()

    def flush(self) -> None:
        """Hand over all that waits."""
        while self._waiting:
            kind, value = self._waiting.popleft()
            for implementation in self._results if kind == "results" else self._incidents:
                try:
                    implementation.function(*([value] if implementation.argnames else []))
                except (Exception, gevent.Timeout) as error:  # pylint: disable=broad-exception-caught  # the boundary around plugins
                    self._failed(implementation.plugin_name, error)
                gevent.sleep(0)
