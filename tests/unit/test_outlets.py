"""Outlets: every output gets its part in its own time; one that breaks or hangs harms no other, and is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import plugged
import pytest
from gevent.event import Event

import watcher.outlets
from watcher import Endpoint, Incident, Result, Status, hookimpl
from watcher.config import Agent, Database, Settings
from watcher.outlets import INCIDENTS_MAX, RESULTS_MAX, Outlets

RESULT = Result(Endpoint(name="x", url="http://x/"), 1, Status.DOWN)
INCIDENT = Incident(RESULT.endpoint, Status.UP, RESULT)
BATCH = [RESULT] * 1000


class Sink:
    """An output that takes what it gets."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.got: list[object] = []
        self.error = error

    def __call__(self, what: object) -> None:
        self.got.append(what)
        if self.error:
            raise self.error


class Plugin:
    """A plugin with both of the plain hooks."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    @hookimpl
    def watcher_results(self, results: Any) -> None:
        """Take a batch."""
        self.sink(results)

    @hookimpl
    def watcher_incident(self, incident: Any) -> None:
        """Take an incident."""
        self.sink(incident)


class Configured:
    """A plugin that gives an output."""

    def __init__(self, output: Any) -> None:
        self.output = output

    @hookimpl
    def watcher_output(self, settings: Settings) -> Any:
        """Give it, or break."""
        if isinstance(self.output, BaseException):
            raise self.output
        return self.output if settings.agent.location == "here" else None


class Hanging(Sink):
    """An output that begins with its first batch and is not through until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = Event()
        self.let_go = Event()

    def __call__(self, what: object) -> None:
        self.begun.set()
        self.let_go.wait()
        super().__call__(what)


class Paced(Sink):
    """An output with a pace."""

    def __init__(self, every_s: Any) -> None:
        super().__init__()
        self.every_s = every_s

    def flush(self) -> None:
        """Do nothing."""


class Exporting(Sink):
    """An output that is flushed."""

    every_s = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.flushed = 0
        self.closed = 0

    def flush(self) -> None:
        """Count."""
        self.flushed += 1

    def close(self) -> None:
        """Count."""
        self.closed += 1


def outlets(**plugins: object) -> tuple[Outlets, list[tuple[str, str]]]:
    """Make outlets for these plugins, and the list of their failures."""
    manager = plugged.manager()
    for name, plugin in plugins.items():
        manager.register(plugin, name)
    failures: list[tuple[str, str]] = []
    settings = Settings(database=Database(), agent=Agent(data_dir=Path(), location="here"))
    return Outlets(manager, settings, lambda name, error: failures.append((name, str(error)))), failures


@contextmanager
def served(made: Outlets) -> Iterator[None]:
    """Serve plugins; nothing within may take for ever."""
    made.start()
    with gevent.Timeout(10):
        yield
        made.close(0)


def until(condition: Any) -> None:
    """Let others run until something is so."""
    while not condition():
        gevent.sleep(0.001)


def test_every_output_gets_everything_though_another_breaks() -> None:
    breaks, works, output = Sink(RuntimeError("boom")), Sink(), Sink()
    made, failures = outlets(works=Plugin(works), breaks=Plugin(breaks), output=Configured(output))
    with served(made):
        made.results([RESULT])
        made.incident(INCIDENT)
        until(lambda: len(failures) == 2 and len(works.got) == 2 and output.got)
    assert output.got == [[RESULT]]
    for sink in (works, breaks):
        assert len(sink.got) == 2 and [RESULT] in sink.got and INCIDENT in sink.got
    assert failures == [("breaks", "boom")] * 2
    assert made.dropped() == {"breaks": 2}


def test_one_that_hangs_holds_up_no_other_and_its_oldest_results_go() -> None:
    hangs, works = Hanging(), Sink()
    made, _ = outlets(hangs=Configured(hangs), works=Configured(works))
    with served(made):
        made.results([RESULT])
        hangs.begun.wait()
        until(lambda: works.got)
        first = [RESULT] * 500
        for batch in (first, *[BATCH] * (RESULTS_MAX // 1000 + 6)):
            made.results(batch)
            until(lambda batch=batch: works.got and works.got.pop() is batch)
        assert made.dropped() == {"hangs": 500 + 6 * 1000}
        hangs.let_go.set()
        until(lambda: len(hangs.got) == RESULTS_MAX // 1000 + 1)
    assert hangs.got[1] == BATCH
    assert made.dropped() == {"hangs": 6500}


def test_incidents_are_bounded_too_and_a_batch_alone_always_has_room() -> None:
    made, _ = outlets(one=Plugin(Sink()))
    for _ in range(INCIDENTS_MAX + 7):
        made.incident(INCIDENT)
    assert made.dropped() == {"one": 7}
    made.results([RESULT] * (RESULTS_MAX + 1))
    assert made.dropped() == {"one": 7}
    made.results([RESULT])
    assert made.dropped() == {"one": 7 + RESULTS_MAX + 1}


def test_nothing_waits_for_plugins_that_want_nothing() -> None:
    made, failures = outlets(none=Configured(None))
    made.results(BATCH * 100)
    assert not made.dropped() and not failures


def test_an_output_that_cannot_be_made_is_told_of_and_left_out() -> None:
    works = Sink()
    made, failures = outlets(
        breaks=Configured(OSError("no such directory")),
        wrong=Configured(5),
        exits=Configured(SystemExit("bye")),
        paced=Configured(Paced("soon")),
        works=Configured(works),
    )
    with served(made):
        made.results([RESULT])
        until(lambda: works.got)
    assert sorted(failures) == [
        ("breaks", "no such directory"),
        ("exits", "bye"),
        ("paced", "could not convert string to float: 'soon'"),
        ("wrong", "watcher_output gives nothing that can be called, but 5"),
    ]


def test_one_that_is_not_there_in_time_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn:
        """A plugin that tries until its receiver is there."""

        @staticmethod
        @hookimpl
        def watcher_output() -> Any:
            """Wait for ever."""
            while True:
                try:
                    Event().wait()
                except Exception:  # pylint: disable=broad-exception-caught  # as such plugins do
                    pass

    monkeypatch.setattr(watcher.outlets, "MAKE_S", 0.02)
    works = Sink()
    with gevent.Timeout(10):
        made, failures = outlets(stubborn=Stubborn(), works=Configured(works))
    with served(made):
        made.results([RESULT])
        until(lambda: works.got)
    assert failures == [("stubborn", "watcher_output gave no output in 0.02 s")]


def test_one_with_a_pace_is_flushed_though_nothing_comes_and_while_much_does() -> None:
    exports = Exporting()
    made, _ = outlets(exports=Configured(exports))
    with served(made):
        until(lambda: exports.flushed == 2)
        while exports.flushed < 4:
            made.results([RESULT])
            gevent.sleep(0)
    assert exports.got


def test_the_end_comes_after_the_last_batch() -> None:
    exports = Exporting()
    made, _ = outlets(exports=Configured(exports))
    made.start()
    for _ in range(20):
        made.results(BATCH)
    with gevent.Timeout(10):
        made.close(10)
    assert len(exports.got) == 20 and exports.closed == 1 and not made.dropped()


def test_the_end_does_not_wait_for_one_that_hangs_and_counts_what_it_had() -> None:
    hangs, works = Hanging(), Exporting()
    made, _ = outlets(hangs=Configured(hangs), works=Configured(works))
    made.start()
    made.results(BATCH)
    with gevent.Timeout(10):
        hangs.begun.wait()
        made.results(BATCH)
        made.close(0.05)
        assert made.dropped() == {"hangs": 2000}
        hangs.let_go.set()
        gevent.sleep(0.01)
    assert works.closed == 1 and len(works.got) == 2
    assert not hangs.got and made.dropped() == {"hangs": 2000}


def test_drops_are_told_once_a_minute_while_there_are_more() -> None:
    made, _ = outlets(one=Plugin(Sink()))
    assert not list(made.complaints(0.0))
    made.results([RESULT] * (RESULTS_MAX - 1))
    made.results([RESULT] * 1234)
    assert list(made.complaints(1.0)) == [
        f"output one does not keep up or fails: {RESULTS_MAX - 1:,} dropped, {RESULTS_MAX - 1:,} since the start"
    ]
    assert not list(made.complaints(100.0))  # nothing more
    made.results([RESULT] * RESULTS_MAX)
    assert not list(made.complaints(60.9))
    assert list(made.complaints(61.0)) == [
        f"output one does not keep up or fails: 1,234 dropped, {RESULTS_MAX + 1233:,} since the start"
    ]
    made.results([RESULT])
    assert len(list(made.complaints(62.0, again_s=0))) == 1  # the last word


@pytest.mark.parametrize("error", [gevent.Timeout(1), SystemExit("bye")])
def test_nothing_that_an_output_lets_out_ends_the_process(error: BaseException) -> None:
    late = Sink(error)
    made, failures = outlets(late=Configured(late))
    with served(made):
        made.results([RESULT])
        made.results([RESULT])
        until(lambda: len(failures) == 2)
    assert len(late.got) == 2
