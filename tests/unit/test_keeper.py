"""The buffer: batches by count or age, bounded, and every drop counted. Slices as the replay puts them together."""

from __future__ import annotations

import gevent

from watcher import Endpoint, Result, Status
from watcher.keeper import Buffer
from watcher.store import metrics


def test_a_full_batch_is_given_at_once_and_the_rest_when_it_is_old() -> None:
    buffer = Buffer(limit=100, batch_rows=3)
    for number in range(4):
        buffer.add(number)
    assert buffer.take(age_s=60) == [0, 1, 2]
    assert buffer.take(age_s=0.01) == [3]
    assert buffer.take(age_s=0) == []


def test_whoever_waits_is_woken_by_a_full_batch() -> None:
    buffer = Buffer(limit=100, batch_rows=2)
    waiting = gevent.spawn(buffer.take, 60)
    gevent.sleep(0)
    buffer.add("a")
    buffer.add("b")
    assert waiting.get(timeout=10) == ["a", "b"]


def test_a_hurry_gives_what_there_is() -> None:
    buffer = Buffer(limit=100, batch_rows=50)
    waiting = gevent.spawn(buffer.take, 60)
    gevent.sleep(0)
    buffer.add("a")
    buffer.hurry()
    assert waiting.get(timeout=10) == ["a"]


def test_what_is_beyond_the_limit_is_dropped_and_counted() -> None:
    buffer = Buffer(limit=5, batch_rows=100)
    for number in range(8):
        buffer.add(number)
    assert (len(buffer), buffer.dropped) == (5, 3)
    assert buffer.take(0) == [0, 1, 2, 3, 4]


def test_slices_put_together_are_what_their_rows_would_have_been_at_once() -> None:
    endpoint = Endpoint(id=1, name="x", url="http://x/")
    results = [Result(endpoint, number, Status.UP, detail=f'"a, {{{number}}}"') for number in range(10)]
    slices = [metrics.encode(results[first : first + 2]) for first in range(0, 10, 2)]
    whole = [metrics.encode(results[first : first + 4]) for first in range(0, 10, 4)]
    assert metrics.joined(slices, 2) == whole
