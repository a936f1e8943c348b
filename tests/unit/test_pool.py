"""The pool: never more at once than its size, nothing lost, oldest first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gevent
from gevent.event import Event
from test_turnstile import compute

from watcher.breath import next_turn
from watcher.pool import BEGIN_NS, Pool


def test_it_does_every_job_with_at_most_its_size_at_once() -> None:
    running, most, done = [0], [0], []

    def work(number: int) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        gevent.sleep(0)
        running[0] -= 1
        done.append(number)

    pool = Pool(5, work)
    for number in range(100):
        pool.submit((number,))
    assert pool.join(10)
    assert sorted(done) == list(range(100))
    assert most[0] == 5
    assert pool.busy == 0


def test_jobs_that_wait_are_done_oldest_first() -> None:
    gate, order = Event(), []

    def work(number: int) -> None:
        order.append(number)
        gate.wait()

    pool = Pool(1, work)
    for number in range(4):
        pool.submit((number,))
    next_turn()
    assert (pool.busy, len(pool.ready)) == (1, 3)
    gate.set()
    assert pool.join(10)
    assert order == [0, 1, 2, 3]


def test_greenlets_are_used_again() -> None:
    used = set()
    pool = Pool(10, lambda: used.add(gevent.getcurrent()))
    for _ in range(20):
        pool.submit(())
        assert pool.join(10)
    assert len(used) == 1


def test_join_says_when_something_is_left() -> None:
    gate = Event()
    pool = Pool(1, gate.wait)
    pool.submit(())
    assert not pool.join(0.01)
    gate.set()
    assert pool.join(10)


def test_a_pool_that_is_busy_leaves_turns_short_for_others() -> None:
    begun = 0

    def work() -> None:
        nonlocal begun
        begun += 1
        compute(0.001)
        next_turn()

    pool = Pool(1000, work)
    for _ in range(1000):
        pool.submit(())
    for _ in range(10):
        next_turn()
    assert 10 <= begun <= 10 * (BEGIN_NS / 1_000_000 + 1)
    assert pool.join(30)
    assert begun == 1000


def test_jobs_that_wait_begin_though_the_one_before_them_broke() -> None:
    done = []

    def work(number: int) -> None:
        next_turn()
        if number == 0:
            raise ValueError("broke")
        done.append(number)

    pool = Pool(1, work)
    pool.submit((0,))
    pool.submit((1,))
    with swallowed(ValueError):
        assert pool.join(10)
    assert done == [1]


@contextlib.contextmanager
def swallowed(error: type[Exception]) -> Iterator[None]:
    """Have the hub say nothing of it."""
    hub = gevent.get_hub()
    before, hub.NOT_ERROR = hub.NOT_ERROR, (*hub.NOT_ERROR, error)
    try:
        yield
    finally:
        hub.NOT_ERROR = before
