"""Loss accounting: whatever the database and the disk do, every result is counted once, and none is lost in silence."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from watcher import Endpoint, Result, Status, keeper, link
from watcher.errors import DatabaseError, DatabaseUnavailable, Unstorable
from watcher.keeper import Buffer, Keepers
from watcher.spool import Batch, Spool
from watcher.store import metrics

ENDPOINT = Endpoint(id=1, name="x", url="http://x/")
WAYS = ("well", "slow", "hangs", "refuses", "dies before", "dies after", "not these", "no table")
ONCE = 1 << 30  # bytes of spool that nothing fills


class Database:
    """A database as a keeper sees it, that may do anything; it holds each row once."""

    def __init__(self) -> None:
        self.way = "well"
        self.rows: set[int] = set()
        self.closed = False

    def connect(self, *_: object, **__: object) -> Database:
        """Open a connection."""
        if self.way == "refuses":
            raise DatabaseUnavailable("connection refused")
        return self

    def store(self, _: object, slices: list[tuple[str, ...]], __: int, pause, ___: str) -> None:
        """Store a batch, or do not."""
        if self.way == "hangs":
            gevent.sleep(60)
        for literals in slices if self.way == "slow" else ():
            gevent.sleep(0.02)
            pause()
            del literals
        if self.way in ("refuses", "dies before"):
            raise DatabaseUnavailable("connection broke")
        if self.way == "not these":
            raise Unstorable("a number that no column holds")
        if self.way == "no table":
            raise DatabaseError("no such table")
        for literals in slices:
            self.rows.update(map(int, filter(None, literals[1].strip("{}").split(","))))
        if self.way == "dies after":
            raise DatabaseUnavailable("connection broke at the commit")

    def close(self) -> None:
        """Close it."""


@pytest.fixture(name="hasty", autouse=True)
def fixture_hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no patience."""
    monkeypatch.setattr(link, "STATEMENT_S", 0.05)
    monkeypatch.setattr(link, "RETRY_MIN_S", 0.002)
    monkeypatch.setattr(link, "RETRY_MAX_S", 0.01)
    monkeypatch.setattr(keeper, "AGAIN_S", (0.005, 0.01))


class Bench:
    """Keepers between a buffer and a database that may do anything."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, room_bytes: int) -> None:
        self.database = Database()
        monkeypatch.setattr(link.store_connection, "connect", self.database.connect)
        monkeypatch.setattr(metrics, "store", self.database.store)
        self.buffer = Buffer(limit=5000, batch_rows=50)
        self.broken: list[gevent.Greenlet] = []
        self.said: list[str] = []
        self.spool = Spool(directory, max_bytes=room_bytes)
        self.keepers = Keepers(
            self.buffer, self.spool, "postgresql://x@127.0.0.1/x", 1, count=2, age_s=0.005,
            handed_over=lambda results: None, say=self.said.append, broke=self.broken.append,
        )  # fmt: skip
        self.keepers.start()
        self.produced = 0

    def produce(self, count: int) -> None:
        """Make results, each with a time of its own."""
        for _ in range(count):
            self.produced += 1
            self.buffer.add(Result(ENDPOINT, self.produced, Status.UP))

    def check(self) -> None:
        """See that each result is counted once."""
        tally, buffer = self.keepers.tally, self.buffer
        assert not self.broken
        assert self.produced == buffer.produced
        assert buffer.produced + tally.recovered == (
            tally.stored + tally.spooled + tally.damaged + tally.dropped + buffer.dropped + tally.in_hand + len(buffer)
        )

    def wait(self, seconds: float) -> None:
        """Let time pass, looking all the time."""
        until = gevent.get_hub().loop.now() + seconds
        while gevent.get_hub().loop.now() < until:
            self.check()
            gevent.sleep(0.001)

    def recover(self) -> None:
        """Have the database answer, and wait until all is there."""
        self.database.way = "well"
        with gevent.Timeout(30):
            while self.keepers.tally.spooled or self.keepers.tally.in_hand or len(self.buffer):
                self.check()
                gevent.sleep(0.001)


STEPS = some.lists(some.tuples(some.sampled_from(WAYS), some.integers(0, 400)), min_size=1, max_size=6)


@given(STEPS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_every_result_is_counted_once_and_stored_at_last(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        bench = Bench(Path(directory), patch, ONCE)
        for way, count in steps:
            bench.database.way = way
            bench.produce(count)
            bench.wait(0.03)
        bench.recover()
        bench.keepers.finish(1.0)
        bench.check()
        assert bench.database.rows == set(range(1, bench.produced + 1))
        assert bench.keepers.tally.stored == bench.produced
        assert not any(Path(directory).iterdir())


@given(STEPS, some.sampled_from(WAYS))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_what_the_end_finds_is_there_for_the_next_run(steps: list[tuple[str, int]], last: str) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        bench = Bench(Path(directory), patch, ONCE)
        for way, count in [*steps, (last, 300)]:
            bench.database.way = way
            bench.produce(count)
            bench.wait(0.01)
        bench.keepers.finish(0.2)
        bench.check()
        first = bench.keepers.tally
        assert (first.in_hand, len(bench.buffer), first.dropped) == (0, 0, 0)
        again = Bench(Path(directory), patch, ONCE)
        assert again.keepers.tally.recovered == first.spooled
        again.database.rows = bench.database.rows
        again.recover()
        again.keepers.finish(1.0)
        assert again.database.rows == set(range(1, bench.produced + 1))


def test_results_are_dropped_only_when_the_spool_is_full_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, monkeypatch, room_bytes=5000)
    bench.database.way = "dies before"
    for _ in range(40):
        bench.produce(50)
        bench.wait(0.005)
    with gevent.Timeout(30):
        while bench.keepers.tally.in_hand or len(bench.buffer):
            gevent.sleep(0.001)
    dropped = bench.keepers.tally.dropped
    assert dropped > 0
    assert 0 < bench.keepers.tally.spooled < bench.produced
    bench.recover()
    assert len(bench.database.rows) == bench.produced - dropped == bench.keepers.tally.stored
    bench.database.way = "dies before"
    bench.produce(50)
    bench.wait(0.05)
    bench.recover()
    bench.keepers.finish(1.0)
    bench.check()
    assert [line for line in bench.said if "dropped" in line] == [
        f"results are dropped, and counted: {tmp_path} is full (0 MiB)",
        f"results are kept again; {dropped:,} were dropped",
    ]


def test_a_batch_that_hangs_is_on_disk_long_before_the_database_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "STATEMENT_S", 60.0)
    bench = Bench(tmp_path, monkeypatch, ONCE)
    bench.database.way = "hangs"
    bench.produce(500)
    with gevent.Timeout(30):
        while bench.keepers.tally.in_hand or len(bench.buffer):
            gevent.sleep(0.001)
    assert bench.keepers.tally.spooled == 500
    assert sum(bench.spool.read(name).rows for name in bench.spool.files()) == 500
    assert not bench.said
    bench.keepers.finish(0.1)


def test_what_waits_is_stored_in_its_order_and_not_faster_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, order = Spool(tmp_path), []
    for number in range(20):
        slices = [metrics.encode([Result(ENDPOINT, number, Status.UP)] * 10)]
        assert spool.write(Batch(1, 10, slices))
    database = Database()
    monkeypatch.setattr(link.store_connection, "connect", database.connect)
    monkeypatch.setattr(metrics, "store", lambda _, slices, *__: order.append(slices[0][1]))
    keepers = Keepers(
        Buffer(10, 10), spool, "postgresql://x@127.0.0.1/x", 1, count=1, age_s=0.005,
        handed_over=print, say=print, broke=print, replay_rows_s=1000,
    )  # fmt: skip
    began = time.monotonic()
    keepers.start()
    with gevent.Timeout(30):
        while keepers.tally.spooled:
            gevent.sleep(0.001)
    assert time.monotonic() - began >= 0.18  # 190 rows came before the last file
    assert order == ["{" + ",".join([str(number)] * 10) + "}" for number in range(20)]
    keepers.finish(0.1)
    assert keepers.tally.recovered == keepers.tally.stored == 200
    assert not keepers.recovering


def test_what_cannot_be_used_is_said_and_counted_and_the_rest_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    whole = [metrics.encode([Result(ENDPOINT, number, Status.UP)]) for number in range(3)]
    names = [spool.write(Batch(1, 1, [literals])) for literals in whole]
    (tmp_path / names[0]).write_bytes(b"garbage")
    spool.write(Batch(1, 1, [("{1}", "{2}")]))  # of a version with other columns
    (tmp_path / "foreign.rows").write_bytes(b"?")
    bench = Bench(tmp_path, monkeypatch, ONCE)
    with gevent.Timeout(30):
        while bench.keepers.tally.spooled or len(bench.said) < 3:
            gevent.sleep(0.001)
    assert bench.database.rows == {1, 2}
    assert (bench.keepers.tally.recovered, bench.keepers.tally.damaged, bench.keepers.tally.stored) == (4, 2, 2)
    assert sorted(line.rpartition("; ")[2] for line in bench.said) == ["set aside as .bad"] * 3
    assert len(list(tmp_path.glob("*.bad"))) == 3
    bench.wait(0.05)
    assert len(bench.said) == 3
    bench.keepers.finish(0.1)


def test_a_look_at_many_files_that_are_not_due_lets_others_have_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "AGAIN_S", (60.0, 60.0))
    monkeypatch.setattr(keeper, "BREATH_FILES", 5)
    spool = Spool(tmp_path)
    for time_us in range(1, 31):
        assert spool.write(Batch(1, 1, [metrics.encode([Result(ENDPOINT, time_us, Status.UP)])]))
    bench = Bench(tmp_path, monkeypatch, ONCE)
    bench.database.way = "not these"
    with gevent.Timeout(30):
        while bench.keepers.recovering:
            gevent.sleep(0.001)
    turns = []

    def others() -> None:
        while True:
            turns.append(1)
            gevent.sleep(0)

    ticker = gevent.spawn(others)
    bench.keepers._replay_files(link.Link("", "", bench.keepers.tally, print))  # pylint: disable=protected-access  # one look
    ticker.kill()
    assert len(turns) >= 5
    assert bench.keepers.tally.spooled == 30
    bench.keepers.finish(1.0)
