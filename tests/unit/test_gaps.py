"""The file that says a worker runs, on a disk that refuses it: the checks go on all the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from watcher import Endpoint, gaps
from watcher.gaps import Gaps
from watcher.ledger import Ledger
from watcher.models import Reason
from watcher.plan import Plan
from watcher.watch import Watch

S = 1_000_000
BEGAN_US, NOW_US = 1_800_000_000 * S, 1_800_000_600 * S


class Recorder:
    """Who makes the checks: writes down what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def miss_between(self, endpoint_id: int, since_us: int, until_us: int, why: Reason, said: str) -> int:
        """Take the question; one check is missing."""
        assert why is Reason.SUSPENDED and said == gaps.CUT_SHORT
        self.asked.append((endpoint_id, since_us, until_us))
        return 1


@pytest.fixture(autouse=True)
def fixture_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait until rows are safe: there are none."""
    monkeypatch.setattr(gaps, "SAFE_S", 0.0)


def tell(account: Gaps, born: Iterable[int] = (7,)) -> tuple[list[tuple[int, int, int]], list[str]]:
    """Have the gaps told; give what was asked for and said."""
    checks, said = Recorder(), []
    account.tell(
        dict.fromkeys(born, NOW_US + S), checks, lambda ids, gap: {7: NOW_US - 60 * S}, lambda: True, said.append
    )
    return checks.asked, said


def test_a_life_that_was_cut_short_is_told_of_by_the_next(tmp_path: Path) -> None:
    assert Gaps(tmp_path, 0, 1).begin(BEGAN_US) == []
    account = Gaps(tmp_path, 0, 1)
    assert account.begin(NOW_US) == [(BEGAN_US, NOW_US)]
    assert tell(account) == (
        [(7, NOW_US - 60 * S, NOW_US + S)],
        [f"{gaps.CUT_SHORT}; 1 checks were not made or are lost: status missed, reason suspended"],
    )
    account.end()
    assert Gaps(tmp_path, 0, 1).begin(NOW_US + 60 * S) == []


def test_a_directory_that_cannot_be_made_costs_the_account_only(tmp_path: Path) -> None:
    (tmp_path / "running").write_bytes(b"")
    account = Gaps(tmp_path / "running", 0, 1)
    assert account.begin(BEGAN_US) == []
    account.end()


def test_a_disk_that_takes_no_file_costs_the_account_only(tmp_path: Path) -> None:
    Gaps(tmp_path, 0, 1).begin(BEGAN_US)
    (tmp_path / "0.json.tmp").mkdir()  # in the way of every write, whoever we are
    account = Gaps(tmp_path, 0, 1)
    assert account.begin(NOW_US) == [(BEGAN_US, NOW_US)]
    assert len(tell(account)[0]) == 1
    account.end()


def test_a_disk_that_goes_away_meanwhile_ends_no_worker(tmp_path: Path) -> None:
    Gaps(tmp_path / "running", 0, 1).begin(BEGAN_US)
    account = Gaps(tmp_path / "running", 0, 1)
    account.begin(NOW_US)
    shutil.rmtree(tmp_path / "running")
    assert len(tell(account)[0]) == 1
    account.end()


def test_an_endpoint_that_goes_and_comes_back_was_there_since_it_came_first() -> None:
    watch = Watch("here", 10, lambda result: None, lambda incident: None, lambda *_: None)
    plan = Plan(Endpoint(id=7, name="x", url="test://x"), lambda exchange: None, Ledger().account("test"))
    watch.counts.born = {}
    watch.put(plan)
    came = dict(watch.counts.born)
    watch.drop(7)
    watch.put(plan)
    assert watch.counts.born == came
