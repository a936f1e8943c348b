"""Outlets: plugins get batches and incidents, one that breaks harms no other, and a slow one is bounded."""

from __future__ import annotations

import gevent
import pluggy

from watcher import Endpoint, Incident, Result, Status, hookimpl, hookspecs
from watcher.outlets import WAITING_MAX, Outlets

RESULT = Result(Endpoint(name="x", url="http://x/"), 1, Status.DOWN)
INCIDENT = Incident(RESULT.endpoint, Status.UP, RESULT)


class Sink:
    """A plugin that takes what it gets."""

    def __init__(self, error: Exception | None = None) -> None:
        self.got: list[object] = []
        self.error = error

    @hookimpl
    def watcher_results(self, results) -> None:
        """Take a batch."""
        self.take(results)

    @hookimpl
    def watcher_incident(self, incident) -> None:
        """Take an incident."""
        self.take(incident)

    def take(self, what: object) -> None:
        """Keep it, or break."""
        self.got.append(what)
        if self.error:
            raise self.error


def outlets(*plugins: object) -> tuple[Outlets, list[tuple[str, str]]]:
    """Make outlets for these plugins, and the list of their failures."""
    manager = pluggy.PluginManager("watcher")
    manager.add_hookspecs(hookspecs)
    for number, plugin in enumerate(plugins):
        manager.register(plugin, f"plugin{number}")
    failures: list[tuple[str, str]] = []
    return Outlets(manager, lambda name, error: failures.append((name, str(error)))), failures


def test_every_plugin_gets_everything_though_another_breaks() -> None:
    breaks, works = Sink(RuntimeError("boom")), Sink()
    made, failures = outlets(works, breaks)
    running = gevent.spawn(made.run)
    made.results([RESULT])
    made.incident(INCIDENT)
    with gevent.Timeout(10):
        while len(failures) < 2 or len(works.got) < 2:
            gevent.sleep(0)
    running.kill()
    assert works.got == breaks.got == [[RESULT], INCIDENT]
    assert failures == [("plugin1", "boom"), ("plugin1", "boom")]


def test_what_nobody_fetches_is_bounded_and_counted() -> None:
    made, _ = outlets(Sink())
    for _ in range(WAITING_MAX + 7):
        made.results([RESULT])
    assert made.dropped == 7


def test_nothing_waits_for_plugins_that_are_not_there() -> None:
    made, _ = outlets()
    for _ in range(WAITING_MAX + 7):
        made.results([RESULT])
    assert made.dropped == 0
