"""Results and incidents on their way to plugins: off the way of the checks, bounded, every drop counted.

Each output has its own queue and greenlet: one that is slow, or dead, holds up neither the checks nor another output.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import pluggy
from gevent.event import Event

from watcher.breath import next_turn
from watcher.config import Settings
from watcher.ledger import BREAKS, Overrun
from watcher.models import Incident, Result

RESULTS_MAX = 50_000  # that wait for one output: 25 MB, however many outputs wait for the same ones
INCIDENTS_MAX = 1_000
COMPLAIN_S = 60.0
FLUSH_MIN_S = 0.1
MAKE_S = 10.0  # until an output is there

Failed = Callable[[str, BaseException], None]


class Outlets:
    """Calls `watcher_results`, `watcher_incident` and what `watcher_output` gives.

    Args:
        plugins: each is asked for its output now.
        settings: what the outputs are configured by.
        failed: told of each exception that a plugin let out, with the plugin's name.
    """

    def __init__(self, plugins: pluggy.PluginManager, settings: Settings, failed: Failed) -> None:
        hook = plugins.hook
        made = _made(hook.watcher_output.get_hookimpls(), settings, failed)
        plain = [(one.plugin_name, _called(one)) for one in hook.watcher_results.get_hookimpls()]
        told = [(one.plugin_name, _called(one)) for one in hook.watcher_incident.get_hookimpls()]
        self._results = [*(Outlet(name, sink, RESULTS_MAX, failed) for name, sink in plain), *made]
        self._incidents = [Outlet(name, sink, INCIDENTS_MAX, failed) for name, sink in told]
        self._greenlets: list[gevent.Greenlet] = []
        self._complained: dict[str, tuple[float, int]] = {}

    def start(self, spawn: Callable[..., gevent.Greenlet] = gevent.spawn) -> None:
        """Begin to serve the plugins, each in a greenlet of its own."""
        self._greenlets = [spawn(outlet.run) for outlet in (*self._results, *self._incidents)]

    def results(self, batch: Sequence[Result]) -> None:
        """Pass a batch on, to those plugins that want results."""
        for outlet in self._results:
            outlet.put(batch, len(batch))

    def incident(self, incident: Incident) -> None:
        """Pass an incident on, to those plugins that want incidents."""
        for outlet in self._incidents:
            outlet.put(incident, 1)

    def close(self, timeout_s: float) -> None:
        """Hand over what waits, close the outputs and end; what is not handed over by then is dropped."""
        outlets = (*self._results, *self._incidents)
        for outlet in outlets:
            outlet.end()
        gevent.joinall(self._greenlets, timeout=timeout_s)
        gevent.killall(self._greenlets, block=False)
        for outlet in outlets:
            outlet.abandon()

    def dropped(self) -> dict[str, int]:
        """Give how many results and incidents each output did not get, by its plugin; those that miss none are absent.

        Counted since the start: what had no room in its queue, and what a call that failed was given.
        """
        return dict(sum((Counter({one.name: one.dropped}) for one in (*self._results, *self._incidents)), Counter()))

    def complaints(self, now_s: float, again_s: float = COMPLAIN_S) -> Iterator[str]:
        """Give a line for each output that dropped more since its last line, which was `again_s` ago or more."""
        for name, count in self.dropped().items():
            said_at, told = self._complained.get(name, (now_s - again_s, 0))
            if count > told and now_s - said_at >= again_s:
                self._complained[name] = now_s, count
                yield f"output {name} does not keep up or fails: {count - told:,} dropped, {count:,} since the start"


class Outlet:
    """One output: its queue, and who hands over.

    Args:
        name: of its plugin.
        sink: what is called with each item; may have `close()`, and `flush()` to be called every `every_s` seconds.
        limit: what may wait, by weight; when there is more, the oldest go.
        failed: told of each exception that the sink let out.
    """

    def __init__(self, name: str, sink: Callable[[Any], None], limit: int, failed: Failed) -> None:
        self.name = name
        self.dropped = 0
        self._sink = sink
        self._limit = limit
        self._failed = failed
        self._waiting: deque[tuple[Any, int]] = deque()
        self._weight = 0  # of what waits
        self._under_way = 0  # weight of what the sink has been given and is not through with
        self._woken = Event()
        self._ending = False
        self._flush = getattr(sink, "flush", None)
        self._every_s = max(FLUSH_MIN_S, float(getattr(sink, "every_s", 1.0))) if self._flush else None
        self._flush_at_s = time.monotonic() + (self._every_s or 0.0)

    def put(self, item: Any, weight: int) -> None:
        """Take an item; one alone always has room."""
        self._waiting.append((item, weight))
        self._weight += weight
        while self._weight > self._limit and len(self._waiting) > 1:
            self.dropped += self._take()[1]
        self._woken.set()

    def run(self) -> None:
        """Serve the sink until the end; to be run in a greenlet."""
        while True:
            self._woken.wait(self._every_s and max(0.0, self._flush_at_s - time.monotonic()))
            self._woken.clear()
            while self._waiting:
                self._hand_over(*self._take())
                self._flush_if_due()
            self._flush_if_due()
            if self._ending:
                break
        self._call(getattr(self._sink, "close", None) or (lambda: None))

    def end(self) -> None:
        """Have `run` close the sink once nothing waits any more."""
        self._ending = True
        self._woken.set()

    def abandon(self) -> None:
        """Drop what still waits, and what is not through."""
        self.dropped += self._weight + self._under_way
        self._weight = self._under_way = 0
        self._waiting.clear()

    def _take(self) -> tuple[Any, int]:
        item, weight = self._waiting.popleft()
        self._weight -= weight
        return item, weight

    def _hand_over(self, item: Any, weight: int) -> None:
        self._under_way = weight
        done = self._call(self._sink, item)
        self._under_way = 0
        self.dropped += 0 if done else weight
        next_turn()

    def _flush_if_due(self) -> None:
        if self._flush and self._every_s and time.monotonic() >= self._flush_at_s:
            self._call(self._flush)
            self._flush_at_s = time.monotonic() + self._every_s

    def _call(self, function: Callable[..., Any], *arguments: Any) -> bool:
        try:
            function(*arguments)
            return True
        except BREAKS as error:  # the boundary around plugins
            self._failed(self.name, error)
            return False


def _called(implementation: pluggy.HookImpl) -> Callable[[Any], None]:
    """Give a hook's implementation as a function of what it is told, which it may have left out of its arguments."""
    function = implementation.function
    return function if implementation.argnames else lambda _: function()


def _made(
    implementations: Sequence[pluggy.HookImpl], settings: Settings, failed: Failed
) -> Iterator[Outlet]:
    """Give the outputs that plugins have under these settings; one that is not there in time is left out."""
    for one in implementations:
        try:
            with gevent.Timeout(MAKE_S, Overrun(f"watcher_output gave no output in {MAKE_S:g} s")):
                sink = one.function(*([settings] if one.argnames else []))
            if sink is not None and not callable(sink):
                raise TypeError(f"watcher_output gives nothing that can be called, but {sink!r}")
            if sink is not None:
                yield Outlet(one.plugin_name, sink, RESULTS_MAX, failed)
        except BREAKS as error:  # the boundary around plugins
            failed(one.plugin_name, error)
