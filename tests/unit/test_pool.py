"""The pool: never more at once than its size, nothing lost, oldest first."""

from __future__ import annotations

import gevent
from gevent.event import Event

from watcher.pool import Pool


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
    gevent.sleep(0)
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
