"""One look-up of endpoints: due, in its thread, overdue, back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from watcher import Discovery, Failure
from watcher.agent.find import OVERDUE_S, Find


def test_a_discovery_needs_a_second_at_least() -> None:
    assert Discovery(list, 1).every_s == 1
    for every_s in (0, 0.5, -1, float("nan")):
        with pytest.raises(ValueError, match="1 s is the least"):
            Discovery(list, every_s)


def run(find: Find, now: float) -> Any:
    """Run a find to the end of its thread and give what came of it."""
    find.start(now).join()
    return find.take(now)


def test_it_is_due_at_once_and_again_after_its_interval() -> None:
    find = Find(Discovery(lambda: iter([{"url": "https://h/"}]), 30))
    assert find.is_due(100.0)
    assert run(find, 100.0) == ([{"url": "https://h/"}], None)
    assert find.take(100.0) is None, "an outcome is given once"
    assert not find.is_due(129.9) and find.is_due(130.0)


def test_where_no_thread_can_be_made_it_stays_due(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    find = Find(Discovery(lambda: [], 30))
    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError):
            find.start(0.0)
    assert find.is_due(1.0)
    assert run(find, 1.0) == ([], None)


def test_it_never_runs_twice_at_once_and_the_interval_counts_from_its_return() -> None:
    gate = threading.Event()
    find = Find(Discovery(lambda: [gate.wait()], 30))
    thread = find.start(0.0)
    assert find.take(40.0) is None and not find.is_due(40.0)
    gate.set()
    thread.join()
    assert not find.is_due(40.0), "its outcome was not taken yet"
    assert find.take(40.0) == ([True], None)
    assert not find.is_due(69.0) and find.is_due(70.0)


def broken() -> Any:
    """Give something, then break."""
    yield {"url": "https://h/"}
    raise LookupError("no catalogue")


@pytest.mark.parametrize(("function", "words"), [(broken, "no catalogue"), (lambda: 5, "not iterable")])
def test_what_it_raises_is_its_outcome(function: Callable[[], Any], words: str) -> None:
    given, error = run(Find(Discovery(function, 30)), 0.0)
    assert given == [] and words in str(error)


def leave() -> Any:
    """End the thread."""
    raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_itself_is_a_failure() -> None:
    given, error = run(Find(Discovery(leave, 30)), 0.0)
    assert given == [] and "without an answer" in str(error)


def test_one_that_stays_out_has_failed_until_it_is_back() -> None:
    gate = threading.Event()
    find = Find(Discovery(lambda: [gate.wait()], 30))
    thread = find.start(0.0)
    assert find.take(OVERDUE_S - 1) is None
    given, error = find.take(OVERDUE_S)
    assert given == [] and str(error) == "no answer within 60 s, it is still waited for"
    assert find.take(OVERDUE_S + 1) is None, "that is told once"
    gate.set()
    thread.join()
    assert find.take(OVERDUE_S + 2) == ([True], None)


def test_what_was_given_at_once_is_never_due() -> None:
    find = Find.done([Failure("half of it")])
    assert not find.is_due(1e12)
    assert find.take(0.0) == ([Failure("half of it")], None)
    assert find.take(0.0) is None and not find.is_due(1e12)
