"""The account of lives that were cut short: what it takes for missing, and that nothing is told that is not so."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import gevent
import pytest
from test_watch import NOW, Bench, good, plan

from watcher import Status, gaps
from watcher.errors import DatabaseError, DatabaseUnavailable
from watcher.gaps import CLOCKS_US, UNSURE_US, Gaps, Records
from watcher.models import Reason
from watcher.schedule import phase_us

S = 1_000_000
HOUR = 3600 * S
BEGAN_US, NOW_US = 1_800_000_000 * S, 1_800_000_600 * S
SAID = f"{gaps.CUT_SHORT}; 1 checks were not made or are lost: status missed, reason suspended"

Asked = tuple[int, int, int | None]


class Stage:
    """All that the gaps of a worker ask: who makes the checks, what the database has, the clock of the schedule."""

    def __init__(self, data_dir: Path, now_us: int = NOW_US, index: int = 0, of: int = 1) -> None:
        self.rows = {7: now_us - 60 * S}
        self.answers: list[Exception] = []  # before the true ones
        self.apart_us = [0]  # our clock and the database's, each time it is asked
        self.set_us = 0
        self.asked: list[Asked] = []
        self.said: list[str] = []
        self._now_us = now_us
        self.gaps = Gaps(data_dir, index, of, self, self.said.append)

    def begin(self, *ids: int) -> bool:
        """Begin the life; these are in the copy that the former one left."""
        return self.gaps.begin(lambda: set(ids or (7,)))

    def tell(self) -> list[Asked]:
        """Have the gaps told; give what was asked for."""
        with gevent.Timeout(10):
            self.gaps.tell(self, Answers(self), lambda: True)  # type: ignore[arg-type]
        return self.asked

    # who makes the checks

    @staticmethod
    def known() -> Mapping[int, None]:
        """Give what this life checks."""
        return dict.fromkeys((7, 8))

    def miss_between(self, endpoint_id: int, since_us: int, until_us: int | None, why: Reason, said: str) -> int:
        """Take the question; one check is missing."""
        assert why is Reason.SUSPENDED and said == gaps.CUT_SHORT
        self.asked.append((endpoint_id, since_us, until_us))
        return 1

    # the clock

    def now_us(self) -> int:
        """Give the time of the schedule."""
        return self._now_us

    def wall_us(self, at_us: int) -> int:
        """Give what the wall clock shows at a moment of the schedule."""
        return at_us + self.set_us

    @staticmethod
    def step_us() -> int:
        """Give nothing: who sets the clock is the test."""
        return 0


class Answers:
    """What the database of a stage says."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def last(self, ids: list[int], gap: tuple[int, int]) -> dict[int, int]:
        """Give the last rows within a time."""
        if self._stage.answers:
            raise self._stage.answers.pop(0)
        return {one: at_us for one, at_us in self._stage.rows.items() if one in ids and gap[0] <= at_us < gap[1]}

    def now_us(self) -> int:
        """Give what the server's clock shows."""
        apart_us = self._stage.apart_us
        ours_us = self._stage.wall_us(self._stage.now_us())
        return ours_us - (apart_us.pop(0) if len(apart_us) > 1 else apart_us[0])


@pytest.fixture(autouse=True)
def fixture_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait until rows are safe: there are none."""
    for name in ("SAFE_S", "RETRY_S", "REFUSED_S"):
        monkeypatch.setattr(gaps, name, 0.0)


@pytest.fixture(name="stage")
def fixture_stage(tmp_path: Path) -> Stage:
    """Give the life after one that was cut short, and in which endpoint 7 had a row a minute before."""
    Stage(tmp_path, BEGAN_US).begin()
    return Stage(tmp_path)


@pytest.fixture(name="bench")
def fixture_bench() -> Bench:
    """Give a watch."""
    return Bench()


def spooled(data_dir: Path, index: int, at_us: int) -> Path:
    """Put a file into the spool of a worker, written then."""
    path = data_dir / f"spool/{index}/{at_us * 1000:020d}-1-1-5.rows"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_a_life_that_was_cut_short_is_told_of_by_the_next(stage: Stage, tmp_path: Path) -> None:
    assert stage.begin()
    assert stage.tell() == [(7, NOW_US - 60 * S, None)]
    assert stage.said == [SAID]
    stage.gaps.end()
    assert not Stage(tmp_path, NOW_US + 60 * S).begin()


def test_a_gap_that_could_not_be_told_is_told_by_the_next_life_up_to_its_end(stage: Stage, tmp_path: Path) -> None:
    stage.begin()
    stage.gaps.end()
    later = Stage(tmp_path, NOW_US + 60 * S)
    later.rows = stage.rows
    assert later.begin()
    assert later.tell() == [(7, NOW_US - 60 * S, NOW_US)]


def test_a_directory_that_cannot_be_made_costs_the_account_only(tmp_path: Path) -> None:
    (tmp_path / "running").write_bytes(b"")
    stage = Stage(tmp_path)
    assert not stage.begin()
    stage.gaps.tend()
    stage.gaps.end()


def test_a_disk_that_takes_no_file_costs_the_account_only(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "running/0.json.tmp").mkdir()  # in the way of every write, whoever we are
    assert stage.begin()
    assert len(stage.tell()) == 1
    stage.gaps.end()


def test_a_disk_that_goes_away_meanwhile_ends_no_worker(stage: Stage, tmp_path: Path) -> None:
    stage.begin()
    shutil.rmtree(tmp_path / "running")
    stage.set_us = -HOUR
    stage.gaps.tend()
    assert len(stage.tell()) == 1
    stage.gaps.end()


def test_an_endpoint_that_goes_and_comes_back_was_there_since_it_came_first(bench: Bench) -> None:
    watch = bench.watch
    watch.counts.born = {}
    watch.put(plan(good))
    watch.drop(7)
    bench.time_us += S
    watch.put(plan(good))
    assert watch.counts.born == {7: NOW}


# which endpoints, and since when


def test_an_endpoint_that_was_not_checked_when_the_life_ended_missed_nothing(stage: Stage) -> None:
    stage.rows[8] = NOW_US - 300 * S  # disabled since
    stage.begin(7)
    assert [endpoint_id for endpoint_id, *_ in stage.tell()] == [7]


def test_an_endpoint_that_was_never_due_in_that_life_is_told_since_the_life_ended(stage: Stage) -> None:
    stage.begin(7, 8)
    assert stage.tell() == [(7, NOW_US - 60 * S, None), (8, NOW_US - 60 * S, None)]


def test_a_life_that_left_no_row_at_all_is_told_since_it_began(stage: Stage) -> None:
    stage.rows.clear()
    stage.begin(7)
    assert stage.tell() == [(7, BEGAN_US, None)]


def test_an_endpoint_that_had_been_away_for_a_part_of_that_life_is_told_for_the_end_of_it(tmp_path: Path) -> None:
    Stage(tmp_path, NOW_US - 48 * HOUR).begin()
    stage = Stage(tmp_path)
    stage.rows[8] = NOW_US - 47 * HOUR  # then it was disabled; enabled again just before the worker died
    stage.begin(7, 8)
    assert stage.tell()[1] == (8, NOW_US - 60 * S - UNSURE_US, None)


def test_an_endpoint_without_a_plan_that_it_came_by_is_asked_for_no_check(bench: Bench) -> None:
    bench.watch.counts.born = {}
    assert bench.watch.miss_between(7, NOW - HOUR, None, Reason.SUSPENDED, "") == 0


# what lies in the spool


def test_rows_that_were_refused_and_may_be_stored_yet_are_not_missing(stage: Stage, tmp_path: Path) -> None:
    spooled(tmp_path, 0, NOW_US - 20 * S)
    spooled(tmp_path, 0, NOW_US + 20 * S)  # of this life
    stage.begin(7, 8)
    assert stage.tell() == [(7, NOW_US - 20 * S, None), (8, NOW_US - 20 * S, None)]


def test_a_worker_whose_endpoints_were_anothers_waits_for_the_others_spool(tmp_path: Path) -> None:
    Stage(tmp_path, BEGAN_US, index=1, of=2).begin()
    old, _ = spooled(tmp_path, 0, NOW_US - S), spooled(tmp_path, 0, NOW_US + S)
    spooled(tmp_path, 1, NOW_US - S)  # its own, of which the keepers know
    stage = Stage(tmp_path, index=1, of=3)
    stage.begin()
    assert stage.gaps.waits
    again = Stage(tmp_path, index=1, of=3)  # that one, too, was cut short
    again.begin()
    assert again.gaps.waits
    old.unlink()
    assert not again.gaps.waits


def test_a_worker_whose_endpoints_were_its_own_waits_for_nobody(tmp_path: Path) -> None:
    Stage(tmp_path, BEGAN_US, index=1, of=2).begin()
    spooled(tmp_path, 0, NOW_US - S)
    stage = Stage(tmp_path, index=1, of=2)
    stage.begin()
    assert not stage.gaps.waits


def test_endpoints_that_moved_are_told_although_their_copy_is_gone(tmp_path: Path) -> None:
    Stage(tmp_path, BEGAN_US, index=1, of=2).begin()
    stage = Stage(tmp_path, index=1, of=3)
    stage.begin(9)
    assert stage.tell() == [(7, NOW_US - 60 * S, None)]


# clocks


def test_nothing_is_told_while_our_clock_and_the_databases_disagree(stage: Stage) -> None:
    stage.apart_us = [CLOCKS_US + S, -CLOCKS_US - S, CLOCKS_US]
    stage.begin()
    assert len(stage.tell()) == 1
    assert stage.said == [
        "the clock of this machine and the database's are 61 s apart; what was missed because the worker was cut short"
        " is told once they agree",
        SAID,
    ]
    assert len(stage.apart_us) == 1


def test_a_clock_that_was_wrong_at_the_start_moves_the_end_of_the_gap_with_it(tmp_path: Path) -> None:
    Stage(tmp_path, BEGAN_US).begin()
    stage = Stage(tmp_path, NOW_US - 24 * HOUR)  # before the former life began
    assert stage.begin()
    stage.set_us = 24 * HOUR
    stage.gaps.tend()
    stage.rows = {7: NOW_US - 60 * S}
    later = Stage(tmp_path, NOW_US + 60 * S)
    later.rows = {7: NOW_US - 60 * S}
    later.begin()
    assert later.tell()[0] == (7, NOW_US - 60 * S, NOW_US)
    assert stage.tell() == [(7, NOW_US - 60 * S, None)]


def test_a_gap_that_was_written_down_by_a_wrong_clock_ends_where_we_begin(tmp_path: Path) -> None:
    Stage(tmp_path, BEGAN_US).begin()
    Stage(tmp_path, NOW_US + 24 * HOUR).begin()  # whose clock nobody set before it died, too
    stage = Stage(tmp_path)
    assert stage.begin()
    assert [until_us for *_, until_us in stage.tell() if until_us is not None] == [NOW_US]


def test_missed_checks_have_the_times_that_the_wall_clock_has_now(bench: Bench) -> None:
    bench.watch.counts.born = {}
    bench.watch.put(plan(good))
    bench.stepped_us = HOUR
    bench.watch.serve()
    assert not [row for row in bench.kept if row.status is Status.MISSED]  # the account has that time
    count = bench.watch.miss_between(7, NOW + HOUR - 300 * S, None, Reason.SUSPENDED, "killed")
    times = [row.time_us for row in bench.kept if row.detail == "killed"]
    assert count == len(times) == 5
    assert all(NOW + HOUR - 300 * S < time_us <= NOW + HOUR for time_us in times)
    assert {time_us % (60 * S) for time_us in times} == {(phase_us(7, "here", 60 * S) + HOUR) % (60 * S)}


def test_a_clock_that_began_in_1970_is_no_account_of_half_a_century(bench: Bench) -> None:
    bench.watch.put(plan(good))
    bench.reach(NOW + S)
    bench.stepped_us = 50 * 365 * 24 * HOUR
    bench.watch.serve()
    assert not [row for row in bench.kept if row.status is Status.MISSED]


# the database


def test_a_database_that_refuses_to_answer_is_told_of_once_and_asked_again(stage: Stage) -> None:
    stage.answers = [DatabaseUnavailable("away"), *(DatabaseError("permission denied"),) * 3]
    stage.begin()
    assert len(stage.tell()) == 1
    assert stage.said == [
        "what was missed because the worker was cut short cannot be told yet: permission denied",
        SAID,
    ]


def test_each_question_has_a_connection_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Connection:
        """A connection that is closed after use."""

        def close(self) -> None:
            """Note it."""
            closed.append(self)

    monkeypatch.setattr(gaps.metrics, "last", lambda connection, *asked: asked)
    records = Records(Connection, 3)  # type: ignore[arg-type]
    assert records.last([7], (1, 2)) == (3, [7], 1, 2)
    assert len(closed) == 1
